// The heap against a model, without interposing anything: blocks with patterns in them, by one
// thread and by several that hand blocks to each other; the verdicts on pointers that aren't the
// program's; and what comes back in the end.
#include "heap.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cache.h"
#include "large.h"
#include "lock.h"
#include "options.h"
#include "pagealloc.h"
#include "pagemap.h"
#include "scavenge.h"
#include "world.h"

enum { BLOCKS = 1500, THREADS = 3, STEPS = 60000, MIB = 1 << 20 };

struct random {
    uint64_t state;
};

static uint64_t random_next(struct random *r)
{
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return r->state;
}

static uint64_t random_below(struct random *r, uint64_t n)
{
    return (random_next(r) >> 11) % n;
}

static void setup(void)
{
    cr_assert(sv_heap_init());
    cr_assert(sv_world_init());
    atomic_store(&sv_heap.trigger, UINT64_MAX); // no cycles: the blocks here are in no root
}

TestSuite(heap, .init = setup, .timeout = 120);

// ---- blocks with patterns -----------------------------------------------------------------------

struct block {
    unsigned char *p;
    size_t size;
    unsigned char tag;
};

// A block's bytes follow from its tag and their offset, so that a foreign write shows anywhere. Big
// blocks are looked at only at both ends and at each page.
static size_t pattern_next(size_t i, size_t size)
{
    size_t page = i / 4096 * 4096 + 4096;
    if (i < 256 || i + 256 >= size)
        return i + 1;
    return page + 256 < size ? page : size - 256;
}

static unsigned char pattern_byte(unsigned char tag, size_t i)
{
    return (unsigned char)(tag + i * 7 + (i >> 12));
}

static void block_fill(struct block *b, struct random *r)
{
    b->tag = (unsigned char)random_next(r);
    for (size_t i = 0; i < b->size; i = pattern_next(i, b->size))
        b->p[i] = pattern_byte(b->tag, i);
}

static void block_check(const struct block *b, size_t size)
{
    for (size_t i = 0; i < size; i = pattern_next(i, b->size))
        if (b->p[i] != pattern_byte(b->tag, i))
            cr_assert(false, "byte %zu of %zu at %p was written", i, b->size, (void *)b->p);
}

static bool zero(const unsigned char *p, size_t size)
{
    return size == 0 || (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0);
}

// Small sizes mostly, class borders, sometimes large ones.
static size_t random_size(struct random *r)
{
    switch (random_below(r, 16)) {
    case 0:
        return random_below(r, 300000);
    case 1:
        return random_below(r, 40) ? random_below(r, 40000) : random_below(r, 3 * MIB);
    case 2:
    case 3: {
        unsigned class = 1 + (unsigned)random_below(r, SV_CLASS_LARGE - 1);
        return sv_classes[class].size - 2 + random_below(r, 4);
    }
    case 4:
    case 5:
        return random_below(r, 5000);
    default:
        return random_below(r, 400);
    }
}

// What malloc and free of the preload layer do: the cache first.
static void *fast_alloc(size_t size)
{
    void *p = sv_cache_alloc(size);
    return p ? p : sv_heap_alloc(size);
}

static void fast_free(void *p)
{
    if (!sv_cache_free(p)) {
        enum sv_verdict verdict = sv_heap_free(p);
        cr_assert(verdict == SV_OURS, "free of %p: %d", p, (int)verdict);
    }
}

static void block_verify(const struct block *b)
{
    enum sv_verdict verdict;
    size_t usable = sv_heap_usable(b->p, &verdict);
    cr_assert(verdict == SV_OURS && usable >= b->size, "%zu of %zu", usable, b->size);
    cr_assert((uintptr_t)b->p % SV_ALIGN == 0);
    b->p[usable - (usable > 0)] = 0; // all of it may be used, by this object alone
}

