// The heap's slow half: what the caches can't answer. Small requests go through the calling
// thread's cache, or straight to the central lists when it has none (its destructors have run);
// large ones to pages of their own. When memory is short one whole collection is tried before NULL.
//
// Every pointer that comes back is looked up before anything is done with it: in the region, on a
// page in use, at the start of a slot, that slot in use and in nobody's cache. A mistake of the
// program's is reported to the caller, and nothing has changed.
#include "heap.h"

#include <stdint.h>
#include <string.h>

#include "assert.h"
#include "cache.h"
#include "central.h"
#include "client.h"
#include "cycle.h"
#include "large.h"
#include "leaks.h"
#include "lock.h"
#include "options.h"
#include "os.h"
#include "pagealloc.h"
#include "pagemap.h"
#include "profile.h"
#include "region.h"
#include "scavenge.h"
#include "span.h"
#include "sweep.h"

struct sv_heap sv_heap;
_Atomic uint64_t sv_heap_limit = UINT64_MAX;
uint64_t sv_heap_told = UINT64_MAX;

bool sv_heap_init(void)
{
    static struct sv_lock once;
    if (sv_likely(__atomic_load_n(&sv_heap.npages, __ATOMIC_ACQUIRE) != 0))
        return true;
    sv_lock_acquire(&once);
    bool ok = sv_heap.npages != 0;
    if (!ok) {
        sv_heap.key = sv_os_random();
        sv_central_init();
        ok = sv_region_reserve();
    }
    sv_lock_release(&once);
    return ok;
}

// ---- pages --------------------------------------------------------------------------------------

// Lock held.
static uint32_t pages_find(uint32_t n, uint32_t align, bool *clean)
{
    uint32_t page = sv_pagealloc_take(&sv_heap.pages, n, align, clean);
    uint64_t need = (uint64_t)sv_heap.grown + n + align;
    if (page == SV_NOPAGE && need <= sv_heap.npages && sv_region_grow((uint32_t)need))
        page = sv_pagealloc_take(&sv_heap.pages, n, align, clean);
    return page;
}

// Aligned to more than the region is: a run with room for it, and the ends go back. Lock held.
static uint32_t pages_find_aligned(uint32_t n, uint32_t align, bool *clean)
{
    if ((uint64_t)n + align > sv_heap.npages)
        return SV_NOPAGE;
    uint32_t run = pages_find(n + align, 1, clean);
    if (run == SV_NOPAGE)
        return SV_NOPAGE;
    uint32_t page = (uint32_t)((0 - (sv_heap.base_page + run)) & (align - 1)) + run;
    if (page > run)
        sv_pagealloc_give(&sv_heap.pages, run, page - run, *clean);
    sv_pagealloc_give(&sv_heap.pages, page + n, run + align - page, *clean);
    return page;
}

uint32_t sv_heap_pages_take(uint32_t n, uint32_t align, bool *clean)
{
    if (sv_heap.pages_inuse + n > atomic_load_explicit(&sv_heap_limit, memory_order_relaxed))
        return SV_NOPAGE;
    uint32_t page = align <= SV_REGION_ALIGN_PAGES ? pages_find(n, align, clean)
                                                   : pages_find_aligned(n, align, clean);
    if (page != SV_NOPAGE)
        sv_heap.pages_inuse += n;
    if (sv_unlikely(sv_heap.pages_inuse > sv_heap_told))
        sv_heap_told = sv_client->grown(sv_heap.pages_inuse << SV_PAGE_SHIFT);
    return page;
}

void sv_heap_pages_give(uint32_t page, uint32_t n, bool clean)
{
    sv_pagealloc_give(&sv_heap.pages, page, n, clean);
    sv_heap.pages_inuse -= n;
}

uint64_t sv_heap_inuse(void)
{
    return __atomic_load_n(&sv_heap.pages_inuse, __ATOMIC_RELAXED) << SV_PAGE_SHIFT;
}

