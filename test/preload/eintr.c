// Collections against threads that wait in the kernel. Three rounds over the calls of lib/waits.h:
//   quiet        200 collections: no call comes back early, none with EINTR, and each gets its
//                answer when it is due
//   interrupted  a handler of the program's ends each call with EINTR, as POSIX says, and allocates
//   timed        calls that end by their own time-out end by it, and not before
//
// SALVAGE: mode=collect
// SALVAGE: checkmark=1

#include "lib/waits.h"

#include <sys/time.h>

#define COLLECTIONS 200

static int failures;

static void __attribute__((format(printf, 1, 2))) fail(const char *fmt, ...)
{
    va_list ap;
    printf("FAIL ");
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    failures++;
}

static bool row_in(const struct row *r, int flags, int mask, int alone)
{
    return alone >= 0 ? r == &rows[alone] : (r->flags & (mask | WAITS_ALONE)) == flags;
}

static void row_start(struct waiter *w, const struct row *r)
{
    memset(w, 0, sizeof *w);
    w->result = -1;
    r->prepare(w);
    WITNESS_NEED(pthread_create(&w->thread, NULL, row_thread, w) == 0, "pthread_create");
    row_await(w);
}

static void row_end(struct waiter *w, const struct row *r)
{
    pthread_join(w->thread, NULL);
    if (w->child) { // it may have been waited for, and it may wait for its pipe still
        (void)!write(w->fd[1], "!", 1);
        waitpid(w->child, NULL, 0);
    }
    if (r->clean)
        r->clean(w);
}

// ---- quiet -------------------------------------------------------------------------------------

// All rows at once, but for one that has to be `alone`.
static void quiet(int alone)
{
    struct salvage_stats before, after;
    for (size_t i = 0; i < ROWS; i++)
        if (row_in(&rows[i], 0, 0, alone))
            row_start(&waiters[i], &rows[i]);
    salvage_stats(&before);
    for (int i = 0; i < COLLECTIONS; i++)
        salvage_collect();
    salvage_stats(&after);
    for (size_t i = 0; i < ROWS; i++) {
        struct waiter *w = &waiters[i];
        if (!row_in(&rows[i], 0, 0, alone))
            continue;
        int early = atomic_load_explicit(&w->result, memory_order_seq_cst);
        if (early == -1) // else there is nobody to release
            rows[i].release(w);
        row_end(w, &rows[i]);
        if (early != -1)
            fail("%s came back early: %s", rows[i].name, strerror(early));
        else if (w->result != 0)
            fail("%s: %s", rows[i].name, strerror(w->result));
    }
    if (after.cycles - before.cycles < COLLECTIONS)
        fail("%lu collections of %d were made", (unsigned long)(after.cycles - before.cycles),
             COLLECTIONS);
}

// ---- interrupted -------------------------------------------------------------------------------

static void allocating_handler(int sig)
{
    (void)sig;
    int saved = errno;
    char *p = malloc(100); // the thread is known to be in the kernel, not in malloc
    memset(p, 0x5a, 100);
    free(p);
    errno = saved;
}

static _Atomic bool collector_stop;

static void *collector(void *arg)
{
    while (!atomic_load(&collector_stop))
        salvage_collect();
    return arg;
}

static void interrupted(int alone)
{
    pthread_t thread;
    struct sigaction sa = {.sa_handler = allocating_handler};
    sigaction(SIGUSR1, &sa, NULL);
    for (size_t i = 0; i < ROWS; i++)
        if (row_in(&rows[i], WAITS_EINTR, WAITS_EINTR, alone))
            row_start(&waiters[i], &rows[i]);
    atomic_store(&collector_stop, false);
    WITNESS_NEED(pthread_create(&thread, NULL, collector, NULL) == 0, "pthread_create");
    for (size_t i = 0; i < ROWS; i++) {
        struct waiter *w = &waiters[i];
        if (!row_in(&rows[i], WAITS_EINTR, WAITS_EINTR, alone))
            continue;
        // one signal may come while the thread is still on its way into the call
        while (atomic_load(&w->result) == -1) {
            pthread_kill(w->thread, SIGUSR1);
            sched_yield();
        }
        row_end(w, &rows[i]);
        if (w->result != EINTR)
            fail("%s isn't interrupted: %s", rows[i].name, strerror(w->result));
    }
    atomic_store(&collector_stop, true);
    pthread_join(thread, NULL);
}

// ---- timed -------------------------------------------------------------------------------------

#define TIMED_NS 300000000l
#define TIMED_SLACK_NS 10000000l // a socket's time-out counts ticks of the kernel's clock

static const struct timespec timed = {0, TIMED_NS};
static const struct timeval timed_val = {0, TIMED_NS / 1000};

static struct timespec timed_until(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += TIMED_NS;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    return t;
}

static int poll_timed(void)
{
    return poll(NULL, 0, TIMED_NS / 1000000);
}

static int ppoll_timed(void)
{
    return ppoll(NULL, 0, &timed, NULL);
}

static int select_timed(void)
{
    struct timeval t = timed_val;
    int rc = select(0, NULL, NULL, NULL, &t);
    return t.tv_sec == 0 && t.tv_usec == 0 ? rc : 99;
}

static int pselect_timed(void)
{
    return pselect(0, NULL, NULL, NULL, &timed, NULL);
}

static int epoll_wait_timed(void)
{
    struct epoll_event e;
    return epoll_wait(epoll_create1(0), &e, 1, TIMED_NS / 1000000);
}

static int epoll_pwait_timed(void)
{
    struct epoll_event e;
    return epoll_pwait(epoll_create1(0), &e, 1, TIMED_NS / 1000000, NULL);
}

static int epoll_pwait2_timed(void)
{
    struct epoll_event e;
    return epoll_pwait2(epoll_create1(0), &e, 1, &timed, NULL);
}

