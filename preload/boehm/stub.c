// Parts of Boehm's face that aren't there yet.
#define GC_BUILD
#include "boehm.h"

#include "gc/gc.h"

#define STUB __attribute__((weak))
STUB void sv_event_poll(void)
{
}
STUB void sv_roots_push(struct sv_marker *m)
{
    (void)m;
}
STUB GC_oom_func GC_get_oom_fn(void)
{
    return NULL;
}
STUB GC_warn_proc GC_get_warn_proc(void)
{
    return NULL;
}
