// Looks up what our wrappers stand in front of.
//
// dlsym(RTLD_NEXT) and not the C library's internal names: another preloaded library may wrap the
// same function, and has to be called too. The constructor looks up all names at once, because
// dlsym wipes the error message that a later dlerror() of the program asks for. A wrapper that is
// called before the constructor ran (from another library's) looks its own name up, where no
// message can be lost yet.
//
// dlsym allocates only to report a failure. Two threads that look up one name store the same
// pointer.
#include "real.h"

#include <dlfcn.h>
#include <errno.h>

_Atomic(void *) sv_real_table[SV_REAL_COUNT];

#define REAL_STRING(name) #name,
static const char *const real_names[SV_REAL_COUNT] = {SV_REAL_NAMES(REAL_STRING)};
#undef REAL_STRING

static long real_missing(void)
{
    errno = ENOSYS;
    return -1;
}

void *sv_real_find(enum sv_real_id id)
{
    int saved = errno;
    void *fn = dlsym(RTLD_NEXT, real_names[id]);
    if (fn == NULL) {
        fn = (void *)real_missing;
    }
    atomic_store_explicit(&sv_real_table[id], fn, memory_order_relaxed);
    errno = saved;
    return fn;
}
