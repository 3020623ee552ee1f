// The stop signal is hidden: a program can't handle, block, wait for or count signal 64, and for
// every other signal all functions do what they did. What the kernel holds is read from /proc,
// because a mask that is read back through libc would pass through the same wrappers.
#include "check.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <time.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define STOP 64
#define BIT(sig) (1ul << ((sig)-1))

int __libc_allocate_rtsig(int high);
int __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t);

static unsigned long kernel_mask(void)
{
    unsigned long mask = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof mask);
    return mask;
}

static sigset_t full(void)
{
    sigset_t set;
    sigfillset(&set);
    return set;
}

static void refused(void)
{
    struct sigaction act = {.sa_handler = SIG_IGN};
    struct sigaction old;
#define REFUSED(call, bad)                                                                         \
    do {                                                                                           \
        errno = 0;                                                                                 \
        CHECK((call) == (bad) && errno == EINVAL, "%s: errno %d", #call, errno);                   \
    } while (0)
    REFUSED(sigaction(STOP, &act, NULL), -1);
    REFUSED(sigaction(STOP, NULL, &old), -1);
    REFUSED(signal(STOP, SIG_IGN), SIG_ERR);
    REFUSED(ssignal(STOP, SIG_IGN), SIG_ERR);
    REFUSED(sysv_signal(STOP, SIG_IGN), SIG_ERR);
    REFUSED(sigset(STOP, SIG_IGN), SIG_ERR);
    REFUSED(sigset(STOP, SIG_HOLD), SIG_ERR);
    REFUSED(sighold(STOP), -1);
    REFUSED(sigrelse(STOP), -1);
    REFUSED(sigignore(STOP), -1);
    REFUSED(siginterrupt(STOP, 1), -1);
}

static void range(void)
{
    CHECK(SIGRTMAX == STOP - 1, "SIGRTMAX is %d", SIGRTMAX);
    int last = SIGRTMAX;
    for (int sig; (sig = __libc_allocate_rtsig(0)) > 0; last = sig)
        CHECK(sig <= last && sig != STOP, "allocated %d after %d", sig, last);
}

// Whether errno stays, whether the kernel's mask has all but ours, and whether ours is read back.
static void masks(void)
{
    sigset_t set = full(), before = set, old;
    unsigned long all = ~(BIT(SIGKILL) | BIT(SIGSTOP) | BIT(STOP) | BIT(32) | BIT(33));
    errno = 77;
    CHECK(sigprocmask(SIG_SETMASK, &set, NULL) == 0 && errno == 77, "sigprocmask");
    CHECK(kernel_mask() == all, "sigprocmask: mask %lx", kernel_mask());
    CHECK(memcmp(&set, &before, sizeof set) == 0, "sigprocmask changed the caller's set");
    CHECK(sigprocmask(SIG_BLOCK, NULL, &old) == 0 && !sigismember(&old, STOP), "it is read back");
    sigemptyset(&old);
    sigprocmask(SIG_SETMASK, &old, NULL);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0 && errno == 77, "pthread_sigmask");
    CHECK(kernel_mask() == all, "pthread_sigmask: mask %lx", kernel_mask());
    CHECK(sigprocmask(99, &set, NULL) == -1 && errno == EINVAL, "a wrong `how`");
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static volatile unsigned long seen_mask;

static void handler(int sig)
{
    (void)sig;
    seen_mask = kernel_mask();
}

static void handler_masks(void)
{
    struct sigaction act = {.sa_handler = handler, .sa_flags = SA_RESTART, .sa_mask = full()}, old;
    CHECK(sigaction(SIGUSR1, &act, NULL) == 0, "sigaction");
    CHECK(sigismember(&act.sa_mask, STOP), "sigaction changed the caller's set");
    raise(SIGUSR1);
    CHECK(!(seen_mask & BIT(STOP)) && seen_mask & BIT(63) && seen_mask & BIT(SIGUSR2), "mask %lx",
          seen_mask);
    CHECK(sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == handler, "the handler");
    CHECK(old.sa_flags & SA_RESTART && !sigismember(&old.sa_mask, STOP), "flags and mask");
    CHECK(sigismember(&old.sa_mask, 63), "the rest of the mask");
}

static void *thread_mask(void *arg)
{
    *(unsigned long *)arg = kernel_mask();
    return NULL;
}

static void attribute(void)
{
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t set = full();
    unsigned long mask = 0;
    pthread_attr_init(&attr);
    CHECK(pthread_attr_setsigmask_np(&attr, &set) == 0, "pthread_attr_setsigmask_np");
    CHECK(pthread_create(&thread, &attr, thread_mask, &mask) == 0, "pthread_create");
    pthread_join(thread, NULL);
    CHECK(!(mask & BIT(STOP)) && mask & BIT(63), "mask %lx", mask);
}

// ---- waits: another thread reads in /proc what the waiting one blocks ---------------------------

static _Atomic int waiter_tid;

// SigBlk of the waiter while it sleeps in its call: until then the thread here looks again.
static unsigned long waiting_mask(void)
{
    char path[64], text[4096];
    for (;;) {
        snprintf(path, sizeof path, "/proc/self/task/%d/status", atomic_load(&waiter_tid));
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        check_slurp(fd, text, sizeof text);
        close(fd);
        const char *state = strstr(text, "State:\t"), *mask = strstr(text, "SigBlk:\t");
        if (state && mask && state[7] == 'S' && atomic_load(&waiter_tid))
            return strtoul(mask + 8, NULL, 16);
        sched_yield();
    }
}

static const struct wait_case {
    const char *name;
    int (*call)(const sigset_t *set);
} wait_cases[];

static void *waiter(void *arg)
{
    const struct wait_case *c = arg;
    sigset_t set = full();
    sigdelset(&set, SIGUSR1);
    sigdelset(&set, SIGALRM);
    sigdelset(&set, SIGTERM);
    atomic_store(&waiter_tid, (int)syscall(SYS_gettid));
    return (void *)(intptr_t)c->call(&set);
}

static int do_sigsuspend(const sigset_t *set)
{
    return sigsuspend(set);
}

static int do_ppoll(const sigset_t *set)
{
    return ppoll(NULL, 0, NULL, set);
}

static int do_ppoll_chk(const sigset_t *set)
{
    return __ppoll_chk(NULL, 0, NULL, set, 0);
}

static int do_pselect(const sigset_t *set)
{
    return pselect(0, NULL, NULL, NULL, NULL, set);
}

static int do_epoll_pwait(const sigset_t *set)
{
    struct epoll_event event;
    return epoll_pwait(epoll_create1(0), &event, 1, -1, set);
}

static int do_epoll_pwait2(const sigset_t *set)
{
    struct epoll_event event;
    return epoll_pwait2(epoll_create1(0), &event, 1, NULL, set);
}

static const struct wait_case wait_cases[] = {
    {"sigsuspend", do_sigsuspend},   {"ppoll", do_ppoll},
    {"__ppoll_chk", do_ppoll_chk},   {"pselect", do_pselect},
    {"epoll_pwait", do_epoll_pwait}, {"epoll_pwait2", do_epoll_pwait2},
};

// Each is left by cancellation, which has to work through the wrapper.
static void waits(void)
{
    for (size_t i = 0; i < sizeof wait_cases / sizeof *wait_cases; i++) {
        pthread_t thread;
        void *result;
        atomic_store(&waiter_tid, 0);
        pthread_create(&thread, NULL, waiter, (void *)&wait_cases[i]);
        unsigned long mask = waiting_mask();
        // Before its call the thread blocks nothing and may sleep on a lock.
        while (!(mask & BIT(63))) {
            sched_yield();
            mask = waiting_mask();
        }
        CHECK(!(mask & BIT(STOP)), "%s blocks it: %lx", wait_cases[i].name, mask);
        CHECK(mask & BIT(SIGUSR2) && !(mask & BIT(SIGUSR1)), "%s: %lx", wait_cases[i].name, mask);
        pthread_cancel(thread);
        pthread_join(thread, &result);
        CHECK(result == PTHREAD_CANCELED, "%s isn't cancelled", wait_cases[i].name);
    }
}

// A wait for every signal takes those of the program.
static void taken(void)
{
    sigset_t set = full();
    siginfo_t info;
    int sig = 0;
    struct timespec zero = {0};
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGUSR1);
    CHECK(sigwait(&set, &sig) == 0 && sig == SIGUSR1, "sigwait: %d", sig);
    union sigval value = {.sival_int = 4711};
    CHECK(sigqueue(getpid(), 63, value) == 0, "sigqueue");
    CHECK(sigwaitinfo(&set, &info) == 63 && info.si_value.sival_int == 4711, "sigwaitinfo");
    errno = 0;
    CHECK(sigtimedwait(&set, &info, &zero) == -1 && errno == EAGAIN, "sigtimedwait: %d", errno);
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
    int info_fd = open(path, O_RDONLY | O_CLOEXEC);
    check_slurp(info_fd, text, sizeof text);
    const char *mask = strstr(text, "sigmask:\t");
    CHECK(!check_salvage() || (mask && !(strtoul(mask + 9, NULL, 16) & BIT(STOP))),
          "signalfd takes it: %s", text);
    CHECK(mask && strtoul(mask + 9, NULL, 16) & BIT(63), "signalfd: %s", text);
    raise(SIGUSR2);
    struct signalfd_siginfo got;
    CHECK(read(fd, &got, sizeof got) == sizeof got && got.ssi_signo == SIGUSR2, "signalfd's read");
}

