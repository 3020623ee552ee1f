// Sweeping: taking back what the last mark didn't reach. It writes bitmaps only, never an object
// (but under the option clobber), and never needs the world stopped.
#ifndef SV_SWEEP_H
#define SV_SWEEP_H

#include "core.h"
#include "heap.h"

// alloc &= mark, mark = 0, for a span whose code's lock is held; returns how many slots came back:
// none in mode=leaks.
unsigned sv_sweep_span(struct sv_span *span);

// Large objects that the last mark didn't reach, all of them, and the spans of those that were
// freed while it ran; returns bytes. No lock held.
size_t sv_sweep_large(void);

// Everything that is left to sweep; returns bytes. No lock held. Before a cycle, after a forced
// one, and after one that was given up (for what was kept while it marked).
size_t sv_sweep_finish(void);

// A cycle has flipped: from now on allocation pays for the sweep so that it is done when `live`
// reaches `trigger`, where the next cycle starts. The driver calls it, no lock held.
void sv_sweep_begin(uint64_t trigger);

// Sweeps up to `budget` spans, of whatever code, each lock held for a few of them only; false when
// nothing is left. No lock held; any thread, several at a time.
bool sv_sweep_step(unsigned budget);

// The pages that should have been swept when `allocated` of `distance` bytes have left the heap.
uint64_t sv_sweep_due(uint64_t pages, uint64_t allocated, uint64_t distance);

// The bytes that a sweep may take when it begins with so many live (Go's gcPaceSweeper).
uint64_t sv_sweep_distance(uint64_t live, uint64_t trigger);

// The slow halves of the two below.
void sv_sweep_pay(void);
void sv_sweep_reclaim(uint32_t npages);

// Is a sweep under way? A stale answer does no harm.
static inline bool sv_sweep_active(void)
{
    return atomic_load_explicit(&sv_heap.sweep.gen, memory_order_relaxed) != 0;
}

// Called when memory leaves the heap, with no lock held: sweeps what is due.
static inline void sv_sweep_charge(void)
{
    if (sv_unlikely(sv_sweep_active()))
        sv_sweep_pay();
}

// Called before pages leave the page heap, with no lock held: looks for as many that can be had by
// sweeping, so that the heap doesn't grow over garbage.
static inline void sv_sweep_first(uint32_t npages)
{
    if (sv_unlikely(sv_sweep_active()))
        sv_sweep_reclaim(npages);
}

#endif
