// The locks that whoever stops the world holds besides `stopping`: the client's, the world's, the
// heap's and the metadata's, in the order of lock.h. Fork takes the same, so that the child has
// none that another thread held.
#ifndef SV_LOCKS_H
#define SV_LOCKS_H

#include <stdbool.h>

// All of them, outermost first, and back. None of them held; not in a signal handler.
void sv_locks_take(void);
void sv_locks_drop(void);

// Is any of them the calling thread's? Also in a signal handler.
bool sv_locks_held_here(void);

// In a forked child, the thread alone: those that another thread held are free, its own stay its
// own.
void sv_locks_reset(void);

#endif
