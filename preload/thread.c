// pthread_create, wrapped so that a new thread tells the world where its stack is before it runs
// anything of the program's; and the end of threads, by a key's destructor. Threads that come
// another way (glibc's own helpers, clone) are found by the collector when it stops the world.
//
// The destructor runs among the program's own, in no useful order, and they may still allocate; so
// it asks to be called again until glibc's last but one round, and only then gives the cache back.
// What comes even later (glibc's thread-local clean-up) goes straight to the central lists.
#include "thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "cache.h"
#include "cycle.h"
#include "exit.h"
#include "export.h"
#include "init.h"
#include "malloc.h"
#include "protect.h"
#include "real.h"
#include "unwind.h"
#include "worker.h"
#include "world.h"

#define LAST_ROUND 3 // of PTHREAD_DESTRUCTOR_ITERATIONS (4)

static pthread_key_t thread_key;
static bool thread_key_made;

// The C library has whichever thread ends last call exit: it must not be one of the collector's,
// which doesn't have the descriptors that streams are flushed to.
static void last_end(void)
{
    sv_exit_thread_ended();
    sv_cycle_single();
}

static void thread_end(void *value)
{
    uintptr_t round = (uintptr_t)value;
    if (round < LAST_ROUND) {
        pthread_setspecific(thread_key, (void *)(round + 1));
        return;
    }
    bool main = gettid() == getpid();
    if (sv_worker_last(main))
        last_end();
    sv_cache_retire();
    sv_unwind_thread_end();
    sv_protect_thread_end();
    sv_worker_thread_ended(main);
}

static void thread_arm(void)
{
    int saved = errno;
    if (thread_key_made) // one of the first 32 keys: its place is in the thread block
        pthread_setspecific(thread_key, (void *)1);
    errno = saved;
}

// The collector's own threads. They start with every signal blocked but the stop's, so that none of
// the program's handlers ever runs on them.
static int worker_spawn(void *(*start)(void *), void *arg, void *stack, size_t bytes,
                        unsigned long *handle)
{
    sigset_t all, old;
    pthread_attr_t attr;
    pthread_t thread;
    sigfillset(&all);
    sigdelset(&all, SV_STOP_SIGNAL);                 // see worker.c
    if (!__environ || pthread_attr_init(&attr) != 0) // libc isn't ready
        return EAGAIN;
    pthread_attr_setstack(&attr, stack, bytes);
    sv_real(pthread_sigmask)(SIG_SETMASK, &all, &old);
    int r = sv_real(pthread_create)(&thread, &attr, start, arg);
    sv_real(pthread_sigmask)(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    *handle = (unsigned long)thread;
    return r;
}

static void worker_join(unsigned long handle)
{
    pthread_join((pthread_t)handle, NULL);
}

static const struct sv_worker_hooks worker_hooks = {worker_spawn, worker_join};

void sv_thread_init(void)
{
    sv_worker_hooks = &worker_hooks;
    thread_key_made = pthread_key_create(&thread_key, thread_end) == 0;
    sv_cache_on_make = thread_arm;
}

struct start { // from the creating to the created thread; held by the thread block meanwhile
    void *(*function)(void *);
    void *arg;
    bool user_stack;
};

static void *thread_begin(void *p)
{
    struct start start = *(struct start *)p;
    sv_free(p);
    sv_world_self();
    sv_world_starting_end();
    uintptr_t hi = (uintptr_t)__builtin_frame_address(0);
    pthread_attr_t attr;
    void *lo = NULL;
    size_t size = 0, guard = 0;
    int saved = errno;
    if (pthread_getattr_np(pthread_self(), &attr) == 0) {
        pthread_attr_getstack(&attr, &lo, &size);
        pthread_attr_getguardsize(&attr, &guard);
        pthread_attr_destroy(&attr);
        sv_world_self_stack((uintptr_t)lo, hi, (uintptr_t)lo + size, guard, start.user_stack);
    }
    errno = saved;
    return start.function(start.arg);
}

// Did the program give the stack's memory? An attribute without one has an end address of 0.
static bool attr_user_stack(const pthread_attr_t *attr)
{
    void *lo = NULL;
    size_t size = 0;
    return attr && pthread_attr_getstack(attr, &lo, &size) == 0 && (uintptr_t)lo + size != 0;
}

SV_EXPORT int pthread_create(pthread_t *thread, const pthread_attr_t *attr,
                             void *(*function)(void *), void *arg)
{
    if (!sv_first_here())
        return sv_real(pthread_create)(thread, attr, function, arg);
    struct start *start = sv_malloc(sizeof *start);
    if (!start)
        return EAGAIN;
    *start = (struct start){function, arg, attr_user_stack(attr)};
    sv_world_starting_begin();
    int r = sv_real(pthread_create)(thread, attr, thread_begin, start);
    if (r != 0) {
        sv_world_starting_end();
        sv_free(start);
    }
    return r;
}
