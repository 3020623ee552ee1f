// Traced objects: only the words that the client names keep anything, whether the object is found
// by marking or on a page that was written; for slots of all classes and for large objects.
#include "client.h"

#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "spans.h"

static struct sv_pages pages = {.pagemap_fd = -1, .mem_fd = -1};
static size_t traced; // bytes

// The descriptor's bits are the words that are pointers; those of a large object repeat. With the
// last bit set they are looked at also where the object isn't marked.
static void trace(struct sv_marker *m, uintptr_t start, size_t size, uintptr_t lo, uintptr_t hi,
                  bool marked)
{
    size_t words = size / 8 - 1;
    uint64_t bits = ((uint64_t *)start)[words];
    if (!marked && !(bits >> 63))
        return;
    traced += hi - lo;
    for (size_t i = (lo - start) / 8; i < words && start + i * 8 < hi; i++)
        if (bits >> (i % 64) & 1)
            sv_mark_word(m, ((uintptr_t *)start)[i]);
}

static const struct sv_client client = {.trace = trace};

static void setup(void)
{
    spans_setup();
    sv_client = &client;
    int procfd = sv_proc_open();
    cr_assert(procfd >= 0 && sv_pages_open(&pages, procfd) == 0);
    close(procfd);
}

TestSuite(client, .init = setup, .timeout = 60);

static bool marked(const void *p)
{
    struct sv_mark_place at;
    cr_assert(sv_mark_find((uintptr_t)p, &at) && at.start == (uintptr_t)p);
    return atomic_load(&at.bits->mark) & at.bit;
}

static struct sv_marker marker;

static void mark_begin(void)
{
    spans_phase(SV_PHASE_MARK);
    sv_mark_begin(&marker, &pages);
}

static void mark_drain(void)
{
    cr_assert(sv_mark_drain(&marker, UINT64_MAX) && !marker.work.failed);
}

static void mark_end(void)
{
    sv_mark_flush(&marker);
    spans_phase(SV_PHASE_OFF);
    sv_mark_clear();
}

enum { PAIRS = 40 };

static const size_t sizes[] = {16,   24,   40,    100,   500,   1000,   1500,
                               3000, 9000, 20000, 32000, 40000, 300000, 2000000};

Test(client, only_named_words_keep)
{
    for (unsigned k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t words = sizes[k] / 8;
        uintptr_t *object = sv_heap_alloc_traced(sizes[k], 0x5555555555555555);
        void *held[PAIRS], *loose[PAIRS];
        size_t n = words / 2 < PAIRS ? words / 2 : PAIRS;
        for (size_t i = 0; i < n; i++) {
            size_t at = (words / 2 - 1) * i / (n > 1 ? n - 1 : 1) * 2;
            object[at] = (uintptr_t)(held[i] = sv_heap_alloc(50));
            object[at + 1] = (uintptr_t)(loose[i] = sv_heap_alloc(50));
        }
        mark_begin();
        traced = 0;
        sv_mark_word(&marker, (uintptr_t)object + sizes[k] - 1);
        mark_drain();
        cr_assert(marked(object));
        struct sv_mark_place place;
        cr_assert(sv_mark_find((uintptr_t)object, &place));
        cr_assert(traced == sv_span_slot_size(place.span), "%zu bytes", traced);
        for (size_t i = 0; i < n; i++)
            cr_assert(marked(held[i]) && !marked(loose[i]), "size %zu, word %zu", sizes[k], i);
        mark_end();
    }
}

Test(client, written_pages)
{
    for (unsigned k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t words = sizes[k] / 8;
        uintptr_t *object = sv_heap_alloc_traced(sizes[k], ~(uint64_t)2);
        uintptr_t *white = sv_heap_alloc_traced(sizes[k], ~(uint64_t)2 >> 1);
        uintptr_t *dying = sv_heap_alloc_traced(sizes[k], ~(uint64_t)2);
        mark_begin();
        sv_mark_word(&marker, (uintptr_t)object);
        mark_drain();
        void *held = sv_heap_alloc(50), *loose = sv_heap_alloc(50), *unheld = sv_heap_alloc(50);
        void *last_held = sv_heap_alloc(50);
        sv_mark_clear(); // taken while objects are marked they are marked
        sv_mark_word(&marker, (uintptr_t)object);
        mark_drain();
        size_t last = words - 1 == 1 || (words - 1) % 64 == 1 ? words - 2 : words - 1;
        last -= last % 64 == 63; // of `white` too
        object[last] = (uintptr_t)held;
        object[1] = (uintptr_t)loose;
        white[last] = (uintptr_t)unheld;
        dying[last] = (uintptr_t)last_held;
        uintptr_t page = (uintptr_t)&object[last] & ~(uintptr_t)4095;
        sv_mark_page(&marker, page, page + 4096);
        page = (uintptr_t)&white[last] & ~(uintptr_t)4095;
        sv_mark_page(&marker, page, page + 4096);
        page = (uintptr_t)&dying[last] & ~(uintptr_t)4095;
        sv_mark_page(&marker, page, page + 4096);
        mark_drain();
        cr_assert(marked(last_held) && !marked(dying), "size %zu", sizes[k]);
        cr_assert(marked(held) && !marked(loose) && !marked(unheld), "size %zu: %d %d %d", sizes[k],
                  marked(held), marked(loose), marked(unheld));
        mark_end();
    }
}

// A slot that was used is zeroed throughout before its descriptor counts.
Test(client, fresh_objects_are_empty)
{
    for (unsigned k = 0; k < sizeof sizes / sizeof *sizes; k++)
        for (int again = 0; again < 3; again++) {
            unsigned char *p = sv_heap_alloc_traced(sizes[k], 7);
            struct sv_mark_place at;
            cr_assert(sv_mark_find((uintptr_t)p, &at) && sv_code_traced(at.span->code));
            size_t size = sv_span_slot_size(at.span);
            cr_assert(size >= sizes[k] + 9 && *(uint64_t *)(p + size - 8) == 7);
            for (size_t i = 0; i < size - 8; i++)
                cr_assert(p[i] == 0, "size %zu, byte %zu", sizes[k], i);
            memset(p, 0xff, size);
            cr_assert(sv_heap_free(p) == SV_OURS);
        }
}

// What realloc makes of one is an object like any other.
Test(client, realloc_makes_it_plain)
{
    enum sv_verdict verdict;
    for (unsigned k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        uintptr_t *p = sv_heap_alloc_traced(sizes[k], 1);
        p[1] = 77;
        p = sv_heap_realloc(p, sizes[k] + 8, &verdict);
        struct sv_mark_place at;
        cr_assert(p && sv_mark_find((uintptr_t)p, &at) && p[1] == 77);
        cr_assert(sv_code_kind(at.span->code) == SV_SCAN);
    }
}
