// When a cycle runs and who runs it. Threads of the program ask, in the slow path of allocation or
// by salvage_collect; the driver, a worker (worker.c), runs cycles one after the other, sweeps in
// the background, gives memory back, and sleeps. What a cycle consists of is in phase.c.
//
// Asking and answering is counting: `asked` is the number of the last cycle that somebody wants,
// `started` and `ended` the numbers of those that were. A cycle that started after the call
// satisfies who asked. Nobody waits but who must have it done (salvage_collect, memory short), and
// a thread that would take the heap past its goal, for WAIT_NS at a time.
//
// Where no worker can be had (RLIMIT_NPROC, before libc is ready, workers=0) or wanted
// (barrier=stw), the allocating thread runs the cycle itself, with the world stopped for all of it.
//
// Locks: the cycle lock is the driver's, for a whole cycle; the stopping lock is held around each
// stop, and by exec and fork, which must not see one under way. A forked child may find a cycle in
// the middle: its phase is taken back to OFF and the marks are cleared before the next one.
#include "cycle.h"

#include <errno.h>
#include <fcntl.h>

#include "arch.h"
#include "assist.h"
#include "barrier.h"
#include "cache.h"
#include "chaos.h"
#include "client.h"
#include "crew.h"
#include "gate.h"
#include "large.h"
#include "leaks.h"
#include "limiter.h"
#include "lock.h"
#include "locks.h"
#include "mark.h"
#include "metadata.h"
#include "metrics.h"
#include "modules.h"
#include "options.h"
#include "os.h"
#include "pacer.h"
#include "phase.h"
#include "protect.h"
#include "rootset.h"
#include "scanners.h"
#include "scavenge.h"
#include "share.h"
#include "stats.h"
#include "sweep.h"
#include "text.h"
#include "work.h"
#include "worker.h"
#include "world.h"

#define PROC_FD_MIN 1000        // contract: no descriptors of ours below, in the program's table
#define TICKS_PERIOD 64u        // slow-path allocations between looks at the clock
#define WAIT_NS 1000000u        // a thread at the heap's goal waits so long at a time
#define WAIT_LARGE_NS 8000000u  // the same for one that asks for more than one part of the goal in
#define WAIT_SHARE 64u          // so many
#define ANSWER_NS 50000000u     // between two looks whether the worker is still there
#define SWEEP_BATCH 16u         // spans between two looks at what is asked
#define STOP_SHORT_NS 1000000   // a mark in one stop no longer than the two beside the program
#define STOP_BUSY_NS 20000000   // the same for a program that has so much to be marked that stops
#define STOP_BUSY_SHARE 8       // would take one part in so many of its time
#define STOP_RATE 0.5           // ns a byte marked in a stop, before it was measured
#define STOP_RATE_TWO 0.3       // by two markers
#define CHECK_TRIES 3u          // cycles that a check for leaks asks for until one isn't given up
#define HOLD_NS 10000000000u    // a check waits so long for a cycle under way
#define HELP_NAP_NS 100000u     // a helper that finds nothing to do looks again so much later
#define RELINK_NS 50000000u     // after a fork, say, until the link comes back
#define RELINK_RETRY_NS 250000u // after a failure, twice as much after each further one, ...
#define RELINK_RETRIES 12u      // ... so many times
#define IDLE_CPU_NS 1000000u    // who used less since the last cycle has nothing new to find

static struct {
    struct sv_lock lock;                 // the driver's, for a whole cycle
    struct sv_lock stopping;             // around a stop; exec and fork
    bool enabled;                        // const after init: cycles may run
    bool beside;                         // const after init: by a worker, if one can be had
    _Atomic bool linked;                 // driver: the command's way in is kept open
    _Atomic uint64_t relink;             // anyone: not brought back before then, ns
    _Atomic uint32_t relink_failed;      // anyone: so many times in a row
    struct sv_pacer pacer;               // lock
    struct sv_limiter limiter;           // lock
    int procfd;                          // stopping: /proc kept for good, else -1
    bool stale;                          // lock: marks of a cycle that fork cut off
    double stop_rate;                    // lock: ns a byte of a mark in one stop
    uint64_t last_cpu;                   // driver: processor time of the process after a cycle
    _Atomic uint64_t last;               // lock: when the last cycle ended, ns; 0: none yet
    _Atomic uint64_t goal;               // lock: bytes of live that a running cycle aims at
    bool here;                           // lock: the next cycle is one of sv_cycle_here ...
    uintptr_t here_sp;                   // lock: ... with these
    void (*here_look)(uint64_t marked);  // lock
    int driver;                          // driver: its thread id, 0: none yet
    _Atomic uint32_t flipped;            // driver: number of the last cycle that wasn't given up
    _Atomic bool unwatched;              // anyone: no barrier any more, see sv_cycle_unwatch
    _Atomic uint32_t asked;              // anyone: number of the last cycle wanted
    _Atomic uint32_t forced;             // anyone: up to this number they are to sweep to the end
    _Atomic uint32_t started;            // driver: number of the last cycle begun
    _Atomic uint32_t ended;              // driver: likewise, ended; futex
    _Atomic(struct sv_thread *) blocker; // the thread inside sv_cycle_block, by itself
    bool fork_owned;                     // stopping: the forking thread had blocked stops already
} cycle = {.procfd = -1};

