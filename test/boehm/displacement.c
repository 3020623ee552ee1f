// Pointers into objects: with interior pointers recognised, which is the default, all keep.
#include "check.h"

#define N 300

char *held[N];

NOINLINE static void make(struct herd h, size_t size, size_t offset)
{
    for (long i = 0; i < h.n; i++) {
        char *p = GC_malloc(size);
        herd_put(h, i, p);
        held[i] = p + offset;
    }
}

static void static_at(size_t size, size_t offset)
{
    struct herd h = herd_new(N);
    make(h, size, offset);
    say("kept", "%s", herd_share(h));
}

TEST(first)
{
    static_at(100, 0);
}
TEST(middle)
{
    static_at(100, 51);
}
TEST(last)
{
    static_at(100, 99);
}
TEST(large_middle)
{
    static_at(20000, 9999);
}
TEST(large_last)
{
    static_at(20000, 19999);
}

char **inner;

NOINLINE static void heap_make(struct herd h, size_t offset)
{
    inner = GC_malloc(N * sizeof *inner);
    for (long i = 0; i < h.n; i++) {
        char *p = GC_malloc(100);
        herd_put(h, i, p);
        inner[i] = p + offset;
    }
}

TEST(from_heap)
{
    struct herd h = herd_new(N);
    heap_make(h, 40);
    say("kept", "%s", herd_share(h));
}

TEST(registered)
{
    GC_register_displacement(8);
    GC_register_displacement(3);
    GC_debug_register_displacement(16);
    struct herd h = herd_new(N);
    heap_make(h, 3);
    say("kept", "%s", herd_share(h));
}

// As a runtime that tags its pointers does it: interior pointers off, one displacement.
TEST_RAW(tagged)
{
    GC_set_all_interior_pointers(0);
    GC_INIT();
    GC_register_displacement(4);
    number("getter", GC_get_all_interior_pointers());
    struct herd h = herd_new(N);
    heap_make(h, 4);
    say("kept", "%s", herd_share(h));
    inner = NULL;
    say("lost", "%s", herd_share(h));
}
