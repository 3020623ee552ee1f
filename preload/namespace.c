// unshare and setns: the kernel refuses some of what they do to a process with more than one
// thread, and the collector's worker is one that the program doesn't know. It goes before the call;
// the next cycle starts it again.
#include <sched.h>

#include "cycle.h"
#include "export.h"
#include "real.h"

SV_EXPORT int unshare(int flags)
{
    sv_cycle_single();
    return sv_real(unshare)(flags);
}

SV_EXPORT int setns(int fd, int type)
{
    sv_cycle_single();
    return sv_real(setns)(fd, type);
}
