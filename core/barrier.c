// The barriers. `stw` is always correct and always there: what nothing could write needs no
// watching.
#include "barrier.h"

static int stw_arm(void)
{
    return 0;
}

static int stw_dirty(sv_range_fn *fn, void *arg)
{
    (void)fn;
    (void)arg;
    return 0;
}

static void stw_disarm(void)
{
}

const struct sv_barrier sv_barrier_stw = {"stw", false, stw_arm, stw_dirty, stw_disarm};

const struct sv_barrier *sv_barrier_choose(void)
{
    return &sv_barrier_stw; // for barrier=stw and barrier=auto alike, until there is another
}
