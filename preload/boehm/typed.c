// Objects whose pointers a descriptor tells, as far as the collector itself can follow it: lengths,
// bitmaps in the word itself, and shapes. A shape is what doesn't fit into a word: a long bitmap,
// or an array with its elements' bytes and descriptor. Shapes have numbers, are never changed and
// never go away, because markers follow them beside the program without a lock; an array's is found
// again when the same elements are asked for, so there are no more than a program has types.
//
// The word that is taken for a descriptor may be anything: markers look at slots that are just
// being made objects. 0 means the same as the whole object, and a number that no shape has,
// nothing.
#define GC_BUILD
#include "gc/gc_typed.h"

#include <string.h>

#include "export.h"
#include "final.h"
#include "gc/gc_mark.h"
#include "kind.h"
#include "mark.h"
#include "metadata.h"
#include "options.h"

#define WORD sizeof(uint64_t)
#define INLINE_BITS (64u - GC_DS_TAG_BITS)
#define CHUNK 256u
#define CHUNKS 4096u

struct shape {
    size_t element;       // const: bytes of an array's element, 0: a bitmap
    uint64_t descriptor;  // const: an element's
    const uint64_t *bits; // const: a bitmap, lowest bit first
    size_t words;         // const: how many words of it
};

static struct shape *_Atomic chunks[CHUNKS]; // client's lock to write
static _Atomic size_t nshapes;               // client's lock to write, last
static struct sv_table arrays;               // held: by a hash; a: the number of the shape

// ---- shapes -------------------------------------------------------------------------------------

static const struct shape *shape_get(uint64_t descriptor)
{
    uint64_t i = descriptor >> (GC_DS_TAG_BITS + GC_LOG_MAX_MARK_PROCS);
    // acquire pairs with shape_add's release: the shape is complete
    if (i >= atomic_load_explicit(&nshapes, memory_order_acquire))
        return NULL;
    return &atomic_load_explicit(&chunks[i / CHUNK], memory_order_relaxed)[i % CHUNK];
}

static uint64_t shape_descriptor(size_t i)
{
    return GC_MAKE_PROC(SV_PROC_SHAPE, (uint64_t)i);
}

// Lock held. 0: no memory.
static uint64_t shape_add(const struct shape *shape)
{
    size_t i = atomic_load_explicit(&nshapes, memory_order_relaxed);
    if (i == (size_t)CHUNKS * CHUNK)
        return 0;
    struct shape *chunk = atomic_load_explicit(&chunks[i / CHUNK], memory_order_relaxed);
    if (!chunk) {
        chunk = sv_metadata_alloc(CHUNK * sizeof *chunk);
        if (!chunk)
            return 0;
        atomic_store_explicit(&chunks[i / CHUNK], chunk, memory_order_relaxed);
    }
    chunk[i % CHUNK] = *shape;
    atomic_store_explicit(&nshapes, i + 1, memory_order_release);
    return shape_descriptor(i);
}

// The descriptor of arrays of such elements. Lock held. 0: no memory.
static uint64_t array_find(size_t element, uint64_t descriptor)
{
    uintptr_t hash = (descriptor * 0x9e3779b97f4a7c15u ^ element * 0xc2b2ae3d27d4eb4fu) | 1;
    for (;; hash += 16) {
        struct sv_table_entry *e = sv_table_find(&arrays, hash);
        if (!e)
            break;
        uint64_t found = shape_descriptor(e->a);
        const struct shape *shape = shape_get(found);
        if (shape->element == element && shape->descriptor == descriptor)
            return found;
    }
    struct sv_table_entry *e = sv_table_add(&arrays, hash);
    if (!e)
        return 0;
    e->a = atomic_load_explicit(&nshapes, memory_order_relaxed);
    uint64_t made = shape_add(&(struct shape){element, descriptor, NULL, 0});
    if (!made)
        sv_table_remove(&arrays, e);
    return made;
}

static uint64_t bitmap_add(const GC_word *bitmap, size_t bits)
{
    size_t words = (bits + 63) / 64;
    uint64_t *copy = sv_metadata_alloc(words * WORD);
    if (!copy)
        return 0;
    memcpy(copy, bitmap, words * WORD);
    if (bits % 64)
        copy[words - 1] &= ((uint64_t)1 << bits % 64) - 1;
    sv_boehm_lock();
    uint64_t made = shape_add(&(struct shape){0, 0, copy, words});
    sv_boehm_unlock();
    if (!made)
        sv_metadata_free(copy, words * WORD);
    return made;
}

// ---- making descriptors, allocating by them -----------------------------------------------------

SV_EXPORT GC_descr GC_make_descriptor(const GC_word *bitmap, size_t len)
{
    sv_boehm_init();
    while (len > 0 && !GC_get_bit(bitmap, len - 1))
        len--;
    size_t set = 0;
    uint64_t bits = 0; // the first word's bit is the highest
    for (size_t i = 0; i < len; i++) {
        set += GC_get_bit(bitmap, i);
        if (i < INLINE_BITS)
            bits |= (uint64_t)GC_get_bit(bitmap, i) << (63 - i);
    }
    uint64_t whole = len * WORD | GC_DS_LENGTH;
    if (set == len)
        return whole;
    if (len <= INLINE_BITS)
        return bits | GC_DS_BITMAP;
    uint64_t made = bitmap_add(bitmap, len);
    return made ? made : whole;
}

