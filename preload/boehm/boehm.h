// What the files of Boehm's face share: its state, and what they do for each other. One lock, the
// client's (core/client.h), guards every table; `held` in a comment means that it is held by the
// caller, or for the caller by whoever stopped the world.
//
// The collector's own threads run no code of the program's. What Boehm's collector would call back
// from inside a collection is called later, at a safe point: on a thread of the program's that is
// allocating, with no lock held (sv_boehm_poll), or on the one that asked for the collection. Mark
// procedures and GC_push_other_roots are the exceptions: they are called by the thread that drives
// the cycle, with the world stopped, and may not allocate.
#ifndef SV_BOEHM_H
#define SV_BOEHM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client.h"
#include "core.h"

// ---- client.c -----------------------------------------------------------------------------------

// Makes the heap and the client known; idempotent, any thread, no lock held. Every function of the
// face that can be a program's first calls it (GC_init does no more than this and the environment).
void sv_boehm_init(void);
extern bool sv_boehm_ready; // const after the first sv_boehm_init

static inline void sv_boehm_lock(void)
{
    sv_lock_acquire(&sv_client_lock);
}

static inline void sv_boehm_unlock(void)
{
    sv_lock_release(&sv_client_lock);
}

// Something is due at a safe point: a finalizer, an event, a warning. Set by anyone, in a stop too.
extern _Atomic bool sv_boehm_due;
void sv_boehm_poll_slow(void); // runs it; no lock held; does nothing in a callback, or while off
static inline void sv_boehm_poll(void)
{
    if (sv_unlikely(atomic_load_explicit(&sv_boehm_due, memory_order_relaxed)))
        sv_boehm_poll_slow();
}

// The marker of the stop under way, for the functions that mark procedures and GC_push_other_roots
// call (GC_mark_and_push, GC_push_all, ...). NULL outside of a stop.
extern struct sv_marker *sv_boehm_marker;

// ---- tables (table.c) ---------------------------------------------------------------------------

// An open table from addresses to 64-bit values and a pointer; grows; held. Keys are stored
// inverted, so that it would hold nothing even if it were looked at.
struct sv_table_entry {
    uintptr_t key;  // held: ~address, 0: free
    uintptr_t a, b; // held: whatever the owner keeps
};
struct sv_table {
    struct sv_table_entry *entries; // held: metadata
    size_t mask, used;              // held: entries - 1; how many are taken
};
struct sv_table_entry *sv_table_find(struct sv_table *t, uintptr_t address);
struct sv_table_entry *sv_table_add(struct sv_table *t, uintptr_t address); // NULL: no memory
void sv_table_remove(struct sv_table *t, struct sv_table_entry *e); // others may move: find again
// Calls keep for each; what it answers false for is removed. Held; takes time by the table's size.
void sv_table_each(struct sv_table *t, bool (*keep)(struct sv_table_entry *e, void *arg),
                   void *arg);

// ---- objects (alloc.c) --------------------------------------------------------------------------

// Held or not: the object that holds this address, if it is in use; 0: none.
uintptr_t sv_boehm_start(const void *p, size_t *size, unsigned *code);
// In a stop, after the mark: is the object that starts there marked (or no object of ours)?
bool sv_boehm_marked(uintptr_t start);
// The out-of-memory function's answer, called with no lock held.
void *sv_boehm_oom(size_t bytes);

// ---- uncollectable.c, kind.c: parts of the client's hooks ---------------------------------------

void sv_uncollectable_hold(struct sv_marker *m); // held
void sv_uncollectable_forget(uintptr_t start);   // GC_free; any thread, lock or not
void sv_kind_push(struct sv_marker *m);          // held, stopped: marks by procedures
bool sv_kind_settle(struct sv_marker *m); // the same for what was marked since; true: marked more
void sv_kind_commit(void);                // held, stopped: forgets objects that aren't marked
void sv_typed_trace(struct sv_marker *m, uintptr_t start, size_t size, uintptr_t lo, uintptr_t hi,
                    bool marked);

// ---- final.c, link.c, disclaim.c, closure.c -----------------------------------------------------

// In the stop that ends a cycle, in this order. Decisions are made in settle and take effect in
// commit: short links to what isn't marked; then objects with finalizers that aren't marked are
// queued by their order, and marked with all they lead to; then long links.
void sv_link_settle(struct sv_marker *m);     // which short links are to be cleared
void sv_toggle_settle(struct sv_marker *m);   // asks for toggle refs; marks strong ones
void sv_final_settle(struct sv_marker *m);    // which finalizers are due; marks what they need
void sv_disclaim_settle(struct sv_marker *m); // likewise for disclaim procedures
void sv_closure_settle(struct sv_marker *m);  // and closures; marks no more than their objects
void sv_link_commit(void);                    // clears short and long links
void sv_final_commit(void);
void sv_disclaim_commit(void);
void sv_closure_commit(void);
void sv_toggle_commit(void);                // forgets weak ones that aren't marked
void sv_final_hold(struct sv_marker *m);    // held: what is queued and hasn't run is a root
void sv_disclaim_hold(struct sv_marker *m); // held: likewise
void sv_closure_hold(struct sv_marker *m);  // held: likewise
void sv_closure_dying(struct sv_marker *m, bool stopped); // struct sv_client.dying
void sv_final_push(struct sv_marker *m); // held, stopped: what was registered since hold
void sv_final_poll(void);                // safe point: runs what is due, unless on demand
void sv_final_forget(uintptr_t start);   // GC_free: the object's finalizer and links go with it
void sv_disclaim_poll(void);             // safe point
void sv_closure_poll(void);              // safe point
void sv_closure_trace(struct sv_marker *m, uint64_t descriptor); // marks a closure of the heap
// Of a kind that may have a disclaim procedure: a new object, no lock held. False: no memory.
bool sv_disclaim_add(void *object, unsigned kind);

// ---- control.c, event.c, info.c, roots.c, thread.c ----------------------------------------------

void sv_event_poll(void);   // safe point: cycles that passed since, heap growth, warnings
void sv_event_begin(void);  // GC_gcollect, before: start callback, GC_EVENT_START
void sv_event_end(void);    // after
void sv_event_commit(void); // held, stopped: a cycle ends
uint64_t sv_event_grown(uint64_t bytes); // struct sv_client.grown
// A warning for the warn procedure, at the next safe point. format: constant; one conversion for a
// word at most. The second: held, also in a stop.
void sv_event_warn(const char *format, uintptr_t arg);
void sv_event_warn_held(const char *format, uintptr_t arg);
void sv_info_commit(void);               // held, stopped
void sv_roots_push(struct sv_marker *m); // held, stopped: GC_push_other_roots
void sv_roots_ask(void);                 // the callback for libraries' data; no lock held
void sv_thread_begin(void);              // where the first thread's stack begins, once
void sv_control_begin(void);             // the environment, once
bool sv_control_wanted(bool asked);      // struct sv_client.wanted
bool sv_control_disabled(void);          // GC_disable is in force
void sv_control_fork_child(void);        // the other threads are gone
size_t sv_control_expanded(void);        // bytes that the heap counts at least: GC_expand_hp

// Bytes that GC_free gave back, for the statistics: counted by thread, told to all by the piece.
extern __thread size_t sv_info_freed_here;
void sv_info_freed_tell(void);
static inline void sv_info_freed(size_t bytes)
{
    sv_info_freed_here += bytes;
    if (sv_unlikely(sv_info_freed_here > 65536))
        sv_info_freed_tell();
}
bool sv_callback_enter(void); // false: this thread is in a callback already; else leave it after
void sv_callback_leave(void);

#endif
