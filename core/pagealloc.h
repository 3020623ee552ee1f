// The page allocator: which pages of the region are free, and which of those read as zeroes.
//
// Address-ordered first fit over a bitmap with a tree of summaries, so that a region of 1 TiB (2^27
// pages) is searched in a few steps. Pure data structure: it makes no system call, takes no lock
// and touches no page; the caller holds the heap's lock.
#ifndef SV_PAGEALLOC_H
#define SV_PAGEALLOC_H

#include "core.h"

// Bytes of table memory for a region of npages; the memory must read as zeroes and may be reserved
// without being backed: what a region has not grown into is never touched.
size_t sv_pagealloc_bytes(uint32_t npages);

// Starts with no page free. `mem` is 64-byte aligned and holds sv_pagealloc_bytes(npages).
void sv_pagealloc_init(struct sv_pagealloc *pa, void *mem, uint32_t npages);

// Takes n pages (n >= 1) whose first is a multiple of `align` (a power of two, in pages), at the
// lowest address that fits. Returns the first page or SV_NOPAGE. *clean: all of them read as
// zeroes.
uint32_t sv_pagealloc_take(struct sv_pagealloc *pa, uint32_t n, uint32_t align, bool *clean);

// Takes exactly [page, page + n) if all of it is free.
bool sv_pagealloc_take_at(struct sv_pagealloc *pa, uint32_t page, uint32_t n, bool *clean);

// Gives pages back (or, after growth, for the first time). None of them may be free.
void sv_pagealloc_give(struct sv_pagealloc *pa, uint32_t page, uint32_t n, bool clean);

#define SV_HUGE_PAGES 256u // pages of one of the processor's huge pages (2 MiB)

// The highest run of free pages that are not clean and lie below page `below`; at most max pages of
// it, its upper end, or up to SV_HUGE_PAGES - 1 more where that would cut a huge page in two that
// lies in the run whole. Returns its first page and *n, or SV_NOPAGE.
uint32_t sv_pagealloc_find_dirty(const struct sv_pagealloc *pa, uint32_t below, uint32_t max,
                                 uint32_t *n);

// Debug: recomputes every summary and count and aborts on a difference. O(grown pages).
void sv_pagealloc_check(const struct sv_pagealloc *pa);

#endif
