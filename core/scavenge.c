// The scavenger. Free pages that still hold memory are kept up to a share of what is in use,
// because giving a page back and faulting it in again costs some microseconds. What lies above that
// share goes back only when it has lain there for a whole window: the low-water mark of dirty free
// pages since the last look is what the program did without, so a loop that frees and takes the
// same megabytes keeps them, and a peak that is over is released. Highest addresses first; the
// allocator fills from below; a huge page that is free as a whole goes as a whole.
//
// With a worker the low-water mark only says how much is owed, and a cycle sets a goal beside it
// (Go's: what was in use when the mark ended, scaled by how the heap's goal changed, and a tenth),
// down to which goes what was free for a window. So a program that is collected many times in one
// keeps what it fills each time: binary-trees took 1.3 to 1.6 s without that memory, 0.9 to 1.0
// with it (22 November 2026, 2 processors). The worker releases in quanta that grow from 64 KiB to
// 16 MiB while they stay short, for a millisecond at a time; a PI controller finds the sleep
// between for 1 % of one processor.
//
// A run is taken out of the allocator while the kernel works on it: no system call under the lock.
// Free pages have no entry in the page map, so what a mark does doesn't matter.
#include "scavenge.h"

#include "heap.h"
#include "lock.h"
#include "os.h"
#include "pagealloc.h"
#include "pagemap.h"

#define KEEP_MIN 512u        // pages (4 MiB) kept whatever is in use
#define KEEP_SHARE 10u       // one in so many pages in use: Go's retain goal of 10 %
#define WINDOW_NS 100000000u // 100 ms between looks
#define RUN_MAX 2048u        // pages (16 MiB) a system call
#define QUANTUM_MIN 8u       // pages (64 KiB)
#define QUANTUM_NS 250000u   // a quantum that takes longer isn't doubled
#define WORK_NS 1000000u     // of work before a sleep
#define LIMIT_PERCENT 95u    // of a memory limit that the heap is brought down to
#define PI_TARGET 0.01       // of one processor
#define PI_KP 0.3375         // Go's gain
#define PI_TI 1e9 // ns; with Go's 3.2e6 the sleeps swing between both bounds, a burst each second
#define PI_TT 1e9 // ns: how soon the integral recovers from a bound
#define PI_MIN 0.001
#define PI_MAX 1000.0

static struct {
    uint64_t looked;              // heap lock: when the window began, ns
    uint32_t low;                 // heap lock: fewest dirty free pages since then
    uint32_t unused;              // heap lock: the same of the whole window before
    uint32_t owed;                // heap lock: pages that the worker is to release
    uint64_t retain;              // heap lock: bytes that the heap may hold, 0: no cycle yet
    uint64_t goal;                // heap lock: the live heap's, of the last cycle
    _Atomic(void (*)(void)) wake; // relaxed: NULL when there is no worker
    struct sv_scavenge_pi pi;     // worker
    uint64_t rested;              // worker: when its last step ended, ns
    uint64_t worked;              // worker: what it worked then, ns
} scavenge;

// Releases the highest run below *below, about max pages of it, which then ends there. Returns the
// pages; 0: there is none, or the kernel refuses (locked memory).
static uint32_t run_release(uint32_t *below, uint32_t max)
{
    uint32_t n = 0;
    bool clean;
    sv_lock_acquire(&sv_heap.lock);
    if (*below > sv_heap.grown)
        *below = sv_heap.grown;
    uint32_t page = sv_pagealloc_find_dirty(&sv_heap.pages, *below, max, &n);
    bool taken = page != SV_NOPAGE && sv_pagealloc_take_at(&sv_heap.pages, page, n, &clean);
    sv_lock_release(&sv_heap.lock);
    if (!taken)
        return 0;
    bool ok = sv_os_release((void *)sv_page_addr(page), (size_t)n << SV_PAGE_SHIFT) == 0;
    sv_lock_acquire(&sv_heap.lock);
    sv_pagealloc_give(&sv_heap.pages, page, n, ok);
    sv_heap.released_pages += ok ? n : 0;
    sv_lock_release(&sv_heap.lock);
    *below = page;
    return ok ? n : 0;
}

static size_t scavenge_release(uint32_t pages)
{
    size_t bytes = 0;
    uint32_t below = UINT32_MAX;
    while (pages > 0) {
        uint32_t n = run_release(&below, pages < RUN_MAX ? pages : RUN_MAX);
        if (n == 0)
            break;
        bytes += (size_t)n << SV_PAGE_SHIFT;
        pages -= n < pages ? n : pages;
    }
    return bytes;
}

static uint32_t pages_keep(void)
{
    uint32_t keep = (uint32_t)(sv_heap.pages_inuse / KEEP_SHARE);
    return keep < KEEP_MIN ? KEEP_MIN : keep;
}

// Ends the window if it is old enough. Returns the pages that the program did without all through
// it, beyond what is kept; 0: none, or the window goes on. Lock held.
static uint32_t window_look(void)
{
    uint32_t excess = 0, dirty = sv_heap.pages.ndirty, keep = pages_keep();
    if (dirty < scavenge.low)
        scavenge.low = dirty;
    if (dirty > keep) {
        uint64_t now = sv_os_now();
        if (now - scavenge.looked >= WINDOW_NS) {
            excess = scavenge.low > keep ? scavenge.low - keep : 0;
            scavenge.unused = scavenge.low;
            scavenge.looked = now;
            scavenge.low = dirty;
        }
    }
    return excess;
}

