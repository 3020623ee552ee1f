// The pacer by simulation: programs that free all, that leak, that do both in turns. A program is
// how much it keeps, and how much garbage it makes for each byte that it allocates.
#include "pacer.h"

#include <criterion/criterion.h>

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

struct program {
    struct sv_pacer pacer;
    uint64_t live;    // reachable
    uint64_t garbage; // unreachable and not freed
    uint64_t trigger;
    uint64_t roots;
    uint64_t peak; // most that was ever out
    unsigned cycles;
};

static uint64_t floor_of(uint32_t gcpercent)
{
    return SV_PACER_FIRST * gcpercent / 100;
}

static struct program program_start(uint32_t gcpercent)
{
    return (struct program){.pacer = {.gcpercent = gcpercent},
                            .trigger = gcpercent == UINT32_MAX ? UINT64_MAX : floor_of(gcpercent)};
}

static void program_collect(struct program *p)
{
    struct sv_pacer_cycle cycle = {p->live + p->garbage, p->live, p->roots};
    p->garbage = 0;
    p->trigger = sv_pacer_next(&p->pacer, &cycle);
    p->cycles++;
    cr_assert(p->trigger >= floor_of(p->pacer.gcpercent), "goal %lu below the floor", p->trigger);
    cr_assert(p->trigger >= p->live, "goal %lu, but %lu are live", p->trigger, p->live);
}

// Allocates; cycles start when they are due.
static void program_run(struct program *p, uint64_t keep, uint64_t lose)
{
    p->live += keep;
    p->garbage += lose;
    if (p->live + p->garbage > p->peak)
        p->peak = p->live + p->garbage;
    if (p->live + p->garbage >= p->trigger)
        program_collect(p);
}

// A goal when nothing was found, after a cycle of an ordinary kind.
static uint64_t next(uint32_t gcpercent, uint32_t stretch, uint64_t before, uint64_t after,
                     uint64_t roots)
{
    struct sv_pacer pacer = {gcpercent, stretch};
    struct sv_pacer_cycle cycle = {before, after, roots};
    return sv_pacer_next(&pacer, &cycle);
}

static bool near(uint64_t a, uint64_t b)
{
    uint64_t apart = a > b ? a - b : b - a;
    return apart <= b / 1000 + 1000;
}

Test(pacer, ordinary_goal_is_gcpercent)
{
    cr_assert(near(next(100, 1, 200 * MIB, 100 * MIB, 0), 200 * MIB));
    cr_assert(near(next(10, 1, 200 * MIB, 100 * MIB, 0), 110 * MIB));
    cr_assert(near(next(1000, 1, 200 * MIB, 100 * MIB, 0), 1100 * MIB));
    cr_assert(near(next(100, 1, 200 * MIB, 100 * MIB, 20 * MIB), 220 * MIB));
    cr_assert(near(next(100, 1, 200 * MIB, 100 * MIB, 64 * GIB), 300 * MIB), "roots are bounded");
}

Test(pacer, off_is_never)
{
    for (uint64_t bytes = 1; bytes < (uint64_t)1 << 41; bytes *= 3)
        cr_assert(next(UINT32_MAX, 0, bytes, bytes / 2, bytes) == UINT64_MAX);
    struct program p = program_start(UINT32_MAX);
    for (int i = 0; i < 10000; i++)
        program_run(&p, MIB, MIB);
    cr_assert(p.cycles == 0);
}

Test(pacer, goal_is_never_below_the_floor)
{
    static const uint32_t percents[] = {10, 100, 1000, 10000};
    for (unsigned k = 0; k < 4; k++)
        for (uint64_t after = 0; after < 64 * MIB; after += 77777)
            for (uint32_t stretch = 0; stretch <= 3; stretch++)
                cr_assert(next(percents[k], stretch, 2 * after, after, 0) >= floor_of(percents[k]));
    cr_assert(next(100, 1, 0, 0, 0) == floor_of(100));
}

