// A program that writes to all of its heap faster than the collector looks at what was written: two
// threads exchange, between objects of theirs, and with the stack of a thread that sleeps, the only
// pointers to others, while a third collects back to back. So that a mark ends, the collector lets
// them run for moments only, and keeps what tries that were too short have done.
//
// SALVAGE: clobber=1
// SALVAGE: clobber=1,checkmark=1
// SALVAGE: chaos=5,clobber=1
#include "check.h"

#include <pthread.h>

#define WRITERS 2
#define HOLDERS (1 << 19) // objects of 64 bytes, and as many that they hold
#define SLOTS 64          // of each sleeper's stack
#define BATCH 256
#define SELDOM 32
#define COLLECTIONS 6

struct leaf {
    uint64_t magic;
    uint64_t rest[5];
};

struct holder {
    struct leaf *leaf;
    uint64_t rest[6];
};

static const uint64_t MAGIC = 0x9d1f0c6b5a3e7721;

static struct holder **holders[WRITERS];      // in the heap, as the holders are
static struct leaf *volatile *slots[WRITERS]; // in the sleepers' stacks
static int wake[2];
static pthread_barrier_t asleep;
static _Atomic bool over;
static _Atomic uint64_t exchanges, wrong;

static struct leaf *leaf_new(void)
{
    struct leaf *leaf = malloc(sizeof *leaf);
    leaf->magic = MAGIC;
    return leaf;
}

static void holders_make(unsigned self)
{
    size_t n = HOLDERS / WRITERS;
    holders[self] = malloc(n * sizeof *holders[self]);
    for (size_t i = 0; i < n; i++) {
        holders[self][i] = calloc(1, sizeof **holders[self]);
        holders[self][i]->leaf = leaf_new();
    }
}

static void *sleeper(void *arg)
{
    struct leaf *volatile leaves[SLOTS];
    char c;
    for (unsigned i = 0; i < SLOTS; i++)
        leaves[i] = leaf_new();
    slots[(uintptr_t)arg] = leaves;
    pthread_barrier_wait(&asleep);
    CHECK(read(wake[0], &c, 1) == 0, "read: %s", strerror(errno));
    for (unsigned i = 0; i < SLOTS; i++)
        CHECK(leaves[i]->magic == MAGIC, "what a sleeper holds is lost");
    return NULL;
}

static void *writer(void *arg)
{
    unsigned self = (unsigned)(uintptr_t)arg;
    uint64_t state = 88172645463325252u + self, n = HOLDERS / WRITERS;
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        for (unsigned i = 0; i < BATCH; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            struct holder *a = holders[self][(state >> 8) % n], *b = holders[self][state % n];
            struct leaf *leaf = a->leaf;
            if (leaf->magic != MAGIC)
                atomic_fetch_add(&wrong, 1);
            a->leaf = b->leaf;
            b->leaf = leaf;
        }
        if (state % SELDOM == 0) { // not between any two looks at that stack
            struct holder *a = holders[self][(state >> 24) % n];
            struct leaf *leaf = a->leaf;
            a->leaf = slots[self][(state >> 16) % SLOTS];
            slots[self][(state >> 16) % SLOTS] = leaf;
        }
        atomic_fetch_add(&exchanges, BATCH);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[WRITERS], sleepers[WRITERS];
    struct salvage_stats s = {0};
    if (!check_collecting())
        return check_done();
    CHECK(pipe2(wake, O_CLOEXEC) == 0, "pipe");
    pthread_barrier_init(&asleep, NULL, WRITERS + 1);
    for (unsigned i = 0; i < WRITERS; i++) {
        pthread_create(&sleepers[i], NULL, sleeper, (void *)(uintptr_t)i);
        holders_make(i);
    }
    pthread_barrier_wait(&asleep);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_create(&threads[i], NULL, writer, (void *)(uintptr_t)i);
    for (unsigned i = 0; i < COLLECTIONS; i++)
        check_collect();
    atomic_store(&over, true);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    close(wake[1]);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(sleepers[i], NULL);
    CHECK(wrong == 0, "%lu times an object was lost", (unsigned long)wrong);
    uint64_t kept = 0;
    for (unsigned w = 0; w < WRITERS; w++)
        for (size_t i = 0; i < HOLDERS / WRITERS; i++)
            kept += holders[w][i]->leaf->magic == MAGIC;
    CHECK(kept == HOLDERS, "%lu objects of %d are left", (unsigned long)kept, HOLDERS);
    salvage_stats(&s);
    CHECK(s.cycles >= COLLECTIONS && exchanges > 0, "%lu collections, %lu exchanges",
          (unsigned long)s.cycles, (unsigned long)exchanges);
    return check_done();
}
