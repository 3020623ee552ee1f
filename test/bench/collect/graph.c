// graph: a large live heap, collected whole, and then under a program that rewrites it at full
// speed.
//
// `graph SHAPE MIB GARBAGE_MIB [PHASE...]` builds MIB of live memory, nodes of 56 bytes in slots
// of 64: `tree` in the order in which a recursion makes it, `random` with two pointers a node to
// anywhere, `list` from the last to the first. One static pointer holds it all: the table of nodes
// that `random` needs while it is built is a mapping, gone before anything is measured. Then whole
// collections are timed, by the wall and by the CPU time of the process; and then come the phases,
// `local1`, `local2`, `spread1`, ...: so many threads do operations until GARBAGE_MIB were dropped.
//
// An operation takes a node, exchanges its two pointers, allocates a block of 256 bytes, points it
// to the node, and hangs it into a ring of the thread's where it lives for a while. `spread` takes
// the node that a random walk comes to, so every page of the heap is written again and again;
// `local` takes one of a set of nodes, which it changes slowly. A node belongs to the thread that
// its number says, so that no exchange is lost; all live nodes stay live, and are counted at the
// end. The clock is read after each operation and before each allocation: the longest operation is
// the longest that this thread was held up by anything.
//
// To the file that BENCH_SERIES names goes what is needed to tell operations while the collector
// marks from those while it is idle: `p PHASE T` when a phase begins, `o FROM TO OPERATIONS` for
// each millisecond or more of a thread, and `g CYCLE T` when the count of cycles was seen to have
// risen; times are ns since the program began.
#include "peer.h"

#include <sys/mman.h>

enum {
    NODE_SLOT = 64,
    BLOCK = 256,
    RING = 1024,
    LOCAL_SET = 4096, // nodes
    LOCAL_STAY = 64,  // operations until one node of the set is replaced
    COLLECTIONS = 3,
    THREADS_MAX = 2,
    WINDOW_NS = 1000000,
    WINDOWS_MAX = 1 << 16
};
static const uint64_t await_max = 6ull << 30; // bytes

struct node {
    struct node *_Atomic link[2];
    uint64_t id;
    uint64_t payload[4];
};
_Static_assert(sizeof(struct node) == 56, "the size that the tables name");

struct window {
    uint64_t from, to; // ns since the program began
    uint64_t operations;
    uint64_t cycles; // seen at its end
};

struct worker {
    pthread_t thread;
    uint64_t self, threads;
    uint64_t operations; // to do
    int spread;
    uint64_t random;
    struct node *cursor;
    struct window *windows; // a mapping of WINDOWS_MAX
    uint64_t windows_used;
    struct times gaps, allocations;
};

static struct node *root;
static uint64_t count, next_id, random_state = 88172645463325252u;
static struct node **table; // of `count`, a mapping; NULL but while `random` is built
static struct worker workers[THREADS_MAX];
static uint64_t began;
static FILE *series;

static void *mapping_new(size_t size)
{
    void *mapping = mmap(NULL, size, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapping == MAP_FAILED)
        fail("graph: out of memory");
    return mapping;
}

static struct node *link_get(struct node *node, unsigned k)
{
    return atomic_load_explicit(&node->link[k], memory_order_relaxed);
}

static void link_set(struct node *node, unsigned k, struct node *to)
{
    atomic_store_explicit(&node->link[k], to, memory_order_relaxed);
}

// ---- the graph ----

static struct node *node_new(void)
{
    struct node *node = block_new(sizeof *node);
    link_set(node, 0, NULL);
    link_set(node, 1, NULL);
    node->id = next_id++;
    memset(node->payload, 0, sizeof node->payload);
    if (table)
        table[node->id] = node;
    return node;
}

// Hangs a tree of `nodes` nodes into *at; each is reachable as soon as it exists.
static void tree_grow(struct node *_Atomic *at, uint64_t nodes)
{
    if (nodes == 0)
        return;
    struct node *node = node_new();
    atomic_store_explicit(at, node, memory_order_relaxed);
    tree_grow(&node->link[0], (nodes - 1) / 2);
    tree_grow(&node->link[1], nodes - 1 - (nodes - 1) / 2);
}

static struct node *tree_build(void)
{
    struct node *_Atomic top = NULL;
    tree_grow(&top, count);
    return atomic_load_explicit(&top, memory_order_relaxed);
}

static struct node *list_build(void)
{
    struct node *list = NULL;
    for (uint64_t i = 0; i < count; i++) {
        struct node *node = node_new();
        link_set(node, 0, list);
        list = node;
    }
    return list;
}

