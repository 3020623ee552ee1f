// Go's pacing (runtime/mgcpacer.go), for programs that also free. The formulas of the goal, the
// trigger, the assist ratio and the memory limit are Go's; the unit test runs them in simulated
// programs. Goal and trigger aren't stored, they follow from the state whenever somebody asks. What
// is ours:
//
// Yield. Go's programs never free, so every cycle finds garbage. A C program that frees what it
// allocates would pay for marks that find nothing. The share of the heap that a cycle gave back
// decides: below YIELD_LOW of it the growth that the next cycle waits for is tripled at once (goal:
// four times live at gcpercent 100), above YIELD_HIGH it is ordinary again; between the two it
// stays. While the growth is tripled, the heap is taken to be live, and the work grows with it.
//
// Thrift. A program that only builds up its heap pays for marks that can't find anything, and a
// young one has used too little CPU to earn them back. As long as no cycle ever gave anything back
// and the next mark would take the collector's part above COST_SHARE of the CPU used, it waits; but
// only for THRIFT_MOST of growth, twice where the first cycle would have been. Waiting longer, to
// twice the goal, lets a leak that starts after a build-up grow to eight times what is live
// (simulated; this rule stays below four) and still doesn't bring fast builders under COST_SHARE:
// to mark a byte costs a fifth of what it cost jq to make it, whenever that is done.
//
// Keeping. Memory of an earlier high is there until the scavenger has given it back, and marking
// before it is full would save none. So the goal doesn't fall below what earlier goals let the heap
// grow to, less what went back since; but it is never above what tripled growth would be. The
// scavenger works toward the goal without this (sv_pacer_retain).
//
// Growth is net: what the program frees while a cycle runs counts against what it takes.
#include "pacer.h"

#define MIB ((uint64_t)1 << 20)
#define SHARE 0.25                       // of the processors, for marking in the background
#define YIELD_LOW 50u                    // reclaimed less than 1/50 of what was live
#define YIELD_HIGH 10u                   // reclaimed more than 1/10
#define STRETCH_MAX 3u                   // times the ordinary growth
#define THRIFT_MOST (2 * SV_PACER_FIRST) // bytes of growth
#define COST_SHARE 0.02                  // of the CPU used
#define COST_FIRST 0.7                   // ns of CPU for a byte marked, before it was measured
#define SWEEP_DISTANCE MIB               // from what was marked to the trigger, while it is swept
#define RUNWAY_MIN ((uint64_t)64 << 10)
#define RUNWAY_ENOUGH (4 * MIB) // a trigger needn't be farther from the goal than this
#define TRIGGER_LOW 45u         // 64ths of the way from marked to the goal
#define TRIGGER_HIGH 61u
#define WORK_LEFT_MIN 1000.0  // bytes: an end that seems reached is still a little away
#define OVERSHOOT 1.1         // of the goal, once that is passed
#define LIMIT_PERCENT 100000u // stands for gcpercent when only the memory limit counts
#define HEADROOM_PERCENT 3u   // below the memory limit, at least
#define HEADROOM_MIN MIB
#define STEP_STOPPED 16u // live / 16: least growth between cycles that stop the world
#define USE_MAX 0.99     // of the processors, while marking: the program has the rest

