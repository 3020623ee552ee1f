// Objects of GC_finalized_malloc: each has a closure, that is called when the object is dead.
//
// They stand in no table. Such an object lies in a traced slot (kind.h) and its descriptor, which
// no program sees, is the closure's address with the top bit set: as a length that is more than any
// object has, so that markers look at all of its words. So to make one costs no more than a typed
// object does, and one that lives costs a bit.
//
// What a dead object points to outlives it, other such objects included: those are found in a later
// cycle. When a cycle has marked what roots lead to, and the program still runs, the spans of
// traced slots are walked over: the objects that aren't marked by then are noted, 64 slots in a
// word of bits, and their words are looked at as if they were. What the program writes into one of
// them after that is looked at again, as in marked objects (sv_closure_is in sv_typed_trace). So
// the stop that ends the cycle looks at no object: of those noted, the dead are the ones that still
// have no mark.
//
// None in the queue points to another, so each is freed when its closure has been called, at a
// safe point, by one thread at a time. What is queued is a root.
#define GC_BUILD
#include "alloc.h"
#include "boehm.h"
#include "cache.h"
#include "export.h"
#include "final.h"
#include "gc/gc.h"
#include "gc/gc_disclaim.h"
#include "gc/gc_mark.h"
#include "heap.h"
#include "kind.h"
#include "leaks.h"
#include "mark.h"
#include "metadata.h"
#include "os.h"
#include "span.h"
#include "stretch.h"
#include "uncollectable.h"

#define CHUNK 255u              // words of a chunk: 4 KiB
#define FLAGS (SV_CLOSURE | 7u) // of a descriptor: what isn't the closure's address

// Some of 64 neighbouring slots.
struct slots {
    uint32_t page;         // held: the first of their span
    uint32_t word;         // held: which of its words of bits
    _Atomic uint64_t bits; // held; those that are being told, by anyone, relaxed: 1: not yet freed
};

struct chunk {
    struct chunk *next;          // held
    uint32_t n;                  // held: words there are
    uint32_t at;                 // held: of them, taken
    struct slots objects[CHUNK]; // held
};

struct chunks {
    struct chunk *first, *last; // held
};

static struct {
    bool used;            // anyone, relaxed: there are such objects
    struct chunks noted;  // held: in a cycle, those that weren't marked when the program still ran
    struct chunks queue;  // held
    struct slots telling; // held to set: those whose closures are being called
    int busy;             // held: the process in which a thread is calling closures
} closures;

_Atomic bool sv_closure_queued;

// ---- lists --------------------------------------------------------------------------------------

static void chunks_append(struct chunks *to, struct chunk *c)
{
    c->next = NULL;
    *(to->last ? &to->last->next : &to->first) = c;
    to->last = c;
}

static struct chunk *chunks_take(struct chunks *from)
{
    struct chunk *c = from->first;
    if (c && !(from->first = c->next))
        from->last = NULL;
    return c;
}

static void chunks_free(struct chunks *list, bool stopped)
{
    for (struct chunk *c; (c = chunks_take(list));) {
        if (stopped)
            sv_metadata_free_held(c, sizeof *c);
        else
            sv_metadata_free(c, sizeof *c);
    }
}

// Short of memory, the objects wait for a later cycle. Held; `stopped`: metadata's lock is, too.
static void chunks_add(struct chunks *to, bool stopped, uint32_t page, uint32_t word, uint64_t bits)
{
    if (!to->last || to->last->n == CHUNK) {
        struct chunk *c =
            stopped ? sv_metadata_alloc_held(sizeof *c) : sv_metadata_alloc(sizeof *c);
        if (!c)
            return;
        chunks_append(to, c);
    }
    struct slots *s = &to->last->objects[to->last->n++];
    s->page = page;
    s->word = word;
    atomic_store_explicit(&s->bits, bits, memory_order_relaxed);
}

// ---- objects ------------------------------------------------------------------------------------

__attribute__((noinline)) static void *finalized_slow(size_t size, uint64_t descriptor)
{
    sv_boehm_poll();
    if (sv_unlikely(!sv_boehm_ready))
        sv_boehm_init();
    __atomic_store_n(&closures.used, true, __ATOMIC_RELAXED);
    void *p = sv_heap_alloc_traced(size, descriptor);
    if (p && sv_unlikely(!sv_object_leaks()))
        return sv_uncollectable_add(p, size);
    return p ? p : sv_boehm_oom(size);
}

SV_EXPORT void *GC_finalized_malloc(size_t size, const struct GC_finalizer_closure *closure)
{
    uint64_t descriptor = (uintptr_t)closure | SV_CLOSURE;
    if (sv_unlikely(atomic_load_explicit(&sv_boehm_due, memory_order_relaxed) ||
                    !__atomic_load_n(&closures.used, __ATOMIC_RELAXED)))
        return finalized_slow(size, descriptor);
    void *p = sv_object_traced(size, descriptor);
    return sv_likely(p != NULL) ? p : finalized_slow(size, descriptor);
}

