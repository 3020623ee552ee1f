// Marking is waiting for memory: a random graph costs a cache miss for an object's span record and
// another for the object. Two rings keep misses in flight. A word that passes the filter (it lies
// in the region) is looked up in the page map, which is small enough to be in a cache; the line
// with its slot's bits is prefetched, and it waits in the first ring; when it comes out its mark
// is checked and set, and a newly marked object goes on the queue; what the queue yields has its
// own first lines prefetched and waits in the second ring; when it comes out it is scanned.
//
// A pointer may stand at every fourth byte: packed structures are common enough (ruby keeps its
// streams' buffers by such a pointer); in code that the program generated, at every byte (java's
// compiled calls).
//
// A word counts only if it lies on a page in use, in a slot and not in the span's tail, and that
// slot is in use; then the whole object is kept, wherever in it the word points. Objects of more
// than 128 KiB are scanned in pieces of that size (oblets), each an entry of the queue, and of
// objects of a megabyte and more only the pages that were ever touched. Where an oblet is left in
// the middle, because somebody waits, what remains of it is an entry again.
//
// The program runs meanwhile. It changes words while they are read: what is stored into a page
// comes up again as a page that was written (sv_mark_page). It takes slots: those are marked as
// they go. It makes spans: their records are complete before the page map names them. It frees:
// the alloc bit goes, the mark stays and means nothing. Several markers meet at the mark bits
// only, which are set by an atomic OR; whose OR changed the bit queues the object.
#include "mark.h"

#include "assert.h"
#include "client.h"
#include "options.h"
#include "pagemap.h"
#include "span.h"
#include "stretch.h"

#define OBLET ((size_t)128 << 10)
#define OBLET_BATCH 256u // oblets queued at a time
#define SPARSE_MIN ((size_t)1 << 20)
#define QUANTUM ((uint64_t)16 << 10) // bytes scanned between looks at budget and yield
#define SHARE ((uint64_t)64 << 10)   // bytes scanned between looks at the pool

// An entry of the queue: where to begin, as an offset into the region, and above it the span's
// code.
#define ENTRY_CODE_SHIFT 56

static uintptr_t entry_make(uintptr_t at, unsigned code)
{
    return (at - sv_heap.base) | (uintptr_t)code << ENTRY_CODE_SHIFT;
}

static inline unsigned entry_code(uintptr_t entry)
{
    return (unsigned)(entry >> ENTRY_CODE_SHIFT);
}

static inline uintptr_t entry_at(uintptr_t entry)
{
    return sv_heap.base + (entry & (((uintptr_t)1 << ENTRY_CODE_SHIFT) - 1));
}

// Pages that can be looked up. The heap may grow meanwhile: what is new in it is marked anyway.
static uint32_t pages_grown(void)
{
    // acquire pairs with the release in sv_region_grow: the tables are accessible
    return __atomic_load_n(&sv_heap.grown, __ATOMIC_ACQUIRE);
}

static size_t large_size(const struct sv_span *span)
{
    return (size_t)__atomic_load_n(&span->npages, __ATOMIC_RELAXED) << SV_PAGE_SHIFT;
}

static inline struct sv_bits *page_bits(uint32_t first, unsigned class, unsigned i)
{
    struct sv_bits *bits =
        class <= SV_DENSE_CLASS_MAX ? sv_heap.dense[first].bits : sv_heap.spans[first].bits;
    return &bits[i / 64];
}

bool sv_mark_find(uintptr_t word, struct sv_mark_place *place)
{
    uint64_t page = sv_page_of(word);
    if (page >= pages_grown())
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
    place->bits = &sv_span_bits(span)[i / 64];
    place->bit = (uint64_t)1 << (i & 63);
    if (!(atomic_load_explicit(&place->bits->alloc, memory_order_relaxed) & place->bit))
        return false;
    place->start = sv_page_addr(first) + i * sv_span_slot_size(span);
    return true;
}

// True when the mark is new. The plain look first: most marks are old, and a locked instruction
// would take the line away from other markers.
static inline bool mark_set(struct sv_bits *bits, uint64_t bit)
{
    if (atomic_load_explicit(&bits->mark, memory_order_relaxed) & bit)
        return false;
    return !(atomic_fetch_or_explicit(&bits->mark, bit, memory_order_relaxed) & bit);
}

