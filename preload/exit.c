// Every way in which a process ends, and the leak check that comes before it (mode=leaks only).
//
// main's return reaches exit inside the C library, where no wrapper stands: so __libc_start_main is
// given a main of ours that calls the program's, and checks when it returns. exit, _exit, _Exit,
// quick_exit and abort are wrapped. Signals that end the process by their default action get a
// handler of ours in the kernel's table, which the program never sees (signal.c): it checks, and
// then dies of the same signal. When the last thread ends by pthread_exit, its key's destructor
// checks. What all these miss finds an exit handler that was registered before main.
//
// The check comes before every handler and destructor of the program's: what is lost then was lost
// while it ran. It is made once; who comes while it is under way (exit in another thread) waits for
// it, because the process would be gone otherwise before the report is out. exec is no end: it may
// fail. A check is made when the file can be executed, and again at the end if the program goes on
// after all. A child of fork that has allocated nothing since is not checked at exec: it is its
// parent's copy, and what the parent lost, the parent reports.
//
// With `exitcode` and leaks, exit is called with that status instead: so handlers run, streams are
// flushed, and the C library ends the process, all in its own order. Handlers of on_exit are told
// the program's own status. A process that dies of a signal dies of it.
//
// A signal may come while its thread is inside one of our locks, where no check can be made. Then
// the handler returns, and a timer sends the signal once more a moment later: that the program runs
// on until then can't be told from a signal that came later.
//
// Children of vfork and of clone are not checked: their memory is their parent's.
#include "exit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "arch.h"
#include "cache.h"
#include "cycle.h"
#include "export.h"
#include "init.h"
#include "malloc.h"
#include "options.h"
#include "os.h"
#include "real.h"
#include "report.h"
#include "segv.h"
#include "worker.h"
#include "world.h"

#define DEFER_NS 100000   // until a signal is sent again
#define DEFERS_MAX 10000u // times
#define PATH_ROOM 4096
#define BIT(sig) ((uint64_t)1 << ((sig)-1))

// A program that is annotated for LeakSanitizer may define it.
extern int __lsan_is_turned_off(void) __attribute__((weak));

enum end { END_NOT, END_CHECKING, END_CHECKED };

static struct {
    bool on;                   // const after init
    int pid;                   // const but in a forked child: of this process
    bool forked;               // const but in a forked child: it was made by fork
    uint64_t allocated;        // likewise: see allocated_now
    _Atomic uint32_t state;    // enum end; futex
    _Atomic int checker;       // thread that checks; others wait
    _Atomic uint32_t deferred; // signal handlers: times that signals were put off
    bool leaks;                // written before END_CHECKED: some are not suppressed
    bool handlers;             // the check after handlers is registered
    int status;                // exit: what the program wants, if
    bool told;                 // it is known
} end;

void sv_exit_init(void)
{
    end.on = sv_options.mode == SV_MODE_LEAKS && sv_world_gates();
    end.pid = sv_os_getpid();
    if (!end.on)
        return;
    sv_report_init();
    for (int sig = 1; sig < SV_STOP_SIGNAL; sig++) {
        struct sv_arch_sigaction now;
        if (sv_exit_signal_ends(sig) && sv_os_signal_get(sig, &now) == 0 && !now.handler)
            sv_os_signal_set_as(sig, sv_exit_signal, SV_EXIT_SIGNAL_FLAGS & ~SA_SIGINFO);
    }
}

// A number that changes when the calling thread allocates: what left the spans, and what left its
// cache. (A slot that was freed and taken again leaves no trace.)
static uint64_t allocated_now(void)
{
    uint64_t sum = atomic_load_explicit(&sv_heap.allocated, memory_order_relaxed);
    for (unsigned i = 0; i < SV_NBIN; i++)
        sum += (uintptr_t)sv_cache_self->bins[i].top * (2 * i + 1);
    return sum;
}

void sv_exit_fork_child(void)
{
    if (!end.on)
        return;
    end.pid = sv_os_getpid();
    end.forked = true;
    end.allocated = allocated_now();
    if (atomic_load_explicit(&end.state, memory_order_relaxed) == END_CHECKING)
        atomic_store_explicit(&end.state, END_NOT, memory_order_relaxed);
}

// ---- the check ----------------------------------------------------------------------------------

