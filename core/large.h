// Large objects: more than 32 KiB, or aligned to more than a page. One span each.
#ifndef SV_LARGE_H
#define SV_LARGE_H

#include "core.h"

// Contents undefined, or zeroes. `align` in bytes, a power of two. NULL: memory is short. No lock
// held.
void *sv_large_alloc(size_t size, size_t align, enum sv_kind kind, bool zeroed);

// False when it isn't in use (any more).
bool sv_large_free(struct sv_span *span);

// Resizes without moving; false when that isn't possible. While objects are marked a shrunk one
// keeps its pages.
bool sv_large_resize(struct sv_span *span, size_t size);

// Moves the object's pages to a new, larger place by page tables alone; NULL when that isn't
// possible or not worth it (the caller copies). The old span is gone when it worked.
void *sv_large_move(struct sv_span *span, size_t size);

// Looks at up to *budget objects that were there when the last cycle flipped, takes back what it
// didn't reach, and counts *budget down; returns bytes. When *budget is left over, none remains. No
// lock held.
size_t sv_large_sweep(unsigned *budget);

// Takes apart the spans of objects that were freed while objects were marked. Does nothing while
// they are; called when that is over, whether the cycle flipped or was given up. No lock held.
void sv_large_deferred_unmake(void);

// Pages for a request, with room for a pointer just past it (sizeclass.h).
static inline uint64_t sv_large_pages(size_t size)
{
    return ((uint64_t)size + SV_PAGE_SIZE) >> SV_PAGE_SHIFT;
}

#endif
