// Central lists of spans, one for each code, each under a lock of its own.
//
// Slots move in batches: a cache pays one lock for many of them. They move between the bits and the
// cache's array while the lock is held, and who stops the world holds all these locks: so a slot is
// always free in its span, or in a cache, or with the program.
//
// A span is on exactly one list: partial (swept, some slot free), full, or unswept. A span whose
// slots all came back returns its pages, but for one that is kept while it is its code's only one
// with free slots, so that a program at the edge doesn't make and unmake the same span for ever.
// Spans that just ceased to be full go to the front: they fill up again soon, and the sparse ones
// behind them have time to become empty. Empty ones stand at the end of the list, and nothing but
// empty ones behind them.
//
// While objects are marked (enum sv_phase) no span is unmade: empty ones stay on the partial list
// until a sweep finds them, that of the cycle or, when the cycle was given up, the next. Slots that
// leave a span then get their mark, and lose it when they come back. A marker that found a slot in
// use just before it came back may set the mark afterwards: a mark without an object, which counts
// in `marked` all the same, stays for whoever takes the slot, and is subtracted by sweep.
//
// A span is unswept when its sweepgen isn't the heap's; its own note of a list is then stale,
// because flipping moves whole lists without visiting their spans.
#include "central.h"

#include <string.h>

#include "assert.h"
#include "chaos.h"
#include "leaks.h"
#include "lock.h"
#include "mark.h"
#include "pagemap.h"
#include "scavenge.h"
#include "span.h"
#include "stretch.h"
#include "sweep.h"

#define SWEEP_TRIES 100 // spans swept for slots in one hold of the lock (Go's number)

void sv_central_init(void)
{
    for (unsigned code = 0; code < SV_NCODE; code++)
        sv_heap.central[code].code = code;
}

// What went back to the page heap may be too much of it: looked at without the lock.
static void central_release(struct sv_central *central)
{
    bool gave = central->gave;
    central->gave = false;
    sv_lock_release(&central->lock);
    if (gave)
        sv_scavenge_poll();
}

static bool span_unswept(const struct sv_span *span)
{
    return span->sweepgen != atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
}

static void central_unmake(struct sv_central *central, struct sv_span *span)
{
    sv_check(!sv_heap_marking() && span->nused == 0);
    central->nspans--;
    central->gave = true;
    sv_lock_acquire(&sv_heap.lock);
    sv_span_unmake(span);
    sv_lock_release(&sv_heap.lock);
}

// Puts a swept span that is on no list where its use says. It may be unmade.
static void central_place(struct sv_central *central, struct sv_span *span)
{
    if (span->nused == 0 && central->partial.first && !sv_heap_marking()) {
        central_unmake(central, span);
    } else if (span->nused == span->nslots) {
        sv_span_push(&central->full, span, SV_LIST_FULL);
    } else if (span->nused == 0) {
        sv_span_append(&central->partial, span, SV_LIST_PARTIAL);
    } else {
        sv_span_push(&central->partial, span, SV_LIST_PARTIAL);
    }
}

static size_t central_sweep_span(struct sv_central *central, struct sv_span *span)
{
    sv_span_remove(&central->unswept, span);
    unsigned freed = sv_sweep_span(span);
    central->nused -= freed;
    central->reclaimed += freed;
    central_place(central, span);
    return freed * sv_span_slot_size(span);
}

// Unmakes the empty spans, but for one, that a mark made the partial list keep.
static void central_trim(struct sv_central *central)
{
    while (central->partial.first != central->partial.last && !sv_heap_marking()) {
        struct sv_span *span = sv_span_at(central->partial.last);
        if (span->nused != 0)
            break;
        sv_span_remove(&central->partial, span);
        central_unmake(central, span);
    }
}

static struct sv_span *central_grow(struct sv_central *central)
{
    const struct sv_class *class = &sv_classes[sv_code_class(central->code)];
    bool clean;
    sv_lock_acquire(&sv_heap.lock);
    uint32_t page = sv_heap_pages_take(class->pages, 1, &clean);
    sv_lock_release(&sv_heap.lock);
    if (page == SV_NOPAGE)
        return NULL;
    struct sv_span *span = sv_span_make(page, class->pages, central->code, clean);
    central->nspans++;
    sv_span_push(&central->partial, span, SV_LIST_PARTIAL);
    return span;
}

