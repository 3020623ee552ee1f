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
// Every handler of the program's is entered through one of ours, because a signal may come to a
// thread that waits behind its gate (gate.h): it leaves the gate first and goes back in afterwards.
// The kernel holds our handler with the program's flags and mask; a table holds the program's
// own, which is what the program is told when it asks. The table is only written for functions,
// never for SIG_DFL and SIG_IGN: a vfork child that resets its signals leaves its parent's table
// alone. Nothing is locked. When two threads set the same signal at the same time the kernel may
// end up with one's flags and the table with the other's function, which is called with three
// arguments anyway. A handler that is installed by a system call of the program's own making, not
// through syscall(2) (waitraw.c), is not seen, and may run inside the gate.
//
// In mode=leaks a default action that would end the process is a handler of ours too, so that leaks
// are looked for first (exit.c); the program is told SIG_DFL.
//
// Waits are cancellation points: the real functions do them, so that cancellation works and unwinds
// through the frames here.
#include "distrust.h"
#include "exit.h"
#include "export.h"
#include "init.h"
#include "lend.h"
#include "real.h"
#include "segv.h"
#include "wait.h"
#include "world.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <unistd.h>

// The old System V functions are marked deprecated, but programs that use them exist.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

// glibc's, without a declaration in its headers: the first behind SIGRTMAX, the next in the checked
// form of ppoll that _FORTIFY_SOURCE calls (fdslen: bytes of fds).
SV_EXPORT int __libc_allocate_rtsig(int high);
SV_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout,
                          const sigset_t *mask, size_t fdslen);

#define SIGNAL_WORD ((SV_STOP_SIGNAL - 1) / (8 * sizeof(unsigned long)))
#define SIGNAL_BIT (1ul << ((SV_STOP_SIGNAL - 1) % (8 * sizeof(unsigned long))))
_Static_assert(SIGNAL_WORD == 0, "SIGSEGV stands in the same word");

static unsigned long mask_hidden(void)
{
    return SIGNAL_BIT | (sv_segv_ours ? SV_SEGV_BIT : 0);
}

// `set` without the stop signal, and without SIGSEGV where that is ours: itself if it has none of
// them, else *copy. Reads no more of the set than the kernel does unless a bit is there.
static const sigset_t *mask_clean(const sigset_t *set, sigset_t *copy)
{
    if (set == NULL || (set->__val[SIGNAL_WORD] & mask_hidden()) == 0) {
        return set;
    }
    *copy = *set;
    copy->__val[SIGNAL_WORD] &= ~mask_hidden();
    return copy;
}

static int signal_refuse(void)
{
    errno = EINVAL;
    return -1;
}

// ---- handlers -----------------------------------------------------------------------------------

typedef sv_handler_fn handler_fn;

static _Atomic(handler_fn *) handlers[SV_STOP_SIGNAL]; // the program's; relaxed: one word each

__attribute__((noinline)) static void handler_pass(handler_fn *fn, int sig, siginfo_t *info,
                                                   void *context)
{
    struct sv_gate_pass pass;
    sv_gate_pass(&pass);
    fn(sig, info, context);
    sv_gate_return(&pass);
}

void sv_handler_call(sv_handler_fn *fn, int sig, siginfo_t *info, void *context)
{
    if (__builtin_expect(sv_gate_passing(), 0))
        handler_pass(fn, sig, info, context);
    else
        fn(sig, info, context);
}

// What the kernel calls. As a rule it jumps to the program's handler and leaves no trace.
static void handler_enter(int sig, siginfo_t *info, void *context)
{
    sv_handler_call(atomic_load_explicit(&handlers[sig], memory_order_relaxed), sig, info, context);
}

#define HANDLER_OURS ((__sighandler_t)(void *)handler_enter)
#define HANDLER_END ((__sighandler_t)(void *)sv_exit_signal) // for SIG_DFL, in mode=leaks

