// mremap, which the kernel refuses (EFAULT) where the old range lies in more than one mapping. A
// running cycle can have split one of the program's: it registers what it has listed, and the
// program may have grown, moved or joined mappings since; and it gives back large ones by parts.
// Such a call is made again when that cycle is over, and a program sees EFAULT only where it would
// have without us. A call that succeeds costs one load more.
//
// Not covered: system calls in inline assembly.
#include "mapping.h"

#include <errno.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "cycle.h"
#include "export.h"
#include "real.h"

#define TRIES 32u // cycles may follow one another closely, and the call be wrong all the same

void *sv_mapping_move(void *old, size_t from, size_t to, int flags, void *new)
{
    uint32_t cycles = sv_cycle_count();
    int saved = errno;
    for (unsigned try = 1;; try++) {
        void *p = sv_real(mremap)(old, from, to, flags, new);
        if (p != MAP_FAILED || errno != EFAULT || try == TRIES || !sv_cycle_passed(&cycles))
            return p;
        errno = saved;
    }
}

SV_EXPORT void *mremap(void *old, size_t from, size_t to, int flags, ...)
{
    void *new = NULL;
    if (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) {
        va_list ap;
        va_start(ap, flags);
        new = va_arg(ap, void *);
        va_end(ap);
    }
    return sv_mapping_move(old, from, to, flags, new);
}