_Atomic uint32_t sv_cycle_ticks;
const struct sv_cycle_link *sv_cycle_link;
uint64_t (*sv_cycle_on_time)(void);
_Atomic bool sv_cycle_unlinked;

// In mode=leaks somebody is going to ask; else the command's way in opens with the first cycle.
static bool linked_early(void)
{
    return sv_options.mode == SV_MODE_LEAKS;
}

static double stop_rate_guess(void)
{
    return cycle.pacer.procs > 1 ? STOP_RATE_TWO : STOP_RATE;
}

void sv_cycle_init(void)
{
    uint64_t first = UINT64_MAX;
    sv_leaks_init();
    if (sv_options.mode != SV_MODE_OFF && sv_world_init()) {
        cycle.enabled = true;
        cycle.beside = sv_options.barrier != SV_BARRIER_STW && sv_options.workers != 0;
        sv_pacer_init(&cycle.pacer, sv_options.gcpercent, sv_options.memlimit, sv_os_processors());
        sv_limiter_init(&cycle.limiter, sv_os_processors(), sv_os_now());
        cycle.stop_rate = stop_rate_guess();
        first = sv_pacer_trigger(&cycle.pacer);
    }
    atomic_store_explicit(&sv_cycle_unlinked, cycle.beside && linked_early(), memory_order_relaxed);
    uint32_t ticks = sv_options.stress ? sv_options.stress : TICKS_PERIOD;
    atomic_store_explicit(&sv_cycle_ticks, cycle.enabled ? ticks : 0, memory_order_relaxed);
    atomic_store_explicit(&sv_heap.trigger, first, memory_order_relaxed);
    atomic_store_explicit(&cycle.goal, first == UINT64_MAX ? first : sv_pacer_goal(&cycle.pacer),
                          memory_order_relaxed);
}

static bool cycle_blocked_here(void)
{
    struct sv_thread *blocker = atomic_load_explicit(&cycle.blocker, memory_order_relaxed);
    return blocker && blocker == sv_world_self();
}

// Can a cycle run at all, for this caller?
static bool cycle_possible(void)
{
    return cycle.enabled && (!sv_worker_here() || sv_worker_link_here()) && sv_world_self() &&
           sv_world_self_valid() && !cycle_blocked_here();
}

// ---- /proc --------------------------------------------------------------------------------------

// /proc is opened for a cycle and closed after it: the program has no descriptor of ours to stumble
// over, and may close all it finds. The exception is a program that changes its root directory.
static int proc_open(void)
{
    int fd = sv_proc_open();
    if (fd < 0 && cycle.procfd >= 0)
        fd = sv_worker_here() ? sv_worker_borrow(cycle.procfd)
                              : sv_os_fcntl(cycle.procfd, F_DUPFD_CLOEXEC, PROC_FD_MIN);
    int test = fd < 0 ? -1 : sv_proc_file(fd, "thread-self/maps", 0);
    if (test < 0 && fd >= 0) {
        sv_os_close(fd);
        fd = -1;
    }
    if (test >= 0)
        sv_os_close(test);
    return fd;
}

void sv_cycle_proc_keep(void)
{
    if (!cycle_possible())
        return;
    sv_lock_acquire(&cycle.stopping);
    if (cycle.procfd < 0)
        cycle.procfd = sv_proc_open();
    if (cycle.procfd >= 0 && cycle.procfd < PROC_FD_MIN) {
        sv_os_close(cycle.procfd);
        cycle.procfd = -1;
    }
    sv_lock_release(&cycle.stopping);
}

// ---- a cycle, cycle lock held -------------------------------------------------------------------

// Registers are spilled in this frame and the scan of the stack starts at it, so the callers'
// pointers are seen wherever the compiler kept them. Not inlined: a frame of its own is the point.
__attribute__((noinline)) static const char *collect_here(struct sv_phase_in *in,
                                                          struct sv_stats_cycle *stats)
{
    struct sv_arch_saved saved;
    uint64_t mask;
    sv_arch_save(&saved);
    if (!in->sp)
        in->sp = (uintptr_t)&saved & ~(uintptr_t)15;
    // Signals wait meanwhile: a handler of the program's that ran on this thread would move
    // pointers while they are being followed, or leave by a jump, with all others standing still.
    sv_os_signal_mask(SIG_BLOCK, ~(uint64_t)0, &mask);
    const char *reason = sv_phase_collect(in, stats);
    sv_os_signal_mask(SIG_SETMASK, mask, NULL);
    __asm__ volatile("" ::"r"(&saved) : "memory");
    return reason;
}

