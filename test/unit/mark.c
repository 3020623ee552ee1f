// Marking against a plain model: random graphs over all classes, dense spans and large objects in
// pieces, with one to four markers, beside a thread that takes slots; pages that were written; the
// bounds of a turn; and what happens when memory is short.
#include "mark.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "central.h"
#include "large.h"
#include "options.h"
#include "spans.h"

TestSuite(mark, .init = spans_setup, .timeout = 60);

enum { HW_PAGE = 4096, MARKERS = 4 };

static struct sv_pages pages = {.pagemap_fd = -1, .mem_fd = -1};

static void pages_open(void)
{
    int procfd = sv_proc_open();
    cr_assert(procfd >= 0 && sv_pages_open(&pages, procfd) == 0);
    close(procfd);
}

// ---- the model ----------------------------------------------------------------------------------

struct object {
    uintptr_t at; // 0: freed
    size_t size;  // of the slot or the pages
    bool noscan;
    bool marked; // as the model has it
};

struct edge { // a word at `where` in object `from` that points into object `to`
    uintptr_t where;
    unsigned from, to;
};

static struct {
    struct object *v;
    unsigned n;
    struct edge *edges;
    size_t nedges, cap;
} heap;

static unsigned object_add(unsigned code, size_t large)
{
    heap.v = realloc(heap.v, (heap.n + 1) * sizeof *heap.v);
    struct object *o = &heap.v[heap.n];
    void *p;
    if (sv_code_class(code) == SV_CLASS_LARGE) {
        p = sv_large_alloc(large, 1, sv_code_noscan(code), true);
        o->size = sv_large_pages(large) << SV_PAGE_SHIFT;
    } else {
        p = sv_central_take(code);
        o->size = sv_classes[sv_code_class(code)].size;
        memset(p, 0, o->size);
    }
    cr_assert(p != NULL);
    o->at = (uintptr_t)p;
    o->noscan = sv_code_noscan(code);
    o->marked = false;
    return heap.n++;
}

static void edge_add(uintptr_t where, unsigned from, unsigned to)
{
    uintptr_t word = heap.v[to].at + spans_random((unsigned)heap.v[to].size);
    memcpy((void *)where, &word, sizeof word);
    if (heap.nedges == heap.cap) {
        heap.cap = heap.cap * 2 + 1000;
        heap.edges = realloc(heap.edges, heap.cap * sizeof *heap.edges);
    }
    heap.edges[heap.nedges++] = (struct edge){where, from, to};
}

// Pointers all over object i, some of them packed, with `gap` bytes between them on average; and
// one across every border of two hardware pages.
static void object_fill(unsigned i, unsigned gap)
{
    uintptr_t at = heap.v[i].at + 4 * spans_random(3), end = heap.v[i].at + heap.v[i].size;
    while (at + 8 <= end) {
        edge_add(at, i, spans_random(heap.n));
        uintptr_t next = at + 8 + 4 * (size_t)spans_random(gap / 2 + 1);
        uintptr_t across = ((at + 12) | (HW_PAGE - 1)) + 1 - 4;
        at = across < next ? across : next;
    }
}

// Is the pointer at a place where pointers are looked for, and in something that is looked at?
static bool edge_counts(const struct edge *e)
{
    return heap.v[e->from].at && !heap.v[e->from].noscan && heap.v[e->to].at &&
           e->where % sv_options.align == 0;
}

static void graph_make(unsigned small, unsigned large, unsigned gap)
{
    for (unsigned k = 0; k < small; k++)
        object_add(1 + k % (SV_CLASS_LARGE - 1) + (spans_random(3) == 0 ? SV_NCLASS : 0), 0);
    for (unsigned k = 0; k < small; k++) // more of the dense ones
        object_add(1 + spans_random(4), 0);
    for (unsigned k = 0; k < large; k++)
        object_add(sv_code(SV_CLASS_LARGE, k % 5 == 4),
                   33000 + spans_random(k % 10 ? 200000 : 3000000));
    for (unsigned i = 0; i < heap.n; i++)
        object_fill(i, heap.v[i].size > 4000 ? gap * 30 : gap);
}