// Of a code whose objects all live, only so many spans are looked at before it gets a new one.
static struct sv_span *central_partial(struct sv_central *central)
{
    for (unsigned i = 0; i < SWEEP_TRIES && !central->partial.first && central->unswept.first; i++)
        central_sweep_span(central, sv_span_at(central->unswept.first));
    if (central->partial.first)
        return sv_span_at(central->partial.first);
    return central_grow(central);
}

// Marks slots that are about to leave; returns how many of them were not marked yet.
static unsigned bits_blacken(struct sv_bits *bits, uint64_t slots)
{
    uint64_t old = atomic_fetch_or_explicit(&bits->mark, slots, memory_order_relaxed);
    return (unsigned)__builtin_popcountll(slots & ~old);
}

// Up to n free slots of one span into out[-1], out[-2]...: the lowest comes out of the cache first.
static unsigned span_take(struct sv_span *span, void **out, unsigned n)
{
    bool marking = sv_heap_marking();
    unsigned black = 0;
    struct sv_bits *bits = sv_span_bits(span);
    uintptr_t base = sv_page_addr((uint32_t)(span - sv_heap.spans));
    size_t size = sv_span_slot_size(span);
    unsigned words = sv_span_words(span), got = 0, w = span->hint;
    for (; got < n && w < words; w++) {
        uint64_t alloc = atomic_load_explicit(&bits[w].alloc, memory_order_relaxed);
        uint64_t free = ~alloc & sv_span_mask(span, w), taken = 0;
        uintptr_t word = base + w * 64 * size;
        span->hint = w;
        for (; free && got < n; free &= free - 1) {
            out[-1 - (int)got++] = (void *)(word + (unsigned)__builtin_ctzll(free) * size);
            taken |= free & -free;
        }
        if (sv_unlikely(marking)) {
            black += bits_blacken(&bits[w], taken);
            sv_stretch_note_span(span);
            sv_chaos();
        }
        atomic_store_explicit(&bits[w].alloc, alloc | taken, memory_order_relaxed);
    }
    if (sv_unlikely(black))
        atomic_fetch_add_explicit(&sv_heap.marked, black * size, memory_order_relaxed);
    span->nused = (uint16_t)(span->nused + got);
    sv_debug(span->nused <= span->nslots && !span_unswept(span));
    sv_costly(sv_check(sv_span_used(span) == span->nused));
    return got;
}

// Up to n slots into out[-1] downwards, lock held.
static unsigned central_take(struct sv_central *central, void **out, unsigned n)
{
    size_t size = sv_classes[sv_code_class(central->code)].size;
    unsigned got = 0;
    while (got < n) {
        struct sv_span *span = central_partial(central);
        if (!span)
            break;
        got += span_take(span, out - got, n - got);
        if (span->nused == span->nslots) {
            sv_span_remove(&central->partial, span);
            sv_span_push(&central->full, span, SV_LIST_FULL);
        }
        if (got * size >= SV_PAGE_SIZE && got > 1)
            break; // one page's worth is a batch: don't gather small rests from many spans
    }
    central->nused += got;
    central->allocated += got;
    atomic_fetch_add_explicit(&sv_heap.live, got * size, memory_order_relaxed);
    atomic_fetch_add_explicit(&sv_heap.allocated, got * size, memory_order_relaxed);
    return got;
}

// Takes the lock, to take slots. They are paid for before, as are the pages of a new span if it
// looks as if one were needed.
static void central_enter(struct sv_central *central)
{
    sv_sweep_charge();
    if (sv_unlikely(sv_sweep_active()) && !sv_central_unswept(central->code) &&
        !__atomic_load_n(&central->partial.first, __ATOMIC_RELAXED))
        sv_sweep_reclaim(sv_classes[sv_code_class(central->code)].pages);
    sv_lock_acquire(&central->lock);
}