static bool place_mark(struct sv_marker *m, const struct sv_mark_place *at)
{
    // before the mark: only a marked large object grows in place, and says by how much itself
    size_t size = sv_span_slot_size(at->span);
    if (!mark_set(at->bits, at->bit))
        return false;
    sv_stretch_note(at->start, size);
    m->objects++;
    m->bytes += size;
    return true;
}

void sv_mark_found(struct sv_marker *m, const struct sv_mark_place *at, bool scan)
{
    if (place_mark(m, at) && scan && !sv_code_noscan(at->span->code))
        sv_work_push(&m->work, entry_make(at->start, at->span->code));
}

void sv_mark_slots(struct sv_marker *m, struct sv_span *span, struct sv_bits *bits, uint64_t slots)
{
    uint64_t was = atomic_fetch_or_explicit(&bits->mark, slots, memory_order_relaxed);
    unsigned n = (unsigned)__builtin_popcountll(slots & ~was);
    sv_stretch_note_span(span);
    m->objects += n;
    m->bytes += n * sv_span_slot_size(span);
}

void sv_mark_word(struct sv_marker *m, uintptr_t word)
{
    struct sv_mark_place at;
    if (sv_mark_find(word, &at))
        sv_mark_found(m, &at, true);
}

void sv_mark_black(struct sv_marker *m, void *slot)
{
    struct sv_mark_place at;
    bool used = sv_mark_find((uintptr_t)slot, &at);
    sv_check(used); // or somebody else has it, too
    place_mark(m, &at);
}

// ---- the first ring -----------------------------------------------------------------------------

static inline void candidate_retire(struct sv_marker *m, const struct sv_mark_candidate *c)
{
    uint64_t bit = (uint64_t)1 << c->bit;
    unsigned code = entry_code(c->entry), class = sv_code_class(code);
    size_t size = sv_likely(class != SV_CLASS_LARGE) // before the mark: see place_mark
                      ? sv_classes[class].size
                      : large_size(sv_span_at((uint32_t)sv_page_of(entry_at(c->entry))));
    if (!(atomic_load_explicit(&c->bits->alloc, memory_order_relaxed) & bit) ||
        !mark_set(c->bits, bit))
        return;
    sv_stretch_note(entry_at(c->entry), size);
    m->objects++;
    m->bytes += size;
    if (!sv_code_noscan(code))
        sv_work_push(&m->work, c->entry);
}

// The oldest n.
static void candidates_retire(struct sv_marker *m, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        candidate_retire(m, &m->candidates[m->candidate_at++ % SV_MARK_CANDIDATES]);
    m->ncandidates -= n;
}

// Everything about a small object follows from its page's word and its class; its record is read
// for the bits alone. The word lies in the region.
static inline bool candidate_make(const struct sv_marker *m, uintptr_t word,
                                  struct sv_mark_candidate *candidate)
{
    uint64_t page = sv_page_of(word);
    if (page >= m->grown)
        return false;
    sv_pagemap_entry e = sv_pagemap_get(page);
    uint32_t first = sv_pagemap_first((uint32_t)page, e);
    unsigned code = sv_pagemap_code(e), class = sv_code_class(code);
    const struct sv_class *c = &sv_classes[class];
    unsigned i = sv_slot_of((uint32_t)(word - sv_page_addr(first)), c->magic);
    if (i >= c->nslots) // of no class, too: a page without an object
        return false;
    struct sv_bits *bits = page_bits(first, class, i);
    __builtin_prefetch(bits);
    *candidate = (struct sv_mark_candidate){
        bits, entry_make(sv_page_addr(first) + (size_t)i * c->size, code), i & 63};
    return true;
}

// Takes in the first `hits` of m->found.
static void found_add(struct sv_marker *m, size_t hits)
{
    for (size_t i = 0; i < hits;) {
        size_t n = hits - i < SV_MARK_BATCH ? hits - i : SV_MARK_BATCH;
        if (m->ncandidates + n > SV_MARK_CANDIDATES)
            candidates_retire(m, m->ncandidates + (unsigned)n - SV_MARK_CANDIDATES);
        unsigned at = m->candidate_at + m->ncandidates, from = at;
        for (size_t end = i + n; i < end; i++)
            at += candidate_make(m, m->found[i], &m->candidates[at % SV_MARK_CANDIDATES]);
        m->ncandidates += at - from;
    }
}