static void objects_free(unsigned one_in)
{
    for (unsigned i = 1; i < heap.n; i++) {
        struct object *o = &heap.v[i];
        if (spans_random(one_in))
            continue;
        uint32_t page = (uint32_t)sv_page_of(o->at);
        sv_pagemap_entry e = sv_pagemap_get(page);
        if (sv_code_class(sv_pagemap_code(e)) == SV_CLASS_LARGE)
            cr_assert(sv_large_free(sv_span_at(page)));
        else
            cr_assert(sv_central_give(sv_pagemap_code(e), (void *)o->at));
        o->at = 0;
    }
}

static int edge_compare(const void *a, const void *b)
{
    const struct edge *x = a, *y = b;
    return x->from < y->from ? -1 : x->from > y->from;
}

// Marks in the model what can be reached from objects that are marked in it.
static void model_reach(void)
{
    qsort(heap.edges, heap.nedges, sizeof *heap.edges, edge_compare);
    size_t *first = calloc(heap.n + 1, sizeof *first);
    unsigned *stack = malloc((heap.n + 1) * sizeof *stack), n = 0;
    for (size_t k = heap.nedges; k-- > 0;)
        first[heap.edges[k].from] = k;
    for (unsigned i = 0; i < heap.n; i++)
        if (heap.v[i].marked)
            stack[n++] = i;
    while (n) {
        unsigned i = stack[--n];
        for (size_t k = first[i]; k < heap.nedges && heap.edges[k].from == i; k++) {
            struct object *to = &heap.v[heap.edges[k].to];
            if (!edge_counts(&heap.edges[k]) || to->marked)
                continue;
            to->marked = true;
            stack[n++] = heap.edges[k].to;
        }
    }
    free(first);
    free(stack);
}

static bool is_marked(const struct object *o)
{
    struct sv_mark_place at;
    cr_assert(sv_mark_find(o->at, &at) && at.start == o->at);
    return atomic_load(&at.bits->mark) & at.bit;
}

// Every object is marked or not as the model has it. Returns the bytes of marked ones.
static uint64_t model_check(void)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < heap.n; i++) {
        const struct object *o = &heap.v[i];
        if (!o->at)
            continue;
        cr_assert(is_marked(o) == o->marked, "object %u of %zu bytes at %lx: %d, not %d", i,
                  o->size, o->at, !o->marked, o->marked);
        bytes += o->marked ? o->size : 0;
    }
    spans_stretches_check();
    return bytes;
}

static void model_forget(void)
{
    for (unsigned i = 0; i < heap.n; i++)
        heap.v[i].marked = false;
    sv_mark_clear();
    sv_stretch_clear();
    atomic_store(&sv_heap.marked, 0);
}

// ---- several markers ----------------------------------------------------------------------------

static struct {
    unsigned n;
    pthread_barrier_t start;
    _Atomic unsigned idle;
    _Atomic bool done;
    uint64_t budget;
    struct sv_marker markers[MARKERS];
} team;

static void *member_run(void *arg)
{
    struct sv_marker *m = arg;
    pthread_barrier_wait(&team.start);
    for (;;) {
        if (!sv_mark_drain(m, team.budget)) {
            if (team.budget < 5000)
                sv_mark_flush(m); // short turns come from threads that leave
            continue;
        }
        atomic_fetch_add(&team.idle, 1);
        while (sv_work_idle())
            if (atomic_load(&team.idle) == team.n)
                return NULL;
            else
                sched_yield();
        atomic_fetch_sub(&team.idle, 1);
    }
}

// A program that takes slots meanwhile: spans appear, the heap grows.
static void *slots_take(void *arg)
{
    pthread_barrier_wait(&team.start);
    for (unsigned i = 0; i < 20000 && !atomic_load(&team.done); i++)
        cr_assert(sv_central_take(1 + i % (SV_CLASS_LARGE - 1) + (i % 2 ? SV_NCLASS : 0)));
    return arg;
}

