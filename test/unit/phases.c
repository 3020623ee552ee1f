// The phase rules under load: threads take, resize and free objects of all sizes while another one
// begins and ends marks as the driver of a cycle does, and marks objects at random as markers do.
// With all locks held it looks: while objects are marked no page changes hands, and `marked` is the
// bytes of what is marked; when the mark ends nothing that was in use is gone; and all is there
// again when everybody is done.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "large.h"
#include "mark.h"
#include "spans.h"
#include "sweep.h"
#include "world.h"

TestSuite(phases, .init = spans_setup, .timeout = 60);

enum { THREADS = 3, BLOCKS = 300, STEPS = 100000, MIB = 1 << 20 };

// ---- the program --------------------------------------------------------------------------------

struct block {
    unsigned char *p;
    size_t size;
    unsigned char tag;
};

struct program {
    uint64_t state;
    struct block blocks[BLOCKS];
};

static _Atomic unsigned running;
static _Atomic(const char *) trouble;

static uint64_t below(struct program *w, uint64_t n)
{
    w->state ^= w->state << 13;
    w->state ^= w->state >> 7;
    w->state ^= w->state << 17;
    return (w->state >> 11) % n;
}

static size_t size_any(struct program *w)
{
    switch (below(w, 64)) {
    case 0:
        return below(w, 400) ? 256 * 1024 + below(w, 2 * MIB) : 33 * MIB;
    case 1:
    case 2:
    case 3:
        return 32768 + below(w, 120000);
    default:
        return 1 + below(w, below(w, 2) ? 300 : 20000);
    }
}

// Both ends of a block and a byte of each page say whose it is.
static size_t next_place(size_t i, size_t size)
{
    size_t next = i + (i < 32 ? 1 : 4096);
    return next >= size && i < size - 1 ? size - 1 : next;
}

static void block_fill(struct block *b, unsigned char tag)
{
    b->tag = tag;
    for (size_t i = 0; i < b->size; i = next_place(i, b->size))
        b->p[i] = (unsigned char)(tag + i);
}

static void block_check(const struct block *b, size_t size, const char *what)
{
    for (size_t i = 0; i < size; i = next_place(i, b->size))
        if (b->p[i] != (unsigned char)(b->tag + i))
            trouble = what;
}

static void block_make(struct program *w, struct block *b)
{
    b->size = size_any(w);
    bool zeroed = below(w, 4) == 0;
    b->p = zeroed ? sv_heap_alloc_zeroed(b->size) : sv_heap_alloc(b->size);
    for (size_t i = 0; zeroed && i < b->size; i = next_place(i, b->size))
        if (b->p[i])
            trouble = "zeroed memory isn't";
    block_fill(b, (unsigned char)below(w, 256));
}

static void block_resize(struct program *w, struct block *b)
{
    enum sv_verdict verdict;
    size_t size = below(w, 3) ? 1 + below(w, 2 * b->size) : size_any(w);
    unsigned char *p = sv_heap_realloc(b->p, size, &verdict);
    if (!p)
        trouble = "realloc failed";
    b->p = p;
    block_check(b, size < b->size ? size : b->size, "lost by realloc");
    b->size = size;
    block_fill(b, (unsigned char)below(w, 256));
}

static void block_free(struct block *b)
{
    block_check(b, b->size, "changed by somebody else");
    if (!sv_cache_free(b->p) && sv_heap_free(b->p) != SV_OURS)
        trouble = "free refused";
    b->p = NULL;
}

static void *program_run(void *arg)
{
    struct program *w = calloc(1, sizeof *w);
    w->state = (uintptr_t)arg * 0x9e3779b97f4a7c15;
    for (int i = 0; i < STEPS && !trouble; i++) {
        struct block *b = &w->blocks[below(w, BLOCKS)];
        if (!b->p)
            block_make(w, b);
        else if (below(w, 4) == 0)
            block_resize(w, b);
        else
            block_free(b);
    }
    for (int i = 0; i < BLOCKS; i++)
        if (w->blocks[i].p)
            block_free(&w->blocks[i]);
    free(w);
    sv_cache_retire();
    atomic_fetch_sub(&running, 1);
    return NULL;
}

// ---- the cycle ----------------------------------------------------------------------------------

static sv_pagemap_entry *map_then; // the page map when the mark began
static uint32_t map_pages;

struct tally {
    uint64_t marked; // bytes of marks
    uint64_t ghosts; // bytes of marks without an object
    uint64_t used;   // bytes in use
};

