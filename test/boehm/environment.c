// The variables of the environment that users of programs set.
#include "check.h"

#define MIB (1ul << 20)

static void *held[4000];

static void work(void)
{
    for (int i = 0; i < 100000; i++)
        held[i % 4000] = GC_malloc(100);
    GC_gcollect();
    is("works", held[0] != NULL);
}

TEST_ENV(initial_heap_size, "GC_INITIAL_HEAP_SIZE=40M")
{
    is("size", GC_get_heap_size() >= 40 * MIB);
    work();
}

TEST_ENV(initial_in_bytes, "GC_INITIAL_HEAP_SIZE=30000000")
{
    is("size", GC_get_heap_size() >= 29900000);
}

TEST_ENV(maximum_heap_size, "GC_MAXIMUM_HEAP_SIZE=32M")
{
    GC_set_warn_proc(GC_ignore_warn_proc);
    int n = 0;
    while (n < 2000 && (held[n] = GC_malloc(MIB / 4)))
        n++;
    is("ends", n < 200);
    is("enough", n > 50);
}

TEST_ENV(dont_gc, "GC_DONT_GC=1")
{
    is("disabled", GC_is_disabled() != 0);
    GC_word before = GC_get_gc_no();
    work();
    is("none", GC_get_gc_no() == before);
}

TEST_ENV(markers, "GC_MARKERS=1")
{
    number("parallel", GC_get_parallel());
    work();
}

TEST_ENV(processors, "GC_NPROCS=1")
{
    work();
}
TEST_ENV(print_stats, "GC_PRINT_STATS=1")
{
    work();
}
TEST_ENV(print_verbose_stats, "GC_PRINT_VERBOSE_STATS=1")
{
    work();
}
TEST_ENV(incremental, "GC_ENABLE_INCREMENTAL=1")
{
    work();
}
TEST_ENV(pause_time, "GC_PAUSE_TIME_TARGET=5")
{
    number("limit", (long)GC_get_time_limit());
    work();
}

TEST_ENV(divisor, "GC_FREE_SPACE_DIVISOR=6")
{
    number("divisor", (long)GC_get_free_space_divisor());
    work();
}

TEST_ENV(interior, "GC_ALL_INTERIOR_POINTERS=1")
{
    number("interior", GC_get_all_interior_pointers());
    work();
}

TEST_ENV(find_leak, "GC_FIND_LEAK=1")
{
    number("find_leak", GC_get_find_leak());
    GC_free(GC_malloc(100));
    is("works", GC_malloc(10) != NULL);
}

TEST_ENV(log_file, "GC_LOG_FILE=/dev/null")
{
    work();
}
TEST_ENV(nonsense, "GC_INITIAL_HEAP_SIZE=much")
{
    work();
}