// A tree over the nodes in random order, so that all are reachable, whose leaves point anywhere.
static struct node *random_build(void)
{
    table = mapping_new(count * sizeof *table);
    root = tree_build();
    for (uint64_t i = count - 1; i > 0; i--) {
        uint64_t k = random_next(&random_state) % (i + 1);
        struct node *node = table[i];
        table[i] = table[k];
        table[k] = node;
    }
    for (uint64_t i = 0; i < count; i++)
        for (unsigned k = 0; k < 2; k++) {
            uint64_t to = 2 * i + 1 + k;
            link_set(table[i], k, table[to < count ? to : random_next(&random_state) % count]);
        }
    struct node *top = table[0];
    munmap(table, count * sizeof *table);
    table = NULL;
    return top;
}

// Nodes that can be reached, by a depth-first walk with its own stack, marking them in payload[0].
static uint64_t graph_count(void)
{
    struct node **stack = mapping_new((count + 2) * sizeof *stack);
    uint64_t height = 0, reached = 0;
    stack[height++] = root;
    root->payload[0] = 1;
    while (height) {
        struct node *node = stack[--height];
        reached++;
        for (unsigned k = 0; k < 2; k++) {
            struct node *to = link_get(node, k);
            if (!to || to->payload[0])
                continue;
            to->payload[0] = 1;
            stack[height++] = to;
        }
    }
    munmap(stack, (count + 2) * sizeof *stack);
    return reached;
}

// ---- the program that rewrites it ----

// Walks on from the cursor to the next node of this thread's; from a leaf, from the root again.
static struct node *node_walk(struct worker *w)
{
    do {
        w->cursor = link_get(w->cursor, random_next(&w->random) >> 32 & 1);
        if (!w->cursor)
            w->cursor = root;
    } while (w->cursor->id % w->threads != w->self);
    return w->cursor;
}

// So far from the root that it may be anywhere.
static struct node *node_far(struct worker *w)
{
    uint64_t steps = 12 + random_next(&w->random) % 12;
    while (steps--)
        node_walk(w);
    return w->cursor;
}

static void links_exchange(struct node *node)
{
    struct node *left = link_get(node, 0), *right = link_get(node, 1);
    link_set(node, 0, right);
    link_set(node, 1, left);
}

static void window_end(struct worker *w, uint64_t *from, uint64_t to, uint64_t operations)
{
    if (w->windows_used < WINDOWS_MAX)
        w->windows[w->windows_used++] =
            (struct window){*from - began, to - began, operations, peer_cycles()};
    *from = to;
}

static void *worker_main(void *argument)
{
    struct worker *w = argument;
    w->cursor = root;
    struct node **set = block_new(LOCAL_SET * sizeof *set);
    void ***ring = block_new(RING * sizeof *ring);
    memset(ring, 0, RING * sizeof *ring);
    for (int i = 0; i < LOCAL_SET; i++)
        set[i] = node_far(w);
    uint64_t last = now_ns(), from = last, first = 0;
    for (uint64_t i = 0; i < w->operations; i++) {
        if (!w->spread && i % LOCAL_STAY == 0)
            set[random_next(&w->random) % LOCAL_SET] = node_far(w);
        struct node *node = w->spread ? node_walk(w) : set[random_next(&w->random) % LOCAL_SET];
        links_exchange(node);
        uint64_t before = now_ns();
        void **block = block_new(BLOCK);
        uint64_t after = now_ns();
        memset(block, 0, BLOCK);
        *block = node;
        ring[i % RING] = block;
        times_add(&w->allocations, after - before);
        times_add(&w->gaps, after - last);
        last = after;
        if (after - from < WINDOW_NS)
            continue;
        window_end(w, &from, after, i + 1 - first);
        first = i + 1;
    }
    return NULL;
}

// The windows of all threads; a cycle is told once, at the end of the first window that saw it.
static void series_write(const char *phase, uint64_t start, uint64_t threads, uint64_t cycles)
{
    if (!series)
        return;
    fprintf(series, "p %s %llu\n", phase, (unsigned long long)(start - began));
    for (uint64_t t = 0; t < threads; t++)
        for (uint64_t i = 0; i < workers[t].windows_used; i++) {
            const struct window *window = &workers[t].windows[i];
            fprintf(series, "o %llu %llu %llu\n", (unsigned long long)window->from,
                    (unsigned long long)window->to, (unsigned long long)window->operations);
            if (t > 0 || window->cycles == cycles)
                continue;
            cycles = window->cycles;
            fprintf(series, "g %llu %llu\n", (unsigned long long)cycles,
                    (unsigned long long)window->to);
        }
}