// All is ready always.
SV_EXPORT void GC_init_finalized_malloc(void)
{
    sv_boehm_init();
}

static uint64_t *descriptor_at(uintptr_t start, size_t slot)
{
    return (uint64_t *)(start + slot) - 1;
}

void sv_closure_trace(struct sv_marker *m, uint64_t descriptor)
{
    uintptr_t closure = (uintptr_t)(descriptor & ~FLAGS);
    if (sv_unlikely(sv_registry_in_heap(closure))) // few are
        sv_mark_word(m, closure);
}

// The bit of the slot at `start` is taken from the queue: if there is such an object, it is freed.
static void slots_forget(struct slots *s, uint32_t page, unsigned slot)
{
    if (s->page == page && s->word == slot / 64)
        atomic_fetch_and_explicit(&s->bits, ~((uint64_t)1 << slot % 64), memory_order_relaxed);
}

void sv_closure_forget(uintptr_t start)
{
    struct sv_mark_place at;
    if (!sv_mark_find(start, &at) || !sv_code_traced(at.span->code) ||
        !sv_closure_is(*descriptor_at(at.start, sv_span_slot_size(at.span))))
        return;
    uint32_t page = (uint32_t)(at.span - sv_heap.spans);
    unsigned slot =
        (unsigned)(at.bits - sv_span_bits(at.span)) * 64 + (unsigned)__builtin_ctzll(at.bit);
    slots_forget(&closures.telling, page, slot);
    for (struct chunk *c = closures.queue.first; c; c = c->next)
        for (uint32_t i = c->at; i < c->n; i++)
            slots_forget(&c->objects[i], page, slot);
}

// ---- in a cycle ---------------------------------------------------------------------------------

static uintptr_t slots_start(const struct slots *s, size_t size)
{
    return sv_page_addr(s->page) + (size_t)s->word * 64 * size;
}

static void slots_hold(struct sv_marker *m, const struct slots *s)
{
    uintptr_t words[64];
    unsigned n = 0;
    uint64_t bits = atomic_load_explicit(&s->bits, memory_order_relaxed);
    size_t size = bits ? sv_span_slot_size(sv_span_at(s->page)) : 0;
    for (; bits; bits &= bits - 1)
        words[n++] = slots_start(s, size) + (unsigned)__builtin_ctzll(bits) * size;
    sv_mark_range(m, (uintptr_t)words, (uintptr_t)(words + n), false);
}

void sv_closure_hold(struct sv_marker *m)
{
    for (const struct chunk *c = closures.queue.first; c; c = c->next)
        for (uint32_t i = c->at; i < c->n; i++)
            slots_hold(m, &c->objects[i]);
    slots_hold(m, &closures.telling);
}

static void slots_prefetch(uintptr_t base, size_t size, uint64_t slots)
{
    for (; slots; slots &= slots - 1)
        __builtin_prefetch(descriptor_at(base + (unsigned)__builtin_ctzll(slots) * size, size));
}

// Marks what such objects among these slots point to, neighbours as one stretch: the descriptors
// between them are no addresses. Returns which they are.
static uint64_t slots_scan(struct sv_marker *m, uintptr_t base, size_t size, uint64_t slots)
{
    uint64_t found = 0;
    uintptr_t lo = 0, hi = 0;
    slots_prefetch(base, size, slots);
    for (; slots; slots &= slots - 1) {
        uintptr_t start = base + (unsigned)__builtin_ctzll(slots) * size;
        uint64_t descriptor = __atomic_load_n(descriptor_at(start, size), __ATOMIC_ACQUIRE);
        if (!sv_closure_is(descriptor))
            continue;
        sv_closure_trace(m, descriptor);
        found |= slots & -slots;
        if (start != hi) {
            sv_mark_range(m, lo, hi, false);
            lo = start;
        }
        hi = start + size;
    }
    sv_mark_range(m, lo, hi, false);
    return found;
}

static void span_note(struct sv_marker *m, struct sv_span *span, bool stopped)
{
    struct sv_bits *bits = sv_span_bits(span);
    uint32_t page = (uint32_t)(span - sv_heap.spans);
    size_t size = sv_span_slot_size(span);
    for (unsigned w = 0; w < sv_span_words(span); w++) {
        uint64_t slots = atomic_load_explicit(&bits[w].alloc, memory_order_relaxed) &
                         ~atomic_load_explicit(&bits[w].mark, memory_order_relaxed);
        if (slots)
            slots = slots_scan(m, sv_page_addr(page) + w * 64 * size, size, slots);
        if (!slots)
            continue;
        // what is written there is asked for as if they were marked
        sv_stretch_note_span(span);
        if (!stopped)
            sv_boehm_lock();
        chunks_add(&closures.noted, stopped, page, w, slots);
        if (!stopped)
            sv_boehm_unlock();
    }
}

