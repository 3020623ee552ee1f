// Memory without pointers: it is kept by pointers to it and keeps nothing itself.
#include "check.h"

#define N 500

void **blind[N];

NOINLINE static void make(struct herd outer, struct herd inner, size_t size, bool atomic)
{
    for (long i = 0; i < outer.n; i++) {
        void **p = atomic ? GC_malloc_atomic(size) : GC_malloc(size);
        memset(p, 0, size);
        blind[i] = p;
        herd_put(outer, i, p);
        p[size / sizeof *p - 1] = GC_malloc(24);
        herd_put(inner, i, p[size / sizeof *p - 1]);
    }
}

static void scan(size_t size, bool atomic)
{
    struct herd outer = herd_new(N), inner = herd_new(N);
    make(outer, inner, size, atomic);
    say("outer", "%s", herd_share(outer));
    say("inner", "%s", herd_share(inner));
    memset(blind, 0, sizeof blind);
    say("outer_later", "%s", herd_share(outer));
    say("inner_later", "%s", herd_share(inner));
}

TEST(atomic_small)
{
    scan(16, true);
}
TEST(atomic_middling)
{
    scan(1024, true);
}
TEST(atomic_large)
{
    scan(20000, true);
}
TEST(plain_small)
{
    scan(16, false);
}
TEST(plain_middling)
{
    scan(1024, false);
}
TEST(plain_large)
{
    scan(20000, false);
}

NOINLINE static void grow(size_t size)
{
    for (long i = 0; i < N; i++)
        blind[i] = GC_realloc(blind[i], size);
}

// What realloc returns is of the same kind.
TEST(grown)
{
    struct herd outer = herd_new(N), inner = herd_new(N);
    make(outer, inner, 64, true);
    grow(4000);
    say("inner", "%s", herd_share(inner));
    memset(blind, 0, sizeof blind);
}

TEST(grown_plain)
{
    struct herd outer = herd_new(N), inner = herd_new(N);
    make(outer, inner, 64, false);
    grow(4000);
    say("inner", "%s", herd_share(inner));
    memset(blind, 0, sizeof blind);
}

TEST(strings_are_atomic)
{
    int kind = GC_get_kind_and_size(GC_malloc_atomic(16), NULL);
    is("strdup", GC_get_kind_and_size(GC_strdup("0123456789"), NULL) == kind);
    is("strndup", GC_get_kind_and_size(GC_strndup("0123456789", 5), NULL) == kind);
    is("other", GC_get_kind_and_size(GC_malloc(16), NULL) != kind);
}
