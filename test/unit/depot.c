// The depot against a list of the stacks that were put there: same stack, same number; the frames
// come back as they were, whatever was put since; several threads agree.
#include "depot.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "metadata.h"

enum { STACKS = 40000, THREADS = 4, DEEPEST = 40 };

struct stack {
    unsigned n;
    uintptr_t frames[DEEPEST];
};

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

// The i-th stack: deterministic, with outer frames that many share, all numbers different.
static struct stack stack_make(unsigned i)
{
    struct stack s = {0};
    uint64_t state = i * 2654435761u + 1;
    s.n = 2 + (unsigned)(random_next(&state) % (DEEPEST - 2));
    for (unsigned f = 0; f < s.n; f++)
        s.frames[f] = 0x7f0000001000u + ((s.n - f) << 8) + random_next(&state) % 2;
    s.frames[0] = 0x550000000000u + i; // the innermost tells it apart
    if (i % 16 == 3)
        s.frames[1] |= SV_DEPOT_EXACT;
    return s;
}

static void stack_check(uint32_t number, const struct stack *s)
{
    uintptr_t frames[SV_DEPOT_DEPTH];
    unsigned n = sv_depot_get(number, frames);
    cr_assert_eq(n, s->n, "%u frames of %u", n, s->n);
    cr_assert(memcmp(frames, s->frames, n * sizeof *frames) == 0, "stack %u changed", number);
}

Test(depot, numbers, .timeout = 60)
{
    uint32_t *numbers = malloc(STACKS * sizeof *numbers);
    for (unsigned i = 0; i < STACKS; i++) {
        struct stack s = stack_make(i);
        numbers[i] = sv_depot_put(s.frames, s.n);
        cr_assert(numbers[i] > 0 && numbers[i] <= sv_depot_count());
        stack_check(numbers[i], &s);
    }
    uint32_t count = sv_depot_count();
    for (unsigned i = 0; i < STACKS; i++) {
        struct stack s = stack_make(i);
        cr_assert_eq(sv_depot_put(s.frames, s.n), numbers[i]);
        stack_check(numbers[i], &s);
    }
    cr_assert_eq(sv_depot_count(), count, "nothing new was put");
    free(numbers);
}

Test(depot, edges)
{
    uintptr_t frames[SV_DEPOT_DEPTH + 8], back[SV_DEPOT_DEPTH];
    for (unsigned i = 0; i < SV_DEPOT_DEPTH + 8; i++)
        frames[i] = 0x1000 + i;
    cr_assert_eq(sv_depot_put(frames, 0), 0);
    cr_assert_eq(sv_depot_get(0, back), 0);
    cr_assert_eq(sv_depot_get(1, back), 0, "no such number yet");
    for (unsigned n = 1; n <= SV_DEPOT_DEPTH; n++) {
        uint32_t number = sv_depot_put(frames, n);
        cr_assert_eq(sv_depot_get(number, back), n);
        cr_assert(memcmp(frames, back, n * sizeof *back) == 0);
    }
    uint32_t all = sv_depot_put(frames, SV_DEPOT_DEPTH);
    cr_assert_eq(sv_depot_put(frames, SV_DEPOT_DEPTH + 8), all, "the innermost are kept");
    cr_assert_eq(sv_depot_get(sv_depot_count() + 1, back), 0);
}

// Two stacks that differ in a frame's exactness, or in its upper half, are two.
Test(depot, differences)
{
    uintptr_t one[] = {0x401000, 0x402000}, two[] = {0x401000 | SV_DEPOT_EXACT, 0x402000},
              three[] = {0x7f0000401000, 0x402000}, four[] = {0x401000};
    uint32_t n[] = {sv_depot_put(one, 2), sv_depot_put(two, 2), sv_depot_put(three, 2),
                    sv_depot_put(four, 1)};
    for (unsigned i = 0; i < 4; i++)
        for (unsigned j = 0; j < i; j++)
            cr_assert_neq(n[i], n[j], "%u and %u", i, j);
}

// Who is inside metadata's lock (a handler that interrupted it) finds, but doesn't make.
Test(depot, locked)
{
    uintptr_t old[] = {0x401000, 0x402000}, new[] = {0x401000, 0x403000};
    uint32_t number = sv_depot_put(old, 2);
    sv_metadata_lock();
    cr_expect_eq(sv_depot_put(old, 2), number);
    cr_expect_eq(sv_depot_put(new, 2), 0);
    sv_metadata_unlock();
    cr_assert_neq(sv_depot_put(new, 2), 0);
}

static uint32_t thread_numbers[THREADS][STACKS];

static void *thread_put(void *arg)
{
    static const unsigned steps[THREADS] = {1, 3, 7, 9}; // none divides STACKS
    unsigned me = (unsigned)(uintptr_t)arg;
    for (unsigned k = 0; k < STACKS; k++) {
        unsigned i = (k * steps[me] + me * 977) % STACKS; // each in an order of its own
        struct stack s = stack_make(i);
        thread_numbers[me][i] = sv_depot_put(s.frames, s.n);
        stack_check(thread_numbers[me][i], &s);
    }
    return NULL;
}

Test(depot, threads, .timeout = 60)
{
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, thread_put, (void *)i);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (unsigned i = 1; i < THREADS; i++)
        cr_assert(memcmp(thread_numbers[0], thread_numbers[i], sizeof thread_numbers[0]) == 0);
}
