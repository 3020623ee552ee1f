/*
 * The face of Boehm's collector (bdwgc 8.2.2), on Salvage's heap. A program written for that
 * collector compiles against this header and runs with Salvage's libgc.so.1; the names, types and
 * constants are those of bdwgc, so it may as well be compiled against bdwgc's own header.
 *
 * What is different underneath, for every function here:
 *  - A collection runs beside the program, which stands still for two short moments of it. There is
 *    no other mode, so what chooses or tunes Boehm's modes only remembers what it is told.
 *  - All threads, their stacks, thread-local variables and all mapped memory of the process are
 *    looked at for pointers, registered or not. A pointer to anywhere within an object, or one byte
 *    past its end, keeps the object.
 *  - Functions given by the program (finalizers, notifiers, callbacks) are called on threads of the
 *    program, with no lock held unless it is said; they may allocate unless it is said.
 * docs/boehm.md has the state of each function.
 *
 * Contents: basic types; start and end; allocation; asking about objects; finalizers; links that
 * disappear; toggle references; collecting; roots; threads and stacks; events and messages;
 * settings; numbers; hiding pointers; debugging; the macros that choose between plain and debugging
 * functions; GC_INIT.
 */
#ifndef GC_H
#define GC_H

#include "gc_version.h"

#include "gc_config_macros.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Basic types ---- */

typedef void *GC_PTR;          /* of old, before void * could be relied on */
typedef unsigned long GC_word; /* as wide as a pointer */
typedef long GC_signed_word;

typedef void *(GC_CALLBACK *GC_fn_type)(void *);

/* What functions that return a status return. Not every function can return each of them. */
#define GC_SUCCESS 0
#define GC_DUPLICATE 1     /* it was there already */
#define GC_NO_THREADS 2    /* no support for threads */
#define GC_NO_MEMORY 2     /* no room to note it */
#define GC_UNIMPLEMENTED 3 /* can't be done here */
#define GC_NOT_FOUND 4     /* no such registration */

/* ---- Start and end ---- */

/* bdwgc's version that this face is: major << 16 | minor << 8 | micro, as in gc_version.h. */
GC_API unsigned GC_CALL GC_get_version(void);

/*
 * Programs call the macro GC_INIT() (at the end of this file) once, before anything else, and
 * GC_init() comes with it. Both may be left out with Salvage: its heap is ready before main().
 */
GC_API void GC_CALL GC_init(void);
GC_API int GC_CALL GC_is_init_called(void);

/* Says that the program is done with the collector. Objects stay as they are. */
GC_API void GC_CALL GC_deinit(void);

/* ---- Allocation ---- */

/*
 * Memory for an object of so many bytes, aligned to 16, or what the out-of-memory function returns
 * (GC_set_oom_fn; NULL by default). It is given back when no pointer leads to it any more. Programs
 * use the macros in capitals, which call the debugging functions instead when GC_DEBUG is defined.
 *
 * GC_malloc's is zero and is scanned for pointers. GC_malloc_atomic's isn't zeroed and must never
 * hold the only pointer to an object.
 */
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_malloc(size_t);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_malloc_atomic(size_t);

/*
 * Copies of a string, in atomic memory. The second copies so many characters at most, and ends
 * the copy with a 0 always. NULL, with errno ENOMEM, when there is no memory.
 */
GC_API GC_ATTR_MALLOC char *GC_CALL GC_strdup(const char *);
GC_API GC_ATTR_MALLOC char *GC_CALL GC_strndup(const char *, size_t) GC_ATTR_NONNULL(1);

/*
 * Memory that is given back by GC_free only, never by a collection. The first is zero, and what it
 * points to is kept, as if it were a root; the second isn't looked at.
 */
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_malloc_uncollectable(size_t);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_malloc_atomic_uncollectable(size_t);

/*
 * For large objects to whose beginning (the first 512 bytes) the program keeps a pointer as long as
 * it needs them: pointers further inside need not count then. Here they count all the same.
 */
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_malloc_ignore_off_page(size_t);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_malloc_atomic_ignore_off_page(size_t);

/*
 * As memalign() and posix_memalign(), in collected memory like GC_malloc's. Arguments: alignment,
 * then bytes. The second stores the object where its first argument points, and returns 0, EINVAL
 * or ENOMEM.
 */
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(2) void *GC_CALL GC_memalign(size_t, size_t);
GC_API int GC_CALL GC_posix_memalign(void **, size_t, size_t) GC_ATTR_NONNULL(1);

/*
 * Several objects of so many bytes at once, zeroed, each holding the address of the next in its
 * first word: GC_NEXT reads that. The program clears the word before it uses an object.
 */
GC_API GC_ATTR_MALLOC void *GC_CALL GC_malloc_many(size_t);
#define GC_NEXT(p) (*(void **)(p))

/*
 * Gives an object back at once, without its finalizer and with its links and finalizer forgotten;
 * NULL is allowed. Never necessary but for uncollectable objects.
 */
GC_API void GC_CALL GC_free(void *);

/*
 * The object with another size, moved if it must be; contents stay up to the smaller size. It stays
 * of its kind: atomic, uncollectable. NULL allocates like GC_malloc; size 0 frees and returns NULL.
 */
GC_API void *GC_CALL GC_realloc(void *, size_t) GC_ATTR_ALLOC_SIZE(2);

/* Called with the size when there is no memory; what it returns is the allocation's result. */
typedef void *(GC_CALLBACK *GC_oom_func)(size_t);
GC_API void GC_CALL GC_set_oom_fn(GC_oom_func) GC_ATTR_NONNULL(1);
GC_API GC_oom_func GC_CALL GC_get_oom_fn(void);
GC_API GC_ATTR_DEPRECATED GC_oom_func GC_oom_fn;

/* Writes a message and ends the process by the abort function: to be called by an oom function. */
GC_API void GC_CALL GC_abort_on_oom(void);

/*
 * Of collections that tracked writes by the program's help. Written pages are found by the kernel
 * here, so telling is harmless and needless. "Stubborn" objects were those that seldom changed.
 */
