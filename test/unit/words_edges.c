// The word kernels where marking strains them: words at odd addresses, regions at the ends of the
// address space, lengths around a kernel's stride with hits only at its edges, and output that must
// not reach past the hits' room. Everything against a plain loop.
#include "scanners.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 4096, WORDS_MAX = 128 };

static const struct {
    const char *name;
    sv_words_fn *fn;
    bool (*have)(void);
} kernels[] = {{"scalar", sv_words_filter_scalar, NULL},
               {"avx2", sv_words_filter_avx2, sv_words_have_avx2},
               {"avx512", sv_words_filter_avx512, sv_words_have_avx512}};

#define EACH_KERNEL(k)                                                                             \
    for (unsigned k = 0; k < sizeof kernels / sizeof *kernels; k++)                                \
        if (!kernels[k].have || kernels[k].have())

static uint64_t seed = 0x853c49e6748fea9b;

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

// One usable page between two that fault.
static char *fenced_map(void)
{
    char *p = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(p != MAP_FAILED && mprotect(p + PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
    return p + PAGE;
}

static uintptr_t word_at(const char *p)
{
    uintptr_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

// Runs one kernel over n words at `in`, any address, with the least room that its output may need.
static void check(unsigned k, const char *in, size_t n, uintptr_t base, size_t size, char *fence)
{
    uintptr_t want[WORDS_MAX];
    size_t hits = 0;
    uintptr_t *out = (uintptr_t *)(fence + PAGE) - n;
    for (size_t i = 0; i < n; i++)
        if (word_at(in + 8 * i) - base < size)
            want[hits++] = word_at(in + 8 * i);
    size_t got = kernels[k].fn((const uintptr_t *)in, n, base, size, out);
    cr_assert(got == hits, "%s: %zu words at %p in %lx+%zx: %zu, not %zu", kernels[k].name, n,
              (const void *)in, base, size, got, hits);
    for (size_t i = 0; i < hits; i++)
        // cppcheck-suppress uninitvar ; i < hits: it is set
        cr_assert(out[i] == want[i], "%s: hit %zu of %zu", kernels[k].name, i, hits);
}

// Marking looks at every fourth byte, and in code at every one.
Test(words_edges, odd_addresses)
{
    static const uintptr_t base = (uintptr_t)0x12 << 40;
    static const size_t size = (size_t)1 << 40;
    char *in = fenced_map(), *out = fenced_map();
    EACH_KERNEL(k)
    {
        for (size_t n = 0; n <= WORDS_MAX; n++) {
            for (unsigned shift = 0; shift < 8; shift++) {
                for (size_t i = 0; i < PAGE; i++)
                    in[i] = (char)random_next();
                for (size_t i = 0; i < 20; i++) {
                    uintptr_t w = base + random_next() % size;
                    memcpy(in + random_next() % (PAGE - 8), &w, sizeof w);
                }
                check(k, in + shift, n, base, size, out);
                check(k, in + PAGE - shift - 8 * n, n, base, size, out);
            }
        }
    }
}

// One hit alone, at each place of each length: no lane is forgotten, none is counted twice.
Test(words_edges, each_lane)
{
    static const uintptr_t base = (uintptr_t)0x12 << 40;
    char *in = fenced_map(), *out = fenced_map();
    EACH_KERNEL(k)
    {
        for (size_t n = 1; n <= WORDS_MAX; n++) {
            uintptr_t *words = (uintptr_t *)(in + PAGE) - n;
            for (size_t hit = 0; hit < n; hit++) {
                memset(words, 0, n * sizeof *words);
                words[hit] = base + hit;
                check(k, (char *)words, n, base, WORDS_MAX, out);
                memset(words, 0xff, n * sizeof *words);
                words[hit] = base;
                check(k, (char *)words, n, base, 1, out);
            }
        }
    }
}

// The comparison is unsigned and wraps, wherever the region lies.
Test(words_edges, regions_anywhere)
{
    static const uintptr_t top = (uintptr_t)1 << 63;
    static const uintptr_t bases[] = {
        0, 1, 8192, top - 1, top, top + 1, top / 2, 0 - (uintptr_t)8192, UINTPTR_MAX};
    static const size_t sizes[] = {0, 1, 2, 8192, (size_t)1 << 40, (size_t)1 << 63, SIZE_MAX};
    char *in = fenced_map(), *out = fenced_map();
    uintptr_t *words = (uintptr_t *)in;
    EACH_KERNEL(k)
    {
        for (unsigned b = 0; b < sizeof bases / sizeof *bases; b++) {
            for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) {
                uintptr_t lo = bases[b], hi = lo + sizes[s];
                for (size_t i = 0; i < 64; i++) {
                    uintptr_t near[] = {lo, hi, 0, top, lo + sizes[s] / 2, random_next()};
                    words[i] = near[random_next() % 6] + random_next() % 3 - 1;
                }
                for (size_t n = 0; n <= 64; n += 7)
                    check(k, in, n, lo, sizes[s], out);
            }
        }
    }
}

// What the input was is left alone.
Test(words_edges, input_is_not_written)
{
    char *in = fenced_map(), *out = fenced_map();
    for (size_t i = 0; i < PAGE; i++)
        in[i] = (char)random_next();
    cr_assert(mprotect(in, PAGE, PROT_READ) == 0);
    EACH_KERNEL(k)
    check(k, in, WORDS_MAX, (uintptr_t)1 << 62, (size_t)1 << 62, out);
}

// The loose filter on ranges shorter than a word, and words that stick out of a range.
Test(words_edges, loose_takes_whole_words_only)
{
    static const uintptr_t base = (uintptr_t)0x12 << 40;
    char *in = fenced_map();
    uintptr_t out[64];
    uintptr_t word = base + 5;
    for (size_t at = 0; at <= 32; at++) {
        memset(in + PAGE - 64, 0, 64);
        memcpy(in + PAGE - 64 + at, &word, sizeof word);
        uintptr_t p = (uintptr_t)(in + PAGE - 64 + at);
        for (int before = 0; before < 10; before++) {
            for (int after = 0; after < 18; after++) {
                size_t n = sv_words_filter_loose(p - before, p + after, 0, true, base, 64, out);
                cr_assert(n == (after >= 8), "%d bytes before, %d after", before, after);
                cr_assert(n == 0 || out[0] == word);
            }
        }
    }
}

// Every tag of every width, and the word's own bits below them.
Test(words_edges, loose_ignores_tags)
{
    static const uintptr_t base = (uintptr_t)0x12 << 40;
    static const size_t size = (size_t)1 << 40;
    for (unsigned tagbits = 0; tagbits <= 16; tagbits++) {
        for (uintptr_t tag = 0; tag < (uintptr_t)1 << 16; tag += 1 + tag % 7) {
            uintptr_t at = base + random_next() % size, out[8];
            uintptr_t word = at | tag << 48, low = ~(uintptr_t)0 >> tagbits;
            size_t n = sv_words_filter_loose((uintptr_t)&word, (uintptr_t)(&word + 1), tagbits,
                                             false, base, size, out);
            bool hit = (word & low) == at;
            cr_assert(n == hit && (!hit || out[0] == at), "%u bits, word %lx", tagbits, word);
        }
    }
}

// ---- words at every fourth byte -----------------------------------------------------------------

static const struct {
    const char *name;
    sv_halves_fn *fn;
    bool (*have)(void);
} halves[] = {{"scalar", sv_halves_filter_scalar, NULL},
              {"avx2", sv_halves_filter_avx2, sv_words_have_avx2},
              {"avx512", sv_halves_filter_avx512, sv_words_have_avx512}};

#define EACH_HALVES(k)                                                                             \
    for (unsigned k = 0; k < sizeof halves / sizeof *halves; k++)                                  \
        if (!halves[k].have || halves[k].have())

static int word_compare(const void *a, const void *b)
{
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return x < y ? -1 : x > y;
}

// The same words as a plain loop finds, in any order, with the least room for output.
static void halves_check(unsigned k, const char *lo, const char *hi, uintptr_t base, size_t size,
                         char *fence)
{
    static uintptr_t want[PAGE];
    size_t room = (size_t)(hi - lo) / 4 + SV_HALVES_SLACK, hits = 0;
    uintptr_t *out = (uintptr_t *)(fence + PAGE) - room;
    for (const char *p = lo; p + 8 <= hi; p += 4)
        if (word_at(p) - base < size)
            want[hits++] = word_at(p);
    if (out > (uintptr_t *)fence)
        out[-1] = 0x5a5a;
    size_t got = halves[k].fn((uintptr_t)lo, (uintptr_t)hi, base, size, out);
    cr_assert(got == hits, "%s: %zd bytes at %p in %lx+%zx: %zu, not %zu", halves[k].name, hi - lo,
              (const void *)lo, base, size, got, hits);
    cr_assert(out == (uintptr_t *)fence || out[-1] == 0x5a5a);
    qsort(want, hits, sizeof *want, word_compare);
    qsort(out, got, sizeof *out, word_compare);
    for (size_t i = 0; i < hits; i++)
        cr_assert(out[i] == want[i], "%s: hit %zu of %zu", halves[k].name, i, hits);
}

// Every length up to several lines at every place in a line and at the fences, with few hits,
// and with so many that words at every fourth byte overlap as hits.
Test(words_edges, halves_anywhere)
{
    static const uintptr_t base = (uintptr_t)0x12 << 40;
    char *in = fenced_map(), *out = fenced_map();
    for (int round = 0; round < 6; round++) {
        size_t size = round < 3 ? (size_t)1 << 40 : round == 5 ? SIZE_MAX : (size_t)3 << 60;
        for (size_t i = 0; i < PAGE; i++)
            in[i] = (char)random_next();
        for (size_t i = 0; round < 3 && i < 40u << (2 * round); i++) {
            uintptr_t w = base + random_next() % size;
            memcpy(in + random_next() % (PAGE / 4 - 1) * 4, &w, sizeof w);
        }
        EACH_HALVES(k)
        {
            for (size_t bytes = 0; bytes <= 340; bytes += 4) {
                for (size_t at = 0; at < 68; at += 4) {
                    size_t middle = random_next() % 900 * 4 + at;
                    halves_check(k, in + at, in + at + bytes, base, size, out);
                    halves_check(k, in + PAGE - at - bytes, in + PAGE - at, base, size, out);
                    if (middle + bytes <= PAGE)
                        halves_check(k, in + middle, in + middle + bytes, base, size, out);
                }
            }
            halves_check(k, in, in + PAGE / 4, base, size, out);
        }
    }
}

// One hit alone at each place: in both phases, across lines, at the range's ends and just outside.
Test(words_edges, halves_each_place)
{
    static const uintptr_t base = (uintptr_t)0x12 << 40;
    char *in = fenced_map(), *out = fenced_map();
    EACH_HALVES(k)
    {
        for (size_t bytes = 0; bytes <= 264; bytes += 4) {
            for (size_t at = 64; at < 128; at += 4) {
                for (size_t hit = at - 8; hit <= at + bytes; hit += 4) {
                    uintptr_t word = base + hit;
                    memset(in, 0, 512);
                    memcpy(in + hit, &word, sizeof word);
                    halves_check(k, in + at, in + at + bytes, base, WORDS_MAX * 8, out);
                }
            }
        }
    }
}

Test(words_edges, halves_best_is_one_of_them)
{
    sv_halves_fn *best = sv_halves_best();
    cr_assert(best == sv_halves_best());
    cr_assert(!sv_words_have_avx512() || best == sv_halves_filter_avx512);
    cr_assert(sv_words_have_avx512() || !sv_words_have_avx2() || best == sv_halves_filter_avx2);
    cr_assert(sv_words_have_avx2() || best == sv_halves_filter_scalar);
}
