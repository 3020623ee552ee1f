// The lock: mutual exclusion by a counter that nothing else protects, and the way of a sleeper.
#include "lock.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>

enum { THREADS = 4, ROUNDS = 100000 };

static struct sv_lock lock;
static volatile uint64_t counter; // lock
static _Atomic int inside;        // threads that hold the lock, as they see it
static _Atomic int clashes;

static void section(unsigned long round)
{
    if (atomic_fetch_add(&inside, 1) != 0)
        atomic_fetch_add(&clashes, 1);
    uint64_t seen = counter;
    if (round % 64 == 0)
        sched_yield(); // lets others come to the closed door
    counter = seen + 1;
    atomic_fetch_sub(&inside, 1);
}

static void *count(void *arg)
{
    unsigned long which = (unsigned long)arg;
    for (unsigned long i = 0; i < ROUNDS; i++) {
        if (which % 2 && i % 3 == 0) {
            while (!sv_lock_try(&lock))
                sched_yield();
        } else {
            sv_lock_acquire(&lock);
        }
        section(i + which);
        sv_lock_release(&lock);
    }
    return NULL;
}

Test(lock, one_at_a_time, .timeout = 20)
{
    pthread_t threads[THREADS];
    for (unsigned long i = 0; i < THREADS; i++)
        cr_assert(pthread_create(&threads[i], NULL, count, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert(counter == (uint64_t)THREADS * ROUNDS, "%lu", counter);
    cr_assert(clashes == 0);
    cr_assert(lock.word == 0);
}

Test(lock, word_tells_the_state)
{
    cr_assert(lock.word == 0);
    sv_lock_acquire(&lock);
    uint32_t mine = lock.word;
    cr_assert(mine && sv_lock_held(&lock) && !sv_lock_try(&lock) && lock.word == mine);
    sv_lock_release(&lock);
    cr_assert(lock.word == 0 && sv_lock_try(&lock) && lock.word == mine);
    sv_lock_reset(&lock);
    cr_assert(lock.word == mine, "a lock that this thread is inside of stays");
    sv_lock_release(&lock);
    lock.word = mine + 16; // another thread's, which the child of a fork doesn't have
    sv_lock_reset(&lock);
    cr_assert(lock.word == 0 && !sv_lock_held(&lock));
}

static void *enter(void *arg)
{
    (void)arg;
    sv_lock_acquire(&lock);
    counter++;
    sv_lock_release(&lock);
    return NULL;
}

// Threads that have gone to sleep all get in, each woken by the one before.
Test(lock, sleepers_are_woken, .timeout = 20)
{
    for (int round = 0; round < 200; round++) {
        pthread_t threads[THREADS];
        counter = 0;
        sv_lock_acquire(&lock);
        for (int i = 0; i < THREADS; i++)
            cr_assert(pthread_create(&threads[i], NULL, enter, NULL) == 0);
        while (!(atomic_load(&lock.word) & SV_LOCK_WAITED)) // until one says that it sleeps
            sched_yield();
        cr_assert(counter == 0);
        sv_lock_release(&lock);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        cr_assert(counter == THREADS && lock.word == 0);
    }
}

// In a forked child: what waited before is not there, and a word of 2 must not stay.
Test(lock, reset_forgets_sleepers)
{
    atomic_store(&lock.word, 2);
    cr_assert(!sv_lock_try(&lock));
    sv_lock_reset(&lock);
    cr_assert(sv_lock_try(&lock));
    sv_lock_release(&lock);
    cr_assert(lock.word == 0);
}
