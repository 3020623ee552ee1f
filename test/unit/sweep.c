// Sweeping after marks set by hand: exactly what is in use and unmarked goes, whatever happened to
// it since it was marked, and the counts agree with the bits at every step.
#include "sweep.h"

#include <stdlib.h>
#include <string.h>

#include "central.h"
#include "large.h"
#include "lock.h"
#include "mark.h"
#include "options.h"
#include "spans.h"

TestSuite(sweep, .init = spans_setup, .timeout = 60);

struct object {
    void *p; // NULL: gone
    unsigned code;
    size_t size; // of the slot or the pages
    bool marked;
};

static struct object object_take(unsigned code, size_t large)
{
    struct object o = {NULL, code, sv_classes[sv_code_class(code)].size, false};
    if (sv_code_class(code) == SV_CLASS_LARGE) {
        o.p = sv_large_alloc(large, 1, sv_code_noscan(code), false);
        o.size = sv_large_pages(large) << SV_PAGE_SHIFT;
    } else {
        o.p = sv_central_take(code);
    }
    cr_assert(o.p != NULL);
    return o;
}

static void object_mark(struct object *o)
{
    struct sv_mark_place at;
    cr_assert(sv_mark_find((uintptr_t)o->p + spans_random((unsigned)o->size), &at));
    cr_assert(at.start == (uintptr_t)o->p);
    if (!sv_heap_marking())
        spans_phase(SV_PHASE_MARK);
    size_t size = sv_span_slot_size(at.span);
    if (!(atomic_fetch_or(&at.bits->mark, at.bit) & at.bit))
        atomic_fetch_add(&sv_heap.marked, size);
    o->marked = true;
}

static bool object_free(struct object *o)
{
    if (sv_code_class(o->code) != SV_CLASS_LARGE)
        return sv_central_give(o->code, o->p);
    return sv_large_free(sv_span_at((uint32_t)sv_page_of((uintptr_t)o->p)));
}

static bool object_found(const struct object *o)
{
    struct sv_mark_place at;
    return sv_mark_find((uintptr_t)o->p, &at) && at.start == (uintptr_t)o->p;
}

// Marks some, frees some before the mark and some after it. n objects.
static void objects_stir(struct object *o, unsigned n, unsigned percent)
{
    for (unsigned i = 0; i < n; i++) {
        if (spans_random(8) == 0) {
            cr_assert(object_free(&o[i]));
            o[i].p = NULL;
        } else if (spans_random(100) < percent) {
            object_mark(&o[i]);
        }
    }
    for (unsigned i = 0; i < n; i++) {
        if (o[i].p && spans_random(8) == 0) {
            cr_assert(object_free(&o[i]));
            o[i].p = NULL;
            o[i].marked = false;
        }
    }
}

// What a cycle does when it has marked.
static void flip(const struct object *o, unsigned n)
{
    uint64_t marked = 0;
    for (unsigned i = 0; i < n; i++)
        marked += o[i].p && o[i].marked ? o[i].size : 0;
    if (!sv_heap_marking())
        spans_phase(SV_PHASE_MARK); // nothing was marked
    cr_assert(sv_heap.marked == marked, "%lu marked, not %lu", sv_heap.marked, marked);
    spans_flip();
}

// Frees some that wait to be swept, unmarked ones too: the program hid their pointers.
static void objects_free_unswept(struct object *o, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (o[i].p && spans_random(10) == 0 && object_found(&o[i])) {
            cr_assert(object_free(&o[i]));
            o[i].p = NULL;
        }
    }
}

static void survivors_check(struct object *o, unsigned n)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < n; i++) {
        if (!o[i].p)
            continue;
        cr_assert(object_found(&o[i]) == o[i].marked, "%p of code %u", o[i].p, o[i].code);
        bytes += o[i].marked ? o[i].size : 0;
    }
    uint64_t found = spans_check();
    spans_unmarked();
    cr_assert(found == bytes, "%lu bytes in use, not %lu", found, bytes);
    cr_assert(sv_heap.live == bytes, "live %lu, not %lu", sv_heap.live, bytes);
    cr_assert(sv_heap.allocated == bytes + sv_heap.freed + sv_heap.reclaimed);
}

