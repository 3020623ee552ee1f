// Callbacks: the start of a collection, its events, heap growth, no memory, warnings, stop
// function.
#include "check.h"

static long starts, kinds[12], resizes, last_size, last_kind = -1;

static void start(void)
{
    starts++;
}

TEST(start_callback)
{
    is("none", GC_get_start_callback() == NULL);
    GC_set_start_callback(start);
    is("set", GC_get_start_callback() == start);
    GC_gcollect();
    is("called", starts >= 1);
    long before = starts;
    GC_gcollect();
    is("called_again", starts > before);
    GC_set_start_callback(NULL);
    before = starts;
    GC_gcollect();
    number("removed", starts - before);
}

static bool disorder;

static void event(GC_EventType kind)
{
    if (kind < 12)
        kinds[kind]++;
    if (kind == GC_EVENT_START)
        disorder |= last_kind != -1 && last_kind != GC_EVENT_END;
    if (kind == GC_EVENT_END)
        disorder |= last_kind == GC_EVENT_END || last_kind == -1;
    if (kind == GC_EVENT_START || kind == GC_EVENT_END)
        last_kind = kind;
}

TEST(events)
{
    is("none", GC_get_on_collection_event() == NULL);
    GC_set_on_collection_event(event);
    is("set", GC_get_on_collection_event() == event);
    GC_gcollect();
    GC_gcollect();
    is("start", kinds[GC_EVENT_START] >= 2);
    is("mark_start", kinds[GC_EVENT_MARK_START] >= 2);
    is("mark_end", kinds[GC_EVENT_MARK_END] >= 2);
    is("reclaim_start", kinds[GC_EVENT_RECLAIM_START] >= 2);
    is("reclaim_end", kinds[GC_EVENT_RECLAIM_END] >= 2);
    is("end", kinds[GC_EVENT_END] >= 2);
    is("pre_stop", kinds[GC_EVENT_PRE_STOP_WORLD] >= 2);
    is("post_stop", kinds[GC_EVENT_POST_STOP_WORLD] >= 2);
    is("pre_start", kinds[GC_EVENT_PRE_START_WORLD] >= 2);
    is("post_start", kinds[GC_EVENT_POST_START_WORLD] >= 2);
    is("in_order", !disorder);
    is("balanced", kinds[GC_EVENT_START] == kinds[GC_EVENT_END]);
}

static void thread_event(GC_EventType kind, void *thread)
{
    kinds[kind]++;
    (void)thread;
}

TEST(thread_events)
{
    is("none", GC_get_on_thread_event() == NULL);
    GC_set_on_thread_event(thread_event);
    is("set", GC_get_on_thread_event() == thread_event);
    GC_gcollect();
    is("goes_on", true);
}

static void resize(GC_word size)
{
    resizes++;
    last_size = (long)size;
}

void *held[300];

TEST(heap_resize)
{
    is("none", GC_get_on_heap_resize() == NULL);
    GC_set_on_heap_resize(resize);
    is("set", GC_get_on_heap_resize() == resize);
    for (int i = 0; i < 300; i++)
        held[i] = GC_malloc(1 << 18);
    is("called", resizes > 0);
    is("size", last_size > 300l << 17);
    GC_set_on_heap_resize(NULL);
}

static long oom_size;
static char *spare;

static void *oom(size_t size)
{
    oom_size = (long)size;
    return spare;
}

TEST(out_of_memory)
{
    is("default", GC_get_oom_fn() != NULL && GC_get_oom_fn()(100) == NULL);
    GC_set_warn_proc(GC_ignore_warn_proc);
    GC_set_oom_fn(oom);
    is("set", GC_get_oom_fn() == oom);
    is("null", GC_malloc(hide((size_t)1 << 60)) == NULL);
    is("size", oom_size >= 1l << 60);
    spare = GC_malloc(10);
    is("spare", GC_malloc(hide((size_t)1 << 60)) == spare);
    is("spare_atomic", GC_malloc_atomic(hide((size_t)1 << 60)) == spare);
    is("spare_uncollectable", GC_malloc_uncollectable(hide((size_t)1 << 60)) == spare);
}

static void warn(char *message, GC_word argument)
{
    (void)message;
    (void)argument;
}

TEST(warn_proc)
{
    is("default", GC_get_warn_proc() != NULL);
    GC_set_warn_proc(warn);
    is("set", GC_get_warn_proc() == warn);
    GC_set_warn_proc(GC_ignore_warn_proc);
    is("ignore", GC_get_warn_proc() == GC_ignore_warn_proc);
    GC_ignore_warn_proc((char *)"nothing %d\n", 5);
}

static void aborting(const char *message)
{
    (void)message;
}

TEST(abort_func)
{
    is("default", GC_get_abort_func() != NULL);
    GC_set_abort_func(aborting);
    is("set", GC_get_abort_func() == aborting);
}

// The program ends here, through the abort function.
static void last_words(const char *message)
{
    is("told", message == NULL);
}

TEST(abort_on_oom)
{
    GC_set_abort_func(last_words);
    GC_abort_on_oom();
}

static int stop_never(void)
{
    kinds[0]++;
    return 0;
}

static int stop_at_once(void)
{
    kinds[0]++;
    return 1;
}

TEST(stop_function)
{
    is("default", GC_get_stop_func() != NULL && GC_get_stop_func()() == 0);
    number("never", GC_try_to_collect(stop_never));
    is("asked", kinds[0] > 0);
    number("at_once", GC_try_to_collect(stop_at_once));
    GC_set_stop_func(stop_never);
    is("set", GC_get_stop_func() == stop_never);
    GC_word before = GC_get_gc_no();
    GC_set_stop_func(stop_never);
    GC_gcollect();
    is("collected", GC_get_gc_no() > before);
    GC_disable();
    number("disabled", GC_try_to_collect(stop_never));
    GC_enable();
}

TEST(lock)
{
    GC_alloc_lock();
    GC_alloc_unlock();
    is("free", GC_malloc(10) != NULL);
}
