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
    X(dlclose)                                                                                     \
    X(exit)                                                                                        \
    X(_exit)                                                                                       \
    X(quick_exit)                                                                                  \
    X(abort)                                                                                       \
    X(on_exit)                                                                                     \
    X(__libc_start_main)                                                                           \
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
    X(unshare)                                                                                     \
    X(prctl)                                                                                       \
    X(capset)                                                                                      \
    X(setns)                                                                                       \
    X(pthread_create)                                                                              \
    X(pthread_exit)                                                                                \
    X(fork)                                                                                        \
    X(nanosleep)                                                                                   \
    X(clock_nanosleep)                                                                             \
    X(usleep)                                                                                      \
    X(sleep)                                                                                       \
    X(thrd_sleep)                                                                                  \
    X(pause)                                                                                       \
    X(sigpause)                                                                                    \
    X(__sigpause)                                                                                  \
    X(__xpg_sigpause)                                                                              \
    X(wait)                                                                                        \
    X(waitpid)                                                                                     \
    X(wait3)                                                                                       \
    X(wait4)                                                                                       \
    X(waitid)                                                                                      \
    X(msgrcv)                                                                                      \
    X(msgsnd)                                                                                      \
    X(semop)                                                                                       \
    X(semtimedop)                                                                                  \
    X(mq_receive)                                                                                  \
    X(mq_timedreceive)                                                                             \
    X(mq_send)                                                                                     \
    X(mq_timedsend)                                                                                \
    X(aio_suspend)                                                                                 \
    X(aio_suspend64)                                                                               \
    X(sem_wait)                                                                                    \
    X(sem_timedwait)                                                                               \
    X(sem_clockwait)                                                                               \
    X(pthread_cond_wait)                                                                           \
    X(pthread_cond_timedwait)                                                                      \
    X(pthread_cond_clockwait)                                                                      \
    X(pthread_barrier_wait)                                                                        \
    X(cnd_wait)                                                                                    \
    X(cnd_timedwait)                                                                               \
    X(poll)                                                                                        \
    X(__poll_chk)                                                                                  \
    X(select)                                                                                      \
    X(epoll_wait)                                                                                  \
    X(read)                                                                                        \
    X(__read_chk)                                                                                  \
    X(pread)                                                                                       \
    X(__pread_chk)                                                                                 \
    X(readv)                                                                                       \
    X(preadv)                                                                                      \
    X(preadv2)                                                                                     \
    X(write)                                                                                       \
    X(pwrite)                                                                                      \
    X(writev)                                                                                      \
    X(pwritev)                                                                                     \
    X(pwritev2)                                                                                    \
    X(sendfile)                                                                                    \
    X(splice)                                                                                      \
    X(tee)                                                                                         \
    X(vmsplice)                                                                                    \
    X(fsync)                                                                                       \
    X(fdatasync)                                                                                   \
    X(tcdrain)                                                                                     \
    X(accept)                                                                                      \
    X(accept4)                                                                                     \
    X(connect)                                                                                     \
    X(recv)                                                                                        \
    X(__recv_chk)                                                                                  \
    X(recvfrom)                                                                                    \
    X(__recvfrom_chk)                                                                              \
    X(recvmsg)                                                                                     \
    X(recvmmsg)                                                                                    \
    X(send)                                                                                        \
    X(sendto)                                                                                      \
    X(sendmsg)                                                                                     \
    X(sendmmsg)                                                                                    \
    X(flock)                                                                                       \
    X(lockf)                                                                                       \
    X(fcntl)                                                                                       \
    X(stat)                                                                                        \
    X(lstat)                                                                                       \
    X(fstat)                                                                                       \
    X(fstatat)                                                                                     \
    X(__xstat)                                                                                     \
    X(__lxstat)                                                                                    \
    X(__fxstat)                                                                                    \
    X(__fxstatat)                                                                                  \
    X(statx)                                                                                       \
    X(statfs)                                                                                      \
    X(fstatfs)                                                                                     \
    X(readlink)                                                                                    \
    X(readlinkat)                                                                                  \
    X(__readlink_chk)                                                                              \
    X(__readlinkat_chk)                                                                            \
    X(getcwd)                                                                                      \
    X(__getcwd_chk)                                                                                \
    X(ttyname_r)                                                                                   \
    X(getdents64)                                                                                  \
    X(getxattr)                                                                                    \
    X(lgetxattr)                                                                                   \
    X(fgetxattr)                                                                                   \
    X(listxattr)                                                                                   \
    X(llistxattr)                                                                                  \
    X(flistxattr)                                                                                  \
    X(copy_file_range)                                                                             \
    X(pipe)                                                                                        \
    X(pipe2)                                                                                       \
    X(socketpair)                                                                                  \
    X(getsockname)                                                                                 \
    X(getpeername)                                                                                 \
    X(getsockopt)                                                                                  \
    X(eventfd_read)                                                                                \
    X(getitimer)                                                                                   \
    X(setitimer)                                                                                   \
    X(timer_gettime)                                                                               \
    X(timer_settime)                                                                               \
    X(timerfd_gettime)                                                                             \
    X(timerfd_settime)                                                                             \
    X(times)                                                                                       \
    X(getrusage)                                                                                   \
    X(sched_rr_get_interval)                                                                       \
    X(getrlimit)                                                                                   \
    X(prlimit)                                                                                     \
    X(sysinfo)                                                                                     \
    X(uname)                                                                                       \
    X(getrandom)                                                                                   \
    X(getentropy)                                                                                  \
    X(getgroups)                                                                                   \
    X(getresuid)                                                                                   \
    X(getresgid)                                                                                   \
    X(sched_getaffinity)                                                                           \
    X(pthread_getaffinity_np)                                                                      \
    X(sched_getparam)                                                                              \
    X(sigpending)                                                                                  \
    X(capget)                                                                                      \
    X(msgctl)                                                                                      \
    X(shmctl)                                                                                      \
    X(mq_getattr)                                                                                  \
    X(mq_setattr)                                                                                  \
    X(ioctl)                                                                                       \
    X(process_vm_readv)                                                                            \
    X(semctl)                                                                                      \
    X(sigaltstack)                                                                                 \
    X(pthread_cancel)                                                                              \
    X(clone)                                                                                       \
    X(mremap)                                                                                      \
    X(syscall)