static void second_sweep_takes_nothing(void)
{
    uint64_t reclaimed = sv_heap.reclaimed;
    cr_assert(sv_sweep_finish() == 0 && sv_sweep_large() == 0);
    for (unsigned code = 0; code < SV_NCODE; code++)
        cr_assert(sv_central_sweep(code, &(unsigned){UINT32_MAX}) == 0);
    cr_assert(sv_heap.reclaimed == reclaimed);
}

static void round_of(struct object *o, unsigned n, unsigned percent, bool free_unswept)
{
    objects_stir(o, n, percent);
    spans_check();
    flip(o, n);
    spans_check();
    if (free_unswept)
        objects_free_unswept(o, n);
    spans_check();
    sv_sweep_finish();
    survivors_check(o, n);
    second_sweep_takes_nothing();
    survivors_check(o, n);
}

// Every code, spans and a rest of it, with few, half and most marked.
Test(sweep, takes_exactly_the_unmarked)
{
    for (unsigned code = 1; code < SV_NCODE; code++) {
        unsigned class = sv_code_class(code);
        if (class == 0 || class == SV_CLASS_LARGE)
            continue;
        unsigned n = sv_classes[class].nslots * 5 / 2 + 3;
        struct object *o = calloc(n, sizeof *o);
        for (unsigned i = 0; i < n; i++)
            o[i] = object_take(code, 0);
        round_of(o, n, code % 3 * 45 + 5, code % 2);
        for (unsigned i = 0; i < n; i++) // the marked ones are the program's to free, once
            cr_assert(!o[i].p || !o[i].marked || object_free(&o[i]));
        cr_assert(spans_check() == 0 && sv_heap.live == 0);
        free(o);
    }
}

Test(sweep, all_and_none)
{
    enum { N = 300 };
    struct object o[N];
    for (int all = 0; all < 2; all++) {
        for (unsigned i = 0; i < N; i++) {
            o[i] = object_take(1 + i % (SV_CLASS_LARGE - 1), 0);
            if (all)
                object_mark(&o[i]);
        }
        flip(o, N);
        size_t bytes = sv_sweep_finish();
        survivors_check(o, N);
        cr_assert((bytes == 0) == (all == 1));
        for (unsigned i = 0; all && i < N; i++)
            cr_assert(object_free(&o[i]));
        cr_assert(spans_check() == 0);
    }
}

Test(sweep, large_objects)
{
    enum { N = 60 };
    struct object o[N];
    for (int round = 0; round < 30; round++) {
        for (unsigned i = 0; i < N; i++)
            o[i] = object_take(sv_code(SV_CLASS_LARGE, i % 2), 32768 + spans_random(200000));
        round_of(o, N, 50, round % 2);
        for (unsigned i = 0; i < N; i++)
            cr_assert(!o[i].p || !o[i].marked || object_free(&o[i]));
        cr_assert(spans_check() == 0 && sv_heap.live == 0);
    }
}

// A slot that was freed after it was marked doesn't come back to life: `alloc &= mark`.
Test(sweep, freed_after_the_mark_stays_free)
{
    struct object keep = object_take(6, 0), gone = object_take(6, 0);
    object_mark(&keep);
    object_mark(&gone);
    cr_assert(object_free(&gone));
    flip(&keep, 1);
    cr_assert(sv_sweep_finish() == 0);
    cr_assert(object_found(&keep) && !object_found(&gone));
    cr_assert(!object_free(&gone) && object_free(&keep));
}

