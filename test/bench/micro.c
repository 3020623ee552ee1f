// micro: the small loops that compare one malloc with another.
//
// `micro [--dummy] MODE N` runs N steps of MODE and prints `MODE N seconds ns/step` on one line.
// Every call goes through a volatile function pointer, so the compiler neither drops nor merges it
// and no PLT stub is counted; the difference between two runs of N and 2N is what the allocator
// costs, the start of the process left out. `--dummy` puts functions of this file that return a
// constant in the same pointers: its time and its instructions are the loop's own share.
//
// All randomness comes from a fixed seed, so that two runs do the same requests. Modes that touch
// memory touch it alike under every allocator, and modes that need real blocks (realloc, mib,
// prodcons, larson, churn) refuse `--dummy`.

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MIX_LIVE = 10000,
    MIX_MIN = 16,
    MIX_MAX = 512,
    BATCH = 1000,
    RING = 1024,
    LARSON_THREADS = 2,
    LARSON_LIVE = 1000,
    LARSON_ROUND = 10000,
    LARSON_MIN = 16,
    LARSON_MAX = 1024,
    CHURN_BLOCKS = 300,
    MIB = 1 << 20,
    PAGE = 4096
};

static void *(*volatile call_malloc)(size_t) = malloc;
static void (*volatile call_free)(void *) = free;
static void *(*volatile call_calloc)(size_t, size_t) = calloc;
static void *(*volatile call_realloc)(void *, size_t) = realloc;

static char dummy_block[PAGE];

static void *dummy_malloc(size_t size)
{
    (void)size;
    return dummy_block;
}

static void *dummy_calloc(size_t count, size_t size)
{
    (void)count;
    (void)size;
    return dummy_block;
}

static void dummy_free(void *block)
{
    (void)block;
}

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "micro: %s\n", what);
    exit(1);
}

// Marsaglia's xorshift64: a few instructions, the same sequence everywhere.
static uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

static size_t random_size(uint64_t *state, size_t min, size_t max)
{
    return min + (size_t)((uint32_t)random_next(state) * (uint64_t)(max - min + 1) >> 32);
}

static void *block_new(size_t size)
{
    void *block = call_malloc(size);
    if (!block)
        fail("out of memory");
    return block;
}

// ---- one thread ----

static void pair_run(size_t size, uint64_t steps)
{
    for (uint64_t i = 0; i < steps; i++)
        call_free(call_malloc(size));
}

static void calloc64_run(uint64_t steps)
{
    for (uint64_t i = 0; i < steps; i++)
        call_free(call_calloc(1, 64));
}

// One step frees one of the live blocks, chosen at random, and puts a new one in its place.
static void mix_run(uint64_t steps)
{
    static void *live[MIX_LIVE];
    uint64_t seed = 88172645463325252u;
    for (int i = 0; i < MIX_LIVE; i++)
        live[i] = block_new(random_size(&seed, MIX_MIN, MIX_MAX));
    for (uint64_t i = 0; i < steps; i++) {
        uint64_t x = random_next(&seed);
        size_t at = (size_t)((uint32_t)x * (uint64_t)MIX_LIVE >> 32);
        size_t size = MIX_MIN + (size_t)((x >> 32) * (MIX_MAX - MIX_MIN + 1) >> 32);
        call_free(live[at]);
        live[at] = call_malloc(size);
    }
    for (int i = 0; i < MIX_LIVE; i++)
        call_free(live[i]);
}

// One step is one block: a thousand are taken, then a thousand are freed in the same order.
static void batch_run(uint64_t steps)
{
    static void *live[BATCH];
    for (uint64_t i = 0; i < steps; i += BATCH) {
        for (int k = 0; k < BATCH; k++)
            live[k] = call_malloc(32);
        for (int k = 0; k < BATCH; k++)
            call_free(live[k]);
    }
}

// One step is one growth of a block from 16 bytes: to 1 MiB by half of its size each time, or to
// 64 MiB by a page each time. The last byte is written after each, as a program that appends would.
static void realloc_run(uint64_t steps, int by_page)
{
    size_t limit = by_page ? (size_t)64 * MIB : MIB;
    for (uint64_t i = 0; i < steps; i++) {
        char *block = block_new(16);
        for (size_t size = 16; size < limit;) {
            size = by_page ? size + PAGE : size + size / 2;
            block = call_realloc(block, size);
            if (!block)
                fail("out of memory");
            block[size - 1] = 1;
        }
        call_free(block);
    }
}

static void mib_run(uint64_t steps)
{
    for (uint64_t i = 0; i < steps; i++) {
        volatile char *block = block_new(MIB);
        for (size_t at = 0; at < MIB; at += PAGE)
            block[at] = 1;
        call_free((void *)block);
    }
}

// ---- two threads and more ----

struct ring {
    _Alignas(64) _Atomic uint64_t head; // blocks put in so far
    _Alignas(64) _Atomic uint64_t tail; // blocks taken out so far
    _Alignas(64) void *slot[RING];
};

static struct ring ring;

static void *consumer_main(void *argument)
{
    uint64_t steps = *(uint64_t *)argument;
    for (uint64_t i = 0; i < steps; i++) {
        while (atomic_load_explicit(&ring.head, memory_order_acquire) == i)
            sched_yield();
        call_free(ring.slot[i % RING]);
        atomic_store_explicit(&ring.tail, i + 1, memory_order_release);
    }
    return NULL;
}

