// Sweep. `alloc &= mark`, never `alloc = mark`: a slot that the program freed after it was marked
// would come back to life. Marks are cleared as they are used, so a swept heap has none: the next
// mark starts from nothing without another pass. `live` was set to what is marked when the cycle
// flipped. A mark without an object (central.c tells how it comes about) was counted there too, and
// is subtracted here. With mode=leaks nothing is taken back: sweeping looks at what wasn't marked
// (leaks.c) and clears the marks, and `live` never was anything but what is out of spans.
//
// Large objects are swept at once, they are few and heavy. Small spans are swept when their code
// needs slots (central.c), by a thread that has time (sv_sweep_step), and in proportion to
// allocation, Go's way (runtime/mgcsweep.go, deductSweepCredit): of the bytes that may still be
// allocated before the next cycle starts, the share that is gone is the share of pages that must be
// swept. Whoever takes pages sweeps first for as many pages as it takes. There is no search for
// wholly dead spans that passes over the others: to sweep a span is to read its record, one cache
// line, which is all that such a search would save.
#include "sweep.h"

#include <string.h>

#include "assert.h"
#include "central.h"
#include "large.h"
#include "leaks.h"
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

// The objects all stay; what the last mark says of them is looked at, and cleared.
__attribute__((noinline)) static void span_keep(struct sv_span *span)
{
    struct sv_bits *bits = sv_span_bits(span);
    sv_leaks_span(span);
    for (unsigned w = 0; w < sv_span_words(span); w++)
        atomic_store_explicit(&bits[w].mark, 0, memory_order_relaxed);
    span->sweepgen = atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
    atomic_fetch_add_explicit(&sv_heap.sweep.swept, span->npages, memory_order_relaxed);
}

unsigned sv_sweep_span(struct sv_span *span)
{
    struct sv_bits *bits = sv_span_bits(span);
    unsigned freed = 0, ghosts = 0;
    sv_check(!sv_heap_marking());
    if (sv_unlikely(sv_leaks_on)) {
        span_keep(span);
        return 0;
    }
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
        ghosts += (unsigned)__builtin_popcountll(mark & ~alloc);
        if (mark)
            atomic_store_explicit(&bits[w].mark, 0, memory_order_relaxed);
    }
    span->sweepgen = atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
    span->hint = 0;
    atomic_fetch_add_explicit(&sv_heap.sweep.swept, span->npages, memory_order_relaxed);
    if (sv_unlikely(ghosts))
        atomic_fetch_sub_explicit(&sv_heap.live, ghosts * sv_span_slot_size(span),
                                  memory_order_relaxed);
    sv_check(freed <= span->nused);
    if (freed) {
        size_t bytes = freed * sv_span_slot_size(span);
        span->dirty = 1;
        span->nused = (uint16_t)(span->nused - freed);
        atomic_fetch_add_explicit(&sv_heap.reclaimed, bytes, memory_order_relaxed);
    }
    sv_costly(sv_check(sv_span_used(span) == span->nused));
    return freed;
}

size_t sv_sweep_large(void)
{
    unsigned budget = UINT32_MAX;
    size_t bytes = sv_large_sweep(&budget);
    sv_large_deferred_unmake();
    return bytes;
}

size_t sv_sweep_finish(void)
{
    size_t bytes = sv_sweep_large();
    for (unsigned code = 1; code < SV_NCODE; code++)
        bytes += sv_central_sweep(code, &(unsigned){UINT32_MAX});
    atomic_store_explicit(&sv_heap.sweep.gen, 0, memory_order_relaxed);
    return bytes;
}

// ---- by and by ----------------------------------------------------------------------------------

#define DISTANCE_SPARE ((uint64_t)1 << 20) // done so many bytes before the next cycle
#define DISTANCE_MIN ((uint64_t)8 << 10)
#define HOLD 8u           // spans swept in one hold of a central's lock
#define PAY_STEP 16u      // spans between looks at the debt
#define RECLAIM_SPARE 16u // spans looked at for pages, beside as many as pages are wanted

