// The vector kernels of words.c for x86-64, and a twin for other processors that only says "no".
// Each function is compiled for its instructions by an attribute, so the library as a whole still
// runs on the oldest x86-64; the have_ functions test every feature that the attribute names, and
// that the system saves those registers (XCR0), or the first use would be
// SIGILL.
//
// Ranges without a single hit are the common case (text, numbers, zeroes), so several vectors are
// compared before the first branch, and nothing is stored for a group without hits.
#include "scanners.h"

#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,popcnt")))
#define AVX512 __attribute__((target("avx512f,popcnt")))

// cpuid and xgetbv by hand: libgcc's test comes with a constructor that every program would run.
struct features {
    bool popcnt, avx2, avx512f;
};

static struct features features_read(void)
{
    struct features f = {false, false, false};
    unsigned a, b, c, d, saved = 0, high;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return f;
    f.popcnt = c & bit_POPCNT;
    if (c & bit_OSXSAVE) // else the system saves none of them
        __asm__ volatile("xgetbv" : "=a"(saved), "=d"(high) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return f;
    f.avx2 = (b & bit_AVX2) && (saved & 0x06) == 0x06;       // XMM, YMM
    f.avx512f = (b & bit_AVX512F) && (saved & 0xe6) == 0xe6; // and masks, ZMM's halves, ZMM16..31
    return f;
}

bool sv_words_have_avx2(void)
{
    struct features f = features_read();
    return f.avx2 && f.popcnt;
}

bool sv_words_have_avx512(void)
{
    struct features f = features_read();
    return f.avx512f && f.popcnt;
}

// compress_table[m]: which 32-bit halves to gather so that the 64-bit lanes set in m come first.
#define LANE(l) 2 * (l), 2 * (l) + 1
#define ROW(a, b, c, d)                                                                            \
    {                                                                                              \
        LANE(a), LANE(b), LANE(c), LANE(d)                                                         \
    }
static const uint32_t compress_table[16][8] __attribute__((aligned(32))) = {
    ROW(0, 0, 0, 0), ROW(0, 0, 0, 0), ROW(1, 0, 0, 0), ROW(0, 1, 0, 0),
    ROW(2, 0, 0, 0), ROW(0, 2, 0, 0), ROW(1, 2, 0, 0), ROW(0, 1, 2, 0),
    ROW(3, 0, 0, 0), ROW(0, 3, 0, 0), ROW(1, 3, 0, 0), ROW(0, 1, 3, 0),
    ROW(2, 3, 0, 0), ROW(0, 2, 3, 0), ROW(1, 2, 3, 0), ROW(0, 1, 2, 3),
};

// Four lanes of hits as bits. AVX2 compares signed numbers only: `shift` is base with the top bit
// flipped and `limit` is size with the top bit flipped, which orders unsigned numbers as signed
// ones.
AVX2 static inline unsigned lanes_test(__m256i w, __m256i shift, __m256i limit)
{
    __m256i below = _mm256_cmpgt_epi64(limit, _mm256_sub_epi64(w, shift));
    return (unsigned)_mm256_movemask_pd(_mm256_castsi256_pd(below));
}

// Stores four words at `out`, the hits first; the caller counts the hits and overwrites the rest.
AVX2 static inline size_t lanes_store(uintptr_t *out, __m256i w, unsigned hits)
{
    __m256i order = _mm256_load_si256((const __m256i *)compress_table[hits]);
    _mm256_storeu_si256((__m256i *)out, _mm256_permutevar8x32_epi32(w, order));
    return (size_t)__builtin_popcount(hits);
}

AVX2 size_t sv_words_filter_avx2(const uintptr_t *words, size_t n, uintptr_t base, size_t size,
                                 uintptr_t *out)
{
    const long long top = (long long)(1ull << 63);
    __m256i shift = _mm256_set1_epi64x((long long)base ^ top);
    __m256i limit = _mm256_set1_epi64x((long long)size ^ top);
    size_t found = 0, i = 0;
    // found <= i throughout, so a store of four words at out + found ends within out[0..n).
    for (; i + 16 <= n; i += 16) {
        const __m256i *p = (const __m256i *)(words + i);
        __m256i a = _mm256_loadu_si256(p), b = _mm256_loadu_si256(p + 1);
        __m256i c = _mm256_loadu_si256(p + 2), d = _mm256_loadu_si256(p + 3);
        unsigned ha = lanes_test(a, shift, limit), hb = lanes_test(b, shift, limit);
        unsigned hc = lanes_test(c, shift, limit), hd = lanes_test(d, shift, limit);
        if ((ha | hb | hc | hd) == 0)
            continue;
        found += lanes_store(out + found, a, ha);
        found += lanes_store(out + found, b, hb);
        found += lanes_store(out + found, c, hc);
        found += lanes_store(out + found, d, hd);
    }
    for (; i < n; i++) {
        uintptr_t w = words[i];
        out[found] = w;
        found += (w - base) < size;
    }
    return found;
}

// 36 bytes hold four words of each phase; 32, the end of most objects, one less of the second.
AVX2 size_t sv_halves_filter_avx2(uintptr_t lo, uintptr_t hi, uintptr_t base, size_t size,
                                  uintptr_t *out)
{
    const long long top = (long long)(1ull << 63);
    __m256i shift = _mm256_set1_epi64x((long long)base ^ top);
    __m256i limit = _mm256_set1_epi64x((long long)size ^ top);
    size_t found = 0;
    for (; hi - lo >= 32; lo += 32) {
        bool last = hi - lo < 36;
        __m256i a = _mm256_loadu_si256((const __m256i *)lo);
        __m256i b = last ? _mm256_permutevar8x32_epi32(a, _mm256_setr_epi32(1, 2, 3, 4, 5, 6, 7, 7))
                         : _mm256_loadu_si256((const __m256i *)(lo + 4));
        unsigned ha = lanes_test(a, shift, limit);
        unsigned hb = lanes_test(b, shift, limit) & (last ? 7 : 15);
        if (ha)
            found += lanes_store(out + found, a, ha);
        if (hb)
            found += lanes_store(out + found, b, hb);
    }
    return found + sv_halves_filter_scalar(lo, hi, base, size, out + found);
}

// Compressing to a register and storing that: the form of VPCOMPRESSQ that writes to memory is ten
// times slower on Zen 4.
AVX512 static inline size_t line_store(uintptr_t *out, __m512i w, __mmask8 hits)
{
    _mm512_storeu_si512(out, _mm512_maskz_compress_epi64(hits, w));
    return (size_t)__builtin_popcount(hits);
}

AVX512 static inline __mmask8 line_test(__m512i w, __m512i base, __m512i size)
{
    return _mm512_cmplt_epu64_mask(_mm512_sub_epi64(w, base), size);
}

AVX512 size_t sv_words_filter_avx512(const uintptr_t *words, size_t n, uintptr_t base, size_t size,
                                     uintptr_t *out)
{
    __m512i vbase = _mm512_set1_epi64((long long)base), vsize = _mm512_set1_epi64((long long)size);
    size_t found = 0, i = 0;
    for (; i + 32 <= n; i += 32) {
        __m512i a = _mm512_loadu_si512(words + i), b = _mm512_loadu_si512(words + i + 8);
        __m512i c = _mm512_loadu_si512(words + i + 16), d = _mm512_loadu_si512(words + i + 24);
        __mmask8 ha = line_test(a, vbase, vsize), hb = line_test(b, vbase, vsize);
        __mmask8 hc = line_test(c, vbase, vsize), hd = line_test(d, vbase, vsize);
        if ((ha | hb | hc | hd) == 0)
            continue;
        found += line_store(out + found, a, ha);
        found += line_store(out + found, b, hb);
        found += line_store(out + found, c, hc);
        found += line_store(out + found, d, hd);
    }
    for (; i < n; i += 8) { // masked: small objects are scanned too, and lie before unmapped pages
        size_t left = n - i < 8 ? n - i : 8;
        __mmask8 some = (__mmask8)((1u << left) - 1);
        __m512i w = _mm512_maskz_loadu_epi64(some, words + i);
        __mmask8 hits = line_test(w, vbase, vsize) & some;
        unsigned count = (unsigned)__builtin_popcount(hits);
        _mm512_mask_storeu_epi64(out + found, (__mmask8)((1u << count) - 1),
                                 _mm512_maskz_compress_epi64(hits, w));
        found += count;
    }
    return found;
}

// Whole lines are read, never one that holds nothing of the range: a masked load across two lines
// waits for both, and the second is often on nobody's way from memory. Words that start in the
// middle of a lane are put together from two lines in registers.
AVX512 size_t sv_halves_filter_avx512(uintptr_t lo, uintptr_t hi, uintptr_t base, size_t size,
                                      uintptr_t *out)
{
    if (hi - lo < 8)
        return 0;
    __m512i vbase = _mm512_set1_epi64((long long)base), vsize = _mm512_set1_epi64((long long)size);
    uintptr_t line = lo & ~(uintptr_t)63;
    unsigned skip = (unsigned)(lo - line), aligned = 0xffu << (skip + 7) / 8,
             between = 0xffu << (skip + 3) / 8;
    size_t found = 0;
    __m512i a = _mm512_load_si512((const void *)line);
    for (; hi - line > 64; line += 64, aligned = between = 0xff) {
        __m512i next = _mm512_load_si512((const void *)(line + 64));
        __m512i b = _mm512_alignr_epi32(next, a, 1);
        unsigned ha = line_test(a, vbase, vsize) & aligned;
        unsigned hb = line_test(b, vbase, vsize) & between;
        if (ha)
            found += line_store(out + found, a, (__mmask8)ha);
        if (hb)
            found += line_store(out + found, b, (__mmask8)hb);
        a = next;
    }
    unsigned left = (unsigned)(hi - line); // 4 to 64
    __m512i b = _mm512_alignr_epi32(a, a, 1);
    aligned &= (1u << left / 8) - 1;
    between &= (1u << (left - 4) / 8) - 1;
    unsigned hb = line_test(b, vbase, vsize) & between;
    found += line_store(out + found, a, line_test(a, vbase, vsize) & (__mmask8)aligned);
    if (hb)
        found += line_store(out + found, b, (__mmask8)hb);
    return found;
}

#else

bool sv_words_have_avx2(void)
{
    return false;
}

bool sv_words_have_avx512(void)
{
    return false;
}

size_t sv_words_filter_avx2(const uintptr_t *words, size_t n, uintptr_t base, size_t size,
                            uintptr_t *out)
{
    return sv_words_filter_scalar(words, n, base, size, out);
}

size_t sv_words_filter_avx512(const uintptr_t *words, size_t n, uintptr_t base, size_t size,
                              uintptr_t *out)
{
    return sv_words_filter_scalar(words, n, base, size, out);
}

size_t sv_halves_filter_avx2(uintptr_t lo, uintptr_t hi, uintptr_t base, size_t size,
                             uintptr_t *out)
{
    return sv_halves_filter_scalar(lo, hi, base, size, out);
}

size_t sv_halves_filter_avx512(uintptr_t lo, uintptr_t hi, uintptr_t base, size_t size,
                               uintptr_t *out)
{
    return sv_halves_filter_scalar(lo, hi, base, size, out);
}

#endif
