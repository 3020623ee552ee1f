// Large objects: whole pages, one object a span, all on one list under the heap's lock.
//
// They grow and shrink in place when the neighbouring pages are free. Where they must move, the
// kernel moves their pages (mremap with MREMAP_DONTUNMAP: the old place stays mapped and reads as
// zeroes, so the region never has a hole that somebody else's mapping could fall into). Such a
// mapping can't merge with its neighbours again, and a process may only have so many: the number is
// bounded, and the mapping is renewed when the object goes.
//
// While objects are marked (enum sv_phase) the page map only grows and nothing is mapped over. Each
// step that shrinks the one or does the other is decided and done in one hold of the heap's lock,
// without which the phase can't change; what takes long, dropping memory, is done before, outside.
// So then: an object that is freed loses its memory if that is much, and its span goes on the list
// of the deferred, from which objects of about its size are served meanwhile; one that shrinks
// keeps its pages; none is moved by the kernel; and only a marked one grows in place, because the
// marker of another may be adding its size to `marked` at that moment.
#include "large.h"

#include <string.h>

#include "heap.h"
#include "leaks.h"
#include "lock.h"
#include "options.h"
#include "os.h"
#include "pagealloc.h"
#include "pagemap.h"
#include "profile.h"
#include "scavenge.h"
#include "span.h"
#include "stretch.h"
#include "sweep.h"

#define MOVE_MIN ((size_t)256 << 10)   // bytes: below, copying is as cheap as page tables
#define MOVED_MAX 4096                 // of 65530 mappings that a process may have
#define RELEASE_MIN ((size_t)32 << 20) // bytes: glibc's own largest threshold for munmap at free
#define TAIL_MIN ((size_t)64 << 10)    // bytes: a tail that stays with its object is dropped
#define REUSE_LOOKS 64u                // deferred spans that an allocation looks at
#define SWEEP_HOLD 64u                 // objects swept in one hold of the lock

static struct {
    uint32_t cursor; // heap lock: the next object to sweep, 0: none is left
    uint32_t gen;    // heap lock: the cycle that the cursor belongs to
    uint32_t limbo;  // heap lock: spans that had an object, in the hands of some thread, by page
} large;

static size_t large_bytes(const struct sv_span *span)
{
    return (size_t)span->npages << SV_PAGE_SHIFT;
}

static void *large_start(const struct sv_span *span)
{
    return (void *)sv_page_addr((uint32_t)(span - sv_heap.spans));
}

static bool large_unswept(const struct sv_span *span)
{
    return span->sweepgen != atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
}

static void list_add(uint32_t *first, struct sv_span *span, enum sv_span_list list)
{
    uint32_t page = (uint32_t)(span - sv_heap.spans);
    span->prev = 0;
    span->next = *first;
    if (span->next)
        sv_span_at(span->next)->prev = page;
    *first = page;
    span->list = (uint8_t)list;
}

