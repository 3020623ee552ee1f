// Size classes against what they are made from: the classes by Go's rule, derived again, and each
// constant of a class by trying every offset of its span against plain division.
#include "sizeclass.h"

#include <criterion/criterion.h>

enum { PAGE = 8192, DERIVED_MAX = 100 };

struct derived {
    uint32_t size, pages;
};

static bool power_of_two(uint32_t n)
{
    return (n & (n - 1)) == 0;
}

// The fewest pages of which at most an eighth is lost behind the last slot.
static uint32_t pages_choose(uint32_t size)
{
    uint32_t bytes = PAGE;
    while (bytes % size > bytes / 8)
        bytes += PAGE;
    return bytes / PAGE;
}

// Go's rule, whole: sizes in steps of an eighth of the power of two below, but at least 8, from 32
// on 16, and at most 256; a class that has as many slots in as many pages as the next one gives way
// to it; last, sizes grow to the largest multiple of 128 that doesn't cost a slot.
static unsigned classes_derive(struct derived *out)
{
    unsigned n = 0;
    uint32_t step = 8;
    for (uint32_t size = 8; size <= SV_SLOT_MAX; size += step) {
        if (power_of_two(size))
            step = size >= 2048 ? 256 : size >= 128 ? size / 8 : size >= 32 ? 16 : 8;
        uint32_t pages = pages_choose(size), slots = pages * PAGE / size;
        // cppcheck-suppress uninitvar ; n > 0: it is set
        if (n > 0 && out[n - 1].pages == pages && pages * PAGE / out[n - 1].size == slots)
            n--;
        cr_assert(n < DERIVED_MAX);
        out[n++] = (struct derived){size, pages};
    }
    for (unsigned i = 0; i < n; i++) {
        uint32_t bytes = out[i].pages * PAGE;
        uint32_t grown = bytes / (bytes / out[i].size) / 128 * 128;
        if (grown > out[i].size)
            out[i].size = grown;
    }
    return n;
}

Test(sizeclass, classes_follow_the_rule)
{
    struct derived all[DERIVED_MAX];
    unsigned n = classes_derive(all), class = 1;
    cr_assert(n == 67, "%u classes with those that are no multiple of 16", n);
    for (unsigned i = 0; i < n; i++) {
        if (all[i].size % 16 != 0) {
            cr_assert(all[i].size == 8 || all[i].size == 24);
            continue;
        }
        const struct sv_class *c = &sv_classes[class ++];
        cr_assert(c->size == all[i].size && c->pages == all[i].pages,
                  "class %u: %u bytes, %u pages", class - 1, c->size, c->pages);
        cr_assert(c->nslots == c->pages * PAGE / c->size, "class %u: %u slots", class - 1,
                  c->nslots);
    }
    cr_assert(class == SV_CLASS_LARGE);
    cr_assert(sv_classes[class - 1].size == SV_SLOT_MAX);
}

Test(sizeclass, classes_outside_the_small_ones)
{
    const struct sv_class *none = &sv_classes[0], *large = &sv_classes[SV_CLASS_LARGE];
    cr_assert(none->nslots == 0 && none->size == 0 && none->pages == 0 && none->shift == 0);
    cr_assert(large->nslots == 1 && large->magic == 0 && large->size == 0 && large->shift == 0);
    for (uint32_t offset = 0; offset < (1u << 30); offset += 4093)
        cr_assert(sv_slot_of(offset, large->magic) == 0);
    for (uint64_t offset = 0; offset < ((uint64_t)1 << 32); offset += 65521)
        cr_assert(!sv_slot_starts((uint32_t)offset, none->inv, none->shift, none->nslots));
}

Test(sizeclass, classes_suit_the_span_record)
{
    unsigned dense = 0;
    for (unsigned class = 1; class < SV_CLASS_LARGE; class ++) {
        const struct sv_class *c = &sv_classes[class];
        cr_assert(c->size % SV_ALIGN == 0 && c->size > sv_classes[class - 1].size);
        cr_assert(c->nslots <= (class <= SV_DENSE_CLASS_MAX ? 512 : 128), "class %u", class);
        cr_assert(class > SV_DENSE_CLASS_MAX || c->pages == 1, "dense bits are one page's");
        dense += c->nslots > 128;
        cr_assert(c->shift == (unsigned)__builtin_ctz(c->size));
        cr_assert((c->size >> c->shift) * c->inv == 1, "class %u: inverse", class);
    }
    cr_assert(dense == SV_DENSE_CLASS_MAX);
}

// Beyond the span too, as far as its pages go: the tail.
Test(sizeclass, slot_of_is_division)
{
    for (unsigned class = 1; class < SV_CLASS_LARGE; class ++) {
        const struct sv_class *c = &sv_classes[class];
        for (uint32_t offset = 0; offset <= c->pages * PAGE; offset++)
            cr_assert(sv_slot_of(offset, c->magic) == offset / c->size, "class %u offset %u", class,
                      offset);
    }
}

Test(sizeclass, slot_starts_is_division)
{
    static const uint32_t garbage[] = {0, 32, 0xffffffe0, 0x12345660};
    for (unsigned class = 1; class < SV_CLASS_LARGE; class ++) {
        const struct sv_class *c = &sv_classes[class];
        for (uint32_t offset = 0; offset < c->pages * PAGE; offset++) {
            bool want = offset % c->size == 0 && offset / c->size < c->nslots;
            unsigned shift = c->shift | garbage[offset % 4];
            cr_assert(sv_slot_starts(offset, c->inv, c->shift, c->nslots) == want,
                      "class %u offset %u", class, offset);
            cr_assert(sv_slot_starts(offset, c->inv, shift, c->nslots) == want,
                      "class %u offset %u shift %x", class, offset, shift);
            cr_assert(!sv_slot_starts(offset, c->inv, c->shift, 0));
        }
    }
}

// Offsets beyond a span, of pages farther on than any small one has: none may look like a start.
Test(sizeclass, slot_starts_refuses_far_offsets)
{
    for (unsigned class = 1; class < SV_CLASS_LARGE; class ++) {
        const struct sv_class *c = &sv_classes[class];
        for (uint32_t offset = c->pages * PAGE; offset < c->pages * PAGE + 64 * PAGE; offset += 16)
            cr_assert(!sv_slot_starts(offset, c->inv, c->shift, c->nslots), "class %u offset %u",
                      class, offset);
    }
}

// The smallest class with a byte to spare.
Test(sizeclass, requests_get_the_smallest_class)
{
    unsigned class = 1;
    for (size_t size = 0; size <= SV_SMALL_MAX; size++) {
        while (sv_classes[class].size <= size)
            class ++;
        cr_assert(sv_sizeclass(size) == class, "%zu: class %u, not %u", size, sv_sizeclass(size),
                  class);
    }
    cr_assert(class == SV_CLASS_LARGE - 1);
}

Test(sizeclass, codes)
{
    for (unsigned class = 0; class < SV_NCLASS; class ++) {
        for (unsigned noscan = 0; noscan < 2; noscan++) {
            unsigned code = sv_code(class, noscan);
            cr_assert(code < SV_NCODE && sv_code_class(code) == class);
            cr_assert(sv_code_noscan(code) == (noscan != 0));
            cr_assert(code <= UINT8_MAX, "a span's record keeps it in a byte");
        }
    }
}