// Is the calling thread one of this process's, and outside of our locks?
static bool check_possible(void)
{
    return end.on && !sv_worker_here() && sv_os_getpid() == end.pid && !sv_cycle_locked_here() &&
           !sv_worker_locked_here() && sv_world_self() && sv_world_self_valid() &&
           !sv_report_here() && !(__lsan_is_turned_off && __lsan_is_turned_off());
}

// False: another thread has made it, or this one is in the midst of it.
static bool check_begin(void)
{
    uint32_t state = END_NOT;
    while (!atomic_compare_exchange_strong_explicit(&end.state, &state, END_CHECKING,
                                                    memory_order_acquire, memory_order_acquire)) {
        if (state == END_CHECKED ||
            atomic_load_explicit(&end.checker, memory_order_relaxed) == sv_os_gettid())
            return false;
        sv_os_futex_wait(&end.state, END_CHECKING, 0);
        state = END_NOT;
    }
    atomic_store_explicit(&end.checker, sv_os_gettid(), memory_order_relaxed);
    return true;
}

static void check_end(enum end state)
{
    atomic_store_explicit(&end.checker, 0, memory_order_relaxed);
    // release: end.leaks
    atomic_store_explicit(&end.state, state, memory_order_release);
    sv_os_futex_wake(&end.state, INT32_MAX);
}

// The one check of the end. Words below sp are nobody's any more.
static void check_once(enum sv_leaks_reason reason, uintptr_t sp)
{
    struct sv_report report;
    if (!check_possible() || !check_begin())
        return;
    // on request it is the worker that marks
    if (reason >= SV_LEAKS_EXIT)
        sv_worker_settle();
    sv_report_make(reason, sp, false, &report);
    if (reason >= SV_LEAKS_EXIT)
        sv_worker_unsettle();
    end.leaks = report.leaks;
    check_end(END_CHECKED);
}

// What the process ends with instead of `status`.
static int status_instead(int status)
{
    bool checked = atomic_load_explicit(&end.state, memory_order_acquire) == END_CHECKED;
    return end.on && checked && end.leaks && sv_options.exitcode && sv_os_getpid() == end.pid
               ? (int)sv_options.exitcode
               : status;
}

static int status_exit(int status)
{
    end.status = status;
    end.told = true;
    return status_instead(status);
}

// The registers that the caller of the wrapper left are looked at: they lie at the lower end of
// what counts, in the frame of the wrapper.
#define CHECK_HERE(reason)                                                                         \
    do {                                                                                           \
        struct sv_arch_saved saved_;                                                               \
        sv_arch_save(&saved_);                                                                     \
        check_once(reason, (uintptr_t)&saved_);                                                    \
        __asm__ volatile("" ::"r"(&saved_) : "memory");                                            \
    } while (0)

// ---- calls --------------------------------------------------------------------------------------

SV_EXPORT _Noreturn void exit(int status)
{
    if (end.on) {
        CHECK_HERE(SV_LEAKS_EXIT);
        status = status_exit(status);
    }
    sv_real_alone(exit)(status);
    __builtin_unreachable();
}

SV_EXPORT _Noreturn void quick_exit(int status)
{
    if (end.on) {
        CHECK_HERE(SV_LEAKS_QUICK);
        status = status_instead(status);
    }
    sv_real_alone(quick_exit)(status);
    __builtin_unreachable();
}

SV_EXPORT _Noreturn void _exit(int status)
{
    if (end.on) {
        CHECK_HERE(SV_LEAKS_EXIT_NOW);
        status = status_instead(status);
    }
    sv_real_alone(_exit)(status);
    __builtin_unreachable();
}

SV_EXPORT_ALIAS(_Noreturn void _Exit(int), _exit);

// Only where nobody catches it: a handler may jump away. Elsewhere in the C library abort is
// called without us: then the signal's handler checks.
SV_EXPORT _Noreturn void abort(void)
{
    struct sv_arch_sigaction now;
    if (end.on && sv_os_signal_get(SIGABRT, &now) == 0 && now.handler == sv_exit_signal)
        CHECK_HERE(SV_LEAKS_ABORT);
    sv_real_alone(abort)();
    __builtin_unreachable();
}

struct told { // a handler of on_exit, with the status that the program gave to exit
    void (*function)(int status, void *arg);
    void *arg;
};