GC_API GC_ATTR_DEPRECATED void *GC_CALL GC_malloc_stubborn(size_t);
GC_API GC_ATTR_DEPRECATED void GC_CALL GC_change_stubborn(const void *);
GC_API void GC_CALL GC_end_stubborn_change(const void *) GC_ATTR_NONNULL(1);
#define GC_MALLOC_STUBBORN(sz) GC_MALLOC(sz)
#define GC_NEW_STUBBORN(t) GC_NEW(t)
#define GC_CHANGE_STUBBORN(p) GC_change_stubborn(p)

/* *(void **)first = second, for programs that announce their writes (see above). */
GC_API void GC_CALL GC_ptr_store_and_dirty(void *, const void *);

/* ---- Asking about objects ---- */

/* The first byte of the object that the address is in; NULL if it is in none. */
GC_API void *GC_CALL GC_base(void *);

/* Whether the address is in the collector's heap; any value may be asked about. */
GC_API int GC_CALL GC_is_heap_ptr(const void *);

/* Bytes that the object may be used up to, at least those asked for; the argument is its start. */
GC_API size_t GC_CALL GC_size(const void *) GC_ATTR_NONNULL(1);

/* Keeps the object of this pointer alive up to this place of the program. */
#define GC_reachable_here(ptr) __asm__ __volatile__(" " : : "X"(ptr) : "memory")
GC_API void GC_CALL GC_noop1(GC_word); /* does nothing with a word, unseen by the compiler */

/* ---- Finalizers ---- */

/*
 * A function to call for an object once nothing leads to it. The call happens in a thread of the
 * program (in an allocation or GC_gcollect after the collection that found it, or in
 * GC_invoke_finalizers), once; the object and all it points to are still there, and may be stored
 * somewhere again. Then it has no finalizer any more.
 *
 * Registration: object (its start; others are ignored), function, argument for it; and where to
 * store the function and argument it had before, each of which may be NULL. Function NULL
 * unregisters. Only one of the four kinds is in force for an object, the last one registered:
 *  - plain: an object waits until no other unreachable object with a finalizer leads to it, itself
 *    included. So objects in a cycle are never finalized; a warning says so.
 *  - _ignore_self: the same, but pointers of an object to itself don't count.
 *  - _no_order: it doesn't wait for any.
 *  - _unreachable: as _no_order, but it also waits as long as an object whose finalizer is still to
 *    be called leads to it.
 */
typedef void(GC_CALLBACK *GC_finalization_proc)(void *, void *);

GC_API void GC_CALL GC_register_finalizer(void *, GC_finalization_proc, void *,
                                          GC_finalization_proc *, void **) GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_register_finalizer_ignore_self(void *, GC_finalization_proc, void *,
                                                      GC_finalization_proc *, void **)
    GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_register_finalizer_no_order(void *, GC_finalization_proc, void *,
                                                   GC_finalization_proc *, void **)
    GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_register_finalizer_unreachable(void *, GC_finalization_proc, void *,
                                                      GC_finalization_proc *, void **)
    GC_ATTR_NONNULL(1);

/*
 * When they are called: with finalize_on_demand, only by GC_invoke_finalizers(), which returns how
 * many it called; the notifier, if there is one, is called after a collection that left some to
 * call. GC_should_invoke_finalizers says whether there are any.
 */
GC_API int GC_CALL GC_should_invoke_finalizers(void);
GC_API int GC_CALL GC_invoke_finalizers(void);
GC_API void GC_CALL GC_set_finalize_on_demand(int);
GC_API int GC_CALL GC_get_finalize_on_demand(void);
GC_API GC_ATTR_DEPRECATED int GC_finalize_on_demand;
typedef void(GC_CALLBACK *GC_finalizer_notifier_proc)(void);
GC_API void GC_CALL GC_set_finalizer_notifier(GC_finalizer_notifier_proc);
GC_API GC_finalizer_notifier_proc GC_CALL GC_get_finalizer_notifier(void);
GC_API GC_ATTR_DEPRECATED GC_finalizer_notifier_proc GC_finalizer_notifier;

/* Called with each object that was found ready for its finalizer, before that. NULL: none. */
typedef void(GC_CALLBACK *GC_await_finalize_proc)(void *);
GC_API void GC_CALL GC_set_await_finalize_proc(GC_await_finalize_proc);
GC_API GC_await_finalize_proc GC_CALL GC_get_await_finalize_proc(void);

/*
 * Whether what is reachable only from an object that waits for its finalizer is kept until then
 * without ordering (as Java has it). Needed by _no_order and _unreachable; 1 here.
 */
GC_API void GC_CALL GC_set_java_finalization(int);
GC_API int GC_CALL GC_get_java_finalization(void);
GC_API GC_ATTR_DEPRECATED int GC_java_finalization;

/* ---- Links that disappear ---- */

/*
 * A link is a pointer that doesn't keep its object because it is hidden from the collector
 * (GC_HIDE_POINTER), or lies in atomic memory: it is set to 0 when the object dies, before the
 * object's finalizer is called. A long link is cleared only when the object is really gone, after
 * the finalizers that could have saved it.
 *
 * Arguments: the link's address; the object's start (the first function takes the link's own object
 * for it). A link in a collected object is forgotten when that object dies. Results: GC_SUCCESS,
 * GC_DUPLICATE (the link is registered; it is for the new object now), GC_NO_MEMORY.
 */
GC_API int GC_CALL GC_register_disappearing_link(void **) GC_ATTR_NONNULL(1);
GC_API int GC_CALL GC_general_register_disappearing_link(void **, const void *) GC_ATTR_NONNULL(1)
    GC_ATTR_NONNULL(2);
GC_API int GC_CALL GC_register_long_link(void **, const void *) GC_ATTR_NONNULL(1)
    GC_ATTR_NONNULL(2);

/*
 * The registration from one address to another; the program moves the contents. GC_SUCCESS,
 * GC_NOT_FOUND, or GC_DUPLICATE if the second address is registered already.
 */
GC_API int GC_CALL GC_move_disappearing_link(void **, void **) GC_ATTR_NONNULL(2);
GC_API int GC_CALL GC_move_long_link(void **, void **) GC_ATTR_NONNULL(2);

