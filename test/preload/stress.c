// Threads that rewrite one shared graph at random while cycles run at every turn: nodes of many
// sizes, reached from a table of roots, from each other and from the walkers' stacks alone. Nothing
// is ever freed. Every node that a walk meets must be whole: its checksum is over what never
// changes in it.
//
// Arguments: [seconds [seed]].
//
// SALVAGE: stress=16,checkmark=1,clobber=1
// SALVAGE: stress=256,clobber=1
// SALVAGE: clobber=1
// SALVAGE: chaos=3

#include "lib/witness.h"

#include <time.h>

#define THREADS 4
#define ROOTS 256
#define EDGES 4
#define MAGIC 0x5eed0000c0de0000u

struct node {
    uint64_t magic;
    uint64_t number;
    uint64_t size;  // bytes of the payload
    uint64_t check; // over the three before it
    _Atomic(struct node *) edge[EDGES];
    unsigned char payload[]; // a pattern of `number`
};

static _Atomic(struct node *) roots[ROOTS];
static _Atomic uint64_t numbers = 1, steps;
static struct timespec deadline;
static uint64_t seed;

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1du;
}

static uint64_t node_sum(const struct node *n)
{
    return (n->magic ^ n->number * 0x9e3779b97f4a7c15u ^ n->size << 40) | 1;
}

static witness_noinline void node_check(const struct node *n, const char *from)
{
    bool whole = n->magic == MAGIC && n->check == node_sum(n);
    if (whole && witness_compare(n->payload, n->size, n->number) == n->size)
        return;
    printf("FAIL node %p from %s: magic %lx, number %lu, seed %lu\n", (const void *)n, from,
           (unsigned long)n->magic, (unsigned long)n->number, (unsigned long)seed);
    printf("0 passed, 1 failed\n");
    fflush(stdout);
    _exit(1);
}

static struct node *node_make(uint64_t *state)
{
    uint64_t r = random_next(state) >> 20;
    size_t size = r % 256 == 0 ? 50000 : r % 16 == 0 ? r / 16 % 6000 : r / 16 % 200;
    struct node *n = malloc(sizeof *n + size);
    WITNESS_NEED(n != NULL, "no memory");
    n->magic = MAGIC;
    n->number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed);
    n->size = size;
    n->check = node_sum(n);
    for (size_t i = 0; i < EDGES; i++)
        atomic_init(&n->edge[i], NULL);
    witness_fill(n->payload, size, n->number);
    return n;
}

// A random walk from a random root; NULL when it met an empty slot first.
static struct node *node_walk(uint64_t *state)
{
    struct node *n = atomic_load_explicit(&roots[random_next(state) % ROOTS], memory_order_acquire);
    for (uint64_t left = random_next(state) % 16; n && left; left--) {
        node_check(n, "a walk");
        struct node *next =
            atomic_load_explicit(&n->edge[random_next(state) % EDGES], memory_order_acquire);
        if (next == NULL)
            return n;
        n = next;
    }
    return n;
}

// Half of what is written into a full graph is NULL, so that it neither dies out nor grows for
// ever.
static void graph_step(uint64_t *state)
{
    struct node *a = node_walk(state), *b = node_walk(state);
    switch (random_next(state) >> 8 & 7) {
    case 0:
    case 1: { // a new node under a root, above what was there
        struct node *n = node_make(state);
        atomic_store_explicit(&n->edge[0], a, memory_order_relaxed);
        atomic_store_explicit(&n->edge[1], b, memory_order_relaxed);
        atomic_store_explicit(&roots[random_next(state) % ROOTS], n, memory_order_release);
        break;
    }
    case 2: { // two new nodes, the second an only child
        struct node *n = node_make(state);
        struct node *child = node_make(state);
        atomic_store_explicit(&child->edge[2], b, memory_order_relaxed);
        atomic_store_explicit(&n->edge[3], child, memory_order_relaxed);
        if (a)
            atomic_store_explicit(&a->edge[random_next(state) % EDGES], n, memory_order_release);
        break;
    }
    case 3: // an edge between old ones: the way to cycles
        if (a)
            atomic_store_explicit(&a->edge[random_next(state) % EDGES], b, memory_order_release);
        break;
    case 4: // the root's reference moves into a node, and then is gone
        if (a) {
            struct node *taken = atomic_exchange_explicit(&roots[random_next(state) % ROOTS], NULL,
                                                          memory_order_acq_rel);
            atomic_store_explicit(&a->edge[0], taken, memory_order_release);
        }
        break;
    case 5: // the other way round
        if (a)
            atomic_store_explicit(&roots[random_next(state) % ROOTS],
                                  atomic_exchange_explicit(&a->edge[random_next(state) % EDGES],
                                                           NULL, memory_order_acq_rel),
                                  memory_order_release);
        break;
    default:
        for (size_t i = 0; a && i < EDGES; i++)
            atomic_store_explicit(&a->edge[i], NULL, memory_order_release);
    }
    if (a)
        node_check(a, "the stack");
    if (b)
        node_check(b, "the stack");
    atomic_fetch_add_explicit(&steps, 1, memory_order_relaxed);
}

static bool stress_over(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > deadline.tv_sec ||
           (now.tv_sec == deadline.tv_sec && now.tv_nsec >= deadline.tv_nsec);
}

static void *stress_thread(void *arg)
{
    uint64_t state = (seed + (uintptr_t)arg) * 0x9e3779b97f4a7c15u | 1;
    while (!stress_over()) {
        for (int i = 0; i < 50; i++)
            graph_step(&state);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    if (salvage_collect == NULL) {
        printf("0 passed, 0 failed, 1 skipped\n");
        return 0;
    }
    unsigned seconds = argc > 1 ? (unsigned)atoi(argv[1]) : 5;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)deadline.tv_nsec + (uint64_t)getpid();
    deadline.tv_sec += seconds;
    alarm(seconds + 100);
    pthread_t t[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        WITNESS_NEED(pthread_create(&t[i], NULL, stress_thread, (void *)(i + 1)) == 0,
                     "pthread_create");
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    salvage_collect();
    struct salvage_stats s;
    salvage_stats(&s);
    printf(
        "%lu steps, %lu nodes, %lu collections, %lu abandoned, %lu MiB reclaimed, %lu MiB live\n",
        (unsigned long)steps, (unsigned long)numbers, (unsigned long)s.cycles,
        (unsigned long)s.cycles_abandoned, (unsigned long)(s.reclaimed >> 20),
        (unsigned long)(s.heap_live >> 20));
    bool collected = s.cycles > s.cycles_abandoned && s.reclaimed > 0;
    if (!collected)
        printf("FAIL nothing was ever reclaimed\n");
    printf("%d passed, %d failed\n", 1 + collected, !collected);
    return !collected;
}
