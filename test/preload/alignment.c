// SALVAGE: mode=collect
// SALVAGE: stress=256,checkmark=1,clobber=1
// Aligned allocation: every power of two from 1 to 64 MiB, through every function that takes an
// alignment, with sizes below, at and above the alignment. Several live at once, so that padding of
// one can't serve another; freed and resized like any other block.
#include "check.h"

#include <malloc.h>

#define BLOCKS 6

enum way { WAY_ALIGNED, WAY_MEMALIGN, WAY_POSIX, WAYS };

static void *allocate(enum way way, size_t align, size_t n)
{
    void *p = NULL;
    align = check_hide(align);
    if (way == WAY_ALIGNED)
        return aligned_alloc(align, n);
    if (way == WAY_MEMALIGN)
        return memalign(align, n);
    return posix_memalign(&p, align < sizeof p ? sizeof p : align, n) ? NULL : p;
}

static void one(enum way way, size_t align, size_t n)
{
    void *p[BLOCKS];
    for (unsigned i = 0; i < BLOCKS; i++) {
        p[i] = allocate(way, align, n);
        if (!CHECK(p[i], "alignment %zu, %zu bytes: NULL", align, n))
            return;
        size_t to = align < 16 ? 16 : align;
        CHECK(((uintptr_t)p[i] & (to - 1)) == 0, "alignment %zu, %zu bytes: %p", align, n, p[i]);
        CHECK(malloc_usable_size(p[i]) >= n, "alignment %zu, %zu bytes: usable %zu", align, n,
              malloc_usable_size(p[i]));
        check_fill(p[i], n, i);
    }
    for (unsigned i = 0; i < BLOCKS; i++) {
        CHECK(check_pattern(p[i], n, n, i), "alignment %zu, %zu bytes: contents changed", align, n);
        if (i & 1) {
            size_t to = i & 2 ? n * 2 + 1 : n / 2 + 1, kept = to < n ? to : n;
            p[i] = realloc(p[i], to);
            CHECK(p[i] && check_pattern(p[i], kept, n, i), "alignment %zu: realloc from %zu to %zu",
                  align, n, to);
        }
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        free(p[i]);
}

int main(void)
{
    static const size_t sizes[] = {0,    1,    8,    15,    16,    17,    64,     100,
                                   1000, 4095, 4096, 10000, 32768, 32769, 100000, 1 << 20};
    for (size_t align = 1; align <= (64u << 20); align *= 2) {
        for (enum way way = 0; way < WAYS; way++) {
            for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
                one(way, align, sizes[i]);
            if (align <= (1u << 20)) {
                one(way, align, align - 1);
                one(way, align, align + 1);
            }
        }
    }
    // Over-aligned blocks of a large alignment give their address space back: a hundred thousand
    // rounds would not fit otherwise.
    size_t rounds = check_stressed() ? 2000 : 100000;
    for (size_t i = 0; i < rounds; i++) {
        void *p = memalign(32u << 20, check_hide((size_t)100));
        if (!CHECK(p, "round %zu: memalign(32 MiB) is NULL", i))
            break;
        free(p);
    }
    // An interior pointer of a dropped-and-kept aligned block keeps it.
    char *kept = memalign(4096, 5000);
    check_fill(kept, 5000, 7);
    char *inner = check_hide(kept + 4500);
    kept = NULL;
    __asm__ volatile("" : "+r"(kept));
    check_collect();
    CHECK(check_pattern(inner - 4500, 5000, 5000, 7),
          "an aligned block held by an interior pointer is lost");
    free(inner - 4500);
    return check_done();
}
