// Central lists: what fill and take hand out and what flush and give accept; where spans stand
// after it; and random use with flips by hand, in which every slot is with one owner at a time.
#include "central.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "lock.h"
#include "spans.h"

enum { ROOM = 128 };

TestSuite(central, .init = spans_setup, .timeout = 60);

struct hand { // a bin of its own
    struct sv_bin bin;
    void *slots[ROOM];
};

static void hand_empty(struct hand *h)
{
    h->bin = (struct sv_bin){.top = h->slots, .base = h->slots, .end = h->slots + ROOM};
}

static unsigned hand_held(const struct hand *h)
{
    return (unsigned)(h->bin.top - h->bin.base);
}

static bool code_small(unsigned code)
{
    return sv_code_class(code) != 0 && sv_code_class(code) != SV_CLASS_LARGE;
}

static struct sv_span *span_of(const void *slot)
{
    uint32_t page = (uint32_t)sv_page_of((uintptr_t)slot);
    return sv_span_at(sv_pagemap_first(page, sv_pagemap_get(page)));
}

static bool slot_starts(const void *slot, unsigned code)
{
    struct sv_span *span = span_of(slot);
    const struct sv_class *c = &sv_classes[sv_code_class(code)];
    uintptr_t offset = (uintptr_t)slot - sv_page_addr((uint32_t)(span - sv_heap.spans));
    return span->code == code && offset % c->size == 0 && offset / c->size < c->nslots;
}

// Fills of every length: as many slots as asked for, or a page's worth, in the order of addresses.
Test(central, fill_goes_up)
{
    for (unsigned code = 1; code < SV_NCODE; code++) {
        if (!code_small(code))
            continue;
        size_t size = sv_classes[sv_code_class(code)].size;
        for (unsigned n = 1; n <= ROOM; n = n * 3 / 2 + 1) {
            struct hand h;
            hand_empty(&h);
            cr_assert(sv_central_fill(code, &h.bin, n));
            unsigned got = hand_held(&h);
            cr_assert(got >= 1 && got <= n, "%u of %u", got, n);
            // less only where a page's worth is enough
            cr_assert(got == n || got * size >= SV_PAGE_SIZE, "code %u: %u of %u", code, got, n);
            for (unsigned i = 0; i < got; i++) {
                cr_assert(slot_starts(h.slots[i], code));
                cr_assert(i == 0 || h.slots[i] < h.slots[i - 1] ||
                              span_of(h.slots[i]) != span_of(h.slots[i - 1]),
                          "of a span's slots the lowest is on top");
            }
            spans_check();
            cr_assert(sv_central_flush(code, &h.bin, got) == NULL && hand_held(&h) == 0);
        }
        cr_assert(sv_heap.live == 0 && spans_check() == 0);
    }
}

// The freed slot of a span that was full is the next one taken.
Test(central, span_that_was_full_comes_first)
{
    enum { CODE = 40 };
    unsigned n = 4u * sv_classes[CODE].nslots;
    void **p = malloc(n * sizeof *p);
    for (unsigned i = 0; i < n; i++)
        p[i] = sv_central_take(CODE);
    cr_assert(sv_heap.central[CODE].nspans == 4 && sv_heap.central[CODE].partial.first == 0);
    void *more = sv_central_take(CODE); // a fifth, nearly empty
    for (unsigned i = 0; i < n; i++) {
        cr_assert(sv_central_give(CODE, p[i]));
        cr_assert(sv_heap.central[CODE].partial.first == span_of(p[i]) - sv_heap.spans);
        cr_assert(sv_central_take(CODE) == p[i]);
        spans_check();
    }
    cr_assert(sv_central_give(CODE, more));
    for (unsigned i = 0; i < n; i++)
        cr_assert(sv_central_give(CODE, p[i]));
    cr_assert(spans_check() == 0);
    free(p);
}