static void span_tally(struct sv_span *span, struct tally *t)
{
    size_t size = sv_span_slot_size(span);
    struct sv_bits *bits = sv_span_bits(span);
    for (unsigned w = 0; w < sv_span_words(span); w++) {
        t->marked += size * (unsigned)__builtin_popcountll(bits[w].mark);
        t->ghosts += size * (unsigned)__builtin_popcountll(bits[w].mark & ~bits[w].alloc);
        t->used += size * (unsigned)__builtin_popcountll(bits[w].alloc);
    }
}

static void spans_each(void (*fn)(struct sv_span *, void *), void *arg)
{
    for (uint32_t page = 1; page < sv_heap.grown; page++) {
        sv_pagemap_entry e = sv_pagemap_get(page);
        if (e != 0 && sv_pagemap_first(page, e) == page)
            fn(sv_span_at(page), arg);
    }
}

static void visit_tally(struct sv_span *span, void *arg)
{
    span_tally(span, arg);
}

// All locks held.
static struct tally tally(void)
{
    struct tally t = {0};
    spans_each(visit_tally, &t);
    return t;
}

static void mark_begins(void)
{
    sv_sweep_finish();
    sv_heap_lock_all();
    struct tally t = tally();
    cr_assert(t.marked == 0, "%lu bytes are marked before the mark", t.marked);
    cr_assert(t.used == sv_heap.live);
    map_pages = sv_heap.grown;
    map_then = malloc(map_pages * sizeof *map_then);
    memcpy(map_then, sv_heap.pagemap, map_pages * sizeof *map_then);
    atomic_store(&sv_heap.marked, 0);
    sv_stretch_clear();
    atomic_store(&sv_heap.phase, SV_PHASE_MARK);
    sv_heap_unlock_all();
}

// All locks held.
static struct tally mark_check(void)
{
    struct tally t = tally();
    spans_stretches_check();
    for (uint32_t page = 0; page < map_pages; page++)
        cr_assert(map_then[page] == 0 || map_then[page] == sv_heap.pagemap[page],
                  "page %u changed hands", page);
    cr_assert(t.marked == sv_heap.marked, "%lu bytes are marked, not %lu", t.marked,
              sv_heap.marked);
    cr_assert(t.used == sv_heap.live, "%lu bytes are in use, not %lu", t.used, sv_heap.live);
    return t;
}

// As markers do, whatever the program does with the object meanwhile.
static void mark_some(unsigned n)
{
    while (n-- > 0) {
        struct sv_mark_place at;
        uint32_t page = 1 + spans_random(map_pages - 1);
        if (!sv_mark_find(sv_page_addr(page) + spans_random(SV_PAGE_SIZE), &at))
            continue;
        uint64_t size = sv_span_slot_size(at.span);
        if (!(atomic_fetch_or(&at.bits->mark, at.bit) & at.bit))
            atomic_fetch_add(&sv_heap.marked, size);
        sv_stretch_note(at.start, size);
    }
}

static void visit_mark(struct sv_span *span, void *arg)
{
    struct sv_bits *bits = sv_span_bits(span);
    for (unsigned w = 0; w < sv_span_words(span); w++) {
        uint64_t fresh = bits[w].alloc & ~bits[w].mark;
        atomic_fetch_or(&bits[w].mark, fresh);
        sv_heap.marked += sv_span_slot_size(span) * (unsigned)__builtin_popcountll(fresh);
    }
    sv_stretch_note(sv_page_addr((uint32_t)(span - sv_heap.spans)),
                    (size_t)span->npages << SV_PAGE_SHIFT);
    (void)arg;
}

enum { GARBAGE = 20 };

static void garbage_forget(void *slot)
{
    struct sv_mark_place at;
    cr_assert(sv_mark_find((uintptr_t)slot, &at));
    if (atomic_fetch_and(&at.bits->mark, ~at.bit) & at.bit)
        atomic_fetch_sub(&sv_heap.marked, sv_span_slot_size(at.span));
}

// Objects that nobody knows, taken before the mark.
static uint64_t garbage_make(void **garbage)
{
    uint64_t bytes = 0;
    for (int i = 0; i < GARBAGE; i++) {
        unsigned class = 1 + spans_random(SV_CLASS_LARGE - 1);
        size_t size = 33000 + spans_random(100000);
        garbage[i] = i % 4 ? sv_central_take(class) : sv_large_alloc(size, 1, false, false);
        bytes += i % 4 ? sv_classes[class].size : sv_large_pages(size) << SV_PAGE_SHIFT;
    }
    return bytes;
}

