// The calls that wait for nothing, but write to memory that the program names: each lends it
// (lend.h) and makes the real call. Those that may wait stand in wait.c, waitio.c and signal.c.
//
// Not here, because the C library makes the call inside of something else, and so EFAULT, or what
// becomes of it, where the memory is a small object on the heap: streams with a buffer of less than
// 1 KiB or none (setvbuf), clock_gettime of processor time, getcontext and sigsetjmp (between the
// instruction that fills the context and the one that asks for the mask, or over a page's end),
// glibc's own fts.
#include "lend.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/msg.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "export.h"
#include "real.h"

// glibc's, without declarations in its headers: stat and its kin for programs built before 2.33
// (the first argument tells the structure's version), and what _FORTIFY_SOURCE calls.
SV_EXPORT int __xstat(int version, const char *path, struct stat *st);
SV_EXPORT int __lxstat(int version, const char *path, struct stat *st);
SV_EXPORT int __fxstat(int version, int fd, struct stat *st);
SV_EXPORT int __fxstatat(int version, int dir, const char *path, struct stat *st, int flags);
SV_EXPORT ssize_t __readlink_chk(const char *path, char *buf, size_t n, size_t room);
SV_EXPORT ssize_t __readlinkat_chk(int dir, const char *path, char *buf, size_t n, size_t room);
SV_EXPORT char *__getcwd_chk(char *buf, size_t n, size_t room);
SV_EXPORT int capget(void *header, void *data);

_Static_assert(sizeof(struct stat) == sizeof(struct stat64), "one function serves both");
_Static_assert(sizeof(struct statfs) == sizeof(struct statfs64), "one function serves both");
_Static_assert(sizeof(struct rlimit) == sizeof(struct rlimit64), "one function serves both");

#define VECTOR_FEW 8u // more than so many pointers aren't told one by one

void sv_lend_vector_slow(struct sv_protect_lent *lent, const struct iovec *v, size_t n)
{
    if (!v || n > VECTOR_FEW) {
        sv_protect_lend_whole(lent);
        return;
    }
    const volatile void *pointers[VECTOR_FEW] = {0};
    for (size_t i = 0; i < n; i++)
        pointers[i] = v[i].iov_base;
    sv_protect_lend(lent, pointers, n);
}

void sv_lend_message_slow(struct sv_protect_lent *lent, struct msghdr *message)
{
    if (!message)
        return;
    const volatile void *pointers[] = {message, message->msg_name, message->msg_control};
    sv_protect_lend(lent, pointers, 3);
    sv_lend_vector_slow(lent, message->msg_iov, message->msg_iovlen);
}

// lent(type, name, (parameters), (arguments), pointers...)
#define lent(type, name, parameters, arguments, ...)                                               \
    SV_EXPORT type name parameters                                                                 \
    {                                                                                              \
        sv_lend(__VA_ARGS__);                                                                      \
        return sv_real(name) arguments;                                                            \
    }                                                                                              \
    _Static_assert(1, "a semicolon follows")

// ---- files --------------------------------------------------------------------------------------

lent(int, stat, (const char *restrict path, struct stat *restrict st), (path, st), st);
lent(int, lstat, (const char *restrict path, struct stat *restrict st), (path, st), st);
lent(int, fstat, (int fd, struct stat *st), (fd, st), st);
lent(int, fstatat, (int dir, const char *restrict path, struct stat *restrict st, int flags),
     (dir, path, st, flags), st);
lent(int, __xstat, (int version, const char *path, struct stat *st), (version, path, st), st);
lent(int, __lxstat, (int version, const char *path, struct stat *st), (version, path, st), st);
lent(int, __fxstat, (int version, int fd, struct stat *st), (version, fd, st), st);
lent(int, __fxstatat, (int version, int dir, const char *path, struct stat *st, int flags),
     (version, dir, path, st, flags), st);
lent(int, statx,
     (int dir, const char *restrict path, int flags, unsigned mask, struct statx *restrict st),
     (dir, path, flags, mask, st), st);
