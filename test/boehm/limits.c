// The size of the heap: limits, growth asked for, no collections, no growth.
#include "check.h"

#define MIB (1ul << 20)

void *held[4000];

TEST(max_heap_size)
{
    GC_set_warn_proc(GC_ignore_warn_proc);
    GC_set_max_heap_size(64 * MIB);
    long n = 0;
    for (; n < 4000; n++)
        if (!(held[n] = GC_malloc(MIB / 4)))
            break;
    is("ends", n < 4000);
    is("enough", n > 100);
    is("below", GC_get_heap_size() <= 65 * MIB);
    memset(held, 0, sizeof held);
    collect();
    is("again", GC_malloc(MIB / 4) != NULL);
    GC_set_max_heap_size(0);
    for (n = 0; n < 500; n++)
        if (!(held[n] = GC_malloc(MIB / 4)))
            break;
    number("unlimited", n);
}

TEST(max_heap_size_small)
{
    GC_set_warn_proc(GC_ignore_warn_proc);
    GC_set_max_heap_size(32 * MIB);
    void **head = NULL;
    long n = 0;
    for (; n < 2000000; n++) {
        void **p = GC_malloc(100);
        if (!p)
            break;
        *p = head;
        head = p;
    }
    is("ends", n < 2000000);
    is("enough", n > 100000);
    held[0] = head;
}

// Garbage goes on for ever below the limit.
TEST(max_heap_size_garbage)
{
    GC_set_max_heap_size(48 * MIB);
    bool all = true;
    for (int i = 0; i < 3000000; i++)
        all &= GC_malloc(64) != NULL;
    is("all", all);
}

TEST(expand)
{
    size_t before = GC_get_heap_size();
    number("grown", GC_expand_hp(20 * MIB));
    is("size", GC_get_heap_size() >= before + 20 * MIB);
    GC_set_warn_proc(GC_ignore_warn_proc);
    GC_set_max_heap_size(100 * MIB);
    number("too_much", GC_expand_hp(200 * MIB));
}

TEST(disabled)
{
    number("enabled", GC_is_disabled());
    GC_disable();
    GC_disable();
    is("disabled", GC_is_disabled() != 0);
    GC_word before = GC_get_gc_no();
    GC_gcollect();
    for (int i = 0; i < 300000; i++)
        if (!GC_malloc(100))
            abort();
    is("none", GC_get_gc_no() == before);
    GC_enable();
    is("still", GC_is_disabled() != 0);
    GC_enable();
    number("again", GC_is_disabled());
    GC_gcollect();
    is("collected", GC_get_gc_no() > before);
}

TEST(variable)
{
    GC_dont_gc = 1;
    is("disabled", GC_is_disabled() != 0);
    GC_word before = GC_get_gc_no();
    GC_gcollect();
    is("none", GC_get_gc_no() == before);
    GC_dont_gc = 0;
    GC_gcollect();
    is("collected", GC_get_gc_no() > before);
}

TEST(automatic)
{
    number("default", GC_get_disable_automatic_collection());
    GC_set_disable_automatic_collection(1);
    number("set", GC_get_disable_automatic_collection());
    GC_word before = GC_get_gc_no();
    GC_gcollect();
    is("asked_for", GC_get_gc_no() > before);
}

TEST(little)
{
    while (GC_collect_a_little())
        ;
    is("ends", true);
    GC_word before = GC_get_gc_no();
    GC_gcollect_and_unmap();
    is("unmap", GC_get_gc_no() > before);
}

TEST(incremental)
{
    GC_enable_incremental();
    for (int i = 0; i < 200000; i++)
        if (!GC_malloc(100))
            abort();
    GC_start_incremental_collection();
    while (GC_collect_a_little())
        ;
    is("done", true);
}
