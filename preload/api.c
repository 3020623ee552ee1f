// salvage.h: what a program that knows of the library can ask it.
#include "cycle.h"
#include "export.h"
#include "heap.h"
#include "init.h"
#include "leaks.h"
#include "lsan.h"
#include "options.h"
#include "profile.h"
#include "salvage.h"
#include "stats.h"
#include "text.h"
#include "unwind.h"

#include <string.h>

SV_EXPORT int salvage_enabled(void)
{
    return 1;
}

SV_EXPORT size_t salvage_collect(void)
{
    sv_init();
    return sv_cycle_collect();
}

static struct salvage_stats stats_read(void)
{
    struct sv_stats_read now;
    sv_stats_read(&now);
    return (struct salvage_stats){
        .cycles = now.cycles,
        .cycles_abandoned = now.cycles_abandoned,
        .heap_live = now.heap_live,
        .heap_goal = now.heap_trigger,
        .heap_mapped = now.heap_mapped,
        .heap_reserved = now.heap_reserved,
        .allocated = now.allocated,
        .freed = now.freed,
        .reclaimed = now.reclaimed,
        .released = now.released,
        .metadata = now.metadata,
        .foreign = now.foreign,
        .pause_ns_last = now.pause_last,
        .pause_ns_max = now.pause_max,
        .pause_ns_total = now.pause_total,
        .pause_prepare_ns_p50 = now.pause[SV_STOP_PREPARE].p50,
        .pause_prepare_ns_p99 = now.pause[SV_STOP_PREPARE].p99,
        .pause_prepare_ns_max = now.pause[SV_STOP_PREPARE].max,
        .pause_termination_ns_p50 = now.pause[SV_STOP_TERMINATION].p50,
        .pause_termination_ns_p99 = now.pause[SV_STOP_TERMINATION].p99,
        .pause_termination_ns_max = now.pause[SV_STOP_TERMINATION].max,
        .cpu_ns_assist = now.cpu[SV_CPU_ASSIST],
        .cpu_ns_background = now.cpu[SV_CPU_BACKGROUND],
        .cpu_ns_sweep = now.cpu[SV_CPU_SWEEP],
        .heap_end = now.heap_goal,
        .dirty_pages = now.dirty,
        .workers = now.workers,
        .fragmentation = now.fragmentation,
    };
}

SV_EXPORT void salvage_stats_sized(struct salvage_stats *out, size_t bytes)
{
    sv_init();
    struct salvage_stats now = stats_read();
    size_t known = bytes < sizeof now ? bytes : sizeof now;
    memcpy(out, &now, known);
    memset((char *)out + known, 0, bytes - known);
}

// Programs that were compiled before the structure grew have room for these fields only.
SV_EXPORT void(salvage_stats)(struct salvage_stats *out)
{
    salvage_stats_sized(out, offsetof(struct salvage_stats, pause_prepare_ns_p50));
}

SV_EXPORT void *salvage_malloc_noscan(size_t size)
{
    sv_init();
    bool due = sv_profile_all;
    void *p = sv_profile_sampling ? sv_heap_alloc_sampled(size, false, true, &due)
                                  : sv_heap_alloc_noscan(size);
    if (p && due)
        sv_profile_record(p, size, SV_UNWIND(salvage_malloc_noscan));
    return p;
}

SV_EXPORT void salvage_add_root(const void *p, size_t bytes)
{
    if (!sv_cycle_root_add((uintptr_t)p, (uintptr_t)p + bytes))
        sv_log("salvage: salvage_add_root(%p, %z): too many roots, this one is not looked at", p,
               bytes);
}

SV_EXPORT void salvage_remove_root(const void *p, size_t bytes)
{
    sv_cycle_root_remove((uintptr_t)p, (uintptr_t)p + bytes);
}

SV_EXPORT int salvage_leak_check(void)
{
    return sv_lsan_check();
}

SV_EXPORT void salvage_ignore(const void *p)
{
    sv_init();
    if (sv_options.mode == SV_MODE_LEAKS)
        sv_leaks_ignore(p);
}
