// Starting, collecting on demand, and the settings. What a setting of bdwgc's tunes is mostly not
// there: such a one is remembered, and told when it is asked for. What acts:
//
// - GC_disable, GC_dont_gc: no cycle begins while they say so (sv_control_wanted), and GC_disable
//   returns when none is under way, since the program may hide its pointers from then on. It waits
//   first and forbids then: who has asked for a collection gets it.
// - GC_set_max_heap_size: the heap's limit, at which an allocation collects and then fails.
// - GC_set_free_space_divisor: the growth between cycles. 3, bdwgc's own, is the collector's own.
// - GC_set_disable_automatic_collection, GC_set_stop_func: asked before allocation begins a cycle.
// - GC_set_log_fd and the environment's GC_PRINT_STATS, GC_LOG_FILE: the collector's log.
//
// The variables that bdwgc shows are the settings themselves: programs write them too, at any time,
// without a lock; each is one word and is read as it is.
#define GC_BUILD
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "boehm.h"
#include "cycle.h"
#include "heap.h"
#include "options.h"
#include "os.h"
#include "scavenge.h"
#include "text.h"
#include "unlisted.h"
#include "worker.h"

#define PERCENT_DIVISOR 300u // gcpercent 100 is a free space divisor of 3
#define LITTLE_NS 1000000u   // GC_collect_a_little waits so long for a cycle under way
#define DISABLE_TRIES 64u    // GC_disable waits so often for others, who may come again at once
#define HEAP_FIRST 65536u    // bytes that the heap counts before there is any
#define SUSPEND_SIGNAL 30
#define RESTART_SIGNAL 24

#define get(variable) __atomic_load_n(&(variable), __ATOMIC_RELAXED)
#define set(variable, value) __atomic_store_n(&(variable), value, __ATOMIC_RELAXED)

int GC_dont_gc;
int GC_all_interior_pointers = 1;
int GC_dont_expand;
int GC_dont_precollect;
int GC_find_leak;
int GC_full_freq = 19;
int GC_no_dls;
int GC_parallel;
int GC_use_entire_heap;
GC_word GC_free_space_divisor = 3;
GC_word GC_max_retries;
GC_word GC_non_gc_bytes;
unsigned long GC_time_limit = GC_TIME_UNLIMITED;

static void *oom_default(size_t bytes)
{
    (void)bytes;
    return NULL;
}

static void abort_default(const char *message)
{
    if (message)
        sv_error("%s", message);
}

static int stop_default(void)
{
    return 0;
}

GC_oom_func GC_oom_fn = oom_default;
GC_abort_func GC_on_abort = abort_default;

static struct {
    bool begun;              // sv_boehm_init: settings that are only for before are closed
    bool ended;              // anyone: GC_deinit was called
    bool incremental;        // anyone
    size_t expanded;         // anyone: bytes that the heap counts at least
    unsigned long time_nsec; // anyone: beyond GC_time_limit's milliseconds
    unsigned markers;        // before: as set, 0: not
    GC_stop_func stop;       // anyone
    _Atomic uint32_t asking; // anyone: threads that wait for a collection they asked for
    // only remembered
    GC_word allocd_bytes_per_finalizer;
    size_t min_bytes_allocd;
    int rate, max_prior_attempts, force_unmap, executable, manual, automatic_off;
    int suspend_signal, restart_signal, handle_fork;
} control = {.stop = stop_default,
             .allocd_bytes_per_finalizer = 10000,
             .min_bytes_allocd = 1,
             .rate = 10,
             .max_prior_attempts = 1,
             .suspend_signal = SUSPEND_SIGNAL,
             .restart_signal = RESTART_SIGNAL};

// ---- start --------------------------------------------------------------------------------------

unsigned GC_get_version(void)
{
    return GC_VERSION_MAJOR << 16 | GC_VERSION_MINOR << 8 | GC_VERSION_MICRO;
}

void GC_init(void)
{
    sv_boehm_init();
    set(control.ended, false);
}

int GC_is_init_called(void)
{
    return sv_boehm_ready && !get(control.ended);
}

// Objects, threads and cycles stay as they are: there is nothing to take down.
void GC_deinit(void)
{
    set(control.ended, true);
}

