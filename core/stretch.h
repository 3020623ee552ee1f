// Stretches of the heap: a byte for each MiB of it, set when an object there is marked. What the
// program wrote matters only where something is marked, so only those stretches are asked about:
// where garbage lies, the kernel's tables of pages needn't be walked over while the world stands
// still.
//
// Set by whoever sets a mark, after it; cleared before the first mark of a cycle, world stopped.
// Relaxed: a look beside the program that misses a byte misses what a later look finds, and a
// stopped world has written what it marked.
#ifndef SV_STRETCH_H
#define SV_STRETCH_H

#include <string.h>

#include "core.h"
#include "heap.h"
#include "pagemap.h"

#define SV_STRETCH_SHIFT (SV_PAGE_SHIFT + SV_STRETCH_PAGES_SHIFT)

// Stretches that so many pages from the heap's first lie in.
static inline uint32_t sv_stretch_count(uint64_t pages)
{
    return (uint32_t)((pages + (1u << SV_STRETCH_PAGES_SHIFT) - 1) >> SV_STRETCH_PAGES_SHIFT);
}

static inline void sv_stretch_set(uint64_t i)
{
    // The plain look first: the line is shared by all markers.
    if (sv_unlikely(!atomic_load_explicit(&sv_heap.stretches[i], memory_order_relaxed)))
        atomic_store_explicit(&sv_heap.stretches[i], 1, memory_order_relaxed);
}

// An object of so many bytes is marked; bytes > 0.
static inline void sv_stretch_note(uintptr_t start, size_t bytes)
{
    uint64_t i = (start - sv_heap.base) >> SV_STRETCH_SHIFT;
    uint64_t last = (start - sv_heap.base + bytes - 1) >> SV_STRETCH_SHIFT;
    sv_stretch_set(i);
    while (sv_unlikely(i < last))
        sv_stretch_set(++i);
}

// Some objects of this span are marked, wherever in it.
static inline void sv_stretch_note_span(const struct sv_span *span)
{
    sv_stretch_note(sv_page_addr((uint32_t)(span - sv_heap.spans)),
                    (size_t)span->npages << SV_PAGE_SHIFT);
}

static inline bool sv_stretch_marked(uint32_t i)
{
    return atomic_load_explicit(&sv_heap.stretches[i], memory_order_relaxed);
}

// World stopped.
static inline void sv_stretch_clear(void)
{
    memset((void *)sv_heap.stretches, 0, sv_stretch_count(sv_heap.grown));
}

#endif
