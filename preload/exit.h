// The ends of a process, and the leak check at each of them.
#ifndef SV_EXIT_H
#define SV_EXIT_H

#include <signal.h>
#include <stdbool.h>

// Options read, once. In modes other than `leaks` nothing here ever happens.
void sv_exit_init(void);

// ---- for the wrappers of signals ----------------------------------------------------------------

// Stands in the kernel where the program wants a default action that ends it.
void sv_exit_signal(int sig, siginfo_t *info, void *context);

// Must it stand there for this signal? With these flags and mask.
bool sv_exit_signal_ends(int sig);
#define SV_EXIT_SIGNAL_FLAGS (SA_SIGINFO | SA_ONSTACK | SA_RESTART)

// ---- for other wrappers -------------------------------------------------------------------------

// The program is about to be replaced by the file at `path` (relative to dirfd), or, if `search`,
// by one of that name in PATH. Checks unless that can't succeed.
void sv_exit_exec(int dirfd, const char *path, bool search);

// The program's last thread has run its destructors.
void sv_exit_thread_ended(void);

// LeakSanitizer's __lsan_do_leak_check: the check of the end is now.
void sv_exit_now(void);

// In a forked child.
void sv_exit_fork_child(void);

#endif