// ---- scanning -----------------------------------------------------------------------------------

// The words that start `shift` bytes after lo and every 8 from there, up to SV_MARK_WORDS of them,
// wholly below hi.
static void piece_scan(struct sv_marker *m, uintptr_t lo, uintptr_t hi, unsigned shift)
{
    if (hi - lo < shift + sizeof(uintptr_t))
        return;
    size_t n = (hi - lo - shift) / sizeof(uintptr_t);
    n = n > SV_MARK_WORDS ? SV_MARK_WORDS : n;
    found_add(m,
              m->filter((const uintptr_t *)(lo + shift), n, sv_heap.base, sv_heap.size, m->found));
}

// With tags in the words' top bits the kernels don't serve; a plain loop looks at every byte.
__attribute__((noinline)) static void tagged_scan(struct sv_marker *m, uintptr_t lo, uintptr_t hi)
{
    for (uintptr_t at = lo; at + sizeof(uintptr_t) <= hi; at += SV_MARK_WORDS) {
        uintptr_t end = at + SV_MARK_WORDS + sizeof(uintptr_t) - 1; // what a word sticks out
        found_add(m, sv_words_filter_loose(at, end < hi ? end : hi, sv_options.tagbits, true,
                                           sv_heap.base, sv_heap.size, m->found));
    }
}

// Words at multiples of 4 from lo, of SV_MARK_WORDS words and what sticks out of them at most.
static inline void halves_scan(struct sv_marker *m, uintptr_t lo, uintptr_t hi)
{
    found_add(m, m->filter_halves(lo, hi, sv_heap.base, sv_heap.size, m->found));
}

// One piece of words_scan's work: the words that start in the first SV_MARK_WORDS * 8 bytes.
static void words_piece(struct sv_marker *m, uintptr_t lo, uintptr_t hi, unsigned align)
{
    const size_t bytes = SV_MARK_WORDS * sizeof(uintptr_t);
    if (sv_unlikely(sv_options.tagbits))
        tagged_scan(m, lo, hi - lo > bytes + 7 ? lo + bytes + 7 : hi);
    else if (sv_likely(align == 4))
        halves_scan(m, lo, hi - lo > bytes + 4 ? lo + bytes + 4 : hi);
    else
        for (unsigned shift = 0; shift < sizeof(uintptr_t); shift += align)
            piece_scan(m, lo, hi, shift);
}

// Looks at the words of [lo, hi) that start at lo and every `align` bytes from there.
static void words_scan(struct sv_marker *m, uintptr_t lo, uintptr_t hi, unsigned align)
{
    m->scanned += hi - lo;
    for (; lo < hi; lo += SV_MARK_WORDS * sizeof(uintptr_t)) {
        words_piece(m, lo, hi, align);
        if (hi - lo <= SV_MARK_WORDS * sizeof(uintptr_t))
            break;
    }
}

// A run of touched pages of a large object, whole pages even where the piece begins within one. It
// is left when it is time to look around; once it was, no run after it is begun.
static void run_scan(void *arg, uintptr_t lo, uintptr_t hi)
{
    const size_t piece = SV_MARK_WORDS * sizeof(uintptr_t);
    struct sv_marker *m = arg;
    bool first = true;
    lo = lo < m->piece ? m->piece : lo;
    for (; lo < hi && !m->rest; lo += piece, first = false) {
        if (!first && m->scanned >= m->pause_at) {
            m->rest = lo;
            return;
        }
        words_piece(m, lo, hi, sv_options.align);
        m->scanned += hi - lo < piece ? hi - lo : piece;
    }
}

// Queues some of the oblets that follow the one at `at`; the last of them queues the next.
static void oblets_queue(struct sv_marker *m, uintptr_t at, uintptr_t start, uintptr_t end,
                         unsigned code)
{
    size_t i = (at - start) / OBLET;
    if (at != start + i * OBLET || i % OBLET_BATCH != 0)
        return;
    for (unsigned k = 1; k <= OBLET_BATCH && end - at > k * OBLET; k++)
        sv_work_push(&m->work, entry_make(at + k * OBLET, code));
}

