// The calls that wait for time, a signal, a child, a message, or another thread. Each makes the
// real call behind the thread's gate, and does nothing else; errno and cancellation are the real
// function's.
//
// Not here, and so signalled: mutexes and reader-writer locks, which are too hot for it, and which
// the C library waits for again after a signal by itself; and pthread_join, which frees memory
// before it comes back.
#include <aio.h>
#include <mqueue.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/wait.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

#include "export.h"
#include "lend.h"
#include "wait.h"

// The old functions are marked deprecated, but programs that use them exist.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

// Three sigpauses: the headers call X/Open's, which takes a signal, by its other name; the plain
// name is BSD's, which takes a mask; and glibc once had one for both.
int __xpg_sigpause(int sig); // for its type: the headers name the symbol `sigpause`
SV_EXPORT int bsd_sigpause(int mask) __asm__("sigpause");
SV_EXPORT int __sigpause(int sig_or_mask, int is_sig);

// ---- time and signals ---------------------------------------------------------------------------

SV_EXPORT int nanosleep(const struct timespec *time, struct timespec *left)
{
    sv_lend(left);
    return sv_gated(nanosleep, (time, left), time, left);
}

SV_EXPORT_ALIAS(int __nanosleep(const struct timespec *, struct timespec *), nanosleep);

SV_EXPORT int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time,
                              struct timespec *left)
{
    sv_lend(left);
    return sv_gated(clock_nanosleep, (clock, flags, time, left), time, left);
}

SV_EXPORT int usleep(useconds_t time)
{
    return sv_gated(usleep, (time), NULL);
}

SV_EXPORT unsigned sleep(unsigned seconds)
{
    return sv_gated(sleep, (seconds), NULL);
}

SV_EXPORT int thrd_sleep(const struct timespec *time, struct timespec *left)
{
    sv_lend(left);
    return sv_gated(thrd_sleep, (time, left), time, left);
}

SV_EXPORT int pause(void)
{
    return sv_gated(pause, (), NULL);
}

SV_EXPORT int sigpause(int sig)
{
    return sv_gated(__xpg_sigpause, (sig), NULL);
}

int bsd_sigpause(int mask)
{
    return sv_gated(sigpause, (mask), NULL);
}

int __sigpause(int sig_or_mask, int is_sig)
{
    return sv_gated(__sigpause, (sig_or_mask, is_sig), NULL);
}

// ---- children -----------------------------------------------------------------------------------

SV_EXPORT pid_t wait(int *status)
{
    sv_lend(status);
    return sv_gated(wait, (status), status);
}

SV_EXPORT_ALIAS(pid_t __wait(int *), wait);

SV_EXPORT pid_t waitpid(pid_t pid, int *status, int options)
{
    sv_lend(status);
    return sv_gated(waitpid, (pid, status, options), status);
}

SV_EXPORT_ALIAS(pid_t __waitpid(pid_t, int *, int), waitpid);

SV_EXPORT pid_t wait3(int *status, int options, struct rusage *usage)
{
    sv_lend(status, usage);
    return sv_gated(wait3, (status, options, usage), status, usage);
}

SV_EXPORT pid_t wait4(pid_t pid, int *status, int options, struct rusage *usage)
{
    sv_lend(status, usage);
    return sv_gated(wait4, (pid, status, options, usage), status, usage);
}

SV_EXPORT int waitid(idtype_t type, id_t id, siginfo_t *info, int options)
{
    sv_lend(info);
    return sv_gated(waitid, (type, id, info, options), info);
}

// ---- messages -----------------------------------------------------------------------------------

SV_EXPORT ssize_t msgrcv(int queue, void *message, size_t n, long type, int flags)
{
    sv_lend(message);
    return sv_gated(msgrcv, (queue, message, n, type, flags), message);
}

SV_EXPORT int msgsnd(int queue, const void *message, size_t n, int flags)
{
    return sv_gated(msgsnd, (queue, message, n, flags), message);
}

SV_EXPORT int semop(int set, struct sembuf *v, size_t n)
{
    return sv_gated(semop, (set, v, n), v);
}

SV_EXPORT int semtimedop(int set, struct sembuf *v, size_t n, const struct timespec *timeout)
{
    return sv_gated(semtimedop, (set, v, n, timeout), v, timeout);
}

SV_EXPORT ssize_t mq_receive(mqd_t queue, char *buf, size_t n, unsigned *priority)
{
    sv_lend(buf, priority);
    return sv_gated(mq_receive, (queue, buf, n, priority), buf, priority);
}

SV_EXPORT ssize_t mq_timedreceive(mqd_t queue, char *restrict buf, size_t n,
                                  unsigned *restrict priority,
                                  const struct timespec *restrict until)
{
    sv_lend(buf, priority);
    return sv_gated(mq_timedreceive, (queue, buf, n, priority, until), buf, priority, until);
}

SV_EXPORT int mq_send(mqd_t queue, const char *buf, size_t n, unsigned priority)
{
    return sv_gated(mq_send, (queue, buf, n, priority), buf);
}

SV_EXPORT int mq_timedsend(mqd_t queue, const char *buf, size_t n, unsigned priority,
                           const struct timespec *until)
{
    return sv_gated(mq_timedsend, (queue, buf, n, priority, until), buf, until);
}

SV_EXPORT int aio_suspend(const struct aiocb *const v[], int n, const struct timespec *timeout)
{
    return sv_gated(aio_suspend, (v, n, timeout), v, timeout);
}

SV_EXPORT int aio_suspend64(const struct aiocb64 *const v[], int n, const struct timespec *timeout)
{
    return sv_gated(aio_suspend64, (v, n, timeout), v, timeout);
}

// ---- other threads ------------------------------------------------------------------------------

SV_EXPORT int sem_wait(sem_t *sem)
{
    return sv_gated(sem_wait, (sem), sem);
}

SV_EXPORT int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict until)
{
    return sv_gated(sem_timedwait, (sem, until), sem, until);
}

SV_EXPORT int sem_clockwait(sem_t *restrict sem, clockid_t clock,
                            const struct timespec *restrict until)
{
    return sv_gated(sem_clockwait, (sem, clock, until), sem, until);
}

SV_EXPORT int pthread_cond_wait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex)
{
    return sv_gated(pthread_cond_wait, (cond, mutex), cond, mutex);
}

SV_EXPORT int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                                     const struct timespec *restrict until)
{
    return sv_gated(pthread_cond_timedwait, (cond, mutex, until), cond, mutex, until);
}

SV_EXPORT int pthread_cond_clockwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                                     clockid_t clock, const struct timespec *restrict until)
{
    return sv_gated(pthread_cond_clockwait, (cond, mutex, clock, until), cond, mutex, until);
}

SV_EXPORT int pthread_barrier_wait(pthread_barrier_t *barrier)
{
    return sv_gated(pthread_barrier_wait, (barrier), barrier);
}

SV_EXPORT int cnd_wait(cnd_t *cond, mtx_t *mutex)
{
    return sv_gated(cnd_wait, (cond, mutex), cond, mutex);
}

SV_EXPORT int cnd_timedwait(cnd_t *restrict cond, mtx_t *restrict mutex,
                            const struct timespec *restrict until)
{
    return sv_gated(cnd_timedwait, (cond, mutex, until), cond, mutex, until);
}