static int nanosleep_timed(void)
{
    return nanosleep(&timed, NULL);
}

static int clock_nanosleep_timed(void)
{
    return clock_nanosleep(CLOCK_MONOTONIC, 0, &timed, NULL);
}

static int usleep_timed(void)
{
    return usleep(TIMED_NS / 1000);
}

static int sleep_timed(void)
{
    return (int)sleep(1);
}

static int thrd_sleep_timed(void)
{
    return thrd_sleep(&timed, NULL);
}

static int failed_with(int rc, int error)
{
    return rc == -1 && errno == error ? 0 : 99;
}

static int sigtimedwait_timed(void)
{
    sigset_t set = signal_set();
    return failed_with(sigtimedwait(&set, NULL, &timed), EAGAIN);
}

static int sem_timedwait_timed(void)
{
    sem_t sem;
    struct timespec t = timed_until();
    sem_init(&sem, 0, 0);
    return failed_with(sem_timedwait(&sem, &t), ETIMEDOUT);
}

static int cond_timedwait_timed(void)
{
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
    struct timespec t = timed_until();
    int rc = 0;
    pthread_mutex_lock(&mutex);
    while (rc == 0)
        rc = pthread_cond_timedwait(&cond, &mutex, &t);
    pthread_mutex_unlock(&mutex);
    return rc == ETIMEDOUT ? 0 : rc;
}

static int semtimedop_timed(void)
{
    struct sembuf b = {0, -1, 0};
    int set = semget(IPC_PRIVATE, 1, 0600);
    int rc = failed_with(semtimedop(set, &b, 1, &timed), EAGAIN);
    semctl(set, 0, IPC_RMID);
    return rc;
}

static int recv_timed(void)
{
    int fd[2];
    char c;
    socketpair(AF_UNIX, SOCK_STREAM, 0, fd);
    setsockopt(fd[0], SOL_SOCKET, SO_RCVTIMEO, &timed_val, sizeof timed_val);
    return failed_with((int)recv(fd[0], &c, 1, 0), EAGAIN);
}

static int futex_timed(void)
{
    int word = 1;
    return failed_with((int)syscall(SYS_futex, &word, FUTEX_WAIT, 1, &timed, NULL, 0), ETIMEDOUT);
}

static struct timed_row {
    const char *name;
    int (*call)(void); // 0: it ended by its time-out
    pthread_t thread;
    long elapsed;
    int rc, error;
    _Atomic bool done;
} timed_rows[] = {
    {.name = "poll", .call = poll_timed},
    {.name = "ppoll", .call = ppoll_timed},
    {.name = "select", .call = select_timed},
    {.name = "pselect", .call = pselect_timed},
    {.name = "epoll_wait", .call = epoll_wait_timed},
    {.name = "epoll_pwait", .call = epoll_pwait_timed},
    {.name = "epoll_pwait2", .call = epoll_pwait2_timed},
    {.name = "nanosleep", .call = nanosleep_timed},
    {.name = "clock_nanosleep", .call = clock_nanosleep_timed},
    {.name = "usleep", .call = usleep_timed},
    {.name = "sleep", .call = sleep_timed},
    {.name = "thrd_sleep", .call = thrd_sleep_timed},
    {.name = "sigtimedwait", .call = sigtimedwait_timed},
    {.name = "sem_timedwait", .call = sem_timedwait_timed},
    {.name = "pthread_cond_timedwait", .call = cond_timedwait_timed},
    {.name = "semtimedop", .call = semtimedop_timed},
    {.name = "recv, SO_RCVTIMEO", .call = recv_timed},
    {.name = "futex by number", .call = futex_timed},
};

#define TIMED_ROWS (sizeof timed_rows / sizeof timed_rows[0])

static void *timed_thread(void *arg)
{
    struct timed_row *r = arg;
    struct timespec from, to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    errno = 0;
    r->rc = r->call();
    r->error = errno;
    clock_gettime(CLOCK_MONOTONIC, &to);
    r->elapsed = (to.tv_sec - from.tv_sec) * 1000000000 + to.tv_nsec - from.tv_nsec;
    atomic_store(&r->done, true);
    return NULL;
}

static void timed_out(void)
{
    for (size_t i = 0; i < TIMED_ROWS; i++)
        WITNESS_NEED(pthread_create(&timed_rows[i].thread, NULL, timed_thread, &timed_rows[i]) == 0,
                     "pthread_create");
    for (size_t i = 0; i < TIMED_ROWS; i++) {
        struct timed_row *r = &timed_rows[i];
        while (!atomic_load(&r->done))
            salvage_collect();
        pthread_join(r->thread, NULL);
        if (r->rc != 0)
            fail("%s: %d, %s", r->name, r->rc, strerror(r->error));
        else if (r->elapsed < TIMED_NS - TIMED_SLACK_NS)
            fail("%s ends after %ld ns of %ld", r->name, r->elapsed, TIMED_NS);
    }
}

int main(void)
{
    if (salvage_collect == NULL) {
        printf("0 passed, 0 failed, 1 skipped\n");
        return 0;
    }
    alarm(WITNESS_HANG);
    setvbuf(stdout, NULL, _IONBF, 0);
    signal_prepare(NULL); // for all threads
    quiet(-1);
    interrupted(-1);
    timed_out();
    size_t checks = ROWS + TIMED_ROWS;
    for (size_t i = 0; i < ROWS; i++) {
        checks += (rows[i].flags & WAITS_EINTR) != 0;
        if (rows[i].flags & WAITS_ALONE) {
            quiet((int)i);
            interrupted((int)i);
        }
    }
    printf("%zu passed, %d failed\n", checks - (size_t)failures, failures);
    return failures != 0;
}
