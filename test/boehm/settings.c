// Getters and setters: the values that programs find, and that what is set is read again.
#include "check.h"

#define DEFAULT(name) number(#name, (long)GC_get_##name())

TEST(defaults)
{
    DEFAULT(suspend_signal);
    DEFAULT(thr_restart_signal);
    DEFAULT(all_interior_pointers);
    DEFAULT(java_finalization);
    DEFAULT(finalize_on_demand);
    DEFAULT(find_leak);
    DEFAULT(full_freq);
    DEFAULT(free_space_divisor);
    DEFAULT(time_limit);
    DEFAULT(rate);
    DEFAULT(max_prior_attempts);
    DEFAULT(max_retries);
    DEFAULT(dont_expand);
    DEFAULT(dont_precollect);
    DEFAULT(no_dls);
    DEFAULT(disable_automatic_collection);
    DEFAULT(force_unmap_on_gcollect);
    DEFAULT(pages_executable);
    DEFAULT(min_bytes_allocd);
    DEFAULT(allocd_bytes_per_finalizer);
    DEFAULT(manual_vdb_allowed);
    number("header", (long)GC_get_debug_header_size());
    number("limit_tv", (long)GC_get_time_limit_tv().tv_nsec);
    number("incremental", GC_is_incremental_mode());
}

TEST(variables)
{
    number("all_interior_pointers", GC_all_interior_pointers);
    number("java_finalization", GC_java_finalization);
    number("finalize_on_demand", GC_finalize_on_demand);
    number("find_leak", GC_find_leak);
    number("full_freq", GC_full_freq);
    number("free_space_divisor", (long)GC_free_space_divisor);
    number("time_limit", (long)GC_time_limit);
    number("max_retries", (long)GC_max_retries);
    number("dont_expand", GC_dont_expand);
    number("dont_precollect", GC_dont_precollect);
    number("dont_gc", GC_dont_gc);
    number("no_dls", GC_no_dls);
    is("finalizer_notifier", GC_finalizer_notifier == NULL);
    is("on_heap_resize", GC_on_heap_resize == NULL);
    is("oom_fn", GC_oom_fn == GC_get_oom_fn());
}

#define ROUND(name, value)                                                                         \
    do {                                                                                           \
        GC_set_##name(value);                                                                      \
        number(#name, (long)GC_get_##name());                                                      \
    } while (0)

TEST(round_trips)
{
    ROUND(java_finalization, 0);
    ROUND(finalize_on_demand, 1);
    ROUND(full_freq, 7);
    ROUND(free_space_divisor, 5);
    ROUND(time_limit, 33);
    ROUND(rate, 4);
    ROUND(max_prior_attempts, 2);
    ROUND(max_retries, 3);
    ROUND(dont_expand, 1);
    ROUND(dont_precollect, 1);
    ROUND(no_dls, 1);
    ROUND(disable_automatic_collection, 1);
    ROUND(force_unmap_on_gcollect, 1);
    ROUND(min_bytes_allocd, 5000);
    ROUND(allocd_bytes_per_finalizer, 9000);
    ROUND(non_gc_bytes, 12345);
    ROUND(all_interior_pointers, 0);
    number("variable_java", GC_java_finalization);
    number("variable_divisor", (long)GC_free_space_divisor);
    number("variable_demand", GC_finalize_on_demand);
    number("variable_non_gc", (long)GC_non_gc_bytes);
    struct GC_timeval_s tv = {20, 500};
    GC_set_time_limit_tv(tv);
    number("tv_ms", (long)GC_get_time_limit_tv().tv_ms);
    number("tv_nsec", (long)GC_get_time_limit_tv().tv_nsec);
    number("tv_as_limit", (long)GC_get_time_limit());
}

TEST(assigned)
{
    GC_java_finalization = 0;
    GC_finalize_on_demand = 1;
    GC_free_space_divisor = 9;
    GC_max_retries = 2;
    number("java", GC_get_java_finalization());
    number("demand", GC_get_finalize_on_demand());
    number("divisor", (long)GC_get_free_space_divisor());
    number("retries", (long)GC_get_max_retries());
}

TEST_RAW(before_start)
{
    GC_set_suspend_signal(SIGUSR2);
    GC_set_thr_restart_signal(SIGUSR1);
    GC_set_handle_fork(1);
    GC_set_markers_count(2);
    GC_set_pages_executable(0);
    GC_set_dont_precollect(1);
    GC_INIT();
    number("suspend", GC_get_suspend_signal());
    number("restart", GC_get_thr_restart_signal());
    GC_gcollect();
    is("goes_on", GC_malloc(10) != NULL);
}

TEST_RAW(signals_late)
{
    GC_INIT();
    GC_set_suspend_signal(SIGUSR2);
    number("suspend", GC_get_suspend_signal());
}

TEST(log_fd)
{
    GC_set_log_fd(STDERR_FILENO);
    GC_gcollect();
    is("goes_on", true);
}
