// One collection, in phases. With a barrier that watches writes the program runs but for two short
// stops (Boehm, Demers and Shenker's mostly parallel collection):
//
//   prepare      the barrier is armed over the heap and over every root; the program runs
//   first stop   the phase becomes MARK, stacks and registers of who is awake are looked at, what
//                lies in thread caches is blackened; nothing of the heap is scanned
//   mark         roots as copies, then the heap; others help (assist.c); then pre-cleaning: what
//                was written meanwhile is fetched, watched again and scanned again, while that gets
//                less
//   termination  stopped: what was written since, the stacks of threads that ran, registers, the
//                rest of the queue, caches; the flip. If that is more than a stop may last, the
//                world runs again for a moment and termination is tried anew; each try leaves less.
//
// Without such a barrier, or without a worker, all of it happens in one stop.
//
// Correct because of one sentence: when the final rescan runs, any pointer from a marked object to
// an unmarked one was stored after the barrier was armed, so it lies on a written page or in a
// root. So: arm before the first mark; a page that isn't watched counts as written; and a page is
// scanned again only after the fetch that re-armed it has returned. That new objects are marked as
// they leave their span, and that caches are blackened in the first stop, only makes less work.
//
// Whatever goes wrong before the flip ends in one way: marks are undone, the world runs on, nothing
// is reclaimed. Never done here: allocating from the program's heap; scanning the program's own
// mappings in place while it runs.
#include "phase.h"

#include <string.h>

#include "arch.h"
#include "assert.h"
#include "assist.h"
#include "cache.h"
#include "central.h"
#include "chaos.h"
#include "checkmark.h"
#include "client.h"
#include "crew.h"
#include "dirty.h"
#include "gate.h"
#include "leaks.h"
#include "lock.h"
#include "locks.h"
#include "mark.h"
#include "options.h"
#include "os.h"
#include "rootset.h"
#include "share.h"
#include "stretch.h"
#include "text.h"
#include "work.h"
#include "worker.h"
#include "world.h"

#define LOOK_BYTES ((uint64_t)32 << 10)  // bytes between two looks at the clock inside a stop
#define SLICE ((uint64_t)128 << 10)      // bytes likewise, while the program runs
#define ROUNDS_MAX 4u                    // of pre-cleaning
#define ROUND_ENOUGH 128u                // hardware pages: as few as a stop can scan
#define ROOTS_ENOUGH ((uint64_t)1 << 20) // bytes of roots that a stop can look at
#define CATCH_MAX 8u                     // rounds that slow the program down
#define CATCH_ENOUGH 1000u               // hardware pages: as few as a stop can fetch
#define LEFT_FEW 500u                    // fetched ranges: as few as a try to finish can scan
#define REST_NS 250000u // for each part of the rest in a try to finish; doubled after
#define TRIES_BESIDE 1u // tries after which what was written is fetched beside the program
#define FETCH_PARTS 3u  // as many of those, where a try watches again what it fetches, for fetching
#define TRIES_SHORT 32u // so many tries, and again
#define TRIES_MAX 96u   // then a try takes as long as it takes
#define STOP_NS 500000u // for scanning, or fetching, in a stop that does nothing else
#define PIECE ((uintptr_t)4 << 20)     // bytes of memory that such a stop fetches at a time
#define ROOTS_MOST ((uint64_t)1 << 20) // bytes of written roots that a try to finish looks at
#define ROOTS_TRIES 4u                 // tries that look at no more
#define PREEMPTED_NS 500000u           // more than a second marker should wait for a processor
#define CACHES_AHEAD 8u                // how far the look at caches reaches ahead
#define ALONE_MAX 63u
#define RUN_NS 100000u // how long the program runs between such stops

