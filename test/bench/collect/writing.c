// writing: a large live heap, all of which threads write to at full speed while it is collected:
// the most that a mark beside the program has to catch up with.
//
// `writing MIB THREADS COLLECTIONS` makes MIB of nodes of 56 bytes with two pointers to anywhere.
// Each thread takes a node by chance, again and again, and exchanges its two pointers, so that the
// same objects stay live. After a second without a collection so many are asked for, one after the
// other. Prints what the threads did a second without and meanwhile, how long collections took, and
// the stops that ended a mark: how many, the 99th of 100, the longest, and the longest that began
// one. (Salvage's quantile is at most a quarter too long; libgc has one kind of stop only.)
#include "peer.h"

#include <sys/mman.h>
#include <unistd.h>

enum { NODE_SLOT = 64, THREADS_MAX = 4, BATCH = 64 };

struct node {
    struct node *left, *right;
    uint64_t value[5];
};

static struct node **nodes; // the live heap's one root
static size_t count;
static _Atomic int over;

static struct worker {
    _Alignas(64) _Atomic uint64_t operations; // its thread
    pthread_t thread;
} workers[THREADS_MAX];

static void *worker_run(void *arg)
{
    struct worker *w = arg;
    uint64_t state = 88172645463325252u + (uint64_t)(w - workers) * 7919, done = 0;
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        for (unsigned i = 0; i < BATCH; i++) {
            struct node *n = nodes[(random_next(&state) >> 8) % count], *left = n->left;
            n->left = n->right;
            n->right = left;
        }
        done += BATCH;
        atomic_store_explicit(&w->operations, done, memory_order_relaxed);
    }
    return NULL;
}

static uint64_t operations(int threads)
{
    uint64_t sum = 0;
    for (int i = 0; i < threads; i++)
        sum += atomic_load_explicit(&workers[i].operations, memory_order_relaxed);
    return sum;
}

static void nodes_make(size_t mib)
{
    uint64_t state = 1;
    count = mib * ((1 << 20) / NODE_SLOT);
    nodes = mmap(NULL, count * sizeof *nodes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                 -1, 0);
    if (nodes == MAP_FAILED)
        fail("writing: out of memory");
#ifdef BENCH_GC
    GC_add_roots(nodes, nodes + count);
#endif
    for (size_t i = 0; i < count; i++)
        nodes[i] = block_new(sizeof **nodes);
    for (size_t i = 0; i < count; i++) {
        nodes[i]->left = nodes[(random_next(&state) >> 8) % count];
        nodes[i]->right = nodes[(random_next(&state) >> 8) % count];
    }
}

#ifdef BENCH_GC
static int length_compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void stops_print(void)
{
    size_t n = peer_stops.count < STOPS_MAX ? peer_stops.count : STOPS_MAX;
    qsort(peer_stops.took, n, sizeof *peer_stops.took, length_compare);
    if (n)
        printf(" stop_p99_us=%.0f stop_max_us=%.0f", peer_stops.took[n * 99 / 100] / 1e3,
               peer_stops.took[n - 1] / 1e3);
}
#else
static void stops_print(void)
{
    struct salvage_stats s = peer_stats();
    printf(" stop_p99_us=%.0f stop_max_us=%.0f first_max_us=%.0f",
           (double)s.pause_termination_ns_p99 / 1e3, (double)s.pause_termination_ns_max / 1e3,
           (double)s.pause_prepare_ns_max / 1e3);
}
#endif

int main(int argc, char **argv)
{
    int threads = argc == 4 ? atoi(argv[2]) : 0, collections = argc == 4 ? atoi(argv[3]) : 0;
    if (argc != 4 || atoi(argv[1]) < 1 || threads < 1 || threads > THREADS_MAX || collections < 1) {
        fprintf(stderr, "usage: writing MIB THREADS COLLECTIONS\n");
        return 2;
    }
    peer_start();
    nodes_make((size_t)atoi(argv[1]));
    peer_collect();
    for (int i = 0; i < threads; i++)
        pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]);
    uint64_t start = now_ns(), done = operations(threads);
    sleep(1);
    double idle = (double)(operations(threads) - done) / (double)(now_ns() - start) * 1e3;
    start = now_ns();
    done = operations(threads);
    for (int i = 0; i < collections; i++)
        peer_collect();
    uint64_t took = now_ns() - start;
    double working = (double)(operations(threads) - done) / (double)took * 1e3;
    atomic_store_explicit(&over, 1, memory_order_relaxed);
    for (int i = 0; i < threads; i++)
        pthread_join(workers[i].thread, NULL);
    printf("idle=%.3f working=%.3f collect_ms=%.1f", idle, working,
           (double)took / 1e6 / collections);
    stops_print();
    printf("\n");
    peer_finish();
    return 0;
}
