// The page map: from an address to the span that holds it. One 32-bit word a page, written when a
// span is made (last, with release) and cleared when its pages go back; read by anyone.
#ifndef SV_PAGEMAP_H
#define SV_PAGEMAP_H

#include "core.h"
#include "heap.h"
#include "sizeclass.h"

// The page of an address; at least sv_heap.npages when it isn't in the region (below it wraps
// around).
static inline uint64_t sv_page_of(uintptr_t addr)
{
    return (addr >> SV_PAGE_SHIFT) - sv_heap.base_page;
}

static inline uintptr_t sv_page_addr(uint32_t page)
{
    return sv_heap.base + ((uintptr_t)page << SV_PAGE_SHIFT);
}

static inline sv_pagemap_entry sv_pagemap_get(uint64_t page)
{
    // acquire pairs with sv_pagemap_set's release: the span's record is complete
    return __atomic_load_n(&sv_heap.pagemap[page], __ATOMIC_ACQUIRE);
}

// The entry of a page of a span, `back` pages after the span's first.
static inline sv_pagemap_entry sv_pagemap_make(unsigned code, uint32_t back)
{
    if (back > SV_PAGEMAP_BACK_MAX)
        back = SV_PAGEMAP_BACK_MAX;
    return back * (SV_PAGEMAP_CODE_MASK + 1) + code * (unsigned)sizeof(struct sv_bin) +
           sv_classes[sv_code_class(code)].shift;
}

static inline unsigned sv_pagemap_code(sv_pagemap_entry e)
{
    return (e & SV_PAGEMAP_CODE_MASK) / (unsigned)sizeof(struct sv_bin);
}

// The first page of the span that `page`, whose entry is e, belongs to.
static inline uint32_t sv_pagemap_first(uint32_t page, sv_pagemap_entry e)
{
    uint32_t back = e / (SV_PAGEMAP_CODE_MASK + 1);
    while (sv_unlikely(back == SV_PAGEMAP_BACK_MAX)) {
        page -= back;
        back = sv_pagemap_get(page) / (SV_PAGEMAP_CODE_MASK + 1);
    }
    return page - back;
}

static inline struct sv_span *sv_span_at(uint32_t page)
{
    return &sv_heap.spans[page];
}

// Tags npages pages from `first` with `code`; 0 clears them.
void sv_pagemap_set(uint32_t first, uint32_t npages, unsigned code);

#endif
