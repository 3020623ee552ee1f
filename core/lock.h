// Locks of the core: one word, a short spin, then a futex. They are held for bounded work only.
//
// Lock order, outermost first. A thread that holds one may take only those below it:
//
//   1. cycle     one collection at a time; exec and fork hold it to keep stops away   (cycle.c)
//   2. world     the list of threads and of caches                                     (world.c)
//   3. central   one for each code, in ascending order of code when several are taken  (central.c)
//   4. heap      the page allocator, the large objects, growth                         (heap.c)
//   5. metadata  the private jemalloc                                                  (metadata.c)
//
// Who stops the world holds all of them first, so a stopped thread is never inside one. fork does
// the same, after glibc's list of streams (preload/fork.c), which a thread inside stdio may hold
// while it waits for one of ours. No lock is taken in a signal handler.
#ifndef SV_LOCK_H
#define SV_LOCK_H

#include "core.h"

void sv_lock_wait(struct sv_lock *lock); // the contended way in
void sv_lock_wake(struct sv_lock *lock); // the contended way out

static inline void sv_lock_acquire(struct sv_lock *lock)
{
    uint32_t expected = 0;
    // acquire pairs with the release in sv_lock_release and sv_lock_wake
    if (sv_unlikely(!atomic_compare_exchange_strong_explicit(
            &lock->word, &expected, 1, memory_order_acquire, memory_order_relaxed)))
        sv_lock_wait(lock);
}

static inline bool sv_lock_try(struct sv_lock *lock)
{
    uint32_t expected = 0;
    return atomic_compare_exchange_strong_explicit(&lock->word, &expected, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void sv_lock_release(struct sv_lock *lock)
{
    if (sv_unlikely(atomic_exchange_explicit(&lock->word, 0, memory_order_release) == 2))
        sv_lock_wake(lock);
}

// In a forked child, for a lock that the forking thread held: free, with nobody waiting.
static inline void sv_lock_reset(struct sv_lock *lock)
{
    atomic_store_explicit(&lock->word, 0, memory_order_relaxed);
}

#endif
