// Hide the pointer, at random: threads move the only pointers to checked objects about
// (lib/mover.h), renew the objects and drop others, while one thread collects back to back.
//
// Arguments: [seconds [seed]]. A failure prints the seed; timing isn't in it, so a run with the
// same seed makes the same moves but meets the collections elsewhere.
//
// SALVAGE: mode=collect
// SALVAGE: clobber=1,checkmark=1
// SALVAGE: stress=64,clobber=1
// SALVAGE: chaos=11

#include "lib/mover.h"

#include <time.h>

#define MOVERS 4

static struct mover movers[MOVERS];
static struct timespec deadline;

static bool torture_over(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec > deadline.tv_sec ||
           (now.tv_sec == deadline.tv_sec && now.tv_nsec >= deadline.tv_nsec);
}

static size_t torture_size(struct mover *m)
{
    static const size_t sizes[] = {24, 64, 128, 500, 1024, 4242, 20000, 70000};
    return sizes[mover_random(m) % (sizeof sizes / sizeof sizes[0])];
}

static witness_noinline void torture_some(struct mover *m)
{
    for (int i = 0; i < 100; i++) {
        struct mover_object *o = &m->objects[mover_random(m) % MOVER_OBJECTS];
        mover_move(m, o, mover_random(m) % PLACES, mover_random(m) % MOVES);
        if (mover_random(m) % 16 == 0)
            mover_renew(m, o, torture_size(m));
    }
    mover_litter(m, torture_size(m));
}

static void *torture_thread(void *arg)
{
    struct mover *m = arg;
    uintptr_t stack[MOVER_OBJECTS][MOVER_WORDS] = {{0}};
    m->stack = stack;
    for (size_t i = 0; i < MOVER_OBJECTS; i++) {
        mover_object_init(&m->objects[i]);
        m->objects[i].at = PLACE_GLOBAL;
        mover_renew(m, &m->objects[i], torture_size(m));
    }
    while (!torture_over())
        torture_some(m);
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
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0)
                             : (uint64_t)deadline.tv_nsec * 1000003 + (uint64_t)getpid();
    deadline.tv_sec += seconds;
    alarm(seconds + 100);
    pthread_t collector;
    WITNESS_NEED(pthread_create(&collector, NULL, mover_collector, NULL) == 0, "pthread_create");
    for (unsigned i = 0; i < MOVERS; i++) {
        movers[i].number = i;
        movers[i].seed = seed;
        movers[i].state = (seed + i + 1) * 0x9e3779b97f4a7c15u | 1;
        WITNESS_NEED(pthread_create(&movers[i].thread, NULL, torture_thread, &movers[i]) == 0,
                     "pthread_create");
    }
    for (unsigned i = 0; i < MOVERS; i++)
        pthread_join(movers[i].thread, NULL);
    atomic_store_explicit(&mover_over, true, memory_order_relaxed);
    pthread_join(collector, NULL);
    printf("%lu moves, %lu collections, seed %lu\n", (unsigned long)mover_moves_done,
           (unsigned long)mover_cycles, (unsigned long)seed);
    printf("1 passed, 0 failed\n");
    return 0;
}