// What was taken again after it was freed and before it is swept belongs to the new generation.
Test(sweep, taken_while_unswept_is_kept)
{
    enum { N = 700 };
    static struct object o[2 * N];
    for (unsigned round = 0; round < 20; round++) {
        unsigned code = 1 + round * 3;
        for (unsigned i = 0; i < N; i++)
            o[i] = object_take(code, 0);
        objects_stir(o, N, 50);
        flip(o, N);
        for (unsigned i = N; i < 2 * N; i++) {
            o[i] = object_take(code, 0); // sweeps as it goes
            o[i].marked = true;          // by its age
            for (unsigned k = 0; k < N; k++) {
                if (o[k].p != o[i].p)
                    continue;
                cr_assert(!o[k].marked); // only a dead one's slot may be taken
                o[k].p = NULL;
            }
            if (i % 7 == 0)
                spans_check();
        }
        sv_sweep_finish();
        survivors_check(o, 2 * N);
        for (unsigned i = 0; i < 2 * N; i++)
            cr_assert(!o[i].p || !o[i].marked || object_free(&o[i]));
        cr_assert(spans_check() == 0);
    }
}

// Objects made after the flip are not the last cycle's, though nothing marks them.
Test(sweep, new_large_objects_are_kept)
{
    struct object o[2];
    o[0] = object_take(SV_CLASS_LARGE, 100000);
    flip(o, 1);
    o[1] = object_take(SV_CLASS_LARGE, 100000);
    cr_assert(sv_sweep_large() == o[0].size);
    o[1].marked = true;
    o[0].p = NULL;
    survivors_check(o, 2);
}

// The program resizes one that waits to be swept.
Test(sweep, large_resized_while_unswept)
{
    static const size_t sizes[] = {40000, 100000, 400000};
    for (unsigned k = 0; k < 6; k++) {
        struct object o = object_take(SV_CLASS_LARGE, 100000);
        if (k % 2)
            object_mark(&o);
        flip(&o, 1);
        struct sv_span *span = sv_span_at((uint32_t)sv_page_of((uintptr_t)o.p));
        cr_assert(sv_large_resize(span, sizes[k / 2]));
        o.size = sv_large_pages(sizes[k / 2]) << SV_PAGE_SHIFT;
        o.marked = o.marked || object_found(&o);
        sv_sweep_finish();
        o.marked = object_found(&o);
        survivors_check(&o, 1);
        cr_assert(!o.marked || object_free(&o));
        cr_assert(sv_heap.live == 0 && spans_check() == 0, "%lu", sv_heap.live);
    }
}

// A budget is kept, and the rest is there for the next one.
Test(sweep, in_small_portions)
{
    enum { N = 2000, CODE = 10 };
    static struct object o[N];
    for (unsigned i = 0; i < N; i++)
        o[i] = object_take(CODE, 0);
    unsigned spans = sv_heap.central[CODE].nspans, steps = 0;
    objects_stir(o, N, 50);
    flip(o, N);
    while (sv_heap.central[CODE].unswept.first) {
        sv_central_sweep(CODE, &(unsigned){1});
        steps++;
        spans_check();
    }
    cr_assert(steps == spans, "%u steps, %u spans", steps, spans);
    survivors_check(o, N);
}

// The only slot that a sweep brought back, in the first word of a full span, is the next one taken.
Test(sweep, slots_are_found_again)
{
    for (unsigned code = 1; code <= SV_DENSE_CLASS_MAX + 4; code++) {
        unsigned n = sv_classes[code].nslots;
        struct object *o = calloc(n, sizeof *o);
        for (unsigned i = 0; i < n; i++)
            o[i] = object_take(code, 0);
        for (unsigned i = 0; i < n; i++)
            if (i != 5)
                object_mark(&o[i]);
        flip(o, n);
        cr_assert(sv_sweep_finish() == o[5].size);
        spans_check();
        struct object again = object_take(code, 0);
        cr_assert(again.p == o[5].p && sv_heap.central[code].nspans == 1);
        for (unsigned i = 0; i < n; i++)
            cr_assert(object_free(&o[i]));
        free(o);
    }
}

