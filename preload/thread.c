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
#include <stdbool.h>
#include <stdint.h>

#include "cache.h"
#include "export.h"
#include "init.h"
#include "malloc.h"
#include "real.h"
#include "world.h"

#define LAST_ROUND 3 // of PTHREAD_DESTRUCTOR_ITERATIONS (4)

static pthread_key_t thread_key;
static bool thread_key_made;

static void thread_end(void *value)
{
    uintptr_t round = (uintptr_t)value;
    if (round < LAST_ROUND)
        pthread_setspecific(thread_key, (void *)(round + 1));
    else
        sv_cache_retire();
}

static void thread_arm(void)
{
    int saved = errno;
    if (thread_key_made) // one of the first 32 keys: its place is in the thread block
        pthread_setspecific(thread_key, (void *)1);
    errno = saved;
}

void sv_thread_init(void)
{
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
    uintptr_t hi = (uintptr_t)__builtin_frame_address(0);
    pthread_attr_t attr;
    void *lo = NULL;
    size_t size = 0;
    int saved = errno;
    if (pthread_getattr_np(pthread_self(), &attr) == 0) {
        pthread_attr_getstack(&attr, &lo, &size);
        pthread_attr_destroy(&attr);
        sv_world_self_stack((uintptr_t)lo, hi, (uintptr_t)lo + size, start.user_stack);
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
    struct start *start = sv_malloc(sizeof *start);
    if (!start)
        return EAGAIN;
    *start = (struct start){function, arg, attr_user_stack(attr)};
    int r = sv_real(pthread_create)(thread, attr, thread_begin, start);
    if (r != 0)
        sv_free(start);
    return r;
}