// All that is in use but for the garbage is reached.
static void mark_ends(void *const *garbage, uint64_t bytes)
{
    sv_heap_lock_all();
    mark_check();
    spans_each(visit_mark, NULL);
    for (int i = 0; i < GARBAGE; i++)
        garbage_forget(garbage[i]);
    struct tally t = mark_check();
    cr_assert(sv_heap.live == sv_heap.marked - t.ghosts + bytes);
    uint64_t reclaimed = sv_heap.reclaimed;
    atomic_fetch_add(&sv_heap.sweepgen, 1);
    sv_central_flip();
    atomic_store(&sv_heap.live, sv_heap.marked);
    atomic_store(&sv_heap.phase, SV_PHASE_OFF);
    sv_heap_unlock_all();
    sv_sweep_finish();
    cr_assert(sv_heap.reclaimed == reclaimed + bytes);
}

static void mark_given_up(void *const *garbage)
{
    sv_heap_lock_all();
    mark_check();
    sv_mark_clear();
    atomic_store(&sv_heap.phase, SV_PHASE_OFF);
    sv_heap_unlock_all();
    sv_large_deferred_unmake();
    for (int i = 0; i < GARBAGE; i++)
        cr_assert(sv_heap_free(garbage[i]) == SV_OURS);
}

static void cycle(unsigned looks, bool given_up)
{
    void *garbage[GARBAGE];
    uint64_t bytes = garbage_make(garbage);
    mark_begins();
    for (unsigned i = 0; i < looks; i++) {
        mark_some(20000);
        sv_heap_lock_all();
        mark_check();
        sv_heap_unlock_all();
    }
    if (given_up)
        mark_given_up(garbage);
    else
        mark_ends(garbage, bytes);
    free(map_then);
    cr_assert(!trouble, "%s", trouble);
}

Test(phases, heap_holds_under_marks)
{
    pthread_t threads[THREADS];
    unsigned cycles = 0;
    cr_assert(sv_world_init());
    running = THREADS;
    for (uintptr_t i = 0; i < THREADS; i++)
        cr_assert(pthread_create(&threads[i], NULL, program_run, (void *)(i + 1)) == 0);
    for (; running; cycles++)
        cycle(1 + spans_random(6), cycles % 4 == 3);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert(cycles > 2, "%u", cycles);
    cycle(1, false);
    sv_cache_drain(sv_cache_get());
    sv_sweep_finish();
    cr_assert(sv_heap.live == 0 && spans_check() == 0 && sv_heap.moved_spans == 0);
    cr_assert(sv_heap.large_first == 0 && sv_heap.large_deferred == 0);
    for (unsigned code = 0; code < SV_NCODE; code++)
        cr_assert(sv_heap.central[code].nspans <= 1);
    spans_unmarked();
}

// ---- one by one ---------------------------------------------------------------------------------

static struct sv_span *span_of(const void *p)
{
    uint32_t page = (uint32_t)sv_page_of((uintptr_t)p);
    return sv_span_at(sv_pagemap_first(page, sv_pagemap_get(page)));
}

static uint64_t size_of(const void *p)
{
    return sv_span_slot_size(span_of(p));
}

// A marker found the object in use, and marks it though it was freed meanwhile.
static void mark_late(const struct sv_mark_place *at)
{
    uint64_t size = sv_span_slot_size(at->span);
    if (!(atomic_fetch_or(&at->bits->mark, at->bit) & at->bit))
        atomic_fetch_add(&sv_heap.marked, size);
}

static void flip(void)
{
    spans_flip();
    sv_sweep_finish();
    spans_check();
    spans_unmarked();
}

