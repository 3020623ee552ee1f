// GC_realloc: contents, zeroes in what is new, the ends of the range.
#include "check.h"

static void fill(unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (unsigned char)(i * 7 + 3);
}

static bool filled(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != (unsigned char)(i * 7 + 3))
            return false;
    return true;
}

TEST(ends)
{
    void *p = GC_realloc(NULL, 100);
    is("of_null", p && zero(p, 100));
    is("to_nothing", GC_realloc(p, 0) == NULL);
    is("macro", GC_REALLOC(GC_MALLOC(10), 20) != NULL);
}

TEST(grown)
{
    static const size_t sizes[] = {1, 10, 16, 40, 100, 500, 2000, 5000, 30000, 200000, 2000000};
    unsigned char *p = GC_malloc(1);
    bool kept = true, clean = true, sized = true;
    fill(p, 1);
    for (size_t i = 1; i < sizeof sizes / sizeof *sizes; i++) {
        p = GC_realloc(p, sizes[i]);
        kept &= filled(p, sizes[i - 1]);
        clean &= zero(p + sizes[i - 1], sizes[i] - sizes[i - 1]);
        sized &= GC_size(p) >= sizes[i];
        fill(p, sizes[i]);
    }
    is("kept", kept);
    is("clean", clean);
    is("sized", sized);
    for (size_t i = sizeof sizes / sizeof *sizes - 1; i-- > 0;) {
        p = GC_realloc(p, sizes[i]);
        kept &= filled(p, sizes[i]);
    }
    is("kept_smaller", kept);
}

// A block that shrank and grows again, in place or not: what it held above is gone.
TEST(back_and_forth)
{
    bool clean = true;
    for (int round = 0; round < 200; round++) {
        size_t small = 100 + (size_t)round, big = small * 4;
        unsigned char *p = GC_malloc(big);
        memset(p, 0xee, big);
        p = GC_realloc(p, small);
        p = GC_realloc(p, big);
        clean &= p[0] == 0xee && p[small - 1] == 0xee;
        // the rest of a block that did not move may hold its old bytes in either library
    }
    is("kept", clean);
}

// Half as much again each time: the old ones are given back at once.
TEST(many_steps)
{
    size_t before = GC_get_heap_size();
    char *p = NULL;
    for (int round = 0; round < 300; round++) {
        p = NULL;
        for (size_t n = 16; n < 2000000; n += n / 2)
            p = GC_realloc(p, n);
        GC_free(p);
    }
    is("bounded", GC_get_heap_size() < before + (200ul << 20));
}

TEST(atomic)
{
    unsigned char *p = GC_malloc_atomic(10);
    fill(p, 10);
    for (size_t n = 20; n < 1000000; n *= 3) {
        p = GC_realloc(p, n);
        if (!filled(p, 10))
            abort();
    }
    is("kept", filled(p, 10));
}

TEST(too_much)
{
    unsigned char *p = GC_malloc(100);
    fill(p, 100);
    GC_set_warn_proc(GC_ignore_warn_proc);
    is("null", GC_realloc(p, hide(SIZE_MAX / 4)) == NULL);
    is("untouched", filled(p, 100));
}