static void block_make(struct block *b, struct random *r)
{
    b->size = random_size(r);
    switch (random_below(r, 8)) {
    case 0:
    case 1:
        b->p = sv_heap_alloc_zeroed(b->size);
        cr_assert(b->p && zero(b->p, b->size), "%zu bytes are not all zero", b->size);
        break;
    case 2: {
        size_t align = (size_t)1 << random_below(r, random_below(r, 10) ? 8 : 18);
        b->p = sv_heap_alloc_aligned(align, b->size);
        cr_assert((uintptr_t)b->p % align == 0, "%zu aligned to %zu: %p", b->size, align,
                  (void *)b->p);
        break;
    }
    case 3:
        b->p = sv_heap_alloc_noscan(b->size);
        cr_assert(b->p &&
                  sv_code_noscan(sv_pagemap_code(sv_pagemap_get(sv_page_of((uintptr_t)b->p)))));
        break;
    case 4:
        b->p = sv_heap_alloc(b->size);
        break;
    default:
        b->p = fast_alloc(b->size);
    }
    cr_assert(b->p != NULL);
    block_verify(b);
    block_fill(b, r);
}

static void block_resize(struct block *b, struct random *r)
{
    enum sv_verdict verdict;
    size_t size = 1 + (random_below(r, 3) ? random_size(r) : random_below(r, 2 * b->size + 2));
    unsigned char *p = sv_heap_realloc(b->p, size, &verdict);
    cr_assert(p && verdict == SV_OURS, "realloc of %zu to %zu: %d", b->size, size, (int)verdict);
    b->p = p;
    block_check(b, size < b->size ? size : b->size);
    b->size = size;
    block_verify(b);
    block_fill(b, r);
}

static void block_free(struct block *b, struct random *r)
{
    block_check(b, b->size);
    if (random_next(r) & 1)
        fast_free(b->p);
    else
        cr_assert(sv_heap_free(b->p) == SV_OURS);
    *b = (struct block){0};
}

static void blocks_step(struct block *blocks, struct random *r)
{
    struct block *b = &blocks[random_below(r, BLOCKS)];
    if (!b->p)
        block_make(b, r);
    else if (random_below(r, 6) == 0)
        block_resize(b, r);
    else
        block_free(b, r);
}

static int by_address(const void *a, const void *b)
{
    const struct block *x = a, *y = b;
    return x->p < y->p ? -1 : x->p > y->p;
}

static void blocks_apart(struct block *blocks)
{
    static struct block sorted[BLOCKS];
    memcpy(sorted, blocks, sizeof sorted);
    qsort(sorted, BLOCKS, sizeof *sorted, by_address);
    for (unsigned i = 1; i < BLOCKS; i++)
        cr_assert(!sorted[i - 1].p || sorted[i - 1].p + sorted[i - 1].size < sorted[i].p,
                  "%p+%zu reaches %p", (void *)sorted[i - 1].p, sorted[i - 1].size,
                  (void *)sorted[i].p);
}

// Everything was freed: the caches are drained, and nothing is out.
static void heap_empty(void)
{
    sv_cache_drain(sv_cache_get());
    cr_assert(sv_heap.live == 0, "%lu bytes live", sv_heap.live);
    cr_assert(sv_heap.large_live == 0 && sv_heap.large_first == 0);
    cr_assert(sv_heap.allocated == sv_heap.freed, "%lu, %lu", sv_heap.allocated, sv_heap.freed);
    uint64_t pages = 0;
    for (unsigned code = 0; code < SV_NCODE; code++) {
        struct sv_central *c = &sv_heap.central[code];
        cr_assert(c->nused == 0 && c->allocated == c->freed, "code %u: %lu used", code, c->nused);
        cr_assert(c->full.first == 0 && c->nspans <= 1, "code %u: %u spans", code, c->nspans);
        pages += c->nspans * sv_classes[sv_code_class(code)].pages;
    }
    cr_assert(sv_heap.pages_inuse == pages);
    cr_assert(sv_heap.pages.nfree == sv_heap.grown - 1 - pages);
    sv_pagealloc_check(&sv_heap.pages);
}

