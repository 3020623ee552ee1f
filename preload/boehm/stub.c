// Parts of Boehm's face that aren't there yet.
#define GC_BUILD
#include "boehm.h"

#include "gc/gc.h"

#define STUB __attribute__((weak))
STUB void sv_link_settle(struct sv_marker *m)
{
    (void)m;
}
STUB void sv_toggle_settle(struct sv_marker *m)
{
    (void)m;
}
STUB void sv_toggle_hold(struct sv_marker *m)
{
    (void)m;
}
STUB void sv_final_settle(struct sv_marker *m)
{
    (void)m;
}
STUB void sv_disclaim_settle(struct sv_marker *m)
{
    (void)m;
}
STUB void sv_link_commit(void)
{
}
STUB void sv_final_commit(void)
{
}
STUB void sv_disclaim_commit(void)
{
}
STUB void sv_final_hold(struct sv_marker *m)
{
    (void)m;
}
STUB void sv_final_poll(void)
{
}
STUB void sv_disclaim_poll(void)
{
}
STUB void sv_final_forget(uintptr_t start)
{
    (void)start;
}
STUB void GC_register_finalizer(void *p, GC_finalization_proc fn, void *data,
                                GC_finalization_proc *ofn, void **odata)
{
    (void)p, (void)fn, (void)data, (void)ofn, (void)odata;
}
STUB void GC_register_finalizer_ignore_self(void *p, GC_finalization_proc fn, void *data,
                                            GC_finalization_proc *ofn, void **odata)
{
    (void)p, (void)fn, (void)data, (void)ofn, (void)odata;
}
STUB void GC_register_finalizer_no_order(void *p, GC_finalization_proc fn, void *data,
                                         GC_finalization_proc *ofn, void **odata)
{
    (void)p, (void)fn, (void)data, (void)ofn, (void)odata;
}
STUB void GC_register_finalizer_unreachable(void *p, GC_finalization_proc fn, void *data,
                                            GC_finalization_proc *ofn, void **odata)
{
    (void)p, (void)fn, (void)data, (void)ofn, (void)odata;
}
