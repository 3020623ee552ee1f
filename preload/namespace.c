// Calls after which the collector's worker would stand out: unshare and setns, of which the kernel
// refuses some to a process with more than one thread; and those that change the credentials of the
// calling thread alone (capset, some of prctl), after which glibc's setuid, which speaks to all
// threads, would succeed in one and fail in the other, and abort. The worker goes before the call;
// the next cycle starts it again, with what its maker has by then.
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/prctl.h>

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

static bool prctl_parts(int option)
{
    return option == PR_SET_KEEPCAPS || option == PR_SET_SECUREBITS || option == PR_CAPBSET_DROP ||
           option == PR_CAP_AMBIENT || option == PR_SET_NO_NEW_PRIVS || option == PR_SET_SECCOMP;
}

// Variadic as glibc's, which reads four arguments whatever was given.
SV_EXPORT int prctl(int option, ...)
{
    va_list ap;
    va_start(ap, option);
    unsigned long a = va_arg(ap, unsigned long), b = va_arg(ap, unsigned long);
    unsigned long c = va_arg(ap, unsigned long), d = va_arg(ap, unsigned long);
    va_end(ap);
    if (prctl_parts(option))
        sv_cycle_single();
    return sv_real(prctl)(option, a, b, c, d);
}

// glibc's, declared in libcap's header only.
SV_EXPORT int capset(void *header, const void *data);

int capset(void *header, const void *data)
{
    sv_cycle_single();
    return sv_real(capset)(header, data);
}
