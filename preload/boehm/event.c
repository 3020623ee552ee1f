// What the program is told: collections, the heap's growth, warnings, messages.
//
// Cycles run in the background and end in a stop, where only a number is counted up and
// sv_boehm_due is set if anybody listens. The rest is told afterwards on a thread of the program's,
// at a safe point, with no lock held: a cycle that passed is told as a whole, from its start to its
// end. Of one that GC_gcollect asks for, the start is told before it begins. Nobody is told twice:
// who finds untold cycles takes them, lock held. Within a callback nothing further is told.
#define GC_BUILD
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "boehm.h"
#include "heap.h"
#include "os.h"
#include "text.h"
#include "unlisted.h"
#include "world.h"

#define WARNINGS 16  // that wait at most; further ones are dropped
#define THREADS 64   // that are told of at most, in thread events
#define GROWTH 8     // the heap is told to have grown by one part in so many ...
#define GROWTH_MIN 8 // ... and by so many pages at least

#define get(variable) __atomic_load_n(&(variable), __ATOMIC_RELAXED)
#define set(variable, value) __atomic_store_n(&(variable), value, __ATOMIC_RELAXED)

GC_word GC_gc_no;
GC_on_heap_resize_proc GC_on_heap_resize;

static void warn_default(char *format, GC_word arg);

static struct {
    GC_warn_proc warn;                 // anyone, relaxed; likewise the next three
    GC_start_callback_proc start;      //
    GC_on_collection_event_proc event; //
    GC_on_thread_event_proc thread;    //
    GC_word told;                      // held: cycles that were told, or that nobody listened to
    uint64_t grown;                    // heap lock: bytes that the heap has grown to; relaxed
    uint64_t grown_told;               // held
    struct {
        const char *format;
        uintptr_t arg;
    } warnings[WARNINGS]; // held
    unsigned nwarnings;   // held
} events = {.warn = warn_default};

static bool listening(void)
{
    return get(events.start) || get(events.event) || get(events.thread);
}

// ---- told in a stop, or under the heap's lock ---------------------------------------------------

void sv_event_commit(void)
{
    GC_gc_no++;
    sv_info_commit();
    if (listening())
        atomic_store_explicit(&sv_boehm_due, true, memory_order_relaxed);
    else
        events.told = GC_gc_no;
}

uint64_t sv_event_grown(uint64_t bytes)
{
    set(events.grown, bytes);
    atomic_store_explicit(&sv_boehm_due, true, memory_order_relaxed);
    uint64_t pages = bytes >> SV_PAGE_SHIFT, more = pages / GROWTH;
    return pages + (more > GROWTH_MIN ? more : GROWTH_MIN);
}

void sv_event_warn_held(const char *format, uintptr_t arg)
{
    if (events.nwarnings == WARNINGS)
        return;
    events.warnings[events.nwarnings].format = format;
    events.warnings[events.nwarnings++].arg = arg;
    atomic_store_explicit(&sv_boehm_due, true, memory_order_relaxed);
}

void sv_event_warn(const char *format, uintptr_t arg)
{
    sv_boehm_lock();
    sv_event_warn_held(format, arg);
    sv_boehm_unlock();
}

// ---- telling ------------------------------------------------------------------------------------

static void event_tell(GC_EventType type)
{
    GC_on_collection_event_proc fn = get(events.event);
    if (fn)
        fn(type);
}

// Each thread of the program's but the caller, by its handle, which is glibc's.
static void threads_tell(GC_EventType type)
{
    GC_on_thread_event_proc fn = get(events.thread);
    uintptr_t handle[THREADS];
    unsigned n = 0;
    if (!fn)
        return;
    struct sv_thread *me = sv_world_self();
    sv_world_lock();
    for (struct sv_thread *t = sv_world_threads(); t && n < THREADS; t = t->next)
        if (t != me && !t->worker && !t->gone && t->tcb)
            handle[n++] = t->tcb;
    sv_world_unlock();
    for (unsigned i = 0; i < n; i++)
        fn(type, (void *)handle[i]);
}

static void start_tell(void)
{
    GC_start_callback_proc fn = get(events.start);
    event_tell(GC_EVENT_START);
    if (fn)
        fn();
}

