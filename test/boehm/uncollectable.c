// Uncollectable memory: never taken back by itself; the plain kind is a root, the atomic one not.
#include "check.h"

#define N 500

static uintptr_t hidden[N];

NOINLINE static void make(struct herd inner, size_t size, bool atomic)
{
    for (long i = 0; i < inner.n; i++) {
        void **p = atomic ? GC_malloc_atomic_uncollectable(size) : GC_malloc_uncollectable(size);
        if (!atomic && !zero(p, size))
            abort();
        p[0] = GC_malloc(24);
        ((char *)p)[size - 1] = 'x';
        herd_put(inner, i, p[0]);
        hidden[i] = ~(uintptr_t)p;
    }
}

NOINLINE static bool intact(size_t size)
{
    for (long i = 0; i < N; i++)
        if (((char *)~hidden[i])[size - 1] != 'x')
            return false;
    return true;
}

NOINLINE static void release(void)
{
    for (long i = 0; i < N; i++)
        GC_free((void *)~hidden[i]);
}

static void hold(size_t size, bool atomic)
{
    struct herd inner = herd_new(N);
    make(inner, size, atomic);
    say("inner", "%s", herd_share(inner));
    for (int i = 0; i < 3000; i++)
        memset(GC_malloc(size), 'y', size);
    collect();
    is("intact", intact(size));
    release();
    say("inner_later", "%s", herd_share(inner));
}

TEST(scanned_small)
{
    hold(32, false);
}
TEST(scanned_large)
{
    hold(9000, false);
}
TEST(atomic_small)
{
    hold(32, true);
}
TEST(atomic_large)
{
    hold(9000, true);
}

// Freed memory comes again.
TEST(reused)
{
    size_t before = GC_get_heap_size();
    for (int i = 0; i < 300000; i++)
        GC_free(GC_malloc_uncollectable(1000));
    for (int i = 0; i < 3000; i++)
        GC_free(GC_malloc_uncollectable(100000));
    is("bounded", GC_get_heap_size() < before + (100ul << 20));
}

TEST(grown)
{
    struct herd inner = herd_new(N);
    make(inner, 64, false);
    for (long i = 0; i < N; i++)
        hidden[i] = ~(uintptr_t)GC_realloc((void *)~hidden[i], 3000);
    say("inner", "%s", herd_share(inner));
    release();
    say("inner_later", "%s", herd_share(inner));
}

TEST(accounted)
{
    void *first = GC_malloc_uncollectable(500); // Debian's forgets the first of a size
    GC_word before = GC_get_non_gc_bytes();
    void *p = GC_malloc_uncollectable(500);
    is("more", GC_get_non_gc_bytes() >= before + 500);
    GC_free(p);
    is("less", GC_get_non_gc_bytes() == before);
    GC_free(first);
    is("macro", GC_MALLOC_UNCOLLECTABLE(10) && GC_NEW_UNCOLLECTABLE(long) &&
                    GC_MALLOC_ATOMIC_UNCOLLECTABLE(10));
}