static void list_remove(uint32_t *first, struct sv_span *span)
{
    if (span->prev)
        sv_span_at(span->prev)->next = span->next;
    else
        *first = span->next;
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

// ---- spans without an object --------------------------------------------------------------------

// A marker that found the object in use just before it was freed may have marked it afterwards.
// Such a mark counts in `marked`, hence in `live` if a cycle flipped since. Lock held, phase OFF.
static void ghost_clear(struct sv_span *span)
{
    bool marked = atomic_exchange_explicit(&span->bits[0].mark, 0, memory_order_relaxed) & 1;
    if (marked && large_unswept(span) && !sv_leaks_on)
        live_sub(large_bytes(span));
}

// Lock held, phase OFF.
static void span_give(struct sv_span *span)
{
    ghost_clear(span);
    if (span->moved) {
        span->dirty = sv_os_renew(large_start(span), large_bytes(span)) != 0;
        span->moved = 0;
        sv_heap.moved_spans--;
    }
    sv_span_unmake(span);
}

// The span of an object that is gone goes too, or as soon as nothing is marked. Lock held.
static void span_retire(struct sv_span *span)
{
    if (!sv_heap_marking()) {
        span_give(span);
        return;
    }
    list_add(&sv_heap.large_deferred, span, SV_LIST_PARTIAL);
}

// Ghosts that stayed until the next mark would not be in its count.
static void limbo_clear(void)
{
    sv_lock_acquire(&sv_heap.lock);
    for (uint32_t page = large.limbo; page && !sv_heap_marking(); page = sv_span_at(page)->next)
        ghost_clear(sv_span_at(page));
    sv_lock_release(&sv_heap.lock);
}

void sv_large_deferred_unmake(void)
{
    bool more = true;
    limbo_clear();
    while (more) {
        sv_lock_acquire(&sv_heap.lock);
        for (unsigned i = 0; i < SWEEP_HOLD && sv_heap.large_deferred && !sv_heap_marking(); i++) {
            struct sv_span *span = sv_span_at(sv_heap.large_deferred);
            list_remove(&sv_heap.large_deferred, span);
            span_give(span);
        }
        more = sv_heap.large_deferred && !sv_heap_marking();
        sv_lock_release(&sv_heap.lock);
    }
    sv_scavenge_poll();
}

// A deferred span for an object of n pages, with at most an eighth more: what a program frees and
// takes while objects are marked would otherwise pile up. Its class doesn't change, so it is to a
// marker what a slot is that was freed and taken again. Lock held.
static struct sv_span *span_reuse(uint64_t n, uint64_t align, unsigned code)
{
    struct sv_span *found = NULL;
    uint32_t page = sv_heap.large_deferred;
    for (unsigned i = 0; i < REUSE_LOOKS && page && !found; i++) {
        struct sv_span *span = sv_span_at(page);
        if (span->code == code && span->npages >= n && span->npages <= n + n / 8 &&
            ((sv_heap.base_page + page) & (align - 1)) == 0)
            found = span;
        page = span->next;
    }
    if (found) {
        list_remove(&sv_heap.large_deferred, found);
        list_add(&large.limbo, found, SV_LIST_LIMBO);
    }
    return found;
}

static struct sv_span *span_take(uint64_t n, uint64_t align, unsigned code)
{
    bool clean;
    sv_lock_acquire(&sv_heap.lock);
    struct sv_span *span = sv_heap_marking() ? span_reuse(n, align, code) : NULL;
    if (!span) {
        uint32_t page = sv_heap_pages_take((uint32_t)n, (uint32_t)align, &clean);
        // made under the lock: who holds all locks finds no half of a span in the page map
        if (page != SV_NOPAGE)
            span = sv_span_make(page, (uint32_t)n, code, clean);
    }
    sv_lock_release(&sv_heap.lock);
    return span;
}

// ---- objects ------------------------------------------------------------------------------------

// The span's object is in use from here on.
static void large_attach(struct sv_span *span)
{
    size_t bytes = large_bytes(span);
    sv_lock_acquire(&sv_heap.lock);
    if (span->list == SV_LIST_LIMBO)
        list_remove(&large.limbo, span);
    if (!sv_heap_marking()) {
        ghost_clear(span);
    } else {
        if (!(atomic_fetch_or_explicit(&span->bits[0].mark, 1, memory_order_relaxed) & 1))
            atomic_fetch_add_explicit(&sv_heap.marked, bytes, memory_order_relaxed);
        sv_stretch_note_span(span);
    }
    span->nused = 1;
    // not a cycle that flipped since the record was made: this object is in use only from now on
    span->sweepgen = atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
    // release: a marker that sees the object in use sees its mark
    atomic_store_explicit(&span->bits[0].alloc, 1, memory_order_release);
    list_add(&sv_heap.large_first, span, SV_LIST_FULL);
    large_count(bytes);
    sv_lock_release(&sv_heap.lock);
    atomic_fetch_add_explicit(&sv_heap.allocated, bytes, memory_order_relaxed);
}

void *sv_large_alloc(size_t size, size_t align, enum sv_kind kind, bool zeroed)
{
    uint64_t n = sv_large_pages(size);
    uint64_t a = align >> SV_PAGE_SHIFT;
    if (n > sv_heap.npages || a > sv_heap.npages)
        return NULL;
    sv_sweep_charge();
    sv_sweep_first((uint32_t)n);
    struct sv_span *span = span_take(n, a ? a : 1, sv_code(SV_CLASS_LARGE, kind));
    if (!span)
        return NULL;
    void *p = large_start(span);
    if (zeroed && span->dirty)
        memset(p, 0, large_bytes(span)); // before it is in use: a stop mustn't wait for it
    large_attach(span);
    return p;
}

// Lock held; whoever clears the alloc bit detaches the object: only one can.
static bool large_detach(struct sv_span *span)
{
    size_t bytes = large_bytes(span);
    if (!(atomic_load_explicit(&span->bits[0].alloc, memory_order_relaxed) & 1))
        return false;
    atomic_store_explicit(&span->bits[0].alloc, 0, memory_order_relaxed);
    bool marked = atomic_exchange_explicit(&span->bits[0].mark, 0, memory_order_relaxed) & 1;
    if (marked && sv_heap_marking())
        atomic_fetch_sub_explicit(&sv_heap.marked, bytes, memory_order_relaxed);
    if (large.cursor == (uint32_t)(span - sv_heap.spans))
        large.cursor = span->next;
    list_remove(&sv_heap.large_first, span);
    if (sv_unlikely(sv_profile_on))
        sv_profile_forget(large_start(span));
    span->dirty = 1;
    atomic_fetch_sub_explicit(&sv_heap.large_live, bytes, memory_order_relaxed);
    return true;
}

// A detached span goes, lock held; but dropping much memory takes so long that it is done without
// the lock. True: the caller still has to do that, by span_drop.
static bool span_heavy(struct sv_span *span, bool heavy)
{
    heavy = heavy || span->moved || large_bytes(span) >= RELEASE_MIN;
    if (heavy)
        list_add(&large.limbo, span, SV_LIST_LIMBO);
    else
        span_retire(span);
    return heavy;
}

static void span_drop(struct sv_span *span)
{
    size_t bytes = large_bytes(span);
    if (sv_os_release(large_start(span), bytes) == 0) {
        span->dirty = 0;
        sv_scavenge_count(bytes);
    }
    sv_lock_acquire(&sv_heap.lock);
    list_remove(&large.limbo, span);
    span_retire(span);
    sv_lock_release(&sv_heap.lock);
}

// The program names an object that the last cycle found unreachable and nobody has swept yet: it
// hides its pointers. The object stays, and what the flip took out of `live` comes back. Lock held.
static void large_revive(struct sv_span *span)
{
    if (sv_likely(!large_unswept(span)) ||
        !(atomic_load_explicit(&span->bits[0].alloc, memory_order_relaxed) & 1))
        return;
    if (!(atomic_fetch_or_explicit(&span->bits[0].mark, 1, memory_order_relaxed) & 1) &&
        !sv_leaks_on)
        atomic_fetch_add_explicit(&sv_heap.live, large_bytes(span), memory_order_relaxed);
}

bool sv_large_free(struct sv_span *span)
{
    sv_lock_acquire(&sv_heap.lock);
    size_t bytes = large_bytes(span);
    large_revive(span);
    bool used = large_detach(span);
    bool heavy = used && span_heavy(span, false);
    if (used)
        live_sub(bytes);
    sv_lock_release(&sv_heap.lock);
    if (!used)
        return false;
    atomic_fetch_add_explicit(&sv_heap.freed, bytes, memory_order_relaxed);
    if (heavy)
        span_drop(span);
    sv_scavenge_poll();
    return true;
}

// ---- sweep --------------------------------------------------------------------------------------

// Lock held. NULL: none is left of those that were there when the cycle flipped.
static struct sv_span *sweep_next(void)
{
    uint32_t gen = atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
    if (large.gen != gen) {
        large.gen = gen;
        large.cursor = sv_heap.large_first; // what is allocated from now on stands before it
    }
    if (!large.cursor)
        return NULL;
    struct sv_span *span = sv_span_at(large.cursor);
    large.cursor = span->next;
    return span;
}

// Up to SWEEP_HOLD objects, or as far as one whose end takes long: that one is returned.
static struct sv_span *sweep_hold(unsigned *budget, size_t *bytes, bool *more)
{
    struct sv_span *span, *dead = NULL;
    sv_lock_acquire(&sv_heap.lock);
    for (unsigned i = 0; i < SWEEP_HOLD && *budget && !dead && (span = sweep_next()); i++) {
        --*budget;
        if (!large_unswept(span))
            continue;
        span->sweepgen = large.gen;
        atomic_fetch_add_explicit(&sv_heap.sweep.swept, span->npages, memory_order_relaxed);
        bool marked = atomic_exchange_explicit(&span->bits[0].mark, 0, memory_order_relaxed) & 1;
        if (sv_unlikely(sv_leaks_on))
            sv_leaks_large(span, marked);
        if (marked || sv_leaks_on)
            continue;
        large_detach(span); // its bytes left `live` when the cycle flipped
        *bytes += large_bytes(span);
        if (span_heavy(span, sv_options.clobber))
            dead = span;
    }
    *more = large.cursor != 0;
    sv_lock_release(&sv_heap.lock);
    return dead;
}

size_t sv_large_sweep(unsigned *budget)
{
    size_t bytes = 0;
    bool more = true;
    while (more && *budget) {
        struct sv_span *dead = sweep_hold(budget, &bytes, &more);
        if (!dead)
            continue;
        if (sv_unlikely(sv_options.clobber))
            memset(large_start(dead), SV_CLOBBER, large_bytes(dead));
        span_drop(dead);
    }
    atomic_fetch_add_explicit(&sv_heap.reclaimed, bytes, memory_order_relaxed);
    return bytes;
}

// ---- resizing -----------------------------------------------------------------------------------

static bool large_marked(const struct sv_span *span)
{
    // acquire: its marker read the size before, see sv_heap.marked
    return atomic_load_explicit(&span->bits[0].mark, memory_order_acquire) & 1;
}

static void large_shrink(struct sv_span *span, uint32_t n)
{
    uint32_t tail = (uint32_t)(span - sv_heap.spans) + n, gone = span->npages - n;
    size_t bytes = (size_t)gone << SV_PAGE_SHIFT;
    void *p = (void *)sv_page_addr(tail);
    if (sv_unlikely(sv_options.clobber))
        memset(p, SV_CLOBBER, bytes);
    if (span->moved) // its mapping is renewed below, which is quick when it is empty
        sv_os_release(p, bytes);
    sv_lock_acquire(&sv_heap.lock);
    bool stays = sv_heap_marking();
    if (!stays) {
        large_revive(span);
        sv_pagemap_set(tail, gone, 0);
        span->npages = n;
        live_sub(bytes);
        atomic_fetch_sub_explicit(&sv_heap.large_live, bytes, memory_order_relaxed);
        sv_heap_pages_give(tail, gone, span->moved && sv_os_renew(p, bytes) == 0);
    }
    sv_lock_release(&sv_heap.lock);
    if (stays) {
        if (bytes >= TAIL_MIN && sv_os_release(p, bytes) == 0)
            sv_scavenge_count(bytes);
        return;
    }
    atomic_fetch_add_explicit(&sv_heap.freed, bytes, memory_order_relaxed);
    sv_scavenge_poll();
}

static bool large_grow(struct sv_span *span, uint32_t n)
{
    uint32_t page = (uint32_t)(span - sv_heap.spans), old = span->npages, more = n - old;
    size_t bytes = (size_t)more << SV_PAGE_SHIFT;
    bool clean;
    sv_lock_acquire(&sv_heap.lock);
    bool marking = sv_heap_marking();
    bool ok = (!marking || large_marked(span)) &&
              sv_pagealloc_take_at(&sv_heap.pages, page + old, more, &clean);
    if (ok) {
        large_revive(span);
        sv_heap.pages_inuse += more;
        large_count(bytes);
        if (marking) {
            atomic_fetch_add_explicit(&sv_heap.marked, bytes, memory_order_relaxed);
            sv_stretch_note(sv_page_addr(page + old), bytes);
        }
        for (uint32_t i = old; i < n; i++) // they go on counting from the span's first page
            __atomic_store_n(&sv_heap.pagemap[page + i], sv_pagemap_make(span->code, i),
                             __ATOMIC_RELEASE);
        // release: who counts on so many pages finds their entries
        __atomic_store_n(&span->npages, n, __ATOMIC_RELEASE);
    }
    sv_lock_release(&sv_heap.lock);
    if (ok)
        atomic_fetch_add_explicit(&sv_heap.allocated, bytes, memory_order_relaxed);
    return ok;
}

bool sv_large_resize(struct sv_span *span, size_t size)
{
    uint64_t n = sv_large_pages(size);
    if (n > sv_heap.npages)
        return false;
    if (n > span->npages)
        return large_grow(span, (uint32_t)n);
    if (n < span->npages)
        large_shrink(span, (uint32_t)n);
    return true;
}

// Gives `to` the first `old` bytes that `from` has, and takes from's span apart. Lock held. The
// kernel holds its own lock of all mappings meanwhile, so others wouldn't get far without ours.
static bool large_swap(struct sv_span *from, struct sv_span *to, size_t old)
{
    // the kernel may forget that what lies beside a moved mapping is watched
    if (sv_heap_marking() || sv_heap.watched || sv_heap.moved_spans >= MOVED_MAX)
        return false;
    if (sv_os_move(large_start(from), large_start(to), old) != 0) {
        sv_os_renew(large_start(to), old); // a failed move may have unmapped it
        return false;
    }
    to->moved = 1;
    sv_heap.moved_spans++;
    large_revive(from);
    large_detach(from);
    live_sub(old);
    from->dirty = 0; // the kernel left zeroes there
    span_give(from);
    return true;
}

void *sv_large_move(struct sv_span *span, size_t size)
{
    size_t old = large_bytes(span);
    if (old < MOVE_MIN || size < old || sv_heap_marking() || sv_heap.watched)
        return NULL;
    void *p = sv_large_alloc(size, 1, sv_code_kind(span->code), false);
    if (!p)
        return NULL;
    struct sv_span *to = sv_span_at((uint32_t)sv_page_of((uintptr_t)p));
    sv_lock_acquire(&sv_heap.lock);
    bool moved = large_swap(span, to, old);
    sv_lock_release(&sv_heap.lock);
    if (!moved) {
        sv_large_free(to);
        return NULL;
    }
    atomic_fetch_add_explicit(&sv_heap.freed, old, memory_order_relaxed);
    sv_scavenge_poll();
    return p;
}