lent(int, statfs, (const char *path, struct statfs *st), (path, st), st);
lent(int, fstatfs, (int fd, struct statfs *st), (fd, st), st);
SV_EXPORT_ALIAS(int stat64(const char *, struct stat64 *), stat);
SV_EXPORT_ALIAS(int lstat64(const char *, struct stat64 *), lstat);
SV_EXPORT_ALIAS(int fstat64(int, struct stat64 *), fstat);
SV_EXPORT_ALIAS(int fstatat64(int, const char *, struct stat64 *, int), fstatat);
SV_EXPORT_ALIAS(int __xstat64(int, const char *, struct stat64 *), __xstat);
SV_EXPORT_ALIAS(int __lxstat64(int, const char *, struct stat64 *), __lxstat);
SV_EXPORT_ALIAS(int __fxstat64(int, int, struct stat64 *), __fxstat);
SV_EXPORT_ALIAS(int __fxstatat64(int, int, const char *, struct stat64 *, int), __fxstatat);
SV_EXPORT_ALIAS(int statfs64(const char *, struct statfs64 *), statfs);
SV_EXPORT_ALIAS(int fstatfs64(int, struct statfs64 *), fstatfs);

lent(ssize_t, readlink, (const char *restrict path, char *restrict buf, size_t n), (path, buf, n),
     buf);
lent(ssize_t, readlinkat, (int dir, const char *restrict path, char *restrict buf, size_t n),
     (dir, path, buf, n), buf);
lent(ssize_t, __readlink_chk, (const char *path, char *buf, size_t n, size_t room),
     (path, buf, n, room), buf);
lent(ssize_t, __readlinkat_chk, (int dir, const char *path, char *buf, size_t n, size_t room),
     (dir, path, buf, n, room), buf);
lent(char *, getcwd, (char *buf, size_t n), (buf, n), buf);
lent(char *, __getcwd_chk, (char *buf, size_t n, size_t room), (buf, n, room), buf);
lent(int, ttyname_r, (int fd, char *buf, size_t n), (fd, buf, n), buf);
lent(ssize_t, getdents64, (int fd, void *buf, size_t n), (fd, buf, n), buf);
lent(ssize_t, getxattr, (const char *path, const char *name, void *value, size_t n),
     (path, name, value, n), value);
lent(ssize_t, lgetxattr, (const char *path, const char *name, void *value, size_t n),
     (path, name, value, n), value);
lent(ssize_t, fgetxattr, (int fd, const char *name, void *value, size_t n), (fd, name, value, n),
     value);
lent(ssize_t, listxattr, (const char *path, char *list, size_t n), (path, list, n), list);
lent(ssize_t, llistxattr, (const char *path, char *list, size_t n), (path, list, n), list);
lent(ssize_t, flistxattr, (int fd, char *list, size_t n), (fd, list, n), list);
lent(ssize_t, copy_file_range,
     (int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags),
     (in, in_at, out, out_at, n, flags), in_at, out_at);

// ---- descriptors and sockets --------------------------------------------------------------------

lent(int, pipe, (int fds[2]), (fds), fds);
lent(int, pipe2, (int fds[2], int flags), (fds, flags), fds);
lent(int, socketpair, (int domain, int type, int protocol, int fds[2]),
     (domain, type, protocol, fds), fds);
lent(int, getsockname, (int fd, struct sockaddr *restrict at, socklen_t *restrict n), (fd, at, n),
     at, n);
lent(int, getpeername, (int fd, struct sockaddr *restrict at, socklen_t *restrict n), (fd, at, n),
     at, n);
lent(int, getsockopt, (int fd, int level, int name, void *restrict value, socklen_t *restrict n),
     (fd, level, name, value, n), value, n);
lent(int, eventfd_read, (int fd, eventfd_t *value), (fd, value), value);

// What wasn't given as a third argument isn't looked at. Pointers inside of the argument aren't
// known.
SV_EXPORT int ioctl(int fd, unsigned long request, ...)
{
    va_list ap;
    va_start(ap, request);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    sv_lend(arg);
    return sv_real(ioctl)(fd, request, arg);
}

