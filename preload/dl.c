// dlopen, with RTLD_DEEPBIND taken out of the mode.
//
// A library that is loaded with RTLD_DEEPBIND binds to the malloc and free of the C library itself
// and not to ours. What it allocates the program then frees here, and what the program allocated
// here it frees there, where glibc aborts. Nothing else in the process can mend that once it has
// happened, and a program that uses the flag asks for its own copies of other symbols, which it
// seldom needs.
//
// The C library looks at dlopen's return address: the object that calls decides which RUNPATH and
// which $ORIGIN count, and which namespace gets the library. So the caller must stay the caller: on
// x86-64 an assembly stub jumps to the real function. dlmopen is not wrapped: a second namespace
// has a C library and a malloc of its own by design (foreign.c recognises its pointers).
#include "dl.h"
#include "cycle.h"
#include "export.h"
#include "modules.h"
#include "options.h"
#include "os.h"
#include "real.h"
#include "unwind.h"

#include <dlfcn.h>

_Atomic(void *) sv_dl_real;

void *sv_dl_resolve(void)
{
    void *fn = sv_real_get(SV_REAL_dlopen);
    atomic_store_explicit(&sv_dl_real, fn, memory_order_relaxed);
    return fn;
}

// The load map of a leak report tells what lay where, and so has to be brought up to date before a
// library goes, which it may never have seen, and after it, for the time.
static void modules_look(void)
{
    int procfd = sv_options.mode == SV_MODE_LEAKS ? sv_cycle_proc() : -1;
    if (procfd < 0)
        return;
    sv_modules_look(procfd);
    sv_os_close(procfd);
}

SV_EXPORT int dlclose(void *handle)
{
    modules_look();
    int result = sv_real(dlclose)(handle);
    sv_unwind_forget();
    modules_look();
    return result;
}

#ifndef __x86_64__
// The compiler turns a call in tail position into a jump when it optimises, which is what keeps the
// caller's return address; without optimisation libraries are found by the wrong RUNPATH.
SV_EXPORT void *dlopen(const char *file, int mode)
{
    return sv_real(dlopen)(file, mode & ~RTLD_DEEPBIND);
}
#endif