uint64_t sv_sweep_distance(uint64_t live, uint64_t trigger)
{
    if (trigger < live + DISTANCE_SPARE + DISTANCE_MIN)
        return DISTANCE_MIN;
    return trigger - live - DISTANCE_SPARE;
}

uint64_t sv_sweep_due(uint64_t pages, uint64_t allocated, uint64_t distance)
{
    if (allocated >= distance)
        return pages;
    while (distance >> 36) { // pages are fewer than 2^27: the product fits
        allocated >>= 1;
        distance >>= 1;
    }
    return pages * allocated / distance;
}

void sv_sweep_begin(uint64_t trigger)
{
    struct sv_sweep *s = &sv_heap.sweep;
    uint64_t live = atomic_load_explicit(&sv_heap.live, memory_order_relaxed);
    uint64_t allocated = atomic_load_explicit(&sv_heap.allocated, memory_order_relaxed);
    uint64_t distance = sv_sweep_distance(live, trigger);
    atomic_store_explicit(&s->swept, 0, memory_order_relaxed);
    atomic_store_explicit(&s->basis, allocated, memory_order_relaxed);
    atomic_store_explicit(&s->distance, distance, memory_order_relaxed);
    sv_lock_acquire(&sv_heap.lock);
    atomic_store_explicit(&s->pages, sv_heap.pages_inuse, memory_order_relaxed);
    sv_lock_release(&sv_heap.lock);
    uint32_t gen = atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
    atomic_store_explicit(&s->gen, gen, memory_order_relaxed);
}

// Sweeps up to *budget spans of one code.
static void code_step(unsigned code, unsigned *budget)
{
    while (*budget && sv_central_unswept(code)) {
        unsigned n = *budget < HOLD ? *budget : HOLD, left = n;
        sv_central_sweep(code, &left);
        *budget -= n - left;
    }
}

bool sv_sweep_step(unsigned budget)
{
    uint32_t gen = atomic_load_explicit(&sv_heap.sweep.gen, memory_order_relaxed);
    uint32_t from = atomic_load_explicit(&sv_heap.sweep.code, memory_order_relaxed);
    sv_large_sweep(&budget);
    for (unsigned i = 0; i < SV_NCODE && budget; i++) {
        unsigned code = (from + i) % SV_NCODE;
        code_step(code, &budget);
        atomic_store_explicit(&sv_heap.sweep.code, code, memory_order_relaxed);
    }
    if (budget == 0)
        return true;
    if (gen)
        atomic_compare_exchange_strong_explicit(&sv_heap.sweep.gen, &gen, 0, memory_order_relaxed,
                                                memory_order_relaxed);
    return false;
}

__attribute__((noinline)) void sv_sweep_pay(void)
{
    struct sv_sweep *s = &sv_heap.sweep;
    uint64_t allocated = atomic_load_explicit(&sv_heap.allocated, memory_order_relaxed) -
                         atomic_load_explicit(&s->basis, memory_order_relaxed);
    uint64_t due = sv_sweep_due(atomic_load_explicit(&s->pages, memory_order_relaxed), allocated,
                                atomic_load_explicit(&s->distance, memory_order_relaxed));
    while (atomic_load_explicit(&s->swept, memory_order_relaxed) < due && sv_sweep_step(PAY_STEP))
        continue;
}

__attribute__((noinline)) void sv_sweep_reclaim(uint32_t npages)
{
    uint32_t had = __atomic_load_n(&sv_heap.pages.nfree, __ATOMIC_RELAXED);
    for (uint32_t looked = 0; looked < npages + RECLAIM_SPARE; looked += PAY_STEP) {
        if (!sv_sweep_step(PAY_STEP))
            break;
        uint32_t now = __atomic_load_n(&sv_heap.pages.nfree, __ATOMIC_RELAXED);
        if (now >= had && now - had >= npages) // others take and give meanwhile: a guess will do
            break;
    }
}
