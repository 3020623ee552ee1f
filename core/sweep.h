// Sweeping: taking back what the last mark didn't reach. It writes bitmaps only, never an object
// (but under the option clobber), and never needs the world stopped.
#ifndef SV_SWEEP_H
#define SV_SWEEP_H

#include "core.h"

// alloc &= mark, mark = 0, for a span whose code's lock is held; returns how many slots came back.
unsigned sv_sweep_span(struct sv_span *span);

// Large objects that the last mark didn't reach, all of them; returns bytes. No lock held.
size_t sv_sweep_large(void);

// Everything that is left to sweep; returns bytes. No lock held. Before a cycle, and after a forced
// one.
size_t sv_sweep_finish(void);

#endif
