// The words beside the spans: where they are, what they hold, when they go; and whether sampling
// picks objects as it says.
#include "profile.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "cache.h"
#include "core.h"
#include "heap.h"
#include "options.h"
#include "pagemap.h"
#include "span.h"
#include "world.h"

enum { OBJECTS = 3000 };

static void setup_with(enum sv_mode mode, uint64_t sample)
{
    sv_options.mode = mode;
    sv_options.sample = sample;
    sv_profile_init();
    cr_assert(sv_heap_init());
    cr_assert(sv_world_init());
    atomic_store(&sv_heap.trigger, UINT64_MAX);
}

static size_t slot_bytes(const void *p)
{
    uint32_t page = (uint32_t)sv_page_of((uintptr_t)p);
    return sv_span_slot_size(sv_span_at(sv_pagemap_first(page, sv_pagemap_get(page))));
}

static struct sv_profile_site site_of(const void *p)
{
    struct sv_profile_site site = {0};
    sv_profile_word *word = sv_profile_word_of(p);
    cr_assert(word && sv_profile_read(atomic_load(word), slot_bytes(p), &site));
    return site;
}

Test(profile, words)
{
    static const size_t sizes[] = {0,
                                   1,
                                   15,
                                   16,
                                   17,
                                   47,
                                   48,
                                   100,
                                   1000,
                                   1023,
                                   1024,
                                   4000,
                                   8191,
                                   8192,
                                   20000,
                                   32767,
                                   32768,
                                   40000,
                                   65535,
                                   65536,
                                   100000,
                                   1 << 20,
                                   (1 << 20) + 8191};
    enum { N = sizeof sizes / sizeof *sizes };
    static void *p[N][40];
    setup_with(SV_MODE_LEAKS, 0);
    cr_assert(sv_profile_all && sv_profile_on && !sv_profile_sampling);
    for (unsigned i = 0; i < N; i++) {
        for (unsigned k = 0; k < 40; k++) {
            p[i][k] = sv_heap_alloc(sizes[i]);
            cr_assert(p[i][k]);
            cr_assert_null(sv_profile_word_of(p[i][k]));
            sv_profile_record(p[i][k], sizes[i], i * 100 + k + 1);
        }
    }
    for (unsigned i = 0; i < N; i++) {
        for (unsigned k = 0; k < 40; k++) {
            struct sv_profile_site site = site_of(p[i][k]);
            cr_assert_eq(site.stack, i * 100 + k + 1);
            cr_assert_eq(site.bytes, sizes[i], "%zu for %zu", site.bytes, sizes[i]);
            cr_assert_gt(site.when, 0);
        }
    }
}

Test(profile, none)
{
    struct sv_profile_site site;
    setup_with(SV_MODE_COLLECT, 0);
    cr_assert(!sv_profile_on && !sv_profile_all && !sv_profile_sampling);
    void *p = sv_heap_alloc(100);
    cr_assert_null(sv_profile_word_of(p));
    cr_assert(!sv_profile_read(0, 112, &site));
}

// A stack of 0 is a record too.
Test(profile, unknown)
{
    setup_with(SV_MODE_LEAKS, 0);
    void *p = sv_heap_alloc(100);
    sv_profile_record(p, 100, 0);
    cr_assert_eq(site_of(p).stack, 0);
    cr_assert_eq(site_of(p).bytes, 100);
}

static void *freed_object;
static uint64_t freed_word;
static unsigned freed_calls;

static void freed(void *object, uint64_t word)
{
    freed_object = object;
    freed_word = word;
    freed_calls++;
}

// Who frees or resizes an object with state bits is told of, once; the word loses the bits only.
Test(profile, freed)
{
    static const size_t sizes[] = {40, 5000, 200000};
    setup_with(SV_MODE_LEAKS, 0);
    sv_profile_freed = freed;
    for (unsigned i = 0; i < 6; i++) {
        enum sv_verdict verdict;
        void *p = sv_heap_alloc(sizes[i / 2]), *quiet = sv_heap_alloc(sizes[i / 2]);
        sv_profile_record(p, sizes[i / 2], 7);
        sv_profile_record(quiet, sizes[i / 2], 8);
        uint64_t word = atomic_load(sv_profile_word_of(p)) | (uint64_t)5 << SV_PROFILE_STATE_SHIFT;
        atomic_store(sv_profile_word_of(p), word);
        freed_calls = 0;
        cr_assert_eq(sv_heap_free(quiet), SV_OURS);
        cr_assert_eq(freed_calls, 0);
        if (i % 2)
            cr_assert_eq(sv_heap_free(p), SV_OURS);
        else
            cr_assert(sv_heap_realloc(p, 3 * sizes[i / 2], &verdict));
        cr_assert_eq(freed_calls, 1, "%u calls", freed_calls);
        cr_assert(freed_object == p && freed_word == word);
    }
}