static void team_run(unsigned n, uint64_t budget, bool program, unsigned root)
{
    pthread_t threads[MARKERS], taker;
    team.n = n;
    team.budget = budget;
    atomic_store(&team.idle, 0);
    atomic_store(&team.done, false);
    pthread_barrier_init(&team.start, NULL, n + program);
    for (unsigned i = 0; i < n; i++)
        sv_mark_begin(&team.markers[i], &pages);
    uintptr_t word = heap.v[root].at;
    sv_mark_range(&team.markers[0], (uintptr_t)&word, (uintptr_t)(&word + 1), false);
    for (unsigned i = 0; i < n; i++)
        cr_assert(pthread_create(&threads[i], NULL, member_run, &team.markers[i]) == 0);
    if (program)
        cr_assert(pthread_create(&taker, NULL, slots_take, NULL) == 0);
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&team.done, true);
    if (program)
        pthread_join(taker, NULL);
}

static void round_check(unsigned n, uint64_t budget, bool program)
{
    heap.v[0].marked = true;
    model_reach();
    team_run(n, budget, program, 0);
    uint64_t bytes = model_check(), objects = 0, told = 0, scanned = 0, accounted = 0;
    for (unsigned i = 0; i < n; i++) {
        struct sv_marker *m = &team.markers[i];
        cr_assert(!m->work.failed);
        accounted += sv_mark_account(m);
        cr_assert(sv_mark_account(m) == 0);
        objects += m->objects;
        told += m->bytes;
        scanned += m->scanned;
        sv_mark_flush(m);
    }
    for (unsigned i = 0; i < heap.n; i++)
        objects -= heap.v[i].marked;
    cr_assert(objects == 0 && told == bytes && sv_heap.marked == bytes && scanned == accounted);
    cr_assert(sv_work_idle());
    sv_work_reset();
    model_forget();
}

Test(mark, graphs)
{
    static const unsigned aligns[] = {4, 8, 1};
    pages_open();
    graph_make(3000, 40, 60);
    for (unsigned n = 1; n <= MARKERS; n++) // a slot that was freed and taken would be followed
        round_check(n, n % 2 ? UINT64_MAX : 1000, true);
    objects_free(8);
    for (unsigned k = 0; k < 3; k++) {
        sv_options.align = aligns[k];
        for (unsigned n = 1; n <= MARKERS; n++)
            round_check(n, n % 2 ? UINT64_MAX : 1000, false);
    }
}

// Few pointers, so that a good part can't be reached.
Test(mark, sparse_graphs)
{
    pages_open();
    graph_make(4000, 30, 400);
    objects_free(4);
    for (unsigned k = 0; k < 10; k++)
        round_check(1 + k % 2, 1u << (8 + k), false);
}

// Large objects that hardly exist: pieces and untouched pages, with and without the kernel's word.
Test(mark, large_objects_in_pieces)
{
    for (unsigned k = 0; k < 4; k++)
        object_add(SV_CLASS_LARGE, k == 0 ? (size_t)60 << 20 : (size_t)130 << (10 + k));
    for (unsigned k = 0; k < 3000; k++)
        object_add(4 + (k % 2 ? SV_NCLASS : 0), 0);
    for (unsigned i = 0; i < 4; i++) {
        struct object *o = &heap.v[i];
        for (size_t at = 131072 - 4; at < o->size; at += 131072 * (1 + spans_random(20)))
            edge_add(o->at + at, i, spans_random(heap.n)); // across the pieces' borders
        for (int k = 0; k < 500; k++)
            edge_add(o->at + 16 + spans_random((unsigned)(o->size / 131072)) * 131072ul +
                         8 * (1 + (size_t)k),
                     i, spans_random(heap.n));
    }
    for (size_t k = 0; k < heap.nedges; k++) { // a later one may stand in the place of an earlier
        uintptr_t word;
        memcpy(&word, (void *)heap.edges[k].where, sizeof word);
        const struct object *to = &heap.v[heap.edges[k].to];
        if (word - to->at >= to->size)
            heap.edges[k--] = heap.edges[--heap.nedges];
    }
    round_check(1, UINT64_MAX, false);
    round_check(2, 10000, false);
    pages_open();
    round_check(1, UINT64_MAX, false);
    round_check(2, 10000, true);
}

