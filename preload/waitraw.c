// syscall(2), for the waits that programs make by number: those without a function in libc (futex,
// libaio, io_uring) and those of runtimes that know no other way. All other numbers are jumped
// through: no frame of ours is on the stack, which matters where a call returns twice.
//
// A handler that is installed here by number gets no entry of ours (signal.c) and may run inside
// the gate. From then on no gate counts. A program that makes a userfaultfd, or gives io_uring
// buffers to keep, gets its mappings for itself: cycles stop the world.
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>

#include "cycle.h"
#include "export.h"
#include "lend.h"
#include "mapping.h"
#include "wait.h"

// glibc's is variadic; it reads six arguments whatever was given, and so does this.
typedef long raw_fn(long number, long a, long b, long c, long d, long e, long f);
SV_EXPORT raw_fn raw_syscall __asm__("syscall");

static bool futex_waits(long operation)
{
    switch (operation & FUTEX_CMD_MASK) {
    case FUTEX_WAIT:
    case FUTEX_WAIT_BITSET:
    case FUTEX_WAIT_REQUEUE_PI:
    case FUTEX_LOCK_PI:
    case FUTEX_LOCK_PI2:
        return true;
    default:
        return false;
    }
}

static bool raw_waits(long number, long b)
{
    switch (number) {
    case SYS_futex:
        return futex_waits(b);
    case SYS_futex_waitv:
    case SYS_io_getevents:
    case SYS_io_pgetevents:
    case SYS_io_uring_enter:
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
    case SYS_poll:
    case SYS_ppoll:
    case SYS_select:
    case SYS_pselect6:
    case SYS_nanosleep:
    case SYS_clock_nanosleep:
    case SYS_pause:
    case SYS_rt_sigsuspend:
    case SYS_rt_sigtimedwait:
    case SYS_read:
    case SYS_write:
    case SYS_accept:
    case SYS_accept4:
    case SYS_recvfrom:
    case SYS_recvmsg:
    case SYS_recvmmsg:
    case SYS_sendto:
    case SYS_sendmsg:
    case SYS_semop:
    case SYS_semtimedop:
    case SYS_msgrcv:
    case SYS_msgsnd:
    case SYS_wait4:
    case SYS_waitid:
        return true;
    default:
        return false;
    }
}

__attribute__((noinline)) static long raw_gated(long number, long a, long b, long c, long d, long e,
                                                long f)
{
    raw_fn *real = (raw_fn *)sv_real_get(SV_REAL_syscall);
    const long held[] = {a, b, c, d, e, f};
    sv_lend_words(held);
    struct sv_gate_frame frame;
    __asm__ volatile("" ::"r"(held) : "memory");
    sv_gate_enter(&frame);
    long result = real(number, a, b, c, d, e, f);
    sv_gate_leave(&frame);
    __asm__ volatile("" ::"r"(held) : "memory");
    return result;
}

__attribute__((noinline)) static long raw_handler(long number, long a, long b, long c, long d)
{
    const uintptr_t *action = (const uintptr_t *)b; // the handler is the kernel structure's first
    if (action && *action != (uintptr_t)SIG_DFL && *action != (uintptr_t)SIG_IGN)
        sv_world_distrust_all();
    return ((raw_fn *)sv_real_get(SV_REAL_syscall))(number, a, b, c, d, 0, 0);
}

// From then on the program watches its mappings itself, or has the kernel write to memory in a way
// that no page table tells (buffers that io_uring keeps pinned).
static bool raw_unwatches(long number, long operation)
{
    return number == SYS_userfaultfd ||
           (number == SYS_io_uring_register &&
            (operation == IORING_REGISTER_BUFFERS || operation == IORING_REGISTER_BUFFERS2));
}

// Does the call return in another task too?
static bool raw_twice(long number)
{
    return number == SYS_fork || number == SYS_vfork || number == SYS_clone || number == SYS_clone3;
}

// Any of the arguments may be where the kernel writes.
__attribute__((noinline)) static long raw_lent(long number, long a, long b, long c, long d, long e,
                                               long f)
{
    const long held[] = {a, b, c, d, e, f};
    sv_lend_words(held);
    return ((raw_fn *)sv_real_get(SV_REAL_syscall))(number, a, b, c, d, e, f);
}

long raw_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (raw_waits(number, b))
        return raw_gated(number, a, b, c, d, e, f);
    if (number == SYS_rt_sigaction)
        return raw_handler(number, a, b, c, d);
    if (number == SYS_mremap)
        return (long)sv_mapping_move((void *)a, (size_t)b, (size_t)c, (int)d, (void *)e);
    if (raw_unwatches(number, b))
        sv_cycle_unwatch();
    if (sv_protect_on && !raw_twice(number))
        return raw_lent(number, a, b, c, d, e, f);
    return ((raw_fn *)sv_real_get(SV_REAL_syscall))(number, a, b, c, d, e, f);
}
