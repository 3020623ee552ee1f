// markrate: how fast the core marks, on graphs of 56-byte objects (64-byte slots) with two pointers
// each.
//
// `markrate SHAPE [MIB [MARKERS [ROUNDS]]]` builds a heap of MIB MiB (1024) in this process, marks
// it from one root with MARKERS threads (1), and prints one line for each of ROUNDS (3):
//
//     shape MIB markers objects | seconds | M objects/s | M objects/cpu-s | GB/cpu-s
//
// Shapes: `random`, each object points to two others anywhere; `tree`, a binary tree in the order
// in which a recursive program makes it; `bfs`, the same, level by level; `list`, each object
// points to the next and to nothing; `array`, one large object that points to all others, in
// order. A SHAPE with `+thp` appended has heap and tables in huge pages, where the kernel gives
// them.
//
// Links the core statically: nothing is interposed, and no cycle runs but this file's.
//
//     make build/units.a
//     gcc -O2 -std=gnu17 -D_GNU_SOURCE -iquote core -iquote scanners -o build/markrate
//         test/bench/markrate.c build/units.a -pthread
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "central.h"
#include "heap.h"
#include "large.h"
#include "mark.h"
#include "sizeclass.h"

enum { MARKERS_MAX = 8, REQUEST = 56, MIB_SHIFT = 20 };

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

struct node {
    struct node *left, *right;
    uint64_t payload[5];
};

static struct node **nodes;
static size_t nnodes;
static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// ---- the heap -----------------------------------------------------------------------------------

static void nodes_make(size_t n)
{
    unsigned class = sv_sizeclass(REQUEST);
    nnodes = n;
    nodes = malloc(n * sizeof *nodes);
    for (size_t i = 0; i < n; i++) {
        nodes[i] = sv_central_take(class);
        if (!nodes[i]) {
            fprintf(stderr, "markrate: no memory\n");
            exit(1);
        }
        memset(nodes[i], 0, sizeof *nodes[i]);
        nodes[i]->payload[0] = i;
    }
}

static void link_random(void)
{
    for (size_t i = 0; i < nnodes; i++) {
        nodes[i]->left = nodes[random_next() % nnodes];
        nodes[i]->right = nodes[random_next() % nnodes];
    }
}

static void link_bfs(void)
{
    for (size_t i = 0; i < nnodes; i++) {
        nodes[i]->left = 2 * i + 1 < nnodes ? nodes[2 * i + 1] : NULL;
        nodes[i]->right = 2 * i + 2 < nnodes ? nodes[2 * i + 2] : NULL;
    }
}

// The subtree of nodes [at, at + n), its root first.
static struct node *link_tree(size_t at, size_t n)
{
    if (n == 0)
        return NULL;
    size_t left = (n - 1) / 2;
    nodes[at]->left = link_tree(at + 1, left);
    nodes[at]->right = link_tree(at + 1 + left, n - 1 - left);
    return nodes[at];
}

static void link_list(void)
{
    for (size_t i = 0; i + 1 < nnodes; i++)
        nodes[i]->left = nodes[i + 1];
}

static uintptr_t graph_make(const char *shape)
{
    if (!strcmp(shape, "random")) {
        link_random();
    } else if (!strcmp(shape, "tree")) {
        link_tree(0, nnodes);
    } else if (!strcmp(shape, "bfs")) {
        link_bfs();
    } else if (!strcmp(shape, "list")) {
        link_list();
    } else if (!strcmp(shape, "array")) {
        void *all = sv_large_alloc(nnodes * sizeof *nodes, 1, false, false);
        memcpy(all, nodes, nnodes * sizeof *nodes);
        return (uintptr_t)all;
    } else {
        fprintf(stderr, "markrate: no shape %s\n", shape);
        exit(2);
    }
    return (uintptr_t)nodes[0];
}

static void huge_ask(size_t bytes)
{
    madvise((void *)sv_heap.base, bytes + bytes / 4, MADV_HUGEPAGE);
}

