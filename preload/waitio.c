// The calls that may wait for a descriptor: polling, reading and writing, sockets, file locks. Each
// makes the real call behind the thread's gate, and does nothing else; errno and cancellation are
// the real function's. Those that take a signal mask stand in signal.c.
//
// A file is read and written through here too: a disk can hold a thread where no signal reaches it.
// Not here, and so signalled: what waits inside the C library (stdio, getaddrinfo, system), open of
// a FIFO, ioctl and close. All of these are restarted after the stop signal.
//
// off_t and off64_t are the same type here, and so are the functions.
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

#include "export.h"
#include "lend.h"
#include "wait.h"

_Static_assert(sizeof(off_t) == sizeof(off64_t), "one function serves both");

// What _FORTIFY_SOURCE calls; without declarations in glibc's headers. The last size is the
// buffer's.
SV_EXPORT int __poll_chk(struct pollfd *fds, nfds_t nfds, int timeout, size_t fdslen);
SV_EXPORT ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
SV_EXPORT ssize_t __pread_chk(int fd, void *buf, size_t n, off_t offset, size_t room);
SV_EXPORT ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags);
SV_EXPORT ssize_t __recvfrom_chk(int fd, void *restrict buf, size_t n, size_t room, int flags,
                                 struct sockaddr *restrict from, socklen_t *restrict len);

// ---- polling ------------------------------------------------------------------------------------

SV_EXPORT int poll(struct pollfd *fds, nfds_t nfds, int timeout)
{
    sv_lend(fds);
    return sv_gated(poll, (fds, nfds, timeout), fds);
}

SV_EXPORT_ALIAS(int __poll(struct pollfd *, nfds_t, int), poll);

int __poll_chk(struct pollfd *fds, nfds_t nfds, int timeout, size_t fdslen)
{
    sv_lend(fds);
    return sv_gated(__poll_chk, (fds, nfds, timeout, fdslen), fds);
}

SV_EXPORT int select(int nfds, fd_set *restrict r, fd_set *restrict w, fd_set *restrict e,
                     struct timeval *restrict timeout)
{
    sv_lend(r, w, e, timeout);
    return sv_gated(select, (nfds, r, w, e, timeout), r, w, e, timeout);
}

SV_EXPORT_ALIAS(int __select(int, fd_set *, fd_set *, fd_set *, struct timeval *), select);

SV_EXPORT int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
    sv_lend(events);
    return sv_gated(epoll_wait, (epfd, events, max, timeout), events);
}

// ---- reading and writing ------------------------------------------------------------------------

SV_EXPORT ssize_t read(int fd, void *buf, size_t n)
{
    sv_lend(buf);
    return sv_gated(read, (fd, buf, n), buf);
}

SV_EXPORT_ALIAS(ssize_t __read(int, void *, size_t), read);

ssize_t __read_chk(int fd, void *buf, size_t n, size_t room)
{
    sv_lend(buf);
    return sv_gated(__read_chk, (fd, buf, n, room), buf);
}

SV_EXPORT ssize_t pread(int fd, void *buf, size_t n, off_t offset)
{
    sv_lend(buf);
    return sv_gated(pread, (fd, buf, n, offset), buf);
}

SV_EXPORT_ALIAS(ssize_t pread64(int, void *, size_t, off64_t), pread);
SV_EXPORT_ALIAS(ssize_t __pread64(int, void *, size_t, off64_t), pread);

ssize_t __pread_chk(int fd, void *buf, size_t n, off_t offset, size_t room)
{
    sv_lend(buf);
    return sv_gated(__pread_chk, (fd, buf, n, offset, room), buf);
}

SV_EXPORT_ALIAS(ssize_t __pread64_chk(int, void *, size_t, off64_t, size_t), __pread_chk);

SV_EXPORT ssize_t readv(int fd, const struct iovec *v, int n)
{
    sv_lend_vector(v, n);
    return sv_gated(readv, (fd, v, n), v);
}

SV_EXPORT ssize_t preadv(int fd, const struct iovec *v, int n, off_t offset)
{
    sv_lend_vector(v, n);
    return sv_gated(preadv, (fd, v, n, offset), v);
}

SV_EXPORT_ALIAS(ssize_t preadv64(int, const struct iovec *, int, off64_t), preadv);

SV_EXPORT ssize_t preadv2(int fd, const struct iovec *v, int n, off_t offset, int flags)
{
    sv_lend_vector(v, n);
    return sv_gated(preadv2, (fd, v, n, offset, flags), v);
}

SV_EXPORT_ALIAS(ssize_t preadv64v2(int, const struct iovec *, int, off64_t, int), preadv2);

SV_EXPORT ssize_t write(int fd, const void *buf, size_t n)
{
    return sv_gated(write, (fd, buf, n), buf);
}

SV_EXPORT_ALIAS(ssize_t __write(int, const void *, size_t), write);

SV_EXPORT ssize_t pwrite(int fd, const void *buf, size_t n, off_t offset)
{
    return sv_gated(pwrite, (fd, buf, n, offset), buf);
}

SV_EXPORT_ALIAS(ssize_t pwrite64(int, const void *, size_t, off64_t), pwrite);
SV_EXPORT_ALIAS(ssize_t __pwrite64(int, const void *, size_t, off64_t), pwrite);

SV_EXPORT ssize_t writev(int fd, const struct iovec *v, int n)
{
    return sv_gated(writev, (fd, v, n), v);
}

SV_EXPORT ssize_t pwritev(int fd, const struct iovec *v, int n, off_t offset)
{
    return sv_gated(pwritev, (fd, v, n, offset), v);
}

SV_EXPORT_ALIAS(ssize_t pwritev64(int, const struct iovec *, int, off64_t), pwritev);

