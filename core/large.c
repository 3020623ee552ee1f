// Large objects: whole pages, one object a span, all on one list under the heap's lock.
//
// They grow and shrink in place when the neighbouring pages are free. Where they must move, the
// kernel moves their pages (mremap with MREMAP_DONTUNMAP: the old place stays mapped and reads as
// zeroes, so the region never has a hole that somebody else's mapping could fall into). Such a
// mapping can't merge with its neighbours again, and a process may only have so many: the number is
// bounded, and the mapping is renewed when the object goes.
#include "large.h"

#include <string.h>

#include "heap.h"
#include "lock.h"
#include "os.h"
#include "pagealloc.h"
#include "pagemap.h"
#include "scavenge.h"
#include "span.h"

#define MOVE_MIN ((size_t)256 << 10)   // bytes: below, copying is as cheap as page tables
#define MOVED_MAX 4096                 // of 65530 mappings that a process may have
#define RELEASE_MIN ((size_t)32 << 20) // bytes: glibc's own largest threshold for munmap at free

static void large_link(struct sv_span *span)
{
    uint32_t page = (uint32_t)(span - sv_heap.spans);
    span->prev = 0;
    span->next = sv_heap.large_first;
    if (span->next)
        sv_span_at(span->next)->prev = page;
    sv_heap.large_first = page;
    span->list = SV_LIST_FULL;
}

static void large_unlink(struct sv_span *span)
{
    if (span->prev)
        sv_span_at(span->prev)->next = span->next;
    else
        sv_heap.large_first = span->next;
    if (span->next)
        sv_span_at(span->next)->prev = span->prev;
    span->list = SV_LIST_NONE;
}

static void large_count(size_t bytes)
{
    atomic_fetch_add_explicit(&sv_heap.live, bytes, memory_order_relaxed);
    atomic_fetch_add_explicit(&sv_heap.large_live, bytes, memory_order_relaxed);
}

static void live_sub(size_t bytes)
{
    atomic_fetch_sub_explicit(&sv_heap.live, bytes, memory_order_relaxed);
}

void *sv_large_alloc(size_t size, size_t align, bool noscan, bool zeroed)
{
    uint64_t n = sv_large_pages(size);
    uint64_t a = align >> SV_PAGE_SHIFT;
    if (n > sv_heap.npages || a > sv_heap.npages)
        return NULL;
    bool clean;
    uint32_t page = sv_heap_pages_take((uint32_t)n, a ? (uint32_t)a : 1, &clean);
    if (page == SV_NOPAGE)
        return NULL;
    void *p = (void *)sv_page_addr(page);
    struct sv_span *span = sv_span_make(page, (uint32_t)n, sv_code(SV_CLASS_LARGE, noscan), clean);
    if (zeroed && !clean)
        memset(p, 0, n << SV_PAGE_SHIFT); // before it is in use: a stop mustn't wait for it
    sv_lock_acquire(&sv_heap.lock);
    span->nused = 1;
    // not a cycle that flipped since the record was made: this object is in use only from here on
    span->sweepgen = atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
    atomic_store_explicit(&span->bits[0].alloc, 1, memory_order_relaxed);
    large_link(span);
    large_count(n << SV_PAGE_SHIFT);
    sv_lock_release(&sv_heap.lock);
    atomic_fetch_add_explicit(&sv_heap.allocated, n << SV_PAGE_SHIFT, memory_order_relaxed);
    return p;
}

// Detached under the lock by whoever clears the alloc bit: only one can.
static bool large_detach(struct sv_span *span)
{
    bool used = atomic_load_explicit(&span->bits[0].alloc, memory_order_relaxed) & 1;
    if (used) {
        atomic_store_explicit(&span->bits[0].alloc, 0, memory_order_relaxed);
        large_unlink(span);
        atomic_fetch_sub_explicit(&sv_heap.large_live, (size_t)span->npages << SV_PAGE_SHIFT,
                                  memory_order_relaxed);
    }
    return used;
}

void sv_large_unmake(struct sv_span *span)
{
    size_t bytes = (size_t)span->npages << SV_PAGE_SHIFT;
    void *p = (void *)sv_page_addr((uint32_t)(span - sv_heap.spans));
    span->dirty = 1;
    if (span->moved) {
        if (sv_os_renew(p, bytes) == 0)
            span->dirty = 0;
        sv_lock_acquire(&sv_heap.lock);
        sv_heap.moved_spans--;
        sv_lock_release(&sv_heap.lock);
    } else if (bytes >= RELEASE_MIN && sv_os_release(p, bytes) == 0) {
        span->dirty = 0;
        sv_scavenge_count(bytes);
    }
    sv_span_unmake(span);
}

// The program names an object that the last cycle found unreachable and nobody has swept yet: it
// hides its pointers. The object stays, and what the flip took out of `live` comes back. Lock held.
static void large_revive(struct sv_span *span)
{
    uint32_t gen = atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
    if (sv_likely(span->sweepgen == gen) ||
        !(atomic_load_explicit(&span->bits[0].alloc, memory_order_relaxed) & 1))
        return;
    if (!(atomic_fetch_or_explicit(&span->bits[0].mark, 1, memory_order_relaxed) & 1))
        atomic_fetch_add_explicit(&sv_heap.live, (size_t)span->npages << SV_PAGE_SHIFT,
                                  memory_order_relaxed);
}