bool sv_central_fill(unsigned code, struct sv_bin *bin, unsigned n)
{
    struct sv_central *central = &sv_heap.central[code];
    central_enter(central);
    unsigned got = central_take(central, bin->base + n, n);
    if (got < n)
        memmove(bin->base, bin->base + (n - got), got * sizeof *bin->base);
    bin->top = bin->base + got;
    central_release(central);
    return got != 0;
}

void *sv_central_take(unsigned code)
{
    struct sv_central *central = &sv_heap.central[code];
    void *slot = NULL;
    central_enter(central);
    central_take(central, &slot + 1, 1);
    central_release(central);
    return slot;
}

// Slots come back in runs of the same span, and of the same word of its bits. The cursor gathers a
// word's slots and writes them once; what concerns the span as a whole (its count, its list, its
// pages) is done when the cursor leaves it. Lock held while a cursor is in use.
struct cursor {
    struct sv_span *span;
    struct sv_bits *bits;
    uintptr_t base;
    size_t bytes;     // of the span; 0: no span at hand
    uint32_t magic;   // the span's
    uint32_t hint;    // lowest word of bits given back so far
    uint32_t word;    // that `pending` belongs to
    uint64_t pending; // slots of it that come back
    bool marking;     // marks go with their slots
    unsigned given;   // slots of this span that were in use
    unsigned total;   // slots of all spans that were in use
    void *bad;        // the first slot that wasn't in use
};

// Slots that came back lose their marks, and `marked` their bytes.
static void bits_whiten(struct sv_bits *bits, uint64_t slots, size_t size)
{
    uint64_t old = atomic_fetch_and_explicit(&bits->mark, ~slots, memory_order_relaxed);
    unsigned n = (unsigned)__builtin_popcountll(old & slots);
    if (n)
        atomic_fetch_sub_explicit(&sv_heap.marked, n * size, memory_order_relaxed);
}

// The slots of one word. What isn't in use was freed before.
static void cursor_write(struct cursor *at)
{
    struct sv_bits *bits = &at->bits[at->word];
    uint64_t alloc = atomic_load_explicit(&bits->alloc, memory_order_relaxed);
    uint64_t wrong = at->pending & ~alloc;
    if (sv_unlikely(wrong) && !at->bad)
        at->bad = (void *)(at->base + (at->word * 64 + (unsigned)__builtin_ctzll(wrong)) *
                                          sv_span_slot_size(at->span));
    atomic_store_explicit(&bits->alloc, alloc & ~at->pending, memory_order_relaxed);
    at->given += (unsigned)__builtin_popcountll(at->pending & alloc);
    if (sv_unlikely(at->marking)) {
        sv_chaos();
        bits_whiten(bits, at->pending & alloc, sv_span_slot_size(at->span));
    }
    if (at->word < at->hint)
        at->hint = at->word;
    at->pending = 0;
}

static void cursor_leave(struct sv_central *central, struct cursor *at)
{
    struct sv_span *span = at->span;
    if (at->bytes == 0)
        return;
    cursor_write(at);
    if (at->given == 0)
        return;
    at->total += at->given;
    sv_check(span->nused >= at->given);
    bool full = span->nused == span->nslots;
    span->nused = (uint16_t)(span->nused - at->given);
    span->dirty = 1;
    sv_costly(sv_check(sv_span_used(span) == span->nused));
    if (at->hint < span->hint)
        span->hint = at->hint;
    if (full || span->nused == 0) {
        sv_span_remove(full ? &central->full : &central->partial, span);
        central_place(central, span); // which may unmake it
    }
}

__attribute__((noinline)) static void cursor_move(struct sv_central *central, struct cursor *at,
                                                  uintptr_t slot)
{
    cursor_leave(central, at);
    uint32_t page = (uint32_t)sv_page_of(slot);
    uint32_t first = sv_pagemap_first(page, sv_pagemap_get(page));
    struct sv_span *span = sv_span_at(first);
    if (sv_unlikely(span_unswept(span)))
        central_sweep_span(central, span);
    *at = (struct cursor){.span = span,
                          .bits = sv_span_bits(span),
                          .base = sv_page_addr(first),
                          .bytes = (size_t)span->npages << SV_PAGE_SHIFT,
                          .magic = span->magic,
                          .hint = UINT32_MAX,
                          .word =
                              sv_slot_of((uint32_t)(slot - sv_page_addr(first)), span->magic) / 64,
                          .marking = at->marking,
                          .total = at->total,
                          .bad = at->bad};
}