static struct {
    struct sv_marker marker[2]; // the driver's; the crew's inside a stop, else the driver's too
    uint64_t deadline;          // driver: ns, for scanning inside a stop; 0: none
    _Atomic uint32_t hands;     // they: markers at work in this stop
    uint32_t cycle;             // driver: counts up; the marks of a cycle are its own
    uint32_t alone;             // driver: cycles in one stop that it does alone, this one included
    uint64_t preempted;         // crew: ns that it waited for a processor in this stop
    _Atomic uint32_t dry;       // they: how many of them have nothing left
    uint64_t pages;             // driver: hardware pages fetched in this round
    uint64_t pages_total;       // driver: in this cycle
    uint64_t assists_told;      // driver: ns of assists that the limiter knows of
    uint64_t stopped_cpu;       // driver: ns of its own processor time inside this cycle's stops
    const struct sv_phase_in *in; // driver
    struct sv_stats_cycle *stats; // driver
    _Atomic bool again;           // driver: what is fetched is watched again
    uint64_t roots_told;          // driver: bytes of written roots in this look at them
    bool roots_left;              // driver: there were more
    bool keep;                    // driver: tries of this cycle keep what they did: keep_begin
    uint32_t roots_tries;         // driver: tries of this cycle that had so much of them
    bool armed;                   // driver: the barrier is open
    bool listed;                  // driver: the root set is open
    bool done;                    // driver: the last stop did all that it was for
} phase;

static void locks_take(void)
{
    sv_lock_acquire(phase.in->stopping);
    sv_locks_take();
}

static void locks_drop(void)
{
    sv_locks_drop();
    sv_lock_release(phase.in->stopping);
}

// A stop, for the statistics.
struct stop {
    uint64_t cpu;   // ns of the driver's processor time when it began
    uint64_t began; // ns
    uint64_t stood; // ns: all had answered, or the stop was given up
};

// NULL, or why the world doesn't stand still; stop_end is due in either case.
static const char *stop_begin(struct stop *stop)
{
    locks_take();
    stop->cpu = sv_os_cpu_thread();
    stop->began = sv_os_now();
    const char *reason = sv_world_stop(phase.in->procfd);
    stop->stood = sv_os_now();
    return reason;
}

// The driver may lose its processor for a time slice to those it wakes. So it holds no lock by then
// that they could wait for; and the stop ends as soon as the last of them is woken, which takes it
// processor time only. What it works until then is part of the stop, which costs all processors.
static void stop_end(enum sv_stats_stop which, const struct stop *stop, bool stands)
{
    locks_drop();
    uint64_t ended = sv_os_now(), cpu = sv_os_cpu_thread();
    if (stands)
        sv_world_resume();
    uint64_t woke = sv_os_cpu_thread();
    sv_stats_stop(phase.stats, which, stop->began, stop->stood, ended + (woke - cpu));
    phase.stopped_cpu += woke - stop->cpu;
    if (stands)
        sv_rootset_end();
}

static void phase_set(enum sv_phase to)
{
    atomic_store_explicit(&sv_heap.phase, to, memory_order_relaxed);
}

static bool time_over(void)
{
    return phase.deadline && sv_os_now() >= phase.deadline;
}

// ---- who looks at roots -------------------------------------------------------------------------

static void visit_mark(void *arg, uintptr_t lo, uintptr_t hi, bool code)
{
    sv_mark_range(arg, lo, hi, code);
}

static void visit_check(void *arg, uintptr_t lo, uintptr_t hi, bool code)
{
    sv_checkmark_range(arg, lo, hi, code);
}

static struct sv_rootset_visitor visitor_make(void)
{
    return (struct sv_rootset_visitor){visit_mark, &phase.marker[0], 0, 0};
}

// ---- written pages ------------------------------------------------------------------------------

// By the thread of this marker, in which list of dirty.h it puts what it finds.
static unsigned half_of(const struct sv_marker *m)
{
    return (unsigned)(m - phase.marker);
}

static void dirty_fetch(void *marker)
{
    bool again = atomic_load_explicit(&phase.again, memory_order_relaxed);
    sv_dirty_fetch(half_of(marker), phase.in->barrier, again, phase.deadline);
}

static void dirty_scan(uint64_t deadline)
{
    sv_dirty_scan(0, &phase.marker[0], deadline);
}

static bool fetched(void)
{
    bool ok = sv_dirty_fetched(&phase.pages);
    phase.pages_total += phase.pages;
    return ok;
}

// By the driver alone, the program running.
static bool fetch_beside(void)
{
    phase.deadline = 0;
    atomic_store_explicit(&phase.again, true, memory_order_relaxed);
    sv_dirty_windows();
    dirty_fetch(&phase.marker[0]);
    dirty_fetch(&phase.marker[1]);
    return fetched();
}

// ---- marking while the program runs -------------------------------------------------------------

static uint64_t work_done(void)
{
    struct sv_assist_sums sums;
    sv_assist_sums(&sums);
    return phase.marker[0].scanned + phase.marker[1].scanned + sums.scanned;
}

