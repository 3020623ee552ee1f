// Toggle refs: objects that something outside of the heap refers to, strongly or weakly by turns;
// the program's function says which. It is asked in the stop that ends a cycle, for every such
// object, so that its answer is as new as can be; so it may not allocate. A strong one is kept then
// with all it leads to; a weak one goes when nothing else keeps it, and is forgotten with that.
#define GC_BUILD
#include "export.h"
#include "final.h"
#include "gc/gc.h"
#include "leaks.h"

#define STRONG 1u // in an entry's tag: as it was last

static struct {
    struct sv_registry table; // held
    GC_toggleref_func fn;     // held
} toggle;

SV_EXPORT void GC_set_toggleref_func(GC_toggleref_func fn)
{
    sv_boehm_lock();
    toggle.fn = fn;
    sv_boehm_unlock();
}

SV_EXPORT GC_toggleref_func GC_get_toggleref_func(void)
{
    sv_boehm_lock();
    GC_toggleref_func fn = toggle.fn;
    sv_boehm_unlock();
    return fn;
}

SV_EXPORT int GC_toggleref_add(void *object, int strong)
{
    bool fresh;
    sv_boehm_init();
    sv_boehm_lock();
    uint32_t id = 0;
    bool none = !toggle.fn; // nobody would say what becomes of it
    if (!none && (id = sv_registry_add(&toggle.table, (uintptr_t)object, &fresh))) {
        struct sv_entry *e = sv_registry_entry(&toggle.table, id);
        e->tag = strong ? STRONG : 0;
        e->a = ~(uintptr_t)0;
        sv_registry_near_set((uintptr_t)object, SV_NEAR_OBJECT);
    }
    sv_boehm_unlock();
    return none || id ? GC_SUCCESS : GC_NO_MEMORY;
}

void sv_toggle_settle(struct sv_marker *m)
{
    struct sv_registry *r = &toggle.table;
    if (sv_leaks_on)
        return;
    for (uint32_t id = 1; id < r->high && r->used; id++) {
        struct sv_entry *e = sv_registry_entry(r, id);
        if (!e->key)
            continue;
        GC_ToggleRefStatus status = e->tag & STRONG ? GC_TOGGLE_REF_STRONG : GC_TOGGLE_REF_WEAK;
        if (toggle.fn)
            status = toggle.fn((void *)~e->key);
        e->tag = status == GC_TOGGLE_REF_STRONG ? STRONG : 0;
        if (status == GC_TOGGLE_REF_DROP)
            sv_registry_remove(r, id);
        else if (status == GC_TOGGLE_REF_STRONG)
            sv_mark_word(m, ~e->key);
    }
    sv_final_drain(m);
}

static void weak_commit(struct sv_registry *r, uint32_t id, bool marked, bool a_marked)
{
    (void)marked, (void)a_marked;
    sv_registry_remove(r, id);
}

void sv_toggle_commit(void)
{
    if (!sv_leaks_on)
        sv_registry_walk(&toggle.table, weak_commit);
}

void sv_toggle_forget(uintptr_t start)
{
    uint32_t id = sv_registry_find(&toggle.table, start);
    if (id)
        sv_registry_remove(&toggle.table, id);
}
