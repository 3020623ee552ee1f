// Hides the stop signal from the program, as glibc hides its own two first real-time signals.
//
// Three things would break the stop: a handler of the program's on that signal, a mask that blocks
// it, and a wait that takes it out of the queue. So sigaction and its kin answer EINVAL for it, as
// glibc does for 32 and 33; every mask on its way to the kernel has its bit taken out, in a copy,
// the caller's set being const; and SIGRTMAX is one less. A mask that never went in with the bit
// never comes out with it, so the functions that read one back need nothing. sigfillset and the
// other functions on sets stay as they are: a set is the program's own data.
//
// Not wrapped, because their masks are an int and end at signal 32: sigblock, sigsetmask, sigpause.
// Not covered: rt_sigprocmask through syscall(2), and uc_sigmask in a context that the program
// edits. A thread that blocks the signal in such a way can't be stopped; then a cycle is abandoned
// and nothing is reclaimed. posix_spawnattr_setsigmask acts on the new program alone, where the
// library, if it is there, opens its signal at start.
//
// Waits are cancellation points: the real functions do them, so that cancellation works and unwinds
// through the frames here.
#include "export.h"
#include "real.h"
#include "world.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>

// The old System V functions are marked deprecated, but programs that use them exist.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

// glibc's, without a declaration in its headers: the first behind SIGRTMAX, the next in the checked
// form of ppoll that _FORTIFY_SOURCE calls (fdslen: bytes of fds), and other names of the functions
// below.
SV_EXPORT int __libc_allocate_rtsig(int high);
SV_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout,
                          const sigset_t *mask, size_t fdslen);
SV_EXPORT int __sigaction(int sig, const struct sigaction *act, struct sigaction *old);
SV_EXPORT int __sigsuspend(const sigset_t *mask);
SV_EXPORT __sighandler_t bsd_signal(int sig, __sighandler_t handler);

#define SIGNAL_WORD ((SV_STOP_SIGNAL - 1) / (8 * sizeof(unsigned long)))
#define SIGNAL_BIT (1ul << ((SV_STOP_SIGNAL - 1) % (8 * sizeof(unsigned long))))

// `set` without the stop signal: itself if it hasn't got it, else *copy. Reads no more of the set
// than the kernel does unless the bit is there.
static const sigset_t *mask_clean(const sigset_t *set, sigset_t *copy)
{
    if (set == NULL || (set->__val[SIGNAL_WORD] & SIGNAL_BIT) == 0) {
        return set;
    }
    *copy = *set;
    copy->__val[SIGNAL_WORD] &= ~SIGNAL_BIT;
    return copy;
}

static int signal_refuse(void)
{
    errno = EINVAL;
    return -1;
}

// ---- handlers -----------------------------------------------------------------------------------

SV_EXPORT int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
    if (sig == SV_STOP_SIGNAL) {
        return signal_refuse();
    }
    if (act == NULL || (act->sa_mask.__val[SIGNAL_WORD] & SIGNAL_BIT) == 0) {
        return sv_real(sigaction)(sig, act, old);
    }
    struct sigaction copy = *act;
    copy.sa_mask.__val[SIGNAL_WORD] &= ~SIGNAL_BIT;
    return sv_real(sigaction)(sig, &copy, old);
}

int __sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
    return sigaction(sig, act, old);
}

SV_EXPORT __sighandler_t signal(int sig, __sighandler_t handler)
{
    if (sig == SV_STOP_SIGNAL) {
        (void)signal_refuse();
        return SIG_ERR;
    }
    return sv_real(signal)(sig, handler);
}

__sighandler_t bsd_signal(int sig, __sighandler_t handler)
{
    return signal(sig, handler);
}

SV_EXPORT __sighandler_t ssignal(int sig, __sighandler_t handler)
{
    return signal(sig, handler);
}

SV_EXPORT __sighandler_t sysv_signal(int sig, __sighandler_t handler)
{
    if (sig == SV_STOP_SIGNAL) {
        (void)signal_refuse();
        return SIG_ERR;
    }
    return sv_real(sysv_signal)(sig, handler);
}

SV_EXPORT __sighandler_t __sysv_signal(int sig, __sighandler_t handler)
{
    return sysv_signal(sig, handler);
}