Test(heap, random_blocks)
{
    static struct block blocks[BLOCKS];
    struct random r = {88172645463325252};
    for (int i = 0; i < STEPS; i++) {
        blocks_step(blocks, &r);
        if (i % 10000 == 0)
            blocks_apart(blocks);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        if (blocks[i].p)
            block_free(&blocks[i], &r);
    heap_empty();
}

// ---- several threads ----------------------------------------------------------------------------

#define SHARED 256

static struct block *_Atomic shared[SHARED]; // handed from one thread to any

// Puts one of its own there and frees what another had put.
static void block_hand_over(struct block *b, struct random *r)
{
    struct block *mine = malloc(sizeof *mine);
    *mine = *b;
    *b = (struct block){0};
    struct block *theirs = atomic_exchange(&shared[random_below(r, SHARED)], mine);
    if (theirs) {
        block_free(theirs, r);
        free(theirs);
    }
}

static void *work(void *arg)
{
    struct random r = {(uintptr_t)arg * 0x9e3779b97f4a7c15};
    struct block *blocks = calloc(BLOCKS, sizeof *blocks);
    for (int i = 0; i < STEPS / 2; i++) {
        blocks_step(blocks, &r);
        struct block *b = &blocks[random_below(&r, BLOCKS)];
        if (b->p && random_below(&r, 4) == 0)
            block_hand_over(b, &r);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        if (blocks[i].p)
            block_free(&blocks[i], &r);
    free(blocks);
    sv_cache_retire();
    return NULL;
}

Test(heap, threads_exchange_blocks)
{
    pthread_t threads[THREADS];
    struct random r = {1};
    for (uintptr_t i = 0; i < THREADS; i++)
        cr_assert(pthread_create(&threads[i], NULL, work, (void *)(i + 1)) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < SHARED; i++) {
        if (shared[i]) {
            block_free(shared[i], &r);
            free(shared[i]);
        }
    }
    heap_empty();
}

static void *work_retired(void *arg)
{
    struct random r = {5};
    struct block b;
    fast_free(fast_alloc(100));
    sv_cache_retire();
    for (int i = 0; i < 2000; i++) {
        block_make(&b, &r);
        if (i % 3 == 0)
            block_resize(&b, &r);
        block_free(&b, &r);
    }
    cr_assert(sv_cache_get() == NULL);
    return arg;
}

// A thread whose destructors have run goes straight to the central lists.
Test(heap, thread_without_a_cache)
{
    pthread_t thread;
    cr_assert(pthread_create(&thread, NULL, work_retired, NULL) == 0);
    pthread_join(thread, NULL);
    heap_empty();
}

// ---- one by one ---------------------------------------------------------------------------------

// Each request at and around each class's border, each with all its bytes, end to end of a span.
Test(heap, every_class_is_dense_and_whole)
{
    for (unsigned class = 1; class < SV_CLASS_LARGE; class ++) {
        size_t size = sv_classes[class].size - 1;
        unsigned n = 2 * sv_classes[class].nslots + 3;
        unsigned char **p = malloc(n * sizeof *p);
        for (unsigned i = 0; i < n; i++) {
            enum sv_verdict verdict;
            p[i] = sv_heap_alloc(size);
            cr_assert(p[i] && sv_heap_usable(p[i], &verdict) == size, "class %u", class);
            memset(p[i], (int)(i % 251), size);
        }
        for (unsigned i = 0; i < n; i++) {
            cr_assert(p[i][0] == i % 251 && memcmp(p[i], p[i] + 1, size - 1) == 0);
            fast_free(p[i]);
        }
        free(p);
    }
    heap_empty();
}

Test(heap, zero_bytes_is_an_object)
{
    void *p = sv_heap_alloc(0), *q = sv_heap_alloc_zeroed(0);
    cr_assert(p && q && p != q);
    fast_free(p);
    fast_free(q);
    heap_empty();
}

// What was full of ones before is asked for as zeroes, by every way back into use.
Test(heap, zeroed_after_dirty_use)
{
    static const size_t sizes[] = {1,     16,    100,    1024,   1025,  1500,
                                   2047,  4096,  8191,   10000,  16383, 32767,
                                   32768, 40000, 100000, 300000, MIB,   3 * MIB};
    enum { N = 24 };
    unsigned char *p[N];
    for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int way = 0; way < 6; way++) {
            for (int i = 0; i < N; i++) {
                enum sv_verdict verdict;
                p[i] = sv_heap_alloc_zeroed(sizes[s]);
                cr_assert(p[i] && zero(p[i], sizes[s]), "%zu bytes, way %d", sizes[s], way);
                memset(p[i], 0xff, sv_heap_usable(p[i], &verdict));
            }
            for (int i = way % 2 ? 0 : 1; i < N; i += 2) // with neighbours in use, and all
                fast_free(p[i]);
            if (way == 2)
                sv_cache_drain(sv_cache_self);
            for (int i = way % 2 ? 1 : 0; i < N; i += 2)
                fast_free(p[i]);
            if (way == 4)
                sv_cache_drain(sv_cache_self);
            if (way == 5)
                sv_scavenge_all();
        }
    }
    heap_empty();
}