sv_handler_fn *sv_handler_of(int sig, sv_handler_fn *kernel)
{
    return kernel == handler_enter ? atomic_load_explicit(&handlers[sig], memory_order_relaxed)
                                   : kernel;
}

// One call that sets the handler of a signal, between the next two.
struct handler_set {
    int sig;
    __sighandler_t before; // what the table held
    bool written;          // and holds no more
};

// Returns what to give to the kernel in place of fn.
static __sighandler_t handler_set_begin(struct handler_set *set, int sig, __sighandler_t fn)
{
    *set = (struct handler_set){sig, NULL, false};
    if (sig <= 0 || sig >= SV_STOP_SIGNAL)
        return fn;
    set->before =
        (__sighandler_t)(void *)atomic_load_explicit(&handlers[sig], memory_order_relaxed);
    if (fn == SIG_DFL && sv_exit_signal_ends(sig) && !sv_distrust_vforked())
        return HANDLER_END;
    // with no cycles nobody goes through a gate; a vfork child has no gate and a table not its own
    if (fn == SIG_DFL || fn == SIG_IGN || fn == SIG_ERR || fn == SIG_HOLD || fn == HANDLER_OURS ||
        (sv_init_done && !sv_world_gates()) || sv_distrust_vforked())
        return fn;
    set->written = true;
    atomic_store_explicit(&handlers[sig], (handler_fn *)(void *)fn, memory_order_relaxed);
    return HANDLER_OURS;
}

// Takes what the kernel says was there before; returns what the program had set.
static __sighandler_t handler_set_end(const struct handler_set *set, bool ok, __sighandler_t was)
{
    if (!ok && set->written)
        atomic_store_explicit(&handlers[set->sig], (handler_fn *)(void *)set->before,
                              memory_order_relaxed);
    return was == HANDLER_OURS ? set->before : was == HANDLER_END ? SIG_DFL : was;
}

// The handler that stands for a default action has flags and a mask of its own; the program is told
// those that it gave.
static struct {
    int flags;
    sigset_t mask;
} end_given[SV_STOP_SIGNAL]; // one thread's or another's, as with the table above

static void end_fill(int sig, struct sigaction *act)
{
    end_given[sig].flags = act->sa_flags;
    end_given[sig].mask = act->sa_mask;
    act->sa_flags = SV_EXIT_SIGNAL_FLAGS;
    sigfillset(&act->sa_mask);
    act->sa_mask.__val[SIGNAL_WORD] &= ~mask_hidden();
}

SV_EXPORT int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
    if (sig == SV_STOP_SIGNAL) {
        return signal_refuse();
    }
    if (sig == SIGSEGV && sv_segv_ours) {
        return sv_segv_action(act, old);
    }
    sv_lend(old);
    struct handler_set set;
    struct sigaction copy = {0};
    copy.sa_handler = SIG_DFL;
    bool held = sv_segv_held(sig, act ? &act->sa_mask : NULL);
    __typeof__(*end_given) before = end_given[(unsigned)sig % SV_STOP_SIGNAL];
    if (act) {
        copy = *act;
        copy.sa_mask.__val[SIGNAL_WORD] &= ~mask_hidden();
    }
    copy.sa_handler = handler_set_begin(&set, sig, copy.sa_handler);
    if (copy.sa_handler == HANDLER_END)
        end_fill(sig, &copy);
    int result = sv_real(sigaction)(sig, act ? &copy : NULL, old);
    __sighandler_t was =
        handler_set_end(&set, result == 0, result == 0 && old ? old->sa_handler : SIG_DFL);
    if (result == 0 && old) {
        if (old->sa_handler == HANDLER_END) {
            old->sa_flags = before.flags;
            old->sa_mask = before.mask;
        }
        old->sa_handler = was;
        old->sa_mask.__val[SIGNAL_WORD] |= held ? SV_SEGV_BIT : 0;
    }
    return result;
}

SV_EXPORT_ALIAS(int __sigaction(int, const struct sigaction *, struct sigaction *), sigaction);

