// Objects whose first word points to a table that holds their descriptor, as compiled Java has
// them. The table is there before the object, so its descriptor becomes the object's own.
#define GC_BUILD
#include "gc/gc_gcj.h"

#include "export.h"
#include "gc/gc_mark.h"
#include "kind.h"

SV_EXPORT int GC_gcj_kind;
SV_EXPORT int GC_gcj_debug_kind;

SV_EXPORT void GC_init_gcj_malloc(int number, void *proc)
{
    sv_boehm_init();
    if (number >= 0 && number < GC_RESERVED_MARK_PROCS && number != SV_PROC_SHAPE)
        sv_kind_proc_set((unsigned)number, proc);
    GC_gcj_kind = GC_gcj_debug_kind = SV_KIND_GCJ;
}

SV_EXPORT void *GC_gcj_malloc(size_t size, void *table)
{
    void *p =
        table ? sv_kind_alloc(size, ((const uint64_t *)table)[1], SV_KIND_GCJ) : GC_malloc(size);
    if (p)
        *(void **)p = table;
    return p;
}

SV_EXPORT void *GC_gcj_malloc_ignore_off_page(size_t size, void *table)
{
    return GC_gcj_malloc(size, table);
}

// Every word of it is looked at: with a header in front, the descriptor is another object's.
SV_EXPORT void *GC_debug_gcj_malloc(size_t size, void *table, const char *file, int line)
{
    void *p = GC_debug_malloc(size, file, line);
    if (p)
        *(void **)p = table;
    return p;
}