static void phase_run(const char *phase, uint64_t garbage)
{
    uint64_t threads = (uint64_t)(phase[strlen(phase) - 1] - '0');
    uint64_t cycles = peer_cycles(), start = now_ns();
    if (threads < 1 || threads > THREADS_MAX)
        fail("graph: a phase is local1, local2, spread1 or spread2");
    for (uint64_t t = 0; t < threads; t++) {
        struct window *windows = workers[t].windows;
        workers[t] = (struct worker){.self = t,
                                     .threads = threads,
                                     .operations = garbage / BLOCK / threads,
                                     .spread = strncmp(phase, "spread", 6) == 0,
                                     .random = 362436069u + t,
                                     .windows = windows};
        if (pthread_create(&workers[t].thread, NULL, worker_main, &workers[t]) != 0)
            fail("graph: no thread");
    }
    for (uint64_t t = 0; t < threads; t++)
        pthread_join(workers[t].thread, NULL);
    uint64_t took = now_ns() - start, cycles_after = peer_cycles();
    series_write(phase, start, threads, cycles);
    for (uint64_t t = 1; t < threads; t++) {
        times_join(&workers[0].gaps, &workers[t].gaps);
        times_join(&workers[0].allocations, &workers[t].allocations);
    }
    const struct times *gaps = &workers[0].gaps;
    printf("%s.ms=%.1f %s.stall_us=%.1f %s.p99_ns=%llu %s.p999_ns=%llu %s.alloc_us=%.1f ", phase,
           (double)took / 1e6, phase, (double)gaps->max / 1e3, phase,
           (unsigned long long)times_part(gaps, 0.99), phase,
           (unsigned long long)times_part(gaps, 0.999), phase,
           (double)workers[0].allocations.max / 1e3);
    printf("%s.cycles_from=%llu %s.cycles_to=%llu ", phase, (unsigned long long)cycles, phase,
           (unsigned long long)cycles_after);
}

// ---- the command ----

static int time_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// The first one isn't counted: it ends what the build began.
static void collections_run(void)
{
    uint64_t wall[COLLECTIONS], cpu[COLLECTIONS];
    const int middle = COLLECTIONS / 2;
    peer_collect();
    for (int i = 0; i < COLLECTIONS; i++) {
        uint64_t wall_start = now_ns(), cpu_start = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        peer_collect();
        wall[i] = now_ns() - wall_start;
        cpu[i] = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_start;
    }
    qsort(wall, COLLECTIONS, sizeof *wall, time_compare);
    qsort(cpu, COLLECTIONS, sizeof *cpu, time_compare);
    printf("collect_ms=%.1f collect_cpu_ms=%.1f ", (double)wall[middle] / 1e6,
           (double)cpu[middle] / 1e6);
}

// Drops blocks until a cycle by growth is over: the collections that were asked for found nothing,
// and a collector may wait long after such a one.
static void cycle_await(void)
{
    uint64_t cycles = peer_cycles();
    for (uint64_t i = 0; i < await_max / BLOCK; i++) {
        void *block = block_new(BLOCK);
        __asm__ volatile("" : : "r"(block) : "memory"); // the block isn't optimised away
        if (i % RING == 0 && peer_cycles() != cycles)
            return;
    }
}

static struct node *graph_build(const char *shape)
{
    if (strcmp(shape, "tree") == 0)
        return tree_build();
    if (strcmp(shape, "random") == 0)
        return random_build();
    if (strcmp(shape, "list") == 0)
        return list_build();
    fail("graph: a shape is tree, random or list");
}

int main(int argc, char **argv)
{
    if (argc < 4 || !(count = (strtoull(argv[2], NULL, 10) << 20) / NODE_SLOT)) {
        fprintf(stderr, "usage: graph SHAPE MIB GARBAGE_MIB [PHASE...]\n");
        return 2;
    }
    began = now_ns();
    peer_start();
    const char *path = getenv("BENCH_SERIES");
    series = path ? fopen(path, "w") : NULL;
    root = graph_build(argv[1]);
    printf("nodes=%llu build_ms=%.1f build_cycles=%llu ", (unsigned long long)count,
           (double)(now_ns() - began) / 1e6, (unsigned long long)peer_cycles());
    collections_run();
    printf("rss_kib=%lu huge_kib=%lu ", peer_memory("VmRSS"), peer_huge());
    peer_memory_forget();
    for (int t = 0; t < THREADS_MAX; t++)
        workers[t].windows = mapping_new(WINDOWS_MAX * sizeof(struct window));
    if (argc > 4)
        cycle_await();
    for (int i = 4; i < argc; i++)
        phase_run(argv[i], strtoull(argv[3], NULL, 10) << 20);
    printf("peak_kib=%lu reached=%llu\n", peer_memory("VmHWM"), (unsigned long long)graph_count());
    if (series)
        fclose(series);
    peer_finish();
    return 0;
}