/* 1 if the link was registered, 0 if not. */
GC_API int GC_CALL GC_unregister_disappearing_link(void **);
GC_API int GC_CALL GC_unregister_long_link(void **);

/* ---- Toggle references ---- */

/*
 * References whose strength the program decides anew in each collection: the function is asked for
 * every object added, and says whether to hold it, to refer to it weakly, or to forget it. It runs
 * with the collector's lock held and the program stopped: it must neither allocate nor lock.
 * GC_toggleref_add: object, whether strong at first; GC_SUCCESS or GC_NO_MEMORY.
 */
typedef enum { GC_TOGGLE_REF_DROP, GC_TOGGLE_REF_STRONG, GC_TOGGLE_REF_WEAK } GC_ToggleRefStatus;
typedef GC_ToggleRefStatus(GC_CALLBACK *GC_toggleref_func)(void *);
GC_API void GC_CALL GC_set_toggleref_func(GC_toggleref_func);
GC_API GC_toggleref_func GC_CALL GC_get_toggleref_func(void);
GC_API int GC_CALL GC_toggleref_add(void *, int) GC_ATTR_NONNULL(1);

/* ---- Collecting ---- */

/* A whole collection now. The second also gives all free memory back to the kernel. */
GC_API void GC_CALL GC_gcollect(void);
GC_API void GC_CALL GC_gcollect_and_unmap(void);

/*
 * A collection unless the function, which is asked first, returns other than 0. Returns whether
 * there was one. The other is asked for each collection that allocation starts, and by GC_gcollect;
 * it must not allocate.
 */
typedef int(GC_CALLBACK *GC_stop_func)(void);
GC_API int GC_CALL GC_try_to_collect(GC_stop_func) GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_set_stop_func(GC_stop_func) GC_ATTR_NONNULL(1);
GC_API GC_stop_func GC_CALL GC_get_stop_func(void);

/* No collections from the first call on until GC_enable was called as often. */
GC_API void GC_CALL GC_disable(void);
GC_API void GC_CALL GC_enable(void);
GC_API int GC_CALL GC_is_disabled(void);
GC_API
#ifndef GC_DONT_GC
GC_ATTR_DEPRECATED
#endif
int GC_dont_gc; /* how often disabled; read it by GC_is_disabled() */

/* Whether allocation never starts a collection; asking for one still does. */
GC_API void GC_CALL GC_set_disable_automatic_collection(int);
GC_API int GC_CALL GC_get_disable_automatic_collection(void);

/*
 * Incremental collection. Every collection is concurrent here, so the calls only make
 * GC_is_incremental_mode() true. Nothing of the program's memory is ever protected against it.
 */
GC_API void GC_CALL GC_enable_incremental(void);
GC_API int GC_CALL GC_is_incremental_mode(void);
GC_API void GC_CALL GC_set_manual_vdb_allowed(int);
GC_API int GC_CALL GC_get_manual_vdb_allowed(void);
#define GC_PROTECTS_NONE 0
#define GC_PROTECTS_POINTER_HEAP 1
#define GC_PROTECTS_PTRFREE_HEAP 2
#define GC_PROTECTS_STATIC_DATA 4
#define GC_PROTECTS_STACK 8
GC_API int GC_CALL GC_incremental_protection_needs(void); /* GC_PROTECTS_NONE */

/* Starts a collection if the mode is incremental; the program goes on beside it. */
GC_API void GC_CALL GC_start_incremental_collection(void);

/* Some work for a collection that goes on; 0 if there is no more. */
GC_API int GC_CALL GC_collect_a_little(void);

/* ---- Roots ---- */

/*
 * Where pointers are looked for outside the heap. All writable memory of the process is looked at
 * already. GC_add_roots adds a range that isn't (first byte, byte after the last);
 * GC_remove_roots takes added ranges out where they lie within the given one; GC_clear_roots
 * removes all that were added. Call the last before GC_init.
 */
GC_API void GC_CALL GC_add_roots(void *, void *);
GC_API void GC_CALL GC_remove_roots(void *, void *);
GC_API void GC_CALL GC_clear_roots(void);

/*
 * A range, as above, of a program's or library's data that needn't be looked at. Here it is all the
 * same: an object may live longer for it.
 */
GC_API void GC_CALL GC_exclude_static_roots(void *, void *);
GC_API void GC_CALL GC_clear_exclusion_table(void);

/*
 * Asked for each loaded library's writable data (file, address, bytes): other than 0 if it is to be
 * looked at. NULL: nobody is asked. All of it is looked at here, whatever the answer.
 */
typedef int(GC_CALLBACK *GC_has_static_roots_func)(const char *, void *, size_t);
GC_API void GC_CALL GC_register_has_static_roots_callback(GC_has_static_roots_func);

/* Whether libraries' data is to be left out; it isn't. Set before GC_init. */
GC_API void GC_CALL GC_set_no_dls(int);
GC_API int GC_CALL GC_get_no_dls(void);
GC_API GC_ATTR_DEPRECATED int GC_no_dls;

/*
 * Which pointers into an object keep it. All do here: the setting is only remembered (set it before
 * GC_init), and so are the offsets registered for programs that switch it off.
 */
GC_API void GC_CALL GC_set_all_interior_pointers(int);
GC_API int GC_CALL GC_get_all_interior_pointers(void);
GC_API GC_ATTR_DEPRECATED int GC_all_interior_pointers;
GC_API void GC_CALL GC_register_displacement(size_t);
GC_API void GC_CALL GC_debug_register_displacement(size_t);

/* ---- Threads and stacks ---- */

/* Where a stack began: its end with the high address. */
struct GC_stack_base {
    void *mem_base;
};

/* GC_SUCCESS, with the calling thread's own. */
GC_API int GC_CALL GC_get_stack_base(struct GC_stack_base *) GC_ATTR_NONNULL(1);

/* Calls the function with the place of the stack where it is called, and its argument. */
typedef void *(GC_CALLBACK *GC_stack_base_func)(struct GC_stack_base *, void *);
GC_API void *GC_CALL GC_call_with_stack_base(GC_stack_base_func, void *) GC_ATTR_NONNULL(1);