// The oblet that `at` lies in, from there on. Pages that were never touched are left out; a pointer
// that stands across the oblet's end is looked at with the words around that border.
static void large_scan(struct sv_marker *m, uintptr_t at)
{
    uint32_t page = (uint32_t)sv_page_of(at);
    uint32_t first = sv_pagemap_first(page, sv_pagemap_get(page));
    uintptr_t start = sv_page_addr(first), end = start + large_size(sv_span_at(first));
    if (at >= end) // it has shrunk
        return;
    oblets_queue(m, at, start, end, SV_CLASS_LARGE);
    uintptr_t hi = start + ((at - start) / OBLET + 1) * OBLET;
    hi = hi < end ? hi : end;
    m->piece = at;
    m->rest = 0;
    if (end - start < SPARSE_MIN ||
        sv_pages_each(m->pages, at, hi, SV_MAP_READ | SV_MAP_WRITE, run_scan, m) != 0) {
        m->rest = 0;
        run_scan(m, at, hi);
    }
    if (m->rest)
        sv_work_push(&m->work, entry_make(m->rest, SV_CLASS_LARGE));
    else if (hi < end)
        words_scan(m, hi - sizeof(uintptr_t), hi + sizeof(uintptr_t), sv_options.align);
}

// Of a large traced object, an oblet.
static void traced_scan(struct sv_marker *m, uintptr_t at, unsigned class)
{
    if (class != SV_CLASS_LARGE) {
        size_t size = sv_classes[class].size;
        m->scanned += size;
        sv_client->trace(m, at, size, at, at + size, true);
        return;
    }
    uint32_t page = (uint32_t)sv_page_of(at);
    uint32_t first = sv_pagemap_first(page, sv_pagemap_get(page));
    uintptr_t start = sv_page_addr(first), end = start + large_size(sv_span_at(first));
    if (at >= end) // it has shrunk
        return;
    oblets_queue(m, at, start, end, sv_code(SV_CLASS_LARGE, SV_TRACED));
    uintptr_t hi = end - at > OBLET ? at + OBLET : end;
    m->scanned += hi - at;
    sv_client->trace(m, start, end - start, at, hi, true);
}

static void object_scan(struct sv_marker *m, uintptr_t entry)
{
    unsigned class = entry_code(entry);
    uintptr_t at = entry_at(entry);
    if (class == SV_CLASS_LARGE)
        large_scan(m, at);
    else if (sv_code_traced(class))
        traced_scan(m, at, sv_code_class(class));
    else if (!sv_mark_freed(at))
        words_scan(m, at, at + sv_classes[class].size, sv_options.align);
}

// The oldest of the second ring. What the queue yields is mostly small: one call of the kernel does
// for an object, and what is found in several is taken in at once, which makes for loops whose ends
// are foreseen.
static void objects_scan(struct sv_marker *m)
{
    unsigned n = m->nobjects < SV_MARK_BATCH ? m->nobjects : SV_MARK_BATCH;
    size_t hits = 0;
    for (; n > 0 && m->scanned < m->pause_at; n--, m->nobjects--) {
        uintptr_t entry = m->objects_ring[m->object_at++ % SV_MARK_OBJECTS], at = entry_at(entry);
        size_t size = sv_classes[entry_code(entry)].size; // 0: large, or traced
        if (sv_likely(size - 1 < m->single)) {
            m->scanned += size;
            hits += m->filter_halves(at, at + size, sv_heap.base, sv_heap.size, m->found + hits);
            if (sv_likely(hits < SV_MARK_WORDS))
                continue;
        }
        found_add(m, hits);
        hits = 0;
        if (size - 1 >= m->single)
            object_scan(m, entry);
    }
    found_add(m, hits);
}

void sv_mark_range(struct sv_marker *m, uintptr_t lo, uintptr_t hi, bool code)
{
    m->grown = pages_grown();
    lo = (lo + sizeof(uintptr_t) - 1) & ~(sizeof(uintptr_t) - 1);
    if (lo == m->range_end && hi > lo) // a packed pointer may stand across the border of two ranges
        lo -= sizeof(uintptr_t);
    if (hi > lo)
        words_scan(m, lo, hi, code ? 1 : sv_options.align);
    m->range_end = hi;
}

// ---- pages that were written --------------------------------------------------------------------

// How far a word that has a byte in a range may stick out of it.
static unsigned words_reach(void)
{
    return sizeof(uintptr_t) - (sv_options.tagbits ? 1 : sv_options.align);
}

