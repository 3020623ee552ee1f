// The gate from the program's side: handlers that come to threads which wait in the kernel,
// cancellation, vfork, and many sleepers, while another thread collects all the time. Whoever runs
// code of the program's holds objects on its stack alone and looks at them again and again: a
// thread that the collector takes for asleep loses them at once.
//
// SALVAGE: clobber=1
// SALVAGE: clobber=1,checkmark=1
#include "lib/waits.h"

#include "check.h"

#include <setjmp.h>
#include <sys/syscall.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define HELD 24
#define JUMPS 40
#define NESTS 15

__sighandler_t bsd_signal(int sig, __sighandler_t handler);

static pthread_t collector_thread;
static _Atomic bool collector_stop;
static _Atomic unsigned collections;

static void *collector(void *arg)
{
    while (!atomic_load(&collector_stop)) {
        salvage_collect();
        atomic_fetch_add(&collections, 1);
    }
    return arg;
}

static void collector_start(void)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    atomic_store(&collector_stop, false);
    pthread_create(&collector_thread, NULL, collector, NULL);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void collector_end(void)
{
    struct salvage_stats s;
    atomic_store(&collector_stop, true);
    pthread_join(collector_thread, NULL);
    salvage_stats(&s);
    CHECK(s.cycles > 0, "no collection was made");
}

// Objects that only this frame holds, for `rounds` collections.
static witness_noinline bool hold_here(unsigned rounds)
{
    unsigned char *volatile held[HELD];
    for (int i = 0; i < HELD; i++) {
        held[i] = malloc(400);
        check_fill(held[i], 400, (unsigned)i);
    }
    unsigned until = atomic_load(&collections) + rounds;
    bool whole = true;
    while (whole && (int)(until - atomic_load(&collections)) > 0)
        for (int i = 0; i < HELD; i++)
            whole = whole && check_pattern(held[i], 400, 400, (unsigned)i);
    for (int i = 0; i < HELD; i++)
        free(held[i]);
    return whole;
}

static void handler_set(int sig, void (*fn)(int), int flags)
{
    struct sigaction sa = {.sa_handler = fn, .sa_flags = flags};
    sigaction(sig, &sa, NULL);
}

// Further down than any call that waits: a scan that began there would miss it.
static witness_noinline bool hold(unsigned rounds)
{
    volatile char room[4096];
    room[0] = 0;
    bool whole = hold_here(rounds);
    room[4095] = 0;
    return whole;
}

// ---- what the program is told of its handlers ---------------------------------------------------

static volatile sig_atomic_t came, came_value;
static void *volatile came_context;

static void one(int sig)
{
    came = sig;
}

static void other(int sig)
{
    came = -sig;
}

static void three(int sig, siginfo_t *info, void *context)
{
    came = sig;
    came_value = info->si_value.sival_int;
    came_context = context;
}

