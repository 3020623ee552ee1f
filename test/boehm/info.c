// What the collector tells of itself.
#include "check.h"

TEST(version)
{
    unsigned v = GC_get_version();
    say("version", "%u.%u.%u", v >> 16, v >> 8 & 255, v & 255);
}

TEST(started)
{
    is("initialised", GC_is_init_called() != 0);
    GC_init();
    GC_INIT();
    is("heap", GC_get_heap_size() > 0);
}

TEST_RAW(not_started)
{
    is("by_allocation", GC_malloc(10) != NULL);
    is("initialised", GC_is_init_called() != 0);
}

TEST(collections)
{
    GC_word before = GC_get_gc_no();
    for (int i = 0; i < 5; i++) {
        GC_word last = GC_get_gc_no();
        GC_gcollect();
        if (GC_get_gc_no() <= last)
            abort();
    }
    is("counted", GC_get_gc_no() >= before + 5);
    is("variable", GC_gc_no == GC_get_gc_no());
}

void *held[100];

TEST(sizes)
{
    size_t heap = GC_get_heap_size(), total = GC_get_total_bytes();
    for (int i = 0; i < 100; i++)
        held[i] = GC_malloc(500000);
    is("heap_grows", GC_get_heap_size() >= heap + 100 * 400000ul);
    is("total_grows", GC_get_total_bytes() >= total + 100 * 500000ul);
    is("free_below", GC_get_free_bytes() <= GC_get_heap_size());
    is("obtained", GC_get_obtained_from_os_bytes() >= GC_get_heap_size());
    is("use", GC_get_memory_use() >= 100 * 500000ul);
    GC_gcollect();
    is("since", GC_get_bytes_since_gc() < 100 * 500000ul);
    memset(held, 0, sizeof held);
    collect();
    is("free_grows", GC_get_free_bytes() + GC_get_unmapped_bytes() > 20 * 500000ul);
    is("total_stays", GC_get_total_bytes() >= total + 100 * 500000ul);
}

TEST(since_collection)
{
    GC_gcollect();
    size_t before = GC_get_bytes_since_gc();
    GC_disable();
    for (int i = 0; i < 1000; i++)
        if (!GC_malloc(4000))
            abort();
    is("allocated", GC_get_bytes_since_gc() >= before + 3000000);
    before = GC_get_expl_freed_bytes_since_gc();
    for (int i = 0; i < 1000; i++)
        GC_free(GC_malloc(4000));
    is("freed", GC_get_expl_freed_bytes_since_gc() >= before + 3000000);
    GC_enable();
}

TEST(usage_safe)
{
    GC_word heap = 0, free_bytes = 0, unmapped = 1, since = 0, total = 0;
    held[0] = GC_malloc(1000000);
    GC_get_heap_usage_safe(&heap, &free_bytes, &unmapped, &since, &total);
    is("heap", heap > 0 && heap >= free_bytes);
    is("total", total >= 1000000 && total >= since);
    GC_get_heap_usage_safe(NULL, NULL, NULL, NULL, NULL);
    GC_get_heap_usage_safe(&heap, NULL, NULL, NULL, NULL);
    is("some", heap > 0);
}

TEST(prof_stats)
{
    struct GC_prof_stats_s s;
    memset(&s, 0x77, sizeof s);
    held[0] = GC_malloc(1000000);
    GC_gcollect();
    number("whole", (long)GC_get_prof_stats(&s, sizeof s));
    is("heap", s.heapsize_full > 0 && s.free_bytes_full <= s.heapsize_full);
    is("number", s.gc_no >= 1 && s.gc_no <= GC_get_gc_no());
    is("allocated", s.bytes_allocd_since_gc + s.allocd_bytes_before_gc >= 1000000);
    memset(&s, 0x77, sizeof s);
    number("part", (long)GC_get_prof_stats(&s, 3 * sizeof(GC_word)));
    is("rest_untouched", s.bytes_allocd_since_gc == 0x7777777777777777);
    struct {
        struct GC_prof_stats_s known;
        GC_word unknown[2];
    } more;
    memset(&more, 0, sizeof more);
    number("more", (long)GC_get_prof_stats(&more.known, sizeof more));
    is("unknown", more.unknown[0] == (GC_word)-1 && more.unknown[1] == (GC_word)-1);
    number("unsafe", (long)GC_get_prof_stats_unsafe(&s, sizeof s));
}

TEST(clear_stack)
{
    void *p = GC_malloc(10);
    is("argument", GC_clear_stack(p) == p && GC_clear_stack(NULL) == NULL);
}

TEST(performance)
{
    GC_start_performance_measurement();
    GC_gcollect();
    is("time", GC_get_full_gc_total_time() < 100000);
}