// Of empty spans one is kept, so that the program at the edge doesn't make one for each object.
Test(central, one_empty_span_is_kept)
{
    for (unsigned code = 1; code < SV_NCODE; code++) {
        if (!code_small(code))
            continue;
        struct sv_central *central = &sv_heap.central[code];
        unsigned n = 3 * sv_classes[sv_code_class(code)].nslots;
        void **p = malloc(n * sizeof *p);
        for (unsigned i = 0; i < n; i++)
            p[i] = sv_central_take(code);
        cr_assert(central->nspans == 3);
        for (unsigned i = 0; i < n; i++)
            cr_assert(sv_central_give(code, p[i]));
        cr_assert(central->nspans == 1, "code %u: %u", code, central->nspans);
        uint64_t inuse = sv_heap.pages_inuse;
        for (unsigned i = 0; i < 10; i++)
            cr_assert(sv_central_give(code, sv_central_take(code)));
        cr_assert(central->nspans == 1 && sv_heap.pages_inuse == inuse);
        spans_check();
        free(p);
    }
}

// The oldest go, the newest stay, in order.
Test(central, flush_gives_the_oldest)
{
    enum { CODE = 6 };
    struct hand h;
    void *before[ROOM];
    hand_empty(&h);
    cr_assert(sv_central_fill(CODE, &h.bin, 60) && hand_held(&h) == 60);
    memcpy(before, h.slots, sizeof before);
    cr_assert(sv_central_flush(CODE, &h.bin, 25) == NULL);
    cr_assert(hand_held(&h) == 35 && memcmp(h.slots, before + 25, 35 * sizeof *before) == 0);
    cr_assert(spans_check() == 35u * sv_classes[CODE].size && sv_heap.live == spans_check());
}

// A slot that isn't in use is named, the others go back all the same.
Test(central, flush_names_a_second_free)
{
    enum { CODE = 6 };
    for (unsigned bad = 0; bad < 20; bad++) {
        struct hand h;
        hand_empty(&h);
        cr_assert(sv_central_fill(CODE, &h.bin, 20) && hand_held(&h) == 20);
        void *keep = sv_central_take(CODE), *slot = h.slots[bad];
        cr_assert(sv_central_give(CODE, slot) && !sv_central_give(CODE, slot));
        cr_assert(sv_central_flush(CODE, &h.bin, 20) == slot);
        cr_assert(hand_held(&h) == 0 && sv_heap.live == sv_classes[CODE].size);
        cr_assert(spans_check() == sv_heap.live);
        cr_assert(sv_central_give(CODE, keep));
    }
    struct hand h; // one slot twice in the same bin
    hand_empty(&h);
    cr_assert(sv_central_fill(CODE, &h.bin, 10));
    void *keep = sv_central_take(CODE);
    *h.bin.top++ = h.slots[3];
    cr_assert(sv_central_flush(CODE, &h.bin, 11) == h.slots[3]);
    cr_assert(sv_central_give(CODE, keep) && sv_heap.live == 0 && spans_check() == 0);
}

// ---- random, with flips -------------------------------------------------------------------------

enum { SLOTS = 4000 };

struct owner {
    void *slot[SLOTS];
    unsigned n;
};

static void owner_take(struct owner *o, unsigned code)
{
    struct hand h;
    hand_empty(&h);
    unsigned n = 1 + spans_random(ROOM);
    if (n == 1) {
        h.slots[0] = sv_central_take(code);
        h.bin.top += h.slots[0] != NULL;
    } else {
        cr_assert(sv_central_fill(code, &h.bin, n));
    }
    cr_assert(hand_held(&h) >= 1 && hand_held(&h) <= n);
    for (unsigned i = 0; i < hand_held(&h); i++) {
        cr_assert(slot_starts(h.slots[i], code));
        cr_assert(*(uint64_t *)h.slots[i] != 0x600d, "%p was handed out twice", h.slots[i]);
        *(uint64_t *)h.slots[i] = 0x600d;
        o->slot[o->n++] = h.slots[i];
    }
}

static void owner_give(struct owner *o, unsigned code)
{
    struct hand h;
    hand_empty(&h);
    unsigned n = 1 + spans_random(ROOM);
    for (unsigned i = 0; i < n && o->n; i++) {
        unsigned k = spans_random(o->n);
        *h.bin.top++ = o->slot[k];
        *(uint64_t *)o->slot[k] = 0;
        o->slot[k] = o->slot[--o->n];
    }
    if (hand_held(&h) == 1)
        cr_assert(sv_central_give(code, h.slots[0]));
    else
        cr_assert(sv_central_flush(code, &h.bin, hand_held(&h)) == NULL);
}