static void memory_find(struct sv_pacer_memory *m)
{
    m->mapped = sv_heap_mapped_unreleased() + sv_metadata_bytes();
    m->free = sv_heap_free_unreleased();
    m->inuse = sv_heap_inuse();
}

static void trigger_set(void)
{
    uint64_t goal = sv_pacer_goal(&cycle.pacer);
    atomic_store_explicit(&cycle.goal, goal, memory_order_relaxed);
    sv_stats_goal(goal);
    atomic_store_explicit(&sv_heap.trigger, sv_pacer_trigger(&cycle.pacer), memory_order_relaxed);
}

static void cycle_pace(struct sv_stats_cycle *stats)
{
    uint64_t share = (uint64_t)((double)stats->mark * cycle.pacer.procs / 4);
    stats->idle = stats->background > share ? stats->background - share : 0;
    stats->background -= stats->idle;
    sv_pacer_end(&cycle.pacer, stats->live_end, stats->scanned, stats->mark, stats->assist,
                 stats->idle);
    struct sv_pacer_found found = {.live = stats->live_end,
                                   .marked = stats->live_marked,
                                   .stacks = stats->stacks,
                                   .others = stats->roots};
    uint64_t roots = stats->stacks + stats->roots;
    found.heap_work = stats->scanned > roots ? stats->scanned - roots : 0;
    found.cpu = stats->background + stats->idle + stats->assist;
    for (unsigned i = 0; i < SV_NSTOP; i++)
        found.cpu += stats->all[i].total;
    memory_find(&found.memory);
    found.released = sv_heap_released();
    sv_pacer_commit(&cycle.pacer, &found);
    trigger_set();
    sv_sweep_begin(sv_pacer_trigger(&cycle.pacer));
    sv_scavenge_pace(sv_pacer_retain(&cycle.pacer));
}

// What a stop on a busy machine said is forgotten in time: it isn't asked again meanwhile.
static void stop_rate_learn(const struct sv_stats_cycle *stats, bool beside)
{
    double told = stats->scanned ? (double)stats->scanned : 1;
    cycle.stop_rate = beside ? cycle.stop_rate + (stop_rate_guess() - cycle.stop_rate) / 8
                             : (double)stats->all[SV_STOP_TERMINATION].total / told;
}

// Does a small heap get its mark in one stop? The barrier costs the program a fault for each page
// that it writes meanwhile, and the collector two walks over the page tables: more than the mark
// itself where cycles follow one another, and then stalls by assists as long as that stop. GCBench
// with 5 MiB live takes 0.16 s so, and 0.34 s with the barrier. Cycles that somebody asked for
// stay out of it.
static bool stop_is_short(const struct sv_stats_cycle *stats, uint64_t live)
{
    if (stats->forced || sv_options.stress || sv_options.chaos ||
        sv_options.barrier != SV_BARRIER_AUTO)
        return false;
    double expected = cycle.stop_rate * sv_pacer_work(&cycle.pacer, live);
    uint64_t last = atomic_load_explicit(&cycle.last, memory_order_relaxed);
    bool busy = last && cycle.pacer.stretch == 1 &&
                expected * STOP_BUSY_SHARE > (double)(sv_os_now() - last);
    return expected < (busy ? STOP_BUSY_NS : STOP_SHORT_NS);
}

// The marking itself. NULL, or why not.
static const char *cycle_collect(struct sv_stats_cycle *stats)
{
    int procfd = proc_open();
    if (procfd < 0)
        return "no /proc";
    const struct sv_barrier *barrier = sv_barrier_choose(procfd); // which remembers
    bool worker = sv_worker_here();
    uint64_t live = atomic_load_explicit(&sv_heap.live, memory_order_relaxed);
    bool beside = worker && !cycle.here && barrier->concurrent && !stop_is_short(stats, live) &&
                  !atomic_load_explicit(&cycle.unwatched, memory_order_seq_cst) &&
                  barrier->open(procfd) == 0;
    struct sv_phase_in in = {barrier, &cycle.stopping, &cycle.pacer, &cycle.limiter, procfd,
                             0,       beside,          NULL};
    if (cycle.here) {
        in.sp = worker ? 0 : cycle.here_sp;
        in.look = cycle.here_look;
    }
    cycle.pacer.stw = !beside;
    stats->barrier = beside ? barrier->name : sv_barrier_stw.name;
    stats->workers = beside;
    stats->goal = sv_pacer_goal(&cycle.pacer);
    sv_pacer_start(&cycle.pacer, live);
    const char *reason;
    if (worker) {
        sv_share_begin(procfd, (double)cycle.pacer.procs / 4);
        reason = sv_phase_collect(&in, stats);
        sv_share_end();
    } else {
        reason = collect_here(&in, stats);
    }
    if (!reason)
        cycle_pace(stats);
    if (!reason)
        stop_rate_learn(stats, beside);
    sv_phase_finish();
    sv_os_close(procfd);
    return reason;
}