static bool slot_used(const struct sv_bits *bits, unsigned i)
{
    return atomic_load_explicit(&bits[i / 64].alloc, memory_order_relaxed) >> (i & 63) & 1;
}

static bool slot_marked(const struct sv_bits *bits, unsigned i)
{
    uint64_t live = atomic_load_explicit(&bits[i / 64].alloc, memory_order_relaxed) &
                    atomic_load_explicit(&bits[i / 64].mark, memory_order_relaxed);
    return live >> (i & 63) & 1;
}

// The words of the object at [start, end) that have a byte in [lo, hi).
static void part_scan(struct sv_marker *m, uintptr_t start, uintptr_t end, uintptr_t lo,
                      uintptr_t hi)
{
    unsigned reach = words_reach();
    lo = lo - start > reach && lo > start ? lo - reach : start;
    hi = end - hi > reach && hi < end ? hi + reach : end;
    words_scan(m, lo, hi, sv_options.align);
}

// [lo, hi) lies in the pages of a span that starts at `start`. Neighbours are looked at as one
// stretch: between two of them a packed word more is read, which at worst keeps something.
static void slots_rescan(struct sv_marker *m, uintptr_t start, unsigned class, uintptr_t lo,
                         uintptr_t hi)
{
    const struct sv_class *c = &sv_classes[class];
    const struct sv_bits *bits = page_bits((uint32_t)sv_page_of(start), class, 0);
    unsigned i = sv_slot_of((uint32_t)(lo - start), c->magic);
    unsigned n = sv_slot_of((uint32_t)(hi - 1 - start), c->magic) + 1;
    n = n < c->nslots ? n : c->nslots;
    while (i < n) {
        unsigned from = i;
        while (i < n && slot_marked(bits, i) && !sv_mark_freed(start + (size_t)i * c->size))
            i++;
        if (i > from)
            part_scan(m, start + (size_t)from * c->size, start + (size_t)i * c->size, lo, hi);
        else
            i++;
    }
}

// Likewise of traced objects.
static void traced_rescan(struct sv_marker *m, uintptr_t start, unsigned class, size_t bytes,
                          uintptr_t lo, uintptr_t hi)
{
    const struct sv_class *c = &sv_classes[class];
    const struct sv_bits *bits = page_bits((uint32_t)sv_page_of(start), class, 0);
    bool large = class == SV_CLASS_LARGE;
    size_t size = large ? bytes : c->size;
    unsigned i = sv_slot_of((uint32_t)(lo - start), c->magic);
    unsigned n = large ? 1 : sv_slot_of((uint32_t)(hi - 1 - start), c->magic) + 1;
    for (; i < n && (large || i < c->nslots); i++) {
        uintptr_t at = start + i * size;
        uintptr_t from = lo > at ? lo : at, to = hi < at + size ? hi : at + size;
        if (!slot_used(bits, i))
            continue;
        m->scanned += to - from;
        sv_client->trace(m, at, size, from, to, slot_marked(bits, i));
    }
}

// The part of [lo, hi) that lies in the span of `page`, whose entry is e. Returns where that ends.
static uintptr_t span_rescan(struct sv_marker *m, sv_pagemap_entry e, uintptr_t lo, uintptr_t hi)
{
    uint32_t first = sv_pagemap_first((uint32_t)sv_page_of(lo), e);
    unsigned code = sv_pagemap_code(e), class = sv_code_class(code);
    uintptr_t start = sv_page_addr(first);
    size_t size = class == SV_CLASS_LARGE ? large_size(sv_span_at(first))
                                          : (size_t)sv_classes[class].pages << SV_PAGE_SHIFT;
    if (lo >= start + size) // it has shrunk
        return (lo | (SV_PAGE_SIZE - 1)) + 1;
    hi = hi < start + size ? hi : start + size;
    if (sv_code_noscan(code))
        return hi;
    if (sv_unlikely(sv_code_traced(code)))
        traced_rescan(m, start, class, size, lo, hi);
    else if (class != SV_CLASS_LARGE)
        slots_rescan(m, start, class, lo, hi);
    else if (slot_marked(page_bits(first, class, 0), 0))
        part_scan(m, start, start + size, lo, hi);
    return hi;
}

