// The names of headers: threads redirected by macros, malloc by leak_detector.h, Java's finalizers.
#define CHECK_REDIRECT
#include "check.h"

#include <gc/javaxfc.h>
#include <gc/leak_detector.h>

static void *thread(void *data)
{
    for (int i = 0; i < 1000; i++)
        if (!GC_MALLOC(100))
            abort();
    return data;
}

TEST(redirected)
{
    pthread_t t;
    void *value = NULL;
    sigset_t old;
    number("create", pthread_create(&t, NULL, thread, &old));
    number("join", pthread_join(t, &value));
    is("value", value == &old);
    number("sigmask", pthread_sigmask(SIG_BLOCK, NULL, &old));
}

TEST(leak_detector)
{
    char *p = malloc(100);
    is("collected", GC_base(p) == p);
    p = realloc(p, 500);
    is("grown", GC_base(p) == p);
    free(p);
    is("zero", zero(calloc(3, 50), 150));
    say("strdup", "%s", strdup("text"));
    CHECK_LEAKS();
}

static long count;

static void note(void *object, void *data)
{
    count++;
    (void)object;
    (void)data;
}

// All finalizers run, of what is reachable too.
TEST(all)
{
    static void *held[50];
    for (int i = 0; i < 50; i++)
        GC_register_finalizer(held[i] = GC_MALLOC(20), note, NULL, NULL, NULL);
    GC_finalize_all();
    number("ran", count);
    GC_reachable_here(held);
}

TEST(hidden)
{
    void *p = GC_MALLOC(10);
    GC_hidden_pointer h = GC_HIDE_POINTER(p);
    is("back", GC_REVEAL_POINTER(h) == p);
    void **q = GC_MALLOC(16);
    GC_PTR_STORE(q, p);
    GC_PTR_STORE_AND_DIRTY(q + 1, p);
    GC_END_STUBBORN_CHANGE(q);
    is("stored", q[0] == p && q[1] == p);
    say("version", "%d.%d.%d", GC_VERSION_MAJOR, GC_VERSION_MINOR, GC_VERSION_MICRO);
}
