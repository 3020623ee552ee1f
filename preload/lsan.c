// LeakSanitizer's interface (sanitizer/lsan_interface.h), so that code annotated for it works
// unchanged: checks on request, and objects that are never to be reported.
//
// Between __lsan_disable and __lsan_enable core ignores what the thread allocates. Outside of
// mode=leaks these functions do nothing, and say that nothing was found.
#include "lsan.h"

#include "arch.h"
#include "cycle.h"
#include "exit.h"
#include "export.h"
#include "init.h"
#include "leaks.h"
#include "options.h"
#include "report.h"
#include "salvage.h"

// A program may define it: then nothing is checked.
extern int __lsan_is_turned_off(void) __attribute__((weak));

SV_EXPORT void __lsan_do_leak_check(void);
SV_EXPORT int __lsan_do_recoverable_leak_check(void);
SV_EXPORT void __lsan_ignore_object(const void *p);
SV_EXPORT void __lsan_disable(void);
SV_EXPORT void __lsan_enable(void);
SV_EXPORT void __lsan_register_root_region(const void *p, size_t bytes);
SV_EXPORT void __lsan_unregister_root_region(const void *p, size_t bytes);

// The callers' frames and the registers that they keep count; what lies below doesn't.
int sv_lsan_check(void)
{
    struct sv_report report;
    struct sv_arch_saved saved;
    sv_init();
    if (sv_options.mode != SV_MODE_LEAKS || sv_cycle_locked_here() ||
        (__lsan_is_turned_off && __lsan_is_turned_off()))
        return 0;
    sv_arch_save(&saved);
    sv_report_make(SV_LEAKS_API, (uintptr_t)&saved, false, &report);
    __asm__ volatile("" ::"r"(&saved) : "memory");
    return report.sums.objects < INT32_MAX ? (int)report.sums.objects : INT32_MAX;
}

// The check of the end, now: there is none at the end any more.
void __lsan_do_leak_check(void)
{
    sv_init();
    sv_exit_now();
}

int __lsan_do_recoverable_leak_check(void)
{
    return sv_lsan_check() != 0;
}

void __lsan_ignore_object(const void *p)
{
    salvage_ignore(p);
}

void __lsan_disable(void)
{
    sv_leaks_ignoring++;
}

void __lsan_enable(void)
{
    sv_leaks_ignoring -= sv_leaks_ignoring > 0;
}

void __lsan_register_root_region(const void *p, size_t bytes)
{
    salvage_add_root(p, bytes);
}

void __lsan_unregister_root_region(const void *p, size_t bytes)
{
    salvage_remove_root(p, bytes);
}
