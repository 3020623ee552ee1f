// final: what it costs to be told that an object has died, in each of the ways that libgc has.
//
// `final N` makes N objects of 32 bytes for each way: a link that disappears, a finalizer in order
// and one without, GC_finalized_malloc's; and, for comparison, N uncollectable ones that are freed.
// Prints WAY.dropped=ns, an object that is dropped at once, to the end of its finalizer;
// WAY.kept=ns, an object that is kept; and WAY.collect=ms, a collection with N of them kept. How
// many were told of is looked at: a collector may keep some of the last.
//
// Malloc has no such thing: without BENCH_GC the program says so and fails.
#include "peer.h"

#ifdef BENCH_GC
#include <gc/gc_disclaim.h>

enum { SIZE = 32 };

static void **places; // no pointers, for the collector: what a link clears
static void **kept;
static uint64_t told;

static void finalizer(void *object, void *data)
{
    (void)object, (void)data;
    told++;
}

static const struct GC_finalizer_closure closure = {finalizer, NULL};

static void *make_link(uint64_t i)
{
    void *p = GC_MALLOC(SIZE);
    places[i] = p;
    GC_GENERAL_REGISTER_DISAPPEARING_LINK(&places[i], p);
    return p;
}

static void *make_ordered(uint64_t i)
{
    (void)i;
    void *p = GC_MALLOC(SIZE);
    GC_REGISTER_FINALIZER(p, finalizer, NULL, NULL, NULL);
    return p;
}

static void *make_no_order(uint64_t i)
{
    (void)i;
    void *p = GC_MALLOC(SIZE);
    GC_REGISTER_FINALIZER_NO_ORDER(p, finalizer, NULL, NULL, NULL);
    return p;
}

static void *make_disclaimed(uint64_t i)
{
    (void)i;
    return GC_finalized_malloc(SIZE, &closure);
}

static void settle(void)
{
    for (int i = 0; i < 2; i++) {
        GC_gcollect();
        GC_invoke_finalizers();
    }
}

static void way_run(const char *way, void *(*make)(uint64_t), uint64_t n)
{
    uint64_t start = now_ns();
    told = 0;
    for (uint64_t i = 0; i < n; i++)
        make(i);
    settle();
    uint64_t took = now_ns() - start;
    if (make == make_link)
        for (uint64_t i = 0; i < n; i++)
            told += places[i] == NULL;
    if (told < n - n / 10)
        fail("final: too few were told of");
    printf("%s.dropped=%.1f ", way, (double)took / (double)n);
    start = now_ns();
    for (uint64_t i = 0; i < n; i++)
        kept[i] = make(i);
    printf("%s.kept=%.1f ", way, (double)(now_ns() - start) / (double)n);
    start = now_ns();
    GC_gcollect();
    printf("%s.collect=%.1f ", way, (double)(now_ns() - start) / 1e6);
    memset(kept, 0, n * sizeof *kept);
    settle();
}

static void uncollectable_run(uint64_t n)
{
    uint64_t start = now_ns();
    for (uint64_t i = 0; i < n; i++)
        kept[i] = GC_MALLOC_UNCOLLECTABLE(SIZE);
    printf("uncollectable.kept=%.1f ", (double)(now_ns() - start) / (double)n);
    start = now_ns();
    GC_gcollect();
    printf("uncollectable.collect=%.1f ", (double)(now_ns() - start) / 1e6);
    start = now_ns();
    for (uint64_t i = 0; i < n; i++)
        GC_FREE(kept[i]);
    printf("uncollectable.freed=%.1f ", (double)(now_ns() - start) / (double)n);
}

int main(int argc, char **argv)
{
    uint64_t n = argc == 2 ? strtoull(argv[1], NULL, 10) : 0;
    if (n == 0) {
        fprintf(stderr, "usage: final OBJECTS\n");
        return 2;
    }
    peer_start();
    GC_init_finalized_malloc();
    places = GC_MALLOC_ATOMIC_UNCOLLECTABLE(n * sizeof *places);
    kept = GC_MALLOC_UNCOLLECTABLE(n * sizeof *kept);
    if (!places || !kept)
        fail("out of memory");
    way_run("link", make_link, n);
    way_run("ordered", make_ordered, n);
    way_run("no_order", make_no_order, n);
    way_run("disclaimed", make_disclaimed, n);
    uncollectable_run(n);
    printf("peak_kib=%lu cycles=%llu\n", peer_memory("VmHWM"), (unsigned long long)peer_cycles());
    peer_finish();
    return 0;
}
#else
int main(void)
{
    fail("final: malloc has no finalizers");
}
#endif