// Too much of the processors for too long: then nobody assists.
static void limiter_tell(enum sv_limiter_state state)
{
    struct sv_assist_sums sums;
    sv_assist_sums(&sums);
    sv_limiter_update(phase.in->limiter, sv_os_now(), state, sums.ns - phase.assists_told, 0);
    phase.assists_told = sums.ns;
    sv_assist_limit(sv_limiter_limiting(phase.in->limiter));
}

static void progress_tell(void)
{
    limiter_tell(SV_LIMITER_MARKING);
    sv_assist_credit(sv_mark_account(&phase.marker[0]));
    uint64_t live = atomic_load_explicit(&sv_heap.live, memory_order_relaxed);
    sv_pacer_revise(phase.in->pacer, live, work_done());
    sv_assist_pace(phase.in->pacer->assist_work);
}

// Marks until nothing is left to scan anywhere but with those who are inside the assists' door.
static const char *drain_beside(void)
{
    for (;;) {
        bool dry = sv_mark_drain(&phase.marker[0], SLICE);
        progress_tell();
        if (phase.marker[0].work.failed || sv_assist_failed())
            return "no memory for the mark queue";
        if (sv_worker_ending())
            return "the process is ending";
        if (dry)
            return NULL;
        sv_share_nap();
        sv_chaos();
    }
}

struct told {
    sv_range_fn *fn;
    void *arg;
};

static void roots_tell(void *arg, uintptr_t lo, uintptr_t hi)
{
    const struct told *told = arg;
    phase.roots_told += hi - lo;
    told->fn(told->arg, lo, hi);
}

// In a try to finish that has a limit, no more than fits, if the rest can be had beside the
// program. One that writes too fast soon puts an end to that (ROOTS_TRIES).
static int roots_written(void *arg, uintptr_t lo, uintptr_t hi, sv_range_fn *fn, void *fn_arg)
{
    (void)arg;
    bool again = atomic_load_explicit(&phase.again, memory_order_relaxed);
    bool limited = phase.deadline && phase.in->barrier->rounds && phase.roots_tries < ROOTS_TRIES;
    struct told told = {fn, fn_arg};
    int err = 0;
    for (uintptr_t end; lo < hi && err == 0; lo = end) {
        end = limited && hi - lo > PIECE ? lo + PIECE : hi;
        phase.roots_left = limited && phase.roots_told >= ROOTS_MOST;
        if (phase.roots_left)
            break;
        err = phase.in->barrier->written(lo, end, again, roots_tell, &told);
    }
    return err;
}

static const char *roots_beside(void)
{
    struct sv_rootset_visitor v = visitor_make();
    const char *reason = sv_rootset_visit_running(&v, NULL);
    phase.stats->roots += v.others;
    return reason;
}

// Fetch, watch again, scan again, while each round finds a good deal less than the one before.
static const char *preclean(void)
{
    uint64_t last = UINT64_MAX;
    const char *reason = NULL;
    for (unsigned round = 0; round < ROUNDS_MAX && !reason; round++) {
        sv_chaos();
        if (!fetch_beside())
            return "the barrier failed";
        uint64_t pages = phase.pages;
        dirty_scan(0);
        reason = drain_beside();
        phase.stats->rounds++;
        if (pages <= ROUND_ENOUGH || pages > last / 2)
            break;
        last = pages;
    }
    return reason;
}

// The roots that were written since the last look at them; *bytes of them.
static const char *roots_round(uint64_t *bytes)
{
    struct sv_rootset_visitor v = visitor_make();
    phase.deadline = 0;
    atomic_store_explicit(&phase.again, true, memory_order_relaxed);
    const char *reason = sv_rootset_visit_running(&v, roots_written);
    if (!reason)
        reason = drain_beside();
    phase.stats->roots += v.others;
    *bytes = v.others;
    return reason;
}

// Rounds as for the heap, where roots are many: the last stop would look at what was written of
// them. What always counts as written (shared mappings) ends it after one round.
static const char *roots_preclean(void)
{
    uint64_t last = phase.stats->roots, bytes;
    const char *reason = NULL;
    for (unsigned round = 0; round < ROUNDS_MAX && last > ROOTS_ENOUGH && !reason; round++) {
        sv_chaos();
        reason = roots_round(&bytes);
        if (bytes > last / 2)
            break;
        last = bytes;
    }
    return reason;
}

