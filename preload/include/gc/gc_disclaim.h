/*
 * Procedures called for objects of a kind when they are about to be given back: finalizers that
 * need no registration of each object.
 */
#ifndef GC_DISCLAIM_H
#define GC_DISCLAIM_H

#ifndef GC_H
#include "gc.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Gets the object; returns 0, or other than 0 to have the object stay for now. */
typedef int(GC_CALLBACK *GC_disclaim_proc)(void *);

/*
 * For objects of this kind from now on: the procedure; and whether everything that such an object
 * points to is kept until the procedure was called. GC_free doesn't call it.
 */
GC_API void GC_CALL GC_register_disclaim_proc(int, GC_disclaim_proc, int) GC_ATTR_NONNULL(2);

/*
 * Objects of a kind that is made for it: when one is dead, proc is called with it and cd. What the
 * closure and the object point to is kept until then; proc must not store the object anywhere.
 */
struct GC_finalizer_closure {
    GC_finalization_proc proc;
    void *cd;
};
GC_API void GC_CALL GC_init_finalized_malloc(void); /* before the first of them */
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL
    GC_finalized_malloc(size_t, const struct GC_finalizer_closure *) GC_ATTR_NONNULL(2);

#ifdef __cplusplus
}
#endif

#endif
