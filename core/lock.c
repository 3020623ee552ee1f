// The contended half of lock.h: spin a little, then sleep on the word (Drepper's third mutex: 0
// free, 1 held, 2 held with sleepers). A wake-up of the futex by a signal only means another look.
#include "lock.h"

#include "arch.h"
#include "os.h"

#define LOCK_SPINS 100

__attribute__((noinline)) void sv_lock_wait(struct sv_lock *lock)
{
    for (int i = 0; i < LOCK_SPINS; i++) {
        if (atomic_load_explicit(&lock->word, memory_order_relaxed) == 0 && sv_lock_try(lock))
            return;
        sv_arch_pause();
    }
    while (atomic_exchange_explicit(&lock->word, 2, memory_order_acquire) != 0)
        sv_os_futex_wait(&lock->word, 2, 0);
}

__attribute__((noinline)) void sv_lock_wake(struct sv_lock *lock)
{
    sv_os_futex_wake(&lock->word, 1);
}
