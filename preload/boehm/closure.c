// Objects of GC_finalized_malloc: each has a closure, that is called when the object is dead.
//
// They stand in no table. Such an object lies in a traced slot (kind.h) and its descriptor, which
// no program sees, is the closure's address with the top bit set: as a length that is more than any
// object has, so that markers look at all of its words. The stop that ends a cycle walks over the
// spans of traced slots and finds the dead by their bits. So to make one costs no more than a typed
// object does, and one that lives costs a bit.
//
// What a dead object points to outlives it, other such objects included: those are found in a later
// cycle. So none in the queue points to another, and each is freed when its closure has been
// called, at a safe point, by one thread at a time. What is queued is a root.
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
#include "uncollectable.h"

#define CHUNK 510u // objects of a chunk: 4 KiB
#define BATCH 64u  // objects that are told between two looks at the queue
#define QUEUED 4u  // in a descriptor: the object is queued; closures are aligned
#define FLAGS (SV_CLOSURE | 7u)

struct chunk {
    struct chunk *next;       // held
    uint32_t n;               // held: objects there are
    uint32_t at;              // held: of them, taken
    uintptr_t objects[CHUNK]; // held: inverted; ~0: freed by the program
};

struct chunks {
    struct chunk *first, *last; // held
};

static struct {
    bool used;           // anyone, relaxed: there are such objects
    struct chunks dead;  // held, from settle to commit
    struct chunks queue; // held
    int busy;            // held: the process in which a thread is calling closures
    // Held to write, but by that thread, and relaxed: inverted; ~0: done, or freed by the program.
    uintptr_t telling[BATCH];
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

// In a stop. Short of memory the object waits for a later cycle.
static bool chunks_add(struct chunks *to, uintptr_t object)
{
    if (!to->last || to->last->n == CHUNK) {
        struct chunk *c = sv_metadata_alloc_held(sizeof *c);
        if (!c)
            return false;
        chunks_append(to, c);
    }
    to->last->objects[to->last->n++] = ~object;
    return true;
}

// ---- objects ------------------------------------------------------------------------------------

SV_EXPORT void *GC_finalized_malloc(size_t size, const struct GC_finalizer_closure *closure)
{
    sv_boehm_poll();
    if (sv_unlikely(!sv_boehm_ready))
        sv_boehm_init();
    if (sv_unlikely(!__atomic_load_n(&closures.used, __ATOMIC_RELAXED)))
        __atomic_store_n(&closures.used, true, __ATOMIC_RELAXED);
    void *p = sv_heap_alloc_traced(size, (uintptr_t)closure | SV_CLOSURE);
    if (p && sv_unlikely(!sv_object_leaks()))
        return sv_uncollectable_add(p, size);
    return p ? p : sv_boehm_oom(size);
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
    if (sv_closure_is(descriptor))
        sv_mark_word(m, (uintptr_t)(descriptor & ~FLAGS));
}

void sv_closure_forget(uintptr_t start)
{
    struct sv_mark_place at;
    if (!sv_mark_find(start, &at) || !sv_code_traced(at.span->code))
        return;
    uint64_t descriptor = *descriptor_at(start, sv_span_slot_size(at.span));
    if (!sv_closure_is(descriptor) || !(descriptor & QUEUED))
        return;
    for (struct chunk *c = closures.queue.first; c; c = c->next)
        for (uint32_t i = c->at; i < c->n; i++)
            if (c->objects[i] == ~start)
                c->objects[i] = UINTPTR_MAX;
    for (unsigned i = 0; i < BATCH; i++)
        if (__atomic_load_n(&closures.telling[i], __ATOMIC_RELAXED) == ~start)
            __atomic_store_n(&closures.telling[i], UINTPTR_MAX, __ATOMIC_RELAXED);
}

// ---- in a cycle ---------------------------------------------------------------------------------

void sv_closure_hold(struct sv_marker *m)
{
    uintptr_t words[CHUNK];
    for (const struct chunk *c = closures.queue.first; c; c = c->next) {
        for (uint32_t i = c->at; i < c->n; i++)
            words[i] = ~c->objects[i];
        sv_mark_range(m, (uintptr_t)(words + c->at), (uintptr_t)(words + c->n), false);
    }
    for (unsigned i = 0; i < BATCH; i++)
        sv_mark_word(m, ~__atomic_load_n(&closures.telling[i], __ATOMIC_RELAXED));
}

// What the dead of one word of bits point to is marked, and they are listed.
static void word_look(struct sv_marker *m, struct sv_span *span, struct sv_bits *bits,
                      uintptr_t base, uint64_t dead)
{
    size_t size = sv_span_slot_size(span);
    for (uint64_t left = dead; left; left &= left - 1)
        __builtin_prefetch(descriptor_at(base + (unsigned)__builtin_ctzll(left) * size, size));
    for (; dead; dead &= dead - 1) {
        uintptr_t start = base + (unsigned)__builtin_ctzll(dead) * size;
        struct sv_mark_place at = {span, bits, dead & -dead, start};
        if (sv_closure_is(*descriptor_at(start, size)) && chunks_add(&closures.dead, start))
            sv_contents_mark(m, &at, false);
    }
}

static void span_look(struct sv_marker *m, struct sv_span *span)
{
    struct sv_bits *bits = sv_span_bits(span);
    uintptr_t base = sv_page_addr((uint32_t)(span - sv_heap.spans));
    size_t size = sv_span_slot_size(span);
    for (unsigned w = 0; w < sv_span_words(span); w++) {
        uint64_t alloc = atomic_load_explicit(&bits[w].alloc, memory_order_relaxed);
        uint64_t mark = atomic_load_explicit(&bits[w].mark, memory_order_relaxed);
        if (alloc & ~mark)
            word_look(m, span, &bits[w], base + w * 64 * size, alloc & ~mark);
    }
}

static void dead_find(struct sv_marker *m)
{
    for (uint32_t page = 1; page < sv_heap.grown;) {
        sv_pagemap_entry e = sv_pagemap_get(page);
        unsigned code = sv_pagemap_code(e);
        if (e && sv_code_traced(code))
            span_look(m, sv_span_at(page));
        unsigned npages = e ? sv_classes[sv_code_class(code)].pages : 1;
        page += npages ? npages : sv_span_at(page)->npages;
    }
}

static void dead_forget(void)
{
    for (struct chunk *c; (c = chunks_take(&closures.dead));)
        sv_metadata_free_held(c, sizeof *c);
}

// Of the dead those that nothing has marked: another dead one may point to them.
static void chunk_settle(struct sv_marker *m, struct chunk *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n; i++) {
        struct sv_mark_place at;
        uintptr_t start = ~c->objects[i];
        if (sv_registry_marked(start) || !sv_mark_find(start, &at))
            continue;
        sv_mark_found(m, &at, false); // what it points to is marked
        c->objects[n++] = ~start;
    }
    c->n = n;
}

