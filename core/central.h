// Central lists: for each code, the spans that threads' caches are filled from and emptied into.
#ifndef SV_CENTRAL_H
#define SV_CENTRAL_H

#include "core.h"
#include "heap.h"

void sv_central_init(void);

// Takes up to n free slots of `code` into out[], lowest address last (a cache pops from the end), and
// returns how many: 0 when memory is short. Sweeps what it must. No lock held.
unsigned sv_central_take(unsigned code, void **out, unsigned n);

// One aligned or uncached slot.
static inline void *sv_central_take_one(unsigned code)
{
    void *p;
    return sv_central_take(code, &p, 1) ? p : NULL;
}

// Gives n slots of `code` back. Every pointer is the start of a slot of that code. Returns NULL, or the
// first pointer whose slot wasn't in use (a second free); the others are given back all the same.
void *sv_central_give(unsigned code, void **slots, unsigned n);

// Sweeps spans of `code` until `budget` spans were looked at or none is left; returns bytes brought back.
size_t sv_central_sweep(unsigned code, unsigned budget);

// After a mark, with every central's lock held: all spans wait to be swept.
void sv_central_flip(void);

#endif