// Several cycles over the same objects, in which fewer and fewer stay.
Test(sweep, cycle_after_cycle)
{
    enum { N = 3000 };
    static struct object o[N];
    for (unsigned i = 0; i < N; i++)
        o[i] = object_take(1 + spans_random(20) + (i % 2 ? SV_NCLASS : 0), 0);
    for (int cycle = 0; cycle < 12; cycle++) {
        unsigned n = 0;
        for (unsigned i = 0; i < N; i++)
            if (o[i].p && (cycle == 0 || o[i].marked))
                o[n++] = o[i];
        for (unsigned i = 0; i < n; i++)
            o[i].marked = false;
        memset(o + n, 0, (N - n) * sizeof *o);
        round_of(o, n, 80, cycle % 2);
    }
}

// With the option, what is reclaimed is filled, and what stays isn't.
Test(sweep, clobber_fills_the_dead)
{
    struct object o[64];
    sv_options.clobber = true;
    for (unsigned i = 0; i < 64; i++) {
        o[i] = object_take(8, 0);
        memset(o[i].p, 1, o[i].size);
    }
    for (unsigned i = 1; i < 64; i += 2)
        object_mark(&o[i]);
    flip(o, 64);
    sv_sweep_finish();
    for (unsigned i = 0; i < 64; i++) {
        unsigned char *p = o[i].p;
        cr_assert(p[0] == (i % 2 ? 1 : SV_CLOBBER) && memcmp(p, p + 1, o[i].size - 1) == 0);
    }
    survivors_check(o, 64);
}

// Marks of a cycle that was given up are undone, and the next one starts from none.
Test(sweep, abandoned_marks_are_cleared)
{
    enum { N = 400 };
    struct object o[N];
    for (unsigned i = 0; i < N; i++) {
        o[i] = i % 50 ? object_take(1 + i % 20, 0) : object_take(SV_CLASS_LARGE, 50000);
        object_mark(&o[i]);
    }
    sv_heap_lock_all();
    sv_mark_clear();
    sv_heap_unlock_all();
    spans_phase(SV_PHASE_OFF);
    for (unsigned i = 0; i < N; i++)
        o[i].marked = false;
    spans_check();
    flip(o, N);
    sv_sweep_finish();
    survivors_check(o, N);
    cr_assert(sv_heap.live == 0);
}

// ---- by and by ----------------------------------------------------------------------------------

Test(sweep, debt_is_in_proportion)
{
    cr_assert(sv_sweep_due(1000, 0, 1 << 20) == 0);
    cr_assert(sv_sweep_due(1000, 1 << 19, 1 << 20) == 500);
    cr_assert(sv_sweep_due(1000, 1 << 20, 1 << 20) == 1000);
    cr_assert(sv_sweep_due(1000, UINT64_MAX, 1 << 20) == 1000);
    cr_assert(sv_sweep_due(0, 5, 10) == 0);
    for (unsigned k = 0; k < 100000; k++) {
        uint64_t pages = spans_random(1 << 27), distance = 8192 + spans_seed % ((uint64_t)1 << 46);
        uint64_t allocated = spans_random(1000000) * (distance / 1000000);
        uint64_t due = sv_sweep_due(pages, allocated, distance);
        double want = (double)pages * (double)allocated / (double)distance;
        cr_assert((double)due <= want + 1 && (double)due >= want - 2 - want / 1e6,
                  "%lu of %lu pages for %lu of %lu bytes", due, pages, allocated, distance);
    }
}

// The debt is paid a mebibyte before the trigger, and soon where that lies behind.
Test(sweep, distance_ends_before_the_trigger)
{
    enum { MIB = 1 << 20 };
    cr_assert(sv_sweep_distance(100 * MIB, 200 * MIB) == 99 * MIB);
    cr_assert(sv_sweep_distance(100 * MIB, 101 * MIB) == 8192);
    cr_assert(sv_sweep_distance(100 * MIB, 100 * MIB) == 8192);
    cr_assert(sv_sweep_distance(200 * MIB, 100 * MIB) == 8192);
    cr_assert(sv_sweep_distance(100, UINT64_MAX) == UINT64_MAX - 100 - MIB);
}

