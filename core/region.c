// The region and its tables.
//
// One reservation (no access, no memory) of 1 TiB at a random address whose upper half looks like
// nothing else that stands in a program's words: the top byte is no printable character and far
// from where the kernel puts mappings (0x7f, 0x55), so "could this be a pointer" is one subtraction
// and one comparison, and integers, text and floating-point numbers hardly ever pass it. The tables
// (page map, span records, dense bits, page allocator, stretches) are reserved apart, in address
// order with nothing of the program between them. Both become accessible in steps as the heap
// grows: a program that locks all its memory (mlockall) must not have the kernel populate tables
// for a terabyte.
//
// Under RLIMIT_AS, or where the kernel refuses, the region is smaller. It never moves and never
// grows past its reservation.
#include "region.h"

#include "heap.h"
#include "os.h"
#include "pagealloc.h"
#include "stretch.h"

#define REGION_MAX_PAGES ((uint32_t)1 << 27) // 1 TiB
#define REGION_MIN_PAGES ((uint32_t)1 << 11) // 16 MiB
#define REGION_STEP 256u                     // pages (2 MiB): the least growth
#define REGION_STEP_MAX 8192u                // pages (64 MiB): the most at once, but for one object
#define REGION_ALIGN ((uintptr_t)SV_REGION_ALIGN_PAGES << SV_PAGE_SHIFT)
#define HARDWARE_PAGE 4096u

static struct {
    uintptr_t tables;
    size_t table_bytes;
} region;

static size_t table_round(size_t bytes)
{
    return (bytes + HARDWARE_PAGE - 1) & ~(size_t)(HARDWARE_PAGE - 1);
}

// A region's worth of address space at a random place: high byte 0x10 to 0x1f (no character, no
// small integer, and a double of 1e-236 or thereabouts), steps of REGION_ALIGN below it.
static uintptr_t region_place(uint32_t pages)
{
    size_t bytes = (size_t)pages << SV_PAGE_SHIFT;
    for (int tries = 0; tries < 16; tries++) {
        uint64_t r = sv_os_random();
        uintptr_t at = ((uintptr_t)0x10 << 40) + (r % ((uintptr_t)0x0e << 40));
        at &= ~(REGION_ALIGN - 1);
        if (sv_os_reserve(at, bytes, true))
            return at;
    }
    void *p = sv_os_reserve(0, bytes + REGION_ALIGN, false);
    return p ? ((uintptr_t)p + REGION_ALIGN - 1) & ~(REGION_ALIGN - 1) : 0;
}

static bool summaries_commit(void)
{
    const struct sv_pagealloc *pa = &sv_heap.pages;
    for (unsigned l = 0; l < SV_PAGEALLOC_LEVELS; l++) {
        uintptr_t lo = (uintptr_t)pa->sum[l] & ~(uintptr_t)(HARDWARE_PAGE - 1);
        uintptr_t hi = table_round((uintptr_t)(pa->sum[l] + pa->nsum[l]));
        if (sv_os_commit((void *)lo, hi - lo) != 0)
            return false;
    }
    return true;
}

static bool region_reserve_pages(uint32_t pages)
{
    size_t map = table_round((size_t)pages * sizeof(sv_pagemap_entry));
    size_t spans = table_round((size_t)pages * sizeof(struct sv_span));
    size_t dense = table_round((size_t)pages * sizeof(struct sv_dense));
    size_t alloc = table_round(sv_pagealloc_bytes(pages));
    size_t stretches = table_round(sv_stretch_count(pages));
    uintptr_t heap = region_place(pages);
    if (!heap)
        return false;
    void *tables = sv_os_reserve(0, map + spans + dense + alloc + stretches, false);
    if (!tables) {
        sv_os_unmap((void *)heap, (size_t)pages << SV_PAGE_SHIFT);
        return false;
    }
    region.tables = (uintptr_t)tables;
    region.table_bytes = map + spans + dense + alloc + stretches;
    sv_heap.pagemap = tables;
    sv_heap.spans = (struct sv_span *)(region.tables + map);
    sv_heap.dense = (struct sv_dense *)(region.tables + map + spans);
    sv_pagealloc_init(&sv_heap.pages, (void *)(region.tables + map + spans + dense), pages);
    sv_heap.stretches = (_Atomic uint8_t *)(region.tables + map + spans + dense + alloc);
    if (!summaries_commit()) { // the bits grow with the heap; what stands above them is small
        sv_os_unmap((void *)heap, (size_t)pages << SV_PAGE_SHIFT);
        sv_os_unmap(tables, region.table_bytes);
        return false;
    }
    sv_heap.base = heap;
    sv_heap.base_page = heap >> SV_PAGE_SHIFT;
    sv_heap.size = (size_t)pages << SV_PAGE_SHIFT;
    return true;
}