// Large objects move by page tables; what they leave behind reads as zeroes for the next one.
Test(heap, large_objects_move_and_keep)
{
    struct random r = {77};
    struct block b = {sv_heap_alloc(300000), 300000, 0};
    block_fill(&b, &r);
    for (int i = 0; i < 40; i++) {
        size_t size = 300000 + random_below(&r, 6 * MIB);
        enum sv_verdict verdict;
        void *wall = sv_heap_alloc(200000); // behind it, mostly: it can't grow in place
        b.p = sv_heap_realloc(b.p, size, &verdict);
        cr_assert(b.p != NULL);
        block_check(&b, size < b.size ? size : b.size);
        b.size = size;
        block_fill(&b, &r);
        unsigned char *clean = sv_heap_alloc_zeroed(size / 2);
        cr_assert(zero(clean, size / 2), "round %d", i);
        memset(clean, 0xee, size / 2);
        fast_free(clean);
        fast_free(wall);
    }
    block_free(&b, &r);
    cr_assert(sv_heap.moved_spans == 0);
    heap_empty();
}

Test(heap, alignments)
{
    for (size_t align = 1; align <= (size_t)128 * MIB; align *= 2) {
        static const size_t sizes[] = {0, 1, 24, 100, 1000, 4095, 4096, 8192, 20000, 32767, 50000};
        for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            enum sv_verdict verdict;
            unsigned char *p = sv_heap_alloc_aligned(align, sizes[s]);
            unsigned char *q = sv_heap_alloc_aligned(align, sizes[s]);
            cr_assert(p && q && p != q, "%zu aligned to %zu", sizes[s], align);
            cr_assert((uintptr_t)p % align == 0 && (uintptr_t)q % align == 0);
            cr_assert(sv_heap_usable(p, &verdict) >= sizes[s] && verdict == SV_OURS);
            cr_assert(p + sizes[s] < q || q + sizes[s] < p);
            fast_free(p);
            fast_free(q);
        }
    }
    heap_empty();
}

Test(heap, impossible_requests)
{
    static const size_t sizes[] = {SIZE_MAX,    SIZE_MAX - 4096,    (size_t)PTRDIFF_MAX + 1,
                                   PTRDIFF_MAX, PTRDIFF_MAX - 8192, (size_t)1 << 45};
    void *p = sv_heap_alloc(100);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        enum sv_verdict verdict;
        cr_assert(!sv_heap_alloc(sizes[i]) && !sv_heap_alloc_zeroed(sizes[i]));
        cr_assert(!sv_heap_alloc_noscan(sizes[i]) && !sv_heap_alloc_aligned(4096, sizes[i]));
        cr_assert(!sv_heap_realloc(p, sizes[i], &verdict) && verdict == SV_OURS);
    }
    cr_assert(!sv_heap_alloc_aligned((size_t)1 << 63, 1) &&
              !sv_heap_alloc_aligned((size_t)1 << 45, 1));
    fast_free(p);
    heap_empty();
}

// A shrink never moves to where there is less room than asked for, and tiny changes stay in place.
Test(heap, realloc_in_place)
{
    enum sv_verdict verdict;
    for (size_t size = 1; size < 40000; size += 1 + size / 20) {
        char *p = sv_heap_alloc(size);
        size_t usable = sv_heap_usable(p, &verdict);
        cr_assert(sv_heap_realloc(p, usable, &verdict) == p, "%zu", size);
        char *q = sv_heap_realloc(p, usable + 1, &verdict);
        cr_assert(q && sv_heap_usable(q, &verdict) > usable);
        fast_free(q);
    }
    heap_empty();
}

