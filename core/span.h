// Spans: making and unmaking them, their bits and the lists they stand on.
#ifndef SV_SPAN_H
#define SV_SPAN_H

#include "core.h"
#include "heap.h"
#include "sizeclass.h"

static inline struct sv_bits *sv_span_bits(struct sv_span *span)
{
    if (sv_likely(sv_code_class(span->code) > SV_DENSE_CLASS_MAX))
        return span->bits;
    return sv_heap.dense[span - sv_heap.spans].bits;
}

static inline unsigned sv_span_words(const struct sv_span *span)
{
    return (span->nslots + 63u) / 64;
}

// Which bits of word w stand for slots.
static inline uint64_t sv_span_mask(const struct sv_span *span, unsigned w)
{
    unsigned left = span->nslots - w * 64;
    return left >= 64 ? ~(uint64_t)0 : ((uint64_t)1 << left) - 1;
}

static inline size_t sv_span_slot_size(const struct sv_span *span)
{
    unsigned class = sv_code_class(span->code);
    return class == SV_CLASS_LARGE ? (size_t)span->npages << SV_PAGE_SHIFT : sv_classes[class].size;
}

// Slots in use, counted: nused says the same wherever its lock was just taken.
static inline unsigned sv_span_used(struct sv_span *span)
{
    unsigned used = 0;
    for (unsigned w = 0; w < sv_span_words(span); w++)
        used += (unsigned)__builtin_popcountll(
            atomic_load_explicit(&sv_span_bits(span)[w].alloc, memory_order_relaxed));
    return used;
}

// Makes a span of pages that the caller took: record first, then the page map. Nothing is allocated
// in it, and it is on no list. Returns its record.
struct sv_span *sv_span_make(uint32_t page, uint32_t npages, unsigned code, bool clean);

// Takes a span that is on no list and has no object apart: page map first, then its pages go back.
// Only while the phase is OFF. The heap's lock is held, and its central's if it has one.
void sv_span_unmake(struct sv_span *span);

// Lists, by page; the caller holds the lock that guards them.
void sv_span_push(struct sv_span_head *head, struct sv_span *span, enum sv_span_list list);
void sv_span_append(struct sv_span_head *head, struct sv_span *span, enum sv_span_list list);
void sv_span_remove(struct sv_span_head *head, struct sv_span *span);

#endif