// Marks that a fork cut off from their cycle.
static void stale_clear(void)
{
    sv_heap_lock_all();
    sv_mark_clear();
    sv_heap_unlock_all();
    cycle.stale = false;
}

// The trigger is passed: does a cycle pay? One that stops the world doesn't while the collector has
// had more than half of the processors.
static bool cycle_due(void)
{
    uint64_t live = atomic_load_explicit(&sv_heap.live, memory_order_relaxed);
    sv_limiter_update(&cycle.limiter, sv_os_now(), SV_LIMITER_OFF, 0, 0);
    if (cycle.pacer.stw && sv_limiter_limiting(&cycle.limiter))
        return false;
    return sv_pacer_due(&cycle.pacer, live, sv_os_cpu());
}

// See client.h. A check for leaks goes on: it takes nothing away.
static bool client_wants(bool asked)
{
    return !sv_client || sv_options.mode == SV_MODE_LEAKS || sv_client->wanted(asked);
}

// NULL: it has flipped, or wasn't worth it; else why it was given up.
static const char *cycle_run(bool forced)
{
    struct sv_stats_cycle stats = {.forced = forced};
    if (!client_wants(true))
        return "not wanted";
    sv_sweep_finish();
    sv_pacer_swept(&cycle.pacer);
    if (cycle.stale)
        stale_clear();
    if (!forced && !sv_options.stress && !cycle_due()) {
        trigger_set();
        return NULL;
    }
    const char *reason = cycle_collect(&stats);
    if (reason) {
        sv_pacer_abandon(&cycle.pacer, atomic_load_explicit(&sv_heap.live, memory_order_relaxed));
        trigger_set();
        sv_stats_abandoned(&stats, reason);
    } else {
        sv_sweep_large();
        sv_stats_cycle(&stats);
    }
    if (forced || reason)
        sv_sweep_finish();
    atomic_store_explicit(&cycle.last, sv_os_now(), memory_order_relaxed);
    sv_metrics_write();
    return reason;
}

// ---- the driver ---------------------------------------------------------------------------------

static void drive_asked(void)
{
    sv_lock_acquire(&cycle.lock);
    uint32_t number = atomic_fetch_add_explicit(&cycle.started, 1, memory_order_seq_cst) + 1;
    uint32_t forced = atomic_load_explicit(&cycle.forced, memory_order_relaxed);
    bool whole = (int32_t)(forced - number) >= 0;
    if (!cycle_run(whole) && whole)
        atomic_store_explicit(&cycle.flipped, number, memory_order_relaxed);
    cycle.last_cpu = sv_os_cpu();
    sv_lock_release(&cycle.lock);
    atomic_store_explicit(&cycle.ended, number, memory_order_release);
    sv_os_futex_wake(&cycle.ended, INT32_MAX);
}

static bool asked_more(void)
{
    uint32_t asked = atomic_load_explicit(&cycle.asked, memory_order_seq_cst);
    return (int32_t)(asked - atomic_load_explicit(&cycle.started, memory_order_relaxed)) > 0;
}

static void ask(uint32_t number, bool forced)
{
    _Atomic uint32_t *words[2] = {&cycle.forced, &cycle.asked};
    for (unsigned i = forced ? 0 : 1; i < 2; i++) {
        uint32_t old = atomic_load_explicit(words[i], memory_order_relaxed);
        while ((int32_t)(number - old) > 0 &&
               !atomic_compare_exchange_weak_explicit(words[i], &old, number, memory_order_seq_cst,
                                                      memory_order_relaxed))
            ;
    }
    sv_worker_wake();
}

// By time: when the period is over, and the program has done anything since.
static void period_poll(void)
{
    uint64_t period = (uint64_t)sv_options.period * 1000000000u;
    uint64_t last = atomic_load_explicit(&cycle.last, memory_order_relaxed);
    if (!period || !last || sv_os_now() - last < period)
        return;
    if (sv_os_cpu() - cycle.last_cpu > IDLE_CPU_NS && client_wants(false))
        ask(atomic_load_explicit(&cycle.started, memory_order_relaxed) + 1, false);
    else
        atomic_store_explicit(&cycle.last, sv_os_now(), memory_order_relaxed);
}

// The sooner of two times to wake up, 0: none.
static uint64_t sooner(uint64_t a, uint64_t b)
{
    return !a || (b && b < a) ? b : a;
}

// How long to sleep when nothing is to be done, 0: until somebody calls.
static uint64_t idle_ns(uint64_t scavenge)
{
    uint64_t period = (uint64_t)sv_options.period * 1000000000u;
    uint64_t called = sv_cycle_on_time ? sv_cycle_on_time() : 0;
    return sooner(called, sooner(period, scavenge == UINT64_MAX ? 0 : scavenge));
}

// Threads that mark beside the program, the driver one of them.
static uint32_t markers_wanted(void)
{
    return sv_options.workers == SV_WORKERS_AUTO ? sv_pacer_workers(cycle.pacer.procs).dedicated
                                                 : sv_options.workers;
}