Test(mark, tags_and_every_byte)
{
    unsigned root = object_add(10, 0), a = object_add(5, 0), b = object_add(5, 0);
    uintptr_t tagged = heap.v[a].at | (uintptr_t)0xabcd << 48;
    memcpy((void *)(heap.v[root].at + 13), &tagged, 8);
    memcpy((void *)(heap.v[root].at + 51), &heap.v[b].at, 8);
    sv_options.tagbits = 16;
    team_run(1, UINT64_MAX, false, root);
    cr_assert(is_marked(&heap.v[a]) && is_marked(&heap.v[b]));
    model_forget();
    sv_options.tagbits = 0;
    sv_options.align = 1;
    team_run(1, UINT64_MAX, false, root);
    cr_assert(!is_marked(&heap.v[a]) && is_marked(&heap.v[b]));
}

Test(mark, black_is_not_scanned)
{
    unsigned black = object_add(8, 0), child = object_add(8, 0);
    edge_add(heap.v[black].at, black, child);
    struct sv_marker *m = &team.markers[0];
    sv_mark_begin(m, &pages);
    sv_mark_black(m, (void *)heap.v[black].at);
    sv_mark_word(m, heap.v[black].at);
    cr_assert(sv_mark_drain(m, UINT64_MAX));
    heap.v[black].marked = true;
    cr_assert(model_check() == 128 && m->objects == 1 && m->scanned == 0);
}

// ---- pages that were written --------------------------------------------------------------------

// Marks in the model what the pointers with a byte in [lo, hi) name, in objects that are `from`.
// Returns whether any is new.
static bool model_rescan(uintptr_t lo, uintptr_t hi, const bool *from, bool *to)
{
    bool more = false;
    for (size_t k = 0; k < heap.nedges; k++) {
        const struct edge *e = &heap.edges[k];
        if (e->where >= hi || e->where + 8 <= lo || !edge_counts(e) || !from[e->from] || to[e->to])
            continue;
        more = to[e->to] = true;
    }
    return more;
}

// One rescan finds what objects that were marked before name there; and may find what those name
// there that it has marked itself.
static void page_check(uintptr_t lo, uintptr_t hi)
{
    struct sv_marker *m = &team.markers[0];
    bool *before = calloc(heap.n, 1), *least = calloc(heap.n, 1), *most = calloc(heap.n, 1);
    for (unsigned i = 0; i < heap.n; i++)
        before[i] = least[i] = most[i] = heap.v[i].marked;
    model_rescan(lo, hi, before, least);
    while (model_rescan(lo, hi, most, most))
        ;
    sv_mark_begin(m, &pages);
    sv_mark_page(m, lo, hi);
    sv_mark_flush(m); // and no drain: what was found isn't followed
    for (unsigned i = 0; i < heap.n; i++) {
        if (!heap.v[i].at)
            continue;
        heap.v[i].marked = is_marked(&heap.v[i]);
        cr_assert(heap.v[i].marked ? most[i] : !least[i], "%lx-%lx, align %u: object %u: %d", lo,
                  hi, sv_options.align, i, heap.v[i].marked);
    }
    free(before);
    free(least);
    free(most);
}

static void marks_scatter(unsigned percent)
{
    for (unsigned i = 0; i < heap.n; i++) {
        struct sv_mark_place at;
        if (!heap.v[i].at || spans_random(100) >= percent)
            continue;
        cr_assert(sv_mark_find(heap.v[i].at, &at));
        atomic_fetch_or(&at.bits->mark, at.bit);
        heap.v[i].marked = true;
    }
}

// Every page of every span, one at a time, and runs of them over spans and gaps.
Test(mark, written_pages)
{
    static const unsigned aligns[] = {4, 8, 1};
    graph_make(1200, 12, 30);
    objects_free(6);
    uintptr_t end = sv_page_addr(sv_heap.grown);
    for (unsigned round = 0; round < 9; round++) {
        sv_options.align = aligns[round % 3];
        for (uintptr_t lo = sv_heap.base; lo < end;) {
            size_t n = spans_random(4) ? 1 : 1 + spans_random(40);
            if (spans_random(3) == 0) {
                model_forget();
                marks_scatter(round * 12);
                page_check(lo, lo + n * HW_PAGE);
            }
            lo += spans_random(8) * n * HW_PAGE + HW_PAGE;
        }
    }
    sv_work_reset();
}

