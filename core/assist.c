// Assists follow Go's (runtime/mgcmark.go, gcAssistAlloc): a byte allocated while a cycle marks is
// a debt of so many bytes of scanning as bring the cycle to its end when the heap reaches its goal.
// Debt is first paid from what the background has scanned, then by scanning, at least OVER_ASSIST
// at a time, so that it is seldom done. Where there is nothing to scan the thread goes on: no
// thread waits here for another one's work.
//
// The door. Who marks beside the driver does it inside, counted; the driver closes the door and
// waits until nobody is left before it stops the world, so no stopped thread is in the middle of a
// marker's queue. Inside, signals wait: a handler of the program's that never returned, by a jump
// or a long wait, would keep the door from closing. Who leaves makes all that it found global.
//
// Never done here: anything while the world is stopped; waiting on a lock of the program's.
#include "assist.h"

#include <signal.h>

#include "assert.h"
#include "chaos.h"
#include "heap.h"
#include "mark.h"
#include "os.h"
#include "work.h"
#include "worker.h"
#include "world.h"

#define OVER_ASSIST ((uint64_t)64 << 10) // bytes of scanning, at least: Go's gcOverAssistWork
#define ASSIST_MOST ((uint64_t)1 << 20)  // about a millisecond; the rest of the debt comes later
#define HELP_SLICE ((uint64_t)256 << 10) // bytes a helper scans between two looks at the door
#define DOOR_CLOSED 0x80000000u
#define RATIO_ONE 65536.0

static struct {
    _Atomic uint32_t door;    // DOOR_CLOSED, and how many are inside
    _Atomic uint32_t taken;   // a bit a marker
    _Atomic uint64_t ratio;   // driver: bytes of work per byte allocated, times 65536
    _Atomic int64_t credit;   // bytes of work done in the background and not spent
    _Atomic uint64_t scanned; // since the cycle began
    _Atomic uint64_t objects;
    _Atomic uint64_t ns;
    _Atomic uint64_t help_ns;
    _Atomic uint32_t count;
    _Atomic bool failed;                        // a marker lost work
    _Atomic bool limiting;                      // driver: assists are off
    const struct sv_pages *pages;               // driver, door closed
    struct sv_marker marker[SV_ASSIST_MARKERS]; // whoever took it
} assist = {.door = DOOR_CLOSED};

// ---- the door -----------------------------------------------------------------------------------

static bool door_enter(void)
{
    uint32_t door = atomic_load_explicit(&assist.door, memory_order_relaxed);
    do {
        if (door & DOOR_CLOSED)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&assist.door, &door, door + 1,
                                                    memory_order_acquire, memory_order_relaxed));
    return true;
}

static void door_leave(void)
{
    sv_chaos();
    // release pairs with the closer's acquire: the work left behind is visible
    uint32_t door = atomic_fetch_sub_explicit(&assist.door, 1, memory_order_release);
    sv_debug((door & ~DOOR_CLOSED) != 0);
    if (door == (DOOR_CLOSED | 1))
        sv_os_futex_wake(&assist.door, 1);
}

void sv_assist_open(void)
{
    atomic_fetch_and_explicit(&assist.door, ~DOOR_CLOSED, memory_order_release);
}

void sv_assist_close(void)
{
    uint32_t door = atomic_fetch_or_explicit(&assist.door, DOOR_CLOSED, memory_order_acquire);
    door |= DOOR_CLOSED;
    while (door != DOOR_CLOSED) {
        sv_os_futex_wait(&assist.door, door, 0);
        door = atomic_load_explicit(&assist.door, memory_order_acquire);
    }
}

bool sv_assist_failed(void)
{
    return atomic_load_explicit(&assist.failed, memory_order_relaxed);
}

void sv_assist_begin(const struct sv_pages *pages)
{
    assist.pages = pages;
    atomic_store_explicit(&assist.credit, 0, memory_order_relaxed);
    atomic_store_explicit(&assist.scanned, 0, memory_order_relaxed);
    atomic_store_explicit(&assist.objects, 0, memory_order_relaxed);
    atomic_store_explicit(&assist.ns, 0, memory_order_relaxed);
    atomic_store_explicit(&assist.help_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&assist.count, 0, memory_order_relaxed);
    atomic_store_explicit(&assist.failed, false, memory_order_relaxed);
}

// ---- marking inside -----------------------------------------------------------------------------

static struct sv_marker *marker_take(void)
{
    uint32_t taken = atomic_load_explicit(&assist.taken, memory_order_relaxed);
    while (taken != (1u << SV_ASSIST_MARKERS) - 1) {
        uint32_t bit = ~taken & (taken + 1);
        if (atomic_compare_exchange_weak_explicit(&assist.taken, &taken, taken | bit,
                                                  memory_order_acquire, memory_order_relaxed))
            return &assist.marker[__builtin_ctz(bit)];
    }
    return NULL;
}

static void marker_drop(const struct sv_marker *m)
{
    atomic_fetch_and_explicit(&assist.taken, ~(1u << (m - assist.marker)), memory_order_release);
}