uint64_t sv_heap_free_unreleased(void)
{
    return (uint64_t)__atomic_load_n(&sv_heap.pages.ndirty, __ATOMIC_RELAXED) << SV_PAGE_SHIFT;
}

uint64_t sv_heap_mapped_unreleased(void)
{
    return sv_heap_inuse() + sv_heap_free_unreleased();
}

uint64_t sv_heap_released(void)
{
    return __atomic_load_n(&sv_heap.released_pages, __ATOMIC_RELAXED) << SV_PAGE_SHIFT;
}

void sv_heap_lock_all(void)
{
    for (unsigned code = 0; code < SV_NCODE; code++)
        sv_lock_acquire(&sv_heap.central[code].lock);
    sv_lock_acquire(&sv_heap.lock);
}

void sv_heap_unlock_all(void)
{
    sv_lock_release(&sv_heap.lock);
    for (unsigned code = SV_NCODE; code-- > 0;)
        sv_lock_release(&sv_heap.central[code].lock);
}

bool sv_heap_locked_here(void)
{
    bool held = sv_lock_held(&sv_heap.lock);
    for (unsigned code = 0; code < SV_NCODE; code++)
        held |= sv_lock_held(&sv_heap.central[code].lock);
    return held;
}

void sv_heap_lock_reset(void)
{
    sv_lock_reset(&sv_heap.lock);
    for (unsigned code = 0; code < SV_NCODE; code++)
        sv_lock_reset(&sv_heap.central[code].lock);
}

// ---- taking -------------------------------------------------------------------------------------

static void *small_alloc(unsigned code)
{
    struct sv_cache *cache = sv_cache_get();
    if (sv_unlikely(!cache)) {
        if (!sv_heap_init())
            return NULL;
        sv_cycle_poll(sv_classes[sv_code_class(code)].size);
        return sv_central_take(code);
    }
    struct sv_bin *bin = sv_cache_bin(cache, code);
    if (bin->top == bin->base && !sv_cache_fill(cache, bin))
        return NULL;
    return sv_bin_pop(bin);
}

static void *large_alloc(size_t size, size_t align, enum sv_kind kind, bool zeroed)
{
    if (size > PTRDIFF_MAX || align > PTRDIFF_MAX)
        return NULL;
    if (!sv_cache_get() && !sv_heap_init()) // the thread is registered before it holds anything
        return NULL;
    sv_cycle_poll(size);
    return sv_large_alloc(size, align, kind, zeroed);
}

static void *heap_alloc(size_t size, enum sv_kind kind)
{
    void *p = NULL;
    for (int tries = 0; tries < 2 && !p; tries++) {
        if (tries && (size > sv_heap.size || !sv_cycle_collect()))
            break;
        p = size <= SV_SMALL_MAX ? small_alloc(sv_code(sv_sizeclass(size), kind))
                                 : large_alloc(size, 1, kind, kind == SV_TRACED);
    }
    return p;
}

__attribute__((noinline)) void *sv_heap_alloc(size_t size)
{
    return heap_alloc(size, SV_SCAN);
}

void *sv_heap_alloc_noscan(size_t size)
{
    return heap_alloc(size, SV_NOSCAN);
}

void *sv_heap_alloc_traced(size_t size, uint64_t descriptor)
{
    if (size > PTRDIFF_MAX)
        return NULL;
    size += sizeof descriptor;
    char *p = heap_alloc(size, SV_TRACED);
    if (!p)
        return NULL;
    size_t bytes = size > SV_SMALL_MAX ? sv_large_pages(size) << SV_PAGE_SHIFT
                                       : sv_classes[sv_sizeclass(size)].size;
    if (size <= SV_SMALL_MAX)
        memset(p, 0, bytes);
    // release: who traces it by this finds what it held before gone
    __atomic_store_n((uint64_t *)(p + bytes) - 1, descriptor, __ATOMIC_RELEASE);
    return p;
}