static void told(void)
{
    struct sigaction sa = {.sa_handler = one, .sa_flags = SA_RESTART | SA_NODEFER}, old;
    sigaddset(&sa.sa_mask, SIGUSR2);
    CHECK(sigaction(SIGUSR1, &sa, &old) == 0 && old.sa_handler == SIG_DFL, "the first");
    CHECK(sigaction(SIGUSR1, NULL, &old) == 0 && old.sa_handler == one, "asked");
    CHECK((old.sa_flags & ~0x04000000) == (SA_RESTART | SA_NODEFER), "flags %x", old.sa_flags);
    CHECK(sigismember(&old.sa_mask, SIGUSR2) && !sigismember(&old.sa_mask, SIGHUP), "mask");
    CHECK(signal(SIGUSR1, other) == one && signal(SIGUSR1, SIG_IGN) == other, "signal");
    CHECK(raise(SIGUSR1) == 0 && came == 0, "an ignored signal comes");
    CHECK(sigaction(SIGUSR1, &old, &sa) == 0 && sa.sa_handler == SIG_IGN, "SIG_IGN is told");
    raise(SIGUSR1);
    CHECK(came == SIGUSR1, "what was there before is set again, and not called");
    CHECK(sigaction(SIGUSR1, &old, &sa) == 0 && sa.sa_handler == one, "the same again");
    CHECK(bsd_signal(SIGUSR1, SIG_DFL) == one, "bsd_signal");
    CHECK(sigaction(SIGUSR1, NULL, &sa) == 0 && sa.sa_handler == SIG_DFL, "SIG_DFL is told");
    errno = 0;
    CHECK(sigaction(SIGKILL, &old, NULL) == -1 && errno == EINVAL, "SIGKILL");
    CHECK(sigaction(0, &old, NULL) == -1 && sigaction(65, &old, NULL) == -1, "0 and 65");
    CHECK(signal(SIGKILL, one) == SIG_ERR && sigset(99, one) == SIG_ERR, "signal of none");

    struct sigaction full = {.sa_sigaction = three, .sa_flags = SA_SIGINFO | SA_RESETHAND};
    union sigval value = {.sival_int = 4711};
    sigaction(SIGUSR2, &full, NULL);
    sigaction(SIGUSR2, NULL, &old);
    CHECK(old.sa_flags & SA_SIGINFO && old.sa_sigaction == three, "SA_SIGINFO is told");
    sigqueue(getpid(), SIGUSR2, value);
    CHECK(came == SIGUSR2 && came_value == 4711 && came_context, "its three arguments");
    sigaction(SIGUSR2, NULL, &old);
    CHECK(old.sa_handler == SIG_DFL, "SA_RESETHAND");
    CHECK(sysv_signal(SIGUSR2, one) == SIG_DFL && raise(SIGUSR2) == 0, "sysv_signal");
    CHECK(came == SIGUSR2 && signal(SIGUSR2, SIG_DFL) == SIG_DFL, "it is called once");
    CHECK(sigset(SIGHUP, one) == SIG_DFL && sigset(SIGHUP, SIG_HOLD) == one, "sigset");
    CHECK(sigset(SIGHUP, other) == SIG_HOLD && signal(SIGHUP, SIG_DFL) == other, "sigset held");
}

// A vfork child that sets its signals for the next program changes nothing in its parent.
static void told_vfork(void)
{
    struct sigaction old, dfl = {.sa_handler = SIG_DFL};
    signal(SIGUSR1, one);
    signal(SIGUSR2, one);
    pid_t pid = vfork();
    if (pid == 0) {
        // it may, on Linux, and shells do
        sigaction(SIGUSR1, &dfl, NULL); // NOLINT(clang-analyzer-unix.Vfork)
        signal(SIGUSR2, other);         // NOLINT(clang-analyzer-unix.Vfork)
        _exit(0);
    }
    check_wait(pid);
    sigaction(SIGUSR1, NULL, &old);
    CHECK(old.sa_handler == one && raise(SIGUSR1) == 0 && came == SIGUSR1, "SIG_DFL in a child");
    CHECK(raise(SIGUSR2) == 0 && came == SIGUSR2, "a handler in a child");
}

// ---- handlers while the thread waits ------------------------------------------------------------

static sigjmp_buf jump;
static int waits_pipe[2];
static _Atomic int rounds_done, rounds_bad, handled;
static _Atomic pid_t waits_tid;

static void jump_handler(int sig)
{
    (void)sig;
    siglongjmp(jump, 1);
}

static void *jumper(void *arg)
{
    char c;
    for (volatile int i = 0; i < JUMPS; i++) {
        if (sigsetjmp(jump, 1) == 0) {
            atomic_store(&waits_tid, gettid());
            while (read(waits_pipe[0], &c, 1) < 0)
                ;
        }
        atomic_store(&waits_tid, 0);
        atomic_fetch_add(&rounds_bad, !hold(4));
        atomic_fetch_add(&rounds_done, 1);
    }
    return arg;
}

// A signal only when the thread is about to wait, or waits: its jump leads to nowhere else.
static void signal_waiting(pthread_t thread, int sig)
{
    int before = atomic_load(&rounds_done);
    while (atomic_load(&waits_tid) == 0 && atomic_load(&rounds_done) == before)
        sched_yield();
    pthread_kill(thread, sig);
    while (atomic_load(&rounds_done) == before)
        sched_yield();
}

static void jumps(void)
{
    pthread_t thread;
    WITNESS_NEED(pipe(waits_pipe) == 0, "pipe");
    handler_set(SIGUSR1, jump_handler, 0);
    collector_start();
    pthread_create(&thread, NULL, jumper, NULL);
    for (int i = 0; i < JUMPS; i++)
        signal_waiting(thread, SIGUSR1);
    pthread_join(thread, NULL);
    collector_end();
    CHECK(rounds_bad == 0, "%d of %d times objects were lost after a jump", rounds_bad, JUMPS);
}