static void told_run(int status, void *p)
{
    const struct told *told = p;
    told->function(end.told ? end.status : status, told->arg);
}

SV_EXPORT int on_exit(void (*function)(int status, void *arg), void *arg)
{
    if (!end.on || !sv_options.exitcode)
        return sv_real_alone(on_exit)(function, arg);
    struct told *told = sv_malloc(sizeof *told);
    if (!told)
        return -1;
    *told = (struct told){function, arg};
    int r = sv_real_alone(on_exit)(told_run, told);
    if (r != 0)
        sv_free(told);
    return r;
}

// ---- main ---------------------------------------------------------------------------------------

typedef int main_fn(int argc, char **argv, char **envp);
typedef int start_fn(main_fn *fn, int argc, char **argv, void (*init)(void), void (*fini)(void),
                     void (*rtld_fini)(void), void *stack_end);
extern int __cxa_atexit(void (*fn)(void *), void *arg, void *dso);
SV_EXPORT start_fn __libc_start_main;

static main_fn *main_real;

// For ends that nothing above sees: calls of exit inside the C library (err, error). Runs after the
// handlers that the program has registered since main began. exit in a handler goes on with those
// that are left.
static void handlers_before(void *arg)
{
    (void)arg;
    if (atomic_load_explicit(&end.state, memory_order_acquire) == END_CHECKED)
        return;
    check_once(SV_LEAKS_EXIT, (uintptr_t)__builtin_frame_address(0));
    if (end.leaks && sv_options.exitcode)
        sv_real_alone(exit)((int)sv_options.exitcode);
}

// After main nothing of it is left, and nothing below this frame is anybody's.
static int main_ours(int argc, char **argv, char **envp)
{
    __cxa_atexit(handlers_before, NULL, NULL);
    int status = main_real(argc, argv, envp);
    check_once(SV_LEAKS_EXIT, (uintptr_t)__builtin_frame_address(0));
    return status_exit(status);
}

// After all handlers and destructors: what the program dropped on its way out.
static void handlers_after(void *arg)
{
    struct sv_report report;
    (void)arg;
    if (atomic_load_explicit(&end.state, memory_order_acquire) == END_CHECKED && check_possible()) {
        sv_worker_settle();
        sv_report_make(SV_LEAKS_HANDLERS, (uintptr_t)__builtin_frame_address(0), true, &report);
        sv_worker_unsettle();
    }
}

int __libc_start_main(main_fn *fn, int argc, char **argv, void (*init)(void), void (*fini)(void),
                      void (*rtld_fini)(void), void *stack_end)
{
    start_fn *real = sv_real_alone(__libc_start_main);
    if (getenv("SALVAGE") || getenv("GC_FIND_LEAK"))
        sv_init();
    if (end.on) {
        if (sv_options.abandoned)
            __cxa_atexit(handlers_after, NULL, NULL);
        main_real = fn;
        fn = main_ours;
    }
    return real(fn, argc, argv, init, fini, rtld_fini, stack_end);
}

// ---- threads ------------------------------------------------------------------------------------

void sv_exit_thread_ended(void)
{
    if (end.on)
        check_once(SV_LEAKS_EXIT, (uintptr_t)__builtin_frame_address(0));
}

void sv_exit_now(void)
{
    if (!end.on)
        return;
    CHECK_HERE(SV_LEAKS_API);
    if (end.leaks && sv_options.exitcode)
        sv_real_alone(_exit)((int)sv_options.exitcode);
}

// ---- signals ------------------------------------------------------------------------------------

// Not those that mean a fault: the heap may be what is broken. The first process of a namespace
// survives signals that it has no handler for.
bool sv_exit_signal_ends(int sig)
{
    const uint64_t set = BIT(SIGHUP) | BIT(SIGINT) | BIT(SIGQUIT) | BIT(SIGABRT) | BIT(SIGUSR1) |
                         BIT(SIGUSR2) | BIT(SIGPIPE) | BIT(SIGALRM) | BIT(SIGTERM) |
                         BIT(SIGSTKFLT) | BIT(SIGXCPU) | BIT(SIGXFSZ) | BIT(SIGVTALRM) |
                         BIT(SIGPROF) | BIT(SIGIO) | BIT(SIGPWR);
    return end.on && sig > 0 && sig < 32 && (set & BIT(sig)) && end.pid != 1;
}

