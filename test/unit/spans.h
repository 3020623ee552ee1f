// What must hold of all spans and central lists whenever nobody is at work: each test that moves
// slots ends with it.
#ifndef SV_TEST_SPANS_H
#define SV_TEST_SPANS_H

#include <criterion/criterion.h>

#include "central.h"
#include "heap.h"
#include "lock.h"
#include "pagealloc.h"
#include "pagemap.h"
#include "span.h"
#include "stretch.h"

static uint64_t spans_seed = 0x2545f4914f6cdd1d;

static inline unsigned spans_random(unsigned n)
{
    spans_seed ^= spans_seed << 13;
    spans_seed ^= spans_seed >> 7;
    spans_seed ^= spans_seed << 17;
    return (unsigned)((spans_seed >> 20) % n);
}

// A heap in which no cycle starts by itself.
static inline void spans_setup(void)
{
    cr_assert(sv_heap_init());
    atomic_store(&sv_heap.trigger, UINT64_MAX);
}

// What the driver of a cycle does when it begins and ends.
static inline void spans_phase(enum sv_phase phase)
{
    sv_heap_lock_all();
    atomic_store(&sv_heap.phase, phase);
    if (phase == SV_PHASE_MARK)
        atomic_store(&sv_heap.marked, 0);
    sv_heap_unlock_all();
}

static inline void spans_flip(void)
{
    sv_heap_lock_all();
    atomic_fetch_add(&sv_heap.sweepgen, 1);
    sv_central_flip();
    atomic_store(&sv_heap.live, sv_heap.marked);
    atomic_store(&sv_heap.phase, SV_PHASE_OFF);
    sv_heap_unlock_all();
}

// What is marked lies in stretches that say so. Nothing else is at work.
static inline void spans_stretches_check(void)
{
    for (uint32_t page = 1; page < sv_heap.grown; page++) {
        sv_pagemap_entry e = sv_pagemap_get(page);
        if (e == 0 || sv_pagemap_first(page, e) != page)
            continue;
        struct sv_span *span = sv_span_at(page);
        size_t size = sv_span_slot_size(span);
        for (unsigned i = 0; i < span->nslots; i++) {
            if (!(sv_span_bits(span)[i / 64].mark >> (i & 63) & 1))
                continue;
            uintptr_t at = sv_page_addr(page) + i * size - sv_heap.base;
            for (size_t k = at >> SV_STRETCH_SHIFT; k <= (at + size - 1) >> SV_STRETCH_SHIFT; k++)
                cr_assert(sv_stretch_marked((uint32_t)k), "code %u, page %u", span->code, page);
        }
    }
}

static inline bool spans_swept(const struct sv_span *span)
{
    return span->sweepgen == sv_heap.sweepgen;
}

// Alloc bits agree with nused, and none stands outside of the slots. Returns how many are set.
static inline unsigned span_check(struct sv_span *span, unsigned code)
{
    unsigned used = 0;
    cr_assert(span->code == code && span->nslots == sv_classes[sv_code_class(code)].nslots);
    for (unsigned w = 0; w < sv_span_words(span); w++) {
        struct sv_bits *bits = &sv_span_bits(span)[w];
        used += (unsigned)__builtin_popcountll(bits->alloc);
        cr_assert((bits->alloc & ~sv_span_mask(span, w)) == 0, "bits outside of the slots");
        cr_assert(!spans_swept(span) || w >= span->hint || bits->alloc == sv_span_mask(span, w),
                  "a free slot lies before the hint");
    }
    cr_assert(used == span->nused, "code %u: %u bits, nused %u", code, used, span->nused);
    return used;
}

// Spans of a list, from both ends alike.
static inline unsigned list_check(const struct sv_span_head *head, unsigned code, int list,
                                  uint64_t *used)
{
    unsigned n = 0;
    uint32_t last = 0;
    for (uint32_t page = head->first; page; page = sv_span_at(page)->next) {
        struct sv_span *span = sv_span_at(page);
        cr_assert(span->prev == last && ++n < 1000000);
        cr_assert(spans_swept(span) == (list != SV_LIST_UNSWEPT));
        cr_assert(list == SV_LIST_UNSWEPT || span->list == list);
        unsigned slots = span_check(span, code);
        cr_assert(list != SV_LIST_FULL || slots == span->nslots);
        cr_assert(list != SV_LIST_PARTIAL || slots < span->nslots);
        for (uint32_t i = 0; i < span->npages; i++)
            cr_assert(sv_pagemap_first(page + i, sv_pagemap_get(page + i)) == page);
        *used += slots;
        last = page;
    }
    cr_assert(head->last == last);
    return n;
}

// When everything is swept: no mark is left for the next cycle to take for its own.
static inline void spans_unmarked(void)
{
    for (uint32_t page = 1; page < sv_heap.grown; page++) {
        sv_pagemap_entry e = sv_pagemap_get(page);
        if (e == 0 || sv_pagemap_first(page, e) != page)
            continue;
        struct sv_span *span = sv_span_at(page);
        cr_assert(spans_swept(span), "page %u is unswept", page);
        for (unsigned w = 0; w < sv_span_words(span); w++)
            cr_assert(sv_span_bits(span)[w].mark == 0, "page %u has marks", page);
    }
}

// Returns the bytes in use.
static inline uint64_t spans_check(void)
{
    uint64_t bytes = 0, pages = 0;
    for (unsigned code = 0; code < SV_NCODE; code++) {
        struct sv_central *central = &sv_heap.central[code];
        const struct sv_class *class = &sv_classes[sv_code_class(code)];
        uint64_t used = 0;
        unsigned n = list_check(&central->partial, code, SV_LIST_PARTIAL, &used) +
                     list_check(&central->full, code, SV_LIST_FULL, &used) +
                     list_check(&central->unswept, code, SV_LIST_UNSWEPT, &used);
        cr_assert(n == central->nspans, "code %u: %u spans, not %u", code, n, central->nspans);
        cr_assert(used == central->nused, "code %u: %lu slots, not %lu", code, used,
                  central->nused);
        cr_assert(central->allocated == used + central->freed + central->reclaimed);
        bytes += used * class->size;
        pages += n * class->pages;
    }
    uint64_t large = 0, deferred = 0;
    for (uint32_t page = sv_heap.large_deferred; page; page = sv_span_at(page)->next)
        deferred += sv_span_at(page)->npages;
    for (uint32_t page = sv_heap.large_first; page; page = sv_span_at(page)->next)
        large += sv_span_at(page)->npages;
    cr_assert(sv_heap.large_live == large << SV_PAGE_SHIFT);
    cr_assert(sv_heap.pages_inuse == pages + large + deferred, "%lu pages", sv_heap.pages_inuse);
    sv_pagealloc_check(&sv_heap.pages);
    return bytes + (large << SV_PAGE_SHIFT);
}

#endif
