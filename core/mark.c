// Marking is waiting for memory: a random graph costs a cache miss for an object's span record and
// another for the object. Two rings keep misses in flight. A word that passes the filter (it lies
// in the region) has its record's line prefetched and waits in the first ring; when it comes out
// its mark is checked and set, and a newly marked object goes on the queue; what the queue yields
// has its own first lines prefetched and waits in the second ring; when it comes out it is scanned.
//
// A pointer may stand at every fourth byte: packed structures are common enough (ruby keeps its
// streams' buffers by such a pointer); in code that the program generated, at every byte (java's
// compiled calls).
//
// A word counts only if it lies on a page in use, in a slot and not in the span's tail, and that
// slot is in use; then the whole object is kept, wherever in it the word points. Objects of more
// than 128 KiB are scanned in pieces of that size (oblets), each an entry of the queue, and of
// objects of a megabyte and more only the pages that were ever touched.
#include "mark.h"

#include "options.h"
#include "pagemap.h"
#include "span.h"

#define OBLET ((size_t)128 << 10)
#define SPARSE_MIN ((size_t)1 << 20)

static struct sv_bits *place_bits(struct sv_span *span, unsigned i)
{
    return &sv_span_bits(span)[i / 64];
}

bool sv_mark_find(uintptr_t word, struct sv_mark_place *place)
{
    uint64_t page = sv_page_of(word);
    if (page >= sv_heap.grown)
        return false;
    sv_pagemap_entry e = sv_pagemap_get(page);
    if (e == 0)
        return false;
    uint32_t first = sv_pagemap_first((uint32_t)page, e);
    struct sv_span *span = sv_span_at(first);
    unsigned i = sv_slot_of((uint32_t)(word - sv_page_addr(first)), span->magic);
    if (i >= span->nslots)
        return false;
    place->span = span;
    place->bits = place_bits(span, i);
    place->bit = (uint64_t)1 << (i & 63);
    if (!(atomic_load_explicit(&place->bits->alloc, memory_order_relaxed) & place->bit))
        return false;
    place->start = sv_page_addr(first) + i * sv_span_slot_size(span);
    return true;
}

// True when the mark is new.
static inline bool place_mark(struct sv_marker *m, const struct sv_mark_place *at)
{
    if (atomic_load_explicit(&at->bits->mark, memory_order_relaxed) & at->bit)
        return false;
    atomic_fetch_or_explicit(&at->bits->mark, at->bit, memory_order_relaxed);
    m->objects++;
    m->bytes += sv_span_slot_size(at->span);
    return true;
}

void sv_mark_word(struct sv_marker *m, uintptr_t word)
{
    struct sv_mark_place at;
    if (sv_mark_find(word, &at) && place_mark(m, &at) && !sv_code_noscan(at.span->code))
        sv_work_push(&m->work, at.start);
}

void sv_mark_black(struct sv_marker *m, void *slot)
{
    struct sv_mark_place at;
    if (sv_mark_find((uintptr_t)slot, &at))
        place_mark(m, &at);
}

// ---- the first ring -----------------------------------------------------------------------------

static inline void candidate_retire(struct sv_marker *m)
{
    uintptr_t word = m->candidates[m->candidate_at % SV_MARK_CANDIDATES];
    m->candidate_at++;
    m->ncandidates--;
    sv_mark_word(m, word);
}

static inline void candidate_add(struct sv_marker *m, uintptr_t word)
{
    uint64_t page = sv_page_of(word);
    if (page >= sv_heap.grown)
        return;
    sv_pagemap_entry e = sv_heap.pagemap[page]; // dense: four bytes a page, mostly cached
    if (e == 0)
        return;
    if (m->ncandidates == SV_MARK_CANDIDATES)
        candidate_retire(m);
    uint32_t first = sv_pagemap_first((uint32_t)page, e);
    __builtin_prefetch(sv_span_at(first));
    unsigned class = sv_code_class(sv_pagemap_code(e));
    if (class <= SV_DENSE_CLASS_MAX) {
        unsigned i = (unsigned)((word - sv_page_addr(first)) / sv_classes[class].size);
        __builtin_prefetch(&sv_heap.dense[first].bits[i / 64]);
    }
    m->candidates[(m->candidate_at + m->ncandidates++) % SV_MARK_CANDIDATES] = word;
}

// ---- scanning -----------------------------------------------------------------------------------

// The words that start `shift` bytes after lo, up to SV_MARK_WORDS of them, wholly below hi.
static void piece_scan(struct sv_marker *m, uintptr_t lo, uintptr_t hi, unsigned shift)
{
    if (hi - lo < shift + sizeof(uintptr_t))
        return;
    size_t n = (hi - lo - shift) / sizeof(uintptr_t);
    n = n > SV_MARK_WORDS ? SV_MARK_WORDS : n;
    size_t hits =
        m->filter((const uintptr_t *)(lo + shift), n, sv_heap.base, sv_heap.size, m->found);
    for (size_t i = 0; i < hits; i++)
        candidate_add(m, m->found[i]);
}

