/*
 * Allocation by free lists that the program itself keeps, for language implementations.
 *
 * bdwgc has the program take an object off a list by macros, and fetch many with one call when a
 * list is empty. Salvage's allocation is as short as that without a list of the program's, and
 * objects on a program's list look used to the collector. So the macros here leave the lists empty
 * and call the function; code compiled with bdwgc's macros works too.
 */
#ifndef GC_INLINE_H
#define GC_INLINE_H

#ifndef GC_H
#include "gc.h"
#endif
#include "gc_tiny_fl.h"

#ifdef __cplusplus
extern "C" {
#endif

#ifdef __GNUC__
#define GC_EXPECT(expr, outcome) __builtin_expect(expr, outcome)
#define GC_PREFETCH_FOR_WRITE(x) __builtin_prefetch((x), 1)
#else
#define GC_EXPECT(expr, outcome) (expr)
#define GC_PREFETCH_FOR_WRITE(x) (void)0
#endif

#ifndef GC_ASSERT
#ifdef NDEBUG
#define GC_ASSERT(expr)
#else
#include <assert.h>
#define GC_ASSERT(expr) assert(expr)
#endif
#endif

/* The kinds that there are always: without pointers, and GC_malloc's. */
#define GC_I_PTRFREE 0
#define GC_I_NORMAL 1

/* One object: bytes, kind. The second is for callers that keep lists of a thread's own. */
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_malloc_kind(size_t, int);
#ifdef GC_THREADS
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_malloc_kind_global(size_t, int);
#else
#define GC_malloc_kind_global GC_malloc_kind
#endif

/* Objects of so many bytes (a multiple of 16) and a kind, as a list that is stored at the last. */
GC_API void GC_CALL GC_generic_malloc_many(size_t, int, void **);

/*
 * result = an object of so many granules and this kind, then init is executed. tiny_fl: the
 * program's lists; num_direct: how many objects to get singly first; default_expr: the allocation
 * for sizes without a list. It is the one for all sizes here.
 */
#define GC_FAST_MALLOC_GRANS(result, granules, tiny_fl, num_direct, kind, default_expr, init)      \
    do {                                                                                           \
        (void)(tiny_fl);                                                                           \
        (void)(num_direct);                                                                        \
        (void)(kind);                                                                              \
        result = (granules) >= GC_TINY_FREELISTS                                                   \
                     ? (default_expr)                                                              \
                     : GC_malloc_kind((granules) == 0 ? GC_GRANULE_BYTES                           \
                                                      : GC_RAW_BYTES_FROM_INDEX(granules),         \
                                      kind);                                                       \
        if ((result) != 0) {                                                                       \
            init;                                                                                  \
        }                                                                                          \
    } while (0)

#define GC_WORDS_TO_WHOLE_GRANULES(n) GC_WORDS_TO_GRANULES((n) + GC_GRANULE_WORDS - 1)

/* The same for so many words; of GC_malloc's kind; atomic. */
#define GC_MALLOC_WORDS_KIND(result, n, tiny_fl, kind, init)                                       \
    do {                                                                                           \
        size_t granules = GC_WORDS_TO_WHOLE_GRANULES(n);                                           \
        GC_FAST_MALLOC_GRANS(result, granules, tiny_fl, 0, kind,                                   \
                             GC_malloc_kind(granules *GC_GRANULE_BYTES, kind), init);              \
    } while (0)
#define GC_MALLOC_WORDS(result, n, tiny_fl)                                                        \
    GC_MALLOC_WORDS_KIND(result, n, tiny_fl, GC_I_NORMAL, *(void **)(result) = 0)
#define GC_MALLOC_ATOMIC_WORDS(result, n, tiny_fl)                                                 \
    GC_MALLOC_WORDS_KIND(result, n, tiny_fl, GC_I_PTRFREE, (void)0)

/* A pair of two words. */
#define GC_CONS(result, first, second, tiny_fl)                                                    \
    do {                                                                                           \
        void *l = (void *)(first);                                                                 \
        void *r = (void *)(second);                                                                \
        GC_MALLOC_WORDS_KIND(result, 2, tiny_fl, GC_I_NORMAL, (void)0);                            \
        if ((result) != 0) {                                                                       \
            *(void **)(result) = l;                                                                \
            GC_PTR_STORE_AND_DIRTY((void **)(result) + 1, r);                                      \
            GC_reachable_here(l);                                                                  \
        }                                                                                          \
    } while (0)

/* Writes the collector's free objects of a kind and so many granules to stderr. */
GC_API void GC_CALL GC_print_free_list(int, size_t);

#ifdef __cplusplus
}
#endif

#endif