static void client_hold(void)
{
    if (!sv_client)
        return;
    sv_lock_acquire(&sv_client_lock);
    sv_client->hold(&phase.marker[0]);
    sv_lock_release(&sv_client_lock);
}

static const char *mark_beside(void)
{
    sv_assist_begin(sv_rootset_pages());
    client_hold();
    phase.assists_told = 0;
    sv_assist_open();
    sv_worker_wake();
    const char *reason = roots_beside();
    if (!reason)
        reason = drain_beside();
    if (!reason && sv_client) {
        sv_client->dying(&phase.marker[0], false);
        reason = drain_beside();
    }
    if (!reason && phase.in->barrier->rounds)
        reason = preclean();
    if (!reason && phase.in->barrier->rounds)
        reason = roots_preclean();
    return reason;
}

// ---- world stopped ------------------------------------------------------------------------------

static void markers_begin(void)
{
    sv_stretch_clear();
    sv_dirty_clear();
    for (unsigned i = 0; i < 2; i++)
        sv_mark_begin(&phase.marker[i], sv_rootset_pages());
}

static void held_note(struct sv_thread *t, const struct sv_mark_place *at)
{
    unsigned i = 0;
    while (i < t->nheld && t->held[i].bits != at->bits)
        i++;
    if (i == SV_HELD_MAX)
        t->nheld = SV_HELD_MAX + 1;
    else if (i == t->nheld)
        t->held[t->nheld++] = (struct sv_held){at->span, at->bits, at->bit};
    else
        t->held[i].slots |= at->bit;
}

static void slot_blacken(struct sv_thread *t, void *slot)
{
    struct sv_mark_place at;
    bool used = sv_mark_find((uintptr_t)slot, &at);
    sv_check(used); // or somebody else has it, too
    sv_mark_found(&phase.marker[0], &at, false);
    if (t->nheld <= SV_HELD_MAX)
        held_note(t, &at);
}

static void cache_blacken(struct sv_thread *t)
{
    t->nheld = sv_gate_asleep(t) ? 0 : SV_HELD_MAX + 1;
    for (unsigned i = 0; i < SV_NBIN; i++) {
        const struct sv_bin *bin = &t->cache->bins[i];
        for (void **slot = bin->base; slot < bin->top; slot++)
            slot_blacken(t, *slot);
    }
}

static void held_blacken(const struct sv_thread *t)
{
    for (unsigned i = 0; i < t->nheld; i++)
        sv_mark_slots(&phase.marker[0], t->held[i].span, t->held[i].bits, t->held[i].slots);
}

static void held_prefetch(const struct sv_thread *t)
{
    for (unsigned i = 0; t && t->nheld <= SV_HELD_MAX && i < t->nheld; i++)
        __builtin_prefetch(t->held[i].bits, 1);
}

// Who sleeps leaves its cache as it is: then what lies there is known, if it isn't much, and in the
// second stop of a cycle nothing is left to do. It isn't given back to the heap, of however little
// use it is to a sleeper, which may sleep in a signal handler that came in the middle of malloc.
static void caches_blacken(void)
{
    const struct sv_thread *ahead = sv_world_threads();
    for (unsigned i = 0; i < CACHES_AHEAD && ahead; i++)
        ahead = ahead->next;
    for (struct sv_thread *t = sv_world_threads(); t; t = t->next) {
        bool slept = sv_gate_slept(t, t->cached), again = t->cached_cycle == phase.cycle;
        held_prefetch(ahead);
        ahead = ahead ? ahead->next : NULL;
        if (!t->cache || (slept && again))
            continue;
        t->cached = atomic_load_explicit(&t->gate, memory_order_relaxed);
        t->cached_cycle = phase.cycle;
        if (slept && t->nheld <= SV_HELD_MAX)
            held_blacken(t);
        else
            cache_blacken(t);
    }
}

static const char *mark_check(void)
{
    struct sv_checkmark check;
    if (!sv_checkmark_begin(&check)) {
        sv_log("salvage: checkmark: no memory for its bits, this cycle isn't checked");
        return NULL;
    }
    struct sv_rootset_visitor v = {visit_check, &check, 0, 0};
    sv_rootset_visit_stacks(&v, false);
    const char *reason = sv_rootset_visit(&v, NULL, NULL);
    sv_checkmark_end(&check);
    return reason;
}