// ---- verdicts -----------------------------------------------------------------------------------

// Nothing changes by any of them.
static void verdict_check(void *p, enum sv_verdict want, const char *what)
{
    enum sv_verdict verdict;
    uint64_t live = sv_heap.live;
    cr_assert(!sv_cache_free(p), "%s", what);
    cr_assert(sv_heap_free(p) == want, "%s", what);
    cr_assert(sv_heap_realloc(p, 50, &verdict) == NULL && verdict == want, "%s", what);
    cr_assert(sv_heap.live == live);
}

Test(heap, double_frees)
{
    static const size_t sizes[] = {1, 16, 100, 1000, 3000, 32767, 32768, 200000, 40 * MIB};
    for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        for (int drain = 0; drain < 2; drain++) {
            char *keep = sv_heap_alloc(sizes[s]), *p = sv_heap_alloc(sizes[s]);
            cr_assert(sv_heap_free(p) == SV_OURS);
            if (drain)
                sv_cache_drain(sv_cache_self);
            verdict_check(p, SV_FREED, "freed before");
            fast_free(keep);
        }
    }
    heap_empty();
}

// Data that looks like the key of a freed slot is no free: the slow way looks closer.
Test(heap, key_in_data_is_not_a_free)
{
    for (size_t size = 16; size < 40000; size = size * 3 / 2) {
        uintptr_t *p = sv_heap_alloc(size);
        p[1] = sv_heap.key;
        cr_assert(!sv_cache_free(p));
        cr_assert(sv_heap_free(p) == SV_OURS, "%zu", size);
    }
    heap_empty();
}

Test(heap, interior_pointers)
{
    enum sv_verdict verdict;
    static const size_t sizes[] = {16, 100, 1000, 3000, 32767, 32768, 200000};
    for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        char *p = sv_heap_alloc(sizes[s]);
        size_t usable = sv_heap_usable(p, &verdict);
        for (size_t at = 1; at <= usable; at += at < 64 ? 1 : usable / 50 + 1)
            verdict_check(p + at, SV_INTERIOR, "interior");
        verdict_check(p + usable, SV_INTERIOR, "the byte kept for an end pointer");
        fast_free(p);
    }
    for (unsigned class = 1; class < SV_CLASS_LARGE; class ++) { // the tail behind the last slot
        const struct sv_class *c = &sv_classes[class];
        char *p = sv_heap_alloc(c->size - 1);
        uint32_t page = (uint32_t)sv_page_of((uintptr_t)p);
        char *span = (char *)sv_page_addr(sv_pagemap_first(page, sv_pagemap_get(page)));
        for (size_t at = (size_t)c->nslots * c->size; at < c->pages * SV_PAGE_SIZE; at += 16)
            verdict_check(span + at, SV_INTERIOR, "tail");
        fast_free(p);
    }
    heap_empty();
}

Test(heap, foreign_pointers)
{
    char local[64];
    void *theirs = malloc(100);
    fast_free(fast_alloc(1));
    verdict_check(local, SV_FOREIGN, "stack");
    verdict_check(theirs, SV_FOREIGN, "libc's");
    verdict_check((void *)16, SV_FOREIGN, "low");
    verdict_check((void *)-16, SV_FOREIGN, "high");
    verdict_check((char *)sv_heap.base - 16, SV_FOREIGN, "below the region");
    verdict_check((char *)sv_heap.base + sv_heap.size, SV_FOREIGN, "above the region");
    free(theirs);
}

// Never used, and not even mapped.
Test(heap, pointers_to_no_object)
{
    fast_free(fast_alloc(1));
    char *grown = (char *)sv_page_addr(sv_heap.grown);
    cr_assert(sv_heap_free((void *)sv_heap.base) == SV_FREED);
    verdict_check(grown - 16, SV_FREED, "free page");
    cr_assert(sv_heap_free(grown) == SV_FREED && sv_heap_free(grown + 4096) == SV_FREED);
    cr_assert(sv_heap_free((char *)sv_heap.base + sv_heap.size - 16) == SV_FREED);
}