// The second one marks only inside of stops, unless more than one is asked for.
static void help(void)
{
    while (!sv_worker_ending()) {
        uint32_t seen = sv_worker_seen();
        while (sv_crew_serve() || (markers_wanted() > 1 && sv_assist_help()))
            ;
        bool marking = markers_wanted() > 1 && sv_heap_marking();
        sv_worker_sleep(seen, marking ? HELP_NAP_NS : 0);
    }
}

static void worker_body(unsigned index);

// The last cycle's garbage is all swept: the next one may start as early as it likes.
static void swept_tell(void)
{
    sv_lock_acquire(&cycle.lock);
    if (cycle.pacer.sweeping) {
        sv_pacer_swept(&cycle.pacer);
        trigger_set();
    }
    sv_lock_release(&cycle.lock);
}

static bool sweep_some(void)
{
    uint64_t began = sv_os_cpu_thread();
    bool more = sv_sweep_step(SWEEP_BATCH);
    sv_stats_cpu_add(SV_CPU_SWEEP, sv_os_cpu_thread() - began);
    return more;
}

// In a table shared with the program its descriptors would be in the way.
static bool link_start(void)
{
    bool linked = sv_cycle_link && sv_worker_table_private() && sv_cycle_link->open();
    atomic_store_explicit(&cycle.linked, linked, memory_order_relaxed);
    atomic_store_explicit(&sv_cycle_unlinked, false, memory_order_relaxed);
    if (linked && !sv_worker_link_start()) {
        sv_cycle_link->close();
        return false;
    }
    return linked;
}

static void drive(void)
{
    uint32_t n = markers_wanted();
    if (n < 2 && cycle.pacer.procs > 1)
        n = 2;
    if (n > 1)
        sv_worker_start(worker_body, n);
    sv_scavenge_worker(sv_worker_wake);
    cycle.driver = sv_os_gettid();
    bool linked = link_start();
    sv_worker_await();
    while (!sv_worker_ending()) {
        uint32_t seen = sv_worker_seen();
        if (asked_more()) {
            drive_asked();
        } else if (sweep_some()) {
            sv_chaos();
        } else {
            swept_tell();
            uint64_t nap = sv_scavenge_step();
            if (!asked_more() && !sv_worker_ending())
                sv_worker_sleep(seen, idle_ns(nap));
            period_poll();
        }
    }
    if (linked)
        sv_cycle_link->close();
}

static void worker_body(unsigned index)
{
    sv_os_name("salvage");
    if (index == SV_WORKER_LINK)
        sv_cycle_link->serve();
    else if (index)
        help();
    else
        drive();
}

static enum sv_worker_state worker_state(void)
{
    return cycle.beside ? sv_worker_start(worker_body, 1) : SV_WORKER_NONE;
}

// ---- who asks -----------------------------------------------------------------------------------

static bool cycle_ended(uint32_t number)
{
    return (int32_t)(atomic_load_explicit(&cycle.ended, memory_order_acquire) - number) >= 0;
}

// Sleeps until a cycle ends, behind the gate: so only the thread's live frames count, those from
// `sp` up (0: all), and not what stands in its vector registers. `wanted`: a cycle that is asked
// for in there, since it may begin before this thread gets any further; 0: none.
static void ended_wait(uint32_t ended, uintptr_t sp, uint32_t wanted)
{
    struct sv_gate_frame gate = {0};
    if (!sv_worker_here() && (sp || wanted)) // a check
        sv_gate_enter(&gate);
    if (gate.thread && sp > gate.thread->gate_sp)
        gate.thread->gate_sp = sp;
    if (wanted)
        ask(wanted, true);
    sv_os_futex_wait(&cycle.ended, ended, ANSWER_NS);
    sv_gate_leave(&gate);
}

// Waits until cycle `number` has ended; a worker that was ended meanwhile (by a signal handler that
// forks) is started again.
static void cycle_await(uint32_t number, uintptr_t sp)
{
    while (!cycle_ended(number)) {
        uint32_t ended = atomic_load_explicit(&cycle.ended, memory_order_acquire);
        if (sv_worker_here() ? sv_worker_ending() : worker_state() == SV_WORKER_NONE)
            return;
        if (!cycle_ended(number))
            ended_wait(ended, sp, 0);
    }
}

// By the calling thread, stopped.
static void cycle_here(bool forced, size_t bytes)
{
    sv_lock_acquire(&cycle.lock);
    // somebody else's cycle may have come first
    if (forced || atomic_load_explicit(&sv_heap.live, memory_order_relaxed) + bytes >=
                      atomic_load_explicit(&sv_heap.trigger, memory_order_relaxed))
        cycle_run(forced);
    sv_lock_release(&cycle.lock);
}

void sv_cycle_unwatch(void)
{
    if (!cycle_possible())
        return;
    atomic_store_explicit(&cycle.unwatched, true, memory_order_seq_cst);
    cycle_await(atomic_load_explicit(&cycle.started, memory_order_seq_cst), 0);
}

