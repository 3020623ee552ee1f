// Written pages of the heap. Only those stretches of the heap are asked for them in which something
// is marked (stretch.h): what isn't marked is looked at when it is. So the kernel doesn't walk over
// garbage, which in the last stop would be most of the heap.
//
// The stretches are cut in two halves, one for each of the two who may be at work in a stop. Each
// fetches into a list of its own; both scan both, taking ranges off from the front. A list has room
// for every second page of the heap, which is as many ranges as there can be; the heap may grow
// meanwhile, and where room ends, ranges swallow what lies between them.
//
// Invariant: a page is scanned only after the fetch that watched it again has returned.
#include "dirty.h"

#include <stdatomic.h>
#include <string.h>

#include "heap.h"
#include "metadata.h"
#include "os.h"
#include "pagemap.h"
#include "stretch.h"

#define HW_PAGE 4096u
#define RANGE_MAX (8 * HW_PAGE)    // bytes of written memory scanned between two looks
#define RANGES_MIN 16384u          // written ranges kept for later, at least
#define WINDOWS_MAX 512u           // parts of the heap that are asked about one by one
#define LOOK_RANGES 8u             // ranges between two looks at the clock
#define PIECE ((uintptr_t)4 << 20) // bytes of memory fetched between two looks at the clock

struct range {
    uintptr_t lo, hi;
};

static struct dirty {
    struct range *ranges;             // const while there is one
    uint32_t cap;                     // const in a cycle: ranges that fit
    uint32_t n;                       // who fetches: ranges there
    _Atomic uint32_t next;            // who scans: the first that nobody has taken
    uint64_t pages;                   // who fetches: hardware pages fetched last
    struct range window[WINDOWS_MAX]; // driver: the parts of the heap to fetch
    uint32_t nwindows;                // driver
    uint32_t window_at;               // who fetches: the first not fetched to its end
    int failed;                       // who fetches: -errno
} dirty[2];

bool sv_dirty_ready(void)
{
    uint32_t cap = sv_heap.grown / 2 + RANGES_MIN;
    for (unsigned i = 0; i < 2; i++) {
        struct dirty *d = &dirty[i];
        if (d->cap >= cap)
            continue;
        sv_metadata_free(d->ranges, d->cap * sizeof *d->ranges);
        d->cap = cap + cap / 4;
        d->ranges = sv_metadata_alloc(d->cap * sizeof *d->ranges);
        if (!d->ranges)
            d->cap = 0;
    }
    return dirty[0].cap && dirty[1].cap;
}

void sv_dirty_clear(void)
{
    for (unsigned i = 0; i < 2; i++) {
        dirty[i].n = 0;
        atomic_store_explicit(&dirty[i].next, 0, memory_order_relaxed);
    }
}

// ---- what to fetch ------------------------------------------------------------------------------

// Adds a stretch, the one before which isn't one of them when `apart`.
static void window_add(struct dirty *d, uint32_t stretch, bool apart)
{
    uintptr_t lo = sv_heap.base + ((uintptr_t)stretch << SV_STRETCH_SHIFT);
    uintptr_t hi = lo + ((uintptr_t)1 << SV_STRETCH_SHIFT), end = sv_page_addr(sv_heap.grown);
    hi = hi < end ? hi : end;
    if (d->nwindows == 0 || (apart && d->nwindows < WINDOWS_MAX))
        d->window[d->nwindows++] = (struct range){lo, hi};
    else
        d->window[d->nwindows - 1].hi = hi;
}

void sv_dirty_windows(void)
{
    uint32_t end = sv_stretch_count(__atomic_load_n(&sv_heap.grown, __ATOMIC_ACQUIRE)), n = 0;
    for (uint32_t i = 0; i < end; i++)
        n += sv_stretch_marked(i);
    dirty[0].nwindows = dirty[1].nwindows = 0;
    dirty[0].window_at = dirty[1].window_at = 0;
    uint32_t at = 0;
    bool apart = true;
    for (uint32_t i = 0; i < end; i++) {
        bool marked = sv_stretch_marked(i);
        if (marked)
            window_add(&dirty[at++ >= n / 2], i, apart);
        apart = !marked;
    }
}

// ---- fetching -----------------------------------------------------------------------------------

static void range_add(void *arg, uintptr_t lo, uintptr_t hi)
{
    struct dirty *d = arg;
    d->pages += (hi - lo) / HW_PAGE;
    for (uintptr_t end; lo < hi; lo = end) {
        end = hi - lo > RANGE_MAX ? lo + RANGE_MAX : hi;
        if (d->n < d->cap)
            d->ranges[d->n++] = (struct range){lo, end};
        else // no room: what lies between is looked at, too
            d->ranges[d->n - 1].hi = end;
    }
}

void sv_dirty_fetch(unsigned half, const struct sv_barrier *barrier, bool again, uint64_t deadline)
{
    struct dirty *d = &dirty[half];
    uint32_t next = atomic_load_explicit(&d->next, memory_order_relaxed);
    d->pages = 0;
    if (next) { // what was taken is done
        d->n = next < d->n ? d->n - next : 0;
        memmove(d->ranges, d->ranges + next, d->n * sizeof *d->ranges);
        atomic_store_explicit(&d->next, 0, memory_order_relaxed);
    }
    d->failed = 0;
    while (d->window_at < d->nwindows && d->failed == 0 && !(deadline && sv_os_now() >= deadline)) {
        struct range *w = &d->window[d->window_at];
        uintptr_t hi = deadline && w->hi - w->lo > PIECE ? w->lo + PIECE : w->hi;
        d->failed = barrier->written(w->lo, hi, again, range_add, d);
        w->lo = hi;
        d->window_at += w->lo == w->hi;
    }
}

bool sv_dirty_fetched(uint64_t *pages)
{
    *pages = dirty[0].pages + dirty[1].pages;
    return dirty[0].failed == 0 && dirty[1].failed == 0;
}

bool sv_dirty_windows_done(void)
{
    return dirty[0].window_at == dirty[0].nwindows && dirty[1].window_at == dirty[1].nwindows;
}

// ---- scanning -----------------------------------------------------------------------------------

static struct range *range_take(struct dirty *d)
{
    if (atomic_load_explicit(&d->next, memory_order_relaxed) >= d->n)
        return NULL;
    uint32_t at = atomic_fetch_add_explicit(&d->next, 1, memory_order_relaxed);
    return at < d->n ? &d->ranges[at] : NULL;
}

void sv_dirty_scan(unsigned half, struct sv_marker *m, uint64_t deadline)
{
    struct dirty *own = &dirty[half], *other = &dirty[!half];
    struct range *r;
    for (unsigned i = 1; (r = range_take(own)) || (r = range_take(other)); i++) {
        sv_mark_page(m, r->lo, r->hi);
        if (deadline && i % LOOK_RANGES == 0 && sv_os_now() >= deadline)
            break;
    }
}

uint32_t sv_dirty_left(void)
{
    uint32_t left = 0;
    for (unsigned i = 0; i < 2; i++) {
        uint32_t next = atomic_load_explicit(&dirty[i].next, memory_order_relaxed);
        left += next < dirty[i].n ? dirty[i].n - next : 0;
    }
    return left;
}