// A slot of a span that is in use, but which was never handed out.
Test(heap, slots_never_taken)
{
    char *p = sv_heap_alloc(20000); // three slots in a span, caches take one at a time
    uint32_t page = (uint32_t)sv_page_of((uintptr_t)p);
    uint32_t first = sv_pagemap_first(page, sv_pagemap_get(page));
    struct sv_span *span = sv_span_at(first);
    size_t size = sv_classes[sv_code_class(span->code)].size;
    unsigned freed = 0;
    for (unsigned i = 0; i < span->nslots; i++) {
        char *slot = (char *)sv_page_addr(first) + i * size;
        bool used = span->bits[0].alloc >> i & 1;
        if (!used) {
            enum sv_verdict verdict;
            cr_assert(sv_heap_usable(slot, &verdict) == 0 && verdict == SV_FREED);
            cr_assert(sv_heap_free(slot) == SV_FREED);
            freed++;
        }
    }
    cr_assert(span->nused + freed == span->nslots);
    fast_free(p);
    heap_empty();
}

// ---- giving back --------------------------------------------------------------------------------

static size_t resident(void)
{
    char text[128] = {0};
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    cr_assert(file && fgets(text, sizeof text, file) && sscanf(text, "%*u %lu", &pages) == 1);
    fclose(file);
    return pages * 4096;
}

Test(heap, scavenge_gives_memory_back)
{
    enum { N = 4000, SIZE = 16000 };
    static char *p[N];
    size_t before = resident();
    for (int i = 0; i < N; i++) {
        p[i] = sv_heap_alloc(SIZE);
        memset(p[i], 1, SIZE);
    }
    size_t most = resident();
    cr_assert(most > before + (size_t)N * SIZE);
    for (int i = 0; i < N; i++)
        fast_free(p[i]);
    sv_cache_drain(sv_cache_self);
    uint64_t already = sv_heap.released_pages * SV_PAGE_SIZE;
    size_t released = sv_scavenge_all();
    cr_assert(already + released >= (size_t)N * SIZE, "%lu and %zu", already, released);
    cr_assert(sv_heap.released_pages * SV_PAGE_SIZE == already + released);
    cr_assert(sv_heap.pages.ndirty == 0);
    cr_assert(resident() < before + 4 * MIB, "%zu before, %zu then, %zu after", before, most,
              resident());
    cr_assert(sv_scavenge_all() == 0);
    sv_pagealloc_check(&sv_heap.pages);
    char *q = sv_heap_alloc_zeroed(SIZE * 100);
    cr_assert(zero((unsigned char *)q, SIZE * 100));
    fast_free(q);
}

// Freed memory is filled, when the option asks: nobody may read it afterwards and not notice.
Test(heap, clobber_fills_freed_memory)
{
    sv_options.clobber = true;
    for (unsigned class = 1; class < SV_CLASS_LARGE; class ++) {
        size_t size = sv_classes[class].size;
        unsigned char *keep = sv_heap_alloc(size - 1), *p = sv_heap_alloc(size - 1);
        memset(p, 1, size);
        fast_free(p);
        cr_assert(p[0] == SV_CLOBBER && memcmp(p, p + 1, size - 1) == 0, "class %u", class);
        verdict_check(p, SV_FREED, "freed before");
        fast_free(keep);
    }
    // of large objects too, and what one gives up that shrinks
    const size_t size = (size_t)256 << 10, half = size / 2;
    unsigned char *p = sv_heap_alloc(size);
    enum sv_verdict verdict;
    memset(p, 1, size);
    cr_assert(sv_heap_realloc(p, half - 1, &verdict) == p);
    cr_assert(p[half - 1] == 1);
    cr_assert(p[half] == SV_CLOBBER && memcmp(p + half, p + half + 1, half - 1) == 0);
    fast_free(p);
    cr_assert(p[0] == SV_CLOBBER && memcmp(p, p + 1, half - 1) == 0);
    heap_empty();
}
