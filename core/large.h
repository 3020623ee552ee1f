// Large objects: more than 32 KiB, or aligned to more than a page. One span each.
#ifndef SV_LARGE_H
#define SV_LARGE_H

#include "core.h"

// Contents undefined, or zeroes. `align` in bytes, a power of two. NULL: memory is short. No lock
// held.
void *sv_large_alloc(size_t size, size_t align, bool noscan, bool zeroed);

// False when it isn't in use (any more).
bool sv_large_free(struct sv_span *span);

// Resizes without moving; false when the neighbours don't allow it.
bool sv_large_resize(struct sv_span *span, size_t size);

// Moves the object's pages to a new, larger place by page tables alone; NULL when that isn't
// possible or not worth it (the caller copies). The old span is gone when it worked.
void *sv_large_move(struct sv_span *span, size_t size);

// For sweep: detaches one object that the last mark didn't reach (NULL: none is left), and releases
// it.
struct sv_span *sv_large_take_dead(void);
void sv_large_unmake(struct sv_span *span);

// Pages for a request, with room for a pointer just past it (sizeclass.h).
static inline uint64_t sv_large_pages(size_t size)
{
    return ((uint64_t)size + SV_PAGE_SIZE) >> SV_PAGE_SHIFT;
}

#endif