static void rest_tell(void)
{
    event_tell(GC_EVENT_PRE_STOP_WORLD);
    threads_tell(GC_EVENT_THREAD_SUSPENDED);
    event_tell(GC_EVENT_POST_STOP_WORLD);
    event_tell(GC_EVENT_MARK_START);
    event_tell(GC_EVENT_MARK_END);
    event_tell(GC_EVENT_PRE_START_WORLD);
    threads_tell(GC_EVENT_THREAD_UNSUSPENDED);
    event_tell(GC_EVENT_POST_START_WORLD);
    event_tell(GC_EVENT_RECLAIM_START);
    event_tell(GC_EVENT_RECLAIM_END);
    event_tell(GC_EVENT_END);
}

// How many cycles the caller is to tell of.
static GC_word untold_take(void)
{
    sv_boehm_lock();
    GC_word n = GC_gc_no - events.told;
    events.told = GC_gc_no;
    sv_boehm_unlock();
    return n;
}

static void cycles_tell(void)
{
    if (!listening())
        return;
    for (GC_word n = untold_take(); n > 0; n--) {
        start_tell();
        rest_tell();
    }
}

static void growth_tell(void)
{
    GC_on_heap_resize_proc fn = get(GC_on_heap_resize);
    uint64_t grown = get(events.grown);
    sv_boehm_lock();
    bool more = grown > events.grown_told;
    if (more)
        events.grown_told = grown;
    sv_boehm_unlock();
    if (fn && more)
        fn(grown);
}

static void warnings_tell(void)
{
    for (;;) {
        sv_boehm_lock();
        const char *format = events.nwarnings ? events.warnings[0].format : NULL;
        uintptr_t arg = events.warnings[0].arg;
        if (format)
            memmove(&events.warnings[0], &events.warnings[1],
                    --events.nwarnings * sizeof events.warnings[0]);
        sv_boehm_unlock();
        if (!format)
            return;
        get(events.warn)((char *)format, arg);
    }
}

void sv_event_poll(void)
{
    cycles_tell();
    growth_tell();
    warnings_tell();
}

void sv_event_begin(void)
{
    if (!listening() || !sv_callback_enter())
        return;
    cycles_tell();
    start_tell();
    sv_callback_leave();
}

// The first that passed meanwhile is the one whose start was told.
void sv_event_end(void)
{
    if (!listening() || !sv_callback_enter())
        return;
    GC_word n = untold_take();
    rest_tell();
    for (; n > 1; n--) {
        start_tell();
        rest_tell();
    }
    sv_callback_leave();
}

// ---- who listens --------------------------------------------------------------------------------

void GC_set_start_callback(GC_start_callback_proc fn)
{
    set(events.start, fn);
}

GC_start_callback_proc GC_get_start_callback(void)
{
    return get(events.start);
}

void GC_set_on_collection_event(GC_on_collection_event_proc fn)
{
    set(events.event, fn);
}

GC_on_collection_event_proc GC_get_on_collection_event(void)
{
    return get(events.event);
}

void GC_set_on_thread_event(GC_on_thread_event_proc fn)
{
    set(events.thread, fn);
}

GC_on_thread_event_proc GC_get_on_thread_event(void)
{
    return get(events.thread);
}

void GC_set_on_heap_resize(GC_on_heap_resize_proc fn)
{
    set(GC_on_heap_resize, fn);
}

GC_on_heap_resize_proc GC_get_on_heap_resize(void)
{
    return get(GC_on_heap_resize);
}

void GC_set_warn_proc(GC_warn_proc fn)
{
    set(events.warn, fn);
}

GC_warn_proc GC_get_warn_proc(void)
{
    return get(events.warn);
}

void GC_ignore_warn_proc(char *format, GC_word arg)
{
    (void)format;
    (void)arg;
}

// ---- messages -----------------------------------------------------------------------------------

static int log_fd = STDERR_FILENO; // anyone, relaxed

void GC_set_log_fd(int fd)
{
    set(log_fd, fd);
    sv_log_set(fd);
}

static void message_write(int fd, const char *format, va_list args)
{
    char text[1024];
    int n = vsnprintf(text, sizeof text, format, args);
    if (n > 0)
        sv_os_write(fd, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
}

#define MESSAGE(name, fd)                                                                          \
    void name(const char *format, ...)                                                             \
    {                                                                                              \
        va_list args;                                                                              \
        va_start(args, format);                                                                    \
        message_write(fd, format, args);                                                           \
        va_end(args);                                                                              \
    }

MESSAGE(GC_printf, STDOUT_FILENO)
MESSAGE(GC_err_printf, STDERR_FILENO)
MESSAGE(GC_log_printf, get(log_fd))

#pragma GCC diagnostic ignored "-Wformat-nonliteral" // a warning is the format of its own message

static void warn_default(char *format, GC_word arg)
{
    GC_err_printf(format, arg);
}