// Once somebody watches, no free takes the fast path, in old caches and new ones.
Test(profile, watch)
{
    setup_with(SV_MODE_LEAKS, 0);
    void *p = sv_heap_alloc(40), *q = sv_heap_alloc(40);
    cr_assert(sv_cache_free(p));
    sv_world_lock();
    sv_cache_watch();
    sv_world_unlock();
    cr_assert(!sv_cache_free(q));
    cr_assert_eq(sv_heap_free(q), SV_OURS);
}

// A span that goes takes its words with it: what comes to its place isn't recorded.
Test(profile, spans_go)
{
    static void *p[OBJECTS];
    setup_with(SV_MODE_LEAKS, 0);
    for (unsigned round = 0; round < 4; round++) {
        size_t size = round % 2 ? 40 : 3000;
        for (unsigned i = 0; i < OBJECTS; i++) {
            p[i] = sv_heap_alloc(size);
            sv_profile_word *word = sv_profile_word_of(p[i]);
            if (word) // the slot was taken before; the word is of its last object
                cr_assert_eq(site_of(p[i]).bytes, size, "words of another class");
            sv_profile_record(p[i], size, round + 1);
        }
        for (unsigned i = 0; i < OBJECTS; i++)
            cr_assert_eq(sv_heap_free(p[i]), SV_OURS);
        sv_cache_drain(sv_cache_get());
    }
    void *large = sv_heap_alloc(100000);
    cr_assert_null(sv_profile_word_of(large));
}

Test(profile, resize)
{
    setup_with(SV_MODE_COLLECT, 1);
    void *p = sv_heap_alloc(100000);
    sv_profile_record(p, 100000, 3);
    sv_profile_resize(p, 99000);
    cr_assert_eq(site_of(p).bytes, 99000);
    cr_assert_eq(site_of(p).stack, 3);
}

// A large slot shrinks in place only as far as its slack can be told.
Test(profile, slack)
{
    enum sv_verdict verdict;
    setup_with(SV_MODE_LEAKS, 0);
    for (size_t size = 32000; size > 16000; size -= 500) {
        void *p = sv_heap_alloc(32000);
        p = sv_heap_realloc(p, size, &verdict);
        sv_profile_record(p, size, 1);
        cr_assert_eq(site_of(p).bytes, size, "%zu for %zu", site_of(p).bytes, size);
        sv_heap_free(p);
    }
}

// ---- sampling -----------------------------------------------------------------------------------

static unsigned sampled(size_t size, unsigned n, bool zeroed)
{
    static void *p[64];
    unsigned due_all = 0;
    for (unsigned i = 0; i < n; i++) {
        bool due = false;
        void *q = i % 7 ? sv_cache_alloc(size) : NULL; // realloc doesn't ask the fast path
        if (!q)
            q = sv_heap_alloc_sampled(size, zeroed, false, &due);
        cr_assert(q);
        if (due) {
            sv_profile_record(q, size, 1);
            due_all++;
        }
        cr_assert_eq(sv_profile_word_of(q) != NULL, due, "size %zu", size);
        if (p[i % 64])
            sv_heap_free(p[i % 64]);
        p[i % 64] = q;
    }
    for (unsigned i = 0; i < 64; i++) {
        if (p[i])
            sv_heap_free(p[i]);
        p[i] = NULL;
    }
    return due_all;
}

// As many as a Poisson process brings, within five standard deviations, though every slot is taken
// again and again; the words are those of the sampled objects alone.
Test(profile, sampling, .timeout = 60)
{
    static const size_t sizes[] = {16, 100, 900, 1023, 1024, 9000, 40000};
    setup_with(SV_MODE_COLLECT, 65536);
    cr_assert(sv_profile_sampling && sv_profile_on && !sv_profile_all);
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned n = (unsigned)(65536u * 400 / (sizes[i] + 16));
        double slot =
            sizes[i] < 1024 ? (double)sv_classes[sv_sizeclass(sizes[i])].size : (double)sizes[i];
        double expected = n * (1 - exp(-slot / 65536)), found = sampled(sizes[i], n, i % 2);
        cr_expect(fabs(found - expected) < 5 * sqrt(expected), "size %zu: %.0f of %.0f", sizes[i],
                  found, expected);
    }
}

// The place of a large object may be taken again without its span's being unmade.
Test(profile, reused)
{
    setup_with(SV_MODE_COLLECT, 4096);
    atomic_store(&sv_heap.phase, SV_PHASE_MARK);
    void *p = sv_heap_alloc(100000);
    sv_profile_record(p, 100000, 1);
    cr_assert_eq(sv_heap_free(p), SV_OURS);
    cr_assert_eq(sv_heap_alloc(100000), p);
    cr_assert_null(sv_profile_word_of(p));
}

// No slot is lost on the way: what was freed is all that was taken.
Test(profile, sampling_keeps)
{
    setup_with(SV_MODE_COLLECT, 4096);
    for (unsigned round = 0; round < 20; round++)
        sampled(16 + round * 50, 5000, false);
    sv_cache_drain(sv_cache_get());
    cr_assert_eq(atomic_load(&sv_heap.live), 0, "%lu bytes", atomic_load(&sv_heap.live));
}