/*
 * For coroutines: the stack base that the collector uses for the calling thread, with a handle of
 * the thread as result; and another base for the thread of that handle (NULL: the caller). The
 * latter is called with the lock held.
 */
GC_API void *GC_CALL GC_get_my_stackbottom(struct GC_stack_base *) GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_set_stackbottom(void *, const struct GC_stack_base *) GC_ATTR_NONNULL(2);
GC_API GC_ATTR_DEPRECATED char *GC_stackbottom; /* the first thread's */

/*
 * Calls the function, in which the thread makes no use of the collector's objects but may wait for
 * long; and the way back in from within it. Threads that wait don't hold a collection up here: both
 * just call.
 */
GC_API void *GC_CALL GC_do_blocking(GC_fn_type, void *) GC_ATTR_NONNULL(1);
GC_API void *GC_CALL GC_call_with_gc_active(GC_fn_type, void *) GC_ATTR_NONNULL(1);

/*
 * Calls the function with the lock of the collector's tables held, and returns its result. Within,
 * only functions that are said to want the lock may be called. Hidden pointers may be made plain:
 * no link is cleared meanwhile.
 */
GC_API void *GC_CALL GC_call_with_alloc_lock(GC_fn_type, void *) GC_ATTR_NONNULL(1);

#ifdef GC_THREADS
GC_API void GC_CALL GC_alloc_lock(void);
GC_API void GC_CALL GC_alloc_unlock(void);

/*
 * Threads are found by themselves; a thread may say that it exists all the same.
 * GC_register_my_thread: GC_SUCCESS or GC_DUPLICATE (the first thread, and those that were made by
 * GC_pthread_create, are registered from the start); GC_unregister_my_thread: GC_SUCCESS.
 */
GC_API void GC_CALL GC_allow_register_threads(void);
GC_API int GC_CALL GC_register_my_thread(const struct GC_stack_base *) GC_ATTR_NONNULL(1);
GC_API int GC_CALL GC_unregister_my_thread(void);
GC_API int GC_CALL GC_thread_is_registered(void);

/* The caller's stack (lowest address, bytes), and its other stack for signals. */
GC_API void GC_CALL GC_register_altstack(void *, GC_word, void *, GC_word);

/* All other threads stand still from the first call to the second. Nothing may be allocated. */
GC_API void GC_CALL GC_stop_world_external(void);
GC_API void GC_CALL GC_start_world_external(void);

/* The signals that stop and resume threads. GC_suspend_thread needs one, a collection none. */
GC_API void GC_CALL GC_set_suspend_signal(int);
GC_API int GC_CALL GC_get_suspend_signal(void);
GC_API void GC_CALL GC_set_thr_restart_signal(int);
GC_API int GC_CALL GC_get_thr_restart_signal(void);

/* Threads that mark. Set before GC_init; the getter says how many there are beside the caller. */
GC_API void GC_CALL GC_set_markers_count(unsigned);
GC_API int GC_CALL GC_get_parallel(void);
GC_API GC_ATTR_DEPRECATED int GC_parallel;
#else
#define GC_alloc_lock() (void)0
#define GC_alloc_unlock() (void)0
#endif

/* Starts the threads that mark, after a fork for instance. They start by themselves. */
GC_API void GC_CALL GC_start_mark_threads(void);

/*
 * fork() by a program with threads. The heap is whole in the child always, so neither the setting
 * nor the three calls around a fork are needed.
 */
GC_API void GC_CALL GC_set_handle_fork(int);
GC_API void GC_CALL GC_atfork_prepare(void);
GC_API void GC_CALL GC_atfork_parent(void);
GC_API void GC_CALL GC_atfork_child(void);

/* ---- Events and messages ---- */

/*
 * Called for the steps of each collection, in this order, on a thread of the program after the
 * collection (the program didn't stand still for most of it). The thread events come around each
 * thread that is stopped, with the thread's handle.
 */
typedef enum {
    GC_EVENT_START,
    GC_EVENT_MARK_START,
    GC_EVENT_MARK_END,
    GC_EVENT_RECLAIM_START,
    GC_EVENT_RECLAIM_END,
    GC_EVENT_END,
    GC_EVENT_PRE_STOP_WORLD,
    GC_EVENT_POST_STOP_WORLD,
    GC_EVENT_PRE_START_WORLD,
    GC_EVENT_POST_START_WORLD,
    GC_EVENT_THREAD_SUSPENDED,
    GC_EVENT_THREAD_UNSUSPENDED
} GC_EventType;
typedef void(GC_CALLBACK *GC_on_collection_event_proc)(GC_EventType);
GC_API void GC_CALL GC_set_on_collection_event(GC_on_collection_event_proc);
GC_API GC_on_collection_event_proc GC_CALL GC_get_on_collection_event(void);
#ifdef GC_THREADS
typedef void(GC_CALLBACK *GC_on_thread_event_proc)(GC_EventType, void *);
GC_API void GC_CALL GC_set_on_thread_event(GC_on_thread_event_proc);
GC_API GC_on_thread_event_proc GC_CALL GC_get_on_thread_event(void);
#endif

/* Called with the new size, in bytes, when the heap has grown. */
typedef void(GC_CALLBACK *GC_on_heap_resize_proc)(GC_word);
GC_API void GC_CALL GC_set_on_heap_resize(GC_on_heap_resize_proc);
GC_API GC_on_heap_resize_proc GC_CALL GC_get_on_heap_resize(void);
GC_API GC_ATTR_DEPRECATED GC_on_heap_resize_proc GC_on_heap_resize;

/*
 * Warnings: a format for printf() with one conversion for a word at most, and the word. The default
 * writes to stderr or the log; GC_ignore_warn_proc is one that does nothing.
 */
typedef void(GC_CALLBACK *GC_warn_proc)(char *, GC_word);
GC_API void GC_CALL GC_set_warn_proc(GC_warn_proc) GC_ATTR_NONNULL(1);
GC_API GC_warn_proc GC_CALL GC_get_warn_proc(void);
GC_API void GC_CALLBACK GC_ignore_warn_proc(char *, GC_word);

/* The descriptor that messages go to. */
GC_API void GC_CALL GC_set_log_fd(int);

