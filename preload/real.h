// The functions behind our wrappers: the next definition of a wrapped name after ours, which is
// glibc's or that of another preloaded library.
//
// A wrapper calls `sv_real(name)(arguments)`. The pointer has the type that the C library's header
// gives the name, so a file that uses it includes that header. Any thread, signal handlers
// included.
#ifndef SV_REAL_H
#define SV_REAL_H

#include <stdatomic.h>
#include <stddef.h>

// Every name that some file of preload/ wraps and passes on.
#define SV_REAL_NAMES(X)                                                                           \
    X(sigaction)                                                                                   \
    X(signal)                                                                                      \
    X(sysv_signal)                                                                                 \
    X(sigset)                                                                                      \
    X(sighold)                                                                                     \
    X(sigrelse)                                                                                    \
    X(sigignore)                                                                                   \
    X(siginterrupt)                                                                                \
    X(sigprocmask)                                                                                 \
    X(pthread_sigmask)                                                                             \
    X(pthread_attr_setsigmask_np)                                                                  \
    X(sigsuspend)                                                                                  \
    X(sigwait)                                                                                     \
    X(sigwaitinfo)                                                                                 \
    X(sigtimedwait)                                                                                \
    X(signalfd)                                                                                    \
    X(ppoll)                                                                                       \
    X(__ppoll_chk)                                                                                 \
    X(pselect)                                                                                     \
    X(epoll_pwait)                                                                                 \
    X(epoll_pwait2)                                                                                \
    X(__libc_current_sigrtmax)                                                                     \
    X(__libc_allocate_rtsig)                                                                       \
    X(execve)                                                                                      \
    X(execv)                                                                                       \
    X(execvp)                                                                                      \
    X(execvpe)                                                                                     \
    X(execveat)                                                                                    \
    X(fexecve)                                                                                     \
    X(dlopen)                                                                                      \
    X(epoll_ctl)                                                                                   \
    X(timer_create)                                                                                \
    X(timer_delete)                                                                                \
    X(aio_read)                                                                                    \
    X(aio_write)                                                                                   \
    X(aio_fsync)                                                                                   \
    X(aio_return)                                                                                  \
    X(lio_listio)                                                                                  \
    X(mq_notify)                                                                                   \
    X(sigqueue)                                                                                    \
    X(pthread_sigqueue)                                                                            \
    X(chroot)                                                                                      \
    X(pthread_create)                                                                              \
    X(pthread_exit)                                                                                \
    X(fork)

#define SV_REAL_ID(name) SV_REAL_##name,
enum sv_real_id { SV_REAL_NAMES(SV_REAL_ID) SV_REAL_COUNT };
#undef SV_REAL_ID

// NULL: not looked up yet.
extern _Atomic(void *) sv_real_table[SV_REAL_COUNT];

// Looks up one name and remembers it. Never NULL: for a name that this C library doesn't have, a
// function that fails with ENOSYS and returns -1. Leaves errno alone.
void *sv_real_find(enum sv_real_id id);

static inline void *sv_real_get(enum sv_real_id id)
{
    void *fn = atomic_load_explicit(&sv_real_table[id], memory_order_relaxed);
    return __builtin_expect(fn != NULL, 1) ? fn : sv_real_find(id);
}

#define sv_real(name) ((__typeof__(&name))sv_real_get(SV_REAL_##name))

#endif
