// The table of words that only the kernel holds: against a plain model, under threads, and with a
// signal handler that uses it in the middle of an operation of the same thread.
#include "scanners.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>

struct tally {
    uintptr_t lo; // words lo..lo + n are counted
    size_t n;
    unsigned *count;
    size_t others; // words that are neither zero nor counted
};

static void range_tally(void *arg, uintptr_t lo, uintptr_t hi)
{
    struct tally *t = arg;
    for (uintptr_t p = lo; p < hi; p += sizeof(uintptr_t)) {
        uintptr_t w = *(uintptr_t *)p;
        if (w - t->lo < t->n)
            t->count[w - t->lo]++;
        else if (w)
            t->others++;
    }
}

static unsigned times_held(uintptr_t word)
{
    unsigned count = 0;
    struct tally t = {.lo = word, .n = 1, .count = &count};
    sv_kernel_each(range_tally, &t);
    return count;
}

Test(kernel, hold_replace_drop)
{
    cr_assert_eq(sv_kernel_hold(SV_KERNEL_EPOLL, 3, 4, 1000), 0);
    cr_assert_eq(sv_kernel_hold(SV_KERNEL_TIMER, 3, 4, 1001), 0);
    cr_assert_eq(sv_kernel_hold(SV_KERNEL_EPOLL, 4, 3, 1002), 0);
    cr_assert(times_held(1000) == 1 && times_held(1001) == 1 && times_held(1002) == 1);
    sv_kernel_hold(SV_KERNEL_EPOLL, 3, 4, 1003);
    cr_assert(times_held(1000) == 0 && times_held(1003) == 1);
    sv_kernel_drop(SV_KERNEL_EPOLL, 3, 4);
    sv_kernel_drop(SV_KERNEL_EPOLL, 3, 4);
    sv_kernel_drop(SV_KERNEL_MQ, 9, 9);
    cr_assert(times_held(1003) == 0 && times_held(1001) == 1 && times_held(1002) == 1);
    sv_kernel_hold(SV_KERNEL_EPOLL, 3, 4, 1004);
    cr_assert_eq(times_held(1004), 1);
}

Test(kernel, model)
{ // 50000 keys come and go
    enum { KEYS = 50000, STEPS = 600000 };
    static uintptr_t held[KEYS]; // the word, or 0
    static unsigned count[STEPS + 1];
    srand(7);
    for (uintptr_t step = 1; step <= STEPS; step++) {
        size_t key = (size_t)rand() % KEYS;
        if (rand() % 3) {
            held[key] = 0x10000000 + step;
            cr_assert_eq(sv_kernel_hold(key % 5, key / 64, key % 64, held[key]), 0);
        } else {
            held[key] = 0;
            sv_kernel_drop(key % 5, key / 64, key % 64);
        }
    }
    struct tally t = {.lo = 0x10000000, .n = STEPS + 1, .count = count};
    sv_kernel_each(range_tally, &t);
    for (size_t key = 0; key < KEYS; key++)
        if (held[key])
            cr_assert_eq(count[held[key] - 0x10000000]--, 1);
    for (size_t i = 0; i <= STEPS; i++)
        cr_assert_eq(count[i], 0);
    cr_assert_eq(t.others, 0);
}

static size_t bytes_offered;

static void range_add(void *arg, uintptr_t lo, uintptr_t hi)
{
    (void)arg;
    bytes_offered += hi - lo;
}

Test(kernel, dropped_places_serve_other_keys)
{
    for (uintptr_t i = 0; i < 300000; i++) {
        sv_kernel_hold(SV_KERNEL_TIMER, i, i * 7, i + 1);
        sv_kernel_drop(SV_KERNEL_TIMER, i, i * 7);
    }
    sv_kernel_each(range_add, NULL);
    cr_assert_leq(bytes_offered, 1024 * sizeof(uintptr_t));
}

// Threads own disjoint keys, with drops and holds that make them fight for slots. A word must be
// there as soon as hold has returned, and at the end exactly the words that were left.
enum { THREADS = 4, OWN = 300, ROUNDS = 40000 };
static uintptr_t last[THREADS][OWN];
static _Atomic int failures;

static void *owner_run(void *arg)
{
    uintptr_t me = (uintptr_t)arg;
    unsigned random = (unsigned)me + 1;
    for (uintptr_t round = 1; round <= ROUNDS; round++) {
        size_t key = (size_t)rand_r(&random) % OWN;
        if (rand_r(&random) % 2) {
            last[me][key] = (me + 1) << 32 | round;
            if (sv_kernel_hold(SV_KERNEL_AIO, me, key, last[me][key]) != 0)
                failures++;
            if (round % 64 == 0 && times_held(last[me][key]) != 1)
                failures++;
        } else {
            last[me][key] = 0;
            sv_kernel_drop(SV_KERNEL_AIO, me, key);
        }
    }
    return NULL;
}

static size_t held_all(void)
{
    struct tally t = {.lo = 0, .n = 0};
    sv_kernel_each(range_tally, &t);
    return t.others;
}

Test(kernel, threads)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, owner_run, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    cr_assert_eq(failures, 0);
    size_t expected = 0;
    for (int i = 0; i < THREADS; i++) {
        for (int k = 0; k < OWN; k++) {
            expected += last[i][k] != 0;
            if (last[i][k])
                cr_assert_eq(times_held(last[i][k]), 1);
        }
    }
    cr_assert_eq(held_all(), expected);
}

static _Atomic uintptr_t ticks;

static void tick(int signal_number)
{
    (void)signal_number;
    uintptr_t n = ++ticks;
    int saved = errno;
    for (uintptr_t k = 0; k < 8; k++) // the very keys that the interrupted code is at
        sv_kernel_hold(SV_KERNEL_SIGQUEUE, 1, k, 0x500000 + n);
    sv_kernel_drop(SV_KERNEL_SIGQUEUE, 1, n % 8);
    sv_kernel_hold(SV_KERNEL_SIGQUEUE, 2, n % 4096, 0x900000 + n);
    if (times_held(0x900000 + n) != 1)
        failures++;
    errno = saved;
}

Test(kernel, handler_in_the_middle)
{
    struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 50}, {0, 50}};
    setitimer(ITIMER_REAL, &timer, NULL);
    for (uintptr_t i = 0; ticks < 3000; i++) {
        sv_kernel_hold(SV_KERNEL_SIGQUEUE, 1, i % 8, 0x100000 + i % 1024);
        sv_kernel_hold(SV_KERNEL_SIGQUEUE, 3, 0, 0xa00000 + i % 1024);
        if (i % 16 == 0 && times_held(0xa00000 + i % 1024) != 1)
            failures++;
        sv_kernel_drop(SV_KERNEL_SIGQUEUE, 1, i % 8);
    }
    timer = (struct itimerval){{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &timer, NULL);
    cr_assert_eq(failures, 0);
    for (uintptr_t k = 0; k < 8; k++)
        sv_kernel_drop(SV_KERNEL_SIGQUEUE, 1, k);
    struct tally t = {.lo = 0x900000, .n = 0};
    sv_kernel_each(range_tally, &t); // nothing is left of key (1, k), doubled or not
    cr_assert_eq(t.others, 1 + (ticks < 4096 ? ticks : 4096));
}

Test(kernel, no_memory)
{
    struct rlimit limit = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_AS, &limit);
    errno = 4321;
    int err = sv_kernel_hold(SV_KERNEL_EPOLL, 1, 2, 3);
    sv_kernel_drop(SV_KERNEL_EPOLL, 1, 2);
    cr_assert_eq(err, -ENOMEM);
    cr_assert_eq(errno, 4321);
}
