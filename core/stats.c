// Statistics. Totals are kept by the cycle, under its lock; readers take them as they are. With
// gctrace each cycle writes a line in Go's fields (runtime/extern.go), so that what reads Go's
// reads ours: the first of the three clock times is the stop that prepares (none under
// barrier=stw), the second the concurrent mark (likewise), the third the stop that ends the mark.
#include "stats.h"

#include "barrier.h"
#include "heap.h"
#include "metadata.h"
#include "options.h"
#include "os.h"
#include "salvage.h"
#include "text.h"

static struct {
    uint64_t cycles;      // cycle lock
    uint64_t abandoned;   // cycle lock
    uint64_t pause_last;  // cycle lock, ns
    uint64_t pause_max;   // cycle lock, ns
    uint64_t pause_total; // cycle lock, ns
    uint64_t started;     // const: when the first cycle or reading was, ns
} stats;

// Milliseconds as Go prints them: two digits below 10, whole ones above.
static void put_ms(struct sv_text *t, uint64_t ns)
{
    uint64_t us = ns / 1000;
    if (us >= 10000)
        sv_text_put(t, "%U", us / 1000);
    else if (us >= 1000)
        sv_text_put(t, "%U.%U", us / 1000, us % 1000 / 100);
    else
        sv_text_put(t, "0.%U%U%U", us / 100, us / 10 % 10, us % 10);
}

static uint64_t megabytes(uint64_t bytes)
{
    return bytes >> 20;
}

static void trace(const struct sv_stats_cycle *c)
{
    char buffer[512];
    struct sv_text t = sv_text_start(buffer, sizeof buffer - 1);
    uint64_t since = c->began - stats.started + c->pause;
    uint64_t cpu = sv_os_cpu();
    uint64_t percent = cpu ? stats.pause_total * 100 / cpu : 0;
    sv_text_put(&t, "gc %U @%U.%U%U%Us %U%%: 0+0+", stats.cycles, since / 1000000000u,
                since / 100000000u % 10, since / 10000000u % 10, since / 1000000u % 10, percent);
    put_ms(&t, c->pause);
    sv_text_put(&t, " ms clock, 0+0/0/0+");
    put_ms(&t, c->pause);
    sv_text_put(&t, " ms cpu, %U->%U->%U MB, %U MB goal, %U MB stacks, %U MB globals, 1 P%s",
                megabytes(c->live_before), megabytes(c->live_before), megabytes(c->live_marked),
                megabytes(c->goal), megabytes(c->stacks), megabytes(c->roots),
                c->forced ? " (forced)" : "");
    *t.p = 0;
    sv_log("%s", buffer);
    if (sv_options.gctrace > 1) {
        t = sv_text_start(buffer, sizeof buffer - 1);
        sv_text_put(&t, "gc %U: barrier %s, stopping ", stats.cycles, c->barrier);
        put_ms(&t, c->stopping);
        sv_text_put(&t, " ms, %u threads, %U objects, %U bytes scanned, %U bytes of roots",
                    c->threads, c->objects, c->scanned, c->roots + c->stacks);
        *t.p = 0;
        sv_log("%s", buffer);
    }
}

static void clock_start(uint64_t now)
{
    if (!stats.started)
        stats.started = now;
}

void sv_stats_cycle(const struct sv_stats_cycle *c)
{
    clock_start(c->began);
    stats.cycles++;
    stats.pause_last = c->pause;
    stats.pause_total += c->pause;
    if (c->pause > stats.pause_max)
        stats.pause_max = c->pause;
    if (sv_options.gctrace)
        trace(c);
}

void sv_stats_abandoned(const char *reason)
{
    clock_start(sv_os_now());
    stats.abandoned++;
    if (sv_options.gctrace)
        sv_log("gc: cycle abandoned, nothing reclaimed: %s", reason);
}

void sv_stats_read(struct salvage_stats *out)
{
    *out = (struct salvage_stats){
        .cycles = stats.cycles,
        .cycles_abandoned = stats.abandoned,
        .heap_live = atomic_load_explicit(&sv_heap.live, memory_order_relaxed),
        .heap_goal = atomic_load_explicit(&sv_heap.trigger, memory_order_relaxed),
        .heap_mapped = sv_heap.pages_inuse << SV_PAGE_SHIFT,
        .heap_reserved = sv_heap.size,
        .allocated = atomic_load_explicit(&sv_heap.allocated, memory_order_relaxed),
        .freed = atomic_load_explicit(&sv_heap.freed, memory_order_relaxed),
        .reclaimed = atomic_load_explicit(&sv_heap.reclaimed, memory_order_relaxed),
        .released = sv_heap.released_pages << SV_PAGE_SHIFT,
        .metadata = sv_metadata_bytes(),
        .foreign = atomic_load_explicit(&sv_heap.foreign, memory_order_relaxed),
        .pause_ns_last = stats.pause_last,
        .pause_ns_max = stats.pause_max,
        .pause_ns_total = stats.pause_total,
    };
}
