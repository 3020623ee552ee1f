// The marker's queue against an array. Its memory comes from here, so that every chunk is counted
// and can be refused.
#include "work.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdlib.h>

#include "metadata.h"

static long chunks;             // out
static long allowed = LONG_MAX; // still to be had

void *sv_metadata_alloc_held(size_t bytes)
{
    if (allowed == 0)
        return NULL;
    allowed--;
    chunks++;
    return calloc(1, bytes);
}

void sv_metadata_free_held(void *p, size_t bytes)
{
    cr_assert(p != NULL && bytes == sizeof(struct sv_work_chunk));
    chunks--;
    free(p);
}

static uint64_t seed = 88172645463325252;

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

enum { MODEL_MAX = 5 * SV_WORK_CHUNK };

struct model {
    uintptr_t entry[MODEL_MAX];
    size_t n;
};

static void model_push(struct model *m, struct sv_work *work)
{
    uintptr_t object = random_next() | 1;
    m->entry[m->n++] = object;
    sv_work_push(work, object);
}

static void model_pop(struct model *m, struct sv_work *work)
{
    uintptr_t want = m->n ? m->entry[--m->n] : 0;
    uintptr_t got = sv_work_pop(work);
    cr_assert(got == want, "%zu left: %lx, not %lx", m->n, got, want);
}

static size_t chunks_needed(size_t n)
{
    return (n + SV_WORK_CHUNK - 1) / SV_WORK_CHUNK;
}

Test(work, chunk_is_16_kilobytes)
{
    cr_assert(sizeof(struct sv_work_chunk) == 16384);
}

Test(work, empty)
{
    struct sv_work work = {0};
    cr_assert(sv_work_pop(&work) == 0 && sv_work_pop(&work) == 0);
    sv_work_end(&work);
    cr_assert(chunks == 0);
}

// Up and down in random strides, most of them around a chunk's border.
Test(work, pushes_and_pops_as_an_array)
{
    static struct model m;
    struct sv_work work = {0};
    size_t highest = 0;
    for (int round = 0; round < 4000; round++) {
        bool push = random_next() % 2;
        size_t steps = random_next() % 4 ? random_next() % 8 : random_next() % (SV_WORK_CHUNK * 2);
        for (size_t i = 0; i < steps; i++) {
            if (push && m.n < MODEL_MAX)
                model_push(&m, &work);
            else if (!push)
                model_pop(&m, &work);
            if (m.n > highest)
                highest = m.n;
        }
        cr_assert((size_t)chunks <= chunks_needed(highest), "%ld chunks for %zu", chunks, highest);
        cr_assert(!work.failed);
    }
    cr_assert(highest > 4 * SV_WORK_CHUNK);
    sv_work_end(&work);
    cr_assert(chunks == 0 && work.top == NULL && work.spare == NULL);
}

// One step over each border and back takes no new memory the second time.
Test(work, borders)
{
    static struct model m;
    struct sv_work work = {0};
    for (int border = 1; border <= 3; border++) {
        while (m.n < (size_t)border * SV_WORK_CHUNK)
            model_push(&m, &work);
        cr_assert(chunks == border);
        for (int i = 0; i < 10; i++) {
            model_push(&m, &work);
            cr_assert(chunks == border + 1);
            model_pop(&m, &work);
            model_pop(&m, &work);
            model_push(&m, &work);
        }
    }
    while (m.n)
        model_pop(&m, &work);
    cr_assert(sv_work_pop(&work) == 0 && chunks == 4);
    for (size_t i = 0; i < 4 * SV_WORK_CHUNK; i++)
        model_push(&m, &work);
    cr_assert(chunks == 4, "spare chunks are used before new ones");
    while (m.n)
        model_pop(&m, &work);
    sv_work_end(&work);
    cr_assert(chunks == 0);
}

Test(work, end_frees_what_is_still_queued)
{
    static struct model m;
    for (size_t n = 0; n < 4 * SV_WORK_CHUNK; n += 511) {
        struct sv_work work = {0};
        m.n = 0;
        for (size_t i = 0; i < n; i++)
            model_push(&m, &work);
        for (size_t i = 0; i < n / 2; i++)
            model_pop(&m, &work);
        sv_work_end(&work);
        cr_assert(chunks == 0, "%ld chunks lost of %zu entries", chunks, n);
    }
}

// Without memory an object is dropped and the queue says so; what was queued before is all there.
Test(work, short_memory_is_a_failure)
{
    static struct model m;
    for (allowed = 0; allowed < 3;) {
        struct sv_work work = {0};
        long fits = allowed;
        m.n = 0;
        for (size_t i = 0; i < (size_t)fits * SV_WORK_CHUNK; i++)
            model_push(&m, &work);
        cr_assert(!work.failed && allowed == 0);
        sv_work_push(&work, 1);
        cr_assert(work.failed);
        while (m.n)
            model_pop(&m, &work);
        cr_assert(sv_work_pop(&work) == 0);
        sv_work_end(&work);
        cr_assert(chunks == 0 && !work.failed);
        allowed = fits + 1;
    }
}
