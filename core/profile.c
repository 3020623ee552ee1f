// Words beside the spans. A span's words are an array of the collector's own memory, made when one
// of its objects is recorded first, and named by a table indexed by the span's first page, in two
// steps. So a span of eight slots costs 64 bytes, and one without a recorded object nothing. (Words
// at places computed from the address alone would touch a page of memory for each page of objects.)
//
// A word is written by the thread that allocates the object, before anybody else knows it, and is
// left alone when the object is freed: whether a slot is in use, the alloc bit tells. It is
// overwritten when the slot is taken again. Under `sample` slots are taken again without anybody's
// noticing; therefore a small object that is to be recorded gets a span of its own, as large ones
// do, and its word is cleared with it. The cost is one page of 8 KiB for each `sample` bytes.
//
// Sampling: a Poisson process over the bytes of all slots given out is the sum of independent ones,
// one for each thread and class. So each bin of a thread has a gap, the number of slots until the
// next recorded one, drawn from the geometric distribution; cache.c sees to it that the fast path
// gives out no more than that. A large object is decided by itself, by the same probability.
#include "profile.h"

#include "arch.h"
#include "core.h"
#include "leaks.h"
#include "metadata.h"
#include "options.h"
#include "os.h"
#include "pagemap.h"
#include "sites.h"
#include "span.h"
#include "worker.h"

#define LEAF_SHIFT 12 // pages of a leaf of the table, as a power of two
#define PAGES_MAX ((size_t)1 << 27)
#define WHEN_TICK 100000000u // nanoseconds
#define FIELD(word, shift, bits) (((word) >> (shift)) & (((uint64_t)1 << (bits)) - 1))
#define SLACK_SHIFT SV_PROFILE_STACK_BITS
#define WHEN_SHIFT (SLACK_SHIFT + SV_PROFILE_SLACK_BITS)
_Static_assert(WHEN_SHIFT + SV_PROFILE_WHEN_BITS == SV_PROFILE_STATE_SHIFT, "64 bits");

bool sv_profile_on;
bool sv_profile_all;
bool sv_profile_sampling;
void (*sv_profile_freed)(void *object, uint64_t word);

typedef _Atomic(sv_profile_word *) span_words; // of a span's slots, NULL: none is recorded

static struct {
    _Atomic(span_words *) leaves[PAGES_MAX >> LEAF_SHIFT]; // metadata lock to write
    uint64_t start;                                        // const: nanoseconds
    double per_byte;                                       // const: 1 / sample
} profile;

void sv_profile_init(void)
{
    bool off = sv_options.mode == SV_MODE_OFF;
    sv_profile_all = sv_options.mode == SV_MODE_LEAKS && !sv_options.sample;
    sv_profile_sampling = !off && sv_options.sample;
    sv_profile_on = sv_profile_all || sv_profile_sampling;
    profile.start = sv_os_now_coarse();
    profile.per_byte = sv_options.sample ? 1.0 / (double)sv_options.sample : 0;
}

// ---- words --------------------------------------------------------------------------------------

struct slot {      // where an object's word is found
    uint32_t page; // first of its span
    unsigned index;
    size_t bytes;
};

static inline struct slot slot_of(const void *p)
{
    uint32_t page = (uint32_t)sv_page_of((uintptr_t)p);
    sv_pagemap_entry e = sv_pagemap_get(page);
    const struct sv_class *class = &sv_classes[sv_code_class(sv_pagemap_code(e))];
    uint32_t first = sv_pagemap_first(page, e);
    uint32_t offset = (uint32_t)((uintptr_t)p - sv_page_addr(first));
    size_t bytes =
        sv_likely(class->magic != 0) ? class->size : sv_span_slot_size(sv_span_at(first));
    return (struct slot){first, sv_slot_of(offset, class->magic), bytes};
}

// NULL: there is no leaf yet.
static inline span_words *words_at(uint32_t page)
{
    // acquire pairs with the release in leaf_make
    span_words *leaf =
        atomic_load_explicit(&profile.leaves[page >> LEAF_SHIFT], memory_order_acquire);
    return sv_likely(leaf != NULL) ? &leaf[page & ((1u << LEAF_SHIFT) - 1)] : NULL;
}

static inline sv_profile_word *word_find(const struct slot *slot)
{
    span_words *at = words_at(slot->page);
    // acquire pairs with the release in word_make: zeroes are there before it is named
    sv_profile_word *words = at ? atomic_load_explicit(at, memory_order_acquire) : NULL;
    return sv_likely(words != NULL) ? &words[slot->index] : NULL;
}

static void leaf_make(uint32_t page)
{
    _Atomic(span_words *) *at = &profile.leaves[page >> LEAF_SHIFT];
    sv_metadata_lock();
    if (!atomic_load_explicit(at, memory_order_relaxed))
        atomic_store_explicit(at, sv_metadata_alloc_held(sizeof(span_words) << LEAF_SHIFT),
                              memory_order_release);
    sv_metadata_unlock();
}

// NULL: memory is short, or a signal handler interrupted who makes some.
__attribute__((noinline)) static sv_profile_word *word_make(const struct slot *slot)
{
    if (sv_metadata_locked_here())
        return NULL;
    if (!words_at(slot->page))
        leaf_make(slot->page);
    span_words *at = words_at(slot->page);
    if (!at)
        return NULL;
    const struct sv_span *span = sv_span_at(slot->page);
    sv_metadata_lock();
    if (!atomic_load_explicit(at, memory_order_relaxed))
        atomic_store_explicit(at, sv_metadata_alloc_held(span->nslots * sizeof(sv_profile_word)),
                              memory_order_release);
    sv_metadata_unlock();
    return word_find(slot);
}

