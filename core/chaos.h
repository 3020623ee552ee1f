// Pauses at random points of the protocol, for tests: they widen races. The option chaos=SEED turns
// them on; without it a point is one load and a branch.
#ifndef SV_CHAOS_H
#define SV_CHAOS_H

#include "options.h"

void sv_chaos_pause(void); // the rare half

// A point. Any thread, locks of ours held or not; errno stays.
static inline void sv_chaos(void)
{
    if (__builtin_expect(sv_options.chaos != 0, 0))
        sv_chaos_pause();
}

#endif
