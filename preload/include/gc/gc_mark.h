/*
 * For language implementations: kinds of objects with their own descriptor, procedures that mark
 * such an object's pointers, and a part in the marking of roots.
 *
 * A mark procedure is called while the whole program stands still. It must not allocate, lock, or
 * wait, and must take an object as it finds it: one that the program hasn't filled yet is zero, but
 * for its first word if it is on a list of GC_generic_malloc_many.
 */
#ifndef GC_MARK_H
#define GC_MARK_H

#ifndef GC_H
#include "gc.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Mark procedures ---- */

/* How many bytes a procedure should look at in one call, about; it leaves the rest to another. */
#define GC_PROC_BYTES 100

/* An entry of the stack of what is to be marked. */
#ifdef GC_BUILD
struct GC_ms_entry;
#else
struct GC_ms_entry {
    void *opaque;
};
#endif

/*
 * Arguments: the object; the top of the mark stack; its limit; the environment of GC_MAKE_PROC.
 * For each pointer it finds, the procedure calls GC_MARK_AND_PUSH with the top, and takes its
 * result for the new top; it returns the last one.
 */
typedef struct GC_ms_entry *(*GC_mark_proc)(GC_word *, struct GC_ms_entry *, struct GC_ms_entry *,
                                            GC_word);

/* Marks the object that the pointer leads to, if it leads to one. The last: where it was found. */
GC_API struct GC_ms_entry *GC_CALL GC_mark_and_push(void *, struct GC_ms_entry *,
                                                    struct GC_ms_entry *, void **);

/* Below and above all objects: what isn't between them can't be a pointer to one. */
GC_API void *GC_least_plausible_heap_addr;
GC_API void *GC_greatest_plausible_heap_addr;

#define GC_MARK_AND_PUSH(obj, msp, lim, src)                                                       \
    ((GC_word)(obj) >= (GC_word)GC_least_plausible_heap_addr &&                                    \
             (GC_word)(obj) <= (GC_word)GC_greatest_plausible_heap_addr                            \
         ? GC_mark_and_push(obj, msp, lim, src)                                                    \
         : (msp))

/* The number of a new procedure, for GC_MAKE_PROC. _inner: with the lock held. */
GC_API unsigned GC_CALL GC_new_proc(GC_mark_proc);
GC_API unsigned GC_CALL GC_new_proc_inner(GC_mark_proc);
#define GC_LOG_MAX_MARK_PROCS 6
#define GC_MAX_MARK_PROCS (1 << GC_LOG_MAX_MARK_PROCS)
#define GC_RESERVED_MARK_PROCS 8 /* the first numbers aren't given out */
#define GC_GCJ_RESERVED_MARK_PROC_INDEX 0

/*
 * ---- Descriptors ----
 *
 * One word that says where an object's pointers are. Its lowest two bits say what it is:
 *  - length: the first so many bytes are looked at (a multiple of 8);
 *  - bitmap: the highest bit is for the first word, the next for the second, and so on;
 *  - procedure: GC_MAKE_PROC of a procedure's number and its environment;
 *  - per object: the object itself says. The other bits are the offset of the descriptor in it; or,
 *    less than 0, the first word is a pointer to a structure where the descriptor is at offset
 *    -(value) - GC_INDIR_PER_OBJ_BIAS. Such an object is looked at word by word as well.
 */
#define GC_DS_TAG_BITS 2
#define GC_DS_TAGS ((1 << GC_DS_TAG_BITS) - 1)
#define GC_DS_LENGTH 0
#define GC_DS_BITMAP 1
#define GC_DS_PROC 2
#define GC_DS_PER_OBJECT 3
#define GC_INDIR_PER_OBJ_BIAS 0x10
#define GC_MAKE_PROC(proc_index, env)                                                              \
    (((((env) << GC_LOG_MAX_MARK_PROCS) | (proc_index)) << GC_DS_TAG_BITS) | GC_DS_PROC)

/* ---- Kinds ---- */

/* Free lists for a new kind, one a size. */
GC_API void **GC_CALL GC_new_free_list(void);
GC_API void **GC_CALL GC_new_free_list_inner(void);

/*
 * A new kind's number. Arguments: its free lists; the descriptor of its objects; whether the
 * object's size is added to that (a descriptor of length 0 is then the whole object's); whether
 * objects are zeroed, which all are that may be scanned.
 */
