// Starting up, from wherever the first call comes.
#ifndef SV_INIT_H
#define SV_INIT_H

#include "core.h"

extern bool sv_init_done;

// Libsalvage.so and libgc.so.1 may be in one process: both show this name, and which of them sees
// its own is the first, whose functions the program calls. The other one keeps still: its wrappers
// pass on what the first one's pass on to them.
extern char salvage_first, sv_first;
static inline bool sv_first_here(void)
{
    return &salvage_first == &sv_first;
}

// Idempotent. The first malloc may come from ld.so or from another library's constructor, long
// before main; a malloc from inside this very call (same thread) finds a heap that works and
// nothing else.
void sv_init(void);

#endif
