// The phases of one collection: prepare, first stop, mark beside the program, termination, flip.
#ifndef SV_PHASE_H
#define SV_PHASE_H

#include "barrier.h"
#include "core.h"
#include "limiter.h"
#include "pacer.h"
#include "stats.h"

struct sv_phase_in {
    const struct sv_barrier *barrier; // open, if `beside`
    struct sv_lock *stopping;         // held around each stop (order: lock.h)
    struct sv_pacer *pacer;           // told how far the marking is
    struct sv_limiter *limiter;       // told what it takes
    int procfd;                       // /proc
    uintptr_t sp; // where the live part of the calling thread's stack begins; 0: worker
    bool beside;  // the program runs while objects are marked: the caller is a worker
    // If not `beside`: called when everything is marked, before the flip, with the number of
    // objects that are; world stopped, all locks held, the root set begun. May be NULL.
    void (*look)(uint64_t marked);
};

// One collection up to the flip, cycle lock held, the last sweep finished. NULL: what isn't marked
// is garbage now; or why it was given up (a constant string): nothing is then reclaimed, and no
// mark is left. Fills *stats.
const char *sv_phase_collect(const struct sv_phase_in *in, struct sv_stats_cycle *stats);

// After that, whatever it answered: the barrier is taken down, which takes a while on a large heap;
// the next goal should stand by then. Cycle lock held.
void sv_phase_finish(void);

// In a forked child, all locks reset: a collection that was under way is none.
void sv_phase_fork_child(void);

#endif
