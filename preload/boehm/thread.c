// Threads. The collector finds them by itself, whoever makes them, with their stacks; and one that
// waits in the kernel holds no collection up. So most functions here keep the books that programs
// look into: who is registered, where a stack's bottom is said to be.
//
// The exceptions: GC_stop_world_external is a stop of the collector's own kind; and
// GC_suspend_thread sends a signal whose handler waits until the thread is resumed. The handler is
// installed by the first such call, for the signal that bdwgc would use.
#define GC_BUILD
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "boehm.h"
#include "cycle.h"
#include "gc/gc.h"
#include "gc/javaxfc.h"
#include "malloc.h"
#include "metadata.h"
#include "os.h"
#include "unlisted.h"
#include "world.h"

extern void *__libc_stack_end;

char *GC_stackbottom;

enum registered { // of the calling thread
    BY_ITSELF,    // as the thread was made: the first one is
    REGISTERED,
    UNREGISTERED
};
static __thread enum registered registered_here;

static struct sv_table bottoms; // held: by handle; a: what GC_set_stackbottom was told

// ---- making and ending --------------------------------------------------------------------------

struct begin { // from the creating to the created thread; in the heap: `arg` is kept by it
    void *(*function)(void *);
    void *arg;
};

static void *thread_begin(void *p)
{
    struct begin begin = *(struct begin *)p;
    sv_free(p);
    registered_here = REGISTERED;
    return begin.function(begin.arg);
}

int GC_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*function)(void *),
                      void *arg)
{
    sv_boehm_init();
    struct begin *begin = sv_malloc(sizeof *begin);
    if (!begin)
        return EAGAIN;
    *begin = (struct begin){function, arg};
    GC_start_mark_threads();
    int r = pthread_create(thread, attr, thread_begin, begin);
    if (r != 0)
        sv_free(begin);
    return r;
}

int GC_pthread_join(pthread_t thread, void **value)
{
    return pthread_join(thread, value);
}

int GC_pthread_detach(pthread_t thread)
{
    return pthread_detach(thread);
}

int GC_pthread_cancel(pthread_t thread)
{
    return pthread_cancel(thread);
}

void GC_pthread_exit(void *value)
{
    pthread_exit(value);
}

int GC_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    return pthread_sigmask(how, set, old);
}

void *GC_dlopen(const char *path, int mode)
{
    return dlopen(path, mode);
}

// ---- registration -------------------------------------------------------------------------------

void GC_allow_register_threads(void)
{
    sv_boehm_init();
    GC_start_mark_threads();
}

int GC_thread_is_registered(void)
{
    return registered_here == BY_ITSELF ? gettid() == getpid() : registered_here == REGISTERED;
}

int GC_register_my_thread(const struct GC_stack_base *base)
{
    (void)base;
    sv_boehm_init();
    if (GC_thread_is_registered())
        return GC_DUPLICATE;
    sv_world_self();
    registered_here = REGISTERED;
    return GC_SUCCESS;
}

static void bottom_forget(uintptr_t handle)
{
    sv_boehm_lock();
    struct sv_table_entry *e = sv_table_find(&bottoms, handle);
    if (e)
        sv_table_remove(&bottoms, e);
    sv_boehm_unlock();
}

int GC_unregister_my_thread(void)
{
    registered_here = UNREGISTERED;
    bottom_forget((uintptr_t)pthread_self());
    return GC_SUCCESS;
}

// Known already: the kernel says where a thread's other stack is.
void GC_register_altstack(void *stack, GC_word bytes, void *altstack, GC_word altbytes)
{
    (void)stack;
    (void)bytes;
    (void)altstack;
    (void)altbytes;
}

// ---- stacks -------------------------------------------------------------------------------------

// Where the calling thread's first frame lies below. 0: unknown.
static uintptr_t bottom_own(void)
{
    struct sv_thread *me = sv_world_self();
    pthread_attr_t attr;
    void *lo = NULL;
    size_t size = 0;
    if (gettid() == getpid())
        return (uintptr_t)__libc_stack_end;
    if (me && me->stack_hi)
        return me->stack_hi;
    if (pthread_getattr_np(pthread_self(), &attr) != 0)
        return 0;
    pthread_attr_getstack(&attr, &lo, &size);
    pthread_attr_destroy(&attr);
    return (uintptr_t)lo + size;
}

int GC_get_stack_base(struct GC_stack_base *base)
{
    base->mem_base = (void *)bottom_own();
    return base->mem_base ? GC_SUCCESS : GC_UNIMPLEMENTED;
}

// GC_init: the first thread's.
void sv_thread_begin(void)
{
    if (!GC_stackbottom)
        GC_stackbottom = __libc_stack_end;
}

// A handle is the thread's pthread_t. The lock is the caller's, or nobody's: one that GC_init told
// of alone asks without it.
void *GC_get_my_stackbottom(struct GC_stack_base *base)
{
    uintptr_t handle = (uintptr_t)pthread_self();
    bool held = sv_lock_held(&sv_client_lock);
    sv_boehm_init();
    if (!held)
        sv_boehm_lock();
    struct sv_table_entry *e = sv_table_find(&bottoms, handle);
    base->mem_base = e ? (void *)e->a : NULL;
    if (!held)
        sv_boehm_unlock();
    if (gettid() == getpid())
        base->mem_base = GC_stackbottom;
    else if (!base->mem_base)
        base->mem_base = (void *)bottom_own();
    return (void *)handle;
}

