// The pool of marking work: one marker against an array, several against sums, and what becomes of
// entries when memory is short, a cycle ends or a child is forked. Its memory comes from here, so
// that every block is counted and can be refused.
#include "work.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "metadata.h"

static _Atomic long blocks;             // out
static _Atomic long allowed = LONG_MAX; // still to be had
static _Atomic long held_calls;         // of the forms that the stopper uses

static void *block_take(size_t bytes)
{
    if (atomic_fetch_sub(&allowed, 1) <= 0) {
        atomic_fetch_add(&allowed, 1);
        return NULL;
    }
    blocks++;
    char *p = malloc(bytes + 16);
    cr_assert(p != NULL);
    memset(p, 0xa5, bytes + 16);
    return p + (((uintptr_t)p & 16) ? 0 : 16); // never a multiple of 32
}

static void block_give(void *p)
{
    cr_assert(p != NULL);
    blocks--; // the block itself is left to the process's end: stale pointers would read it
}

void *sv_metadata_alloc(size_t bytes)
{
    return block_take(bytes);
}

void *sv_metadata_alloc_held(size_t bytes)
{
    held_calls++;
    return block_take(bytes);
}

void sv_metadata_free(void *p, size_t bytes)
{
    (void)bytes;
    block_give(p);
}

void sv_metadata_free_held(void *p, size_t bytes)
{
    (void)bytes;
    held_calls++;
    block_give(p);
}