bool sv_region_reserve(void)
{
    uint32_t pages = REGION_MAX_PAGES;
    uint64_t limit = sv_os_address_limit();
    if (limit != UINT64_MAX) {
        // five eighths of what is left: the program's stacks, libraries and mappings need the rest
        uint64_t used = sv_os_address_used(-1);
        uint64_t left = limit > used ? limit - used : 0;
        uint64_t fit = left / 8 * 5 >> SV_PAGE_SHIFT;
        if (fit < pages)
            pages = (uint32_t)fit & ~(REGION_STEP - 1);
    }
    for (; pages >= REGION_MIN_PAGES; pages /= 2) {
        if (region_reserve_pages(pages)) {
            // release: the fast paths read npages and then the rest
            __atomic_store_n(&sv_heap.npages, pages, __ATOMIC_RELEASE);
            return true;
        }
    }
    return false;
}

static int table_commit(void *table, size_t entry, uint32_t from, uint32_t to)
{
    uintptr_t lo = ((uintptr_t)table + from * entry) & ~(uintptr_t)(HARDWARE_PAGE - 1);
    uintptr_t hi = table_round((uintptr_t)table + to * entry);
    return sv_os_commit((void *)lo, hi - lo);
}

bool sv_region_grow(uint32_t pages)
{
    uint32_t from = sv_heap.grown;
    if (pages <= from)
        return true;
    if (pages > sv_heap.npages)
        return false;
    // a step in proportion to the heap keeps the number of system calls logarithmic
    uint32_t step = from / 4 < REGION_STEP ? REGION_STEP : from / 4;
    step = step > REGION_STEP_MAX ? REGION_STEP_MAX : step;
    uint64_t wanted = (uint64_t)from + step > pages ? (uint64_t)from + step : pages;
    wanted = (wanted + REGION_STEP - 1) & ~(uint64_t)(REGION_STEP - 1);
    uint32_t to = wanted > sv_heap.npages ? (uint32_t)sv_heap.npages : (uint32_t)wanted;
    if (table_commit(sv_heap.pages.free, sizeof(uint64_t), from / 64, (to + 63) / 64) != 0 ||
        table_commit(sv_heap.pages.clean, sizeof(uint64_t), from / 64, (to + 63) / 64) != 0 ||
        table_commit(sv_heap.pagemap, sizeof(sv_pagemap_entry), from, to) != 0 ||
        table_commit(sv_heap.spans, sizeof(struct sv_span), from, to) != 0 ||
        table_commit(sv_heap.dense, sizeof(struct sv_dense), from, to) != 0 ||
        table_commit((void *)sv_heap.stretches, 1, from >> SV_STRETCH_PAGES_SHIFT,
                     sv_stretch_count(to)) != 0 ||
        sv_os_commit((void *)(sv_heap.base + ((uintptr_t)from << SV_PAGE_SHIFT)),
                     (size_t)(to - from) << SV_PAGE_SHIFT) != 0)
        return false;
    uint32_t first = from ? from : 1; // page 0 stays unused: 0 means "none" in lists
    sv_pagealloc_give(&sv_heap.pages, first, to - first, true);
    // release pairs with the acquire in mark.c's pages_grown: the tables are accessible
    __atomic_store_n(&sv_heap.grown, to, __ATOMIC_RELEASE);
    return true;
}

void sv_region_each(void (*fn)(void *arg, uintptr_t lo, uintptr_t hi), void *arg)
{
    fn(arg, sv_heap.base, sv_heap.base + sv_heap.size);
    fn(arg, region.tables, region.tables + region.table_bytes);
}
