// The world: every thread of the process, and stopping and resuming them.
//
// A thread is stopped by SV_STOP_SIGNAL, sent to it alone; its handler publishes the stack pointer
// and waits. The signal is the last real-time one; preload/signal.c hides it from the program, as
// glibc hides its own two first ones. A thread that waits in the kernel behind its gate (gate.h)
// counts as stopped and gets no signal.
#ifndef SV_WORLD_H
#define SV_WORLD_H

#include "core.h"

#define SV_STOP_SIGNAL 64

// Installs the stop handler; gates count from now on. Once, at start, before the first thread
// registers; false: the kernel refuses the handler, and no cycle can ever run.
bool sv_world_init(void);

// From the next stop on, the stop's handler runs on the thread's ordinary stack: some program's
// alternate stack is no place for it. Any thread.
void sv_world_altstack_avoid(void);

// Odd while the world is stopped or stopping, counts up at each change. Gates look at it.
extern _Atomic uint32_t sv_world_word;

// The calling thread's record, NULL before it has registered. A task that clone(2) made may see
// another thread's.
extern __thread struct sv_thread *sv_world_me __attribute__((tls_model("initial-exec")));

// Do gates count in this process? Constant after start.
bool sv_world_gates(void);

// Of the last stop, for the statistics; cycle lock held: threads that got the signal, and threads
// that were found waiting in the kernel.
extern uint32_t sv_world_signalled;
extern uint32_t sv_world_asleep;

// The list of threads and of caches. Order: lock.h.
void sv_world_lock(void);
void sv_world_unlock(void);

// The calling thread's record, made on first use; NULL when memory is short. Any thread, outside of
// signal handlers, with no lock of ours held.
struct sv_thread *sv_world_self(void);

// The same for a thread of the collector's own: it is never signalled, waited for, or counted among
// the program's, and may stop the world itself. It blocks all signals before. At its start, once.
struct sv_thread *sv_world_self_worker(void);

// Tells the bounds of the calling thread's stack: [lo, end) is the memory, frames lie below hi, and
// the guard of `guard` bytes below lo. Not for memory that the program gave (user_stack): its dead
// part is never skipped.
void sv_world_self_stack(uintptr_t lo, uintptr_t hi, uintptr_t end, size_t guard, bool user_stack);

// Around the creation of a thread that will register itself: `begin` before it, by its creator;
// `end` by the thread as soon as it has registered, or by its creator when there is none.
void sv_world_starting_begin(void);
void sv_world_starting_end(void);

// From the next stop on, the gate of the thread with this thread block doesn't count (`why`: a bit
// of enum sv_distrust). No lock of ours held, not in signal handlers.
void sv_world_distrust(uintptr_t tcb, uint32_t why);

// From the next stop on, no gate counts any more: handlers of the program's may run behind them
// without our knowledge. As above.
void sv_world_distrust_all(void);

// The calling thread has run its destructors. How many tasks of the process, the collector's
// included, have not begun to end: of several threads that end at the same time only the last one
// to call counts none of the program's. UINT32_MAX: unknown. No lock of ours held.
unsigned sv_world_end_self(void);

// The same without counting. Who then finds that nobody counts yet is itself counted as ended by
// whoever does.
void sv_world_ending(void);

// Is the caller the process and thread that it was when it was registered? Not so in a vfork child,
// which runs in its parent's memory, nor after a fork that no handler saw: nothing may be stopped
// there.
bool sv_world_self_valid(void);

// Stops every other thread of the process, those that were made by clone(2) included, the
// collector's own excepted: what those do meanwhile is their business. Returns NULL
// when the world stands still, or the reason why it could not be had (a constant string; all
// threads then run again). Caller holds the cycle lock, the world lock, and every lock that it will
// need while stopped, metadata's included. procfd: /proc, or -1.
const char *sv_world_stop(int procfd);

// The world runs. By who stopped it; it may have dropped all locks but the cycle's before, and
// should, since those it wakes may have its processor next.
void sv_world_resume(void);

// The list of threads, workers included, linked by next, and how many there are; world lock held.
struct sv_thread *sv_world_threads(void);
unsigned sv_world_count(void);

// Forgets a thread that is gone; world lock held.
void sv_world_forget(struct sv_thread *thread);

// In a forked child, world lock held: only the calling thread is left, under a new id.
void sv_world_fork_child(void);

// In a forked child of which no handler took the lock: free, unless the caller is inside.
void sv_world_lock_reset(void);
bool sv_world_locked_here(void); // by the calling thread

#endif