// ---- time ---------------------------------------------------------------------------------------

lent(int, getitimer, (__itimer_which_t which, struct itimerval *is), (which, is), is);
lent(int, setitimer,
     (__itimer_which_t which, const struct itimerval *restrict to, struct itimerval *restrict was),
     (which, to, was), was);
lent(int, timer_gettime, (timer_t timer, struct itimerspec *is), (timer, is), is);
lent(int, timer_settime,
     (timer_t timer, int flags, const struct itimerspec *restrict to,
      struct itimerspec *restrict was),
     (timer, flags, to, was), was);
lent(int, timerfd_gettime, (int fd, struct itimerspec *is), (fd, is), is);
lent(int, timerfd_settime, (int fd, int flags, const struct itimerspec *to, struct itimerspec *was),
     (fd, flags, to, was), was);
lent(clock_t, times, (struct tms * is), (is), is);
lent(int, getrusage, (__rusage_who_t who, struct rusage *is), (who, is), is);
lent(int, sched_rr_get_interval, (pid_t pid, struct timespec *is), (pid, is), is);

// ---- the process and the system -----------------------------------------------------------------

lent(int, getrlimit, (__rlimit_resource_t which, struct rlimit *is), (which, is), is);
lent(int, prlimit,
     (pid_t pid, enum __rlimit_resource which, const struct rlimit *to, struct rlimit *was),
     (pid, which, to, was), was);
SV_EXPORT_ALIAS(int getrlimit64(__rlimit_resource_t, struct rlimit64 *), getrlimit);
SV_EXPORT_ALIAS(int prlimit64(pid_t, enum __rlimit_resource, const struct rlimit64 *,
                              struct rlimit64 *),
                prlimit);
lent(int, sysinfo, (struct sysinfo * is), (is), is);
lent(int, uname, (struct utsname * is), (is), is);
lent(ssize_t, getrandom, (void *buf, size_t n, unsigned flags), (buf, n, flags), buf);
lent(int, getentropy, (void *buf, size_t n), (buf, n), buf);
lent(int, getgroups, (int n, gid_t list[]), (n, list), list);
lent(int, getresuid, (uid_t * real, uid_t *effective, uid_t *saved), (real, effective, saved), real,
     effective, saved);
lent(int, getresgid, (gid_t * real, gid_t *effective, gid_t *saved), (real, effective, saved), real,
     effective, saved);
lent(int, sched_getaffinity, (pid_t pid, size_t n, cpu_set_t *is), (pid, n, is), is);
lent(int, pthread_getaffinity_np, (pthread_t thread, size_t n, cpu_set_t *is), (thread, n, is), is);
lent(int, sched_getparam, (pid_t pid, struct sched_param *is), (pid, is), is);
lent(int, sigpending, (sigset_t * is), (is), is);
lent(int, capget, (void *header, void *data), (header, data), header, data);
SV_EXPORT ssize_t process_vm_readv(pid_t pid, const struct iovec *to, unsigned long nto,
                                   const struct iovec *from, unsigned long nfrom,
                                   unsigned long flags)
{
    sv_lend_vector(to, nto);
    return sv_real(process_vm_readv)(pid, to, nto, from, nfrom, flags);
}

// ---- System V and POSIX queues ------------------------------------------------------------------

lent(int, msgctl, (int queue, int command, struct msqid_ds *is), (queue, command, is), is);
lent(int, shmctl, (int segment, int command, struct shmid_ds *is), (segment, command, is), is);
lent(int, mq_getattr, (mqd_t queue, struct mq_attr *is), (queue, is), is);
lent(int, mq_setattr,
     (mqd_t queue, const struct mq_attr *restrict to, struct mq_attr *restrict was),
     (queue, to, was), was);

// A union of pointers and an integer, which is passed on as glibc takes it.
SV_EXPORT int semctl(int set, int number, int command, ...)
{
    va_list ap;
    va_start(ap, command);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    sv_lend(arg);
    return sv_real(semctl)(set, number, command, arg);
}
