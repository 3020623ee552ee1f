// salvage.h: what a program that knows of the library can ask it.
#include "cycle.h"
#include "export.h"
#include "heap.h"
#include "init.h"
#include "salvage.h"
#include "stats.h"
#include "text.h"

SV_EXPORT int salvage_enabled(void)
{
    return 1;
}

SV_EXPORT size_t salvage_collect(void)
{
    sv_init();
    return sv_cycle_collect();
}

SV_EXPORT void salvage_stats(struct salvage_stats *out)
{
    sv_init();
    sv_stats_read(out);
}

SV_EXPORT void *salvage_malloc_noscan(size_t size)
{
    sv_init();
    return sv_heap_alloc_noscan(size);
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
