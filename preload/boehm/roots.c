// Roots that the program names or tells of. All that the process has mapped is looked at anyway,
// stacks, libraries' data and what malloc handed out included; so naming roots only adds (core's
// list). What is excluded is left out as the program says. A library's data that the callback says
// no to, or GC_set_no_dls, stays a root: it is known by address, and what is mapped there once the
// library is gone has to count. An object is kept longer so, never lost.
//
// GC_push_other_roots is called in each stop that tries to end the mark, by the thread that drives
// the cycle; what it calls in turn marks with that stop's marker (sv_boehm_marker).
#define GC_BUILD
#include <link.h>

#include "boehm.h"
#include "cycle.h"
#include "mark.h"
#include "unlisted.h"

static void push_nothing(void)
{
}

GC_push_other_roots_proc GC_push_other_roots = push_nothing;

static GC_has_static_roots_func roots_has; // anyone, relaxed

void sv_roots_push(struct sv_marker *m)
{
    GC_push_other_roots_proc fn = GC_get_push_other_roots();
    (void)m;
    if (fn)
        fn();
}

void GC_set_push_other_roots(GC_push_other_roots_proc fn)
{
    __atomic_store_n(&GC_push_other_roots, fn, __ATOMIC_RELAXED);
}

GC_push_other_roots_proc GC_get_push_other_roots(void)
{
    return __atomic_load_n(&GC_push_other_roots, __ATOMIC_RELAXED);
}

void GC_push_all(void *lo, void *hi)
{
    if (sv_boehm_marker && (uintptr_t)lo < (uintptr_t)hi)
        sv_mark_range(sv_boehm_marker, (uintptr_t)lo, (uintptr_t)hi & ~(uintptr_t)7, false);
}

void GC_push_all_eager(void *lo, void *hi)
{
    GC_push_all(lo, hi);
}

// What was written since the last collection isn't known for memory that isn't the heap's.
void GC_push_conditional(void *lo, void *hi, int all)
{
    (void)all;
    GC_push_all(lo, hi);
}

// ---- ranges -------------------------------------------------------------------------------------

void GC_add_roots(void *lo, void *hi)
{
    sv_boehm_init();
    if ((uintptr_t)lo >= (uintptr_t)hi)
        return;
    sv_cycle_root_remove((uintptr_t)lo, (uintptr_t)hi); // those within it, itself included
    if (!sv_cycle_root_add((uintptr_t)lo, (uintptr_t)hi))
        sv_event_warn("GC Warning: too many roots, those from %p on aren't looked at\n",
                      (uintptr_t)lo);
}

void GC_remove_roots(void *lo, void *hi)
{
    if (sv_boehm_ready)
        sv_cycle_root_remove((uintptr_t)lo, (uintptr_t)hi);
}

void GC_clear_roots(void)
{
    if (sv_boehm_ready)
        sv_cycle_root_remove(0, UINTPTR_MAX);
}

void GC_exclude_static_roots(void *lo, void *hi)
{
    sv_boehm_init();
    if ((uintptr_t)lo < (uintptr_t)hi)
        sv_cycle_root_leave((uintptr_t)lo, (uintptr_t)hi); // too many: looked at all the same
}

void GC_clear_exclusion_table(void)
{
    if (sv_boehm_ready)
        sv_cycle_root_leave(0, 0);
}

// ---- libraries' data ----------------------------------------------------------------------------

void GC_register_has_static_roots_callback(GC_has_static_roots_func fn)
{
    __atomic_store_n(&roots_has, fn, __ATOMIC_RELAXED);
}

// Calls fn for each piece of writable data of what is loaded.
struct data_look {
    GC_has_static_roots_func ask; // NULL: only looks for `at`
    uintptr_t at;
};

static int data_each(struct dl_phdr_info *info, size_t bytes, void *arg)
{
    const struct data_look *look = arg;
    (void)bytes;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uintptr_t lo = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_W))
            continue;
        if (look->ask)
            look->ask(info->dlpi_name, (void *)lo, segment->p_memsz);
        else if (look->at - lo < segment->p_memsz)
            return 1;
    }
    return 0;
}

// Before a collection that the program asked for. The answer would only take roots away.
void sv_roots_ask(void)
{
    struct data_look look = {__atomic_load_n(&roots_has, __ATOMIC_RELAXED), 0};
    if (look.ask)
        dl_iterate_phdr(data_each, &look);
}

int GC_is_tmp_root(void *p)
{
    struct data_look look = {NULL, (uintptr_t)p};
    return p && dl_iterate_phdr(data_each, &look);
}

// ---- pointers -----------------------------------------------------------------------------------

// Pointers to anywhere within an object keep it.
void GC_register_displacement(size_t offset)
{
    (void)offset;
}

void GC_debug_register_displacement(size_t offset)
{
    (void)offset;
}