static unsigned spans_unswept(void)
{
    unsigned n = 0;
    for (unsigned code = 0; code < SV_NCODE; code++)
        for (uint32_t page = sv_heap.central[code].unswept.first; page;
             page = sv_span_at(page)->next)
            n++;
    return n;
}

// A heap of n slots of many codes, every third page's worth kept, flipped and not swept.
static unsigned garbage_flipped(struct object *o, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        o[i] = object_take(10 + i % 20, 0);
    for (unsigned i = 0; i < n; i++)
        if (i / 1000 % 3 == 0)
            object_mark(&o[i]);
    flip(o, n);
    return spans_unswept();
}

// Objects of a code that has nothing to sweep pay for the others in step with what is allocated,
// and when the distance is gone nothing is left.
Test(sweep, allocation_pays_for_the_sweep)
{
    enum { N = 20000, STEPS = 100 };
    static struct object o[N];
    unsigned all = garbage_flipped(o, N), left = all;
    sv_sweep_begin(sv_heap.live + 5 * STEPS * 1024 + (1 << 20));
    cr_assert(sv_sweep_active() && all > 100);
    for (unsigned i = 1; i <= STEPS; i++) {
        for (unsigned k = 0; k < 5; k++)
            sv_central_take(sv_code(sv_sizeclass(1023), true));
        unsigned now = spans_unswept();
        cr_assert(now <= left && now <= all - all * (i - 1) / STEPS + 4, "step %u: %u", i, now);
        cr_assert(i > 2 || now > all / 2, "step %u: %u of %u", i, now, all);
        left = now;
    }
    sv_central_take(1);
    cr_assert(spans_unswept() == 0 && !sv_sweep_step(1) && !sv_sweep_active());
    spans_unmarked();
}

// Steps look at so many spans each, whatever their codes, and say when nothing is left.
Test(sweep, steps_keep_their_budget)
{
    enum { N = 5000 };
    static struct object o[N];
    for (unsigned budget = 1; budget < 200; budget = budget * 2 + 1) {
        unsigned all = garbage_flipped(o, N), left = all;
        sv_sweep_begin(UINT64_MAX);
        while (sv_sweep_step(budget)) {
            unsigned now = spans_unswept();
            cr_assert(left - now == (left < budget ? left : budget), "%u, %u", left, now);
            left = now;
        }
        cr_assert(spans_unswept() == 0 && !sv_sweep_active());
        survivors_check(o, N);
        for (unsigned i = 0; i < N; i++)
            cr_assert(!o[i].marked || object_free(&o[i]));
        cr_assert(sv_heap.live == 0);
    }
}

// Whoever needs pages sweeps for them first: the heap doesn't grow over garbage.
Test(sweep, pages_come_from_garbage_first)
{
    enum { N = 64 };
    static struct object o[30 * N];
    for (unsigned i = 0; i < 30 * N; i++)
        o[i] = object_take(SV_CLASS_LARGE - 1, 0); // few slots a span
    flip(o, 30 * N);
    uint64_t inuse = sv_heap.pages_inuse;
    sv_sweep_begin(UINT64_MAX);
    for (unsigned i = 0; i < N; i++) {
        cr_assert(sv_large_alloc(40000, 1, false, false));
        cr_assert(sv_heap.pages_inuse <= inuse, "%lu pages, then %lu", inuse, sv_heap.pages_inuse);
    }
    cr_assert(sv_sweep_active());
}

// Also for a span of a code that has nothing to sweep.
Test(sweep, spans_come_from_garbage_first)
{
    enum { N = 500, CODE = 30 };
    static struct object o[N];
    for (unsigned i = 0; i < N; i++)
        o[i] = object_take(SV_CLASS_LARGE - 1, 0);
    flip(o, N);
    uint64_t inuse = sv_heap.pages_inuse;
    sv_sweep_begin(UINT64_MAX);
    for (unsigned k = 0; k < 5u * sv_classes[CODE].nslots; k++) {
        sv_central_take(CODE);
        cr_assert(sv_heap.pages_inuse <= inuse);
    }
    cr_assert(sv_sweep_active());
}