/* Called with a message before the process is ended for a mistake; NULL as message at an exit. */
typedef void(GC_CALLBACK *GC_abort_func)(const char *);
GC_API void GC_CALL GC_set_abort_func(GC_abort_func) GC_ATTR_NONNULL(1);
GC_API GC_abort_func GC_CALL GC_get_abort_func(void);

/* ---- Settings ---- */

/* The heap at least so many bytes larger (0 if that fails); never above so many (0: no limit). */
GC_API int GC_CALL GC_expand_hp(size_t);
GC_API void GC_CALL GC_set_max_heap_size(GC_word);

/*
 * How much is allocated between two collections: about the live heap divided by this. Larger is
 * less memory and more work.
 */
GC_API void GC_CALL GC_set_free_space_divisor(GC_word);
GC_API GC_word GC_CALL GC_get_free_space_divisor(void);
GC_API GC_ATTR_DEPRECATED GC_word GC_free_space_divisor;

/* Whether the heap grows only when a collection didn't help. Only remembered. */
GC_API void GC_CALL GC_set_dont_expand(int);
GC_API int GC_CALL GC_get_dont_expand(void);
GC_API GC_ATTR_DEPRECATED int GC_dont_expand;

/* Leaks instead of collections. Only remembered: SALVAGE=mode=leaks has lost objects reported. */
GC_API void GC_CALL GC_set_find_leak(int);
GC_API int GC_CALL GC_get_find_leak(void);
GC_API GC_ATTR_DEPRECATED int GC_find_leak;

/* Whether GC_gcollect gives free memory back to the kernel as GC_gcollect_and_unmap does. */
GC_API void GC_CALL GC_set_force_unmap_on_gcollect(int);
GC_API int GC_CALL GC_get_force_unmap_on_gcollect(void);

/* Whether objects are to be executable as code; they aren't. */
GC_API void GC_CALL GC_set_pages_executable(int);
GC_API int GC_CALL GC_get_pages_executable(void);

/*
 * Only remembered, since they tune what there isn't: a first collection in GC_init; so many partial
 * collections between full ones; attempts to get memory; bytes to leave out of the count that
 * starts a collection; bytes that a registered finalizer counts for; the least count that starts
 * one; the size of GC_collect_a_little's steps; attempts at marking in a given time.
 */
GC_API void GC_CALL GC_set_dont_precollect(int);
GC_API int GC_CALL GC_get_dont_precollect(void);
GC_API GC_ATTR_DEPRECATED int GC_dont_precollect;
GC_API void GC_CALL GC_set_full_freq(int);
GC_API int GC_CALL GC_get_full_freq(void);
GC_API GC_ATTR_DEPRECATED int GC_full_freq;
GC_API void GC_CALL GC_set_max_retries(GC_word);
GC_API GC_word GC_CALL GC_get_max_retries(void);
GC_API GC_ATTR_DEPRECATED GC_word GC_max_retries;
GC_API void GC_CALL GC_set_non_gc_bytes(GC_word);
GC_API GC_word GC_CALL GC_get_non_gc_bytes(void);
GC_API GC_ATTR_DEPRECATED GC_word GC_non_gc_bytes;
GC_API void GC_CALL GC_set_allocd_bytes_per_finalizer(GC_word);
GC_API GC_word GC_CALL GC_get_allocd_bytes_per_finalizer(void);
GC_API void GC_CALL GC_set_min_bytes_allocd(size_t);
GC_API size_t GC_CALL GC_get_min_bytes_allocd(void);
GC_API void GC_CALL GC_set_rate(int);
GC_API int GC_CALL GC_get_rate(void);
GC_API void GC_CALL GC_set_max_prior_attempts(int);
GC_API int GC_CALL GC_get_max_prior_attempts(void);
GC_API GC_ATTR_DEPRECATED int GC_use_entire_heap;

/*
 * The longest stop that an incremental collection should make: milliseconds, or milliseconds and
 * nanoseconds beyond them. Only remembered: stops are as short as can be always.
 */
#define GC_TIME_UNLIMITED 999999
GC_API void GC_CALL GC_set_time_limit(unsigned long);
GC_API unsigned long GC_CALL GC_get_time_limit(void);
GC_API GC_ATTR_DEPRECATED unsigned long GC_time_limit;
struct GC_timeval_s {
    unsigned long tv_ms;
    unsigned long tv_nsec;
};
GC_API void GC_CALL GC_set_time_limit_tv(struct GC_timeval_s);
GC_API struct GC_timeval_s GC_CALL GC_get_time_limit_tv(void);

/* ---- Numbers ---- */

/* Collections so far. */
GC_API GC_word GC_CALL GC_get_gc_no(void);
GC_API GC_ATTR_DEPRECATED GC_word GC_gc_no;

/*
 * Bytes: of the heap's pages; of them free; of address space given back to the kernel; allocated
 * since the last collection; freed by GC_free since then; allocated in all; got from the kernel in
 * all. Those of an instant, each by itself.
 */
GC_API size_t GC_CALL GC_get_heap_size(void);
GC_API size_t GC_CALL GC_get_free_bytes(void);
GC_API size_t GC_CALL GC_get_unmapped_bytes(void);
GC_API size_t GC_CALL GC_get_bytes_since_gc(void);
GC_API size_t GC_CALL GC_get_expl_freed_bytes_since_gc(void);
GC_API size_t GC_CALL GC_get_total_bytes(void);
GC_API size_t GC_CALL GC_get_obtained_from_os_bytes(void);

/* Heap size, free, unmapped, since the last collection, in all; all of one instant; NULL: skip. */
GC_API void GC_CALL GC_get_heap_usage_safe(GC_word *, GC_word *, GC_word *, GC_word *, GC_word *);

/* Bytes in objects that are not free. */
GC_API size_t GC_CALL GC_get_memory_use(void);

