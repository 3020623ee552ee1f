// Starting up, from wherever the first call comes.
#ifndef SV_INIT_H
#define SV_INIT_H

#include "core.h"

extern bool sv_init_done;

// Idempotent. The first malloc may come from ld.so or from another library's constructor, long
// before main; a malloc from inside this very call (same thread) finds a heap that works and
// nothing else.
void sv_init(void);

#endif
