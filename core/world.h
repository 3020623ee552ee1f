// The world: every thread of the process, and stopping and resuming them.
//
// A thread is stopped by SV_STOP_SIGNAL, sent to it alone; its handler publishes the stack pointer
// and waits. The signal is the last real-time one; preload/signal.c hides it from the program, as
// glibc hides its own two first ones.
#ifndef SV_WORLD_H
#define SV_WORLD_H

#include "core.h"

#define SV_STOP_SIGNAL 64

// Installs the stop handler and registers the calling (main) thread. Once, at start; false: the
// kernel refuses the handler, and no cycle can ever run.
bool sv_world_init(void);

// The list of threads and of caches. Order: lock.h.
void sv_world_lock(void);
void sv_world_unlock(void);

// The calling thread's record, made on first use; NULL when memory is short. Any thread, outside of
// signal handlers, with no lock of ours held.
struct sv_thread *sv_world_self(void);

// Tells the bounds of the calling thread's stack: [lo, end) is the memory, frames lie below hi. Not
// for memory that the program gave (user_stack): its dead part is never skipped.
void sv_world_self_stack(uintptr_t lo, uintptr_t hi, uintptr_t end, bool user_stack);

// Is the caller the process and thread that it was when it was registered? Not so in a vfork child,
// which runs in its parent's memory, nor after a fork that no handler saw: nothing may be stopped
// there.
bool sv_world_self_valid(void);

// Stops every other thread of the process, those that were made by clone(2) included. Returns NULL
// when the world stands still, or the reason why it could not be had (a constant string; all
// threads then run again). Caller holds the cycle lock, the world lock, and every lock that it will
// need while stopped, metadata's included. procfd: /proc, or -1.
const char *sv_world_stop(int procfd);
void sv_world_resume(void);

// The list of threads; world lock held.
struct sv_thread *sv_world_threads(void);

// Forgets a thread that is gone; world lock held.
void sv_world_forget(struct sv_thread *thread);

// In a forked child, world lock held: only the calling thread is left, under a new id.
void sv_world_fork_child(void);

#endif
