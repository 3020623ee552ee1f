// The library comes behind the C library when names are looked up, as it does where a program gets
// it by way of another library: calls wait undisturbed all the same, and a thread that blocks
// every signal is collected around.
// OURS
// ALONE
// CFLAGS: -Wl,-z,now -Wl,--no-as-needed -lc -Wl,--as-needed
#include "check.h"

#include <dlfcn.h>
#include <poll.h>
#include <semaphore.h>
#include <time.h>

#define ROUNDS 30

static _Atomic bool enough;
static _Atomic unsigned waiting;

struct call {
    const char *name;
    int (*wait)(void); // until `enough`, or -1 with errno
};

static int pipe_fds[2];

static int wait_poll(void)
{
    struct pollfd p = {.fd = pipe_fds[0], .events = POLLIN};
    return poll(&p, 1, -1);
}

static int wait_select(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipe_fds[0], &set);
    return select(pipe_fds[0] + 1, &set, NULL, NULL, NULL);
}

static int wait_nanosleep(void)
{
    struct timespec t = {.tv_nsec = 1000000};
    while (!enough)
        if (nanosleep(&t, NULL) != 0)
            return -1;
    return 0;
}

static int (*opened_wait)(int fd); // behind.lib.c's poll

static int wait_opened(void)
{
    return opened_wait(pipe_fds[0]);
}

static void *wait_run(void *data)
{
    const struct call *call = data;
    waiting++;
    return (void *)(intptr_t)(call->wait() < 0 ? errno : 0);
}

// Collections while a thread of the program's own waits; what its call returned with.
static int waits(struct call call)
{
    pthread_t t;
    void *result;
    enough = false;
    waiting = 0;
    if (pipe(pipe_fds) != 0 || pthread_create(&t, NULL, wait_run, &call) != 0)
        abort();
    while (waiting == 0)
        sched_yield();
    for (int i = 0; i < ROUNDS; i++)
        GC_gcollect();
    enough = true;
    if (write(pipe_fds[1], "x", 1) != 1)
        abort();
    pthread_join(t, &result);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    return (int)(intptr_t)result;
}

TEST(calls)
{
    number("poll", waits((struct call){"poll", wait_poll}));
    number("select", waits((struct call){"select", wait_select}));
    number("nanosleep", waits((struct call){"nanosleep", wait_nanosleep}));
}

// A library that is opened later.
TEST(opened)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 10);
    strcpy(path + (n > 0 ? n : 0), ".lib.so");
    void *library = dlopen(path, RTLD_NOW);
    opened_wait = library ? (int (*)(int))dlsym(library, "behind_wait") : NULL;
    is("found", opened_wait != NULL);
    if (!opened_wait)
        return;
    GC_gcollect();
    number("poll", waits((struct call){"poll", wait_opened}));
}

// A thread that blocks every signal: with the C library's own pthread_sigmask nothing would stop
// it.
static void *block_run(void *data)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    waiting++;
    while (!enough)
        sched_yield();
    return data;
}

TEST(blocked)
{
    pthread_t t;
    enough = false;
    waiting = 0;
    GC_gcollect();
    if (pthread_create(&t, NULL, block_run, NULL) != 0)
        abort();
    while (waiting == 0)
        sched_yield();
    GC_word before = GC_get_gc_no();
    for (int i = 0; i < 10; i++)
        GC_gcollect();
    number("collections", (long)(GC_get_gc_no() - before));
    enough = true;
    pthread_join(t, NULL);
}
