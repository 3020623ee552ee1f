// The pacer by simulation. First with cycles that stop the world, where a program is how much it
// keeps and how much garbage it makes: goals, yield, thrift. Then with cycles that run beside the
// program (struct scene): processors, rates and a clock, as Go's own pacer is tested.
#include "pacer.h"

#include <math.h>

#include "limiter.h"

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

static struct sv_pacer pacer_stw(uint32_t gcpercent)
{
    struct sv_pacer pacer;
    sv_pacer_init(&pacer, gcpercent, SV_PACER_NOLIMIT, 2);
    pacer.stw = true;
    return pacer;
}

// A scavenger that gives back at once half of what the heap may hold beyond its own goal.
static uint64_t released(const struct sv_pacer *pacer)
{
    return pacer->released + (sv_pacer_goal(pacer) - sv_pacer_retain(pacer)) / 2;
}

// What a cycle found is told; the goal, which is the trigger.
static uint64_t found(struct sv_pacer *pacer, uint64_t live, uint64_t marked, uint64_t roots)
{
    struct sv_pacer_found found = {
        .live = live, .marked = marked, .others = roots, .released = released(pacer)};
    sv_pacer_commit(pacer, &found);
    cr_assert(sv_pacer_trigger(pacer) == sv_pacer_goal(pacer));
    return sv_pacer_goal(pacer);
}

static struct program program_start(uint32_t gcpercent)
{
    struct program p = {.pacer = pacer_stw(gcpercent)};
    p.trigger = sv_pacer_trigger(&p.pacer);
    cr_assert(p.trigger == (gcpercent == SV_PACER_OFF ? UINT64_MAX : floor_of(gcpercent)));
    return p;
}

static void program_collect(struct program *p)
{
    uint64_t before = p->live + p->garbage;
    p->garbage = 0;
    p->trigger = found(&p->pacer, before, p->live, p->roots);
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
    struct sv_pacer pacer = pacer_stw(gcpercent);
    pacer.stretch = stretch;
    return found(&pacer, before, after, roots);
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
        cr_assert(next(SV_PACER_OFF, 1, bytes, bytes / 2, bytes) == UINT64_MAX);
    struct program p = program_start(SV_PACER_OFF);
    for (int i = 0; i < 10000; i++)
        program_run(&p, MIB, MIB);
    cr_assert(p.cycles == 0);
}

Test(pacer, goal_is_never_below_the_floor)
{
    static const uint32_t percents[] = {10, 100, 1000, 10000};
    for (unsigned k = 0; k < 4; k++)
        for (uint64_t after = 0; after < 64 * MIB; after += 77777)
            for (uint32_t stretch = 1; stretch <= 3; stretch++)
                cr_assert(next(percents[k], stretch, 2 * after, after, 0) >= floor_of(percents[k]));
    cr_assert(next(100, 1, 0, 0, 0) == floor_of(100));
}