static void tables_collapse(void)
{
    madvise(sv_heap.spans, sv_heap.grown * sizeof *sv_heap.spans & -4096ul, MADV_COLLAPSE);
    madvise(sv_heap.pagemap, sv_heap.grown * sizeof *sv_heap.pagemap & -4096ul, MADV_COLLAPSE);
}

// ---- marking ------------------------------------------------------------------------------------

static struct {
    unsigned n;
    pthread_barrier_t start;
    _Atomic unsigned idle;
    struct sv_marker markers[MARKERS_MAX];
    double cpu[MARKERS_MAX];
} team;

// Until all are out of work at once.
static void member_drain(struct sv_marker *m)
{
    for (;;) {
        if (!sv_mark_drain(m, UINT64_MAX))
            continue;
        atomic_fetch_add(&team.idle, 1);
        while (sv_work_idle())
            if (atomic_load(&team.idle) == team.n)
                return;
        atomic_fetch_sub(&team.idle, 1);
    }
}

static void *member_run(void *arg)
{
    struct sv_marker *m = arg;
    pthread_barrier_wait(&team.start);
    double began = now(CLOCK_THREAD_CPUTIME_ID);
    member_drain(m);
    sv_mark_flush(m);
    team.cpu[m - team.markers] = now(CLOCK_THREAD_CPUTIME_ID) - began;
    return NULL;
}

static void round_run(const char *shape, unsigned mib, uintptr_t root)
{
    static const struct sv_pages no_pages = {.pagemap_fd = -1, .mem_fd = -1};
    pthread_t threads[MARKERS_MAX];
    uint64_t objects = 0, scanned = 0;
    double cpu = 0;
    atomic_store(&team.idle, 0);
    pthread_barrier_init(&team.start, NULL, team.n + 1);
    for (unsigned i = 0; i < team.n; i++) {
        sv_mark_begin(&team.markers[i], &no_pages);
        pthread_create(&threads[i], NULL, member_run, &team.markers[i]);
    }
    sv_mark_word(&team.markers[0], root);
    pthread_barrier_wait(&team.start);
    double began = now(CLOCK_MONOTONIC);
    for (unsigned i = 0; i < team.n; i++) {
        pthread_join(threads[i], NULL);
        objects += team.markers[i].objects;
        scanned += team.markers[i].scanned;
        cpu += team.cpu[i];
    }
    double wall = now(CLOCK_MONOTONIC) - began;
    printf("%-12s %5u %u %9lu | %.3f | %6.1f | %6.1f | %5.2f\n", shape, mib, team.n, objects, wall,
           (double)objects / wall * 1e-6, (double)objects / cpu * 1e-6,
           (double)scanned / cpu * 1e-9);
    fflush(stdout);
    pthread_barrier_destroy(&team.start);
    sv_work_reset();
    sv_mark_clear();
}

int main(int argc, char **argv)
{
    char shape[32] = "random";
    if (argc > 1)
        snprintf(shape, sizeof shape, "%s", argv[1]);
    unsigned mib = argc > 2 ? (unsigned)atoi(argv[2]) : 1024;
    team.n = argc > 3 ? (unsigned)atoi(argv[3]) : 1;
    int rounds = argc > 4 ? atoi(argv[4]) : 3;
    if (team.n < 1 || team.n > MARKERS_MAX || mib < 1)
        return 2;
    char *plus = strchr(shape, '+');
    size_t bytes = (size_t)mib << MIB_SHIFT;
    if (!sv_heap_init())
        return 1;
    atomic_store(&sv_heap.trigger, UINT64_MAX);
    if (plus)
        huge_ask(bytes);
    nodes_make(bytes / 64);
    if (plus) {
        tables_collapse();
        *plus = 0;
    }
    uintptr_t root = graph_make(shape);
    if (plus)
        *plus = '+';
    while (rounds-- > 0)
        round_run(shape, mib, root);
    return 0;
}
