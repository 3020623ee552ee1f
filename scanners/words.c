// Which words of a range look like pointers into the heap: the innermost loop of marking. The heap
// is one region, so the question is one subtraction and one unsigned comparison a word. The answers
// are compacted without a branch, because a branch a word is mispredicted as soon as hits are mixed
// with misses: 8.5 ns a word against 2 (a quarter of the words hitting, memory cold). Vector
// kernels stand in words_x86_64.c; the one that suits the processor is picked once.
//
// Where a pointer may start at every fourth byte, one pass looks at both phases of each line: the
// second comes from the nearest cache and hardly ever hits.
//
// Invariant: every kernel gives the same words (those of one phase in the same order), writes only
// to the room that `out` is promised to have, and reads only the words it was given, or the lines
// that they lie in. Nothing here follows a word that it found.
#include "scanners.h"

#include <stdatomic.h>

typedef uintptr_t word_anywhere __attribute__((aligned(1), may_alias));

size_t sv_words_filter_scalar(const uintptr_t *words, size_t n, uintptr_t base, size_t size,
                              uintptr_t *out)
{
    size_t found = 0;
    for (size_t i = 0; i < n; i++) {
        uintptr_t w = words[i];
        out[found] = w; // found <= i: the place is ours, and overwritten if this word is no hit
        found += (w - base) < size;
    }
    return found;
}

size_t sv_halves_filter_scalar(uintptr_t lo, uintptr_t hi, uintptr_t base, size_t size,
                               uintptr_t *out)
{
    size_t found = 0;
    for (; hi - lo >= sizeof(uintptr_t); lo += sizeof(uintptr_t) / 2) {
        uintptr_t w = *(const word_anywhere *)lo;
        out[found] = w;
        found += (w - base) < size;
    }
    return found;
}

// The widest vectors of this processor, in words; asking the processor traps under a hypervisor,
// hence the memory. Racing first callers store the same answer. May be called from any context.
static unsigned lanes_best(void)
{
    static _Atomic unsigned chosen;
    unsigned lanes = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (lanes)
        return lanes;
    lanes = sv_words_have_avx512() ? 8 : sv_words_have_avx2() ? 4 : 1;
    atomic_store_explicit(&chosen, lanes, memory_order_relaxed);
    return lanes;
}

sv_words_fn *sv_words_best(void)
{
    unsigned lanes = lanes_best();
    return lanes == 8   ? sv_words_filter_avx512
           : lanes == 4 ? sv_words_filter_avx2
                        : sv_words_filter_scalar;
}

sv_halves_fn *sv_halves_best(void)
{
    unsigned lanes = lanes_best();
    return lanes == 8   ? sv_halves_filter_avx512
           : lanes == 4 ? sv_halves_filter_avx2
                        : sv_halves_filter_scalar;
}

// A tagged word is written to `out` as the address it stands for: its ignored bits are base's. A
// region that is not aligned to 2^(64 - tagbits) bytes keeps one value there, as user addresses do.
size_t sv_words_filter_loose(uintptr_t lo, uintptr_t hi, unsigned tagbits, bool unaligned,
                             uintptr_t base, size_t size, uintptr_t *out)
{
    uintptr_t step = unaligned ? 1 : sizeof(uintptr_t);
    uintptr_t kept = ~(uintptr_t)0 >> tagbits;
    uintptr_t top = base & ~kept;
    size_t found = 0;
    uintptr_t at = (lo + step - 1) & ~(step - 1);
    if (hi < sizeof(uintptr_t) || at < lo)
        return 0;
    for (; at <= hi - sizeof(uintptr_t); at += step) {
        uintptr_t w = (*(const word_anywhere *)at & kept) | top;
        out[found] = w;
        found += (w - base) < size;
    }
    return found;
}