static uint64_t min_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t max_of(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

// ---- goal and trigger ---------------------------------------------------------------------------

void sv_pacer_init(struct sv_pacer *p, uint32_t gcpercent, uint64_t memlimit, uint32_t procs)
{
    *p = (struct sv_pacer){.gcpercent = gcpercent ? gcpercent : 1,
                           .procs = procs ? procs : 1,
                           .memlimit = memlimit,
                           .stretch = 1};
}

static uint64_t goal_floor(const struct sv_pacer *p)
{
    return max_of(SV_PACER_FIRST * p->gcpercent / 100, p->floor);
}

// Roots count for at most what is live: a program with gigabytes of its own mappings and a small
// heap would otherwise keep as many gigabytes of garbage.
static uint64_t growth_ordinary(const struct sv_pacer *p)
{
    return (p->marked + min_of(p->work_roots, p->marked)) / 100 * p->gcpercent;
}

static uint64_t growth_most(const struct sv_pacer *p)
{
    return STRETCH_MAX * (p->marked / 100 * p->gcpercent);
}

static uint64_t goal_growth(const struct sv_pacer *p)
{
    if (p->gcpercent == SV_PACER_OFF)
        return UINT64_MAX;
    uint64_t growth = growth_ordinary(p) * p->stretch;
    if (p->stretch > 1)
        growth = min_of(growth, growth_most(p));
    uint64_t goal = max_of(p->marked + growth, goal_floor(p));
    return max_of(goal, min_of(p->kept, p->marked + growth_most(p)));
}

// What the limit leaves for objects: without pages' unused parts and metadata, and without what is
// above the limit already, since that has to come back first.
static uint64_t goal_memory(const struct sv_pacer *p)
{
    const struct sv_pacer_memory *m = &p->memory;
    if (p->memlimit == SV_PACER_NOLIMIT)
        return UINT64_MAX;
    uint64_t used = m->free + m->inuse;
    uint64_t lost = m->mapped > used ? m->mapped - used : 0;
    if (m->mapped > p->memlimit)
        lost += m->mapped - p->memlimit;
    if (lost >= p->memlimit)
        return p->marked;
    uint64_t goal = p->memlimit - lost;
    uint64_t headroom = max_of(goal / 100 * HEADROOM_PERCENT, HEADROOM_MIN);
    goal = goal < 2 * headroom ? headroom : goal - headroom;
    return max_of(goal, p->marked);
}

// Below this the trigger doesn't go while there is something to sweep.
static uint64_t sweep_end(const struct sv_pacer *p)
{
    return p->sweeping ? p->marked + SWEEP_DISTANCE : 0;
}

uint64_t sv_pacer_goal(const struct sv_pacer *p)
{
    uint64_t goal = goal_growth(p), memory = goal_memory(p);
    if (goal == UINT64_MAX && memory == UINT64_MAX)
        return UINT64_MAX;
    if (memory < goal) {
        goal = memory;
    } else {
        goal = max_of(goal, sweep_end(p));
        if (p->marking)
            goal = max_of(goal, p->triggered + RUNWAY_MIN);
    }
    if (p->stw)
        return max_of(max_of(goal, p->marked + p->marked / STEP_STOPPED), p->postponed);
    return p->postponed ? max_of(goal, p->postponed + p->postponed / 8) : goal;
}

uint64_t sv_pacer_retain(const struct sv_pacer *p)
{
    struct sv_pacer fresh = *p;
    fresh.kept = 0;
    return sv_pacer_goal(&fresh);
}

// Work on objects that a cycle is taken to find when `live` bytes are live. As the last one found;
// but a heap that gave nothing back is taken to be live, and so is the first.
static double work_expected(const struct sv_pacer *p, uint64_t live)
{
    if (p->work_live == 0)
        return (double)live;
    double work = (double)p->work_heap, scale = (double)live / (double)p->work_live;
    return p->stretch > 1 && scale > 1 ? work * scale : work;
}

double sv_pacer_work(const struct sv_pacer *p, uint64_t live)
{
    return work_expected(p, live) + (double)p->work_roots;
}

// Bytes that the program takes while a cycle has its work done by the workers alone.
static double runway(const struct sv_pacer *p, uint64_t goal)
{
    double cons = 0;
    for (unsigned i = 0; i < SV_PACER_HISTORY; i++)
        if (p->cons[i] > cons)
            cons = p->cons[i];
    return cons * (1 - SHARE) / SHARE * sv_pacer_work(p, goal);
}

uint64_t sv_pacer_trigger(const struct sv_pacer *p)
{
    uint64_t goal = sv_pacer_goal(p);
    if (goal == UINT64_MAX || p->stw || p->marked >= goal)
        return goal;
    uint64_t way = goal - p->marked;
    uint64_t low = p->marked + way / 64 * TRIGGER_LOW;
    if (goal_growth(p) <= goal_memory(p))
        low = max_of(low, sweep_end(p));
    uint64_t high = p->marked + way / 64 * TRIGGER_HIGH;
    if (goal > RUNWAY_ENOUGH)
        high = max_of(high, goal - RUNWAY_ENOUGH);
    double start = (double)goal - runway(p, goal);
    uint64_t trigger = start > (double)low ? (uint64_t)start : low;
    return max_of(min_of(trigger, max_of(high, low)), p->postponed);
}

bool sv_pacer_due(struct sv_pacer *p, uint64_t live, uint64_t cpu)
{
    uint64_t most = p->marked + THRIFT_MOST;
    if (p->yielded || cpu == 0 || live >= most || goal_memory(p) < 2 * most)
        return true;
    double rate = p->cpu_bytes ? (double)p->cpu / (double)p->cpu_bytes : COST_FIRST;
    if ((double)p->cpu + rate * (double)live <= COST_SHARE * (double)cpu)
        return true;
    p->postponed = min_of(live + live / 8 + RUNWAY_MIN, most);
    return false;
}

// ---- a cycle ------------------------------------------------------------------------------------

void sv_pacer_start(struct sv_pacer *p, uint64_t live)
{
    p->triggered = live;
    p->marking = true;
    sv_pacer_revise(p, live, 0);
}

// The work that is left, over the growth that is left. A cycle that has more to do than expected
// may not have its goal: then the slope stays, drawn on to the most that there can be to do, which
// is every byte; the goal moves with it, as far as if all of the goal were live.
void sv_pacer_revise(struct sv_pacer *p, uint64_t live, uint64_t done)
{
    double goal = (double)sv_pacer_goal(p);
    double expected = sv_pacer_work(p, p->triggered);
    double most = (double)live + (double)p->work_roots;
    if ((double)done > expected) {
        uint32_t percent = p->gcpercent == SV_PACER_OFF ? LIMIT_PERCENT : p->gcpercent;
        double hard = (1 + percent / 100.0) * goal;
        double triggered = (double)p->triggered;
        double far = expected > 0 ? (goal - triggered) / expected * most + triggered : hard;
        goal = far < hard ? far : hard;
        expected = most;
    }
    if ((double)live > goal) {
        goal *= OVERSHOOT;
        expected = most;
    }
    double left = expected - (double)done;
    double way = goal - (double)live;
    left = left > WORK_LEFT_MIN ? left : WORK_LEFT_MIN;
    way = way > 1 ? way : 1;
    p->assist_work = left / way;
}

void sv_pacer_end(struct sv_pacer *p, uint64_t live, uint64_t work, uint64_t duration,
                  uint64_t assists, uint64_t idle)
{
    if (work == 0 || duration == 0)
        return;
    double time = (double)duration * p->procs;
    double use = SHARE + (double)assists / time;
    use = use < USE_MAX ? use : USE_MAX;
    double growth = live > p->triggered ? (double)(live - p->triggered) : 0;
    p->cons[p->cons_next] = growth * (use + (double)idle / time) / ((double)work * (1 - use));
    p->cons_next = (p->cons_next + 1) % SV_PACER_HISTORY;
}

// What the last goal let the heap grow to, or an earlier one, and is still there.
static uint64_t memory_kept(const struct sv_pacer *p, const struct sv_pacer_found *found)
{
    if (p->gcpercent == SV_PACER_OFF)
        return 0;
    uint64_t thrift = p->marked ? 0 : p->postponed; // it has grown so far before its first cycle
    uint64_t allowed = min_of(max_of(goal_growth(p), thrift), goal_memory(p));
    uint64_t kept = max_of(p->kept, min_of(found->live, allowed));
    uint64_t released = found->released - p->released;
    return kept > released ? kept - released : 0;
}

void sv_pacer_commit(struct sv_pacer *p, const struct sv_pacer_found *found)
{
    uint64_t reclaimed = found->live > found->marked ? found->live - found->marked : 0;
    p->kept = memory_kept(p, found); // by the goal that it had
    if (reclaimed < found->live / YIELD_LOW || found->live == 0)
        p->stretch = STRETCH_MAX;
    else if (reclaimed > found->live / YIELD_HIGH)
        p->stretch = 1;
    if (reclaimed > found->live / YIELD_LOW)
        p->yielded = true;
    p->released = found->released;
    p->marked = found->marked;
    p->work_heap = found->heap_work;
    p->work_live = p->marking ? min_of(p->triggered, found->marked) : found->marked;
    p->work_roots = found->stacks + found->others;
    p->memory = found->memory;
    p->cpu += found->cpu;
    p->cpu_bytes += found->cpu ? found->marked : 0;
    p->postponed = 0;
    p->sweeping = !p->stw;
    p->marking = false;
}

void sv_pacer_abandon(struct sv_pacer *p, uint64_t live)
{
    p->marking = false;
    p->postponed = live + max_of(live / 2, SV_PACER_FIRST);
}

void sv_pacer_swept(struct sv_pacer *p)
{
    p->sweeping = false;
}

void sv_pacer_memory(struct sv_pacer *p, const struct sv_pacer_memory *memory)
{
    p->memory = *memory;
}

// ---- who marks ----------------------------------------------------------------------------------

// Whole workers if they come to within three tenths of the quarter, else one less, and a part of
// one: Go's choice. Counted in quarters of a processor, so that it is exact.
struct sv_pacer_workers sv_pacer_workers(uint32_t procs)
{
    procs = procs ? procs : 1;
    uint32_t dedicated = (procs + 2) / 4;
    uint32_t quarters = 4 * dedicated; // what they use, in quarters of processors
    uint32_t off = quarters > procs ? quarters - procs : procs - quarters;
    if (10 * off <= 3 * procs)
        return (struct sv_pacer_workers){.dedicated = dedicated};
    if (quarters > procs)
        dedicated--;
    return (struct sv_pacer_workers){dedicated, SHARE * procs - dedicated};
}