Test(mark, written_pages_at_the_ends)
{
    graph_make(300, 3, 30);
    marks_scatter(50);
    uintptr_t end = sv_page_addr(sv_heap.grown);
    page_check(sv_heap.base - 10 * HW_PAGE, sv_heap.base);
    page_check(end, end + HW_PAGE);
    page_check(end - HW_PAGE, end + (HW_PAGE << 4));
    page_check(sv_heap.base - HW_PAGE, sv_heap.base + sv_heap.size + HW_PAGE);
    sv_work_reset();
}

// ---- a turn's bounds ----------------------------------------------------------------------------

static unsigned array_make(size_t n)
{
    unsigned root = object_add(SV_CLASS_LARGE, n * 8);
    for (size_t k = 0; k < n; k++)
        edge_add(heap.v[root].at + 8 * k, root, object_add(2, 0));
    return root;
}

// No turn is longer than it should be by more than a piece or an object, and turns add up.
Test(mark, budget)
{
    struct sv_marker *m = &team.markers[0];
    unsigned root = array_make(40000);
    for (uint64_t budget = 1; budget < 10000000; budget = budget * 7 + 1) {
        sv_mark_begin(m, &pages);
        sv_mark_word(m, heap.v[root].at);
        uint64_t scanned = 0, sum = 0;
        bool done = false;
        for (unsigned turns = 0; !done; turns++) {
            done = sv_mark_drain(m, budget);
            sum += sv_mark_account(m);
            cr_assert(m->scanned - scanned <= budget + SV_MARK_WORDS * 8 + 16);
            cr_assert(done || m->scanned - scanned >= budget);
            scanned = m->scanned;
        }
        cr_assert(m->objects == heap.n && sum == scanned);
        cr_assert(sum >= 40000 * 40 && sum < 40000 * 40 + 20000);
        sv_mark_flush(m);
        sv_work_reset();
        model_forget();
    }
}

Test(mark, yield)
{
    static _Atomic bool stop;
    struct sv_marker *m = &team.markers[0];
    unsigned root = array_make(10000);
    sv_mark_begin(m, &pages);
    m->yield = &stop;
    sv_mark_word(m, heap.v[root].at);
    atomic_store(&stop, true);
    cr_assert(!sv_mark_drain(m, UINT64_MAX) && m->scanned == 0);
    atomic_store(&stop, false);
    cr_assert(sv_mark_drain(m, UINT64_MAX) && m->objects == heap.n);
}

// What a marker leaves behind is all that it found; another one goes on from there.
Test(mark, flush_hands_over)
{
    unsigned root = array_make(10000);
    for (uint64_t budget = 1; budget < 500000; budget *= 3) {
        struct sv_marker *m = &team.markers[0];
        uint64_t objects = 0;
        uintptr_t word = heap.v[root].at;
        sv_mark_begin(m, &pages);
        sv_mark_range(m, (uintptr_t)&word, (uintptr_t)(&word + 1), false);
        for (bool done = false; !done;) {
            sv_mark_flush(m);
            cr_assert(m->work.top == NULL && m->work.other == NULL);
            objects += m->objects;
            m = &team.markers[m == &team.markers[0]];
            sv_mark_begin(m, &pages);
            done = sv_mark_drain(m, budget * 100);
        }
        sv_mark_flush(m);
        objects += m->objects;
        cr_assert(objects == heap.n && sv_work_idle());
        cr_assert(sv_heap.marked == 10000 * 32 + heap.v[root].size);
        sv_work_reset();
        model_forget();
    }
}

// Objects are dropped, and the marker says so.
Test(mark, short_memory_is_a_failure)
{
    struct sv_marker *m = &team.markers[0];
    unsigned root = array_make(60000);
    struct rlimit none = {1, RLIM_INFINITY}, all = {RLIM_INFINITY, RLIM_INFINITY};
    sv_mark_begin(m, &pages);
    cr_assert(setrlimit(RLIMIT_AS, &none) == 0);
    sv_mark_word(m, heap.v[root].at);
    sv_mark_drain(m, UINT64_MAX);
    cr_assert(setrlimit(RLIMIT_AS, &all) == 0);
    cr_assert(m->work.failed);
}