struct GC_prof_stats_s {
    GC_word heapsize_full;             /* bytes of the heap, with what was given back */
    GC_word free_bytes_full;           /* bytes free, with what was given back */
    GC_word unmapped_bytes;            /* bytes given back to the kernel */
    GC_word bytes_allocd_since_gc;     /* bytes allocated since the last collection */
    GC_word allocd_bytes_before_gc;    /* bytes allocated before it */
    GC_word non_gc_bytes;              /* what GC_set_non_gc_bytes set */
    GC_word gc_no;                     /* collections */
    GC_word markers_m1;                /* threads that mark, beside the one that asks */
    GC_word bytes_reclaimed_since_gc;  /* bytes that the last collection brought back */
    GC_word reclaimed_bytes_before_gc; /* bytes that those before it brought back */
    GC_word expl_freed_bytes_since_gc; /* bytes freed by GC_free since the last collection */
    GC_word obtained_from_os_bytes;    /* bytes got from the kernel */
};

/*
 * Fills as many fields as the size says, those it doesn't know with all bits set; returns the bytes
 * of those it knows. The second wants the lock to be held.
 */
GC_API size_t GC_CALL GC_get_prof_stats(struct GC_prof_stats_s *, size_t);
#ifdef GC_THREADS
GC_API size_t GC_CALL GC_get_prof_stats_unsafe(struct GC_prof_stats_s *, size_t);
#endif

/* Bytes that an object of so many bytes gets, for small ones; the largest size_t for others. */
GC_API size_t GC_CALL GC_get_size_map_at(int i);

/* Milliseconds of processor time spent in collections since the call of the other function. */
GC_API void GC_CALL GC_start_performance_measurement(void);
GC_API unsigned long GC_CALL GC_get_full_gc_total_time(void);

/* ---- Hiding pointers ---- */

/* A pointer as a number that isn't taken for it, and back. */
typedef GC_word GC_hidden_pointer;
#define GC_HIDE_POINTER(p) (~(GC_hidden_pointer)(p))
#define GC_REVEAL_POINTER(p) ((void *)GC_HIDE_POINTER(p))
#if defined(I_HIDE_POINTERS) || defined(GC_I_HIDE_POINTERS)
#define HIDE_POINTER(p) GC_HIDE_POINTER(p)
#define REVEAL_POINTER(p) GC_REVEAL_POINTER(p)
#endif

/* ---- Debugging ---- */

/*
 * Each like the function without debug_, with the place in the program that asks. The place stands
 * in a header before the object, so GC_base is less than the object by GC_get_debug_header_size().
 * All of them take plain objects too.
 */
#ifdef GC_ADD_CALLER
#define GC_EXTRAS GC_RETURN_ADDR, __FILE__, __LINE__
#define GC_EXTRA_PARAMS GC_word ra, const char *s, int i
#else
#define GC_EXTRAS __FILE__, __LINE__
#define GC_EXTRA_PARAMS const char *s, int i
#endif
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_debug_malloc(size_t, GC_EXTRA_PARAMS);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL
    GC_debug_malloc_atomic(size_t, GC_EXTRA_PARAMS);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL
    GC_debug_malloc_uncollectable(size_t, GC_EXTRA_PARAMS);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL
    GC_debug_malloc_atomic_uncollectable(size_t, GC_EXTRA_PARAMS);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL
    GC_debug_malloc_ignore_off_page(size_t, GC_EXTRA_PARAMS);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL
    GC_debug_malloc_atomic_ignore_off_page(size_t, GC_EXTRA_PARAMS);
GC_API GC_ATTR_DEPRECATED void *GC_CALL GC_debug_malloc_stubborn(size_t, GC_EXTRA_PARAMS);
GC_API GC_ATTR_MALLOC char *GC_CALL GC_debug_strdup(const char *, GC_EXTRA_PARAMS);
GC_API GC_ATTR_MALLOC char *GC_CALL GC_debug_strndup(const char *, size_t, GC_EXTRA_PARAMS)
    GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_debug_free(void *);
GC_API void *GC_CALL GC_debug_realloc(void *, size_t, GC_EXTRA_PARAMS) GC_ATTR_ALLOC_SIZE(2);
GC_API GC_ATTR_DEPRECATED void GC_CALL GC_debug_change_stubborn(const void *);
GC_API void GC_CALL GC_debug_end_stubborn_change(const void *) GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_debug_ptr_store_and_dirty(void *, const void *);

GC_API void GC_CALL GC_debug_register_finalizer(void *, GC_finalization_proc, void *,
                                                GC_finalization_proc *, void **) GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_debug_register_finalizer_ignore_self(void *, GC_finalization_proc, void *,
                                                            GC_finalization_proc *, void **)
    GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_debug_register_finalizer_no_order(void *, GC_finalization_proc, void *,
                                                         GC_finalization_proc *, void **)
    GC_ATTR_NONNULL(1);
GC_API void GC_CALL GC_debug_register_finalizer_unreachable(void *, GC_finalization_proc, void *,
                                                            GC_finalization_proc *, void **)
    GC_ATTR_NONNULL(1);

/* The debugging functions for callers that know no place in the program. */
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL GC_debug_malloc_replacement(size_t);
GC_API GC_ATTR_ALLOC_SIZE(2) void *GC_CALL GC_debug_realloc_replacement(void *, size_t);

/*
 * Checks of pointers. GC_same_obj: that both lie in one object; GC_pre_incr and GC_post_incr:
 * arithmetic in bytes that stays in one object; GC_is_valid_displacement: that a pointer keeps its
 * object; GC_is_visible: that the address is looked at for pointers. Each returns its (first)
 * argument or calls its print function, which ends the process by default.
 */
GC_API void *GC_CALL GC_same_obj(void *, void *);
GC_API void *GC_CALL GC_pre_incr(void **, ptrdiff_t) GC_ATTR_NONNULL(1);
GC_API void *GC_CALL GC_post_incr(void **, ptrdiff_t) GC_ATTR_NONNULL(1);
GC_API void *GC_CALL GC_is_visible(void *);
GC_API void *GC_CALL GC_is_valid_displacement(void *);
GC_API void(GC_CALLBACK *GC_same_obj_print_proc)(void *, void *);
GC_API void(GC_CALLBACK *GC_is_valid_displacement_print_proc)(void *);
GC_API void(GC_CALLBACK *GC_is_visible_print_proc)(void *);

