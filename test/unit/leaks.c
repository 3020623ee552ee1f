// Leaks without a program around them: the states that sweeping gives to objects, and the graph
// among the lost against a plain model of it.
#include "leaks.h"

#include <stdlib.h>
#include <string.h>

#include "lost.h"
#include "mark.h"
#include "options.h"
#include "profile.h"
#include "spans.h"
#include "sweep.h"

static void setup(void)
{
    sv_options.mode = SV_MODE_LEAKS;
    sv_profile_init();
    sv_leaks_init();
    spans_setup();
}

TestSuite(leaks, .init = setup, .timeout = 60);

static void *object_make(size_t bytes)
{
    void *p = sv_heap_alloc(bytes);
    memset(p, 0, bytes);
    sv_profile_record(p, bytes, 7);
    return p;
}

static unsigned object_state(const void *p)
{
    return (unsigned)(atomic_load(sv_profile_word_of(p)) >> SV_PROFILE_STATE_SHIFT);
}

// ---- states -------------------------------------------------------------------------------------

enum { NONE, CANDIDATE, LOST, IGNORED, ABANDONED };

// A cycle that reaches all but n objects; everything is swept.
static void cycle_miss(void *const *missed, unsigned n)
{
    spans_phase(SV_PHASE_MARK);
    for (uint32_t page = 1; page < sv_heap.grown; page++) {
        sv_pagemap_entry e = sv_pagemap_get(page);
        if (!e || sv_pagemap_first(page, e) != page)
            continue;
        struct sv_span *span = sv_span_at(page);
        for (unsigned w = 0; w < sv_span_words(span); w++)
            sv_span_bits(span)[w].mark = sv_span_bits(span)[w].alloc;
    }
    for (unsigned i = 0; i < n; i++) {
        struct sv_mark_place at;
        cr_assert(sv_mark_find((uintptr_t)missed[i], &at));
        atomic_fetch_and(&at.bits->mark, ~at.bit);
    }
    uint64_t live = sv_heap.live;
    spans_flip();
    sv_heap.live = live; // as phase.c has it in this mode
    sv_sweep_finish();
}

Test(leaks, twice_in_a_row)
{
    void *p[] = {object_make(40), object_make(4000), object_make(40000), object_make(16)};
    void *other = object_make(40);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(object_state(p[i]), NONE);
    cycle_miss(p, 4);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(object_state(p[i]), CANDIDATE);
    cycle_miss(p, 4);
    for (unsigned i = 0; i < 4; i++)
        cr_assert_eq(object_state(p[i]), LOST);
    cr_assert_eq(object_state(other), NONE);
    cycle_miss(p, 2);
    cr_assert_eq(object_state(p[0]), LOST);
    cr_assert_eq(object_state(p[1]), LOST);
    cr_assert_eq(object_state(p[2]), NONE);
    cr_assert_eq(object_state(p[3]), NONE);
}

Test(leaks, not_in_a_row)
{
    void *p[] = {object_make(40), object_make(40000)};
    for (int i = 0; i < 3; i++) {
        cycle_miss(p, 2);
        cr_assert_eq(object_state(p[0]), CANDIDATE);
        cr_assert_eq(object_state(p[1]), CANDIDATE);
        cycle_miss(NULL, 0);
        cr_assert_eq(object_state(p[0]), NONE);
        cr_assert_eq(object_state(p[1]), NONE);
    }
}

Test(leaks, nothing_is_taken_back)
{
    void *p[] = {object_make(40), object_make(40000)};
    uint64_t live = sv_heap.live;
    for (int i = 0; i < 3; i++)
        cycle_miss(p, 2);
    cr_assert_eq(sv_heap.live, live);
    cr_assert_eq(sv_heap.reclaimed, 0);
    for (unsigned i = 0; i < 2; i++) {
        cr_assert_eq(sv_heap_free(p[i]), SV_OURS);
        cr_assert_eq(sv_heap_free(p[i]), SV_FREED);
    }
}

Test(leaks, freed_and_taken_again)
{
    void *p[] = {object_make(3000), object_make(3000)};
    cycle_miss(p, 2);
    cycle_miss(p, 2);
    cr_assert_eq(sv_heap_free(p[0]), SV_OURS);
    void *again = object_make(3000);
    cr_assert_eq(again, p[0]);
    cr_assert_eq(object_state(again), NONE);
    cr_assert_eq(object_state(p[1]), LOST);
}

Test(leaks, ignored_ones_are_roots)
{
    const uintptr_t *words;
    void *p[200];
    for (unsigned i = 0; i < 200; i++) {
        p[i] = object_make(24 + i);
        cr_assert(sv_leaks_ignore((char *)p[i] + i / 2));
    }
    for (unsigned round = 0; round < 2; round++) {
        unsigned found = 0;
        size_t n = sv_leaks_roots(&words);
        for (size_t i = 0; i < n; i++)
            for (unsigned k = 0; k < 200; k++)
                found += words[i] == (uintptr_t)p[k];
        cr_assert_eq(found, round ? 100 : 200);
        for (unsigned i = 0; i < 100 && round == 0; i++)
            cr_assert_eq(sv_heap_free(p[i]), SV_OURS);
    }
    cr_assert_not(sv_leaks_ignore(&words));
}

// ---- the graph ----------------------------------------------------------------------------------

enum { NODES = 40, GRAPHS = 3000 };

static struct {
    unsigned n;
    void *p[NODES]; // ascending
    size_t bytes[NODES];
    bool edge[NODES][NODES];
    bool leads[NODES][NODES]; // the transitive closure
} graph;