GC_API unsigned GC_CALL GC_new_kind(void **, GC_word, int, int) GC_ATTR_NONNULL(1);
GC_API unsigned GC_CALL GC_new_kind_inner(void **, GC_word, int, int) GC_ATTR_NONNULL(1);

/*
 * An object of so many bytes and this kind, which is one from GC_new_kind or 0 (atomic) or 1
 * (normal), and with "special" 2 (uncollectable) too. It may be GC_free'd whatever it is.
 */
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_generic_malloc(size_t, int);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL
    GC_generic_malloc_ignore_off_page(size_t, int);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL
    GC_generic_malloc_uncollectable(size_t, int);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_generic_or_special_malloc(size_t, int);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL
    GC_debug_generic_or_special_malloc(size_t, int, GC_EXTRA_PARAMS);
#ifdef GC_DEBUG
#define GC_GENERIC_OR_SPECIAL_MALLOC(sz, knd) GC_debug_generic_or_special_malloc(sz, knd, GC_EXTRAS)
#else
#define GC_GENERIC_OR_SPECIAL_MALLOC(sz, knd) GC_generic_or_special_malloc(sz, knd)
#endif

/* The kind of an object, given by its start, and its size unless the second argument is NULL. */
GC_API int GC_CALL GC_get_kind_and_size(const void *, size_t *) GC_ATTR_NONNULL(1);

/* Writes what an object of the kind is, in less than GC_TYPE_DESCR_LEN characters, for reports. */
#define GC_TYPE_DESCR_LEN 40
typedef void(GC_CALLBACK *GC_describe_type_fn)(void *, char *);
GC_API void GC_CALL GC_register_describe_type_fn(int, GC_describe_type_fn);

/*
 * Bytes before an object of the debugging functions that a mark procedure skips, and the object
 * that begins behind them.
 */
GC_API GC_ATTR_CONST size_t GC_CALL GC_get_debug_header_size(void);
#define GC_USR_PTR_FROM_BASE(p) ((void *)((char *)(p) + GC_get_debug_header_size()))
GC_API GC_ATTR_DEPRECATED
#ifdef GC_BUILD
    const
#endif
        size_t GC_debug_header_size;

/* ---- Marks ---- */

/*
 * Whether the collection that goes on has marked the object (1 when there is none); marks it, to be
 * called from within the marking. Under the lock. A mark isn't cleared.
 */
GC_API int GC_CALL GC_is_marked(const void *) GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_clear_mark_bit(const void *) GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_set_mark_bit(const void *) GC_ATTR_NONNULL(1);

/*
 * Called at the start of each collection, on a thread of the program.
 */
typedef void(GC_CALLBACK *GC_start_callback_proc)(void);
GC_API void GC_CALL GC_set_start_callback(GC_start_callback_proc);
GC_API GC_start_callback_proc GC_CALL GC_get_start_callback(void);

/*
 * Called while the program stands still, to tell more roots: by GC_push_all and GC_push_all_eager
 * with a range (lowest address, address after it) whose words are looked at; by
 * GC_push_conditional, whose third argument says whether all of it is or only what was written. It
 * must not allocate, lock or wait. A program that sets one calls the one before it too.
 */
typedef void(GC_CALLBACK *GC_push_other_roots_proc)(void);
GC_API void GC_CALL GC_set_push_other_roots(GC_push_other_roots_proc);
GC_API GC_push_other_roots_proc GC_CALL GC_get_push_other_roots(void);
GC_API void GC_CALL GC_push_all(void *, void *);
GC_API void GC_CALL GC_push_all_eager(void *, void *);
GC_API void GC_CALL GC_push_conditional(void *, void *, int);
GC_API void GC_CALL GC_push_finalizer_structures(void); /* done by the collector itself */

/*
 * Calls the function with each object, its size and the last argument; with the lock held. It must
 * not allocate.
 */
typedef void(GC_CALLBACK *GC_reachable_object_proc)(void *, size_t, void *);
GC_API void GC_CALL GC_enumerate_reachable_objects_inner(GC_reachable_object_proc, void *)
    GC_ATTR_NONNULL(1);

/* Whether the address is in a root that may go again: data of the program or of a library. */
GC_API int GC_CALL GC_is_tmp_root(void *);

/* Returns its argument; of old, cleared dead parts of the stack. */
GC_API void *GC_CALL GC_clear_stack(void *);

#ifdef __cplusplus
}
#endif

#endif
