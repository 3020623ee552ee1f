// Finalizers registered while another thread collects, for objects that are dropped at once: what
// the collector has not come to yet is reachable by nothing but the registration.
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

#define N 200000

static _Atomic int stop;
static _Atomic long ran, wrong;
static uintptr_t hidden[N]; // ~nodes; the i-th is the i-th from the list's end
void *volatile list;

static void check(void *object, void *data)
{
    wrong += *(long *)object != *(long *)data;
    ran++;
}

static void *collector(void *arg)
{
    while (!stop)
        GC_gcollect();
    return arg;
}

NOINLINE static void make(void)
{
    void **last = NULL;
    for (long i = 0; i < N; i++) {
        void **node = GC_malloc(3 * sizeof *node);
        node[0] = last;
        for (int k = 1; k < 3; k++) {
            node[k] = GC_malloc_atomic(sizeof(long));
            *(long *)node[k] = i + 1;
        }
        hidden[i] = ~(uintptr_t)node;
        last = node;
    }
    list = last;
}

NOINLINE static void drop(long i)
{
    void **node = (void **)~hidden[i];
    void *object = node[1], *data = node[2];
    node[1] = node[2] = NULL;
    GC_register_finalizer_no_order(object, check, data, NULL, NULL);
}

TEST(dropped_while_marked)
{
    pthread_t thread;
    for (int round = 0; round < 3; round++) {
        make();
        stop = 0;
        GC_pthread_create(&thread, NULL, collector, NULL);
        for (long i = 0; i < N / 2; i++) {
            drop(i);
            for (volatile int k = 0; k < 100; k++)
                ;
        }
        stop = 1;
        GC_pthread_join(thread, NULL);
        list = NULL;
        collect();
    }
    collect();
    GC_invoke_finalizers();
    say("ran", "%s", share(ran, 3 * N / 2));
    number("wrong", wrong);
}