// From here on, what isn't marked is garbage.
static void flip(void)
{
    uint64_t marked = atomic_load_explicit(&sv_heap.marked, memory_order_relaxed);
    phase.stats->live_end = atomic_load_explicit(&sv_heap.live, memory_order_relaxed);
    phase.stats->live_marked = marked;
    atomic_fetch_add_explicit(&sv_heap.sweepgen, 1, memory_order_relaxed);
    sv_central_flip();
    if (sv_leaks_on) { // what is lost stays, so that for the pacer it is live
        phase.stats->live_marked = phase.stats->live_end;
        sv_leaks_flip(marked < phase.stats->live_end);
    } else {
        atomic_store_explicit(&sv_heap.live, marked, memory_order_relaxed);
    }
    phase_set(SV_PHASE_OFF);
}

// ---- both threads inside a stop -----------------------------------------------------------------

// Never watched again: a try that is too short to visit stacks forgets what it was told of them.
static int stack_written(void *arg, uintptr_t lo, uintptr_t hi, sv_range_fn *fn, void *fn_arg)
{
    (void)arg;
    return phase.in->barrier->written(lo, hi, false, fn, fn_arg);
}

static void crew_call(void)
{
    if (phase.alone == 0)
        sv_crew_call();
}

// All that a stop asks about but the general roots, for which the driver has to list the mappings.
static void fetch_share(void *marker)
{
    dirty_fetch(marker);
    sv_rootset_sleepers_ask(stack_written);
}

// The second thread may come later; if it doesn't come at all, the driver does its share. `limit`:
// in ns, 0: none.
static void fetch_begin(uint64_t limit)
{
    phase.deadline = limit ? sv_os_now() + limit : 0;
    sv_dirty_windows();
    sv_rootset_sleepers_find();
    sv_crew_run(fetch_share, &phase.marker[1], true);
}

static const char *fetch_end(void)
{
    fetch_share(&phase.marker[0]);
    sv_crew_join();
    bool ok = fetched();
    phase.stats->dirty_final = phase.pages;
    return ok ? NULL : "the barrier failed";
}

// Drains until no marker at work in this stop finds more. One that has nothing left waits for what
// another may share, since all that the roots lead to may have begun with one of them. False: the
// time is over.
static bool drain_together(struct sv_marker *m)
{
    for (;;) {
        while (!sv_mark_drain(m, LOOK_BYTES))
            if (time_over())
                return false;
        // Release and acquire: who counts the last marker sees the pool as the others left it.
        atomic_fetch_add_explicit(&phase.dry, 1, memory_order_acq_rel);
        for (unsigned spins = 0; sv_work_idle();) {
            if (atomic_load_explicit(&phase.dry, memory_order_acquire) >=
                atomic_load_explicit(&phase.hands, memory_order_acquire))
                return true;
            if (time_over())
                return false;
            sv_crew_spin(&spins);
        }
        atomic_fetch_sub_explicit(&phase.dry, 1, memory_order_acq_rel);
    }
}

// Whoever is done before this one has begun doesn't wait for it.
static void hand_begins(void)
{
    atomic_fetch_add_explicit(&phase.hands, 1, memory_order_acq_rel);
}

static void crew_scan(void *arg)
{
    struct sv_marker *m = arg;
    uint64_t began = sv_os_now(), cpu = sv_os_cpu_thread();
    hand_begins();
    sv_dirty_scan(half_of(m), m, phase.deadline);
    drain_together(m);
    sv_mark_flush(m);
    cpu = sv_os_cpu_thread() - cpu;
    uint64_t took = sv_os_now() - began;
    phase.preempted = took > cpu ? took - cpu : 0;
}

static const char *roots_stopped(void)
{
    struct sv_rootset_visitor v = visitor_make();
    bool written = phase.in->beside;
    phase.roots_told = 0;
    phase.roots_left = false;
    if (sv_client && !written)
        sv_client->hold(&phase.marker[0]);
    if (sv_client)
        sv_client->push(&phase.marker[0]);
    sv_rootset_visit_stacks(&v, written);
    const char *reason = sv_rootset_visit(&v, written ? roots_written : NULL, NULL);
    phase.stats->stacks = v.stacks;
    phase.stats->roots += v.others;
    return reason;
}