static pthread_t thread_start(void *(*start)(void *), void *argument)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, start, argument) != 0)
        fail("no thread");
    return thread;
}

// One step is one block that this thread allocates and another frees.
static void prodcons_run(uint64_t steps)
{
    pthread_t consumer = thread_start(consumer_main, &steps);
    uint64_t seed = 2463534242u;
    for (uint64_t i = 0; i < steps; i++) {
        while (i - atomic_load_explicit(&ring.tail, memory_order_acquire) == RING)
            sched_yield();
        char *block = block_new(random_size(&seed, MIX_MIN, MIX_MAX));
        block[0] = 1;
        ring.slot[i % RING] = block;
        atomic_store_explicit(&ring.head, i + 1, memory_order_release);
    }
    pthread_join(consumer, NULL);
}

struct larson {
    char *live[LARSON_LIVE];
    uint64_t seed;
    uint64_t steps; // still to do
};

// A thread does LARSON_ROUND steps over its array and ends; the next one, on the same array, frees
// what this one left behind. That is a server whose connections wander from thread to thread.
static void *larson_main(void *argument)
{
    struct larson *part = argument;
    uint64_t round = part->steps < LARSON_ROUND ? part->steps : LARSON_ROUND;
    for (uint64_t i = 0; i < round; i++) {
        size_t at = random_size(&part->seed, 0, LARSON_LIVE - 1);
        call_free(part->live[at]);
        part->live[at] = block_new(random_size(&part->seed, LARSON_MIN, LARSON_MAX));
        part->live[at][0] = 1;
    }
    part->steps -= round;
    return NULL;
}

static void larson_run(uint64_t steps)
{
    static struct larson part[LARSON_THREADS];
    for (int t = 0; t < LARSON_THREADS; t++) {
        part[t].seed = 362436069u + (uint64_t)t;
        part[t].steps = steps / LARSON_THREADS;
        for (int i = 0; i < LARSON_LIVE; i++)
            part[t].live[i] = block_new(random_size(&part[t].seed, LARSON_MIN, LARSON_MAX));
    }
    while (part[0].steps > 0) {
        pthread_t thread[LARSON_THREADS];
        for (int t = 0; t < LARSON_THREADS; t++)
            thread[t] = thread_start(larson_main, &part[t]);
        for (int t = 0; t < LARSON_THREADS; t++)
            pthread_join(thread[t], NULL);
    }
    for (int t = 0; t < LARSON_THREADS; t++)
        for (int i = 0; i < LARSON_LIVE; i++)
            call_free(part[t].live[i]);
}

static void *churn_main(void *argument)
{
    uint64_t seed = *(uint64_t *)argument;
    void *live[CHURN_BLOCKS];
    for (int i = 0; i < CHURN_BLOCKS; i++)
        live[i] = block_new(random_size(&seed, MIX_MIN, MIX_MAX));
    for (int i = 0; i < CHURN_BLOCKS; i++)
        call_free(live[i]);
    return NULL;
}

// One step is one thread, two of them at a time.
static void churn_run(uint64_t steps)
{
    for (uint64_t i = 0; i < steps; i += 2) {
        uint64_t seed[2] = {i + 1, i + 2};
        pthread_t first = thread_start(churn_main, &seed[0]);
        pthread_t second = thread_start(churn_main, &seed[1]);
        pthread_join(first, NULL);
        pthread_join(second, NULL);
    }
}

// ---- the command ----

// Returns 0 when MODE isn't known.
static int mode_run(const char *mode, uint64_t steps, int dummy)
{
    if (strncmp(mode, "pair", 4) == 0) {
        size_t size = mode[4] ? (size_t)strtoul(mode + 4, NULL, 10) : 32;
        pair_run(size, steps);
        return size > 0;
    }
    if (strcmp(mode, "mix") == 0)
        return mix_run(steps), 1;
    if (strcmp(mode, "batch") == 0)
        return batch_run(steps), 1;
    if (strcmp(mode, "calloc64") == 0)
        return calloc64_run(steps), 1;
    if (dummy)
        return 0;
    if (strcmp(mode, "realloc") == 0)
        return realloc_run(steps, 0), 1;
    if (strcmp(mode, "realloc-page") == 0)
        return realloc_run(steps, 1), 1;
    if (strcmp(mode, "mib") == 0)
        return mib_run(steps), 1;
    if (strcmp(mode, "prodcons") == 0)
        return prodcons_run(steps), 1;
    if (strcmp(mode, "larson") == 0)
        return larson_run(steps), 1;
    if (strcmp(mode, "churn") == 0)
        return churn_run(steps), 1;
    return 0;
}

static double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    int dummy = argc == 4 && strcmp(argv[1], "--dummy") == 0;
    if (argc != 3 + dummy) {
        fprintf(stderr, "usage: micro [--dummy] MODE N\n");
        return 2;
    }
    const char *mode = argv[1 + dummy];
    uint64_t steps = strtoull(argv[2 + dummy], NULL, 10);
    if (dummy) {
        call_malloc = dummy_malloc;
        call_free = dummy_free;
        call_calloc = dummy_calloc;
    }
    double start = seconds_now();
    if (!mode_run(mode, steps, dummy)) {
        fprintf(stderr, "micro: no mode %s%s\n", mode, dummy ? " with --dummy" : "");
        return 2;
    }
    double took = seconds_now() - start;
    printf("%s %llu %.6f %.2f\n", mode, (unsigned long long)steps, took,
           took * 1e9 / (double)(steps ? steps : 1));
    return 0;
}