static uint64_t random_from(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

static uint64_t seed = 88172645463325252;

Test(work, chunk_is_2_kilobytes)
{
    cr_assert(sizeof(struct sv_work_chunk) == 2048);
}

Test(work, empty)
{
    struct sv_work work = {0};
    cr_assert(sv_work_pop(&work) == 0 && sv_work_pop(&work) == 0 && sv_work_idle());
    sv_work_share(&work);
    sv_work_flush(&work);
    cr_assert(sv_work_idle());
    sv_work_reset();
    cr_assert(blocks == 0);
}

enum { MODEL_MAX = 40 * SV_WORK_CHUNK };

// What is in the queue, as a multiset: entries are 1..MODEL_MAX, each at most once.
struct model {
    bool in[MODEL_MAX + 1];
    size_t n;
    uintptr_t next;
};

static void model_push(struct model *m, struct sv_work *work)
{
    uintptr_t entry = m->next++ % MODEL_MAX + 1;
    if (m->in[entry])
        return;
    m->in[entry] = true;
    m->n++;
    sv_work_push(work, entry);
}

static void model_pop(struct model *m, struct sv_work *work)
{
    uintptr_t got = sv_work_pop(work);
    cr_assert((got == 0) == (m->n == 0), "%zu left", m->n);
    if (!got)
        return;
    cr_assert(got <= MODEL_MAX && m->in[got], "entry %lu twice or from nowhere", got);
    m->in[got] = false;
    m->n--;
}

// Two markers in one thread, up and down in random strides around a chunk's border, sharing and
// flushing as they like: together they have what was pushed, each entry once.
Test(work, two_markers_and_a_model)
{
    static struct model m;
    struct sv_work works[2] = {{0}, {0}};
    for (int round = 0; round < 20000; round++) {
        struct sv_work *work = &works[random_from(&seed) % 2];
        bool push = random_from(&seed) % 2;
        size_t steps =
            random_from(&seed) % (random_from(&seed) % 8 ? 8 : (size_t)SV_WORK_CHUNK * 3);
        for (size_t i = 0; i < steps && m.n < MODEL_MAX; i++) {
            if (push)
                model_push(&m, work);
            else if (sv_work_idle() && !work->top && !work->other)
                break; // the other one may have it all
            else if (m.n) {
                uintptr_t got = sv_work_pop(work);
                cr_assert(got == 0 || m.in[got]);
                m.n -= got != 0;
                m.in[got] = false;
            }
        }
        if (random_from(&seed) % 16 == 0)
            sv_work_share(work);
        if (random_from(&seed) % 64 == 0)
            sv_work_flush(work);
        cr_assert(!works[0].failed && !works[1].failed);
    }
    sv_work_flush(&works[1]);
    while (m.n)
        model_pop(&m, &works[0]);
    model_pop(&m, &works[0]);
    cr_assert(sv_work_idle());
    sv_work_reset();
    cr_assert(blocks == 0);
}

// One marker alone that shares nothing is a stack within two chunks, and steps over a border and
// back move no chunk.
Test(work, last_in_first_out)
{
    struct sv_work work = {0};
    for (uintptr_t i = 1; i <= 2 * SV_WORK_CHUNK; i++)
        sv_work_push(&work, i);
    cr_assert(sv_work_idle());
    for (uintptr_t i = 2 * SV_WORK_CHUNK; i > SV_WORK_CHUNK - 3; i--)
        cr_assert(sv_work_pop(&work) == i);
    for (int k = 0; k < 10; k++) {
        for (uintptr_t i = 0; i < 5; i++)
            sv_work_push(&work, 1000 + i);
        for (uintptr_t i = 5; i-- > 0;)
            cr_assert(sv_work_pop(&work) == 1000 + i);
    }
    cr_assert(sv_work_idle());
    sv_work_reset();
}

Test(work, memory_is_used_again)
{
    struct sv_work work = {0};
    long most = 0;
    for (int round = 0; round < 50; round++) {
        for (uintptr_t i = 1; i < 100 * SV_WORK_CHUNK; i++)
            sv_work_push(&work, i);
        most = round == 0 ? blocks : most;
        while (sv_work_pop(&work))
            ;
        cr_assert(blocks == most, "%ld blocks, then %ld", most, (long)blocks);
    }
    cr_assert(most <= 100 / 30 + 1);
    sv_work_reset();
    cr_assert(blocks == 0);
}

Test(work, share_gives_half_if_the_pool_is_empty)
{
    struct sv_work one = {0}, other = {0};
    for (uintptr_t i = 1; i <= 100; i++)
        sv_work_push(&one, i);
    sv_work_share(&one);
    cr_assert(!sv_work_idle());
    size_t n = 0;
    cr_assert(sv_work_pop(&other) == 50); // the older half, its youngest first
    for (n = 1; sv_work_pop(&other); n++)
        ;
    cr_assert(n == 50 && sv_work_idle());
    sv_work_share(&one);
    struct sv_work_chunk *top = one.top;
    sv_work_share(&one); // there is enough in the pool
    cr_assert(one.top == top && top->n == 25);
    sv_work_reset();
}

// Without memory an entry is dropped and the queue says so; what was queued before is all there.
Test(work, short_memory_is_a_failure)
{
    for (long blocks_allowed = 0; blocks_allowed < 3; blocks_allowed++) {
        struct sv_work work = {0};
        size_t n = 0;
        atomic_store(&allowed, blocks_allowed);
        while (n < 1000000 && !work.failed) {
            sv_work_push(&work, ++n);
            n -= work.failed;
        }
        cr_assert(work.failed);
        cr_assert(n / SV_WORK_CHUNK == (size_t)blocks_allowed * 31, "%zu entries", n);
        sv_work_push(&work, 1);
        size_t m = 0;
        while (sv_work_pop(&work))
            m++;
        cr_assert(n == m && work.failed);
        sv_work_push(&work, 1); // there is room again
        cr_assert(sv_work_pop(&work) == (blocks_allowed ? 1 : 0));
        sv_work_reset();
        cr_assert(blocks == 0);
    }
    atomic_store(&allowed, LONG_MAX);
}

Test(work, stopper_uses_the_held_forms)
{
    struct sv_work work = {0};
    sv_work_push(&work, 1);
    cr_assert(held_calls == 0 && blocks == 1);
    sv_work_held(true);
    for (uintptr_t i = 1; i < 100 * SV_WORK_CHUNK; i++)
        sv_work_push(&work, i);
    cr_assert(held_calls == blocks - 1);
    long before = held_calls;
    sv_work_reset();
    cr_assert(blocks == 0 && held_calls > before);
    sv_work_held(false);
}

// In a forked child what was queued is gone, and the memory is there to be used.
Test(work, fork_child_starts_anew)
{
    struct sv_work work = {0};
    sv_work_held(true);
    for (uintptr_t i = 1; i < 100 * SV_WORK_CHUNK; i++)
        sv_work_push(&work, i);
    long before = blocks;
    sv_work_fork_child();
    cr_assert(sv_work_idle());
    work = (struct sv_work){0};
    held_calls = 0;
    for (uintptr_t i = 1; i < 100 * SV_WORK_CHUNK; i++)
        sv_work_push(&work, i);
    cr_assert(blocks == before && held_calls == 0);
    size_t n = 0;
    while (sv_work_pop(&work))
        n++;
    cr_assert(n == 100 * SV_WORK_CHUNK - 1);
    sv_work_reset();
    cr_assert(blocks == 0);
}

// ---- threads ------------------------------------------------------------------------------------

enum { THREADS = 4, ENTRIES = 400000 };

static struct {
    pthread_barrier_t start;
    _Atomic uint8_t seen[THREADS * ENTRIES + 1]; // how often an entry came out
    _Atomic uint64_t popped;
} run;

// Pushes its own entries in strides, pops anybody's in strides, shares and flushes now and then,
// and at last helps until all entries of all threads came out.
static void *churn(void *arg)
{
    uintptr_t me = (uintptr_t)arg, next = me * ENTRIES + 1, end = (me + 1) * ENTRIES + 1;
    uint64_t mine = me * 7919 + 12345;
    struct sv_work work = {0};
    pthread_barrier_wait(&run.start);
    while (atomic_load(&run.popped) < (uint64_t)THREADS * ENTRIES) {
        for (size_t i = random_from(&mine) % 700; i > 0 && next < end; i--)
            sv_work_push(&work, next++);
        for (size_t i = random_from(&mine) % 700; i > 0; i--) {
            uintptr_t got = sv_work_pop(&work);
            if (!got)
                break;
            atomic_fetch_add(&run.seen[got], 1);
            atomic_fetch_add(&run.popped, 1);
        }
        if (random_from(&mine) % 4 == 0)
            sv_work_share(&work);
        if (random_from(&mine) % 16 == 0)
            sv_work_flush(&work);
    }
    cr_assert(!work.failed && sv_work_pop(&work) == 0);
    sv_work_flush(&work);
    return NULL;
}

Test(work, nothing_is_lost_or_doubled_among_threads, .timeout = 60)
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&run.start, NULL, THREADS);
    for (uintptr_t i = 0; i < THREADS; i++)
        cr_assert(pthread_create(&threads[i], NULL, churn, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 1; i <= (size_t)THREADS * ENTRIES; i++)
        cr_assert(run.seen[i] == 1, "entry %zu came out %d times", i, run.seen[i]);
    sv_work_reset();
    cr_assert(blocks == 0);
}

// The narrowest case: few chunks go round, so heads come back to what they were all the time.
static void *tug(void *arg)
{
    struct sv_work work = {0};
    uint64_t *sum = arg, n = 0;
    pthread_barrier_wait(&run.start);
    for (uintptr_t i = 1; i <= ENTRIES; i++) {
        sv_work_push(&work, i);
        *sum += i;
        sv_work_flush(&work);
        for (uintptr_t got; n < 2 && (got = sv_work_pop(&work)) != 0; n++)
            *sum -= got;
        n = 0;
        sv_work_flush(&work);
    }
    for (uintptr_t got; (got = sv_work_pop(&work)) != 0;)
        *sum -= got;
    return NULL;
}

Test(work, few_chunks_go_round, .timeout = 60)
{
    pthread_t threads[THREADS];
    static uint64_t sums[THREADS];
    pthread_barrier_init(&run.start, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        cr_assert(pthread_create(&threads[i], NULL, tug, &sums[i]) == 0);
    uint64_t sum = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        sum += sums[i];
    }
    cr_assert(sum == 0 && sv_work_idle());
    sv_work_reset();
}