// Bytes, with k, m or g behind them; 0: nonsense.
static size_t bytes_parse(const char *text)
{
    char *end = NULL;
    size_t bytes = strtoul(text, &end, 10);
    if (end == text)
        return 0;
    switch (*end) {
    case 'g':
    case 'G':
        return bytes << 30;
    case 'm':
    case 'M':
        return bytes << 20;
    case 'k':
    case 'K':
        return bytes << 10;
    default:
        return *end ? 0 : bytes;
    }
}

static long number_of(const char *name)
{
    const char *text = secure_getenv(name);
    return text ? strtol(text, NULL, 10) : 0;
}

static void log_begin(void)
{
    const char *path = secure_getenv("GC_LOG_FILE");
    if (path && *path) {
        int fd = sv_os_open_high(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
        if (fd >= 0)
            sv_log_set(fd);
    }
    if (secure_getenv("GC_PRINT_STATS") && !sv_options.gctrace)
        sv_options.gctrace = 1;
    if (secure_getenv("GC_PRINT_VERBOSE_STATS"))
        sv_options.gctrace = 2;
}

static bool expand(size_t bytes);

static void sizes_begin(void)
{
    const char *initial = secure_getenv("GC_INITIAL_HEAP_SIZE");
    const char *maximum = secure_getenv("GC_MAXIMUM_HEAP_SIZE");
    size_t most = maximum ? bytes_parse(maximum) : 0;
    if (most)
        GC_set_max_heap_size(most);
    size_t least = initial ? bytes_parse(initial) : 0;
    if (least)
        expand(least);
    long divisor = number_of("GC_FREE_SPACE_DIVISOR");
    GC_set_free_space_divisor(divisor > 0 ? (GC_word)divisor : get(GC_free_space_divisor));
}

static void markers_begin(void)
{
    long markers = number_of("GC_MARKERS"), processors = number_of("GC_NPROCS");
    if (markers <= 0)
        markers = control.markers;
    if (markers <= 0)
        markers = processors;
    control.markers = markers > 0 ? (unsigned)markers : sv_os_processors();
}

void sv_control_begin(void)
{
    control.begun = true;
    control.expanded = HEAP_FIRST;
    sv_thread_begin();
    log_begin();
    sizes_begin();
    markers_begin();
    long pause = number_of("GC_PAUSE_TIME_TARGET");
    if (pause > 0)
        set(GC_time_limit, (unsigned long)pause);
    if (secure_getenv("GC_ENABLE_INCREMENTAL"))
        control.incremental = true;
    if (secure_getenv("GC_FIND_LEAK"))
        set(GC_find_leak, 1);
    if (secure_getenv("GC_ALL_INTERIOR_POINTERS"))
        set(GC_all_interior_pointers, 1);
    if (secure_getenv("GC_DONT_GC"))
        set(GC_dont_gc, 1);
    sv_lock_acquire(&sv_heap.lock);
    sv_heap_told = HEAP_FIRST >> SV_PAGE_SHIFT;
    sv_lock_release(&sv_heap.lock);
    GC_least_plausible_heap_addr = (void *)sv_heap.base;
    GC_greatest_plausible_heap_addr = (void *)(sv_heap.base + sv_heap.size);
}

// ---- collecting ---------------------------------------------------------------------------------

bool sv_control_disabled(void)
{
    // seq_cst: GC_disable stores, then looks whether a cycle is under way; who begins one does both
    // the other way round
    return __atomic_load_n(&GC_dont_gc, __ATOMIC_SEQ_CST) != 0;
}

bool sv_control_wanted(bool asked)
{
    if (sv_control_disabled())
        return false;
    if (asked)
        return true;
    if (get(control.automatic_off))
        return false;
    GC_stop_func stop = get(control.stop);
    return stop == stop_default || sv_worker_here() || stop() == 0;
}

static __thread bool asking_here;

// Only the outermost of a thread's counts: GC_disable in a callback of its own doesn't wait for it.
static bool asking_begin(void)
{
    bool outer = !asking_here;
    asking_here = true;
    if (outer)
        atomic_fetch_add_explicit(&control.asking, 1, memory_order_seq_cst);
    return outer;
}

static void asking_end(bool outer)
{
    if (!outer)
        return;
    asking_here = false;
    if (atomic_fetch_sub_explicit(&control.asking, 1, memory_order_seq_cst) == 1)
        sv_os_futex_wake(&control.asking, INT32_MAX);
}

void sv_control_fork_child(void)
{
    atomic_store_explicit(&control.asking, asking_here, memory_order_relaxed);
}

// One whole collection; false: none happened.
static bool collect(GC_stop_func stop, bool unmap)
{
    sv_boehm_init();
    if (stop && stop())
        return false;
    bool outer = asking_begin(); // then the look: see GC_disable
    bool wanted = !sv_control_disabled();
    if (wanted) {
        sv_roots_ask();
        sv_event_begin();
        sv_cycle_collect();
        sv_event_end();
    }
    asking_end(outer);
    if (!wanted)
        return false;
    if (unmap)
        sv_scavenge_all();
    sv_boehm_poll();
    return true;
}

void GC_gcollect(void)
{
    GC_stop_func stop = get(control.stop);
    collect(stop == stop_default ? NULL : stop, get(control.force_unmap));
}

void GC_gcollect_and_unmap(void)
{
    collect(NULL, true);
}

int GC_try_to_collect(GC_stop_func stop)
{
    return collect(stop, get(control.force_unmap));
}

// The worker does the work: to be asked again doesn't speed it up, so who asks waits a little.
int GC_collect_a_little(void)
{
    sv_boehm_init();
    bool running = sv_cycle_running();
    if (running && control.incremental) {
        sv_os_nap(LITTLE_NS);
        running = sv_cycle_running();
    }
    sv_boehm_poll();
    return running && control.incremental;
}

void GC_start_incremental_collection(void)
{
    sv_boehm_init();
    if (control.incremental && !sv_control_disabled())
        sv_cycle_ask();
}

static bool others_ask(void)
{
    return !asking_here && atomic_load_explicit(&control.asking, memory_order_seq_cst) > 0;
}

static void others_wait(void)
{
    uint32_t n;
    while (!asking_here && (n = atomic_load_explicit(&control.asking, memory_order_seq_cst)) > 0)
        sv_os_futex_wait(&control.asking, n, LITTLE_NS);
}

// Who asks for a collection counts itself and looks then whether they are disabled; here it is the
// other way round. While this thread waits nothing is disabled, unless they never stop coming.
void GC_disable(void)
{
    for (unsigned try = 0; sv_boehm_ready && try < DISABLE_TRIES; try++) {
        others_wait();
        sv_cycle_settle();
        __atomic_fetch_add(&GC_dont_gc, 1, __ATOMIC_SEQ_CST);
        if (!others_ask() && !sv_cycle_running())
            return;
        __atomic_fetch_sub(&GC_dont_gc, 1, __ATOMIC_SEQ_CST);
    }
    __atomic_fetch_add(&GC_dont_gc, 1, __ATOMIC_SEQ_CST);
    if (sv_boehm_ready)
        sv_cycle_settle();
}

void GC_enable(void)
{
    __atomic_fetch_sub(&GC_dont_gc, 1, __ATOMIC_SEQ_CST);
}

int GC_is_disabled(void)
{
    return get(GC_dont_gc) != 0;
}

void GC_enable_incremental(void)
{
    sv_boehm_init();
    set(control.incremental, true);
}

int GC_is_incremental_mode(void)
{
    return control.incremental;
}

int GC_incremental_protection_needs(void)
{
    return GC_PROTECTS_NONE;
}

// ---- the heap's size ----------------------------------------------------------------------------

size_t sv_control_expanded(void)
{
    return get(control.expanded);
}

void GC_set_max_heap_size(GC_word bytes)
{
    uint64_t pages = bytes ? bytes >> SV_PAGE_SHIFT : UINT64_MAX;
    atomic_store_explicit(&sv_heap_limit, pages ? pages : 1, memory_order_relaxed);
}

// Memory is taken from the kernel when it is needed: here it counts, and no cycle comes before it
// is in use.
static bool expand(size_t bytes)
{
    uint64_t limit = atomic_load_explicit(&sv_heap_limit, memory_order_relaxed);
    size_t size = GC_get_heap_size() + bytes;
    if (size < bytes || size >> SV_PAGE_SHIFT > limit || size > sv_heap.size)
        return false;
    set(control.expanded, size);
    sv_cycle_floor(size);
    return true;
}

int GC_expand_hp(size_t bytes)
{
    sv_boehm_init();
    return expand(bytes);
}

void GC_set_free_space_divisor(GC_word divisor)
{
    set(GC_free_space_divisor, divisor);
    GC_word percent = divisor ? PERCENT_DIVISOR / divisor : PERCENT_DIVISOR;
    if (sv_options.gcpercent == 100 && sv_heap.npages)
        sv_cycle_gcpercent(percent ? (uint32_t)percent : 1);
}

GC_word GC_get_free_space_divisor(void)
{
    return get(GC_free_space_divisor);
}

// ---- out of memory ------------------------------------------------------------------------------

void GC_set_oom_fn(GC_oom_func fn)
{
    set(GC_oom_fn, fn);
}

GC_oom_func GC_get_oom_fn(void)
{
    return get(GC_oom_fn);
}

void GC_set_abort_func(GC_abort_func fn)
{
    set(GC_on_abort, fn);
}

GC_abort_func GC_get_abort_func(void)
{
    return get(GC_on_abort);
}

void GC_abort_on_oom(void)
{
    sv_error("Insufficient memory for the allocation");
    GC_get_abort_func()(NULL);
    exit(1);
}

// ---- settings -----------------------------------------------------------------------------------

#define SETTING(type, name, variable)                                                              \
    void GC_set_##name(type value)                                                                 \
    {                                                                                              \
        set(variable, value);                                                                      \
    }                                                                                              \
    type GC_get_##name(void)                                                                       \
    {                                                                                              \
        return get(variable);                                                                      \
    }

// What is settled by GC_init.
#define SETTING_BEFORE(type, name, variable)                                                       \
    void GC_set_##name(type value)                                                                 \
    {                                                                                              \
        if (!control.begun)                                                                        \
            set(variable, value);                                                                  \
    }                                                                                              \
    type GC_get_##name(void)                                                                       \
    {                                                                                              \
        return get(variable);                                                                      \
    }

SETTING(int, all_interior_pointers, GC_all_interior_pointers)
SETTING(int, dont_expand, GC_dont_expand)
SETTING(int, dont_precollect, GC_dont_precollect)
SETTING(int, find_leak, GC_find_leak)
SETTING(int, full_freq, GC_full_freq)
SETTING(int, no_dls, GC_no_dls)
SETTING(GC_word, max_retries, GC_max_retries)
SETTING(GC_word, non_gc_bytes, GC_non_gc_bytes)
SETTING(GC_word, allocd_bytes_per_finalizer, control.allocd_bytes_per_finalizer)
SETTING(size_t, min_bytes_allocd, control.min_bytes_allocd)
SETTING(int, rate, control.rate)
SETTING(int, max_prior_attempts, control.max_prior_attempts)
SETTING(int, force_unmap_on_gcollect, control.force_unmap)
SETTING(int, pages_executable, control.executable)
SETTING(int, manual_vdb_allowed, control.manual)
SETTING(int, disable_automatic_collection, control.automatic_off)
SETTING(GC_stop_func, stop_func, control.stop)
SETTING_BEFORE(int, suspend_signal, control.suspend_signal)
SETTING_BEFORE(int, thr_restart_signal, control.restart_signal)

void GC_set_time_limit(unsigned long ms)
{
    set(GC_time_limit, ms);
    set(control.time_nsec, 0);
}

unsigned long GC_get_time_limit(void)
{
    return get(GC_time_limit);
}

void GC_set_time_limit_tv(struct GC_timeval_s tv)
{
    set(GC_time_limit, tv.tv_ms);
    set(control.time_nsec, tv.tv_nsec);
}

struct GC_timeval_s GC_get_time_limit_tv(void)
{
    return (struct GC_timeval_s){get(GC_time_limit), get(control.time_nsec)};
}

void GC_set_handle_fork(int how)
{
    control.handle_fork = how;
}

void GC_set_markers_count(unsigned markers)
{
    if (!control.begun)
        control.markers = markers;
}

// As in bdwgc, none is there beside the caller before there are threads.
void GC_start_mark_threads(void)
{
    sv_boehm_init();
    set(GC_parallel, control.markers > 1 ? (int)control.markers - 1 : 0);
}

int GC_get_parallel(void)
{
    return get(GC_parallel);
}