// A slot of more than a kilobyte that reads as zeroes. A slot that was in use since its span was
// made either went through the central list (the span is then marked dirty) or comes from this
// cache with the key of a freed slot in its second word. Exchanging that word asks without first
// reading a page that nobody has touched, which would cost a fault more.
static void *medium_zeroed(unsigned code, size_t size)
{
    struct sv_cache *cache = sv_cache_get();
    if (!cache) {
        void *p = small_alloc(code);
        return p ? memset(p, 0, size) : NULL;
    }
    struct sv_bin *bin = sv_cache_bin(cache, code);
    if (bin->top == bin->base && !sv_cache_fill(cache, bin))
        return NULL;
    uintptr_t *p = sv_bin_take(bin);
    bool freed = __atomic_exchange_n(&p[1], 0, __ATOMIC_RELAXED) == cache->key;
    uint32_t page = (uint32_t)sv_page_of((uintptr_t)p);
    struct sv_span *span = sv_span_at(sv_pagemap_first(page, sv_pagemap_get(page)));
    if (freed || span->dirty)
        memset(p, 0, size);
    return p;
}

void *sv_heap_alloc_zeroed(size_t size)
{
    void *p = NULL;
    for (int tries = 0; tries < 2 && !p; tries++) {
        if (tries && (size > sv_heap.size || !sv_cycle_collect()))
            break;
        if (size > SV_SMALL_MAX) {
            p = large_alloc(size, 1, SV_SCAN, true);
        } else if (size > 1024) {
            p = medium_zeroed(sv_code(sv_sizeclass(size), SV_SCAN), size);
        } else {
            p = small_alloc(sv_code(sv_sizeclass(size), SV_SCAN));
            if (p)
                memset(p, 0, size);
        }
    }
    return p;
}

void *sv_heap_alloc_aligned(size_t align, size_t size)
{
    if (align <= SV_ALIGN)
        return sv_heap_alloc(size);
    if (size <= SV_SMALL_MAX && align <= SV_PAGE_SIZE) {
        // spans start on pages: a slot size that is a multiple of the alignment aligns every slot
        for (unsigned class = sv_sizeclass(size); class < SV_CLASS_LARGE; class ++)
            if ((sv_classes[class].size & (align - 1)) == 0)
                return heap_alloc(sv_classes[class].size - 1, false);
    }
    void *p = NULL;
    for (int tries = 0; tries < 2 && !p; tries++) {
        if (tries && (size > sv_heap.size || align > sv_heap.size || !sv_cycle_collect()))
            break;
        p = large_alloc(size, align, SV_SCAN, false);
    }
    return p;
}

void *sv_heap_alloc_sampled(size_t size, bool zeroed, bool noscan, bool *due)
{
    void *p = NULL;
    unsigned class = size <= SV_SMALL_MAX ? sv_sizeclass(size) : 0;
    struct sv_cache *cache = class && !noscan && !(zeroed && size > 1024) ? sv_cache_get() : NULL;
    if (cache)
        p = sv_cache_sample(cache, class, due);
    else
        *due = sv_profile_due(class ? sv_classes[class].size : size);
    if (*due)
        p = large_alloc(size, 1, noscan ? SV_NOSCAN : SV_SCAN, zeroed);
    else if (p && zeroed)
        memset(p, 0, size);
    *due = *due && p;
    if (p)
        return p;
    return zeroed ? sv_heap_alloc_zeroed(size) : heap_alloc(size, noscan ? SV_NOSCAN : SV_SCAN);
}

// ---- giving back --------------------------------------------------------------------------------

struct place { // where a pointer points
    struct sv_span *span;
    uintptr_t start; // of the object
    size_t size;     // of the object
    unsigned code;
};