Test(phases, marked_is_what_was_taken_and_not_given_back)
{
    spans_phase(SV_PHASE_MARK);
    uint64_t want = 0;
    void *p[SV_NCODE] = {0};
    for (unsigned code = 1; code < SV_NCODE; code++) {
        if (sv_code_class(code) == 0)
            continue;
        p[code] = sv_code_class(code) == SV_CLASS_LARGE
                      ? sv_large_alloc(100000, 1, sv_code_kind(code), false)
                      : sv_central_take(code);
        want += size_of(p[code]);
        cr_assert(sv_heap.marked == want, "code %u", code);
        spans_stretches_check();
        sv_mark_clear();
        sv_stretch_clear();
    }
    for (unsigned code = 1; code < SV_NCODE; code++) {
        struct sv_mark_place at;
        if (p[code] && sv_mark_find((uintptr_t)p[code], &at))
            atomic_fetch_or(&at.bits->mark, at.bit);
    }
    for (unsigned code = 1; code < SV_NCODE; code += 2) {
        if (!p[code])
            continue;
        want -= size_of(p[code]);
        cr_assert(sv_heap_free(p[code]) == SV_OURS);
        sv_cache_drain(sv_cache_get());
        cr_assert(sv_heap.marked == want, "code %u: %lu, not %lu", code, sv_heap.marked, want);
    }
    flip();
    cr_assert(sv_heap.live == want && sv_heap.reclaimed == 0);
}

Test(phases, stretches_of_what_grows)
{
    void *room = sv_large_alloc(8 * MIB, 1, SV_SCAN, false);
    cr_assert(sv_large_free(span_of(room)));
    spans_phase(SV_PHASE_MARK);
    void *p = sv_large_alloc(100000, 1, SV_SCAN, false);
    sv_stretch_clear();
    cr_assert(sv_large_resize(span_of(p), 5 * MIB));
    uint32_t last = (uint32_t)(((uintptr_t)p + 5 * MIB - sv_heap.base) >> SV_STRETCH_SHIFT);
    for (uint32_t i = last - 4; i <= last; i++)
        cr_assert(sv_stretch_marked(i), "%u of %u", i, last);
    cr_assert(sv_large_free(span_of(p)));
    flip();
}

// What existed before is given back while its mark is there, and while it isn't.
Test(phases, given_back_with_and_without_a_mark)
{
    for (int marked = 0; marked < 2; marked++) {
        struct sv_mark_place at;
        void *p[2] = {sv_central_take(7), sv_large_alloc(50000, 1, false, false)};
        void *keep = sv_central_take(7);
        spans_phase(SV_PHASE_MARK);
        for (int i = 0; i < 2; i++) {
            cr_assert(sv_mark_find((uintptr_t)p[i], &at));
            if (marked)
                mark_late(&at);
        }
        cr_assert(sv_central_give(7, p[0]) && sv_large_free(span_of(p[1])));
        cr_assert(sv_heap.marked == 0);
        cr_assert(sv_mark_find((uintptr_t)keep, &at));
        mark_late(&at);
        flip();
        cr_assert(sv_heap.live == size_of(keep));
        cr_assert(sv_central_give(7, keep) && sv_heap.live == 0);
    }
}

enum { SWEPT, TAKEN_AGAIN, GIVEN_UP, WAYS };

// Marks without an object, and what may become of them.
Test(phases, late_marks)
{
    for (int way = 0; way < WAYS; way++) {
        struct sv_mark_place at[2];
        void *p[2] = {sv_central_take(9), sv_large_alloc(50000, 1, false, false)};
        spans_phase(SV_PHASE_MARK);
        for (int i = 0; i < 2; i++)
            cr_assert(sv_mark_find((uintptr_t)p[i], &at[i]));
        cr_assert(sv_central_give(9, p[0]) && sv_large_free(at[1].span));
        cr_assert(sv_heap.large_deferred != 0 && sv_heap.live == 0);
        mark_late(&at[0]);
        mark_late(&at[1]);
        uint64_t bytes = sv_heap.marked;
        cr_assert(bytes == sv_classes[9].size + (sv_large_pages(50000) << SV_PAGE_SHIFT));
        if (way == TAKEN_AGAIN) {
            cr_assert(sv_central_take(9) == p[0]);
            cr_assert(sv_large_alloc(50000, 1, false, false) == p[1]);
            cr_assert(sv_heap.marked == bytes && sv_heap.large_deferred == 0);
        }
        if (way == GIVEN_UP) {
            spans_phase(SV_PHASE_OFF);
            sv_large_deferred_unmake();
            cr_assert(sv_heap.live == 0 && sv_heap.large_deferred == 0);
            sv_heap_lock_all();
            sv_mark_clear(); // as late as the next mark may come
            sv_heap_unlock_all();
            spans_phase(SV_PHASE_MARK);
        }
        flip();
        cr_assert(sv_heap.live == (way == TAKEN_AGAIN ? bytes : 0), "way %d: %lu", way,
                  sv_heap.live);
        if (way == TAKEN_AGAIN)
            cr_assert(sv_central_give(9, p[0]) && sv_large_free(at[1].span));
        cr_assert(sv_heap.live == 0 && spans_check() == 0);
    }
}