bool sv_large_free(struct sv_span *span)
{
    sv_lock_acquire(&sv_heap.lock);
    large_revive(span);
    bool used = large_detach(span);
    if (used)
        live_sub((size_t)span->npages << SV_PAGE_SHIFT);
    sv_lock_release(&sv_heap.lock);
    if (used) {
        atomic_fetch_add_explicit(&sv_heap.freed, (size_t)span->npages << SV_PAGE_SHIFT,
                                  memory_order_relaxed);
        sv_large_unmake(span);
    }
    return used;
}

struct sv_span *sv_large_take_dead(void)
{
    struct sv_span *dead = NULL;
    uint32_t gen = atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
    sv_lock_acquire(&sv_heap.lock);
    for (uint32_t page = sv_heap.large_first; page && !dead;) {
        struct sv_span *span = sv_span_at(page);
        page = span->next;
        if (span->sweepgen == gen)
            continue;
        span->sweepgen = gen;
        if (!(atomic_exchange_explicit(&span->bits[0].mark, 0, memory_order_relaxed) & 1)) {
            large_detach(span); // its bytes left `live` when the cycle flipped
            dead = span;
        }
    }
    sv_lock_release(&sv_heap.lock);
    return dead;
}

bool sv_large_resize(struct sv_span *span, size_t size)
{
    uint32_t page = (uint32_t)(span - sv_heap.spans);
    uint32_t old = span->npages;
    uint64_t n = sv_large_pages(size);
    if (n == old)
        return true;
    if (n > sv_heap.npages)
        return false;
    if (n < old) {
        sv_pagemap_set(page + (uint32_t)n, old - (uint32_t)n, 0);
        sv_lock_acquire(&sv_heap.lock);
        large_revive(span);
        span->npages = (uint32_t)n;
        live_sub((size_t)(old - n) << SV_PAGE_SHIFT);
        atomic_fetch_sub_explicit(&sv_heap.large_live, (size_t)(old - n) << SV_PAGE_SHIFT,
                                  memory_order_relaxed);
        sv_lock_release(&sv_heap.lock);
        atomic_fetch_add_explicit(&sv_heap.freed, (size_t)(old - n) << SV_PAGE_SHIFT,
                                  memory_order_relaxed);
        // a moved mapping's tail keeps its odd place in the kernel's eyes until it is renewed
        bool clean = span->moved && sv_os_renew((void *)sv_page_addr(page + (uint32_t)n),
                                                (size_t)(old - n) << SV_PAGE_SHIFT) == 0;
        sv_heap_pages_give(page + (uint32_t)n, old - (uint32_t)n, clean);
        return true;
    }
    uint32_t more = (uint32_t)n - old;
    bool clean;
    sv_lock_acquire(&sv_heap.lock);
    bool taken = sv_pagealloc_take_at(&sv_heap.pages, page + old, more, &clean);
    if (taken) {
        large_revive(span);
        sv_heap.pages_inuse += more;
        large_count((size_t)more << SV_PAGE_SHIFT);
    }
    sv_lock_release(&sv_heap.lock);
    if (!taken)
        return false;
    for (uint32_t i = old; i < n; i++) // back pointers go on counting from the span's first page
        __atomic_store_n(&sv_heap.pagemap[page + i], sv_pagemap_make(span->code, i),
                         __ATOMIC_RELEASE);
    span->npages = (uint32_t)n;
    atomic_fetch_add_explicit(&sv_heap.allocated, (size_t)more << SV_PAGE_SHIFT,
                              memory_order_relaxed);
    return true;
}

void *sv_large_move(struct sv_span *span, size_t size)
{
    size_t old = (size_t)span->npages << SV_PAGE_SHIFT;
    if (old < MOVE_MIN || size < old)
        return NULL;
    sv_lock_acquire(&sv_heap.lock);
    bool room = sv_heap.moved_spans < MOVED_MAX;
    sv_heap.moved_spans += room;
    sv_lock_release(&sv_heap.lock);
    if (!room)
        return NULL;
    void *from = (void *)sv_page_addr((uint32_t)(span - sv_heap.spans));
    void *to = sv_large_alloc(size, 1, sv_code_noscan(span->code), false);
    // A stop finds this thread before or after the call, with both places named by its frame: the
    // contents are always in one that is marked.
    int r = to ? sv_os_move(from, to, old) : -1;
    if (r != 0) {
        sv_lock_acquire(&sv_heap.lock);
        sv_heap.moved_spans--;
        sv_lock_release(&sv_heap.lock);
        if (to) {
            sv_os_renew(to, old); // a failed move may have unmapped it
            sv_large_free(sv_span_at((uint32_t)sv_page_of((uintptr_t)to)));
        }
        return NULL;
    }
    sv_span_at((uint32_t)sv_page_of((uintptr_t)to))->moved = 1;
    sv_lock_acquire(&sv_heap.lock);
    bool was_moved = span->moved;
    sv_heap.moved_spans -= was_moved;
    large_revive(span);
    large_detach(span);
    live_sub(old);
    sv_lock_release(&sv_heap.lock);
    atomic_fetch_add_explicit(&sv_heap.freed, old, memory_order_relaxed);
    span->moved = 0;
    span->dirty = was_moved && sv_os_renew(from, old) != 0; // the kernel left zeroes there
    sv_span_unmake(span);
    return to;
}