// The other functions on signals, for signals of the program.
static void unchanged(void)
{
    struct sigaction old;
    CHECK(signal(SIGUSR1, handler) == SIG_DFL && signal(SIGUSR1, SIG_DFL) == handler, "signal");
    sigaction(SIGUSR1, NULL, &old);
    CHECK(old.sa_flags & SA_RESTART, "signal is BSD's");
    CHECK(sysv_signal(SIGUSR1, handler) == SIG_DFL, "sysv_signal");
    sigaction(SIGUSR1, NULL, &old);
    CHECK(old.sa_flags & SA_RESETHAND, "sysv_signal is System V's");
    CHECK(sigset(SIGUSR2, handler) == SIG_DFL && sigset(SIGUSR2, SIG_HOLD) == handler, "sigset");
    CHECK(kernel_mask() == BIT(SIGUSR2), "sigset holds");
    CHECK(sigrelse(SIGUSR2) == 0 && kernel_mask() == 0, "sigrelse");
    CHECK(sighold(SIGUSR2) == 0 && kernel_mask() == BIT(SIGUSR2), "sighold");
    CHECK(sigignore(SIGUSR1) == 0 && siginterrupt(SIGUSR2, 1) == 0, "sigignore, siginterrupt");
}

int main(void)
{
    if (check_salvage()) {
        check_case("refused", refused, 30);
        check_case("range", range, 30);
        check_case("masks", masks, 30);
        check_case("handler_masks", handler_masks, 30);
        check_case("attribute", attribute, 30);
        check_case("waits", waits, 60);
    }
    check_case("taken", taken, 30);
    check_case("unchanged", unchanged, 30);
    return check_done();
}
