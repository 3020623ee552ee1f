// The rare halves of the gate: a stop is under way, or a signal came to a thread inside. No lock,
// no libc function, no errno: all of it may run in signal handlers and in vfork children.
//
// Gates are passed in pairs, whatever nests: a handler finds a parity and leaves the same one
// behind, unless it jumps out, when the gate is open. So no value of `gate` comes twice.
#include "gate.h"

#include "chaos.h"
#include "os.h"

// A thread that saw the word odd may have been signalled already, by a stopper that saw its gate
// even. That signal is on its way at the latest when the word becomes even, and the kernel delivers
// it on the way out of any system call. So one more call is made after that: the next one, which
// is the program's, is not interrupted.
void sv_gate_wait_inside(void)
{
    uint32_t word;
    while ((word = atomic_load_explicit(&sv_world_word, memory_order_seq_cst)) & 1)
        sv_os_futex_wait(&sv_world_word, word, 0);
    sv_os_futex_wait(&sv_world_word, word - 1, 0); // returns at once: the word has moved on
}

void sv_gate_wait_outside(struct sv_thread *me)
{
    do { // gate_sp stays: the stopper may be reading it
        atomic_fetch_add_explicit(&me->gate, 1, memory_order_seq_cst);
        sv_chaos();
        sv_gate_wait_inside();
        sv_chaos();
        atomic_fetch_add_explicit(&me->gate, 1, memory_order_seq_cst);
    } while (atomic_load_explicit(&sv_world_word, memory_order_seq_cst) & 1);
}

// A handler that was installed behind our back jumped out of a gate, or calls something that waits.
// Whether the gate is odd says nothing about this thread from now on.
void sv_gate_astray(struct sv_thread *me)
{
    atomic_fetch_or_explicit(&me->distrusted, SV_DISTRUST_ASTRAY, memory_order_seq_cst);
}

void sv_gate_pass(struct sv_gate_pass *pass)
{
    struct sv_thread *me = sv_world_me;
    pass->thread = NULL;
    if (atomic_load_explicit(&me->gate, memory_order_relaxed) & 1) {
        pass->thread = me;
        pass->sp = me->gate_sp;
        atomic_fetch_add_explicit(&me->gate, 1, memory_order_seq_cst);
        if (atomic_load_explicit(&sv_world_word, memory_order_seq_cst) & 1)
            sv_gate_wait_outside(me);
        return;
    }
    // Outside, with the word odd: the registers stand in the signal frame, above this one.
    struct sv_gate_frame frame = {0};
    sv_gate_enter(&frame);
    sv_gate_leave(&frame);
}

void sv_gate_return(const struct sv_gate_pass *pass)
{
    struct sv_thread *me = pass->thread;
    if (!me)
        return;
    me->gate_sp = pass->sp;
    atomic_fetch_add_explicit(&me->gate, 1, memory_order_seq_cst);
    if (atomic_load_explicit(&sv_world_word, memory_order_seq_cst) & 1)
        sv_gate_wait_inside();
}
