// The write barrier: how the collector learns what the program wrote while it was marking. One
// table of operations for each way; which one serves is chosen at start.
//
// The only way so far is `stw`: the world stays stopped for the whole mark, so nothing is ever
// written and every question has an empty answer. A barrier that lets the program run arms page
// tracking before the first object is marked, and answers with the pages that were written since;
// the cycle then scans the marked objects on them again. A page that isn't tracked counts as
// written.
#ifndef SV_BARRIER_H
#define SV_BARRIER_H

#include <stdbool.h>

#include "scanners.h"

struct sv_barrier {
    const char *name; // const: as in gctrace and in the statistics
    bool concurrent;  // const: the program runs while objects are marked
    int (*arm)(void); // before the first mark; 0, or -errno: the cycle stops the world instead
    // World stopped: calls fn for each range written since it was armed, and arms it again. 0 or
    // -errno.
    int (*dirty)(sv_range_fn *fn, void *arg);
    void (*disarm)(void); // the cycle is over, one way or the other
};

extern const struct sv_barrier sv_barrier_stw;

// The barrier that the options and this kernel allow.
const struct sv_barrier *sv_barrier_choose(void);

#endif