SV_EXPORT __sighandler_t sigset(int sig, __sighandler_t disp)
{
    if (sig == SV_STOP_SIGNAL) {
        (void)signal_refuse();
        return SIG_ERR;
    }
    return sv_real(sigset)(sig, disp);
}

SV_EXPORT int sigignore(int sig)
{
    return sig == SV_STOP_SIGNAL ? signal_refuse() : sv_real(sigignore)(sig);
}

SV_EXPORT int siginterrupt(int sig, int interrupt)
{
    return sig == SV_STOP_SIGNAL ? signal_refuse() : sv_real(siginterrupt)(sig, interrupt);
}

// ---- which signals there are --------------------------------------------------------------------

SV_EXPORT int __libc_current_sigrtmax(void)
{
    int max = sv_real(__libc_current_sigrtmax)();
    return max < SV_STOP_SIGNAL ? max : SV_STOP_SIGNAL - 1;
}

// Gives signals out from both ends of the range, each once: the first from the top would be ours.
int __libc_allocate_rtsig(int high)
{
    int sig = sv_real(__libc_allocate_rtsig)(high);
    return sig == SV_STOP_SIGNAL ? sv_real(__libc_allocate_rtsig)(high) : sig;
}

// ---- masks --------------------------------------------------------------------------------------

SV_EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    sigset_t copy;
    return sv_real(sigprocmask)(how, mask_clean(set, &copy), old);
}

SV_EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    sigset_t copy;
    return sv_real(pthread_sigmask)(how, mask_clean(set, &copy), old);
}

SV_EXPORT int pthread_attr_setsigmask_np(pthread_attr_t *attr, const sigset_t *mask)
{
    sigset_t copy;
    return sv_real(pthread_attr_setsigmask_np)(attr, mask_clean(mask, &copy));
}

SV_EXPORT int sighold(int sig)
{
    return sig == SV_STOP_SIGNAL ? signal_refuse() : sv_real(sighold)(sig);
}

SV_EXPORT int sigrelse(int sig)
{
    return sig == SV_STOP_SIGNAL ? signal_refuse() : sv_real(sigrelse)(sig);
}

// ---- waits --------------------------------------------------------------------------------------

SV_EXPORT int sigsuspend(const sigset_t *mask)
{
    sigset_t copy;
    return sv_real(sigsuspend)(mask_clean(mask, &copy));
}

int __sigsuspend(const sigset_t *mask)
{
    return sigsuspend(mask);
}

SV_EXPORT int sigwait(const sigset_t *set, int *sig)
{
    sigset_t copy;
    return sv_real(sigwait)(mask_clean(set, &copy), sig);
}

SV_EXPORT int sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
    sigset_t copy;
    return sv_real(sigwaitinfo)(mask_clean(set, &copy), info);
}

SV_EXPORT int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
    sigset_t copy;
    return sv_real(sigtimedwait)(mask_clean(set, &copy), info, timeout);
}

SV_EXPORT int signalfd(int fd, const sigset_t *mask, int flags)
{
    sigset_t copy;
    return sv_real(signalfd)(fd, mask_clean(mask, &copy), flags);
}

SV_EXPORT int ppoll(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout,
                    const sigset_t *mask)
{
    sigset_t copy;
    return sv_real(ppoll)(fds, nfds, timeout, mask_clean(mask, &copy));
}

int __ppoll_chk(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout,
                const sigset_t *mask, size_t fdslen)
{
    sigset_t copy;
    return sv_real(__ppoll_chk)(fds, nfds, timeout, mask_clean(mask, &copy), fdslen);
}

SV_EXPORT int pselect(int nfds, fd_set *readfds, fd_set *writefds, fd_set *exceptfds,
                      const struct timespec *timeout, const sigset_t *mask)
{
    sigset_t copy;
    return sv_real(pselect)(nfds, readfds, writefds, exceptfds, timeout, mask_clean(mask, &copy));
}

SV_EXPORT int epoll_pwait(int epfd, struct epoll_event *events, int max, int timeout,
                          const sigset_t *mask)
{
    sigset_t copy;
    return sv_real(epoll_pwait)(epfd, events, max, timeout, mask_clean(mask, &copy));
}

SV_EXPORT int epoll_pwait2(int epfd, struct epoll_event *events, int max,
                           const struct timespec *timeout, const sigset_t *mask)
{
    sigset_t copy;
    return sv_real(epoll_pwait2)(epfd, events, max, timeout, mask_clean(mask, &copy));
}
