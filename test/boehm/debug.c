// Allocation with a file and a line: the same promises, through the header in front.
#include "check.h"

#define N 200

TEST(memory)
{
    bool clean = true;
    for (size_t n = 1; n < 100000; n = n * 3 + 1) {
        char *p = GC_debug_malloc(n, "debug.c", 10), *q = GC_debug_malloc_atomic(n, "debug.c", 11);
        clean &= zero(p, n);
        memset(p, 1, n);
        memset(q, 2, n);
        p = GC_debug_realloc(p, 2 * n, "debug.c", 12);
        clean &= p[0] == 1 && p[n - 1] == 1;
        memset(p, 1, 2 * n);
        GC_debug_free(p);
        GC_debug_free(q);
    }
    is("clean", clean);
    GC_gcollect();
    is("null", GC_debug_realloc(NULL, 10, "debug.c", 13) != NULL);
    GC_debug_free(NULL);
    say("strdup", "%s", GC_debug_strdup("text", "debug.c", 14));
    say("strndup", "%s", GC_debug_strndup("text", 2, "debug.c", 15));
    is("uncollectable", GC_debug_malloc_uncollectable(10, "debug.c", 16) &&
                            GC_debug_malloc_atomic_uncollectable(10, "debug.c", 17));
    is("ignore_off_page", GC_debug_malloc_ignore_off_page(100000, "debug.c", 18) &&
                              GC_debug_malloc_atomic_ignore_off_page(100000, "debug.c", 19));
    is("replacement", GC_debug_realloc_replacement(GC_debug_malloc_replacement(10), 30) != NULL);
}

TEST(header)
{
    char *p = GC_debug_malloc(100, "debug.c", 20);
    number("size", (long)GC_get_debug_header_size());
    number("variable", (long)GC_debug_header_size);
    is("base", GC_base(p) == p - GC_get_debug_header_size());
    is("from_base", GC_USR_PTR_FROM_BASE(GC_base(p)) == p);
    is("room", GC_size(GC_base(p)) >= 100 + GC_get_debug_header_size());
}

char *held[N];

NOINLINE static void make(struct herd h, struct herd inner)
{
    for (long i = 0; i < h.n; i++) {
        void **p = GC_debug_malloc(40, "debug.c", 21);
        held[i] = (char *)p;
        herd_put(h, i, p);
        herd_put(inner, i, p[2] = GC_debug_malloc(40, "debug.c", 22));
    }
}

TEST(kept_and_lost)
{
    struct herd h = herd_new(N), inner = herd_new(N);
    make(h, inner);
    say("kept", "%s", herd_share(h));
    say("inner", "%s", herd_share(inner));
    memset(held, 0, sizeof held);
    say("lost", "%s", herd_share(h));
}

static long count, wrong;

static void note(void *object, void *data)
{
    count++;
    wrong += ((long *)object)[0] != 7 || data != &wrong;
}

typedef void (*registrar)(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);

NOINLINE static void final_make(registrar add)
{
    for (int i = 0; i < N; i++) {
        long *p = GC_debug_malloc(40, "debug.c", 23);
        p[0] = 7;
        add(p, note, &wrong, NULL, NULL);
    }
}

static void final(registrar add)
{
    final_make(add);
    collect();
    say("ran", "%s", share(count, N));
    number("wrong", wrong);
    GC_finalization_proc old = NULL;
    void *data = NULL, *p = held[0] = GC_debug_malloc(40, "debug.c", 24);
    add(p, note, &wrong, &old, &data);
    is("none_before", !old);
    add(p, NULL, NULL, &old, &data);
    is("first_before", old == note && data == &wrong);
}

TEST(ordered)
{
    final(GC_debug_register_finalizer);
}
TEST(ignore_self)
{
    final(GC_debug_register_finalizer_ignore_self);
}
TEST(no_order)
{
    final(GC_debug_register_finalizer_no_order);
}
TEST(unreachable)
{
    final(GC_debug_register_finalizer_unreachable);
}

// A write behind the end is noticed, and the program goes on.
TEST(overrun)
{
    char *volatile p = held[0] = GC_debug_malloc(33, "debug.c", 25);
    memset(p, 1, 33);
    p[33] = 5;
    GC_gcollect();
    is("goes_on", GC_debug_malloc(10, "debug.c", 26) != NULL);
}

TEST(dump)
{
    int old = dup(STDOUT_FILENO);
    FILE *sink = tmpfile();
    dup2(fileno(sink), STDOUT_FILENO);
    GC_debug_malloc(10, "debug.c", 27);
    GC_dump();
    GC_dump_named("a name");
    GC_dump_regions();
    GC_dump_finalization();
    fflush(stdout);
    dup2(old, STDOUT_FILENO);
    is("done", true);
}

TEST(stored)
{
    void **p = GC_debug_malloc(40, "debug.c", 28);
    void *q = GC_debug_malloc(40, "debug.c", 29);
    GC_debug_ptr_store_and_dirty(p, q);
    is("debug", *p == q);
    void **r = GC_malloc(40);
    GC_ptr_store_and_dirty(r, q);
    GC_end_stubborn_change(r);
    is("plain", *r == q);
    GC_change_stubborn(r);
    is("stubborn", GC_malloc_stubborn(20) && GC_debug_malloc_stubborn(20, "debug.c", 30));
}