// Marks what the owner has, but for the newest `drop`, which it loses; then the flip of a cycle.
static void owner_cycle(struct owner *o, unsigned code, unsigned drop)
{
    size_t size = sv_classes[sv_code_class(code)].size;
    for (unsigned i = 0; i < o->n; i++) {
        struct sv_span *span = span_of(o->slot[i]);
        uintptr_t base = sv_page_addr((uint32_t)(span - sv_heap.spans));
        unsigned k = (unsigned)(((uintptr_t)o->slot[i] - base) / size);
        if (i < o->n - drop)
            atomic_fetch_or(&sv_span_bits(span)[k / 64].mark, (uint64_t)1 << (k & 63));
        else
            *(uint64_t *)o->slot[i] = 0;
    }
    o->n -= drop;
    sv_heap_lock_all();
    atomic_fetch_add(&sv_heap.sweepgen, 1);
    sv_central_flip();
    atomic_store(&sv_heap.live, o->n * size);
    sv_heap_unlock_all();
    cr_assert(sv_heap.central[code].partial.first == 0 && sv_heap.central[code].full.first == 0);
}

static void owner_steps(struct owner *o, unsigned code, int steps)
{
    for (int i = 0; i < steps; i++) {
        if (o->n + ROOM < SLOTS && spans_random(100) < 52)
            owner_take(o, code);
        else if (o->n)
            owner_give(o, code);
        if (spans_random(40) == 0) {
            while (sv_central_sweep(code, &(unsigned){1 + spans_random(3)}) && spans_random(2))
                continue;
            sv_central_sweep(code, &(unsigned){UINT32_MAX});
            owner_cycle(o, code, o->n ? spans_random(o->n + 1) / 2 : 0);
        }
        spans_check();
        cr_assert(sv_heap.live == o->n * (uint64_t)sv_classes[sv_code_class(code)].size);
    }
}

// Spans that wait to be swept give and take like the others.
Test(central, random_with_flips)
{
    static struct owner o;
    static const unsigned classes[] = {1, 2, 3, 4, 7, 16, 33, 45, 49, 63, 65};
    for (unsigned k = 0; k < 2 * sizeof classes / sizeof *classes; k++) {
        unsigned code = sv_code(classes[k / 2], k % 2);
        o.n = 0;
        owner_steps(&o, code, 200);
        while (o.n)
            owner_give(&o, code);
        sv_central_sweep(code, &(unsigned){UINT32_MAX});
        cr_assert(sv_heap.central[code].nused == 0 && sv_heap.live == 0);
        spans_check();
    }
}

// ---- threads ------------------------------------------------------------------------------------

static _Atomic int clashes;

static void *take_and_give(void *arg)
{
    unsigned code = (unsigned)(uintptr_t)arg;
    for (int round = 0; round < 3000; round++) {
        struct hand h;
        hand_empty(&h);
        if (!sv_central_fill(code, &h.bin, 20))
            atomic_fetch_add(&clashes, 1);
        for (void **slot = h.bin.base; slot < h.bin.top; slot++)
            if (atomic_exchange((_Atomic uint64_t *)*slot, 1) != 0)
                atomic_fetch_add(&clashes, 1);
        for (void **slot = h.bin.base; slot < h.bin.top; slot++)
            atomic_store((_Atomic uint64_t *)*slot, 0);
        if (sv_central_flush(code, &h.bin, hand_held(&h)))
            atomic_fetch_add(&clashes, 1);
    }
    return NULL;
}

Test(central, threads)
{
    pthread_t threads[4];
    for (uintptr_t i = 0; i < 4; i++)
        cr_assert(pthread_create(&threads[i], NULL, take_and_give, (void *)(10 + i / 3)) == 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_assert(clashes == 0 && sv_heap.live == 0 && spans_check() == 0);
}
