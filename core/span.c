// Spans. A record is written whole before the page map names it, and the page map forgets it before
// its pages go back, so a pointer out of thin air finds either nothing or a complete record. Bits
// are cleared when a span is made, not when it goes: a freed record may lie in memory nobody
// touches.
#include "span.h"

#include "assert.h"
#include "pagemap.h"
#include "profile.h"
#include "protect.h"

struct sv_span *sv_span_make(uint32_t page, uint32_t npages, unsigned code, bool clean)
{
    struct sv_span *span = sv_span_at(page);
    const struct sv_class *c = &sv_classes[sv_code_class(code)];
    span->magic = c->magic;
    span->npages = npages;
    span->next = span->prev = 0;
    span->sweepgen = atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
    span->nslots = (uint16_t)c->nslots;
    span->nused = 0;
    span->code = (uint8_t)code;
    span->list = SV_LIST_NONE;
    span->dirty = !clean;
    span->moved = 0;
    span->hint = 0;
    struct sv_bits *bits = sv_span_bits(span);
    for (unsigned w = 0; w < sv_span_words(span); w++) {
        atomic_store_explicit(&bits[w].alloc, 0, memory_order_relaxed);
        atomic_store_explicit(&bits[w].mark, 0, memory_order_relaxed);
    }
    sv_pagemap_set(page, npages, code);
    return span;
}

void sv_span_unmake(struct sv_span *span)
{
    sv_check(!sv_heap_marking()); // the page map only grows then
    uint32_t page = (uint32_t)(span - sv_heap.spans);
    uint32_t npages = span->npages;
    bool clean = !span->dirty;
    if (sv_unlikely(sv_profile_on))
        sv_profile_drop(page);
    sv_pagemap_set(page, npages, 0);
    sv_protect_leave(page, npages);
    sv_heap_pages_give(page, npages, clean);
}

void sv_span_push(struct sv_span_head *head, struct sv_span *span, enum sv_span_list list)
{
    uint32_t page = (uint32_t)(span - sv_heap.spans);
    span->prev = 0;
    span->next = head->first;
    span->list = (uint8_t)list;
    if (head->first)
        sv_span_at(head->first)->prev = page;
    else
        head->last = page;
    head->first = page;
}

void sv_span_append(struct sv_span_head *head, struct sv_span *span, enum sv_span_list list)
{
    uint32_t page = (uint32_t)(span - sv_heap.spans);
    span->next = 0;
    span->prev = head->last;
    span->list = (uint8_t)list;
    if (head->last)
        sv_span_at(head->last)->next = page;
    else
        head->first = page;
    head->last = page;
}

void sv_span_remove(struct sv_span_head *head, struct sv_span *span)
{
    if (span->prev)
        sv_span_at(span->prev)->next = span->next;
    else
        head->first = span->next;
    if (span->next)
        sv_span_at(span->next)->prev = span->prev;
    else
        head->last = span->prev;
    span->next = span->prev = 0;
    span->list = SV_LIST_NONE;
}
