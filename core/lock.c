// The contended half of lock.h: spin a little, then sleep on the word. A lock that somebody sleeps
// on has the low bit set; who takes it after sleeping sets the bit again, since others may sleep
// still (Drepper's third mutex, with the owner in the other bits). A wake-up of the futex by a
// signal only means another look.
#include "lock.h"

#include "arch.h"
#include "os.h"

#define LOCK_SPINS 100

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
        sv_os_futex_wait(&lock->word, next, 0);
    }
}

__attribute__((noinline)) void sv_lock_wake(struct sv_lock *lock)
{
    sv_os_futex_wake(&lock->word, 1);
}
