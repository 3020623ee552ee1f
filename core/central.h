// Central lists: for each code, the spans that threads' caches are filled from and emptied into.
#ifndef SV_CENTRAL_H
#define SV_CENTRAL_H

#include "core.h"
#include "heap.h"

// Empty lists; once, at start, before the first request.
void sv_central_init(void);

// Fills an empty bin with up to n slots (n >= 1), of each span the lowest address on top. False
// when memory is short. Sweeps what it must. No lock held; the bin is the calling thread's.
bool sv_central_fill(unsigned code, struct sv_bin *bin, unsigned n);

// Gives the bin's n oldest slots back. NULL, or the first slot that wasn't in use (a second free);
// the others are given back all the same.
void *sv_central_flush(unsigned code, struct sv_bin *bin, unsigned n);

// The same for one slot without a cache.
void *sv_central_take(unsigned code);
bool sv_central_give(unsigned code, void *slot);

// Sweeps up to *budget spans of `code` and counts it down; returns bytes. When *budget is left
// over, no span remains unswept.
size_t sv_central_sweep(unsigned code, unsigned *budget);

// Does a span of `code` wait to be swept? A guess: no lock is held.
static inline bool sv_central_unswept(unsigned code)
{
    return __atomic_load_n(&sv_heap.central[code].unswept.first, __ATOMIC_RELAXED) != 0;
}

// After a mark, with every central's lock held: all spans wait to be swept.
void sv_central_flip(void);

#endif
