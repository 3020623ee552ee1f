// What is lost doesn't change, and nobody looks at it but this file: so the objects are copied into
// an array, and what is asked of the graph is asked of that array, never of spans, which come and
// go meanwhile. Should the program have hidden pointers and free or write an object now, the words
// read here are others, or zeroes; the heap's memory stays mapped.
//
// Who is direct: each object that wasn't reached yet is taken for a leader, and all that it leads
// to is reached. A ring to which nothing else leads gets one leader so, but a leader may turn out
// to be led to by what came later, by itself or by another object of its ring. So in a second round
// the leaders alone are taken, the last first: who isn't reached by then is led to by nobody (had
// an earlier leader led to it, it would never have become one), and is direct; all others are
// indirect.
//
// An entry is the object's address, in units of 16 bytes from the region's start, its code, and two
// bits. Objects of a span stand together, in the order of their slots, at most as many as it has
// slots: a look-up is one load and a binary search in those.
#include "lost.h"

#include <string.h>

#include "lock.h"
#include "mark.h"
#include "metadata.h"
#include "options.h"
#include "pagemap.h"
#include "profile.h"
#include "span.h"
#include "work.h"

#define CODE_SHIFT 40 // 2^40 units of 16 bytes: more than any region has
#define PLACE_MASK (((uint64_t)1 << CODE_SHIFT) - 1)
#define SEEN ((uint64_t)1 << 48)     // it has led, or was reached, in this round
#define INDIRECT ((uint64_t)1 << 49) // it was reached in the second round
#define LEADER ((uint64_t)1 << 50)   // it has led in the first round
#define CAP_MIN ((size_t)1024)

static unsigned entry_code(uint64_t e)
{
    return (unsigned)(e >> CODE_SHIFT) & 0xff;
}

static uintptr_t entry_start(uint64_t e)
{
    return sv_heap.base + (uintptr_t)(e & PLACE_MASK) * SV_ALIGN;
}

uintptr_t sv_lost_start(const struct sv_lost *lost, size_t i)
{
    return entry_start(lost->v[i]);
}

bool sv_lost_indirect(const struct sv_lost *lost, size_t i)
{
    return lost->v[i] & INDIRECT;
}

// ---- the objects --------------------------------------------------------------------------------

void sv_lost_begin(struct sv_lost *lost, size_t npages)
{
    *lost = (struct sv_lost){.npages = npages};
    lost->first = sv_metadata_alloc((npages + 1) * sizeof *lost->first);
    lost->failed = !lost->first;
}

void sv_lost_end(struct sv_lost *lost)
{
    sv_metadata_free(lost->v, lost->cap * sizeof *lost->v);
    sv_metadata_free(lost->first, (lost->npages + 1) * sizeof *lost->first);
    *lost = (struct sv_lost){0};
}

static bool lost_grow(struct sv_lost *lost)
{
    size_t cap = lost->cap ? 2 * lost->cap : CAP_MIN;
    uint64_t *v = sv_metadata_alloc(cap * sizeof *v);
    if (!v || cap > UINT32_MAX) {
        sv_metadata_free(v, cap * sizeof *v);
        lost->failed = true;
        return false;
    }
    if (lost->n)
        memcpy(v, lost->v, lost->n * sizeof *v);
    sv_metadata_free(lost->v, lost->cap * sizeof *v);
    lost->v = v;
    lost->cap = cap;
    return true;
}

void sv_lost_add(struct sv_lost *lost, struct sv_span *span, uintptr_t start)
{
    uint32_t page = (uint32_t)(span - sv_heap.spans);
    if (lost->failed || (size_t)page + span->npages > lost->npages)
        return;
    if (lost->n == lost->cap && !lost_grow(lost))
        return;
    for (uint32_t i = 0; lost->first[page] == 0 && i < span->npages; i++)
        lost->first[page + span->npages - 1 - i] = (uint32_t)lost->n + 1;
    lost->v[lost->n++] = (start - sv_heap.base) / SV_ALIGN | (uint64_t)span->code << CODE_SHIFT;
}

// The entry for `place` among [lo, hi), or SIZE_MAX.
static size_t entry_search(const struct sv_lost *lost, size_t lo, size_t hi, uint64_t place)
{
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        uint64_t at = lost->v[mid] & PLACE_MASK;
        if (at == place)
            return mid;
        if (at < place)
            lo = mid + 1;
        else
            hi = mid;
    }
    return SIZE_MAX;
}

