// The gate: a thread that is about to wait in the kernel publishes where its stack begins, goes in,
// and comes out only while the world runs. So a stop need not signal it: the call isn't
// interrupted, and threads that sleep cost the stop a look each.
//
// A thread's `gate` counts up at each passage, and is odd inside. Going in, it stores the odd value
// and then looks at the stop word; who stops the world stores the word and then looks at the gates.
// One of the two sees the other (both sides are sequentially consistent). A thread that finds the
// word odd waits in its gate until it is even, whichever way it goes.
//
// Nothing of the program's runs inside: signal handlers pass the gate first (sv_gate_pass), and a
// thread that may be cancelled there is distrusted, which means that it is signalled like one
// without a gate. What the gate can't know of stands in preload/distrust.c. While a thread is
// inside, its callee-saved registers stand in the frame of its caller here, and below gate_sp
// nothing is live: the C library's frames hold only copies of the call's arguments, and those the
// caller keeps in its frame (preload/wait.h).
#ifndef SV_GATE_H
#define SV_GATE_H

#include "arch.h"
#include "core.h"
#include "world.h"

// Lives in the frame of the function that makes the call.
struct sv_gate_frame {
    struct sv_thread *thread;   // whose gate was entered; NULL: none
    uintptr_t altstack;         // only the kernel may know it otherwise
    struct sv_arch_saved saved; // the caller's registers
};

// The rare halves. The world is being stopped: waits inside until it runs; nothing of a stop is
// left for the thread when it comes back.
void sv_gate_wait_inside(void);
void sv_gate_wait_outside(struct sv_thread *me); // just came out, and goes back in meanwhile
void sv_gate_astray(struct sv_thread *me);       // came to a gate in which it was already

// Goes in, unless the thread has no record or isn't trusted. Signal handlers included. errno stays.
static inline void sv_gate_enter(struct sv_gate_frame *f)
{
    struct sv_thread *me = sv_world_me;
    f->thread = NULL;
    if (sv_unlikely(!me) || atomic_load_explicit(&me->distrusted, memory_order_relaxed))
        return;
    if (sv_unlikely(atomic_load_explicit(&me->gate, memory_order_relaxed) & 1)) {
        sv_gate_astray(me);
        return;
    }
    f->thread = me;
    f->altstack = me->altstack;
    sv_arch_save(&f->saved);
    // A handler that comes before the next line may leave a lower address here: more is scanned.
    me->gate_sp = sv_arch_sp(f);
    // seq_cst pairs with the stopper's store to the word; release: all that the thread wrote
    atomic_fetch_add_explicit(&me->gate, 1, memory_order_seq_cst);
    if (sv_unlikely(atomic_load_explicit(&sv_world_word, memory_order_seq_cst) & 1))
        sv_gate_wait_inside();
}

// Comes out, if enter went in; waits first while the world is stopped. errno stays.
static inline void sv_gate_leave(struct sv_gate_frame *f)
{
    struct sv_thread *me = f->thread;
    if (sv_likely(me != NULL)) {
        // seq_cst as above; acquire: all that the collector wrote
        atomic_fetch_add_explicit(&me->gate, 1, memory_order_seq_cst);
        if (sv_unlikely(atomic_load_explicit(&sv_world_word, memory_order_seq_cst) & 1))
            sv_gate_wait_outside(me);
    }
    __asm__ volatile("" ::"r"(f) : "memory"); // the frame stands until here
}

// ---- for who stops the world --------------------------------------------------------------------

// Does it sleep? World stopped.
static inline bool sv_gate_asleep(const struct sv_thread *t)
{
    // acquire pairs with the gate's release: the stack pointer was published before
    return (atomic_load_explicit(&t->gate, memory_order_acquire) & 1) &&
           !atomic_load_explicit(&t->distrusted, memory_order_relaxed);
}

// Does it sleep, and has it slept since its gate was `since`? World stopped.
static inline bool sv_gate_slept(const struct sv_thread *t, uint32_t since)
{
    return sv_gate_asleep(t) && atomic_load_explicit(&t->gate, memory_order_relaxed) == since;
}

// ---- for handlers of the program's --------------------------------------------------------------

// Did a signal come to a thread that is inside its gate, or on its way through while the world is
// being stopped? Then its handler runs between the next two.
static inline bool sv_gate_passing(void)
{
    struct sv_thread *me = sv_world_me;
    if (!me)
        return false;
    if (atomic_load_explicit(&me->gate, memory_order_relaxed) & 1)
        return true;
    // seq_cst: perhaps the thread has left its gate and not looked yet; this is then its look
    return (atomic_load_explicit(&sv_world_word, memory_order_seq_cst) & 1) &&
           !atomic_load_explicit(&me->distrusted, memory_order_relaxed);
}

struct sv_gate_pass {
    struct sv_thread *thread; // whose gate is to be entered again; NULL: none
    uintptr_t sp;             // its gate_sp there
};

// Leaves the gate, as soon as the world runs; and goes back in, if the handler returns. One that
// jumps out instead is outside, and so is whatever it jumps to. errno stays.
void sv_gate_pass(struct sv_gate_pass *pass);
void sv_gate_return(const struct sv_gate_pass *pass);

#endif
