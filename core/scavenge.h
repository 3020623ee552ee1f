// The scavenger: free pages that the program hasn't needed for a while go back to the kernel.
//
// Two things say what must go: the low-water mark of what lay unused (sv_scavenge_poll, at each
// free of pages), and after a cycle the goal of what the heap may hold (sv_scavenge_pace). Who does
// it: the thread that frees, for the first, as long as there is no worker; once a worker said that
// it is there, that worker alone, for both, at its own pace. A memory limit is nobody's pace: who
// meets it releases at once (sv_scavenge_limit).
#ifndef SV_SCAVENGE_H
#define SV_SCAVENGE_H

#include "core.h"

// Called after pages came back, with no lock held. Cheap when there is nothing to do.
void sv_scavenge_poll(void);

// Everything that is free goes back now; bytes released. For malloc_trim.
size_t sv_scavenge_all(void);

// The heap holds more than 95 % of `limit` bytes: what is free goes back now until it doesn't, or
// nothing is left. Returns the bytes released. No lock held.
size_t sv_scavenge_limit(uint64_t limit);

// Somebody else released `bytes` (statistics).
void sv_scavenge_count(size_t bytes);

// ---- the worker's part --------------------------------------------------------------------------

// A worker does the work from now on, and is told by `wake` when there is some; `wake` takes no
// lock of the core's. NULL: it is gone (a forked child), and threads that free do it again.
void sv_scavenge_worker(void (*wake)(void));

// A cycle marked, and nothing is swept yet: what may be kept follows from what is in use now and
// from how the goal for the live heap changed. `goal` in bytes.
void sv_scavenge_pace(uint64_t goal);

// Works for about a millisecond. Returns how long to wait before the next call, in ns, so that the
// share of one processor is 1 %; UINT64_MAX: nothing to do before a wake-up or a cycle. The
// worker's thread only, no lock held.
uint64_t sv_scavenge_step(void);

// ---- pure functions -----------------------------------------------------------------------------

// What the heap may hold: a tenth more than is in use, in proportion to the goal's change.
uint64_t sv_scavenge_retain(uint64_t inuse, uint64_t goal, uint64_t goal_last);

struct sv_scavenge_pi { // Go's PI controller (runtime/mgcscavenge.go)
    double ratio;       // time worked for each unit slept
    double integral;    // of the error
};

#define SV_SCAVENGE_PI_START ((struct sv_scavenge_pi){0.001, 0})

// The worker has worked and then slept so many ns: sets the ratio.
void sv_scavenge_pi_next(struct sv_scavenge_pi *pi, uint64_t worked, uint64_t slept);

#endif
