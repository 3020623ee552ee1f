// threads: how long the world takes to stop, and what its sleepers notice.
//
// `threads ASLEEP SPINNING COLLECTIONS` starts ASLEEP threads that sleep in poll, a condition,
// nanosleep and read in turn, and SPINNING ones that compute without allocating; each holds a block
// on its stack. With all of them where they should be it asks for COLLECTIONS collections of a
// heap of LIVE bytes, so small that the stops are nearly all of a pause, and prints the time of the
// calls and how many sleeps were cut short by EINTR. Exit status 1 when a thread's block has
// changed.
//
// A thread says by its counter that it is about to sleep; that it has gone to sleep is read from
// the kernel, whose /proc/self/task/ID/stat says so.
#include "peer.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS_MAX = 1000, LIVE = 4 << 20, BLOCK = 256, STACK = 64 << 10 };

static struct {
    pthread_t thread;
    _Atomic int tid; // 0 until the thread is about to begin
    int kind;        // const: 0..3 a sleep, 4 spins
} threads[THREADS_MAX];

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static int pipe_ends[2];
static _Atomic int over;
static _Atomic unsigned interrupted;

// One sleep; returns -1 and EINTR when it was cut short.
static int sleep_once(int kind)
{
    struct pollfd end = {.fd = pipe_ends[0], .events = POLLIN};
    struct timespec minute = {60, 0};
    char byte;
    if (kind == 0)
        return poll(&end, 1, 60000);
    if (kind == 1) {
        pthread_mutex_lock(&mutex);
        while (!atomic_load_explicit(&over, memory_order_relaxed))
            pthread_cond_wait(&condition, &mutex);
        pthread_mutex_unlock(&mutex);
        return 0;
    }
    if (kind == 2)
        return nanosleep(&minute, NULL);
    return (int)read(pipe_ends[0], &byte, 1);
}

// Nobody wakes a nanosleep: at the end those threads are left where they are.
static void *thread_main(void *argument)
{
    size_t self = (size_t)argument;
    uint64_t *volatile block = block_new(BLOCK);
    *block = self;
    atomic_store_explicit(&threads[self].tid, (int)syscall(SYS_gettid), memory_order_release);
    while (!atomic_load_explicit(&over, memory_order_relaxed))
        if (threads[self].kind < 4 && sleep_once(threads[self].kind) < 0 && errno == EINTR)
            atomic_fetch_add_explicit(&interrupted, 1, memory_order_relaxed);
    if (*block != self)
        fail("threads: a thread's block has changed");
    return NULL;
}

static int thread_sleeps(int tid)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", tid);
    FILE *file = fopen(path, "r");
    const char *name_end = file && fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    if (file)
        fclose(file);
    return name_end && name_end[1] == ' ' && name_end[2] == 'S';
}

static void threads_start(int asleep, int spinning)
{
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK);
    if (pipe(pipe_ends) != 0)
        fail("threads: no pipe");
    for (int i = 0; i < asleep + spinning; i++) {
        threads[i].kind = i < asleep ? i % 4 : 4;
        if (pthread_create(&threads[i].thread, &small, thread_main, (void *)(size_t)i) != 0)
            fail("threads: no thread");
    }
    for (int i = 0; i < asleep + spinning; i++) {
        int tid;
        while (!(tid = atomic_load_explicit(&threads[i].tid, memory_order_acquire)))
            sched_yield();
        while (i < asleep && !thread_sleeps(tid))
            sched_yield();
    }
}

// Those that nanosleep can't be woken without a signal; the process ends under them.
static void threads_end(int count)
{
    char bytes[THREADS_MAX] = {0};
    pthread_mutex_lock(&mutex);
    atomic_store_explicit(&over, 1, memory_order_relaxed);
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&mutex);
    if (write(pipe_ends[1], bytes, sizeof bytes) != sizeof bytes)
        fail("threads: pipe");
    for (int i = 0; i < count; i++)
        if (threads[i].kind != 2)
            pthread_join(threads[i].thread, NULL);
}

static int time_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int asleep = argc == 4 ? atoi(argv[1]) : -1, spinning = argc == 4 ? atoi(argv[2]) : -1;
    int count = argc == 4 ? atoi(argv[3]) : 0, middle = count / 2;
    if (asleep < 0 || spinning < 0 || asleep + spinning > THREADS_MAX || count < 1) {
        fprintf(stderr, "usage: threads ASLEEP SPINNING COLLECTIONS\n");
        return 2;
    }
    peer_start();
    void **kept = NULL;
    for (size_t i = 0; i < LIVE / BLOCK; i++) {
        void **block = block_new(BLOCK);
        memset(block, 0, BLOCK);
        *block = kept;
        kept = block;
    }
    threads_start(asleep, spinning);
    uint64_t *took = calloc((size_t)count, sizeof *took), cycles = peer_cycles();
    if (!took)
        fail("out of memory");
    for (int i = 0; i < count; i++) {
        uint64_t start = now_ns();
        peer_collect();
        took[i] = now_ns() - start;
    }
    uint64_t cycles_after = peer_cycles();
    unsigned cut = atomic_load_explicit(&interrupted, memory_order_relaxed);
    threads_end(asleep + spinning);
    qsort(took, (size_t)count, sizeof *took, time_compare);
    printf("call_us=%.1f call_max_us=%.1f cycles_from=%llu cycles_to=%llu eintr=%u kept=%d\n",
           (double)took[middle] / 1e3, (double)took[count - 1] / 1e3, (unsigned long long)cycles,
           (unsigned long long)cycles_after, cut, kept != NULL);
    peer_finish();
    fflush(stdout);
    _exit(0);
}
