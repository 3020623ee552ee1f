// The contended half of lock.h: spin a little, then sleep on the word. A lock that somebody sleeps
// on has the low bit set; who takes it after sleeping sets the bit again, since others may sleep
// still (Drepper's third mutex, with the owner in the other bits). A wake-up of the futex by a
// signal only means another look; and who sleeps looks again by himself from time to time, since a
// signal handler of the program's may come between the release and the wake-up, and do there
// whatever it likes for as long as it likes: fork, which waits for workers, among other things.
#include "lock.h"

#include "arch.h"
#include "os.h"

#define LOCK_SPINS 100
#define LOCK_LOOK_NS 2000000u

__thread struct sv_lock_owner sv_lock_owner;

__attribute__((noinline)) void sv_lock_wait(struct sv_lock *lock)
{
    for (int i = 0; i < LOCK_SPINS; i++) {
        if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 && sv_lock_try(lock))
            return;
        sv_arch_pause();
    }
    for (;;) {
        uint32_t word = atomic_load_explicit(&lock->word, memory_order_relaxed);
        uint32_t next = word ? word | SV_LOCK_WAITED : sv_lock_me() | SV_LOCK_WAITED;
        if (word != next &&
            !atomic_compare_exchange_strong_explicit(&lock->word, &word, next, memory_order_acquire,
                                                     memory_order_relaxed))
            continue;
        if (!word)
            return;
        sv_os_futex_wait(&lock->word, next, LOCK_LOOK_NS);
    }
}

__attribute__((noinline)) void sv_lock_wake(struct sv_lock *lock)
{
    sv_os_futex_wake(&lock->word, 1);
}
