// The page map: every code at every distance that means something, in a table of its own, with
// spans longer than an entry can count.
#include "pagemap.h"

#include <criterion/criterion.h>
#include <sys/mman.h>

#define FAR SV_PAGEMAP_BACK_MAX

static const uintptr_t BASE = (uintptr_t)0x12 << 40;

static void table_make(uint32_t npages)
{
    void *mem = mmap(NULL, npages * sizeof(sv_pagemap_entry), PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    cr_assert(mem != MAP_FAILED);
    sv_heap.pagemap = mem;
    sv_heap.npages = npages;
    sv_heap.base = BASE;
    sv_heap.base_page = BASE >> SV_PAGE_SHIFT;
}

static bool code_used(unsigned code)
{
    return sv_code_class(code) != 0;
}

Test(pagemap, entry_holds_code_shift_and_distance)
{
    static const uint32_t backs[] = {0, 1, 2, 9, 4095, 65536, FAR - 1};
    for (unsigned code = 0; code < SV_NCODE; code++) {
        if (!code_used(code))
            continue;
        for (unsigned k = 0; k < sizeof backs / sizeof *backs; k++) {
            sv_pagemap_entry e = sv_pagemap_make(code, backs[k]);
            cr_assert(e != 0 && sv_pagemap_code(e) == code, "code %u back %u", code, backs[k]);
            cr_assert((e & SV_PAGEMAP_BIN_MASK) == code * sizeof(struct sv_bin));
            cr_assert((e & 31) == sv_classes[sv_code_class(code)].shift);
            cr_assert((e & ~SV_PAGEMAP_CODE_MASK) == backs[k] << SV_PAGE_SHIFT);
            cr_assert(sv_pagemap_first(backs[k] + 7, e) == 7);
        }
    }
}

Test(pagemap, entry_stops_counting)
{
    static const uint32_t backs[] = {FAR, FAR + 1, 2 * FAR, 1u << 26};
    for (unsigned code = 0; code < SV_NCODE; code++)
        for (unsigned k = 0; code_used(code) && k < sizeof backs / sizeof *backs; k++)
            cr_assert(sv_pagemap_make(code, backs[k]) == sv_pagemap_make(code, FAR) &&
                      sv_pagemap_code(sv_pagemap_make(code, backs[k])) == code);
}

// The sum that the fast path of free() forms from an entry and an address.
Test(pagemap, entry_and_address_give_the_offset)
{
    table_make(64);
    for (unsigned code = 0; code < SV_NCODE; code++) {
        for (uint32_t back = 0; code_used(code) && back < 12; back++) {
            sv_pagemap_entry e = sv_pagemap_make(code, back);
            for (uint32_t in = 0; in < SV_PAGE_SIZE; in += 16) {
                uint32_t p = (uint32_t)(sv_page_addr(20 + back) + in);
                uint32_t offset = ((e ^ p) & SV_PAGEMAP_CODE_MASK) ^ e;
                cr_assert(offset == (back << SV_PAGE_SHIFT) + in, "code %u back %u", code, back);
            }
        }
    }
}

Test(pagemap, set_tags_a_span_and_no_neighbour)
{
    table_make(256);
    for (unsigned code = 0; code < SV_NCODE; code++) {
        if (!code_used(code))
            continue;
        for (uint32_t npages = 1; npages <= 10; npages++) {
            sv_pagemap_set(100, npages, code);
            for (uint32_t page = 0; page < 256; page++) {
                sv_pagemap_entry e = sv_pagemap_get(page);
                bool in = page >= 100 && page < 100 + npages;
                cr_assert((e != 0) == in, "page %u", page);
                cr_assert(!in || (sv_pagemap_code(e) == code && sv_pagemap_first(page, e) == 100));
            }
            sv_pagemap_set(100, npages, 0);
            for (uint32_t page = 0; page < 256; page++)
                cr_assert(sv_pagemap_get(page) == 0);
        }
    }
}

// A large object whose last pages are three steps from its first.
Test(pagemap, first_of_far_pages)
{
    uint32_t npages = 3 * FAR + 7, first = 5;
    table_make(first + npages + 1);
    sv_pagemap_set(first, npages, sv_code(SV_CLASS_LARGE, SV_TRACED));
    cr_assert(sv_pagemap_get(first - 1) == 0 && sv_pagemap_get(first + npages) == 0);
    for (uint32_t page = first; page < first + npages; page++) {
        sv_pagemap_entry e = sv_pagemap_get(page);
        if (sv_pagemap_first(page, e) != first || sv_pagemap_code(e) != SV_NCODE - 1)
            cr_assert(false, "page %u: first %u", page, sv_pagemap_first(page, e));
    }
}

Test(pagemap, page_of_address)
{
    table_make(64);
    cr_assert(sv_page_of(BASE) == 0 && sv_page_of(BASE + SV_PAGE_SIZE - 1) == 0);
    cr_assert(sv_page_of(BASE + 64 * SV_PAGE_SIZE - 1) == 63);
    cr_assert(sv_page_of(BASE + 64 * SV_PAGE_SIZE) == sv_heap.npages);
    cr_assert(sv_page_of(BASE - 1) >= sv_heap.npages);
    cr_assert(sv_page_of(0) >= sv_heap.npages && sv_page_of(UINTPTR_MAX) >= sv_heap.npages);
    for (uint32_t page = 0; page < 64; page++)
        cr_assert(sv_page_of(sv_page_addr(page)) == page &&
                  sv_span_at(page) - sv_heap.spans == page);
}