static void signal_die(int sig, siginfo_t *info)
{
    sv_os_signal_default(sig);
    if (sv_os_signal_again(sig, info) != 0)
        sv_os_tgkill(sv_os_getpid(), sv_os_gettid(), sig);
    sv_os_signal_mask(SIG_UNBLOCK, BIT(sig), NULL);
}

// Has the thread interrupted one of our locks? Then the signal comes again, and true is returned.
static bool signal_defer(int sig, const siginfo_t *info)
{
    if (info->si_code == SI_TIMER)
        sv_arch_syscall(SYS_timer_delete, info->si_timerid, 0, 0, 0, 0, 0);
    if (sig == SIGABRT || (!sv_cycle_locked_here() && !sv_worker_locked_here()) ||
        atomic_fetch_add_explicit(&end.deferred, 1, memory_order_relaxed) >= DEFERS_MAX)
        return false;
    int timer = 0;
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = sig};
    event._sigev_un._tid = sv_os_gettid();
    struct itimerspec when = {.it_value = {0, DEFER_NS}};
    return sv_arch_syscall(SYS_timer_create, CLOCK_MONOTONIC, (long)&event, (long)&timer, 0, 0,
                           0) == 0 &&
           sv_arch_syscall(SYS_timer_settime, timer, 0, (long)&when, 0, 0, 0) == 0;
}

// The interrupted registers lie in the signal's frame: above this on the same stack, or on the
// alternate one.
static uintptr_t signal_sp(const void *context)
{
    const ucontext_t *uc = context;
    uintptr_t at = (uintptr_t)context;
    bool alternate = at - (uintptr_t)uc->uc_stack.ss_sp < uc->uc_stack.ss_size;
    return alternate ? sv_arch_context_sp(uc) - SV_ARCH_RED_ZONE : at;
}

static void signal_end(int sig, siginfo_t *info, void *context)
{
    int saved = errno;
    if (sv_os_getpid() == end.pid) {
        if (signal_defer(sig, info)) {
            errno = saved;
            return;
        }
        check_once(sig == SIGABRT ? SV_LEAKS_ABORT : SV_LEAKS_SIGNAL, signal_sp(context));
    }
    signal_die(sig, info);
    errno = saved;
}

void sv_exit_signal(int sig, siginfo_t *info, void *context)
{
    sv_handler_call(signal_end, sig, info, context);
}

// ---- exec ---------------------------------------------------------------------------------------

static bool file_runs(int dirfd, const char *path)
{
    struct stat st;
    return sv_arch_syscall(SYS_newfstatat, dirfd, (long)path, (long)&st, AT_EMPTY_PATH, 0, 0) ==
               0 &&
           S_ISREG(st.st_mode) && (st.st_mode & 0111) &&
           (!*path || sv_arch_syscall(SYS_faccessat, dirfd, (long)path, X_OK, 0, 0, 0) == 0);
}

// As execvp looks for it.
static bool file_found(const char *name)
{
    char path[PATH_ROOM];
    const char *folder = getenv("PATH");
    size_t n = strlen(name), length;
    for (folder = folder ? folder : "/bin:/usr/bin"; n; folder += length + 1) {
        length = strcspn(folder, ":");
        if (length + n + 2 <= sizeof path) {
            memcpy(path, folder, length);
            path[length] = '/';
            memcpy(path + length + (length > 0), name, n + 1);
            if (file_runs(AT_FDCWD, path))
                return true;
        }
        if (!folder[length])
            return false;
    }
    return false;
}

void sv_exit_exec(int dirfd, const char *path, bool search)
{
    struct sv_report report;
    if (!end.on || !path || (end.forked && allocated_now() == end.allocated) || !check_possible())
        return;
    int saved = errno;
    bool runs = search && !strchr(path, '/') ? file_found(path) : file_runs(dirfd, path);
    if (runs && check_begin()) {
        struct sv_arch_saved regs;
        sv_arch_save(&regs);
        sv_worker_settle();
        sv_report_make(SV_LEAKS_EXEC, (uintptr_t)&regs, false, &report);
        sv_worker_unsettle();
        __asm__ volatile("" ::"r"(&regs) : "memory");
        check_end(END_NOT);
    }
    errno = saved;
}
