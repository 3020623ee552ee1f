// The program's SIGSEGV while the kernel has ours (core/protect.h). A write to a page that is
// watched ends here; every other SIGSEGV is the program's: its handler is called with its mask, on
// the stack it asked for (ours is installed with its SA_ONSTACK and SA_RESTART); SIG_DFL, and
// SIG_IGN for a fault, end the process as the kernel would, by the same signal with the same
// siginfo, at the same instruction.
//
// What differs for the program:
// - SIGSEGV is never blocked, because the kernel kills who writes to a watched page with SIGSEGV
//   blocked. Each thread's own mask is remembered, so that what it set is what it is told; but a
//   SIGSEGV that was sent comes at once, and a mask that comes back with siglongjmp or setcontext,
//   or is inherited by a thread or a new program, isn't remembered.
// - For the same reason a fault inside the program's handler calls it again, SA_NODEFER or not.
// - A new program starts with SIG_DFL where SIG_IGN was set.
// - Not seen: rt_sigaction and rt_sigprocmask through syscall(2), sigblock and sigsetmask, and
//   threads that libc starts with all signals blocked (POSIX AIO, SIGEV_THREAD). With another
//   handler in the kernel nothing is watched any more, but one that comes in the middle of a cycle
//   gets our faults.
//
// Nothing is locked: the fields of the table are words, and two threads that set the handler at the
// same time may see one's flags with the other's function. A vfork child's calls change nothing:
// the table is its parent's, and exec resets the handler.
#include "segv.h"

#include <stdatomic.h>
#include <stdint.h>
#include <ucontext.h>

#include "arch.h"
#include "distrust.h"
#include "os.h"
#include "protect.h"
#include "world.h"

#define STOP_BIT ((uint64_t)1 << (SV_STOP_SIGNAL - 1))

static struct {
    _Atomic(__sighandler_t) handler; // the program's
    _Atomic uint64_t mask;           // the program's
    _Atomic int flags;               // the program's
    _Atomic uint64_t held;           // a bit a signal: its handler's mask has SIGSEGV
} segv;

bool sv_segv_ours;

static __thread bool segv_blocked
    __attribute__((tls_model("initial-exec"))); // as the thread set it

// What the kernel does for who hasn't a handler.
static void segv_die(siginfo_t *info)
{
    sv_os_signal_default(SIGSEGV);
    sv_os_signal_again(SIGSEGV, info); // comes when this handler returns
}

// Entered with everything blocked.
static void segv_handler(int sig, siginfo_t *info, void *context)
{
    if (sv_protect_fault(info))
        return;
    __sighandler_t handler = atomic_load_explicit(&segv.handler, memory_order_relaxed);
    int flags = atomic_load_explicit(&segv.flags, memory_order_relaxed);
    bool sent = info->si_code <= 0;
    if (handler == SIG_IGN && sent)
        return;
    if (handler == SIG_DFL || handler == SIG_IGN) {
        segv_die(info);
        return;
    }
    if (flags & (int)SA_RESETHAND)
        atomic_store_explicit(&segv.handler, SIG_DFL, memory_order_relaxed);
    const ucontext_t *uc = context;
    uint64_t mask = uc->uc_sigmask.__val[0];
    mask |= atomic_load_explicit(&segv.mask, memory_order_relaxed);
    sv_os_signal_mask(SIG_SETMASK, mask & ~(SV_SEGV_BIT | STOP_BIT), NULL);
    sv_handler_call((sv_handler_fn *)(void *)handler, sig, info, context);
}

static bool segv_ready(void)
{
    struct sv_arch_sigaction action;
    return sv_os_signal_get(SIGSEGV, &action) == 0 && action.handler == segv_handler;
}

// With those of the program's flags that matter to who enters: where, and what it interrupts.
static int segv_install(__sighandler_t handler, int flags)
{
    if (handler == SIG_DFL || handler == SIG_IGN)
        flags = SA_ONSTACK | SA_RESTART;
    return sv_os_signal_set_as(SIGSEGV, segv_handler, flags & (SA_ONSTACK | SA_RESTART));
}

static void segv_put(__sighandler_t handler, int flags, uint64_t mask)
{
    atomic_store_explicit(&segv.mask, mask, memory_order_relaxed);
    atomic_store_explicit(&segv.flags, flags | SV_ARCH_SA_RESTORER, memory_order_relaxed);
    atomic_store_explicit(&segv.handler, handler, memory_order_relaxed);
}

void sv_segv_init(void)
{
    struct sv_arch_sigaction was;
    if (sv_os_signal_get(SIGSEGV, &was) != 0)
        return;
    __sighandler_t handler = (__sighandler_t)(void *)sv_handler_of(SIGSEGV, was.handler);
    segv_put(handler, (int)was.flags, was.mask);
    sv_os_signal_mask(SIG_UNBLOCK, SV_SEGV_BIT, NULL);
    if (segv_install(handler, (int)was.flags) != 0)
        return;
    sv_protect_ready = segv_ready;
    sv_protect_on = true;
    sv_segv_ours = true;
}

int sv_segv_action(const struct sigaction *act, struct sigaction *old)
{
    struct sigaction is = {0}, to = {0};
    is.sa_handler = atomic_load_explicit(&segv.handler, memory_order_relaxed);
    is.sa_flags = atomic_load_explicit(&segv.flags, memory_order_relaxed);
    is.sa_mask.__val[0] = atomic_load_explicit(&segv.mask, memory_order_relaxed);
    if (act)
        to = *act;
    if (old)
        *old = is;
    if (!act || sv_distrust_vforked())
        return 0;
    segv_put(to.sa_handler, to.sa_flags, to.sa_mask.__val[0] & ~STOP_BIT);
    return segv_install(to.sa_handler, to.sa_flags);
}

__sighandler_t sv_segv_swap(__sighandler_t handler, int flags)
{
    struct sigaction act = {0}, old;
    if (handler == SIG_HOLD) {
        sv_segv_masked(SIG_BLOCK, true, true, NULL);
        return atomic_load_explicit(&segv.handler, memory_order_relaxed);
    }
    act.sa_handler = handler;
    act.sa_flags = flags;
    act.sa_mask.__val[0] = flags & SA_NODEFER ? 0 : SV_SEGV_BIT;
    sv_segv_action(&act, &old);
    return old.sa_handler;
}

void sv_segv_masked(int how, bool any, bool set, sigset_t *old)
{
    if (old && segv_blocked)
        old->__val[0] |= SV_SEGV_BIT;
    if (any && (how == SIG_SETMASK || set))
        segv_blocked = set && how != SIG_UNBLOCK;
}

bool sv_segv_held(int sig, const sigset_t *mask)
{
    if (!sv_segv_ours || sig <= 0 || sig > 64)
        return false;
    uint64_t bit = (uint64_t)1 << (sig - 1);
    bool was = atomic_load_explicit(&segv.held, memory_order_relaxed) & bit;
    if (mask && (mask->__val[0] & SV_SEGV_BIT))
        atomic_fetch_or_explicit(&segv.held, bit, memory_order_relaxed);
    else if (mask)
        atomic_fetch_and_explicit(&segv.held, ~bit, memory_order_relaxed);
    return was;
}
