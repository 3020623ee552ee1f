// Checkmark shares nothing with marking but the look-up of a word and the queue: no rings, no
// kernels, no oblets, no skipping of untouched pages. What both get wrong in the same way it can't
// see; what the fast one forgets it does.
#include "checkmark.h"

#include <string.h>

#include "mark.h"
#include "options.h"
#include "os.h"
#include "pagemap.h"
#include "span.h"
#include "text.h"

bool sv_checkmark_begin(struct sv_checkmark *c)
{
    // a byte more: nothing may have been allocated yet
    *c =
        (struct sv_checkmark){.bytes = ((size_t)sv_heap.grown << SV_PAGE_SHIFT) / SV_ALIGN / 8 + 1};
    c->bits = sv_os_map(c->bytes);
    return c->bits != NULL;
}

static void check_word(struct sv_checkmark *c, uintptr_t where, uintptr_t word)
{
    struct sv_mark_place at;
    if (!sv_mark_find(word, &at))
        return;
    size_t i = (at.start - sv_heap.base) / SV_ALIGN;
    if (c->bits[i / 8] >> (i & 7) & 1)
        return;
    c->bits[i / 8] |= (uint8_t)(1u << (i & 7));
    if (!(atomic_load_explicit(&at.bits->mark, memory_order_relaxed) & at.bit))
        sv_die(
            "checkmark: object %p of %z bytes is reachable but not marked: %p in %p points to it",
            (void *)at.start, sv_span_slot_size(at.span), (void *)where, (void *)c->parent);
    if (sv_code_kind(at.span->code) == SV_SCAN)
        sv_work_push(&c->work, at.start);
}

static void check_words(struct sv_checkmark *c, uintptr_t lo, uintptr_t hi, unsigned align)
{
    c->parent = lo;
    for (uintptr_t at = lo; at + sizeof(uintptr_t) <= hi; at += align) {
        uintptr_t word;
        memcpy(&word, (const void *)at, sizeof word);
        word = word << sv_options.tagbits >> sv_options.tagbits;
        if (word - sv_heap.base < sv_heap.size)
            check_word(c, at, word);
    }
}

void sv_checkmark_range(struct sv_checkmark *c, uintptr_t lo, uintptr_t hi, bool code)
{
    check_words(c, (lo + 7) & ~(uintptr_t)7, hi, code ? 1 : sv_options.align);
}

void sv_checkmark_end(struct sv_checkmark *c)
{
    uintptr_t object;
    while ((object = sv_work_pop(&c->work)) != 0) {
        struct sv_mark_place at;
        if (sv_mark_find(object, &at) && !sv_mark_freed(at.start))
            check_words(c, at.start, at.start + sv_span_slot_size(at.span), sv_options.align);
    }
    sv_work_flush(&c->work);
    sv_os_unmap(c->bits, c->bytes);
}