// Scans what was fetched, with `roots` those too, and what that finds, for at most `limit` ns (0:
// no limit). The second marker begins with what was written while the driver looks at roots.
// phase.done: there was the time.
static const char *scan_stopped(uint64_t limit, bool roots)
{
    phase.deadline = limit ? sv_os_now() + limit : 0;
    bool there = sv_crew_there();
    atomic_store_explicit(&phase.hands, 0, memory_order_relaxed);
    atomic_store_explicit(&phase.dry, 0, memory_order_relaxed);
    if (there)
        hand_begins(); // before the other, which is to wait for what roots lead to
    sv_crew_run(crew_scan, &phase.marker[1], there);
    if (!there)
        hand_begins();
    const char *reason = roots ? roots_stopped() : NULL;
    dirty_scan(phase.deadline);
    bool dry = drain_together(&phase.marker[0]);
    sv_crew_join();
    phase.done = dry && sv_dirty_left() == 0 && sv_work_idle() && !(roots && phase.roots_left);
    return reason;
}

// ---- termination --------------------------------------------------------------------------------

static const char *marker_failed(void)
{
    bool failed = phase.marker[0].work.failed || phase.marker[1].work.failed;
    return failed ? "no memory for the mark queue" : NULL;
}

// What a stop does to end the mark, if `limit` ns are enough (0: no limit). phase.done: it was all,
// and the cycle has flipped.
static const char *stop_finish(uint64_t limit)
{
    bool beside = phase.in->beside;
    if (!phase.keep)
        crew_call();
    if (beside) // by the second marker, while mappings are listed
        fetch_begin(phase.keep ? FETCH_PARTS * limit : 0);
    const char *reason = sv_rootset_begin(phase.in->procfd, phase.in->sp);
    const char *failed = beside ? fetch_end() : NULL;
    reason = reason ? reason : failed;
    if (phase.keep && !sv_dirty_windows_done()) // phase.done is false
        return reason;
    if (phase.keep)
        crew_call();
    if (!reason && !beside) { // all of it, in this stop
        markers_begin();
        caches_blacken(); // as in stop_first
        phase.stats->live_start = atomic_load_explicit(&sv_heap.live, memory_order_relaxed);
    }
    if (!reason && beside) // first: where it takes too long, nothing else is begun
        reason = scan_stopped(limit, false);
    if (!reason && (!beside || phase.done))
        reason = scan_stopped(limit, true);
    if (!reason && !beside && sv_client) // drained in settle
        sv_client->dying(&phase.marker[0], true);
    if (!reason && phase.done)
        caches_blacken(); // before the client looks for what is dead
    if (!reason && phase.done && sv_client) {
        sv_crew_dismiss(); // it has no work for two
        sv_client->settle(&phase.marker[0]);
        reason = marker_failed();
    }
    if (!reason && phase.done) {
        sv_mark_account(&phase.marker[0]);
        sv_mark_account(&phase.marker[1]);
        if (sv_options.checkmark)
            reason = mark_check();
        if (!reason && phase.in->look)
            phase.in->look(phase.marker[0].objects + phase.marker[1].objects);
        if (!reason && sv_client)
            sv_client->commit();
        if (!reason)
            flip();
    }
    return reason;
}

// What a stop does when the program writes faster than the collector looks: only that.
static const char *stop_scan(uint64_t limit)
{
    crew_call();
    return scan_stopped(limit, false);
}

// Or only this, as far as it gets. phase.done: all is fetched.
static const char *stop_fetch(uint64_t limit)
{
    phase.deadline = sv_os_now() + limit;
    dirty_fetch(&phase.marker[0]);
    dirty_fetch(&phase.marker[1]);
    phase.done = sv_dirty_windows_done();
    return fetched() ? NULL : "the barrier failed";
}

typedef const char *stop_fn(uint64_t limit);

static const char *terminate(stop_fn *fn, uint64_t limit)
{
    struct stop stop;
    phase.done = false;
    limiter_tell(SV_LIMITER_STOPPED);
    const char *reason = stop_begin(&stop);
    bool stands = !reason;
    if (stands) {
        sv_work_held(true);
        phase_set(SV_PHASE_TERMINATION);
        // what ends the mark needs no watching; if it doesn't come to that, see try_again
        bool again = fn != stop_finish || phase.keep;
        atomic_store_explicit(&phase.again, again, memory_order_relaxed);
        reason = fn(limit);
        if (!reason)
            reason = marker_failed();
        if (!reason && sv_heap_marking())
            phase_set(SV_PHASE_MARK);
        sv_work_held(false);
        sv_crew_dismiss();
    }
    phase.stats->threads = sv_world_signalled;
    phase.stats->asleep = sv_world_asleep;
    stop_end(SV_STOP_TERMINATION, &stop, stands);
    return reason;
}