SV_EXPORT ssize_t pwritev2(int fd, const struct iovec *v, int n, off_t offset, int flags)
{
    return sv_gated(pwritev2, (fd, v, n, offset, flags), v);
}

SV_EXPORT_ALIAS(ssize_t pwritev64v2(int, const struct iovec *, int, off64_t, int), pwritev2);

SV_EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t n)
{
    sv_lend(offset);
    return sv_gated(sendfile, (out, in, offset, n), offset);
}

SV_EXPORT_ALIAS(ssize_t sendfile64(int, int, off64_t *, size_t), sendfile);

SV_EXPORT ssize_t splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t n, unsigned flags)
{
    sv_lend(in_at, out_at);
    return sv_gated(splice, (in, in_at, out, out_at, n, flags), in_at, out_at);
}

SV_EXPORT ssize_t tee(int in, int out, size_t n, unsigned flags)
{
    return sv_gated(tee, (in, out, n, flags), NULL);
}

SV_EXPORT ssize_t vmsplice(int fd, const struct iovec *v, size_t n, unsigned flags)
{
    return sv_gated(vmsplice, (fd, v, n, flags), v);
}

SV_EXPORT int fsync(int fd)
{
    return sv_gated(fsync, (fd), NULL);
}

SV_EXPORT int fdatasync(int fd)
{
    return sv_gated(fdatasync, (fd), NULL);
}

SV_EXPORT int tcdrain(int fd)
{
    return sv_gated(tcdrain, (fd), NULL);
}

// ---- sockets ------------------------------------------------------------------------------------

// The headers give the address a union of pointers.
SV_EXPORT int accept(int fd, struct sockaddr *restrict from, socklen_t *restrict len)
{
    sv_lend(from, len);
    return sv_gated(accept, (fd, from, len), from, len);
}

SV_EXPORT int accept4(int fd, struct sockaddr *restrict from, socklen_t *restrict len, int flags)
{
    sv_lend(from, len);
    return sv_gated(accept4, (fd, from, len, flags), from, len);
}

SV_EXPORT int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    return sv_gated(connect, (fd, to, len), to);
}

SV_EXPORT_ALIAS(int __connect(int, const struct sockaddr *, socklen_t), connect);

SV_EXPORT ssize_t recv(int fd, void *buf, size_t n, int flags)
{
    sv_lend(buf);
    return sv_gated(recv, (fd, buf, n, flags), buf);
}

SV_EXPORT_ALIAS(ssize_t __recv(int, void *, size_t, int), recv);

ssize_t __recv_chk(int fd, void *buf, size_t n, size_t room, int flags)
{
    sv_lend(buf);
    return sv_gated(__recv_chk, (fd, buf, n, room, flags), buf);
}

SV_EXPORT ssize_t recvfrom(int fd, void *restrict buf, size_t n, int flags,
                           struct sockaddr *restrict from, socklen_t *restrict len)
{
    sv_lend(buf, from, len);
    return sv_gated(recvfrom, (fd, buf, n, flags, from, len), buf, from, len);
}

ssize_t __recvfrom_chk(int fd, void *restrict buf, size_t n, size_t room, int flags,
                       struct sockaddr *restrict from, socklen_t *restrict len)
{
    sv_lend(buf, from, len);
    return sv_gated(__recvfrom_chk, (fd, buf, n, room, flags, from, len), buf, from, len);
}

SV_EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    sv_lend_message(message);
    return sv_gated(recvmsg, (fd, message, flags), message);
}

SV_EXPORT int recvmmsg(int fd, struct mmsghdr *v, unsigned n, int flags, struct timespec *timeout)
{
    sv_lend_whole();
    return sv_gated(recvmmsg, (fd, v, n, flags, timeout), v, timeout);
}

SV_EXPORT ssize_t send(int fd, const void *buf, size_t n, int flags)
{
    return sv_gated(send, (fd, buf, n, flags), buf);
}

SV_EXPORT_ALIAS(ssize_t __send(int, const void *, size_t, int), send);

SV_EXPORT ssize_t sendto(int fd, const void *buf, size_t n, int flags, const struct sockaddr *to,
                         socklen_t len)
{
    return sv_gated(sendto, (fd, buf, n, flags, to, len), buf, to);
}

SV_EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    return sv_gated(sendmsg, (fd, message, flags), message);
}

SV_EXPORT int sendmmsg(int fd, struct mmsghdr *v, unsigned n, int flags)
{
    return sv_gated(sendmmsg, (fd, v, n, flags), v);
}

SV_EXPORT_ALIAS(int __sendmmsg(int, struct mmsghdr *, unsigned, int), sendmmsg);

// ---- locks on files -----------------------------------------------------------------------------

SV_EXPORT int flock(int fd, int operation)
{
    return sv_gated(flock, (fd, operation), NULL);
}

SV_EXPORT int lockf(int fd, int command, off_t length)
{
    return sv_gated(lockf, (fd, command, length), NULL);
}

SV_EXPORT_ALIAS(int lockf64(int, int, off64_t), lockf);

// Only two commands wait. What wasn't given as a third argument isn't looked at.
SV_EXPORT int fcntl(int fd, int command, ...)
{
    va_list ap;
    va_start(ap, command);
    void *arg = va_arg(ap, void *);
    va_end(ap);
    sv_lend(arg);
    if (command != F_SETLKW && command != F_OFD_SETLKW)
        return sv_real(fcntl)(fd, command, arg);
    return sv_gated(fcntl, (fd, command, arg), arg);
}

SV_EXPORT_ALIAS(int fcntl64(int, int, ...), fcntl);
SV_EXPORT_ALIAS(int __fcntl(int, int, ...), fcntl);
