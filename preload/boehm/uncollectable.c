// Uncollectable objects: roots until GC_free. Each is an ordinary object with a bit set at its
// start, in bitmaps that are there for the parts of the heap that need them. Setting and clearing
// bits takes no lock; so C++ programs, all of whose objects may be such, don't meet at one.
//
// A cycle goes through the bits once, beside the program. What gets one after that is marked
// already: it was allocated while objects were marked, or a thread held it when its stack was
// looked at. What it points to comes up with its page, which was written.
#define GC_BUILD
#include "uncollectable.h"

#include "export.h"
#include "gc/gc.h"
#include "mark.h"
#include "metadata.h"

#define BATCH 256u

_Atomic(sv_uncollectable_word *) sv_uncollectable[SV_UNCOLLECTABLE_PARTS];

// NULL: no memory. No lock held.
static sv_uncollectable_word *part_make(size_t part)
{
    sv_boehm_lock();
    sv_uncollectable_word *words =
        atomic_load_explicit(&sv_uncollectable[part], memory_order_relaxed);
    if (!words) {
        words = sv_metadata_alloc(SV_UNCOLLECTABLE_WORDS * sizeof *words);
        // release pairs with sv_uncollectable_at's acquire: it is zero
        atomic_store_explicit(&sv_uncollectable[part], words, memory_order_release);
    }
    sv_boehm_unlock();
    return words;
}

// Relaxed: whoever frees the object knows of it by who allocated it, and a cycle that comes by too
// early or too late for the bit finds the object as said above.
void *sv_uncollectable_add(void *p, size_t size)
{
    if (!p)
        return NULL;
    uint64_t bit;
    sv_uncollectable_word *word = sv_uncollectable_at((uintptr_t)p, &bit);
    if (sv_unlikely(!word)) {
        size_t part = sv_page_of((uintptr_t)p) / SV_UNCOLLECTABLE_PAGES;
        if (sv_page_of((uintptr_t)p) >= sv_heap.npages) // the out-of-memory function's
            return p;
        if (!part_make(part)) {
            GC_free(p);
            return sv_boehm_oom(size);
        }
        word = sv_uncollectable_at((uintptr_t)p, &bit);
    }
    atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
    __atomic_fetch_add(&GC_non_gc_bytes, GC_size(p), __ATOMIC_RELAXED);
    return p;
}

SV_EXPORT void *GC_malloc_uncollectable(size_t size)
{
    return sv_uncollectable_add(GC_malloc(size), size);
}

SV_EXPORT void *GC_malloc_atomic_uncollectable(size_t size)
{
    return sv_uncollectable_add(GC_malloc_atomic(size), size);
}

void sv_uncollectable_forget(uintptr_t start)
{
    uint64_t bit;
    sv_uncollectable_word *word = sv_uncollectable_at(start, &bit);
    if (word && atomic_fetch_and_explicit(word, ~bit, memory_order_relaxed) & bit)
        __atomic_fetch_sub(&GC_non_gc_bytes, GC_size((void *)start), __ATOMIC_RELAXED);
}

// ---- in a cycle ---------------------------------------------------------------------------------

// Addresses on their way to the marker. As a range of words they are looked at many at a time,
// which one by one would each wait for memory.
struct batch {
    struct sv_marker *m;
    unsigned n;
    uintptr_t words[BATCH];
};

static void batch_mark(struct batch *b)
{
    sv_mark_range(b->m, (uintptr_t)b->words, (uintptr_t)(b->words + b->n), false);
    b->n = 0;
}

static void word_hold(struct batch *b, uintptr_t start, uint64_t bits)
{
    for (; bits; bits &= bits - 1) {
        b->words[b->n++] = start + (unsigned)__builtin_ctzll(bits) * SV_ALIGN;
        if (b->n == BATCH)
            batch_mark(b);
    }
}

void sv_uncollectable_hold(struct sv_marker *m)
{
    struct batch b = {.m = m};
    uint32_t pages = __atomic_load_n(&sv_heap.grown, __ATOMIC_RELAXED);
    for (uint32_t page = 0; page < pages; page += SV_UNCOLLECTABLE_PAGES) {
        sv_uncollectable_word *words = atomic_load_explicit(
            &sv_uncollectable[page / SV_UNCOLLECTABLE_PAGES], memory_order_acquire);
        for (size_t w = 0; words && w < SV_UNCOLLECTABLE_WORDS; w++)
            word_hold(&b, sv_page_addr(page) + w * 64 * SV_ALIGN,
                      atomic_load_explicit(&words[w], memory_order_relaxed));
    }
    batch_mark(&b);
}