static enum sv_verdict place_find(const void *p, struct place *at)
{
    uint64_t page = sv_page_of((uintptr_t)p);
    if (page >= sv_heap.npages)
        return SV_FOREIGN;
    if (page >= sv_heap.grown)
        return SV_FREED;
    sv_pagemap_entry e = sv_pagemap_get(page);
    if (e == 0)
        return SV_FREED;
    uint32_t first = sv_pagemap_first((uint32_t)page, e);
    struct sv_span *span = sv_span_at(first);
    uintptr_t offset = (uintptr_t)p - sv_page_addr(first);
    unsigned i = sv_slot_of((uint32_t)offset, span->magic);
    at->span = span;
    at->code = sv_pagemap_code(e);
    at->size = sv_span_slot_size(span);
    at->start = sv_page_addr(first) + i * at->size;
    if (i >= span->nslots || at->start != (uintptr_t)p)
        return SV_INTERIOR;
    uint64_t alloc = atomic_load_explicit(&sv_span_bits(span)[i / 64].alloc, memory_order_relaxed);
    return alloc >> (i & 63) & 1 ? SV_OURS : SV_FREED;
}

enum sv_verdict sv_heap_free(void *p)
{
    struct place at;
    enum sv_verdict verdict = place_find(p, &at);
    if (verdict != SV_OURS)
        return verdict;
    bool large = sv_code_class(at.code) == SV_CLASS_LARGE;
    if (!large && ((uintptr_t *)p)[1] == sv_heap.key && sv_cache_holds(p))
        return SV_FREED;
    if (sv_unlikely(sv_profile_on))
        sv_profile_leave(p);
    if (sv_unlikely(sv_options.clobber))
        memset(p, SV_CLOBBER, at.size);
    if (large)
        return sv_large_free(at.span) ? SV_OURS : SV_FREED;
    struct sv_cache *cache = sv_cache_get();
    if (!cache || sv_options.clobber)
        return sv_central_give(at.code, p) ? SV_OURS : SV_FREED;
    struct sv_bin *bin = sv_cache_bin(cache, at.code);
    if (bin->top >= bin->end) {
        void *bad = sv_cache_flush(bin);
        if (bad)
            sv_die("double free of %p", bad);
    }
    *bin->top++ = p;
    ((uintptr_t *)p)[1] = sv_heap.key;
    return SV_OURS;
}

size_t sv_heap_usable(const void *p, enum sv_verdict *verdict)
{
    struct place at;
    *verdict = place_find(p, &at);
    return *verdict == SV_OURS ? at.size - 1 : 0; // the last byte keeps end pointers inside
}

// ---- resizing -----------------------------------------------------------------------------------

static bool resize_in_place(const struct place *at, size_t size)
{
    if (sv_code_class(at->code) == SV_CLASS_LARGE)
        return size > SV_SMALL_MAX && sv_large_resize(at->span, size) &&
               (!sv_profile_on || sv_profile_fits(sv_span_slot_size(at->span), size));
    if (size >= at->size || (sv_unlikely(sv_profile_on) && !sv_profile_fits(at->size, size)))
        return false;
    // staying wastes at most half of the slot; moving to a much smaller one pays for itself
    return size > at->size / 2 || at->size <= 64;
}

void *sv_heap_realloc(void *p, size_t size, enum sv_verdict *verdict)
{
    struct place at;
    *verdict = place_find(p, &at);
    if (*verdict != SV_OURS || size > PTRDIFF_MAX)
        return NULL;
    if (sv_code_class(at.code) != SV_CLASS_LARGE && ((uintptr_t *)p)[1] == sv_heap.key &&
        sv_cache_holds(p)) {
        *verdict = SV_FREED;
        return NULL;
    }
    if (sv_unlikely(sv_profile_on))
        sv_profile_leave(p);
    bool traced = sv_code_traced(at.code); // its last word is where it is
    if (!traced && resize_in_place(&at, size))
        return p;
    if (!traced && sv_code_class(at.code) == SV_CLASS_LARGE && size > at.size) {
        sv_cycle_poll(size);
        void *moved = sv_large_move(at.span, size);
        if (moved)
            return moved;
    }
    void *to = heap_alloc(size, sv_code_noscan(at.code) ? SV_NOSCAN : SV_SCAN);
    if (!to)
        return size < at.size ? p : NULL; // shrinking never fails
    sv_leaks_clean(to, size);
    memcpy(to, p, size < at.size ? size : at.size);
    sv_heap_free(p);
    return to;
}