static const char *stop_first(void)
{
    struct stop stop;
    const char *reason = stop_begin(&stop);
    bool stands = !reason;
    if (stands) {
        phase.stats->live_start = atomic_load_explicit(&sv_heap.live, memory_order_relaxed);
        sv_work_held(true);
        atomic_store_explicit(&sv_heap.marked, 0, memory_order_relaxed);
        phase_set(SV_PHASE_MARK);
        markers_begin();
        caches_blacken(); // first: a stale pointer to a free slot must not have it scanned
        struct sv_rootset_visitor v = visitor_make();
        reason = sv_rootset_visit_awake(&v, phase.in->procfd);
        sv_work_held(false);
    }
    stop_end(SV_STOP_PREPARE, &stop, stands);
    return reason;
}

// ---- the whole ----------------------------------------------------------------------------------

static void watched_set(bool watched)
{
    sv_lock_acquire(&sv_heap.lock);
    sv_heap.watched = watched;
    sv_lock_release(&sv_heap.lock);
}

static const char *prepare(void)
{
    const struct sv_barrier *b = phase.in->barrier;
    phase.armed = true;
    watched_set(true);
    if (!sv_dirty_ready())
        return "no memory for the collector";
    phase.listed = true;
    const char *reason = sv_rootset_open(phase.in->procfd);
    if (reason)
        return reason;
    sv_chaos(); // what was listed and what is registered may differ
    uintptr_t end = sv_heap.base + ((uintptr_t)sv_heap.grown << SV_PAGE_SHIFT);
    // large objects may be mostly untouched
    if (atomic_load_explicit(&sv_heap.large_live, memory_order_relaxed) < (end - sv_heap.base) / 2)
        b->dense(sv_heap.base, end);
    // what can't be watched counts as written: no error. The part that the heap may yet grow into
    // comes along, so that what is asked about later is registered throughout.
    b->watch(sv_heap.base, end);
    b->watch(end, sv_heap.base + sv_heap.size);
    return sv_rootset_watch(b->watch);
}

// What the program writes costs it nothing any more.
void sv_phase_finish(void)
{
    const struct sv_barrier *b = phase.in->barrier;
    if (phase.armed)
        b->release(sv_heap.base, sv_heap.base + sv_heap.size);
    if (phase.listed)
        sv_rootset_release(b->release);
    if (phase.armed) {
        b->close();
        watched_set(false);
    }
    phase.armed = phase.listed = false;
}

// The program runs for a moment, in which some of what was fetched is scanned.
static void run_on(void)
{
    sv_assist_open();
    dirty_scan(sv_os_now() + RUN_NS);
    sv_assist_close();
    sv_chaos();
}

// What was fetched and not scanned, the program running for RUN_NS at a time only, if it is much:
// it may write faster than the driver looks.
static const char *leftover_scan(void)
{
    const char *reason = NULL;
    phase.done = false;
    while (sv_dirty_left() && !reason && !phase.done) {
        run_on();
        if (sv_dirty_left())
            reason = terminate(stop_scan, STOP_NS);
    }
    return reason;
}

// All that was written, in stops between which the program hardly gets to write more.
static const char *fetch_stopped(void)
{
    const char *reason = NULL;
    sv_dirty_windows();
    for (phase.done = false; !reason && !phase.done;) {
        reason = terminate(stop_fetch, STOP_NS);
        run_on();
    }
    return reason;
}

// The program writes too fast for looks beside it. From now on it is let run for moments only:
// until what it writes while all of that is fetched and scanned is little, and then between tries
// to finish, which watch again what they fetch, so that each leaves less to the next.
static const char *keep_begin(void)
{
    uint64_t last = UINT64_MAX, pages = UINT64_MAX / 2;
    const char *reason = NULL;
    phase.keep = true;
    while (!reason && pages > CATCH_ENOUGH && pages < last / 4 * 3) {
        uint64_t before = phase.pages_total;
        last = pages;
        reason = fetch_stopped();
        if (!reason)
            reason = leftover_scan();
        pages = phase.pages_total - before;
    }
    return reason;
}

