// The scavenger. Free pages that still hold memory are kept up to a share of what is in use,
// because giving a page back and faulting it in again costs some microseconds. What lies above that
// share goes back only when it has lain there for a whole window: the low-water mark of dirty free
// pages since the last look is what the program did without, so a loop that frees and takes the
// same megabytes keeps them, and a peak that is over is released. Highest addresses first; the
// allocator fills from below.
//
// A run is taken out of the allocator while the kernel works on it: no system call under the lock.
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

static struct {
    uint64_t looked; // heap lock: when the window began, ns
    uint32_t low;    // heap lock: fewest dirty free pages since then
} scavenge;

static size_t scavenge_release(uint32_t pages)
{
    size_t bytes = 0;
    uint32_t below = UINT32_MAX;
    while (pages > 0) {
        uint32_t n = 0;
        bool clean;
        sv_lock_acquire(&sv_heap.lock);
        uint32_t max = pages < RUN_MAX ? pages : RUN_MAX;
        if (below > sv_heap.grown)
            below = sv_heap.grown;
        uint32_t page = sv_pagealloc_find_dirty(&sv_heap.pages, below, max, &n);
        bool taken = page != SV_NOPAGE && sv_pagealloc_take_at(&sv_heap.pages, page, n, &clean);
        sv_lock_release(&sv_heap.lock);
        if (!taken)
            break;
        bool ok = sv_os_release((void *)sv_page_addr(page), (size_t)n << SV_PAGE_SHIFT) == 0;
        sv_lock_acquire(&sv_heap.lock);
        sv_pagealloc_give(&sv_heap.pages, page, n, ok);
        sv_heap.released_pages += ok ? n : 0;
        sv_lock_release(&sv_heap.lock);
        if (!ok) // locked memory: the kernel refuses
            break;
        bytes += (size_t)n << SV_PAGE_SHIFT;
        pages -= n < pages ? n : pages;
        below = page;
    }
    return bytes;
}

void sv_scavenge_poll(void)
{
    uint32_t excess = 0;
    sv_lock_acquire(&sv_heap.lock);
    uint32_t dirty = sv_heap.pages.ndirty;
    uint32_t keep = (uint32_t)(sv_heap.pages_inuse / KEEP_SHARE);
    keep = keep < KEEP_MIN ? KEEP_MIN : keep;
    if (dirty < scavenge.low)
        scavenge.low = dirty;
    if (dirty > keep) {
        uint64_t now = sv_os_now();
        if (now - scavenge.looked >= WINDOW_NS) {
            excess = scavenge.low > keep ? scavenge.low - keep : 0;
            scavenge.looked = now;
            scavenge.low = dirty;
        }
    }
    sv_lock_release(&sv_heap.lock);
    if (excess)
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