sv_profile_word *sv_profile_word_of(const void *p)
{
    struct slot slot = slot_of(p);
    sv_profile_word *word = word_find(&slot);
    return word && atomic_load_explicit(word, memory_order_relaxed) ? word : NULL;
}

bool sv_profile_read(uint64_t word, size_t slot_bytes, struct sv_profile_site *out)
{
    if (!word)
        return false;
    size_t slack = FIELD(word, SLACK_SHIFT, SV_PROFILE_SLACK_BITS) + 1;
    out->stack = (uint32_t)FIELD(word, 0, SV_PROFILE_STACK_BITS);
    out->when = (uint32_t)FIELD(word, WHEN_SHIFT, SV_PROFILE_WHEN_BITS);
    out->bytes = slot_bytes > slack ? slot_bytes - slack : 0;
    return true;
}

static uint64_t slack_field(size_t slot_bytes, size_t bytes)
{
    uint64_t slack = slot_bytes - bytes - 1, most = ((uint64_t)1 << SV_PROFILE_SLACK_BITS) - 1;
    return (slack < most ? slack : most) << SLACK_SHIFT;
}

uint32_t sv_profile_now(void)
{
    // from 1 on, so that no word of an object is 0
    uint64_t when = (sv_os_now_coarse() - profile.start) / WHEN_TICK + 1;
    uint64_t most = ((uint64_t)1 << SV_PROFILE_WHEN_BITS) - 1;
    return (uint32_t)(when < most ? when : most);
}

void sv_profile_record(void *p, size_t bytes, uint32_t stack)
{
    struct slot slot = slot_of(p);
    sv_profile_word *word = word_find(&slot);
    if (sv_unlikely(!word) && !(word = word_make(&slot)))
        return;
    if (sv_unlikely(sv_leaks_ignoring) && sv_worker_here()) {
        // what libc allocates for a worker that starts another: not even for a moment is it a
        // program's, for a worker doesn't stop, and its registers are no roots
        atomic_store_explicit(word, 0, memory_order_relaxed);
        return;
    }
    uint64_t when = sv_profile_now();
    atomic_store_explicit(word, stack | slack_field(slot.bytes, bytes) | when << WHEN_SHIFT,
                          memory_order_relaxed);
    if (sv_unlikely(sv_leaks_ignoring))
        sv_leaks_ignore(p);
    else if (sv_profile_sampling)
        sv_sites_allocated(stack, bytes);
}

void sv_profile_resize(void *p, size_t bytes)
{
    struct slot slot = slot_of(p);
    sv_profile_word *word = word_find(&slot);
    uint64_t old = word ? atomic_load_explicit(word, memory_order_relaxed) : 0;
    uint64_t mask = (((uint64_t)1 << SV_PROFILE_SLACK_BITS) - 1) << SLACK_SHIFT;
    if (old)
        atomic_store_explicit(word, (old & ~mask) | slack_field(slot.bytes, bytes),
                              memory_order_relaxed);
}

void sv_profile_leave(void *p)
{
    struct slot slot = slot_of(p);
    sv_profile_word *word = word_find(&slot);
    const uint64_t state = ~(uint64_t)0 << SV_PROFILE_STATE_SHIFT;
    if (sv_likely(!word || !(atomic_load_explicit(word, memory_order_relaxed) & state)))
        return;
    uint64_t old = atomic_fetch_and_explicit(word, ~state, memory_order_relaxed);
    if ((old & state) && sv_profile_freed)
        sv_profile_freed(p, old);
}

void sv_profile_forget(const void *p)
{
    struct slot slot = slot_of(p);
    sv_profile_word *word = word_find(&slot);
    if (word)
        atomic_store_explicit(word, 0, memory_order_relaxed);
}

void sv_profile_drop(uint32_t page)
{
    span_words *at = words_at(page);
    sv_profile_word *words = at ? atomic_load_explicit(at, memory_order_relaxed) : NULL;
    if (!words)
        return;
    atomic_store_explicit(at, NULL, memory_order_relaxed);
    sv_metadata_free(words, sv_span_at(page)->nslots * sizeof *words);
}

// ---- sampling -----------------------------------------------------------------------------------

// Uniform over (0, 1]; a state for each thread.
static double uniform(void)
{
    static __thread uint64_t state __attribute__((tls_model("initial-exec")));
    if (!state)
        state = sv_os_random();
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)((state >> 11) + 1) * 0x1p-53;
}

// The natural logarithm of x in (0, 2), within 1e-6: the exponent, and the series of the area
// tangent for the rest, which lies between sqrt(1/2) and sqrt(2).
static double logarithm(double x)
{
    union {
        double d;
        uint64_t u;
    } v = {.d = x};
    int e = (int)(v.u >> 52) - 1023;
    v.u = (v.u & 0xfffffffffffffu) | 0x3ff0000000000000u;
    if (v.d > 1.4142135623730951) {
        v.d *= 0.5;
        e++;
    }
    double s = (v.d - 1) / (v.d + 1), q = s * s;
    return 0.6931471805599453 * e +
           2 * s * (1 + q * (1.0 / 3 + q * (1.0 / 5 + q * (1.0 / 7 + q * (1.0 / 9)))));
}

// Bytes from one recorded byte to the next.
static double gap_bytes(void)
{
    return -logarithm(uniform()) / profile.per_byte;
}

bool sv_profile_due(size_t bytes)
{
    return gap_bytes() < (double)bytes;
}

uint32_t sv_profile_gap(size_t slot_bytes)
{
    double slots = gap_bytes() / (double)slot_bytes;
    return slots < 4e9 ? (uint32_t)slots : 4000000000u;
}