#if defined(GC_DEBUG) && defined(__GNUC__)
#define GC_PTR_ADD3(x, n, type_of_result) ((type_of_result)GC_same_obj((x) + (n), (x)))
#define GC_PRE_INCR3(x, n, type_of_result)                                                         \
    ((type_of_result)GC_pre_incr((void **)(&(x)), (n) * sizeof(*x)))
#define GC_POST_INCR3(x, n, type_of_result)                                                        \
    ((type_of_result)GC_post_incr((void **)(&(x)), (n) * sizeof(*x)))
#define GC_PTR_ADD(x, n) GC_PTR_ADD3(x, n, __typeof__(x))
#define GC_PRE_INCR(x, n) GC_PRE_INCR3(x, n, __typeof__(x))
#define GC_POST_INCR(x) GC_POST_INCR3(x, 1, __typeof__(x))
#define GC_POST_DECR(x) GC_POST_INCR3(x, -1, __typeof__(x))
#else
#define GC_PTR_ADD(x, n) ((x) + (n))
#define GC_PRE_INCR(x, n) ((x) += (n))
#define GC_POST_INCR(x) ((x)++)
#define GC_POST_DECR(x) ((x)--)
#endif

#ifdef GC_DEBUG
#define GC_PTR_STORE(p, q)                                                                         \
    (*(void **)GC_is_visible((void *)(p)) = GC_is_valid_displacement((void *)(q)))
#else
#define GC_PTR_STORE(p, q) (*(void **)(p) = (void *)(q))
#endif

/* The heap's state as text, to the log; with a name as its title; parts of it. */
GC_API void GC_CALL GC_dump(void);
GC_API void GC_CALL GC_dump_named(const char *);
GC_API void GC_CALL GC_dump_regions(void);
GC_API void GC_CALL GC_dump_finalization(void);

/* ---- Macros that choose between plain and debugging functions ---- */

#ifdef GC_DEBUG_REPLACEMENT
#define GC_MALLOC(sz) GC_debug_malloc_replacement(sz)
#define GC_REALLOC(old, sz) GC_debug_realloc_replacement(old, sz)
#elif defined(GC_DEBUG)
#define GC_MALLOC(sz) GC_debug_malloc(sz, GC_EXTRAS)
#define GC_REALLOC(old, sz) GC_debug_realloc(old, sz, GC_EXTRAS)
#else
#define GC_MALLOC(sz) GC_malloc(sz)
#define GC_REALLOC(old, sz) GC_realloc(old, sz)
#endif