// As mark.c looks a word up: anywhere in a slot counts.
size_t sv_lost_find(const struct sv_lost *lost, uintptr_t word)
{
    uint64_t page = sv_page_of(word);
    if (page >= lost->npages || lost->first[page] == 0)
        return SIZE_MAX;
    size_t at = lost->first[page] - 1;
    const struct sv_class *c = &sv_classes[sv_code_class(entry_code(lost->v[at]))];
    if (sv_code_class(entry_code(lost->v[at])) == SV_CLASS_LARGE)
        return at;
    // the span's first page: the only one whose distance fits, since all of the span's have `at`
    uint64_t first = page;
    while (first > 0 && page - first + 1 < c->pages && lost->first[first - 1] == at + 1)
        first--;
    uint32_t offset = (uint32_t)(word - sv_page_addr((uint32_t)first));
    unsigned i = sv_slot_of(offset, c->magic);
    if (i >= c->nslots)
        return SIZE_MAX;
    uintptr_t start = sv_page_addr((uint32_t)first) + (size_t)i * c->size;
    size_t hi = at + c->nslots < lost->n ? at + c->nslots : lost->n;
    return entry_search(lost, at, hi, (start - sv_heap.base) / SV_ALIGN);
}

// ---- the graph ----------------------------------------------------------------------------------

struct flood {
    struct sv_lost *lost;
    struct sv_work work; // indices, and 1
    size_t leader;       // itself: its own ring doesn't make it indirect
    uint64_t reached;    // the bits of who is
};

static void word_follow(struct flood *f, uintptr_t word)
{
    size_t to = sv_lost_find(f->lost, word);
    if (to == SIZE_MAX || to == f->leader || (f->lost->v[to] & SEEN))
        return;
    f->lost->v[to] |= f->reached;
    sv_work_push(&f->work, to + 1);
}

// Spans go, and their words with them, with the lock of their kind held.
bool sv_lost_word(uintptr_t start, uint64_t *word, size_t *size)
{
    struct sv_mark_place at;
    uint64_t page = sv_page_of(start);
    sv_pagemap_entry e = sv_pagemap_get(page);
    unsigned code = sv_pagemap_code(e);
    struct sv_lock *lock =
        sv_code_class(code) == SV_CLASS_LARGE ? &sv_heap.lock : &sv_heap.central[code].lock;
    const sv_profile_word *found = NULL;
    sv_lock_acquire(lock);
    if (e && sv_pagemap_get(page) == e && sv_mark_find(start, &at) && at.start == start)
        found = sv_profile_word_of((const void *)start);
    if (found) {
        *word = atomic_load_explicit(found, memory_order_relaxed);
        *size = sv_span_slot_size(at.span);
    }
    sv_lock_release(lock);
    return found != NULL;
}

// The bytes that the program asked for: what stands behind them is some earlier object's. 0: it is
// in use no more.
static size_t object_bytes(uintptr_t start)
{
    uint64_t word;
    size_t size;
    struct sv_profile_site site;
    if (!sv_lost_word(start, &word, &size) || !sv_profile_read(word, size, &site))
        return 0;
    return site.bytes < size ? site.bytes : size;
}

static void object_flood(struct flood *f, size_t i)
{
    uint64_t e = f->lost->v[i];
    if (sv_code_noscan(entry_code(e)))
        return;
    uintptr_t at = entry_start(e), end = at + object_bytes(at);
    uintptr_t heap_end = sv_page_addr((uint32_t)f->lost->npages);
    end = end < heap_end ? end : heap_end;
    for (; at + sizeof(uintptr_t) <= end; at += sv_options.align) {
        uintptr_t word;
        memcpy(&word, (const void *)at, sizeof word);
        word = word << sv_options.tagbits >> sv_options.tagbits;
        if (word - sv_heap.base < sv_heap.size)
            word_follow(f, word);
    }
}

static void leader_flood(struct flood *f, size_t i)
{
    f->leader = i;
    sv_work_push(&f->work, i + 1);
    for (uintptr_t at; (at = sv_work_pop(&f->work)) != 0;)
        object_flood(f, at - 1);
}

bool sv_lost_classify(struct sv_lost *lost)
{
    struct flood f = {.lost = lost, .reached = SEEN};
    for (size_t i = 0; i < lost->n && !f.work.failed; i++) {
        if (lost->v[i] & SEEN)
            continue;
        lost->v[i] |= SEEN | LEADER;
        leader_flood(&f, i);
    }
    for (size_t i = 0; i < lost->n; i++)
        lost->v[i] &= ~SEEN;
    f.reached = SEEN | INDIRECT;
    for (size_t i = lost->n; i-- > 0 && !f.work.failed;) {
        if (!(lost->v[i] & LEADER) || (lost->v[i] & SEEN))
            continue;
        lost->v[i] |= SEEN;
        leader_flood(&f, i);
    }
    lost->failed |= f.work.failed;
    sv_work_flush(&f.work);
    sv_work_reset();
    return !lost->failed;
}