Test(pacer, no_overflow)
{
    static const uint32_t percents[] = {10, 100, 1000, 10000};
    uint64_t tib = (uint64_t)1 << 40;
    for (unsigned k = 0; k < 4; k++) {
        uint64_t growth = tib / 100 * percents[k];
        for (uint32_t stretch = 1; stretch <= 3; stretch++) {
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

// A program that drops most of what it had: the goal falls as its memory goes back.
Test(pacer, one_step_down_lowers_the_goal)
{
    struct program p = program_start(100);
    program_run(&p, 3 * GIB, 0);
    p.live = 50 * MIB;
    p.garbage = 3 * GIB;
    program_collect(&p);
    cr_assert(near(p.trigger, 200 * MIB), "%lu", p.trigger);
    for (int i = 0; i < 100; i++) {
        p.garbage = 20 * MIB;
        program_collect(&p);
    }
    cr_assert(near(p.trigger, 100 * MIB), "%lu", p.trigger);
    cr_assert(near(sv_pacer_retain(&p.pacer), p.trigger));
}

// What swings between high and low is marked once for each time that the memory of the high fills.
Test(pacer, memory_of_a_high_is_used_at_the_low)
{
    struct sv_pacer pacer = pacer_stw(100);
    struct sv_pacer_found high = {.live = 200 * MIB, .marked = 100 * MIB};
    struct sv_pacer_found low = {.live = 200 * MIB, .marked = 60 * MIB};
    sv_pacer_commit(&pacer, &high);
    sv_pacer_commit(&pacer, &low);
    cr_assert(near(sv_pacer_goal(&pacer), 200 * MIB), "%lu", sv_pacer_goal(&pacer));
    cr_assert(near(sv_pacer_retain(&pacer), 120 * MIB), "%lu", sv_pacer_retain(&pacer));
    low.released = 30 * MIB;
    sv_pacer_commit(&pacer, &low);
    cr_assert(near(sv_pacer_goal(&pacer), 170 * MIB), "%lu", sv_pacer_goal(&pacer));
}

// Fruitless cycles for a long time, then every byte is lost. The one long wait is over with the
// first cycle that finds something, and when its memory has gone back the heap stays below twice
// what is live.
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
    for (cycles = p.cycles; p.cycles < cycles + 20;)
        program_run(&p, 0, 64 << 10);
    cr_assert(p.peak <= 4 * p.live + MIB, "%lu while it goes back", p.peak);
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
        struct sv_pacer pacer = pacer_stw(100);
        pacer.stretch = stretch;
        for (uint64_t percent = 3; percent <= 9; percent++) {
            found(&pacer, 100 * MIB, (100 - percent) * MIB, 0);
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
    struct sv_pacer pacer = pacer_stw(100);
    found(&pacer, 100 * MIB, 95 * MIB, 0);
    cr_assert(pacer.stretch == 1);
    pacer = pacer_stw(100);
    found(&pacer, 95 * MIB, 100 * MIB, 0); // live grew while it was counted
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

// ---- thrift -------------------------------------------------------------------------------------

#define MARK_NS 0.65 // for a byte: measured with jq's heap

struct thrift {
    struct program program;
    double cpu, cost; // ns: in all, and of cycles
};

// Allocates `keep` and `lose`, each byte at `ns` of CPU, in small steps.
static void thrift_run(struct thrift *t, uint64_t keep, uint64_t lose, double ns)
{
    struct program *p = &t->program;
    unsigned steps = (unsigned)((keep + lose) / (256 << 10));
    for (unsigned i = 0; i < steps; i++) {
        p->live += keep / steps;
        p->garbage += lose / steps;
        t->cpu += ns * (256 << 10);
        uint64_t heap = p->live + p->garbage;
        p->peak = heap > p->peak ? heap : p->peak;
        if (heap < p->trigger)
            continue;
        if (!sv_pacer_due(&p->pacer, heap, (uint64_t)t->cpu)) {
            p->trigger = sv_pacer_trigger(&p->pacer);
            cr_assert(p->trigger > heap && p->trigger <= sv_pacer_goal(&p->pacer));
            continue;
        }
        double cost = MARK_NS * (double)p->live;
        struct sv_pacer_found found = {.live = heap,
                                       .marked = p->live,
                                       .cpu = (uint64_t)cost,
                                       .released = released(&p->pacer)};
        t->cost += cost;
        t->cpu += cost;
        p->garbage = 0;
        p->cycles++;
        sv_pacer_commit(&p->pacer, &found);
        p->trigger = sv_pacer_trigger(&p->pacer);
    }
}

static struct thrift thrift_start(void)
{
    return (struct thrift){.program = program_start(100)};
}

Test(pacer, small_programs_that_keep_all_pay_nothing)
{
    for (uint64_t size = 8 * MIB; size < 16 * MIB; size += MIB) {
        struct thrift t = thrift_start();
        thrift_run(&t, size, 0, 3);
        cr_assert(t.program.cycles == 0, "%lu bytes: %u cycles", size, t.program.cycles);
    }
}

// With time to earn a mark back it isn't put off; with little time it is put off for so long.
Test(pacer, thrift_is_about_cost)
{
    struct sv_pacer pacer = pacer_stw(100);
    cr_assert(sv_pacer_due(&pacer, 8 * MIB, 0), "without a clock there is no thrift");
    cr_assert(sv_pacer_due(&pacer, 8 * MIB, 1000000000));
    cr_assert(!sv_pacer_due(&pacer, 8 * MIB, 100000000));
    cr_assert(sv_pacer_trigger(&pacer) > 8 * MIB);
    cr_assert(sv_pacer_due(&pacer, 32 * MIB, 100000000));
    pacer.yielded = true;
    cr_assert(sv_pacer_due(&pacer, 8 * MIB, 100000000), "a program that leaks");
    struct sv_pacer limited;
    sv_pacer_init(&limited, 100, 24 * MIB, 2);
    cr_assert(sv_pacer_due(&limited, 8 * MIB, 100000000), "no thrift near a memory limit");
}

// Build-ups of every size at the speed of jq's, then a leak: never above four times what is live,
// or 32 MiB, whichever is more; twice when a cycle has found the leak and the memory has gone back.
Test(pacer, thrift_is_bounded)
{
    for (uint64_t size = 2 * MIB; size < 1000 * MIB; size += size / 10) {
        struct thrift t = thrift_start();
        uint64_t live = size;
        thrift_run(&t, live, 0, 3);
        live = t.program.live;
        while (!t.program.pacer.yielded || t.program.pacer.stretch > 1)
            thrift_run(&t, 0, MIB, 2);
        uint64_t bound = 4 * live > 32 * MIB ? 4 * live : 32 * MIB;
        cr_assert(t.program.peak <= bound + 2 * MIB, "%lu: peak %lu", size, t.program.peak);
        thrift_run(&t, 0, 40 * live, 2);
        cr_assert(t.program.peak <= bound + 2 * MIB, "%lu: peak %lu", size, t.program.peak);
        t.program.peak = 0;
        thrift_run(&t, 0, 20 * live, 2);
        bound = 2 * live > 8 * MIB ? 2 * live : 8 * MIB;
        cr_assert(t.program.peak <= bound + 2 * MIB, "%lu: peak %lu", size, t.program.peak);
    }
}

// ---- cycles beside the program ------------------------------------------------------------------

// A number that changes from cycle to cycle.
struct curve {
    double base;
    int step;     // from this cycle on ...
    double to;    // ... times this; 0: no step
    int period;   // for so many cycles as it is, then for as many ...
    double swing; // ... times this
    double jitter;
};

struct scene {
    const char *name;
    uint32_t procs;      // 0: 8
    uint32_t gcpercent;  // 0: 100
    uint64_t memlimit;   // 0: none
    struct curve alloc;  // bytes for each ns of CPU that the program has
    struct curve live;   // bytes reachable; the rest of the heap is garbage
    struct curve stacks; // bytes
    double globals;      // bytes
    double scannable;    // part of the heap that can hold pointers; 0: all
    double overhead;     // bytes of memory that hold no objects
    bool keeps;          // nothing is garbage
    bool duty;           // the worker runs and naps, else it has its share at all times
    int abandons;        // every so many cycles one is abandoned
};

struct sim {
    const struct scene *scene;
    struct sv_pacer pacer;
    struct sv_limiter limiter;
    uint64_t random;
    double heap;      // bytes live now
    double now;       // ns
    double work;      // bytes that this cycle looks at
    double done;      // bytes looked at so far
    double credit;    // bytes of them that the worker did and nobody has used up
    double assists;   // ns
    double worker;    // ns of CPU
    double program;   // ns of CPU that the program got, ever
    double collector; // ns of CPU that the collector got, ever
};

struct outcome {
    double goal, trigger, marked, peak; // bytes
    double use;                         // of the processors, while marking
    double worker;                      // of the processors, while marking: the workers
};

#define SCAN 1.0 // bytes for each ns of CPU
#define RUN 2e6  // ns that the worker runs before it naps off what passed its share

static double curve_at(struct sim *s, const struct curve *c, int cycle)
{
    double v = c->base;
    if (c->to > 0 && cycle >= c->step)
        v *= c->to;
    if (c->period && cycle / c->period % 2)
        v *= c->swing;
    s->random = s->random * 6364136223846793005u + 1442695040888963407u;
    double chance = (double)(s->random >> 11) / (double)((uint64_t)1 << 52) - 1;
    return v * (1 + c->jitter * chance);
}

static void sim_start(struct sim *s, const struct scene *scene)
{
    *s = (struct sim){.scene = scene, .random = 1};
    uint32_t procs = scene->procs ? scene->procs : 8;
    sv_pacer_init(&s->pacer, scene->gcpercent ? scene->gcpercent : 100,
                  scene->memlimit ? scene->memlimit : SV_PACER_NOLIMIT, procs);
    sv_limiter_init(&s->limiter, procs, 0);
}

static void limiter_move(struct sim *s, enum sv_limiter_state state, double assists)
{
    sv_limiter_update(&s->limiter, (uint64_t)s->now, state, (uint64_t)assists, 0);
    cr_assert(s->limiter.fill <= s->limiter.capacity + s->limiter.capacity / 10);
}

// The worker's CPU in the next `dt` of a mark that lasts `elapsed` so far.
static double worker_step(struct sim *s, double elapsed, double dt)
{
    double share = 0.25 * s->pacer.procs;
    if (!s->scene->duty)
        return share * dt;
    return fmod(elapsed, RUN / share) < RUN ? dt : 0;
}

static void mark_step(struct sim *s, double alloc, double elapsed, double dt)
{
    double worker = worker_step(s, elapsed, dt);
    double left = s->pacer.procs * dt - worker; // CPU for the program and its assists
    double ratio = sv_limiter_limiting(&s->limiter) ? 0 : s->pacer.assist_work;
    s->worker += worker;
    s->credit += worker * SCAN;
    double taken = left * alloc, assist = 0;
    if (ratio * taken > s->credit) {
        taken = (left + s->credit / SCAN) / (1 / alloc + ratio / SCAN);
        assist = ratio * taken - s->credit;
    }
    s->credit -= ratio * taken - assist;
    s->heap += taken;
    s->done += worker * SCAN + assist;
    s->assists += assist / SCAN;
    s->now += dt;
    s->program += left - assist / SCAN;
    s->collector += worker + assist / SCAN;
    limiter_move(s, SV_LIMITER_MARKING, assist / SCAN);
    sv_pacer_revise(&s->pacer, (uint64_t)s->heap, (uint64_t)s->done);
    cr_assert(s->pacer.assist_work > 0);
}

static void goals_check(struct sim *s, int cycle)
{
    uint64_t goal = sv_pacer_goal(&s->pacer), trigger = sv_pacer_trigger(&s->pacer);
    const char *name = s->scene->name;
    cr_assert(trigger <= goal, "%s, cycle %d: trigger %lu, goal %lu", name, cycle, trigger, goal);
    cr_assert(goal >= s->pacer.marked, "%s, cycle %d: goal %lu", name, cycle, goal);
    cr_assert(trigger >= s->pacer.marked, "%s, cycle %d: trigger %lu", name, cycle, trigger);
}

static struct outcome sim_cycle(struct sim *s, int cycle)
{
    const struct scene *scene = s->scene;
    double procs = s->pacer.procs, scannable = scene->scannable > 0 ? scene->scannable : 1;
    double alloc = curve_at(s, &scene->alloc, cycle), live = curve_at(s, &scene->live, cycle);
    double stacks = curve_at(s, &scene->stacks, cycle);
    goals_check(s, cycle);
    sv_pacer_swept(&s->pacer);
    goals_check(s, cycle);
    struct outcome out = {.goal = (double)sv_pacer_goal(&s->pacer),
                          .trigger = (double)sv_pacer_trigger(&s->pacer)};
    if (out.trigger > s->heap) {
        s->now += (out.trigger - s->heap) / alloc / procs;
        s->program += (out.trigger - s->heap) / alloc;
        s->heap = out.trigger;
    }
    limiter_move(s, SV_LIMITER_MARKING, 0);
    if (scene->abandons && cycle % scene->abandons == scene->abandons - 1) {
        sv_pacer_start(&s->pacer, (uint64_t)s->heap);
        sv_pacer_abandon(&s->pacer, (uint64_t)s->heap);
        cr_assert(sv_pacer_trigger(&s->pacer) >= (uint64_t)s->heap + SV_PACER_FIRST);
        return out;
    }
    double start = s->heap, began = s->now;
    live = scene->keeps || live > start ? start : live;
    s->work = live * scannable + stacks + scene->globals;
    s->done = s->credit = s->assists = s->worker = 0;
    uint64_t gone = released(&s->pacer);
    sv_pacer_start(&s->pacer, (uint64_t)start);
    double dt = s->work / SCAN / procs / 2000;
    while (s->done < s->work)
        mark_step(s, alloc, s->now - began, dt);
    double lasted = s->now - began;
    out.peak = s->heap;
    out.use = (s->worker + s->assists) / (lasted * procs);
    out.worker = s->worker / (lasted * procs);
    limiter_move(s, SV_LIMITER_OFF, 0);
    sv_pacer_end(&s->pacer, (uint64_t)s->heap, (uint64_t)s->done, (uint64_t)lasted,
                 (uint64_t)s->assists, 0);
    uint64_t inuse = (uint64_t)s->heap;
    struct sv_pacer_found found = {.live = inuse,
                                   .marked = (uint64_t)(live + s->heap - start),
                                   .heap_work = (uint64_t)(live * scannable),
                                   .stacks = (uint64_t)stacks,
                                   .others = (uint64_t)scene->globals,
                                   .released = gone,
                                   .memory = {inuse + (uint64_t)scene->overhead, 0, inuse}};
    sv_pacer_commit(&s->pacer, &found);
    s->heap = (double)found.marked;
    out.marked = s->heap;
    return out;
}

#define CYCLES 100

// From the 25th cycle on: processors used while marking, and the peak as a part of its goal.
struct bounds {
    double use, low, high; // in every cycle
    double steady_use;     // six cycles after a step on; 0: as `use`
};

static void scene_check(const struct scene *scene, const struct bounds *b)
{
    struct sim s;
    sim_start(&s, scene);
    int step = scene->alloc.to > 0 ? scene->alloc.step : 0;
    for (int cycle = 0; cycle < CYCLES; cycle++) {
        struct outcome o = sim_cycle(&s, cycle);
        double ratio = o.peak / o.goal;
        if (cycle < 25)
            continue;
        cr_expect(o.use <= b->use, "%s, cycle %d: uses %f", scene->name, cycle, o.use);
        cr_expect(ratio >= b->low && ratio <= b->high, "%s, cycle %d: %f of its goal", scene->name,
                  cycle, ratio);
        if (step && (cycle < step || cycle >= step + 6))
            cr_expect(o.use <= b->steady_use, "%s, cycle %d: uses %f", scene->name, cycle, o.use);
    }
}

#define STEADY .alloc = {.base = 0.033}, .live = {.base = 64 * MIB}
#define LIVE .live = {.base = 64 * MIB}

// What a continuous worker gives: exactly a quarter where nothing changes. The step's own cycle is
// the only one with many assists; the slow ones start as late as a trigger may, and end before.
Test(pacer, scenes)
{
    static const struct {
        struct scene scene;
        struct bounds bounds;
    } cases[] = {
        {{.name = "steady", STEADY}, {.255, .99, 1.01, 0}},
        {{.name = "two processors", .procs = 2, STEADY}, {.255, .99, 1.01, 0}},
        {{.name = "one processor", .procs = 1, STEADY}, {.255, .99, 1.01, 0}},
        {{.name = "naps", .procs = 2, .duty = true, STEADY}, {.305, .95, 1.01, 0}},
        {{.name = "step", LIVE, .alloc = {0.033, 50, 3, 0, 0, 0}}, {.51, .95, 1.05, .255}},
        {{.name = "heavy step", LIVE, .alloc = {0.033, 50, 10, 0, 0, 0}}, {.78, .95, 1.1, .45}},
        {{.name = "oscillating", LIVE, .alloc = {0.033, 0, 0, 8, 3, 0}}, {.51, .90, 1.05, 0}},
        {{.name = "jitter", .alloc = {0.033, .jitter = .2}, .live = {64 * MIB, .jitter = .05}},
         {.28, .95, 1.05, 0}},
        {{.name = "heavy jitter", .alloc = {0.033, .jitter = .8}, .live = {64 * MIB, .jitter = .2}},
         {.35, .90, 1.05, 0}},
        {{.name = "small, slow", .alloc = {.base = .001}, .live = {.base = MIB}},
         {.255, .95, 1.01, 0}},
        {{.name = "medium, slow", .alloc = {.base = .001}, LIVE}, {.255, .95, 1.01, 0}},
        {{.name = "large, slow", .alloc = {.base = .001}, .live = {.base = 8 * GIB}},
         {.255, .95, 1.01, 0}},
        {{.name = "big stacks", STEADY, .stacks = {.base = 128 * MIB}}, {.255, .95, 1.01, 0}},
        {{.name = "big globals", STEADY, .globals = 128 * MIB}, {.255, .95, 1.01, 0}},
        {{.name = "gcpercent 1500", .gcpercent = 1500, .alloc = {.base = .165}, LIVE},
         {.255, .95, 1.01, 0}},
        {{.name = "half scannable", .scannable = 0.5, STEADY}, {.255, .99, 1.01, 0}},
        {{.name = "faster than marking", .alloc = {.base = 4}, LIVE}, {.97, .95, 1.1, 0}},
        {{.name = "a limit that doesn't matter", STEADY, .memlimit = 512 * MIB},
         {.255, .99, 1.01, 0}},
        {{.name = "a limit", STEADY, .memlimit = 110 * MIB, .overhead = 4 * MIB},
         {.255, .95, 1.01, 0}},
        {{.name = "a limit alone", STEADY, .memlimit = 110 * MIB, .gcpercent = SV_PACER_OFF},
         {.255, .95, 1.01, 0}},
        {{.name = "a limit, step", LIVE, .memlimit = 110 * MIB, .alloc = {0.033, 50, 5, 0, 0, 0}},
         {.75, .95, 1.1, .53}},
        {{.name = "a limit, heavy jitter",
          .memlimit = 128 * MIB,
          .alloc = {0.033, .jitter = .8},
          .live = {64 * MIB, .jitter = .2}},
         {.40, .90, 1.1, 0}},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        scene_check(&cases[i].scene, &cases[i].bounds);
}

// What a limit promises: memory stays below it, whatever gcpercent would like.
Test(pacer, memory_limit_is_kept)
{
    static const uint32_t percents[] = {10, 100, 1000, SV_PACER_OFF};
    for (unsigned k = 0; k < 4; k++)
        for (uint64_t limit = 90 * MIB; limit < 1024 * MIB; limit += 50 * MIB) {
            struct scene scene = {.name = "limit",
                                  STEADY,
                                  .gcpercent = percents[k],
                                  .memlimit = limit,
                                  .overhead = 5 * MIB};
            struct sim s;
            sim_start(&s, &scene);
            s.pacer.memory = (struct sv_pacer_memory){5 * MIB, 0, 0};
            for (int cycle = 0; cycle < 30; cycle++) {
                struct outcome o = sim_cycle(&s, cycle);
                cr_assert(o.peak + scene.overhead <= (double)limit, "gcpercent %u, limit %lu: %f",
                          percents[k], limit, o.peak);
            }
        }
}

// A limit below what is live: one cycle follows the other, and the program still gets half of the
// processors, or nearly, over any longer time.
Test(pacer, memory_limit_that_cannot_be_kept)
{
    for (uint32_t procs = 1; procs <= 16; procs *= 2) {
        struct scene scene = {
            .name = "exceeded", .procs = procs, .memlimit = 48 * MIB, LIVE, .alloc = {.base = 0.5}};
        struct sim s;
        sim_start(&s, &scene);
        bool limited = false;
        for (int cycle = 0; cycle < 400; cycle++) {
            sim_cycle(&s, cycle);
            limited |= sv_limiter_limiting(&s.limiter);
            if (cycle > 20)
                cr_assert(sv_pacer_trigger(&s.pacer) == s.pacer.marked);
        }
        cr_assert(limited, "%u processors: %f s", procs, s.now / 1e9);
        double slack = 1e9 * procs; // the bucket
        cr_assert(s.program >= s.collector - 1.1 * slack, "%u processors: %f of %f s", procs,
                  s.program / 1e9, s.now * procs / 1e9);
    }
}

// With cycles that stop the world there is always some way to go.
Test(pacer, memory_limit_stops_the_world_now_and_then)
{
    struct sv_pacer pacer;
    sv_pacer_init(&pacer, 100, 48 * MIB, 2);
    pacer.stw = true;
    uint64_t goal = found(&pacer, 64 * MIB, 64 * MIB, 0);
    cr_assert(goal >= 68 * MIB && goal < 70 * MIB, "%lu", goal);
}

Test(pacer, memory_limit_counts_what_is_no_object)
{
    struct sv_pacer pacer;
    sv_pacer_init(&pacer, SV_PACER_OFF, 100 * MIB, 2);
    sv_pacer_memory(&pacer, &(struct sv_pacer_memory){60 * MIB, 10 * MIB, 40 * MIB});
    cr_assert(near(sv_pacer_goal(&pacer), 87 * MIB + 314573), "90 MiB less 3 %%: %lu",
              sv_pacer_goal(&pacer));
    sv_pacer_memory(&pacer, &(struct sv_pacer_memory){130 * MIB, 10 * MIB, 110 * MIB});
    cr_assert(near(sv_pacer_goal(&pacer), 58 * MIB + 209715), "30 MiB have to come back: %lu",
              sv_pacer_goal(&pacer));
    sv_pacer_memory(&pacer, &(struct sv_pacer_memory){150 * MIB, 0, 0});
    cr_assert(sv_pacer_goal(&pacer) == pacer.marked, "all room is gone");
    sv_pacer_memory(&pacer, &(struct sv_pacer_memory){10 * MIB, 10 * MIB, 10 * MIB});
    cr_assert(near(sv_pacer_goal(&pacer), 97 * MIB), "counters that are a little apart");
}

// Builds up a heap and loses nothing: marks at 8, 32, 128 MiB and so on, none far over its goal,
// though each has four times as much to do as the one before found.
Test(pacer, build_up)
{
    static const double rates[] = {0.01, 0.1, 0.3, 1};
    for (unsigned k = 0; k < 4; k++) {
        struct scene scene = {.name = "build-up", .keeps = true, .alloc = {.base = rates[k]}};
        struct sim s;
        sim_start(&s, &scene);
        for (int cycle = 0; cycle < 6; cycle++) {
            struct outcome o = sim_cycle(&s, cycle);
            double most = cycle ? 1.05 : 2.2; // nobody knew the first one's work
            cr_expect(o.peak <= most * o.goal, "rate %f, cycle %d: %f of its goal", rates[k], cycle,
                      o.peak / o.goal);
            cr_assert(s.pacer.stretch == 3 && !s.pacer.yielded);
        }
    }
}

// Much live and no garbage for ten cycles, then everything is lost: four times live, then twice.
Test(pacer, leak_beside_the_program)
{
    struct scene scene = {.name = "late leak", LIVE, .alloc = {.base = 0.033}};
    struct sim s;
    sim_start(&s, &scene);
    s.heap = 64 * MIB;
    struct sv_pacer_found nothing = {.live = 64 * MIB, .marked = 64 * MIB, .heap_work = 64 * MIB};
    for (int i = 0; i < 10; i++)
        sv_pacer_commit(&s.pacer, &nothing);
    struct outcome o = sim_cycle(&s, 0);
    cr_assert(o.peak > 240 * MIB && o.peak <= 1.05 * 256 * MIB, "%f", o.peak);
    for (int cycle = 1; cycle < 30; cycle++) {
        o = sim_cycle(&s, cycle);
        double most = cycle < 5 ? 4.2 : 2.5;
        cr_assert(o.peak <= most * 64 * MIB, "cycle %d: %f", cycle, o.peak);
    }
}

// Cycles that come to nothing: the heap may grow by half meanwhile, no more, and what comes after
// is as if they had not been.
Test(pacer, abandoned_cycles)
{
    struct scene scene = {.name = "abandoned", STEADY, .abandons = 3};
    struct sim s;
    sim_start(&s, &scene);
    for (int cycle = 0; cycle < 60; cycle++) {
        struct outcome o = sim_cycle(&s, cycle);
        if (cycle < 10 || cycle % 3 == 2)
            continue;
        double most = cycle % 3 == 0 ? 1.75 * 145 * MIB : 1.05 * 145 * MIB;
        cr_assert(o.peak <= most && o.use <= 0.30, "cycle %d: %f, uses %f", cycle, o.peak, o.use);
    }
    struct sv_pacer pacer;
    sv_pacer_init(&pacer, SV_PACER_OFF, SV_PACER_NOLIMIT, 2);
    sv_pacer_abandon(&pacer, GIB);
    cr_assert(sv_pacer_trigger(&pacer) == UINT64_MAX && sv_pacer_goal(&pacer) == UINT64_MAX);
}

// Frees all that it takes while a cycle runs: such cycles need no way to run, and say so.
Test(pacer, cycles_without_growth_start_late)
{
    struct sv_pacer pacer;
    sv_pacer_init(&pacer, 100, SV_PACER_NOLIMIT, 2);
    for (int i = 0; i < 5; i++) {
        sv_pacer_start(&pacer, 128 * MIB);
        sv_pacer_end(&pacer, 120 * MIB, 64 * MIB, 100000000, 0, 0);
        struct sv_pacer_found all = {.live = 120 * MIB, .marked = 64 * MIB, .heap_work = 64 * MIB};
        sv_pacer_commit(&pacer, &all);
        sv_pacer_swept(&pacer);
    }
    cr_assert(near(sv_pacer_trigger(&pacer), 125 * MIB), "%lu", sv_pacer_trigger(&pacer));
}

// The trigger is high enough to be swept below, and after the sweep it is where it belongs.
Test(pacer, sweeping_keeps_the_trigger_away)
{
    struct sv_pacer pacer;
    sv_pacer_init(&pacer, 10, SV_PACER_NOLIMIT, 2);
    struct sv_pacer_found small = {.live = 4 * MIB, .marked = 2 * MIB};
    sv_pacer_commit(&pacer, &small);
    cr_assert(sv_pacer_trigger(&pacer) >= 3 * MIB);
    sv_pacer_swept(&pacer);
    cr_assert(sv_pacer_trigger(&pacer) < 3 * MIB && sv_pacer_goal(&pacer) < 3 * MIB);
}

// A program that allocates faster than it can be marked: the trigger goes down to 45/64 of the way
// and not farther, assists do the rest. And what a cycle of nothing but assists leaves is a number.
Test(pacer, trigger_has_a_lowest_place)
{
    struct sv_pacer pacer;
    sv_pacer_init(&pacer, 100, SV_PACER_NOLIMIT, 2);
    struct sv_pacer_found f = {.live = 128 * MIB, .marked = 64 * MIB, .heap_work = 64 * MIB};
    sv_pacer_start(&pacer, 100 * MIB);
    sv_pacer_end(&pacer, 150 * MIB, 64 * MIB, 100000000, 1000000000, 0);
    for (unsigned i = 0; i < SV_PACER_HISTORY; i++)
        cr_assert(pacer.cons[i] >= 0 && pacer.cons[i] < 1000);
    sv_pacer_commit(&pacer, &f);
    sv_pacer_swept(&pacer);
    cr_assert(near(sv_pacer_trigger(&pacer), 109 * MIB), "%lu", sv_pacer_trigger(&pacer));
}

// A cycle asked for late has some way to go, as long as it lasts.
Test(pacer, late_cycles_have_a_runway)
{
    struct sv_pacer pacer;
    sv_pacer_init(&pacer, 100, SV_PACER_NOLIMIT, 2);
    sv_pacer_start(&pacer, 20 * MIB);
    cr_assert(sv_pacer_goal(&pacer) == 20 * MIB + (64 << 10));
    sv_pacer_abandon(&pacer, 2 * MIB);
    cr_assert(sv_pacer_goal(&pacer) == 10 * MIB + 10 * MIB / 8, "%lu", sv_pacer_goal(&pacer));
}

// ---- assists ------------------------------------------------------------------------------------

Test(pacer, assist_ratio_is_work_over_growth)
{
    struct sv_pacer pacer;
    sv_pacer_init(&pacer, 100, SV_PACER_NOLIMIT, 2);
    struct sv_pacer_found f = {.live = 128 * MIB, .marked = 64 * MIB, .heap_work = 64 * MIB};
    sv_pacer_commit(&pacer, &f);
    sv_pacer_start(&pacer, 112 * MIB);
    cr_assert(near((uint64_t)(1000000 * pacer.assist_work), 4000000), "64 MiB of work in 16 MiB");
    sv_pacer_revise(&pacer, 120 * MIB, 32 * MIB);
    cr_assert(near((uint64_t)(1000000 * pacer.assist_work), 4000000), "half of both");
    sv_pacer_revise(&pacer, 127 * MIB, 32 * MIB);
    cr_assert(pacer.assist_work > 30, "behind: %f", pacer.assist_work);
    sv_pacer_revise(&pacer, 128 * MIB, 0);
    cr_assert(pacer.assist_work > 5 && pacer.assist_work < 100e6, "past: %f", pacer.assist_work);
    // more than expected: the slope of 64 in 16 MiB goes on to all of 116, and at most to 256 MiB
    sv_pacer_revise(&pacer, 116 * MIB, 68 * MIB);
    cr_assert(near((uint64_t)(1000000 * pacer.assist_work), 48 * 1000000 / 25), "%f",
              pacer.assist_work);
    pacer.work_heap = 4 * MIB;
    sv_pacer_revise(&pacer, 116 * MIB, 68 * MIB);
    cr_assert(near((uint64_t)(1000000 * pacer.assist_work), 48 * 1000000 / 140), "%f",
              pacer.assist_work);
    sv_pacer_revise(&pacer, 100 * GIB, 200 * GIB);
    cr_assert(pacer.assist_work > 0, "all at once");
}

// ---- workers ------------------------------------------------------------------------------------

Test(pacer, workers_are_a_quarter)
{
    static const struct {
        uint32_t procs, dedicated;
        double share;
    } some[] = {{1, 0, .25}, {2, 0, .5}, {3, 0, .75}, {4, 1, 0}, {5, 1, 0},
                {6, 1, .5},  {7, 2, 0},  {8, 2, 0},   {9, 2, 0}, {16, 4, 0}};
    for (unsigned i = 0; i < sizeof some / sizeof *some; i++) {
        struct sv_pacer_workers w = sv_pacer_workers(some[i].procs);
        cr_assert(w.dedicated == some[i].dedicated && w.share == some[i].share, "%u: %u and %f",
                  some[i].procs, w.dedicated, w.share);
    }
    for (uint32_t procs = 1; procs < 1024; procs++) {
        struct sv_pacer_workers w = sv_pacer_workers(procs);
        double use = (w.dedicated + w.share) / procs;
        cr_assert(use >= 0.17 && use <= 0.33 && w.share >= 0 && w.share < 1, "%u: %f", procs, use);
    }
}

static uint64_t below(uint64_t *random, uint64_t n)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (*random >> 20) % n;
}

// Whatever a caller may pass, in any order: the promises of the header hold.
Test(pacer, random_calls)
{
    uint64_t random = 3;
    for (int run = 0; run < 400; run++) {
        struct sv_pacer p;
        uint32_t percents[] = {1, 10, 100, 10000, SV_PACER_OFF};
        uint64_t limits[] = {1, 100 * MIB, GIB, SV_PACER_NOLIMIT};
        uint64_t top = (uint64_t)1 << (10 + below(&random, 32));
        sv_pacer_init(&p, percents[below(&random, 5)], limits[below(&random, 4)],
                      (uint32_t)below(&random, 70));
        p.stw = below(&random, 4) == 0;
        for (int i = 0; i < 500; i++) {
            struct sv_pacer_memory m = {below(&random, top), below(&random, top),
                                        below(&random, top)};
            struct sv_pacer_found f = {.live = below(&random, top),
                                       .marked = below(&random, top),
                                       .heap_work = below(&random, top),
                                       .stacks = below(&random, top),
                                       .others = below(&random, 2 * top),
                                       .cpu = below(&random, top),
                                       .memory = m};
            switch (below(&random, 8)) {
            case 0:
                sv_pacer_start(&p, below(&random, top));
                break;
            case 1:
                sv_pacer_revise(&p, below(&random, top), below(&random, top));
                break;
            case 2:
                sv_pacer_end(&p, below(&random, top), below(&random, top), below(&random, top),
                             below(&random, top), 0);
                break;
            case 3:
                sv_pacer_commit(&p, &f);
                break;
            case 4:
                sv_pacer_abandon(&p, below(&random, top));
                break;
            case 5:
                sv_pacer_memory(&p, &m);
                break;
            case 6:
                sv_pacer_due(&p, below(&random, top), below(&random, top));
                break;
            default:
                sv_pacer_swept(&p);
            }
            uint64_t goal = sv_pacer_goal(&p), trigger = sv_pacer_trigger(&p);
            cr_assert(trigger <= goal && trigger >= p.marked, "%lu, %lu", trigger, goal);
            cr_assert(trigger >= p.postponed && p.stretch >= 1 && p.stretch <= 3);
            cr_assert((goal == UINT64_MAX) ==
                      (p.gcpercent == SV_PACER_OFF && p.memlimit == SV_PACER_NOLIMIT));
            cr_assert(p.assist_work >= 0 && p.assist_work < 1e300);
        }
    }
}
