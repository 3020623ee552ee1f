// Which objects are uncollectable: a bit for each place where an object may start.
#ifndef SV_UNCOLLECTABLE_H
#define SV_UNCOLLECTABLE_H

#include "boehm.h"
#include "pagemap.h"

#define SV_UNCOLLECTABLE_PAGES 2048u  // of a part of the heap (16 MiB)
#define SV_UNCOLLECTABLE_PARTS 65536u // the region's at most
#define SV_UNCOLLECTABLE_WORDS (SV_UNCOLLECTABLE_PAGES * SV_PAGE_SIZE / SV_ALIGN / 64)

typedef _Atomic uint64_t sv_uncollectable_word;

extern _Atomic(sv_uncollectable_word *) sv_uncollectable[SV_UNCOLLECTABLE_PARTS]; // set once

// The word with the bit of the object that starts there; NULL: no object near there has one.
static inline sv_uncollectable_word *sv_uncollectable_at(uintptr_t start, uint64_t *bit)
{
    uint64_t page = sv_page_of(start);
    if (page >= sv_heap.npages)
        return NULL;
    // acquire pairs with part_make's release
    sv_uncollectable_word *words = atomic_load_explicit(
        &sv_uncollectable[page / SV_UNCOLLECTABLE_PAGES], memory_order_acquire);
    size_t i = (start - sv_heap.base) / SV_ALIGN;
    *bit = (uint64_t)1 << i % 64;
    return words ? &words[i / 64 % SV_UNCOLLECTABLE_WORDS] : NULL;
}

// p, an object of `size` bytes as asked for, or NULL, is uncollectable from here on. NULL, or what
// the out-of-memory function says: no memory; p is gone. No lock held.
void *sv_uncollectable_add(void *p, size_t size);

static inline bool sv_uncollectable_is(uintptr_t start)
{
    uint64_t bit;
    const sv_uncollectable_word *word = sv_uncollectable_at(start, &bit);
    return sv_unlikely(word != NULL) && atomic_load_explicit(word, memory_order_relaxed) & bit;
}

#endif