Test(pacer, no_overflow)
{
    static const uint32_t percents[] = {10, 100, 1000, 10000};
    uint64_t tib = (uint64_t)1 << 40;
    for (unsigned k = 0; k < 4; k++) {
        uint64_t growth = tib / 100 * percents[k];
        for (uint32_t stretch = 0; stretch <= 3; stretch++) {
            cr_assert(near(next(percents[k], stretch, tib, tib, 0), tib + 3 * growth));
            cr_assert(near(next(percents[k], stretch, tib, tib, tib), tib + 3 * growth));
            cr_assert(near(next(percents[k], stretch, tib, tib, UINT64_MAX), tib + 3 * growth));
            cr_assert(near(next(percents[k], stretch, 2 * tib, tib, 0), tib + growth));
            cr_assert(near(next(percents[k], stretch, 2 * tib, tib, UINT64_MAX), tib + 2 * growth));
        }
    }
}

// A goal grows with what is live: no step in the arithmetic turns round.
Test(pacer, goal_is_monotonic)
{
    for (uint32_t stretch = 1; stretch <= 3; stretch += 2) {
        uint64_t last = 0;
        for (uint64_t after = 0; after < 4 * GIB; after += 3333333) {
            uint64_t goal = next(100, stretch, after + after / 20, after, after / 3);
            cr_assert(goal >= last, "live %lu: goal %lu after %lu", after, goal, last);
            last = goal;
        }
    }
}

// What it allocates it frees: each cycle finds the same. Three times the growth, no more.
Test(pacer, steady_program_that_frees_all)
{
    for (uint64_t live = 20 * MIB; live < 2 * GIB; live *= 3) {
        struct program p = program_start(100);
        p.live = live;
        p.roots = 5 * MIB;
        for (int i = 0; i < 10; i++) {
            program_collect(&p);
            cr_assert(p.trigger <= 4 * live && near(p.trigger, 4 * live), "%lu of %lu", p.trigger,
                      live);
        }
    }
}

Test(pacer, fruitless_goal_is_bounded)
{
    static const uint64_t roots[] = {0, MIB, GIB, 100 * GIB};
    for (uint64_t live = 3 * MIB; live < 100 * GIB; live = live * 5 / 3)
        for (unsigned k = 0; k < 4; k++) {
            uint64_t goal = next(100, 1, live, live, roots[k]);
            uint64_t bound = 4 * live > floor_of(100) ? 4 * live : floor_of(100);
            cr_assert(goal <= bound, "live %lu roots %lu: %lu", live, roots[k], goal);
        }
}

Test(pacer, growth_without_garbage_costs_few_cycles)
{
    struct program p = program_start(100);
    p.roots = 2 * MIB;
    while (p.live < GIB)
        program_run(&p, 64 << 10, 0);
    cr_assert(p.cycles >= 1 && p.cycles <= 6, "%u cycles", p.cycles);
}

Test(pacer, one_step_up_costs_few_cycles)
{
    struct program p = program_start(100);
    program_run(&p, 10 * MIB, 0);
    program_run(&p, 5 * GIB, 0);
    unsigned cycles = p.cycles;
    for (int i = 0; i < 1000; i++)
        program_run(&p, MIB, 0);
    cr_assert(cycles <= 2 && p.cycles == cycles, "%u, then %u cycles", cycles, p.cycles);
}

// A program that drops most of what it had: the next goal is small again.
Test(pacer, one_step_down_lowers_the_goal)
{
    struct program p = program_start(100);
    program_run(&p, 3 * GIB, 0);
    p.live = 50 * MIB;
    p.garbage = 3 * GIB;
    program_collect(&p);
    cr_assert(near(p.trigger, 100 * MIB), "%lu", p.trigger);
}

