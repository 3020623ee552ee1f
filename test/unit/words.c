// The word kernels against a plain model: every length, every alignment, hits at the edges of the
// heap and of the range, and a page that cannot be touched on both sides of input and output.
#include "scanners.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LENGTH_MAX = 200, OFFSET_MAX = 16, PAGE = 4096 };

static const uintptr_t BASE = 0x7d5a00000000;
static const size_t SIZE = (size_t)1 << 40;

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static uintptr_t word_make(unsigned percent)
{
    static const uintptr_t edges[] = {0, 1, UINTPTR_MAX, (uintptr_t)1 << 63,
                                      ((uintptr_t)1 << 63) - 1};
    if (random_next() % 100 < percent) {
        switch (random_next() % 3) {
        case 0:
            return BASE;
        case 1:
            return BASE + SIZE - 1;
        default:
            return BASE + random_next() % SIZE;
        }
    }
    switch (random_next() % 4) {
    case 0:
        return BASE - 1;
    case 1:
        return BASE + SIZE;
    case 2:
        return edges[random_next() % 5];
    default:
        return random_next();
    }
}

// `pages` usable pages between two that fault.
static char *fenced_map(size_t pages)
{
    char *p = mmap(NULL, (pages + 2) * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(p != MAP_FAILED);
    cr_assert(mprotect(p + PAGE, pages * PAGE, PROT_READ | PROT_WRITE) == 0);
    return p + PAGE;
}

static size_t model(const uintptr_t *w, size_t n, uintptr_t base, size_t size, uintptr_t *out)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++)
        if (w[i] >= base && w[i] - base < size)
            out[found++] = w[i];
    return found;
}

static void kernel_check(sv_words_fn *fn)
{
    char *in_fence = fenced_map(1), *out_fence = fenced_map(1);
    static const unsigned percents[] = {0, 3, 25, 50, 100};
    static uintptr_t expected[LENGTH_MAX];
    for (size_t n = 0; n <= LENGTH_MAX; n++) {
        for (size_t offset = 0; offset <= OFFSET_MAX; offset++) {
            unsigned percent = percents[random_next() % 5];
            bool at_end = offset == OFFSET_MAX; // input and output end at the fence
            uintptr_t *in = (uintptr_t *)(at_end ? in_fence + PAGE - n * 8 : in_fence + offset * 8);
            uintptr_t *out = (uintptr_t *)(out_fence + PAGE - n * 8);
            for (size_t i = 0; i < n; i++)
                in[i] = word_make(percent);
            if (n > 0 && percent == 3)
                in[random_next() & 1 ? 0 : n - 1] = BASE + 8;
            if (n > 0)
                out[-1] = 0x5a5a; // the word before the output stays
            size_t want = model(in, n, BASE, SIZE, expected);
            size_t got = fn(in, n, BASE, SIZE, out);
            cr_assert_eq(got, want, "n=%zu offset=%zu: %zu, not %zu", n, offset, got, want);
            for (size_t i = 0; i < want; i++)
                cr_assert_eq(out[i], expected[i], "n=%zu offset=%zu word %zu", n, offset, i);
            if (n > 0)
                cr_assert_eq(out[-1], 0x5a5a);
        }
    }
    uintptr_t odd[4] = {0, UINTPTR_MAX, (uintptr_t)1 << 63, 5}, out[4];
    cr_assert_eq(fn(odd, 4, 0, SIZE_MAX, out), 3); // a region of almost everything
    cr_assert_eq(fn(odd, 4, 5, 0, out), 0);        // and of nothing
}

Test(words, scalar)
{
    kernel_check(sv_words_filter_scalar);
}

Test(words, avx2)
{
    if (!sv_words_have_avx2())
        cr_skip_test("no AVX2");
    kernel_check(sv_words_filter_avx2);
}

Test(words, avx512)
{
    if (!sv_words_have_avx512())
        cr_skip_test("no AVX-512");
    kernel_check(sv_words_filter_avx512);
}

Test(words, best_is_one_of_them)
{
    sv_words_fn *best = sv_words_best();
    cr_assert(best == sv_words_best());
    if (sv_words_have_avx512())
        cr_assert(best == sv_words_filter_avx512);
    kernel_check(best);
}

Test(words, loose)
{
    char *fence = fenced_map(1);
    uintptr_t *out = malloc(sizeof *out * PAGE);
    for (int round = 0; round < 2000; round++) {
        size_t bytes = random_next() % 64, at = PAGE - bytes;
        unsigned tagbits = (unsigned)(random_next() % 17);
        bool unaligned = random_next() & 1;
        uintptr_t lo = (uintptr_t)fence + at, hi = (uintptr_t)fence + PAGE - random_next() % 3;
        if (hi < lo)
            hi = lo;
        for (size_t i = 0; i < bytes; i++)
            fence[at + i] = (char)random_next();
        for (int k = 0; k < 3 && bytes >= 8; k++) {
            uintptr_t w =
                (BASE + random_next() % SIZE) | (random_next() & 3 ? 0 : random_next() << 48);
            memcpy(fence + at + random_next() % (bytes - 7), &w, 8);
        }
        size_t got = sv_words_filter_loose(lo, hi, tagbits, unaligned, BASE, SIZE, out), want = 0;
        for (uintptr_t p = lo; p + 8 <= hi; p++) {
            uintptr_t w;
            memcpy(&w, (void *)p, 8);
            if (!unaligned && p % 8)
                continue;
            w = tagbits ? w << tagbits >> tagbits : w;
            if (w >= BASE && w < BASE + SIZE) {
                cr_assert_lt(want, got);
                cr_assert_eq(out[want++], w);
            }
        }
        cr_assert_eq(got, want);
    }
    free(out);
}
