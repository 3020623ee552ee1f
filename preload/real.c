// Looks up what our wrappers stand in front of.
//
// dlsym(RTLD_NEXT) and not the C library's internal names: another preloaded library may wrap the
// same function, and has to be called too. The first wrapper that is called looks up all names at
// once: dlsym takes locks, and any other may be called first in a signal handler, in a child of a
// threaded process's fork, or in one of vfork; and it wipes the error message that a later
// dlerror() of the program asks for. The first can be none of those, since handlers, threads and
// dlopen come by wrappers. Not at start: a small program calls none, and wouldn't use what it paid
// for.
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

// A program that gets libgc.so.1 by way of another library has the C library before ours, and so
// nothing behind it: then the first of all is the real one, unless it is our own.
static void *real_before(const char *name)
{
    extern const char __ehdr_start __attribute__((visibility("hidden")));
    void *fn = dlsym(RTLD_DEFAULT, name);
    Dl_info info;
    return fn && dladdr(fn, &info) && info.dli_fbase != (const void *)&__ehdr_start ? fn : NULL;
}

static void real_look(enum sv_real_id id)
{
    void *fn = dlsym(RTLD_NEXT, real_names[id]);
    if (fn == NULL)
        fn = real_before(real_names[id]);
    if (fn == NULL)
        fn = (void *)real_missing;
    atomic_store_explicit(&sv_real_table[id], fn, memory_order_relaxed);
}

void *sv_real_find_alone(enum sv_real_id wanted)
{
    int saved = errno;
    real_look(wanted);
    errno = saved;
    return atomic_load_explicit(&sv_real_table[wanted], memory_order_relaxed);
}

void *sv_real_find(enum sv_real_id wanted)
{
    int saved = errno;
    for (unsigned id = 0; id < SV_REAL_COUNT; id++)
        real_look((enum sv_real_id)id);
    errno = saved;
    return atomic_load_explicit(&sv_real_table[wanted], memory_order_relaxed);
}