static inline void cursor_give(struct sv_central *central, struct cursor *at, uintptr_t slot)
{
    if (slot - at->base >= at->bytes)
        cursor_move(central, at, slot);
    unsigned i = sv_slot_of((uint32_t)(slot - at->base), at->magic);
    uint64_t bit = (uint64_t)1 << (i & 63);
    if (i / 64 != at->word) {
        cursor_write(at);
        at->word = i / 64;
    }
    if (sv_unlikely(at->pending & bit) && !at->bad) // twice in one batch
        at->bad = (void *)slot;
    at->pending |= bit;
}

// Slots on their way back that lie in unswept spans count as reached. If the last cycle didn't
// reach one, the program hides pointers; it is freed then, not swept, and no second free.
__attribute__((noinline)) static void slots_keep(void **slots, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct sv_mark_place at;
        if (!sv_mark_find((uintptr_t)slots[i], &at) || !span_unswept(at.span))
            continue;
        uint64_t mark = atomic_fetch_or_explicit(&at.bits->mark, at.bit, memory_order_relaxed);
        if (!(mark & at.bit) && !sv_leaks_on) // the flip took it out of `live`, as freeing will
            atomic_fetch_add_explicit(&sv_heap.live, sv_span_slot_size(at.span),
                                      memory_order_relaxed);
    }
}

static void central_given(struct sv_central *central, size_t n)
{
    size_t bytes = n * sv_classes[sv_code_class(central->code)].size;
    central->freed += n;
    central->nused -= n;
    atomic_fetch_sub_explicit(&sv_heap.live, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&sv_heap.freed, bytes, memory_order_relaxed);
}

void *sv_central_flush(unsigned code, struct sv_bin *bin, unsigned n)
{
    struct sv_central *central = &sv_heap.central[code];
    sv_lock_acquire(&central->lock);
    struct cursor at = {.marking = sv_heap_marking()};
    if (sv_unlikely(central->unswept.first))
        slots_keep(bin->base, n);
    for (unsigned i = 0; i < n; i++)
        cursor_give(central, &at, (uintptr_t)bin->base[i]);
    cursor_leave(central, &at);
    size_t left = (size_t)(bin->top - bin->base) - n;
    memmove(bin->base, bin->base + n, left * sizeof *bin->base);
    bin->top = bin->base + left;
    central_given(central, at.total);
    central_release(central);
    return at.bad;
}

bool sv_central_give(unsigned code, void *slot)
{
    struct sv_central *central = &sv_heap.central[code];
    sv_lock_acquire(&central->lock);
    struct cursor at = {.marking = sv_heap_marking()};
    if (sv_unlikely(central->unswept.first))
        slots_keep(&slot, 1);
    cursor_give(central, &at, (uintptr_t)slot);
    cursor_leave(central, &at);
    central_given(central, at.total);
    central_release(central);
    return !at.bad;
}

size_t sv_central_sweep(unsigned code, unsigned *budget)
{
    struct sv_central *central = &sv_heap.central[code];
    size_t bytes = 0;
    sv_lock_acquire(&central->lock);
    for (; *budget && central->unswept.first; --*budget)
        bytes += central_sweep_span(central, sv_span_at(central->unswept.first));
    central_trim(central);
    central_release(central);
    return bytes;
}

static void list_splice(struct sv_span_head *to, struct sv_span_head *from)
{
    if (!from->first)
        return;
    if (to->last) {
        sv_span_at(to->last)->next = from->first;
        sv_span_at(from->first)->prev = to->last;
    } else {
        to->first = from->first;
    }
    to->last = from->last;
    from->first = from->last = 0;
}

void sv_central_flip(void)
{
    for (unsigned code = 0; code < SV_NCODE; code++) {
        struct sv_central *central = &sv_heap.central[code];
        list_splice(&central->unswept, &central->partial);
        list_splice(&central->unswept, &central->full);
    }
}