uint32_t sv_cycle_count(void)
{
    return atomic_load_explicit(&cycle.ended, memory_order_acquire);
}

bool sv_cycle_passed(uint32_t *count)
{
    if (!cycle_possible())
        return false;
    uint32_t started = atomic_load_explicit(&cycle.started, memory_order_seq_cst);
    if (started == *count)
        return false;
    cycle_await(started, 0);
    *count = started;
    return true;
}

size_t sv_cycle_collect(void)
{
    if (!cycle_possible() || !client_wants(true))
        return 0;
    uint64_t before = atomic_load_explicit(&sv_heap.reclaimed, memory_order_relaxed);
    if (worker_state() != SV_WORKER_NONE) {
        // whatever starts after this load is a whole cycle that follows the call
        uint32_t number = atomic_load_explicit(&cycle.started, memory_order_seq_cst) + 1;
        ask(number, true);
        cycle_await(number, 0);
    } else {
        cycle_here(true, 0);
    }
    return atomic_load_explicit(&sv_heap.reclaimed, memory_order_relaxed) - before;
}

void sv_cycle_ask(void)
{
    if (cycle_possible() && worker_state() != SV_WORKER_NONE)
        ask(atomic_load_explicit(&cycle.started, memory_order_seq_cst) + 1, true);
}

bool sv_cycle_running(void)
{
    return asked_more() || !cycle_ended(atomic_load_explicit(&cycle.started, memory_order_relaxed));
}

// Who begins a cycle after the look at `started` here sees what the client said before.
void sv_cycle_settle(void)
{
    if (!cycle_possible() || sv_cycle_locked_here())
        return;
    uint32_t asked = atomic_load_explicit(&cycle.asked, memory_order_seq_cst);
    uint32_t started = atomic_load_explicit(&cycle.started, memory_order_seq_cst);
    cycle_await((int32_t)(asked - started) > 0 ? asked : started, 0);
    sv_lock_acquire(&cycle.lock); // by a thread of the program's
    sv_lock_release(&cycle.lock);
}

void sv_cycle_gcpercent(uint32_t percent)
{
    if (!cycle.enabled)
        return;
    sv_lock_acquire(&cycle.lock);
    cycle.pacer.gcpercent = percent;
    trigger_set();
    sv_lock_release(&cycle.lock);
}

void sv_cycle_floor(uint64_t bytes)
{
    if (!cycle.enabled)
        return;
    sv_lock_acquire(&cycle.lock);
    cycle.pacer.floor = bytes;
    trigger_set();
    sv_lock_release(&cycle.lock);
}

// Under a memory limit the goal moves with what is mapped, and what is free goes back at once.
static void limit_poll(void)
{
    if (sv_options.memlimit == SV_PACER_NOLIMIT || !sv_lock_try(&cycle.lock))
        return;
    struct sv_pacer_memory memory;
    sv_scavenge_limit(sv_options.memlimit);
    memory_find(&memory);
    sv_pacer_memory(&cycle.pacer, &memory);
    trigger_set();
    sv_lock_release(&cycle.lock);
}

// Every stress-th time; and by time, where no worker looks at the clock.
static bool ticks_due(void)
{
    uint32_t ticks = atomic_load_explicit(&sv_cycle_ticks, memory_order_relaxed);
    if (ticks != 0 && ticks <= UINT32_MAX / 2)
        return false;
    ticks = sv_options.stress ? sv_options.stress : TICKS_PERIOD;
    atomic_store_explicit(&sv_cycle_ticks, ticks, memory_order_relaxed);
    limit_poll();
    if (sv_options.stress)
        return true;
    uint64_t last = atomic_load_explicit(&cycle.last, memory_order_relaxed);
    return !cycle.beside && last && sv_options.period &&
           sv_os_now() - last >= (uint64_t)sv_options.period * 1000000000u;
}

// A thread that takes the heap past the goal of a cycle asked for or under way waits for it, for a
// bounded time: longer the more it asks for.
static void goal_wait(uint64_t live, size_t bytes)
{
    uint64_t goal = atomic_load_explicit(&cycle.goal, memory_order_relaxed);
    if (live < goal)
        return;
    uint32_t ended = atomic_load_explicit(&cycle.ended, memory_order_acquire);
    if (!asked_more() && atomic_load_explicit(&cycle.started, memory_order_relaxed) == ended)
        return;
    uint64_t now = sv_os_now();
    uint64_t until = now + (bytes > goal / WAIT_SHARE ? WAIT_LARGE_NS : WAIT_NS);
    while (now < until && atomic_load_explicit(&cycle.ended, memory_order_acquire) == ended) {
        sv_os_futex_wait(&cycle.ended, ended, until - now);
        now = sv_os_now();
    }
}

