// Sweep. `alloc &= mark`, never `alloc = mark`: a slot that the program freed after it was marked
// would come back to life. Marks are cleared as they are used, so a swept heap has none: the next
// mark starts from nothing without another pass. `live` was set to what is marked when the cycle
// flipped. Small spans are swept lazily, when their code needs slots (central.c) and by whoever has
// time; large objects at once, they are few and heavy.
#include "sweep.h"

#include <string.h>

#include "assert.h"
#include "central.h"
#include "large.h"
#include "lock.h"
#include "options.h"
#include "pagemap.h"
#include "span.h"

static void slots_clobber(struct sv_span *span, unsigned w, uint64_t dead)
{
    size_t size = sv_span_slot_size(span);
    uintptr_t base = sv_page_addr((uint32_t)(span - sv_heap.spans));
    for (; dead; dead &= dead - 1)
        memset((void *)(base + (w * 64 + (unsigned)__builtin_ctzll(dead)) * size), SV_CLOBBER,
               size);
}

unsigned sv_sweep_span(struct sv_span *span)
{
    struct sv_bits *bits = sv_span_bits(span);
    unsigned freed = 0;
    for (unsigned w = 0; w < sv_span_words(span); w++) {
        uint64_t alloc = atomic_load_explicit(&bits[w].alloc, memory_order_relaxed);
        uint64_t mark = atomic_load_explicit(&bits[w].mark, memory_order_relaxed);
        uint64_t dead = alloc & ~mark;
        if (dead) {
            atomic_store_explicit(&bits[w].alloc, alloc & mark, memory_order_relaxed);
            freed += (unsigned)__builtin_popcountll(dead);
            if (sv_unlikely(sv_options.clobber))
                slots_clobber(span, w, dead);
        }
        if (mark)
            atomic_store_explicit(&bits[w].mark, 0, memory_order_relaxed);
    }
    span->sweepgen = atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
    span->hint = 0;
    if (freed) {
        size_t bytes = freed * sv_span_slot_size(span);
        span->dirty = 1;
        span->nused = (uint16_t)(span->nused - freed);
        atomic_fetch_add_explicit(&sv_heap.reclaimed, bytes, memory_order_relaxed);
    }
    return freed;
}

size_t sv_sweep_large(void)
{
    size_t bytes = 0;
    struct sv_span *span;
    while ((span = sv_large_take_dead())) {
        size_t size = sv_span_slot_size(span);
        atomic_fetch_add_explicit(&sv_heap.reclaimed, size, memory_order_relaxed);
        bytes += size;
        if (sv_unlikely(sv_options.clobber))
            memset((void *)sv_page_addr((uint32_t)(span - sv_heap.spans)), SV_CLOBBER, size);
        sv_large_unmake(span);
    }
    return bytes;
}

size_t sv_sweep_finish(void)
{
    size_t bytes = sv_sweep_large();
    for (unsigned code = 1; code < SV_NCODE; code++)
        bytes += sv_central_sweep(code, UINT32_MAX);
    return bytes;
}