void sv_scavenge_poll(void)
{
    void (*wake)(void) = atomic_load_explicit(&scavenge.wake, memory_order_relaxed);
    sv_lock_acquire(&sv_heap.lock);
    uint32_t excess = window_look();
    if (excess && wake)
        scavenge.owed = excess;
    sv_lock_release(&sv_heap.lock);
    if (excess && wake)
        wake();
    else if (excess)
        scavenge_release(excess);
}

size_t sv_scavenge_all(void)
{
    return scavenge_release(UINT32_MAX);
}

void sv_scavenge_count(size_t bytes)
{
    sv_lock_acquire(&sv_heap.lock);
    sv_heap.released_pages += bytes >> SV_PAGE_SHIFT;
    sv_lock_release(&sv_heap.lock);
}

size_t sv_scavenge_limit(uint64_t limit)
{
    uint64_t target = limit / 100 * LIMIT_PERCENT, held = sv_heap_mapped_unreleased();
    if (held <= target)
        return 0;
    uint64_t pages = ((held - target - 1) >> SV_PAGE_SHIFT) + 1;
    return scavenge_release(pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX);
}

// ---- the worker's part --------------------------------------------------------------------------

void sv_scavenge_worker(void (*wake)(void))
{
    scavenge.pi = SV_SCAVENGE_PI_START;
    scavenge.rested = scavenge.worked = 0;
    atomic_store_explicit(&scavenge.wake, wake, memory_order_relaxed);
}

uint64_t sv_scavenge_retain(uint64_t inuse, uint64_t goal, uint64_t goal_last)
{
    double retain = 1.1 * (double)inuse;
    if (goal != UINT64_MAX && goal_last != UINT64_MAX && goal_last != 0)
        retain *= (double)goal / (double)goal_last;
    return retain < (double)((uint64_t)1 << 62) ? (uint64_t)retain : UINT64_MAX;
}

void sv_scavenge_pace(uint64_t goal)
{
    sv_lock_acquire(&sv_heap.lock);
    uint64_t inuse = sv_heap.pages_inuse << SV_PAGE_SHIFT;
    scavenge.retain = sv_scavenge_retain(inuse, goal, scavenge.goal);
    scavenge.goal = goal;
    sv_lock_release(&sv_heap.lock);
}

void sv_scavenge_pi_next(struct sv_scavenge_pi *pi, uint64_t worked, uint64_t slept)
{
    double period = (double)worked + (double)slept;
    if (period == 0)
        return;
    double error = PI_TARGET - (double)worked / period;
    double raw = PI_KP * error + pi->integral;
    pi->ratio = raw < PI_MIN ? PI_MIN : raw > PI_MAX ? PI_MAX : raw;
    // a machine that was asleep: more than PI_TT would throw the integral past the bound that it
    // comes back from, further each time
    period = period < PI_TT ? period : PI_TT;
    pi->integral += PI_KP * period / PI_TI * error + period / PI_TT * (pi->ratio - raw);
}

// Pages that the worker should release now.
static uint32_t pages_due(void)
{
    sv_lock_acquire(&sv_heap.lock);
    uint32_t excess = window_look();
    if (excess)
        scavenge.owed = excess;
    uint64_t dirty = sv_heap.pages.ndirty, retain = scavenge.retain >> SV_PAGE_SHIFT;
    uint64_t held = sv_heap.pages_inuse + dirty, due = scavenge.owed;
    uint64_t beyond = retain && held > retain ? held - retain : 0;
    beyond = beyond < scavenge.unused ? beyond : scavenge.unused;
    due = beyond > due ? beyond : due;
    sv_lock_release(&sv_heap.lock);
    return (uint32_t)(due < dirty ? due : dirty);
}

static void owed_paid(uint32_t pages)
{
    sv_lock_acquire(&sv_heap.lock);
    scavenge.owed -= pages < scavenge.owed ? pages : scavenge.owed;
    sv_lock_release(&sv_heap.lock);
}

// Releases for WORK_NS, or all that is due. False: nothing was done.
static bool work(uint64_t start)
{
    uint32_t due = pages_due(), done = 0, below = UINT32_MAX, quantum = QUANTUM_MIN;
    for (uint64_t then = start, now; done < due && then - start < WORK_NS; then = now) {
        uint32_t n = run_release(&below, quantum < due - done ? quantum : due - done);
        if (n == 0)
            break;
        done += n;
        now = sv_os_now();
        if (now - then < QUANTUM_NS && quantum < RUN_MAX)
            quantum *= 2;
    }
    owed_paid(done);
    return done != 0;
}

// Nothing was due, or nothing could be had. How long to wait: another window if that may change by
// itself, because nobody need free anything more for it.
static uint64_t idle(void)
{
    sv_lock_acquire(&sv_heap.lock);
    scavenge.owed = 0;
    bool more = sv_heap.pages.ndirty > pages_keep();
    sv_lock_release(&sv_heap.lock);
    return more ? WINDOW_NS : UINT64_MAX;
}

uint64_t sv_scavenge_step(void)
{
    uint64_t start = sv_os_now();
    if (!work(start)) {
        scavenge.rested = 0;
        return idle();
    }
    if (scavenge.rested) // the last sleep belongs to the work before it
        sv_scavenge_pi_next(&scavenge.pi, scavenge.worked, start - scavenge.rested);
    scavenge.rested = sv_os_now();
    scavenge.worked = scavenge.rested - start;
    return (uint64_t)((double)scavenge.worked / scavenge.pi.ratio);
}