// Until so little is written between two looks that a stop can fetch it.
static const char *catch_up(void)
{
    uint64_t last = UINT64_MAX;
    for (unsigned round = 0; round < CATCH_MAX; round++) {
        if (!fetch_beside())
            return "the barrier failed";
        uint64_t pages = phase.pages;
        const char *reason = leftover_scan();
        if (reason || pages <= CATCH_ENOUGH)
            return reason;
        if (pages > last / 3 * 2)
            break;
        last = pages;
    }
    return keep_begin();
}

// A try to finish was too short. What it fetched isn't watched, unless it keeps that, so it is
// fetched again.
static const char *try_again(unsigned try)
{
    if (phase.keep && sv_dirty_left() < LEFT_FEW) {
        run_on();
        return NULL;
    }
    if (!phase.keep && phase.in->barrier->rounds) {
        sv_dirty_clear();
        if (try >= TRIES_BESIDE)
            return keep_begin();
        if (!fetch_beside())
            return "the barrier failed";
    }
    return leftover_scan();
}

// Tries to finish until a try finds so little that it can.
static const char *terminate_beside(void)
{
    sv_assist_close();
    const char *reason = phase.in->barrier->rounds ? catch_up() : NULL;
    uint64_t bytes;
    for (unsigned try = 0; !reason; try++) {
        sv_chaos();
        reason = drain_beside(); // what the last ones inside left
        uint64_t limit = try < TRIES_MAX ? REST_NS << (try / TRIES_SHORT) : 0;
        if (!reason)
            reason = terminate(stop_finish, limit);
        if (reason || phase.done)
            break;
        if (phase.roots_left) {
            phase.roots_tries++;
            phase.roots_left = false;
            reason = roots_round(&bytes);
        }
        if (!reason)
            reason = try_again(try);
    }
    return reason;
}

static void abandon(void)
{
    locks_take();
    phase_set(SV_PHASE_OFF);
    sv_mark_clear();
    locks_drop();
}

static const char *collect_beside(void)
{
    phase.alone = 0;
    const char *reason = prepare();
    sv_chaos();
    if (!reason)
        reason = stop_first();
    if (!reason)
        reason = mark_beside();
    if (!reason)
        reason = terminate_beside();
    sv_assist_close();
    return reason;
}

// Two markers halve such a stop; but one that waits for a processor has what the other waits for,
// and it lasts as long as a time slice. After that the driver does some alone, more each time.
static const char *collect_stopped(void)
{
    static uint32_t alone; // stops to go alone after the last one that had to wait
    sv_assist_begin(NULL);
    phase.assists_told = 0;
    phase.preempted = 0;
    phase.alone -= phase.alone > 0;
    atomic_store_explicit(&sv_heap.marked, 0, memory_order_relaxed);
    const char *reason = terminate(stop_finish, 0);
    if (phase.preempted > PREEMPTED_NS)
        phase.alone = alone = alone < ALONE_MAX ? 2 * alone + 1 : ALONE_MAX;
    else if (phase.alone == 0)
        alone /= 2;
    return reason;
}

static void sums_take(struct sv_stats_cycle *stats)
{
    struct sv_assist_sums sums;
    sv_assist_sums(&sums);
    stats->scanned = phase.marker[0].scanned + phase.marker[1].scanned + sums.scanned;
    stats->objects = phase.marker[0].objects + phase.marker[1].objects + sums.objects;
    stats->assists = sums.count;
    stats->assist = sums.ns;
    stats->background += sums.help_ns;
    stats->dirty = phase.pages_total;
}

const char *sv_phase_collect(const struct sv_phase_in *in, struct sv_stats_cycle *stats)
{
    phase.in = in;
    phase.stats = stats;
    phase.pages_total = 0;
    phase.stopped_cpu = 0;
    phase.cycle++;
    phase.roots_tries = 0;
    phase.keep = false;
    uint64_t cpu = sv_os_cpu_thread();
    const char *reason = in->beside ? collect_beside() : collect_stopped();
    if (in->beside)
        stats->background = sv_os_cpu_thread() - cpu - phase.stopped_cpu;
    limiter_tell(SV_LIMITER_OFF);
    sums_take(stats);
    if (reason)
        abandon();
    sv_work_reset();
    phase.marker[0].work = phase.marker[1].work = (struct sv_work){0};
    return reason;
}

void sv_phase_fork_child(void)
{
    // what the collector held is forgotten with its worker; the marks it set are cleared before the
    // next mark
    phase.armed = phase.listed = sv_heap.watched = false;
    phase_set(SV_PHASE_OFF);
}
