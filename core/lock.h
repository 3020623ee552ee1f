// Locks of the core: one word, a short spin, then a futex. They are held for bounded work only.
//
// Lock order, outermost first. A thread that holds one may take only those below it:
//
//   1. cycle     one collection at a time, held for all of it by who drives it        (cycle.c)
//   2. stopping  around a stop of the world; exec and fork hold it to keep stops away  (cycle.c)
//   3. client    the tables of Boehm's face                                            (client.c)
//   4. world     the list of threads and of caches                                     (world.c)
//   5. central   one for each code, in ascending order of code when several are taken  (central.c)
//   6. heap      the page allocator, the large objects, growth                         (heap.c)
//   7. metadata  the private jemalloc                                                  (metadata.c)
//   8. users     those who use metadata at once under one's lock, inside a stop        (metadata.c)
//
// By itself: worker, around the starting and ending of workers, in which malloc may be called: it
// is only ever tried, but by who ends them (worker.c).
//
// Who stops the world holds 2 to 7, so a stopped thread is never inside one. fork does the same,
// after glibc's list of streams (preload/fork.c), which a thread inside stdio may hold while it
// waits for one of ours. No lock is taken in a signal handler of ours; one of the program's may
// fork while its thread is inside one of them, so a lock says whose it is.
#ifndef SV_LOCK_H
#define SV_LOCK_H

#include "core.h"

void sv_lock_wait(struct sv_lock *lock); // the contended way in
void sv_lock_wake(struct sv_lock *lock); // the contended way out

#define SV_LOCK_WAITED 1u // somebody sleeps; the other bits say whose the lock is, 0: nobody's

extern __thread struct sv_lock_owner sv_lock_owner __attribute__((tls_model("initial-exec")));

// The calling thread in a lock's word: where its thread-local storage lies, as far as that fits.
static inline uint32_t sv_lock_me(void)
{
    return (uint32_t)(uintptr_t)&sv_lock_owner | 2u;
}

static inline bool sv_lock_try(struct sv_lock *lock)
{
    uint32_t expected = 0;
    // acquire pairs with the release in sv_lock_release
    return atomic_compare_exchange_strong_explicit(&lock->word, &expected, sv_lock_me(),
                                                   memory_order_acquire, memory_order_relaxed);
}

static inline void sv_lock_acquire(struct sv_lock *lock)
{
    if (sv_unlikely(!sv_lock_try(lock)))
        sv_lock_wait(lock);
}

static inline void sv_lock_release(struct sv_lock *lock)
{
    uint32_t word = atomic_exchange_explicit(&lock->word, 0, memory_order_release);
    if (sv_unlikely(word & SV_LOCK_WAITED))
        sv_lock_wake(lock);
}

// Is the calling thread inside it? Signal handlers included, wherever they interrupt it.
static inline bool sv_lock_held(const struct sv_lock *lock)
{
    uint32_t word = atomic_load_explicit(&lock->word, memory_order_relaxed);
    return (word & ~SV_LOCK_WAITED) == sv_lock_me();
}

// In a forked child: free, with nobody waiting, unless the calling thread is inside it.
static inline void sv_lock_reset(struct sv_lock *lock)
{
    if (!sv_lock_held(lock))
        atomic_store_explicit(&lock->word, 0, memory_order_relaxed);
}

#endif
