// The write barrier: how the collector learns what the program wrote while it was marking. One
// table of operations for each way; which one serves is chosen at the first cycle.
//
// A barrier that lets the program run watches the heap and the roots before the first object is
// marked, and tells which of their pages were written since; the cycle scans the marked objects on
// them again. A page that isn't tracked counts as written. `stw` needs none of this, and is always
// there: the world stays stopped for the whole mark, nothing is ever written, and every question
// has an empty answer.
//
// The operations belong to the thread that drives the cycle, with the cycle lock held. They take no
// lock and allocate nothing, so they may be called with the world stopped.
#ifndef SV_BARRIER_H
#define SV_BARRIER_H

#include <stdbool.h>

#include "scanners.h"

// scanners/track.h says exactly what watch, written and release do.
struct sv_barrier {
    const char *name; // const: as in gctrace and in the statistics
    bool concurrent;  // const: the program runs while objects are marked
    bool rounds;      // const: `again` has an effect: looking while the program runs saves work
    // For one cycle, before all else. 0, or -errno: this cycle stops the world instead. `procfd` is
    // sv_proc_open's.
    int (*open)(int procfd);
    // 0, or -errno: what of the range can't be watched counts as written, and the cycle goes on.
    int (*watch)(uintptr_t lo, uintptr_t hi);
    // Before watch: the range has memory nearly everywhere, and may be looked at in the quickest
    // way.
    void (*dense)(uintptr_t lo, uintptr_t hi);
    // 0, or -errno: what was written isn't known, and the cycle has to be abandoned.
    int (*written)(uintptr_t lo, uintptr_t hi, bool again, sv_range_fn *fn, void *arg);
    // Stops watching a range, piece by piece, for a program that runs on; close would do it at
    // once.
    void (*release)(uintptr_t lo, uintptr_t hi);
    // The cycle is over, one way or the other. Also in a forked child, in which nothing is watched,
    // for what the parent had open; and when nothing is open.
    void (*close)(void);
};

extern const struct sv_barrier sv_barrier_stw;

// The barrier that the options and this kernel allow: opens each that comes into question and
// closes it again. A barrier that was asked for but can't be had is named in one line of the log.
// The answer is remembered for this process, and worked out again after fork. Cycle lock held,
// nothing open.
const struct sv_barrier *sv_barrier_choose(int procfd);

#endif