// signal and its kin: they differ in the flags, which the real ones set (`flags`: glibc's, where
// the real one is not asked).
static __sighandler_t handler_swap(__sighandler_t (*real)(int, __sighandler_t), int sig,
                                   __sighandler_t handler, int flags)
{
    if (sig == SV_STOP_SIGNAL) {
        (void)signal_refuse();
        return SIG_ERR;
    }
    if (sig == SIGSEGV && sv_segv_ours) {
        return sv_segv_swap(handler, flags);
    }
    struct handler_set set;
    __sighandler_t fn = handler_set_begin(&set, sig, handler);
    if (fn == HANDLER_END) {
        end_given[sig].flags = flags;
        sigemptyset(&end_given[sig].mask);
    }
    __sighandler_t was = real(sig, fn);
    return handler_set_end(&set, was != SIG_ERR, was);
}

SV_EXPORT __sighandler_t signal(int sig, __sighandler_t handler)
{
    return handler_swap(sv_real(signal), sig, handler, SA_RESTART);
}

SV_EXPORT_ALIAS(__sighandler_t bsd_signal(int, __sighandler_t), signal);
SV_EXPORT_ALIAS(__sighandler_t ssignal(int, __sighandler_t), signal);

SV_EXPORT __sighandler_t sysv_signal(int sig, __sighandler_t handler)
{
    return handler_swap(sv_real(sysv_signal), sig, handler, SA_RESETHAND | SA_NODEFER);
}

SV_EXPORT_ALIAS(__sighandler_t __sysv_signal(int, __sighandler_t), sysv_signal);

SV_EXPORT __sighandler_t sigset(int sig, __sighandler_t disp)
{
    return handler_swap(sv_real(sigset), sig, disp, 0);
}

SV_EXPORT int sigignore(int sig)
{
    if (sig == SIGSEGV && sv_segv_ours) {
        sv_segv_swap(SIG_IGN, 0);
        return 0;
    }
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

static int mask_change(int (*real)(int, const sigset_t *, sigset_t *), int how, const sigset_t *set,
                       sigset_t *old)
{
    sigset_t copy;
    sv_lend(old);
    bool any = set != NULL, segv = any && (set->__val[SIGNAL_WORD] & SV_SEGV_BIT);
    int result = real(how, mask_clean(set, &copy), old);
    if (result == 0 && sv_segv_ours) {
        sv_segv_masked(how, any, segv, old);
    }
    return result;
}

SV_EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
    return mask_change(sv_real(sigprocmask), how, set, old);
}

SV_EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    return mask_change(sv_real(pthread_sigmask), how, set, old);
}

SV_EXPORT int pthread_attr_setsigmask_np(pthread_attr_t *attr, const sigset_t *mask)
{
    sigset_t copy;
    return sv_real(pthread_attr_setsigmask_np)(attr, mask_clean(mask, &copy));
}

SV_EXPORT int sighold(int sig)
{
    if (sig == SIGSEGV && sv_segv_ours) {
        sv_segv_masked(SIG_BLOCK, true, true, NULL);
        return 0;
    }
    return sig == SV_STOP_SIGNAL ? signal_refuse() : sv_real(sighold)(sig);
}

SV_EXPORT int sigrelse(int sig)
{
    if (sig == SIGSEGV && sv_segv_ours) {
        sv_segv_masked(SIG_UNBLOCK, true, true, NULL);
        return 0;
    }
    return sig == SV_STOP_SIGNAL ? signal_refuse() : sv_real(sigrelse)(sig);
}

// ---- the alternate stack ------------------------------------------------------------------------

// Does it lie among the calling thread's own frames, or where some were? The end of a thread's
// stack that nobody knows is taken for the lowest.
static bool altstack_own(const stack_t *ss)
{
    extern void *__libc_stack_end;
    uintptr_t here = (uintptr_t)__builtin_frame_address(0), end = sv_world_me->stack_hi;
    if (gettid() == getpid())
        end = (uintptr_t)__libc_stack_end;
    return (uintptr_t)ss->ss_sp + ss->ss_size > here && (uintptr_t)ss->ss_sp < end;
}