// With tags in the words' top bits the kernels don't serve; a plain loop looks at every byte.
__attribute__((noinline)) static void tagged_scan(struct sv_marker *m, uintptr_t lo, uintptr_t hi)
{
    for (uintptr_t at = lo; at + sizeof(uintptr_t) <= hi; at += SV_MARK_WORDS) {
        uintptr_t end = at + SV_MARK_WORDS + sizeof(uintptr_t) - 1; // what a word sticks out
        size_t n = sv_words_filter_loose(at, end < hi ? end : hi, sv_options.tagbits, true,
                                         sv_heap.base, sv_heap.size, m->found);
        for (size_t i = 0; i < n; i++)
            candidate_add(m, m->found[i]);
    }
}

// Looks at the words of [lo, hi) that start at multiples of `align` bytes. Each piece is in the
// nearest cache when it is looked at for the second time.
static void words_scan(struct sv_marker *m, uintptr_t lo, uintptr_t hi, unsigned align)
{
    m->scanned += hi - lo;
    if (sv_unlikely(sv_options.tagbits)) {
        tagged_scan(m, lo, hi);
        return;
    }
    for (; lo < hi; lo += SV_MARK_WORDS * sizeof(uintptr_t))
        for (unsigned shift = 0; shift < sizeof(uintptr_t); shift += align)
            piece_scan(m, lo, hi, shift);
}

static void range_scan(void *arg, uintptr_t lo, uintptr_t hi)
{
    words_scan(arg, lo, hi, sv_options.align);
}

// One piece of a large object. Pages that were never touched are left out; a pointer that stands
// across the piece's end is looked at with the words around that border.
static void large_scan(struct sv_marker *m, uintptr_t at, uintptr_t start, size_t size)
{
    uintptr_t end = start + size;
    if (at == start)
        for (uintptr_t next = start + OBLET; next < end; next += OBLET)
            sv_work_push(&m->work, next);
    uintptr_t hi = end - at > OBLET ? at + OBLET : end;
    if (size < SPARSE_MIN ||
        sv_pages_each(m->pages, at, hi, SV_MAP_READ | SV_MAP_WRITE, range_scan, m) != 0)
        range_scan(m, at, hi);
    if (hi < end)
        range_scan(m, hi - sizeof(uintptr_t), hi + sizeof(uintptr_t));
}

static void object_scan(struct sv_marker *m, uintptr_t at)
{
    uint32_t page = (uint32_t)sv_page_of(at);
    sv_pagemap_entry e = sv_pagemap_get(page);
    unsigned class = sv_code_class(sv_pagemap_code(e));
    if (class != SV_CLASS_LARGE) {
        range_scan(m, at, at + sv_classes[class].size);
        return;
    }
    uint32_t first = sv_pagemap_first(page, e);
    large_scan(m, at, sv_page_addr(first), (size_t)sv_span_at(first)->npages << SV_PAGE_SHIFT);
}

void sv_mark_range(struct sv_marker *m, uintptr_t lo, uintptr_t hi, bool code)
{
    lo = (lo + sizeof(uintptr_t) - 1) & ~(sizeof(uintptr_t) - 1);
    if (lo == m->range_end && hi > lo) // a packed pointer may stand across the border of two ranges
        lo -= sizeof(uintptr_t);
    if (hi > lo)
        words_scan(m, lo, hi, code ? 1 : sv_options.align);
    m->range_end = hi;
}

bool sv_mark_drain(struct sv_marker *m)
{
    for (;;) {
        uintptr_t object;
        while (m->nobjects < SV_MARK_OBJECTS && (object = sv_work_pop(&m->work)) != 0) {
            __builtin_prefetch((const void *)object);
            __builtin_prefetch((const void *)(object + SV_CACHE_LINE));
            m->ring[(m->object_at + m->nobjects++) % SV_MARK_OBJECTS] = object;
        }
        if (m->nobjects) {
            object = m->ring[m->object_at++ % SV_MARK_OBJECTS];
            m->nobjects--;
            object_scan(m, object);
        } else if (m->ncandidates) {
            candidate_retire(m);
        } else {
            return !m->work.failed;
        }
    }
}

void sv_mark_begin(struct sv_marker *m, const struct sv_pages *pages)
{
    *m = (struct sv_marker){.filter = sv_words_best(), .pages = pages};
}

void sv_mark_clear(void)
{
    for (uint32_t page = 1; page < sv_heap.grown;) {
        sv_pagemap_entry e = sv_pagemap_get(page);
        if (e == 0) {
            page++;
            continue;
        }
        struct sv_span *span = sv_span_at(page);
        struct sv_bits *bits = sv_span_bits(span);
        for (unsigned w = 0; w < sv_span_words(span); w++)
            atomic_store_explicit(&bits[w].mark, 0, memory_order_relaxed);
        page += span->npages;
    }
}