static int pointer_compare(const void *a, const void *b)
{
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return x < y ? -1 : x > y;
}

static size_t size_random(void)
{
    switch (spans_random(8)) {
    case 0:
        return 32768 + spans_random(100000);
    case 1:
        return 1024 + spans_random(20000);
    default:
        return 8 + spans_random(120);
    }
}

static void nodes_make(unsigned n)
{
    graph.n = n;
    for (unsigned i = 0; i < n; i++)
        graph.p[i] = sv_heap_alloc(size_random());
    qsort(graph.p, n, sizeof *graph.p, pointer_compare);
    for (unsigned i = 0; i < n; i++) {
        enum sv_verdict verdict;
        size_t usable = sv_heap_usable(graph.p[i], &verdict);
        graph.bytes[i] = usable - spans_random(usable < 64 ? 1 : 8);
        memset(graph.p[i], 0, usable);
        sv_profile_record(graph.p[i], graph.bytes[i], 1);
    }
}

// At multiples of 4, to anywhere in an object.
static void edges_make(unsigned n)
{
    size_t fill[NODES] = {0};
    memset(graph.edge, 0, sizeof graph.edge);
    while (n--) {
        unsigned a = spans_random(graph.n), b = spans_random(graph.n);
        size_t at = fill[a] + 4 * spans_random(2);
        if (at + sizeof(uintptr_t) > graph.bytes[a])
            continue;
        uintptr_t word = (uintptr_t)graph.p[b] + spans_random((unsigned)graph.bytes[b] + 1);
        memcpy((char *)graph.p[a] + at, &word, sizeof word);
        fill[a] = at + sizeof word;
        graph.edge[a][b] = true;
    }
}

static void closure_make(void)
{
    memcpy(graph.leads, graph.edge, sizeof graph.leads);
    for (unsigned k = 0; k < graph.n; k++)
        for (unsigned i = 0; i < graph.n; i++)
            for (unsigned j = 0; j < graph.n; j++)
                graph.leads[i][j] |= graph.leads[i][k] && graph.leads[k][j];
}

// Nobody leads to it but who it leads to itself.
static bool source(unsigned i)
{
    for (unsigned j = 0; j < graph.n; j++)
        if (graph.leads[j][i] && !graph.leads[i][j])
            return false;
    return true;
}

static struct sv_span *span_of(const void *p)
{
    uint64_t page = sv_page_of((uintptr_t)p);
    return sv_span_at(sv_pagemap_first((uint32_t)page, sv_pagemap_get(page)));
}

static void graph_check(const struct sv_lost *lost)
{
    bool counted[NODES] = {false};
    for (unsigned i = 0; i < graph.n; i++) {
        if (!source(i)) {
            cr_assert(sv_lost_indirect(lost, i), "%u of %u is led to", i, graph.n);
            continue;
        }
        if (counted[i])
            continue;
        unsigned direct = 0;
        for (unsigned j = 0; j < graph.n; j++) {
            bool same = j == i || (graph.leads[i][j] && graph.leads[j][i]);
            counted[j] |= same;
            direct += same && !sv_lost_indirect(lost, j);
        }
        cr_assert_eq(direct, 1, "the ring of %u of %u has %u direct ones", i, graph.n, direct);
    }
}

static void graph_run(unsigned nodes, unsigned edges)
{
    struct sv_lost lost;
    nodes_make(nodes);
    edges_make(edges);
    closure_make();
    sv_lost_begin(&lost, sv_heap.grown);
    for (unsigned i = 0; i < nodes; i++)
        sv_lost_add(&lost, span_of(graph.p[i]), (uintptr_t)graph.p[i]);
    for (unsigned i = 0; i < nodes; i++) {
        cr_assert_eq(sv_lost_find(&lost, (uintptr_t)graph.p[i]), i);
        cr_assert_eq(sv_lost_find(&lost, (uintptr_t)graph.p[i] + graph.bytes[i]), i);
        cr_assert_eq(sv_lost_start(&lost, i), (uintptr_t)graph.p[i]);
    }
    cr_assert(sv_lost_classify(&lost));
    graph_check(&lost);
    sv_lost_end(&lost);
    for (unsigned i = 0; i < nodes; i++)
        sv_heap_free(graph.p[i]);
}

Test(leaks, graphs)
{
    for (unsigned i = 0; i < GRAPHS; i++) {
        unsigned n = 1 + spans_random(NODES);
        graph_run(n, spans_random(2 * n));
    }
}

// A word that points to a free slot, or to an object that isn't lost, leads nowhere.
Test(leaks, only_the_lost)
{
    struct sv_lost lost;
    void **a = object_make(64), **b = object_make(64), **c = object_make(64);
    a[0] = b;
    b[0] = c;
    void *order[2] = {a < c ? a : c, a < c ? c : a};
    sv_lost_begin(&lost, sv_heap.grown);
    for (unsigned i = 0; i < 2; i++)
        sv_lost_add(&lost, span_of(order[i]), (uintptr_t)order[i]);
    cr_assert_eq(sv_lost_find(&lost, (uintptr_t)b), SIZE_MAX);
    cr_assert_eq(sv_lost_find(&lost, sv_heap.base), SIZE_MAX);
    cr_assert_eq(sv_lost_find(&lost, sv_heap.base + sv_heap.size), SIZE_MAX);
    cr_assert(sv_lost_classify(&lost));
    cr_assert_not(sv_lost_indirect(&lost, 0));
    cr_assert_not(sv_lost_indirect(&lost, 1));
    sv_lost_end(&lost);
}