// Beside the program no span is unmade meanwhile, and the record of a new one, of which all is
// marked, is complete.
void sv_closure_dying(struct sv_marker *m, bool stopped)
{
    chunks_free(&closures.noted, stopped);
    if (sv_leaks_on || !__atomic_load_n(&closures.used, __ATOMIC_RELAXED))
        return;
    uint32_t grown = __atomic_load_n(&sv_heap.grown, __ATOMIC_ACQUIRE);
    for (uint32_t page = 1; page < grown;) {
        sv_pagemap_entry e = sv_pagemap_get(page);
        unsigned code = sv_pagemap_code(e);
        if (e && sv_code_traced(code))
            span_note(m, sv_span_at(page), stopped);
        unsigned npages = e ? sv_classes[sv_code_class(code)].pages : 1;
        page += npages ? npages : sv_span_at(page)->npages;
    }
}

// Those noted that are in use and have no mark: another dead one may point to them, or the program
// has freed them and made another object in their place, which is marked.
static void chunk_settle(struct sv_marker *m, struct chunk *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        struct slots *s = &c->objects[i];
        struct sv_span *span = sv_span_at(s->page);
        struct sv_bits *bits = &sv_span_bits(span)[s->word];
        uint64_t dead = atomic_load_explicit(&s->bits, memory_order_relaxed) &
                        atomic_load_explicit(&bits->alloc, memory_order_relaxed) &
                        ~atomic_load_explicit(&bits->mark, memory_order_relaxed);
        if (!dead)
            continue;
        sv_mark_slots(m, span, bits, dead); // what they point to is marked
        c->objects[n].page = s->page;
        c->objects[n].word = s->word;
        atomic_store_explicit(&c->objects[n++].bits, dead, memory_order_relaxed);
    }
    c->n = n;
}

void sv_closure_settle(struct sv_marker *m)
{
    for (struct chunk *c = closures.noted.first; c; c = c->next)
        chunk_settle(m, c);
}

void sv_closure_commit(void)
{
    for (struct chunk *c; (c = chunks_take(&closures.noted));)
        chunks_append(&closures.queue, c);
    if (closures.queue.first) {
        atomic_store_explicit(&sv_closure_queued, true, memory_order_relaxed);
        atomic_store_explicit(&sv_boehm_due, true, memory_order_relaxed);
    }
}

// ---- telling ------------------------------------------------------------------------------------

// Held. False: the queue is empty.
static bool queue_take(void)
{
    struct chunk *c;
    while ((c = closures.queue.first) && c->at == c->n)
        sv_metadata_free(chunks_take(&closures.queue), sizeof *c);
    if (!c)
        return false;
    const struct slots *s = &c->objects[c->at++];
    closures.telling.page = s->page;
    closures.telling.word = s->word;
    atomic_store_explicit(&closures.telling.bits,
                          atomic_load_explicit(&s->bits, memory_order_relaxed),
                          memory_order_relaxed);
    return true;
}

// Calls the object's closure, and frees it, if that didn't.
static void object_tell(uintptr_t object, size_t size, uint64_t bit)
{
    const struct GC_finalizer_closure *closure =
        (const void *)(uintptr_t)(*descriptor_at(object, size) & ~FLAGS);
    if (closure)
        closure->proc((void *)object, closure->cd);
    uint64_t was = atomic_fetch_and_explicit(&closures.telling.bits, ~bit, memory_order_relaxed);
    if (was & bit && !sv_cache_free((void *)object))
        sv_heap_free((void *)object);
}

static void slots_tell(struct slots *s)
{
    size_t size = sv_span_slot_size(sv_span_at(s->page));
    uintptr_t base = slots_start(s, size);
    slots_prefetch(base, size, atomic_load_explicit(&s->bits, memory_order_relaxed));
    for (uint64_t bits; (bits = atomic_load_explicit(&s->bits, memory_order_relaxed));)
        object_tell(base + (unsigned)__builtin_ctzll(bits) * size, size, bits & -bits);
}

void sv_closure_poll(void)
{
    int me = sv_os_getpid();
    if (!atomic_load_explicit(&sv_closure_queued, memory_order_relaxed))
        return;
    sv_boehm_lock();
    if (closures.busy != me) { // of a fork's parent: it isn't here
        closures.busy = me;
        while (queue_take()) {
            sv_boehm_unlock();
            slots_tell(&closures.telling);
            sv_boehm_lock();
        }
        atomic_store_explicit(&sv_closure_queued, false, memory_order_relaxed);
        closures.busy = 0;
    }
    sv_boehm_unlock();
}
