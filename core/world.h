// The world: every thread of the process, and stopping and resuming them.
//
// A thread is stopped by SV_STOP_SIGNAL, sent to it alone; its handler publishes the stack pointer and
// waits. The signal is the last real-time one; preload/signal.c hides it from the program, as glibc
// hides its own two first ones.
#ifndef SV_WORLD_H
#define SV_WORLD_H

#include "core.h"

#define SV_STOP_SIGNAL 64

// Installs the stop handler and registers the calling (main) thread. Once, at start.
void sv_world_init(void);

// The calling thread's record, made on first use (any thread, outside of signal handlers and with no
// lock of ours held). stack_lo and stack_hi: the dead part of its stack once it has ended, if glibc will
// cache that stack; 0, 0 when unknown or when the program gave the memory (user_stack).
struct sv_thread *sv_world_thread_add(uintptr_t stack_lo, uintptr_t stack_hi, bool user_stack);

// Stops every other thread of the process, those that were made by clone(2) included. Returns NULL when
// the world stands still, or the reason why it could not be had (a constant string; all threads then
// run again). Caller holds the cycle lock, and every lock that it will need while stopped.
const char *sv_world_stop(void);
void sv_world_resume(void);

// The list of threads, valid while the world is stopped.
struct sv_thread *sv_world_threads(void);

// In a forked child: only the calling thread is left.
void sv_world_fork_child(void);

#endif
