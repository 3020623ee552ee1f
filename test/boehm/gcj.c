// Objects whose first word names a vtable with a descriptor, and the inline allocation of
// gc_inline.h.
#include "check.h"

#include <gc/gc_gcj.h>
#include <gc/gc_inline.h>

#define N 300

void *held[N];

static struct GC_ms_entry *never(GC_word *object, struct GC_ms_entry *top,
                                 struct GC_ms_entry *limit, GC_word env)
{
    (void)object;
    (void)limit;
    (void)env;
    return top;
}

// The descriptor is the vtable's second word: here a bitmap of word 1, or a length.
static GC_word vtable_bitmap[4] = {0, (GC_word)1 << 62 | GC_DS_BITMAP};
static GC_word vtable_length[4] = {0, 16 | GC_DS_LENGTH};

NOINLINE static void make(struct herd in, struct herd out, GC_word *vtable)
{
    for (long i = 0; i < in.n; i++) {
        GC_word *p = GC_gcj_malloc(40, vtable);
        held[i] = p;
        if (p[0] != (GC_word)vtable || !zero(p + 1, 32))
            abort();
        herd_put(in, i, (void *)(p[1] = (GC_word)GC_malloc(24)));
        herd_put(out, i, (void *)(p[3] = (GC_word)GC_malloc(24)));
    }
}

static void scan(GC_word *vtable)
{
    struct herd in = herd_new(N), out = herd_new(N);
    GC_init_gcj_malloc(0, (void *)(uintptr_t)never);
    make(in, out, vtable);
    say("named", "%s", herd_share(in));
    say("others", "%s", herd_share(out));
    memset(held, 0, sizeof held);
    say("lost", "%s", herd_share(in));
}

TEST(by_bitmap)
{
    scan(vtable_bitmap);
}
TEST(by_length)
{
    scan(vtable_length);
}

TEST(large)
{
    GC_init_gcj_malloc(0, (void *)(uintptr_t)never);
    GC_word *p = GC_gcj_malloc(100000, vtable_bitmap);
    GC_word *q = GC_gcj_malloc_ignore_off_page(100000, vtable_bitmap);
    is("vtable", p[0] == (GC_word)vtable_bitmap && q[0] == (GC_word)vtable_bitmap);
    is("clear", zero(p + 1, 99000) && zero(q + 1, 99000));
}

static void *lists[GC_TINY_FREELISTS];
static void *atomic_lists[GC_TINY_FREELISTS];

NOINLINE static void words_make(struct herd h)
{
    for (long i = 0; i < h.n; i++) {
        void **p = NULL;
        GC_MALLOC_WORDS(p, 4, lists);
        if (!zero(p, 32))
            abort();
        held[i] = p;
        herd_put(h, i, p[2] = GC_malloc(24));
    }
}

TEST(words)
{
    struct herd h = herd_new(N);
    words_make(h);
    say("kept", "%s", herd_share(h));
    void **p = NULL, **q = NULL, *one = GC_malloc(16), *two = GC_malloc(16);
    GC_MALLOC_ATOMIC_WORDS(p, 6, atomic_lists);
    is("atomic", p && GC_get_kind_and_size(p, NULL) == GC_I_PTRFREE);
    GC_CONS(q, one, two, lists);
    is("cons", q[0] == one && q[1] == two);
    is("kind", GC_get_kind_and_size(GC_malloc_kind(40, GC_I_NORMAL), NULL) == GC_I_NORMAL);
    is("kind_global",
       GC_get_kind_and_size(GC_malloc_kind_global(40, GC_I_PTRFREE), NULL) == GC_I_PTRFREE);
}

// Lists of a program's own, as used in a loop.
TEST(loop)
{
    bool clean = true;
    for (int i = 0; i < 300000; i++) {
        long *p = NULL;
        GC_MALLOC_WORDS(p, 6, lists);
        clean &= zero(p, 48);
        memset(p, 0x33, 48);
    }
    is("clean", clean);
    is("bounded", GC_get_heap_size() < 100ul << 20);
}