#ifdef GC_DEBUG
#define GC_MALLOC_ATOMIC(sz) GC_debug_malloc_atomic(sz, GC_EXTRAS)
#define GC_STRDUP(s) GC_debug_strdup(s, GC_EXTRAS)
#define GC_STRNDUP(s, sz) GC_debug_strndup(s, sz, GC_EXTRAS)
#define GC_MALLOC_UNCOLLECTABLE(sz) GC_debug_malloc_uncollectable(sz, GC_EXTRAS)
#define GC_MALLOC_ATOMIC_UNCOLLECTABLE(sz) GC_debug_malloc_atomic_uncollectable(sz, GC_EXTRAS)
#define GC_MALLOC_IGNORE_OFF_PAGE(sz) GC_debug_malloc_ignore_off_page(sz, GC_EXTRAS)
#define GC_MALLOC_ATOMIC_IGNORE_OFF_PAGE(sz) GC_debug_malloc_atomic_ignore_off_page(sz, GC_EXTRAS)
#define GC_FREE(p) GC_debug_free(p)
#define GC_REGISTER_FINALIZER(p, f, d, of, od) GC_debug_register_finalizer(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_IGNORE_SELF(p, f, d, of, od)                                         \
    GC_debug_register_finalizer_ignore_self(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_NO_ORDER(p, f, d, of, od)                                            \
    GC_debug_register_finalizer_no_order(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_UNREACHABLE(p, f, d, of, od)                                         \
    GC_debug_register_finalizer_unreachable(p, f, d, of, od)
#define GC_END_STUBBORN_CHANGE(p) GC_debug_end_stubborn_change(p)
#define GC_PTR_STORE_AND_DIRTY(p, q) GC_debug_ptr_store_and_dirty(p, q)
#define GC_GENERAL_REGISTER_DISAPPEARING_LINK(link, obj)                                           \
    GC_general_register_disappearing_link(link, GC_base((void *)(obj)))
#define GC_REGISTER_LONG_LINK(link, obj) GC_register_long_link(link, GC_base((void *)(obj)))
#define GC_REGISTER_DISPLACEMENT(n) GC_debug_register_displacement(n)
#else
#define GC_MALLOC_ATOMIC(sz) GC_malloc_atomic(sz)
#define GC_STRDUP(s) GC_strdup(s)
#define GC_STRNDUP(s, sz) GC_strndup(s, sz)
#define GC_MALLOC_UNCOLLECTABLE(sz) GC_malloc_uncollectable(sz)
#define GC_MALLOC_ATOMIC_UNCOLLECTABLE(sz) GC_malloc_atomic_uncollectable(sz)
#define GC_MALLOC_IGNORE_OFF_PAGE(sz) GC_malloc_ignore_off_page(sz)
#define GC_MALLOC_ATOMIC_IGNORE_OFF_PAGE(sz) GC_malloc_atomic_ignore_off_page(sz)
#define GC_FREE(p) GC_free(p)
#define GC_REGISTER_FINALIZER(p, f, d, of, od) GC_register_finalizer(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_IGNORE_SELF(p, f, d, of, od)                                         \
    GC_register_finalizer_ignore_self(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_NO_ORDER(p, f, d, of, od)                                            \
    GC_register_finalizer_no_order(p, f, d, of, od)
#define GC_REGISTER_FINALIZER_UNREACHABLE(p, f, d, of, od)                                         \
    GC_register_finalizer_unreachable(p, f, d, of, od)
#define GC_END_STUBBORN_CHANGE(p) GC_end_stubborn_change(p)
#define GC_PTR_STORE_AND_DIRTY(p, q) GC_ptr_store_and_dirty(p, q)
#define GC_GENERAL_REGISTER_DISAPPEARING_LINK(link, obj)                                           \
    GC_general_register_disappearing_link(link, obj)
#define GC_REGISTER_LONG_LINK(link, obj) GC_register_long_link(link, obj)
#define GC_REGISTER_DISPLACEMENT(n) GC_register_displacement(n)
#endif

/* An object of a type. */
#define GC_NEW(t) ((t *)GC_MALLOC(sizeof(t)))
#define GC_NEW_ATOMIC(t) ((t *)GC_MALLOC_ATOMIC(sizeof(t)))
#define GC_NEW_UNCOLLECTABLE(t) ((t *)GC_MALLOC_UNCOLLECTABLE(sizeof(t)))

#ifdef __cplusplus
}
#endif

#ifdef GC_PTHREADS
#include "gc_pthread_redirects.h"
#endif

/* ---- GC_INIT ---- */

/*
 * GC_INIT() in main() starts the collector with the settings that the program was compiled with:
 * each macro named below without CONF_ may be defined before this header is included.
 */
#define GC_INIT_CONF_ROOTS

#ifdef GC_DONT_EXPAND
#define GC_INIT_CONF_DONT_EXPAND GC_set_dont_expand(1)
#else
#define GC_INIT_CONF_DONT_EXPAND
#endif

#ifdef GC_FORCE_UNMAP_ON_GCOLLECT
#define GC_INIT_CONF_FORCE_UNMAP_ON_GCOLLECT GC_set_force_unmap_on_gcollect(1)
#else
#define GC_INIT_CONF_FORCE_UNMAP_ON_GCOLLECT
#endif

#ifdef GC_DONT_GC
#define GC_INIT_CONF_MAX_RETRIES (void)(GC_dont_gc = 1)
#elif defined(GC_MAX_RETRIES)
#define GC_INIT_CONF_MAX_RETRIES GC_set_max_retries(GC_MAX_RETRIES)
#else
#define GC_INIT_CONF_MAX_RETRIES
#endif

#ifdef GC_ALLOCD_BYTES_PER_FINALIZER
#define GC_INIT_CONF_ALLOCD_BYTES_PER_FINALIZER                                                    \
    GC_set_allocd_bytes_per_finalizer(GC_ALLOCD_BYTES_PER_FINALIZER)
#else
#define GC_INIT_CONF_ALLOCD_BYTES_PER_FINALIZER
#endif

#ifdef GC_FREE_SPACE_DIVISOR
#define GC_INIT_CONF_FREE_SPACE_DIVISOR GC_set_free_space_divisor(GC_FREE_SPACE_DIVISOR)
#else
#define GC_INIT_CONF_FREE_SPACE_DIVISOR
#endif

#ifdef GC_FULL_FREQ
#define GC_INIT_CONF_FULL_FREQ GC_set_full_freq(GC_FULL_FREQ)
#else
#define GC_INIT_CONF_FULL_FREQ
#endif

#ifdef GC_TIME_LIMIT
#define GC_INIT_CONF_TIME_LIMIT GC_set_time_limit(GC_TIME_LIMIT)
#else
#define GC_INIT_CONF_TIME_LIMIT
#endif

#if defined(GC_MARKERS) && defined(GC_THREADS)
#define GC_INIT_CONF_MARKERS GC_set_markers_count(GC_MARKERS)
#else
#define GC_INIT_CONF_MARKERS
#endif

#if defined(GC_SIG_SUSPEND) && defined(GC_THREADS)
#define GC_INIT_CONF_SUSPEND_SIGNAL GC_set_suspend_signal(GC_SIG_SUSPEND)
#else
#define GC_INIT_CONF_SUSPEND_SIGNAL
#endif

#if defined(GC_SIG_THR_RESTART) && defined(GC_THREADS)
#define GC_INIT_CONF_THR_RESTART_SIGNAL GC_set_thr_restart_signal(GC_SIG_THR_RESTART)
#else
#define GC_INIT_CONF_THR_RESTART_SIGNAL
#endif

#ifdef GC_MAXIMUM_HEAP_SIZE
#define GC_INIT_CONF_MAXIMUM_HEAP_SIZE GC_set_max_heap_size(GC_MAXIMUM_HEAP_SIZE)
#else
#define GC_INIT_CONF_MAXIMUM_HEAP_SIZE
#endif

#ifdef GC_IGNORE_WARN
#define GC_INIT_CONF_IGNORE_WARN GC_set_warn_proc(GC_ignore_warn_proc)
#else
#define GC_INIT_CONF_IGNORE_WARN
#endif

#ifdef GC_INITIAL_HEAP_SIZE
#define GC_INIT_CONF_INITIAL_HEAP_SIZE                                                             \
    {                                                                                              \
        size_t heap_size = GC_get_heap_size();                                                     \
        if (heap_size < (GC_INITIAL_HEAP_SIZE))                                                    \
            (void)GC_expand_hp((GC_INITIAL_HEAP_SIZE)-heap_size);                                  \
    }
#else
#define GC_INIT_CONF_INITIAL_HEAP_SIZE
#endif

/* A block, not one statement: programs write it with and without a semicolon. */
#define GC_INIT()                                                                                  \
    {                                                                                              \
        GC_INIT_CONF_DONT_EXPAND;                                                                  \
        GC_INIT_CONF_FORCE_UNMAP_ON_GCOLLECT;                                                      \
        GC_INIT_CONF_MAX_RETRIES;                                                                  \
        GC_INIT_CONF_ALLOCD_BYTES_PER_FINALIZER;                                                   \
        GC_INIT_CONF_FREE_SPACE_DIVISOR;                                                           \
        GC_INIT_CONF_FULL_FREQ;                                                                    \
        GC_INIT_CONF_TIME_LIMIT;                                                                   \
        GC_INIT_CONF_MARKERS;                                                                      \
        GC_INIT_CONF_SUSPEND_SIGNAL;                                                               \
        GC_INIT_CONF_THR_RESTART_SIGNAL;                                                           \
        GC_INIT_CONF_MAXIMUM_HEAP_SIZE;                                                            \
        GC_init();                                                                                 \
        GC_INIT_CONF_ROOTS;                                                                        \
        GC_INIT_CONF_IGNORE_WARN;                                                                  \
        GC_INIT_CONF_INITIAL_HEAP_SIZE;                                                            \
    }

#endif