// The stack that a thread runs on is found by its stack pointer, and all others are roots: this is
// for GC_get_my_stackbottom.
void GC_set_stackbottom(void *handle, const struct GC_stack_base *base)
{
    uintptr_t thread = handle ? (uintptr_t)handle : (uintptr_t)pthread_self();
    bool held = sv_lock_held(&sv_client_lock);
    sv_boehm_init();
    if (thread == (uintptr_t)pthread_self() && gettid() == getpid()) {
        GC_stackbottom = base->mem_base;
        return;
    }
    if (!held)
        sv_boehm_lock();
    struct sv_table_entry *e = sv_table_add(&bottoms, thread);
    if (e)
        e->a = (uintptr_t)base->mem_base;
    if (!held)
        sv_boehm_unlock();
}

__attribute__((noinline)) void *GC_call_with_stack_base(GC_stack_base_func fn, void *arg)
{
    struct GC_stack_base base = {__builtin_frame_address(0)};
    void *value = fn(&base, arg);
    __asm__ volatile("" ::"r"(&base) : "memory"); // a frame of its own is the point
    return value;
}

void *GC_do_blocking(GC_fn_type fn, void *arg)
{
    return fn(arg);
}

void *GC_call_with_gc_active(GC_fn_type fn, void *arg)
{
    return fn(arg);
}

void *GC_clear_stack(void *value)
{
    return value;
}

// ---- the lock -----------------------------------------------------------------------------------

void GC_alloc_lock(void)
{
    sv_boehm_lock();
}

void GC_alloc_unlock(void)
{
    sv_boehm_unlock();
}

void *GC_call_with_alloc_lock(GC_fn_type fn, void *arg)
{
    sv_boehm_lock();
    void *value = fn(arg);
    sv_boehm_unlock();
    return value;
}

// ---- fork ---------------------------------------------------------------------------------------

// fork finds the heap whole by itself (preload/fork.c).
void GC_atfork_prepare(void)
{
}

void GC_atfork_parent(void)
{
}

void GC_atfork_child(void)
{
}

// ---- stopping -----------------------------------------------------------------------------------

static bool world_stopped; // by who has the locks

void GC_stop_world_external(void)
{
    sv_boehm_init();
    const char *reason = sv_cycle_stop();
    if (reason)
        sv_event_warn("GC Warning: the world can't be stopped: %s\n", (uintptr_t)reason);
    else
        world_stopped = true;
}

void GC_start_world_external(void)
{
    if (!world_stopped)
        return;
    world_stopped = false;
    sv_cycle_start();
}

// A thread that was ever suspended. Records stay: a handler may look at them at any time.
struct suspension {
    struct suspension *next;  // const
    _Atomic uintptr_t thread; // held: its pthread_t
    _Atomic uint32_t on;      // held: it is to wait; futex
    _Atomic uint32_t waiting; // itself
};
static _Atomic(struct suspension *) suspensions; // held to write; handlers read

static struct suspension *suspension_find(uintptr_t thread)
{
    // acquire: a record is complete when it is linked
    struct suspension *s = atomic_load_explicit(&suspensions, memory_order_acquire);
    while (s && atomic_load_explicit(&s->thread, memory_order_relaxed) != thread)
        s = s->next;
    return s;
}

// Waits outside of gates, so the collector stops the thread here like anywhere else.
static void suspend_handler(int sig)
{
    struct suspension *s = suspension_find((uintptr_t)pthread_self());
    (void)sig;
    if (!s)
        return;
    atomic_store_explicit(&s->waiting, 1, memory_order_relaxed);
    sv_os_futex_wake(&s->waiting, 1);
    while (atomic_load_explicit(&s->on, memory_order_acquire))
        sv_os_futex_wait(&s->on, 1, 0);
    atomic_store_explicit(&s->waiting, 0, memory_order_relaxed);
}

// Held.
static struct suspension *suspension_make(uintptr_t thread)
{
    struct suspension *s = suspension_find(thread);
    if (s)
        return s;
    if (!atomic_load_explicit(&suspensions, memory_order_relaxed)) {
        struct sigaction action = {.sa_handler = suspend_handler, .sa_flags = SA_RESTART};
        sigaction(GC_get_suspend_signal(), &action, NULL);
    }
    s = sv_metadata_alloc(sizeof *s);
    if (!s)
        return NULL;
    s->next = atomic_load_explicit(&suspensions, memory_order_relaxed);
    atomic_store_explicit(&s->thread, thread, memory_order_relaxed);
    atomic_store_explicit(&suspensions, s, memory_order_release);
    return s;
}

void GC_suspend_thread(pthread_t thread)
{
    sv_boehm_init();
    sv_boehm_lock();
    struct suspension *s = suspension_make((uintptr_t)thread);
    bool begun = s && !atomic_exchange_explicit(&s->on, 1, memory_order_relaxed);
    sv_boehm_unlock();
    if (!begun)
        return;
    if (pthread_kill(thread, GC_get_suspend_signal()) != 0) {
        atomic_store_explicit(&s->on, 0, memory_order_relaxed);
        return;
    }
    while (thread != pthread_self() && !atomic_load_explicit(&s->waiting, memory_order_relaxed) &&
           atomic_load_explicit(&s->on, memory_order_relaxed))
        sv_os_futex_wait(&s->waiting, 0, 0);
}

void GC_resume_thread(pthread_t thread)
{
    sv_boehm_lock();
    struct suspension *s = suspension_find((uintptr_t)thread);
    if (s) {
        atomic_store_explicit(&s->on, 0, memory_order_release);
        sv_os_futex_wake(&s->on, 1);
    }
    sv_boehm_unlock();
}

int GC_is_thread_suspended(pthread_t thread)
{
    struct suspension *s = suspension_find((uintptr_t)thread);
    return s && atomic_load_explicit(&s->on, memory_order_relaxed);
}