void sv_closure_settle(struct sv_marker *m)
{
    dead_forget();
    if (sv_leaks_on || !closures.used)
        return;
    dead_find(m);
    if (!closures.dead.first)
        return;
    sv_final_drain(m);
    for (struct chunk *c = closures.dead.first; c; c = c->next)
        chunk_settle(m, c);
    sv_final_drain(m);
}

void sv_closure_commit(void)
{
    for (struct chunk *c; (c = chunks_take(&closures.dead));) {
        for (uint32_t i = 0; i < c->n; i++) {
            struct sv_mark_place at;
            if (sv_mark_find(~c->objects[i], &at))
                *descriptor_at(at.start, sv_span_slot_size(at.span)) |= QUEUED;
        }
        chunks_append(&closures.queue, c);
    }
    if (closures.queue.first) {
        atomic_store_explicit(&sv_closure_queued, true, memory_order_relaxed);
        atomic_store_explicit(&sv_boehm_due, true, memory_order_relaxed);
    }
}

// ---- telling ------------------------------------------------------------------------------------

static unsigned queue_take(void)
{
    unsigned n = 0;
    for (struct chunk *c; n < BATCH && (c = closures.queue.first);) {
        for (; n < BATCH && c->at < c->n; c->at++)
            closures.telling[n++] = c->objects[c->at];
        if (c->at == c->n) {
            chunks_take(&closures.queue);
            sv_metadata_free(c, sizeof *c);
        }
    }
    return n;
}

static void object_tell(uintptr_t object)
{
    size_t size = 0;
    sv_boehm_start((const void *)object, &size, &(unsigned){0});
    const struct GC_finalizer_closure *closure =
        (const void *)(uintptr_t)(*(const uint64_t *)(object + size) & ~FLAGS);
    if (closure)
        closure->proc((void *)object, closure->cd);
    if (!sv_cache_free((void *)object))
        sv_heap_free((void *)object);
}

static void batch_tell(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        uintptr_t object = ~__atomic_load_n(&closures.telling[i], __ATOMIC_RELAXED);
        if (object)
            object_tell(object);
        __atomic_store_n(&closures.telling[i], UINTPTR_MAX, __ATOMIC_RELAXED);
    }
}

void sv_closure_poll(void)
{
    int me = sv_os_getpid();
    if (!atomic_load_explicit(&sv_closure_queued, memory_order_relaxed))
        return;
    sv_boehm_lock();
    if (closures.busy != me) { // of a fork's parent: it isn't here
        closures.busy = me;
        for (unsigned n; (n = queue_take());) {
            sv_boehm_unlock();
            batch_tell(n);
            sv_boehm_lock();
        }
        atomic_store_explicit(&sv_closure_queued, false, memory_order_relaxed);
        closures.busy = 0;
    }
    sv_boehm_unlock();
}