static void nested_handler(int sig)
{
    (void)sig;
    atomic_fetch_add(&rounds_bad, !hold(2));
}

static void nesting_handler(int sig)
{
    int saved = errno;
    struct timespec t = {0, 100000};
    (void)sig;
    atomic_fetch_add(&rounds_bad, !hold(2));
    raise(SIGUSR2);
    poll(NULL, 0, 1);
    nanosleep(&t, NULL);
    atomic_fetch_add(&rounds_bad, !hold(2));
    atomic_fetch_add(&handled, 1);
    errno = saved;
}

static void *nester(void *alt)
{
    char c;
    stack_t ss = {.ss_sp = alt, .ss_size = 65536};
    if (alt)
        sigaltstack(&ss, NULL);
    unsigned char *own = malloc(400);
    check_fill(own, 400, 99);
    for (int i = 0; i < NESTS; i++) {
        ssize_t n = read(waits_pipe[0], &c, 1);
        atomic_fetch_add(&rounds_bad, n != -1 || errno != EINTR);
        atomic_fetch_add(&rounds_done, 1);
    }
    CHECK(check_pattern(own, 400, 400, 99), "what the waiting thread held is lost");
    free(own);
    return NULL;
}

// The handler comes again until it has come in the thread's call.
static void nests(bool alt)
{
    pthread_t thread;
    void *stack = alt ? malloc(65536) : NULL;
    WITNESS_NEED(pipe(waits_pipe) == 0, "pipe");
    handler_set(SIGUSR1, nesting_handler, alt ? SA_ONSTACK : 0);
    handler_set(SIGUSR2, nested_handler, alt ? SA_ONSTACK : 0);
    collector_start();
    pthread_create(&thread, NULL, nester, stack);
    for (int i = 0; i < NESTS; i++) {
        while (atomic_load(&rounds_done) == i) {
            struct timespec t = {0, 2000000};
            int before = atomic_load(&handled);
            pthread_kill(thread, SIGUSR1);
            while (atomic_load(&handled) == before)
                sched_yield();
            nanosleep(&t, NULL); // the next one would come before the call has returned
        }
    }
    pthread_join(thread, NULL);
    collector_end();
    CHECK(rounds_bad == 0, "%d times something was lost or not interrupted", rounds_bad);
}

static void nests_plain(void)
{
    nests(false);
}

static void nests_altstack(void)
{
    nests(true);
}

// ---- cancellation -------------------------------------------------------------------------------

static void cleanup(void *arg)
{
    (void)arg;
    atomic_fetch_add(&rounds_bad, !hold(3));
}

static void *cancel_thread(void *arg)
{
    struct waiter *w = arg;
    pthread_cleanup_push(cleanup, NULL);
    atomic_store_explicit(&w->tid, gettid(), memory_order_seq_cst);
    int rc = rows[w - waiters].block(w);
    atomic_store_explicit(&w->result, rc, memory_order_seq_cst);
    pthread_cleanup_pop(0);
    return NULL;
}

static void cancels(void)
{
    signal_prepare(NULL);
    collector_start();
    for (size_t i = 0; i < ROWS; i++) {
        struct waiter *w = &waiters[i];
        void *value = NULL;
        if (!(rows[i].flags & WAITS_CANCEL))
            continue;
        w->result = -1;
        rows[i].prepare(w);
        WITNESS_NEED(pthread_create(&w->thread, NULL, cancel_thread, w) == 0, "pthread_create");
        if (i % 4 != 0) // else it is cancelled on its way, or before it began
            row_await(w);
        pthread_cancel(w->thread);
        pthread_join(w->thread, &value);
        CHECK(value == PTHREAD_CANCELED, "%s isn't cancelled", rows[i].name);
        CHECK(rounds_bad == 0, "objects of %s's clean-up are lost", rows[i].name);
        rounds_bad = 0;
        if (w->child)
            kill(w->child, SIGKILL), check_wait(w->child);
        if (rows[i].clean)
            rows[i].clean(w);
    }
    collector_end();
}

// ---- vfork --------------------------------------------------------------------------------------

static _Atomic pid_t vfork_child;