#define SV_REAL_ID(name) SV_REAL_##name,
enum sv_real_id { SV_REAL_NAMES(SV_REAL_ID) SV_REAL_COUNT };
#undef SV_REAL_ID

// NULL: not looked up yet.
extern _Atomic(void *) sv_real_table[SV_REAL_COUNT];

// Looks up all names and remembers them; returns one. Never NULL: for a name that this C library
// doesn't have, a function that fails with ENOSYS and returns -1. Leaves errno alone.
void *sv_real_find(enum sv_real_id id);

static inline void *sv_real_get(enum sv_real_id id)
{
    void *fn = atomic_load_explicit(&sv_real_table[id], memory_order_relaxed);
    return __builtin_expect(fn != NULL, 1) ? fn : sv_real_find(id);
}

// The same for names that a program may call without ever calling another: looks up this one alone.
void *sv_real_find_alone(enum sv_real_id id);

static inline void *sv_real_get_alone(enum sv_real_id id)
{
    void *fn = atomic_load_explicit(&sv_real_table[id], memory_order_relaxed);
    return __builtin_expect(fn != NULL, 1) ? fn : sv_real_find_alone(id);
}

#define sv_real_alone(name) ((__typeof__(&name))sv_real_get_alone(SV_REAL_##name))
#define sv_real(name) ((__typeof__(&name))sv_real_get(SV_REAL_##name))

#endif