// Scans up to `budget` bytes; returns how many it did. Inside the door.
static uint64_t slice_mark(uint64_t budget, const struct sv_pages *pages)
{
    struct sv_marker *m = sv_work_idle() ? NULL : marker_take();
    if (!m)
        return 0;
    sv_debug(sv_heap_marking()); // the driver closes the door before the phase ends
    sv_mark_begin(m, pages);
    sv_chaos();
    sv_mark_drain(m, budget);
    sv_mark_flush(m);
    sv_mark_account(m);
    uint64_t done = m->scanned;
    if (m->work.failed)
        atomic_store_explicit(&assist.failed, true, memory_order_relaxed);
    atomic_fetch_add_explicit(&assist.scanned, done, memory_order_relaxed);
    atomic_fetch_add_explicit(&assist.objects, m->objects, memory_order_relaxed);
    marker_drop(m);
    return done;
}

bool sv_assist_help(void)
{
    if (!door_enter())
        return false;
    uint64_t began = sv_os_now();
    uint64_t done = slice_mark(HELP_SLICE, assist.pages);
    atomic_fetch_add_explicit(&assist.help_ns, sv_os_now() - began, memory_order_relaxed);
    sv_assist_credit(done);
    door_leave();
    return done != 0;
}

// A thread of the program's doesn't have the driver's descriptors.
static const struct sv_pages pages_unknown = {.pagemap_fd = -1, .mem_fd = -1};

// ---- debt and credit ----------------------------------------------------------------------------

void sv_assist_pace(double work_per_byte)
{
    double ratio = work_per_byte * RATIO_ONE;
    atomic_store_explicit(&assist.ratio, ratio < 1e15 ? (uint64_t)ratio : (uint64_t)1e15,
                          memory_order_relaxed);
}

void sv_assist_credit(uint64_t scanned)
{
    atomic_fetch_add_explicit(&assist.credit, (int64_t)scanned, memory_order_relaxed);
}

// What of `work` the background has done already. Two threads may take the same; it is no account.
static uint64_t credit_take(uint64_t work)
{
    int64_t there = atomic_load_explicit(&assist.credit, memory_order_relaxed);
    if (there <= 0)
        return 0;
    uint64_t take = (uint64_t)there < work ? (uint64_t)there : work;
    atomic_fetch_sub_explicit(&assist.credit, (int64_t)take, memory_order_relaxed);
    return take;
}

static uint64_t assist_mark(uint64_t work)
{
    uint64_t mask;
    sv_os_signal_mask(SIG_BLOCK, ~(uint64_t)0, &mask);
    uint64_t done = 0;
    if (door_enter()) {
        uint64_t began = sv_os_now();
        done = slice_mark(work, &pages_unknown);
        if (done) {
            atomic_fetch_add_explicit(&assist.ns, sv_os_now() - began, memory_order_relaxed);
            atomic_fetch_add_explicit(&assist.count, 1, memory_order_relaxed);
        }
        door_leave();
    }
    sv_os_signal_mask(SIG_SETMASK, mask, NULL);
    return done;
}

void sv_assist_charge(size_t bytes)
{
    struct sv_thread *self = sv_world_self();
    uint64_t ratio = atomic_load_explicit(&assist.ratio, memory_order_relaxed);
    if (!self || self->worker || atomic_load_explicit(&assist.limiting, memory_order_relaxed))
        return;
    uint32_t cycle = atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
    if (self->assist_cycle != cycle) { // debts end with the cycle they were made in
        self->assist_cycle = cycle;
        self->assist = 0;
    }
    self->assist += (int64_t)((double)bytes * (double)ratio / RATIO_ONE);
    if (self->assist <= 0)
        return;
    uint64_t work = (uint64_t)self->assist;
    work = work < OVER_ASSIST ? OVER_ASSIST : work > ASSIST_MOST ? ASSIST_MOST : work;
    uint64_t paid = credit_take(work);
    if (paid < work)
        paid += assist_mark(work - paid);
    self->assist -= (int64_t)paid;
}

void sv_assist_limit(bool limiting)
{
    atomic_store_explicit(&assist.limiting, limiting, memory_order_relaxed);
}

void sv_assist_sums(struct sv_assist_sums *sums)
{
    sums->scanned = atomic_load_explicit(&assist.scanned, memory_order_relaxed);
    sums->objects = atomic_load_explicit(&assist.objects, memory_order_relaxed);
    sums->ns = atomic_load_explicit(&assist.ns, memory_order_relaxed);
    sums->help_ns = atomic_load_explicit(&assist.help_ns, memory_order_relaxed);
    sums->count = atomic_load_explicit(&assist.count, memory_order_relaxed);
}

void sv_assist_fork_child(void)
{
    atomic_store_explicit(&assist.door, DOOR_CLOSED, memory_order_relaxed);
    atomic_store_explicit(&assist.taken, 0, memory_order_relaxed);
}