// Fruitless cycles for a long time, then every byte is lost. The one long wait is over with the
// first cycle that finds something, and after it the heap stays below twice what is live.
Test(pacer, leak_that_starts_late)
{
    struct program p = program_start(100);
    p.live = 100 * MIB;
    for (int i = 0; i < 50; i++)
        program_collect(&p);
    p.peak = 0;
    unsigned cycles = p.cycles;
    while (p.cycles == cycles)
        program_run(&p, 0, 64 << 10);
    cr_assert(p.peak <= 4 * p.live + MIB, "%lu before the first cycle", p.peak);
    cr_assert(p.pacer.stretch == 1);
    p.peak = 0;
    for (int i = 0; i < 100000; i++)
        program_run(&p, 0, 64 << 10);
    cr_assert(p.peak <= 2 * p.live + MIB, "%lu at most", p.peak);
    cr_assert(p.peak >= 2 * p.live - MIB, "%lu at most", p.peak);
}

// Little lost, or much, for ever, beside what it keeps: bounded by four times what is live.
Test(pacer, slow_leak_is_bounded)
{
    for (uint64_t lose = 1; lose <= 4096; lose *= 4) {
        struct program p = program_start(100);
        p.live = 64 * MIB;
        for (int i = 0; i < 50000; i++)
            program_run(&p, 0, lose << 4);
        cr_assert(p.peak <= 4 * p.live + MIB, "loses %lu: %lu", lose, p.peak);
    }
}

// Yield in turns high and nothing: each cycle's goal is that of its own finding, within the bounds.
Test(pacer, oscillating_program)
{
    struct program p = program_start(100);
    p.live = 200 * MIB;
    for (int i = 0; i < 200; i++) {
        bool productive = i % 2;
        p.garbage = productive ? p.live : 0;
        program_collect(&p);
        cr_assert(near(p.trigger, productive ? 2 * p.live : 4 * p.live), "round %d: %lu", i,
                  p.trigger);
    }
}

// Between the two yields the stretch stays what it was, and a program that grows in waves is never
// paced by less than gcpercent.
Test(pacer, yields_between_change_nothing)
{
    for (uint32_t stretch = 1; stretch <= 3; stretch += 2) {
        struct sv_pacer pacer = {100, stretch};
        for (uint64_t percent = 3; percent <= 9; percent++) {
            struct sv_pacer_cycle cycle = {100 * MIB, (100 - percent) * MIB, 0};
            sv_pacer_next(&pacer, &cycle);
            cr_assert(pacer.stretch == stretch, "%lu %%", percent);
        }
    }
    struct program p = program_start(100);
    for (int wave = 0; wave < 40; wave++) {
        uint64_t base = (uint64_t)(20 + 10 * (wave % 4)) * MIB;
        p.live = base;
        p.garbage = base / 3;
        program_collect(&p);
        cr_assert(p.trigger >= 2 * base - MIB && p.trigger <= 4 * base, "wave %d", wave);
    }
}

Test(pacer, first_cycle_has_a_stretch)
{
    struct sv_pacer pacer = {100, 0};
    struct sv_pacer_cycle some = {100 * MIB, 95 * MIB, 0};
    sv_pacer_next(&pacer, &some);
    cr_assert(pacer.stretch == 1);
    pacer.stretch = 0;
    struct sv_pacer_cycle more = {95 * MIB, 100 * MIB, 0}; // live grew while it was counted
    sv_pacer_next(&pacer, &more);
    cr_assert(pacer.stretch == 3);
}

// The share of time: with gcpercent 10, 100 and 1000 the bytes marked for each byte allocated fall.
Test(pacer, work_falls_with_gcpercent)
{
    static const uint32_t percents[] = {10, 100, 1000};
    double last = 1e9;
    for (unsigned k = 0; k < 3; k++) {
        struct program p = program_start(percents[k]);
        uint64_t allocated = 0;
        p.live = 100 * MIB;
        for (; allocated < 20 * GIB; allocated += 256 << 10)
            program_run(&p, 0, 256 << 10);
        double work = (double)p.cycles * (double)p.live / (double)allocated;
        double want = 100.0 / percents[k];
        cr_assert(work < 1.1 * want + 0.05 && work > 0.9 * want - 0.05, "gcpercent %u: %f",
                  percents[k], work);
        cr_assert(work < last);
        last = work;
    }
}
