// OURS
// What fails on Debian's library and must not here: calls that wait are not interrupted, a thread
// that blocks signals hangs nothing, read() into collected memory works, and what is held by
// thread-local storage, by libc's memory or by a mapping is kept.
#include "check.h"

#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>

static volatile bool stop;

// Collects until it is told to stop.
static void *collector(void *arg)
{
    while (!stop)
        GC_gcollect();
    return arg;
}

static void while_collecting(void (*wait)(void))
{
    pthread_t t;
    GC_pthread_create(&t, NULL, collector, NULL);
    GC_word first = GC_get_gc_no();
    wait();
    while (GC_get_gc_no() < first + 3) // it must have had its chance
        wait();
    stop = true;
    GC_pthread_join(t, NULL);
}

static long broken;

static void sleep_once(void)
{
    struct timespec t = {0, 50000000};
    broken += nanosleep(&t, NULL) != 0;
}

static void poll_once(void)
{
    int fd[2];
    if (pipe(fd))
        abort();
    struct pollfd p = {fd[0], POLLIN, 0};
    broken += poll(&p, 1, 50) != 0;
    close(fd[0]);
    close(fd[1]);
}

static void epoll_once(void)
{
    int fd = epoll_create1(0);
    struct epoll_event event;
    broken += epoll_wait(fd, &event, 1, 50) != 0;
    close(fd);
}

static void semaphore_once(void)
{
    sem_t s;
    struct timespec t;
    sem_init(&s, 0, 0);
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_nsec += 50000000;
    t.tv_sec += t.tv_nsec / 1000000000;
    t.tv_nsec %= 1000000000;
    broken += sem_timedwait(&s, &t) == 0 || errno != ETIMEDOUT;
}

static void many(void (*once)(void))
{
    while_collecting(once);
    number("interrupted", broken);
}

TEST(nanosleeps)
{
    many(sleep_once);
}
TEST(polls)
{
    many(poll_once);
}
TEST(epolls)
{
    many(epoll_once);
}
TEST(semaphores)
{
    many(semaphore_once);
}

// A thread with all signals blocked neither hangs a collection nor ends the program.
static int pipes[2][2];

static void *deaf(void *arg)
{
    sigset_t all;
    char c = 0;
    void *volatile local = GC_malloc(40);
    memset(local, 9, 40);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    if (write(pipes[0][1], "x", 1) != 1 || read(pipes[1][0], &c, 1) != 1)
        abort();
    is("kept", ((char *)local)[39] == 9);
    return arg;
}

TEST(blocked_signals)
{
    pthread_t t;
    char c = 0;
    if (pipe(pipes[0]) || pipe(pipes[1]))
        abort();
    GC_pthread_create(&t, NULL, deaf, NULL);
    if (read(pipes[0][0], &c, 1) != 1)
        abort();
    collect();
    if (write(pipes[1][1], "x", 1) != 1)
        abort();
    GC_pthread_join(t, NULL);
    is("done", true);
}

// read() into memory that is being marked: never EFAULT.
static void read_once(void)
{
    static int fd = -1;
    char *p = GC_malloc(100000);
    if (fd < 0)
        fd = open("/dev/zero", 0);
    for (int i = 0; i < 100; i++)
        broken += read(fd, p, 100000) != 100000;
}

TEST(reads)
{
    many(read_once);
}

// ---- roots -------------------------------------------------------------------------------------

#define N 100

__thread void *mine[N];

TEST(thread_local)
{
    herd_hold(mine, N);
}

TEST(thread_specific)
{
    pthread_key_t key[N];
    struct herd h = herd_new(N);
    for (int i = 0; i < N; i++) {
        pthread_key_create(&key[i], NULL);
        void *p = GC_malloc(40);
        herd_put(h, i, p);
        pthread_setspecific(key[i], p);
    }
    say("kept", "%s", herd_share(h));
}

TEST(libc_memory)
{
    herd_hold(malloc(N * sizeof(void *)), N);
}

TEST(mapping)
{
    herd_hold(mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), N);
}

// A thread that nobody told the collector of.
static struct herd found;

static void *unknown(void *arg)
{
    char c = 0;
    void *volatile local[N];
    for (int i = 0; i < N; i++)
        herd_put(found, i, local[i] = GC_malloc(40));
    if (write(pipes[0][1], "x", 1) != 1 || read(pipes[1][0], &c, 1) != 1)
        abort();
    for (int i = 0; i < N; i++)
        memset(local[i], 9, 40);
    return arg;
}

TEST(thread_unknown)
{
    pthread_t t;
    char c = 0;
    if (pipe(pipes[0]) || pipe(pipes[1]))
        abort();
    found = herd_new(N);
    pthread_create(&t, NULL, unknown, NULL);
    if (read(pipes[0][0], &c, 1) != 1)
        abort();
    say("kept", "%s", herd_share(found));
    if (write(pipes[1][1], "x", 1) != 1)
        abort();
    pthread_join(t, NULL);
    say("lost", "%s", herd_share(found));
}

// ---- callbacks that allocate -------------------------------------------------------------------

static long called;

static void allocate(void)
{
    called++;
    free(malloc(1000));
    if (!GC_malloc(1000))
        abort();
}

static void allocate_at(GC_EventType event)
{
    (void)event;
    allocate();
}

static void allocate_for(GC_word size)
{
    (void)size;
    allocate();
}

static void work(void)
{
    for (int i = 0; i < 300000; i++)
        if (!GC_malloc(200))
            abort();
    GC_gcollect();
    is("called", called > 0);
}

TEST(start_callback)
{
    GC_set_start_callback(allocate);
    work();
}

TEST(event_callback)
{
    GC_set_on_collection_event(allocate_at);
    work();
}

TEST(resize_callback)
{
    GC_set_on_heap_resize(allocate_for);
    work();
}
