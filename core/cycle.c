// The cycle, with the world stopped for all of the mark: finish the last sweep; take every lock;
// stop; mark from the roots; mark what lies in caches; flip; resume; sweep. Each step is a piece of
// its own (world, barrier, rootset, mark, sweep, pacer), so that a barrier which lets the program
// run can put the marking between two short stops without changing them.
//
// Whatever goes wrong before the flip ends in the same way: marks are undone, the world runs on,
// nothing is reclaimed, and the statistics say why. The collecting thread is the one whose
// allocation passed the trigger; it holds no lock of the program's that it didn't hold in malloc
// anyway.
#include "cycle.h"

#include "arch.h"
#include "barrier.h"
#include "cache.h"
#include "central.h"
#include "checkmark.h"
#include "lock.h"
#include "mark.h"
#include "metadata.h"
#include "options.h"
#include "os.h"
#include "pacer.h"
#include "rootset.h"
#include "scanners.h"
#include "stats.h"
#include "sweep.h"
#include "text.h"
#include "world.h"

#define PROC_FD_MIN 1000 // contract: no descriptors of ours below
#define TICKS_PERIOD 64u // slow-path allocations between looks at the clock

static struct {
    struct sv_lock lock;
    const struct sv_barrier *barrier;    // const after init; NULL: no cycles
    struct sv_pacer pacer;               // lock
    struct sv_marker marker;             // lock
    int procfd;                          // lock: /proc during a cycle, else -1 unless it is kept
    bool proc_kept;                      // lock
    uint64_t last;                       // lock: when the last cycle ended, ns; 0: none yet
    _Atomic(struct sv_thread *) blocker; // the thread inside sv_cycle_block, by itself
    bool fork_owned;                     // lock: the forking thread had blocked cycles already
} cycle = {.procfd = -1};

_Atomic uint32_t sv_cycle_ticks;

void sv_cycle_init(void)
{
    uint64_t first = UINT64_MAX;
    if (sv_options.mode == SV_MODE_COLLECT && sv_world_init()) {
        cycle.pacer.gcpercent = sv_options.gcpercent;
        cycle.barrier = sv_barrier_choose();
        if (sv_options.gcpercent != UINT32_MAX)
            first = SV_PACER_FIRST * sv_options.gcpercent / 100;
    }
    uint32_t ticks = sv_options.stress ? sv_options.stress : TICKS_PERIOD;
    atomic_store_explicit(&sv_cycle_ticks, cycle.barrier ? ticks : 0, memory_order_relaxed);
    atomic_store_explicit(&sv_heap.trigger, first, memory_order_relaxed);
}

// Can a cycle run at all, here?
static bool cycle_possible(void)
{
    return cycle.barrier && sv_world_self() && sv_world_self_valid();
}

// /proc is opened for a cycle and closed after it: the program has no descriptor of ours to stumble
// over, and may close all it finds. The exception is a program about to change its root directory.
static bool proc_ready(void)
{
    int fd = cycle.procfd < 0 ? -1 : sv_proc_file(cycle.procfd, "thread-self/maps", 0);
    if (fd < 0) {
        cycle.procfd = sv_proc_open();
        fd = cycle.procfd < 0 ? -1 : sv_proc_file(cycle.procfd, "thread-self/maps", 0);
    }
    if (fd < 0)
        return false;
    sv_os_close(fd);
    return true;
}

static void proc_done(void)
{
    if (cycle.procfd < 0 || (cycle.proc_kept && cycle.procfd >= PROC_FD_MIN))
        return;
    sv_os_close(cycle.procfd);
    cycle.procfd = -1;
}

void sv_cycle_proc_keep(void)
{
    if (!cycle_possible())
        return;
    sv_lock_acquire(&cycle.lock);
    cycle.proc_kept = true;
    proc_ready();
    proc_done();
    sv_lock_release(&cycle.lock);
}

static void locks_take(void)
{
    sv_world_lock();
    sv_heap_lock_all();
    sv_metadata_lock();
}

static void locks_drop(void)
{
    sv_metadata_unlock();
    sv_heap_unlock_all();
    sv_world_unlock();
}

// ---- marking, world stopped ---------------------------------------------------------------------

static void visit_mark(void *arg, uintptr_t lo, uintptr_t hi, bool code)
{
    sv_mark_range(arg, lo, hi, code);
}

static void visit_check(void *arg, uintptr_t lo, uintptr_t hi, bool code)
{
    sv_checkmark_range(arg, lo, hi, code);
}

