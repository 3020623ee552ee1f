// Where Boehm's face meets the collector: the table of hooks, and the safe point. The hooks only
// say in which order the parts have their turn:
//
// - hold, beside the program: uncollectable objects, finalizers that are queued.
// - dying, beside the program: what objects of GC_finalized_malloc point to.
// - push, in each stop that tries to end the mark: the program's own roots, and mark procedures of
//   marked objects.
// - settle, in the one that ends it: procedures of what was marked since; short links; finalizers,
//   which mark what they need; procedures again; long links are known then, and disclaim's turn.
// - commit: what settle decided is done.
//
// The heap is the one that malloc uses, where this library is preloaded; in libgc.so.1 it is the
// face's own, and malloc is the C library's.
#include "boehm.h"

#include "alloc.h"
#include "binding.h"
#include "heap.h"
#include "init.h"
#include "mark.h"
#include "profile.h"

bool sv_boehm_ready;
_Atomic bool sv_boehm_due;
struct sv_marker *sv_boehm_marker;

static void client_hold(struct sv_marker *m)
{
    sv_uncollectable_hold(m);
    sv_final_hold(m);
    sv_disclaim_hold(m);
    sv_closure_hold(m);
}

static void client_push(struct sv_marker *m)
{
    sv_boehm_marker = m;
    sv_roots_push(m);
    sv_kind_push(m);
    sv_final_push(m);
    sv_boehm_marker = NULL;
}

// Procedures may lead to objects with procedures.
static void kinds_settle(struct sv_marker *m)
{
    do
        sv_mark_drain(m, UINT64_MAX);
    while (sv_kind_settle(m));
}

static void client_settle(struct sv_marker *m)
{
    sv_boehm_marker = m;
    kinds_settle(m);
    sv_toggle_settle(m);
    sv_link_settle(m);
    sv_final_settle(m);
    kinds_settle(m);
    sv_disclaim_settle(m);
    kinds_settle(m);
    sv_closure_settle(m);
    sv_boehm_marker = NULL;
}

static void client_commit(void)
{
    sv_link_commit();
    sv_final_commit();
    sv_disclaim_commit();
    sv_closure_commit();
    sv_toggle_commit();
    sv_kind_commit();
    sv_event_commit();
    if (sv_binding_needed())
        atomic_store_explicit(&sv_boehm_due, true, memory_order_relaxed);
}

static const struct sv_client boehm_client = {
    client_hold,   sv_closure_dying, client_push,       client_settle,
    client_commit, sv_typed_trace,   sv_control_wanted, sv_event_grown,
};

__attribute__((noinline)) void sv_boehm_init(void)
{
    static struct sv_lock once;
    if (sv_boehm_ready)
        return;
    if (!sv_init_done)
        sv_init();
    sv_heap_init();
    sv_lock_acquire(&once);
    if (!sv_boehm_ready) {
        sv_boehm_lock();
        sv_client = &boehm_client;
        sv_boehm_unlock();
        sv_control_begin();
        sv_binding_begin();
        sv_object_quick = sv_profile_on ? 0 : SV_OBJECT_QUICK;
        sv_boehm_ready = true;
    }
    sv_lock_release(&once);
}

static __thread bool callback_here;

bool sv_callback_enter(void)
{
    bool entered = !callback_here;
    callback_here = true;
    return entered;
}

void sv_callback_leave(void)
{
    callback_here = false;
}

__attribute__((noinline)) void sv_boehm_poll_slow(void)
{
    if (!sv_callback_enter())
        return;
    atomic_store_explicit(&sv_boehm_due, false, memory_order_relaxed);
    sv_binding_poll();
    sv_event_poll();
    sv_disclaim_poll();
    sv_closure_poll();
    sv_callback_leave();
    sv_final_poll(); // finalizers may allocate, and have finalizers run
}