static witness_noinline pid_t vfork_wait(void)
{
    char c;
    pid_t pid = vfork();
    if (pid == 0) {
        // its parent stands still, who else would tell?
        pid_t self = (pid_t)syscall(SYS_getpid); // NOLINT(clang-analyzer-unix.Vfork)
        atomic_store(&vfork_child, self);
        _exit(read(waits_pipe[0], &c, 1) == 1);
    }
    return pid;
}

static void *vforker(void *arg)
{
    pid_t pid = vfork_wait();
    atomic_fetch_add(&rounds_bad, !hold(8));
    check_wait(pid);
    return arg;
}

// A vfork child that dies in the middle of a call.
static void vforks(void)
{
    pthread_t thread;
    WITNESS_NEED(pipe(waits_pipe) == 0, "pipe");
    pthread_create(&thread, NULL, vforker, NULL);
    while (atomic_load(&vfork_child) == 0)
        sched_yield();
    task_await(vfork_child, NULL);
    kill(vfork_child, SIGKILL);
    collector_start();
    pthread_join(thread, NULL);
    collector_end();
    CHECK(rounds_bad == 0, "objects of the parent are lost");
}

// ---- many ---------------------------------------------------------------------------------------

#define MANY 500
#define AWAKE 20

static pthread_mutex_t many_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t many_cond = PTHREAD_COND_INITIALIZER;
static sem_t many_sem;
static bool many_over;
static _Atomic int many_ready;

static void many_wait(size_t i)
{
    char c;
    struct pollfd p = {waits_pipe[0], POLLIN, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(waits_pipe[0], &set);
    switch (i % 5) {
    case 0:
        CHECK(poll(&p, 1, -1) == 1, "poll: %d", errno);
        break;
    case 1:
        CHECK(read(waits_pipe[0], &c, 1) == 0, "read: %d", errno);
        break;
    case 2:
        CHECK(sem_wait(&many_sem) == 0, "sem_wait: %d", errno);
        break;
    case 3:
        CHECK(select(waits_pipe[0] + 1, &set, NULL, NULL, NULL) == 1, "select: %d", errno);
        break;
    default:
        pthread_mutex_lock(&many_mutex);
        while (!many_over)
            pthread_cond_wait(&many_cond, &many_mutex);
        pthread_mutex_unlock(&many_mutex);
    }
}

static void *many_thread(void *arg)
{
    size_t i = (size_t)arg;
    unsigned char *own = malloc(300);
    check_fill(own, 300, (unsigned)i);
    atomic_fetch_add(&many_ready, 1);
    if (i >= AWAKE)
        many_wait(i);
    while (i < AWAKE && !atomic_load(&collector_stop))
        sched_yield();
    CHECK(check_pattern(own, 300, 300, (unsigned)i), "what thread %zu held is lost", i);
    free(own);
    return NULL;
}

static void many(void)
{
    static pthread_t threads[MANY];
    pthread_attr_t attr;
    WITNESS_NEED(pipe(waits_pipe) == 0, "pipe");
    sem_init(&many_sem, 0, 0);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 65536);
    for (size_t i = 0; i < MANY; i++)
        WITNESS_NEED(pthread_create(&threads[i], &attr, many_thread, (void *)i) == 0, "%zu", i);
    while (atomic_load(&many_ready) < MANY)
        sched_yield();
    struct salvage_stats before, after;
    salvage_stats(&before);
    for (int i = 0; i < 10; i++)
        salvage_collect();
    salvage_stats(&after);
    CHECK(after.cycles - before.cycles == 10, "%lu collections of 10",
          (unsigned long)(after.cycles - before.cycles));
    atomic_store(&collector_stop, true);
    close(waits_pipe[1]);
    for (int i = 0; i < MANY; i++)
        sem_post(&many_sem);
    pthread_mutex_lock(&many_mutex);
    many_over = true;
    pthread_cond_broadcast(&many_cond);
    pthread_mutex_unlock(&many_mutex);
    for (size_t i = 0; i < MANY; i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    if (!check_collecting()) {
        CHECK(true, "nothing to do");
        return check_done();
    }
    check_case("told", told, 30);
    check_case("told_vfork", told_vfork, 30);
    check_case("jumps", jumps, 30);
    check_case("nests", nests_plain, 30);
    check_case("nests_altstack", nests_altstack, 30);
    check_case("cancels", cancels, 30);
    check_case("vforks", vforks, 30);
    check_case("many", many, 30);
    return check_done();
}