static void caches_blacken(struct sv_marker *m)
{
    for (struct sv_cache *cache = sv_cache_all(); cache; cache = cache->next)
        for (unsigned code = 0; code < SV_NCODE; code++)
            for (void **slot = cache->bins[code].base; slot < cache->bins[code].top; slot++)
                sv_mark_black(m, *slot);
}

static const char *mark_check(void)
{
    struct sv_checkmark check;
    if (!sv_checkmark_begin(&check)) {
        sv_log("salvage: checkmark: no memory for its bits, this cycle isn't checked");
        return NULL;
    }
    struct sv_rootset_visitor visitor = {visit_check, &check, 0, 0};
    const char *reason = sv_rootset_visit(&visitor);
    sv_checkmark_end(&check);
    return reason;
}

static const char *mark_all(struct sv_stats_cycle *stats, uintptr_t sp)
{
    struct sv_marker *m = &cycle.marker;
    const char *reason = sv_rootset_begin(cycle.procfd, sp);
    if (!reason) {
        sv_mark_begin(m, sv_rootset_pages());
        struct sv_rootset_visitor visitor = {visit_mark, m, 0, 0};
        reason = sv_rootset_visit(&visitor);
        if (!sv_mark_drain(m) && !reason)
            reason = "no memory for the mark queue";
        stats->stacks = visitor.stacks;
        stats->roots = visitor.others;
        if (!reason && sv_options.checkmark)
            reason = mark_check();
        if (!reason)
            caches_blacken(m);
        else
            sv_mark_clear();
        sv_work_end(&m->work);
        stats->objects = m->objects;
        stats->scanned = m->scanned;
        stats->live_marked = m->bytes;
    }
    sv_rootset_end();
    return reason;
}

// From here on, what isn't marked is garbage. All locks held, world stopped.
static void flip(const struct sv_stats_cycle *stats)
{
    atomic_fetch_add_explicit(&sv_heap.sweepgen, 1, memory_order_relaxed);
    sv_central_flip();
    atomic_store_explicit(&sv_heap.live, stats->live_marked, memory_order_relaxed);
}

// ---- a cycle, cycle lock held -------------------------------------------------------------------

// Signals wait meanwhile: a handler of the program's that ran on this thread would move pointers
// while they are being followed, or leave by a jump, with all other threads standing still.
static const char *cycle_stopped(struct sv_stats_cycle *stats, uintptr_t sp)
{
    uint64_t mask;
    sv_os_signal_mask(SIG_BLOCK, ~(uint64_t)0, &mask);
    locks_take();
    stats->live_before = atomic_load_explicit(&sv_heap.live, memory_order_relaxed);
    stats->began = sv_os_now();
    const char *reason = sv_world_stop(cycle.procfd);
    stats->stopping = sv_os_now() - stats->began;
    if (!reason) {
        for (struct sv_thread *t = sv_world_threads(); t; t = t->next)
            stats->threads += !t->gone;
        reason = mark_all(stats, sp);
        if (!reason)
            flip(stats);
        sv_world_resume();
    }
    stats->pause = sv_os_now() - stats->began;
    locks_drop();
    sv_os_signal_mask(SIG_SETMASK, mask, NULL);
    return reason;
}

// Registers are spilled in this frame and the scan of the stack starts at it, so the callers'
// pointers are seen wherever the compiler kept them. Not inlined: a frame of its own is the point.
__attribute__((noinline)) static const char *cycle_spilled(struct sv_stats_cycle *stats)
{
    struct sv_arch_saved saved;
    sv_arch_save(&saved);
    const char *reason = cycle_stopped(stats, (uintptr_t)&saved & ~(uintptr_t)15);
    __asm__ volatile("" ::"r"(&saved) : "memory");
    return reason;
}

static void cycle_pace(struct sv_stats_cycle *stats)
{
    struct sv_pacer_cycle found = {stats->live_before, stats->live_marked,
                                   stats->roots + stats->stacks};
    stats->goal = sv_pacer_next(&cycle.pacer, &found);
    atomic_store_explicit(&sv_heap.trigger, stats->goal, memory_order_relaxed);
    cycle.last = sv_os_now();
}

// A cycle that could not be had is not asked for again before the heap has grown by half.
static void cycle_postpone(void)
{
    uint64_t live = atomic_load_explicit(&sv_heap.live, memory_order_relaxed);
    uint64_t trigger = live + (live / 2 > SV_PACER_FIRST ? live / 2 : SV_PACER_FIRST);
    if (cycle.pacer.gcpercent != UINT32_MAX)
        atomic_store_explicit(&sv_heap.trigger, trigger, memory_order_relaxed);
    cycle.last = sv_os_now();
}