// An array of a function that returns (asymptote's) is the stack's again afterwards: no signal that
// the program doesn't expect may be handled there.
//
// A stopped thread's signal frame names its alternate stack, which may be known to the kernel
// alone; a thread behind its gate has no such frame, so its record has to know it.
SV_EXPORT int sigaltstack(const stack_t *ss, stack_t *old)
{
    sv_lend(old);
    int result = sv_real(sigaltstack)(ss, old);
    if (result == 0 && ss && sv_world_me && !sv_distrust_vforked()) {
        sv_world_me->altstack = ss->ss_flags & SS_DISABLE ? 0 : (uintptr_t)ss->ss_sp;
        if (!(ss->ss_flags & SS_DISABLE) && altstack_own(ss))
            sv_world_altstack_avoid();
    }
    return result;
}

// ---- waits --------------------------------------------------------------------------------------

SV_EXPORT int sigsuspend(const sigset_t *mask)
{
    sigset_t copy;
    return sv_gated(sigsuspend, (mask_clean(mask, &copy)), mask);
}

SV_EXPORT_ALIAS(int __sigsuspend(const sigset_t *), sigsuspend);

SV_EXPORT int sigwait(const sigset_t *set, int *sig)
{
    sigset_t copy;
    return sv_gated(sigwait, (mask_clean(set, &copy), sig), set, sig);
}

SV_EXPORT int sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
    sigset_t copy;
    sv_lend(info);
    return sv_gated(sigwaitinfo, (mask_clean(set, &copy), info), set, info);
}

SV_EXPORT int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
    sigset_t copy;
    sv_lend(info);
    return sv_gated(sigtimedwait, (mask_clean(set, &copy), info, timeout), set, info, timeout);
}

SV_EXPORT_ALIAS(int __sigtimedwait(const sigset_t *, siginfo_t *, const struct timespec *),
                sigtimedwait);

SV_EXPORT int signalfd(int fd, const sigset_t *mask, int flags)
{
    sigset_t copy;
    return sv_real(signalfd)(fd, mask_clean(mask, &copy), flags);
}

SV_EXPORT int ppoll(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout,
                    const sigset_t *mask)
{
    sigset_t copy;
    sv_lend(fds);
    return sv_gated(ppoll, (fds, nfds, timeout, mask_clean(mask, &copy)), fds, timeout, mask);
}

int __ppoll_chk(struct pollfd *fds, nfds_t nfds, const struct timespec *timeout,
                const sigset_t *mask, size_t fdslen)
{
    sigset_t copy;
    sv_lend(fds);
    return sv_gated(__ppoll_chk, (fds, nfds, timeout, mask_clean(mask, &copy), fdslen), fds,
                    timeout, mask);
}

SV_EXPORT int pselect(int nfds, fd_set *readfds, fd_set *writefds, fd_set *exceptfds,
                      const struct timespec *timeout, const sigset_t *mask)
{
    sigset_t copy;
    sv_lend(readfds, writefds, exceptfds);
    return sv_gated(pselect, (nfds, readfds, writefds, exceptfds, timeout, mask_clean(mask, &copy)),
                    readfds, writefds, exceptfds, timeout, mask);
}

SV_EXPORT int epoll_pwait(int epfd, struct epoll_event *events, int max, int timeout,
                          const sigset_t *mask)
{
    sigset_t copy;
    sv_lend(events);
    return sv_gated(epoll_pwait, (epfd, events, max, timeout, mask_clean(mask, &copy)), events,
                    mask);
}

SV_EXPORT int epoll_pwait2(int epfd, struct epoll_event *events, int max,
                           const struct timespec *timeout, const sigset_t *mask)
{
    sigset_t copy;
    sv_lend(events);
    return sv_gated(epoll_pwait2, (epfd, events, max, timeout, mask_clean(mask, &copy)), events,
                    timeout, mask);
}