__attribute__((noinline)) void sv_cycle_check(size_t bytes)
{
    if (!cycle_possible())
        return;
    if (atomic_load_explicit(&sv_heap.phase, memory_order_relaxed) == SV_PHASE_MARK)
        sv_assist_charge(bytes);
    bool due = ticks_due();
    uint64_t live = atomic_load_explicit(&sv_heap.live, memory_order_relaxed) + bytes;
    if (!due && live < atomic_load_explicit(&sv_heap.trigger, memory_order_relaxed))
        return;
    if (!client_wants(false))
        return;
    enum sv_worker_state state = worker_state();
    if (state == SV_WORKER_NONE)
        cycle_here(due, bytes);
    if (state != SV_WORKER_THERE)
        return;
    uint32_t started = atomic_load_explicit(&cycle.started, memory_order_seq_cst);
    if (due) // one after the other, the program running beside each
        cycle_await(started, 0);
    if ((due || cycle_ended(started)) && !asked_more())
        ask(started + 1, false);
    goal_wait(live, bytes);
}

// ---- checks for leaks ---------------------------------------------------------------------------

int sv_cycle_beside(uintptr_t sp)
{
    bool worker = sv_worker_here();
    if (!cycle.enabled || (!worker && !cycle_possible()))
        return -ENOTSUP;
    for (unsigned try = 0; try < CHECK_TRIES && worker_state() != SV_WORKER_NONE; try++) {
        uint32_t number = atomic_load_explicit(&cycle.started, memory_order_seq_cst) + 1;
        uint32_t ended = atomic_load_explicit(&cycle.ended, memory_order_acquire);
        if (worker && cycle.driver == sv_os_gettid()) {
            ask(number, true);
            drive_asked();
        } else {
            ended_wait(ended, sp, number);
            cycle_await(number, sp);
        }
        // written before `ended`, which was read with acquire
        uint32_t flipped = atomic_load_explicit(&cycle.flipped, memory_order_relaxed);
        if ((int32_t)(flipped - number) >= 0)
            return 0;
    }
    return -EAGAIN;
}

int sv_cycle_hold(void)
{
    if (sv_cycle_locked_here())
        return -EDEADLK;
    if (!cycle.enabled || (!sv_worker_here() && !cycle_possible()))
        return -ENOTSUP;
    uint64_t until = sv_os_now() + HOLD_NS;
    while (!sv_lock_try(&cycle.lock)) {
        if (sv_os_now() >= until)
            return -ETIMEDOUT;
        sv_os_nap(WAIT_NS);
    }
    return 0;
}

void sv_cycle_release(void)
{
    sv_lock_release(&cycle.lock);
}

const char *sv_cycle_here(uintptr_t sp, void (*look)(uint64_t marked))
{
    cycle.here = true;
    cycle.here_sp = sp;
    cycle.here_look = look;
    const char *reason = cycle_run(true);
    cycle.here = false;
    return reason;
}

bool sv_cycle_alone(void)
{
    return !sv_worker_here() && sv_world_signalled + sv_world_asleep == 0;
}

int sv_cycle_proc(void)
{
    return proc_open();
}

// ---- the command's way in -----------------------------------------------------------------------

// The workers are gone, and the thread of the link with them. Who counts threads right after a
// fork, or is about to make one more of the calls that end workers, gets a moment for it.
static void link_lost(bool wanted, uint64_t ns)
{
    atomic_store_explicit(&cycle.linked, false, memory_order_relaxed);
    atomic_store_explicit(&cycle.relink_failed, 0, memory_order_relaxed);
    atomic_store_explicit(&cycle.relink, sv_os_now() + ns, memory_order_relaxed);
    atomic_store_explicit(&sv_cycle_unlinked, wanted && cycle.beside, memory_order_relaxed);
}

// Where no thread can be had one tries less and less often.
void sv_cycle_relink(void)
{
    uint64_t now = sv_os_now();
    if (now < atomic_load_explicit(&cycle.relink, memory_order_relaxed) || !cycle_possible() ||
        worker_state() != SV_WORKER_NONE)
        return;
    uint32_t failed = atomic_fetch_add_explicit(&cycle.relink_failed, 1, memory_order_relaxed);
    uint64_t ns = RELINK_RETRY_NS << (failed < RELINK_RETRIES ? failed : RELINK_RETRIES);
    atomic_store_explicit(&cycle.relink, now + ns, memory_order_relaxed);
}

// ---- stops for the program's own ends -----------------------------------------------------------

const char *sv_cycle_stop(void)
{
    if (sv_cycle_hold() != 0)
        return "no cycles here";
    int procfd = proc_open();
    sv_lock_acquire(&cycle.stopping);
    sv_locks_take();
    const char *reason = sv_world_stop(procfd);
    if (reason) {
        sv_locks_drop();
        sv_lock_release(&cycle.stopping);
        sv_cycle_release();
    } else {
        atomic_fetch_or_explicit(&sv_world_me->distrusted, SV_DISTRUST_STOPPER,
                                 memory_order_relaxed);
    }
    if (procfd >= 0)
        sv_os_close(procfd);
    return reason;
}