void sv_mark_page(struct sv_marker *m, uintptr_t lo, uintptr_t hi)
{
    m->grown = pages_grown();
    uintptr_t end = sv_page_addr(m->grown);
    lo = lo < sv_heap.base ? sv_heap.base : lo;
    hi = hi < end ? hi : end;
    while (lo < hi) {
        sv_pagemap_entry e = sv_pagemap_get(sv_page_of(lo));
        lo = e ? span_rescan(m, e, lo, hi) : (lo | (SV_PAGE_SIZE - 1)) + 1;
    }
}

// ---- draining -----------------------------------------------------------------------------------

// In line always: gcc 12 takes a function that does nothing but prefetch for one without effects,
// and drops its calls.
__attribute__((always_inline)) static inline void object_prefetch(uintptr_t entry)
{
    uintptr_t at = entry_at(entry), last = at + sv_classes[entry_code(entry)].size - 1;
    __builtin_prefetch((const void *)at);
    if ((at ^ last) >= SV_CACHE_LINE)
        __builtin_prefetch((const void *)(at + SV_CACHE_LINE));
}

static inline void objects_fetch(struct sv_marker *m)
{
    uintptr_t entry;
    while (m->nobjects < SV_MARK_OBJECTS && (entry = sv_work_pop(&m->work)) != 0) {
        object_prefetch(entry);
        m->objects_ring[(m->object_at + m->nobjects++) % SV_MARK_OBJECTS] = entry;
    }
}

// Until it is time to look around (false), or nothing is left (true).
static bool quantum_drain(struct sv_marker *m)
{
    while (m->scanned < m->pause_at) {
        objects_fetch(m);
        if (m->nobjects)
            objects_scan(m);
        else if (m->ncandidates)
            candidates_retire(m, m->ncandidates < SV_MARK_BATCH ? m->ncandidates : SV_MARK_BATCH);
        else
            return true;
    }
    return false;
}

static void marked_tell(struct sv_marker *m)
{
    atomic_fetch_add_explicit(&sv_heap.marked, m->bytes - m->bytes_told, memory_order_relaxed);
    m->bytes_told = m->bytes;
}

static bool asked_to_yield(const struct sv_marker *m)
{
    return m->yield && atomic_load_explicit(m->yield, memory_order_relaxed);
}

bool sv_mark_drain(struct sv_marker *m, uint64_t budget)
{
    uint64_t until = UINT64_MAX - m->scanned < budget ? UINT64_MAX : m->scanned + budget;
    bool empty = false;
    while (!empty && m->scanned < until && !asked_to_yield(m)) {
        m->grown = pages_grown();
        m->pause_at = until - m->scanned < QUANTUM ? until : m->scanned + QUANTUM;
        empty = quantum_drain(m);
        if (m->scanned >= m->share_at) {
            sv_work_share(&m->work);
            marked_tell(m);
            m->share_at = m->scanned + SHARE;
        }
    }
    marked_tell(m);
    return empty;
}

void sv_mark_flush(struct sv_marker *m)
{
    candidates_retire(m, m->ncandidates);
    for (; m->nobjects; m->nobjects--)
        sv_work_push(&m->work, m->objects_ring[m->object_at++ % SV_MARK_OBJECTS]);
    sv_work_flush(&m->work);
    marked_tell(m);
}

uint64_t sv_mark_account(struct sv_marker *m)
{
    uint64_t scanned = m->scanned - m->scanned_told;
    m->scanned_told = m->scanned;
    marked_tell(m);
    return scanned;
}

// Field by field: the arrays are not worth clearing.
void sv_mark_begin(struct sv_marker *m, const struct sv_pages *pages)
{
    m->work = (struct sv_work){0};
    m->yield = NULL;
    m->pages = pages;
    m->filter = sv_words_best();
    m->filter_halves = sv_halves_best();
    bool plain = sv_options.align == 4 && !sv_options.tagbits && !sv_leaks_on;
    m->single = plain ? SV_MARK_WORDS * 4 : 0;
    m->grown = pages_grown();
    m->objects = m->bytes = m->scanned = 0;
    m->bytes_told = m->scanned_told = 0;
    m->pause_at = m->share_at = 0;
    m->piece = m->rest = m->range_end = 0;
    m->ncandidates = m->candidate_at = 0;
    m->nobjects = m->object_at = 0;
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
