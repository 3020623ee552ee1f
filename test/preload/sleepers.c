// Threads that sleep through many collections. What lies in their caches is given out to nobody
// else; and an object to which the only pointer is written into a sleeper's stack by somebody else
// stays.
//
// SALVAGE: clobber=1
// SALVAGE: clobber=1,checkmark=1
// SALVAGE: chaos=3,checkmark=1
#include "check.h"

#include <pthread.h>

#define SLEEPERS 64
#define SIZES 24
#define CACHED 6 // freed objects of each size that a sleeper leaves in its cache
#define TAKEN 40 // objects of each size that it takes once it is awake
#define OWN 300  // objects that the first thread takes meanwhile
#define COLLECTIONS 48
#define SWAPS 3000
#define HELD 72 // bytes of the objects that stand in sleepers' stacks

static int wake[2];
static pthread_barrier_t asleep, taken;
static char *volatile *place[SLEEPERS]; // in the sleepers' stacks
static _Atomic bool over;
static unsigned seed[SLEEPERS]; // of the object that stands there

static size_t size_of(int i)
{
    return 24 + (size_t)i * (size_t)i * 16;
}

static __attribute__((noinline)) void cache_fill(int sizes)
{
    void *p[SIZES][CACHED];
    for (int i = 0; i < sizes; i++)
        for (int k = 0; k < CACHED; k++)
            p[i][k] = malloc(size_of(i));
    for (int i = 0; i < sizes; i++)
        for (int k = 0; k < CACHED; k++)
            free(p[i][k]);
}

// All at the same time, so that an object that two of them have shows.
static __attribute__((noinline)) bool take(unsigned self)
{
    static char *all[SLEEPERS][SIZES * TAKEN];
    bool whole = true;
    for (int i = 0; i < SIZES * TAKEN; i++) {
        all[self][i] = malloc(size_of(i % SIZES));
        check_fill(all[self][i], size_of(i % SIZES), self * 10000 + (unsigned)i);
    }
    pthread_barrier_wait(&taken);
    for (int i = 0; i < SIZES * TAKEN; i++) {
        size_t size = size_of(i % SIZES);
        whole = whole && check_pattern(all[self][i], size, size, self * 10000 + (unsigned)i);
        free(all[self][i]);
    }
    return whole;
}

static void *sleeper(void *arg)
{
    unsigned self = (unsigned)(uintptr_t)arg;
    char *volatile object = NULL;
    char c;
    cache_fill(self % 2 ? SIZES : 3); // much, or so little that the collector notes it
    place[self] = &object;
    pthread_barrier_wait(&asleep);
    CHECK(read(wake[0], &c, 1) == 0, "read: %s", strerror(errno));
    CHECK(object && check_pattern(object, HELD, HELD, seed[self]), "sleeper %u's object", self);
    free(object);
    CHECK(take(self), "an object of sleeper %u's is another's too", self);
    return NULL;
}

// Each sleeper's object is replaced by another, the old one having lived through a collection.
static __attribute__((noinline)) void objects_replace(unsigned round)
{
    for (unsigned i = 0; i < SLEEPERS; i++) {
        char *old = *place[i];
        CHECK(round == 0 || check_pattern(old, HELD, HELD, seed[i]), "round %u, %u", round, i);
        free(old);
        char *new = malloc(HELD);
        seed[i] = round * SLEEPERS + i;
        check_fill(new, HELD, seed[i]);
        *place[i] = new;
    }
}

// From one stack to another, before whoever looks at both, or behind.
static __attribute__((noinline)) void objects_swap(unsigned *random)
{
    for (unsigned i = 0; i < SWAPS; i++) {
        *random = *random * 1664525 + 1013904223;
        unsigned a = *random >> 8 & (SLEEPERS - 1), b = *random >> 16 & (SLEEPERS - 1);
        unsigned s = seed[a];
        char *p = *place[a];
        *place[a] = *place[b];
        *place[b] = p;
        seed[a] = seed[b];
        seed[b] = s;
    }
}

static void *collector(void *arg)
{
    for (unsigned i = 0; i < COLLECTIONS; i++)
        check_collect();
    atomic_store(&over, true);
    return arg;
}

int main(void)
{
    static char *own[OWN];
    pthread_t threads[SLEEPERS], thread;
    unsigned random = 1;
    if (!check_collecting())
        return check_done();
    pthread_barrier_init(&asleep, NULL, SLEEPERS + 1);
    pthread_barrier_init(&taken, NULL, SLEEPERS);
    CHECK(pipe2(wake, O_CLOEXEC) == 0, "pipe");
    for (unsigned i = 0; i < SLEEPERS; i++)
        pthread_create(&threads[i], NULL, sleeper, (void *)(uintptr_t)i);
    pthread_barrier_wait(&asleep);
    pthread_create(&thread, NULL, collector, NULL);
    for (unsigned round = 0; round == 0 || !atomic_load(&over); round++) {
        if (round % 64 == 0) // new ones are safe for a cycle
            objects_replace(round);
        objects_swap(&random);
        if (round < OWN) {
            own[round] = malloc(size_of((int)round % SIZES));
            check_fill(own[round], size_of((int)round % SIZES), round);
        }
    }
    pthread_join(thread, NULL);
    for (unsigned i = 0; i < OWN && own[i]; i++)
        CHECK(check_pattern(own[i], size_of((int)i % SIZES), size_of((int)i % SIZES), i),
              "object %u of the first thread", i);
    close(wake[1]);
    for (unsigned i = 0; i < SLEEPERS; i++)
        pthread_join(threads[i], NULL);
    return check_done();
}