SV_EXPORT void *GC_malloc_explicitly_typed(size_t size, GC_descr descriptor)
{
    return sv_kind_alloc(size, descriptor, SV_KIND_TYPED);
}

SV_EXPORT void *GC_malloc_explicitly_typed_ignore_off_page(size_t size, GC_descr descriptor)
{
    return GC_malloc_explicitly_typed(size, descriptor);
}

SV_EXPORT void *GC_calloc_explicitly_typed(size_t n, size_t size, GC_descr descriptor)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes))
        return sv_boehm_oom(SIZE_MAX);
    if (n <= 1 || descriptor == 0)
        return GC_malloc_explicitly_typed(bytes, descriptor);
    // elements that need a procedure of their own, or that don't lie on words: word by word
    if (!sv_kind_plain(descriptor) || size % WORD || descriptor == (size | GC_DS_LENGTH))
        return GC_malloc(bytes);
    sv_boehm_init();
    sv_boehm_lock();
    uint64_t array = array_find(size, descriptor);
    sv_boehm_unlock();
    return array ? GC_malloc_explicitly_typed(bytes, array) : GC_malloc(bytes);
}

// ---- tracing ------------------------------------------------------------------------------------

// What is to be looked at: the words that start in [lo, hi).
struct part {
    struct sv_marker *m;
    uintptr_t lo, hi;
};

// Words, whole or packed: also those that stand across the part's ends.
static void range_trace(const struct part *part, uintptr_t start, uintptr_t end)
{
    start = part->lo > start ? part->lo - WORD : start;
    end = part->hi < end ? part->hi + WORD : end;
    if (start < end)
        sv_mark_range(part->m, start, end, false);
}

static void bits_trace(const struct part *part, uintptr_t at, uint64_t bits)
{
    for (; bits; bits &= bits - 1) {
        uintptr_t word = at + (unsigned)__builtin_ctzll(bits) * WORD;
        if (word >= part->hi)
            return;
        if (word < part->lo)
            continue;
        if (sv_unlikely(sv_options.tagbits))
            sv_mark_range(part->m, word, word + WORD, false);
        else
            sv_mark_word(part->m, __atomic_load_n((const uintptr_t *)word, __ATOMIC_RELAXED));
    }
}

static uint64_t bits_reverse(uint64_t bits)
{
    uint64_t out = 0;
    for (; bits; bits &= bits - 1)
        out |= (uint64_t)1 << 63 >> __builtin_ctzll(bits);
    return out;
}

static void bitmap_trace(const struct part *part, uintptr_t start, const struct shape *shape)
{
    for (size_t w = part->lo > start ? (part->lo - start) / (64 * WORD) : 0;
         w < shape->words && start + w * 64 * WORD < part->hi; w++)
        bits_trace(part, start + w * 64 * WORD, shape->bits[w]);
}

// What one word says of [start, end), arrays excepted.
static void plain_trace(const struct part *part, uintptr_t start, uintptr_t end,
                        uint64_t descriptor)
{
    const struct shape *shape;
    switch (descriptor & GC_DS_TAGS) {
    case GC_DS_LENGTH:
        range_trace(part, start, end - start > descriptor ? start + descriptor : end);
        break;
    case GC_DS_BITMAP:
        bits_trace(part, start, bits_reverse(descriptor & ~(uint64_t)GC_DS_TAGS));
        break;
    case GC_DS_PROC:
        shape = shape_get(descriptor);
        if (shape && !shape->element)
            bitmap_trace(part, start, shape);
    }
}

static void array_trace(const struct part *part, uintptr_t start, uintptr_t end,
                        const struct shape *shape)
{
    size_t bytes = shape->element;
    if (part->lo > start)
        start += (part->lo - start) / bytes * bytes;
    for (; start < part->hi && end - start >= bytes; start += bytes) {
        struct part element = *part; // an element's words may be fewer than its bitmap's
        element.hi = start + bytes < part->hi ? start + bytes : part->hi;
        plain_trace(&element, start, start + bytes, shape->descriptor);
    }
}

void sv_typed_trace(struct sv_marker *m, uintptr_t start, size_t size, uintptr_t lo, uintptr_t hi,
                    bool marked)
{
    size -= WORD;
    uintptr_t end = start + size;
    uint64_t descriptor = __atomic_load_n((const uint64_t *)end, __ATOMIC_ACQUIRE);
    struct part part = {m, lo, hi < end ? hi : end};
    if (sv_closure_is(descriptor)) {
        range_trace(&part, start, end);
        sv_closure_trace(m, descriptor);
        return;
    }
    if (!marked)
        return;
    bool own = sv_kind_plain(descriptor);
    // Relaxed: who calls procedures set it itself.
    if (!own && __atomic_load_n(&sv_boehm_marker, __ATOMIC_RELAXED) == m)
        sv_kind_reach(start);
    if (descriptor == 0 || (descriptor & GC_DS_TAGS) == GC_DS_PER_OBJECT) {
        range_trace(&part, start, end);
        return;
    }
    const struct shape *shape =
        own && (descriptor & GC_DS_TAGS) == GC_DS_PROC ? shape_get(descriptor) : NULL;
    if (shape && shape->element)
        array_trace(&part, start, end, shape);
    else if (own)
        plain_trace(&part, start, end, descriptor);
}