void sv_cycle_start(void)
{
    atomic_fetch_and_explicit(&sv_world_me->distrusted, ~(uint32_t)SV_DISTRUST_STOPPER,
                              memory_order_relaxed);
    sv_locks_drop(); // those who are woken may want them at once
    sv_lock_release(&cycle.stopping);
    sv_world_resume();
    sv_cycle_release();
}

// ---- keeping stops away -------------------------------------------------------------------------

bool sv_cycle_block(void)
{
    // a signal handler that execs while its thread is about to is inside already
    if (!cycle_possible())
        return false;
    sv_lock_acquire(&cycle.stopping);
    atomic_store_explicit(&cycle.blocker, sv_world_self(), memory_order_relaxed);
    return true;
}

void sv_cycle_unblock(void)
{
    atomic_store_explicit(&cycle.blocker, NULL, memory_order_relaxed);
    sv_lock_release(&cycle.stopping);
}

bool sv_cycle_locked_here(void)
{
    return sv_lock_held(&cycle.lock) || sv_lock_held(&cycle.stopping) || sv_locks_held_here();
}

// An idle worker is ended, so that the child is the copy of a process with one thread, and so that
// who counts threads after a fork (python does) finds what it expects. Not in mode=leaks: a server
// that forks and then only waits would have lost its link until it allocates again.
enum sv_fork sv_cycle_fork_prepare(void)
{
    // a signal handler that forks while its thread is about to exec
    bool owned = sv_lock_held(&cycle.stopping);
    if (sv_locks_held_here())
        return SV_FORK_INSIDE;
    bool idle =
        !asked_more() && cycle_ended(atomic_load_explicit(&cycle.started, memory_order_relaxed));
    bool busy = linked_early() || (sv_cycle_link && sv_cycle_link->busy());
    if (idle && !busy && !sv_cycle_locked_here() && !sv_worker_locked_here() && sv_worker_only()) {
        sv_cycle_single();
        return SV_FORK_ALONE;
    }
    if (!owned)
        sv_lock_acquire(&cycle.stopping);
    cycle.fork_owned = owned;
    sv_locks_take();
    return SV_FORK_LOCKED;
}

void sv_cycle_fork_parent(enum sv_fork how)
{
    if (how != SV_FORK_LOCKED)
        return;
    bool owned = cycle.fork_owned;
    sv_locks_drop();
    if (!owned)
        sv_lock_release(&cycle.stopping);
}

// What the worker was doing is not being done any more.
static void cycle_forget(void)
{
    cycle.stale |= atomic_load_explicit(&sv_heap.phase, memory_order_relaxed) != SV_PHASE_OFF;
    if (!sv_lock_held(&cycle.lock)) { // somebody else's check
        cycle.here = false;
        sv_leaks_fork_child();
    }
    sv_lock_reset(&cycle.lock);
    sv_protect_fork_child();
    uint32_t started = atomic_load_explicit(&cycle.started, memory_order_relaxed);
    atomic_store_explicit(&cycle.asked, started, memory_order_relaxed);
    atomic_store_explicit(&cycle.ended, started, memory_order_relaxed);
    sv_phase_fork_child();
    sv_crew_fork_child();
    sv_rootset_fork_child();
    sv_assist_fork_child();
    sv_work_fork_child();
    sv_modules_fork_child();
    sv_worker_fork_child();
    link_lost(linked_early(), 0);
    sv_scavenge_worker(NULL);
    trigger_set();
}

void sv_cycle_fork_child(enum sv_fork how)
{
    sv_world_fork_child();
    if (how == SV_FORK_LOCKED) {
        bool owned = cycle.fork_owned;
        sv_cache_fork_child();
        sv_metadata_fork_child();
        sv_heap_unlock_all();
        sv_world_unlock();
        sv_lock_release(&sv_client_lock);
        if (!owned)
            sv_lock_release(&cycle.stopping);
    } else if (how == SV_FORK_INSIDE) {
        // what other threads held, the thread itself keeps: it goes on where it was interrupted
        sv_lock_reset(&cycle.stopping);
        sv_locks_reset();
    }
    if (cycle.enabled)
        cycle_forget();
}

void sv_cycle_single(void)
{
    // a signal handler that interrupted one of ours would wait for workers that wait for its thread
    if (sv_cycle_locked_here() || sv_worker_locked_here())
        return;
    bool there = sv_worker_there();
    sv_worker_quit();
    sv_scavenge_worker(NULL);
    // the driver has decided by now
    if (there && atomic_load_explicit(&cycle.linked, memory_order_relaxed))
        link_lost(true, RELINK_NS);
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

bool sv_cycle_root_leave(uintptr_t lo, uintptr_t hi)
{
    bool ok = true;
    sv_world_lock();
    if (hi)
        ok = sv_rootset_leave(lo, hi);
    else
        sv_rootset_leave_none();
    sv_world_unlock();
    return ok;
}
