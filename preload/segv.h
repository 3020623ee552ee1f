// SIGSEGV, where barrier=mprotect has a handler of its own on it: what the program set stands in a
// table here, and what isn't the barrier's goes to it.
#ifndef SV_SEGV_H
#define SV_SEGV_H

#include <signal.h>
#include <stdbool.h>

#define SV_SEGV_BIT (1ul << (SIGSEGV - 1)) // in the first word of a set

// Const after init: the kernel's handler is ours, and the functions below stand in for libc's.
extern bool sv_segv_ours;

// At start, once.
void sv_segv_init(void);

int sv_segv_action(const struct sigaction *act, struct sigaction *old);

// signal and its kin; flags: SA_*. Returns what was there.
__sighandler_t sv_segv_swap(__sighandler_t handler, int flags);

// The calling thread's mask was changed (how; any: there was a set; segv: with SIGSEGV in it),
// which the kernel wasn't told of SIGSEGV; adds SIGSEGV to *old if it was in it.
void sv_segv_masked(int how, bool any, bool segv, sigset_t *old);

// Was SIGSEGV in the mask of another signal's handler? `mask`: what it is set to, NULL: it stays.
bool sv_segv_held(int sig, const sigset_t *mask);

// ---- of signal.c --------------------------------------------------------------------------------

typedef void sv_handler_fn(int, siginfo_t *, void *);

// Calls a handler of the program's, outside of the thread's gate.
void sv_handler_call(sv_handler_fn *fn, int sig, siginfo_t *info, void *context);

// The program's handler behind what the kernel has.
sv_handler_fn *sv_handler_of(int sig, sv_handler_fn *kernel);

#endif
