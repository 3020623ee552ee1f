// chroot: the collector reads /proc, which is out of reach afterwards; it gets a chance to open it
// before.
#include <unistd.h>

#include "cycle.h"
#include "export.h"
#include "real.h"
#include "report.h"

SV_EXPORT int chroot(const char *path)
{
    sv_cycle_proc_keep();
    sv_report_chroot();
    return sv_real(chroot)(path);
}