// What is freed and taken in a loop while objects are marked doesn't make the heap grow.
Test(phases, deferred_spans_serve_again)
{
    spans_phase(SV_PHASE_MARK);
    uint64_t inuse = 0;
    for (int i = 0; i < 200; i++) {
        size_t size = 100 * SV_PAGE_SIZE + spans_random(10 * SV_PAGE_SIZE);
        bool big = i % 20 == 19;
        unsigned char *p = sv_large_alloc(big ? 40 * MIB : size, 1, false, i % 2);
        for (size_t at = 0; i % 2 && at < size; at += 4096)
            cr_assert(p[at] == 0, "round %d", i);
        cr_assert(!big || p[size - 1] == 0);
        memset(p, 0xee, size);
        cr_assert(sv_large_free(span_of(p)));
        if (i == 40)
            inuse = sv_heap.pages_inuse;
        cr_assert(i <= 40 || sv_heap.pages_inuse <= inuse + 220);
    }
    char *other = sv_large_alloc(100 * SV_PAGE_SIZE, 1, true, false); // another code
    cr_assert(sv_code_noscan(span_of(other)->code));
    char *aligned = sv_large_alloc(100 * SV_PAGE_SIZE, 1 * MIB, false, false);
    cr_assert((uintptr_t)aligned % MIB == 0);
    flip();
    cr_assert(sv_heap.live == size_of(other) + size_of(aligned));
    cr_assert(sv_heap.pages_inuse << SV_PAGE_SHIFT == sv_heap.live);
}

// In place, but only a marked one grows.
Test(phases, large_resized_while_marking)
{
    struct sv_mark_place at;
    char *p = sv_large_alloc(100 * SV_PAGE_SIZE, 1, false, false);
    char *q = sv_large_alloc(300 * SV_PAGE_SIZE, 1, false, false);
    memset(p, 1, 100 * SV_PAGE_SIZE);
    memset(q, 1, 300 * SV_PAGE_SIZE);
    spans_phase(SV_PHASE_MARK);
    uint64_t pages = span_of(q)->npages;
    cr_assert(!sv_large_move(span_of(p), 400 * SV_PAGE_SIZE), "moved while objects are marked");
    cr_assert(!sv_large_resize(span_of(q), 320 * SV_PAGE_SIZE));
    cr_assert(sv_mark_find((uintptr_t)q, &at));
    mark_late(&at);
    cr_assert(sv_large_resize(span_of(q), 320 * SV_PAGE_SIZE) && span_of(q)->npages == pages + 20);
    cr_assert(sv_heap.marked == (pages + 20) << SV_PAGE_SHIFT);
    cr_assert(sv_large_resize(span_of(q), 200 * SV_PAGE_SIZE) && span_of(q)->npages == pages + 20);
    cr_assert(q[200 * SV_PAGE_SIZE] == 1 && q[201 * SV_PAGE_SIZE] == 0, "the tail holds memory");
    flip();
    cr_assert(sv_heap.live == (pages + 20) << SV_PAGE_SHIFT && spans_check() == sv_heap.live);
    cr_assert(sv_large_resize(span_of(q), 200 * SV_PAGE_SIZE) && span_of(q)->npages < pages);
    cr_assert(spans_check() == sv_heap.live);
}

// Of the empty spans that a mark kept, one stays when it is over, flipped or not.
Test(phases, empty_spans_go_afterwards)
{
    enum { CODE = 40 };
    unsigned n = 3u * sv_classes[CODE].nslots;
    void **p = malloc(n * sizeof *p);
    for (int flipped = 0; flipped < 2; flipped++) {
        for (unsigned i = 0; i < n; i++)
            p[i] = sv_central_take(CODE);
        spans_phase(SV_PHASE_MARK);
        for (unsigned i = 0; i < n; i++)
            cr_assert(sv_central_give(CODE, p[i]));
        cr_assert(sv_heap.central[CODE].nspans == 3);
        spans_check();
        if (flipped)
            spans_flip();
        else
            spans_phase(SV_PHASE_OFF);
        sv_sweep_finish();
        cr_assert(sv_heap.central[CODE].nspans == 1 && spans_check() == 0);
    }
    free(p);
}