static bool cycle_run(bool forced)
{
    struct sv_stats_cycle stats = {.forced = forced, .barrier = cycle.barrier->name};
    sv_sweep_finish();
    const char *reason = proc_ready() ? cycle_spilled(&stats) : "no /proc";
    proc_done();
    if (reason) {
        sv_stats_abandoned(reason);
        cycle_postpone();
        return false;
    }
    sv_sweep_large();
    cycle_pace(&stats);
    sv_stats_cycle(&stats);
    return true;
}

size_t sv_cycle_collect(void)
{
    if (!cycle_possible())
        return 0;
    sv_lock_acquire(&cycle.lock);
    uint64_t before = atomic_load_explicit(&sv_heap.reclaimed, memory_order_relaxed);
    if (cycle_run(true))
        sv_sweep_finish();
    uint64_t after = atomic_load_explicit(&sv_heap.reclaimed, memory_order_relaxed);
    sv_lock_release(&cycle.lock);
    return after - before;
}

static bool trigger_passed(size_t bytes)
{
    return atomic_load_explicit(&sv_heap.live, memory_order_relaxed) + bytes >=
           atomic_load_explicit(&sv_heap.trigger, memory_order_relaxed);
}

__attribute__((noinline)) void sv_cycle_check(size_t bytes)
{
    if (!cycle_possible())
        return;
    bool due = false;
    if (atomic_load_explicit(&sv_cycle_ticks, memory_order_relaxed) == 0 ||
        atomic_load_explicit(&sv_cycle_ticks, memory_order_relaxed) > UINT32_MAX / 2) {
        uint32_t ticks = sv_options.stress ? sv_options.stress : TICKS_PERIOD;
        atomic_store_explicit(&sv_cycle_ticks, ticks, memory_order_relaxed);
        due = sv_options.stress != 0;
        if (!due && cycle.last && sv_options.period)
            due = sv_os_now() - cycle.last >= (uint64_t)sv_options.period * 1000000000u;
    }
    if (!due && !trigger_passed(bytes))
        return;
    sv_lock_acquire(&cycle.lock);
    if (due || trigger_passed(bytes)) // somebody else's cycle may have come first
        cycle_run(due);
    sv_lock_release(&cycle.lock);
}

// ---- keeping cycles away ------------------------------------------------------------------------

static bool cycle_blocked_here(void)
{
    struct sv_thread *blocker = atomic_load_explicit(&cycle.blocker, memory_order_relaxed);
    return blocker && blocker == sv_world_self();
}

bool sv_cycle_block(void)
{
    // a signal handler that execs while its thread is about to is inside already
    if (!cycle_possible() || cycle_blocked_here())
        return false;
    sv_lock_acquire(&cycle.lock);
    atomic_store_explicit(&cycle.blocker, sv_world_self(), memory_order_relaxed);
    return true;
}

void sv_cycle_unblock(void)
{
    atomic_store_explicit(&cycle.blocker, NULL, memory_order_relaxed);
    sv_lock_release(&cycle.lock);
}

void sv_cycle_fork_prepare(void)
{
    // a signal handler that forks while its thread is about to exec
    bool owned = cycle_blocked_here();
    if (!owned)
        sv_lock_acquire(&cycle.lock);
    cycle.fork_owned = owned;
    locks_take();
}

void sv_cycle_fork_parent(void)
{
    bool owned = cycle.fork_owned;
    locks_drop();
    if (!owned)
        sv_lock_release(&cycle.lock);
}

void sv_cycle_fork_child_alone(void)
{
    sv_world_fork_child();
}

void sv_cycle_fork_child(void)
{
    bool owned = cycle.fork_owned;
    sv_world_fork_child();
    sv_cache_fork_child();
    sv_metadata_fork_child();
    sv_heap_unlock_all();
    sv_world_unlock();
    if (!owned)
        sv_lock_release(&cycle.lock);
}

void sv_cycle_exclude(uintptr_t lo, uintptr_t hi)
{
    sv_rootset_exclude(lo, hi);
}

bool sv_cycle_root_add(uintptr_t lo, uintptr_t hi)
{
    sv_world_lock();
    bool ok = sv_rootset_add(lo, hi);
    sv_world_unlock();
    return ok;
}

void sv_cycle_root_remove(uintptr_t lo, uintptr_t hi)
{
    sv_world_lock();
    sv_rootset_remove(lo, hi);
    sv_world_unlock();
}
