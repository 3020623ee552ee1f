// Links that disappear: places whose word is cleared when the object that they were registered for
// is garbage. Short ones before finalizers are ordered, long ones when what finalizers need is
// marked and the object still isn't.
//
// A place in an object of the heap is forgotten with that object; other places stay until they are
// unregistered. What is to be cleared is found by one walk over the short links in settle, which
// also lists those whose own place is in doubt, and one over the long links in commit.
#define GC_BUILD
#include <stdlib.h>

#include "export.h"
#include "final.h"
#include "gc/gc.h"
#include "leaks.h"
#include "text.h"

static struct {
    struct sv_registry short_links, long_links; // held
    struct sv_registry_list clear;              // held, from settle to commit
    struct sv_registry_list doubt;              // likewise: the object stays, the place may not
} links;

static bool misaligned(const void *place)
{
    return ((uintptr_t)place & (sizeof(void *) - 1)) != 0;
}

static void place_check(void **place, const char *function)
{
    if (!place || misaligned(place)) {
        sv_error("salvage: bad argument to %s: %p", function, (void *)place);
        abort();
    }
}

// ---- registering --------------------------------------------------------------------------------

static int link_register(struct sv_registry *r, void **place, const void *object)
{
    bool fresh;
    sv_boehm_lock();
    uint32_t id = sv_registry_add(r, (uintptr_t)place, &fresh);
    if (id)
        sv_registry_entry(r, id)->a = ~(uintptr_t)object;
    if (id && fresh)
        sv_registry_near_set((uintptr_t)place, SV_NEAR_PLACE);
    sv_boehm_unlock();
    return !id ? GC_NO_MEMORY : fresh ? GC_SUCCESS : GC_DUPLICATE;
}

static int link_unregister(struct sv_registry *r, void **place)
{
    if (misaligned(place))
        return 0;
    sv_boehm_lock();
    uint32_t id = sv_registry_find(r, (uintptr_t)place);
    if (id)
        sv_registry_remove(r, id);
    sv_boehm_unlock();
    return id != 0;
}

static int link_move_held(struct sv_registry *r, uintptr_t from, uintptr_t to)
{
    uint32_t id = sv_registry_find(r, from);
    if (!id)
        return GC_NOT_FOUND;
    if (from == to)
        return GC_SUCCESS;
    if (sv_registry_find(r, to))
        return GC_DUPLICATE;
    uintptr_t object = sv_registry_entry(r, id)->a;
    sv_registry_remove(r, id); // so that there is room for the other one
    bool fresh;
    sv_registry_entry(r, sv_registry_add(r, to, &fresh))->a = object;
    sv_registry_near_set(to, SV_NEAR_PLACE);
    return GC_SUCCESS;
}

static int link_move(struct sv_registry *r, void **from, void **to)
{
    if (misaligned(from))
        return GC_NOT_FOUND;
    sv_boehm_lock();
    int answer = link_move_held(r, (uintptr_t)from, (uintptr_t)to);
    sv_boehm_unlock();
    return answer;
}

SV_EXPORT int GC_general_register_disappearing_link(void **place, const void *object)
{
    place_check(place, __func__);
    if (sv_unlikely(!sv_boehm_ready))
        sv_boehm_init();
    return link_register(&links.short_links, place, object);
}

SV_EXPORT int GC_register_disappearing_link(void **place)
{
    struct sv_mark_place at;
    sv_boehm_init();
    bool found = sv_mark_find((uintptr_t)place, &at);
    place_check(found ? place : NULL, __func__);
    return link_register(&links.short_links, place, (const void *)at.start);
}

SV_EXPORT int GC_unregister_disappearing_link(void **place)
{
    return link_unregister(&links.short_links, place);
}

SV_EXPORT int GC_move_disappearing_link(void **from, void **to)
{
    place_check(to, __func__);
    return link_move(&links.short_links, from, to);
}

SV_EXPORT int GC_register_long_link(void **place, const void *object)
{
    place_check(place, __func__);
    if (sv_unlikely(!sv_boehm_ready))
        sv_boehm_init();
    return link_register(&links.long_links, place, object);
}

SV_EXPORT int GC_unregister_long_link(void **place)
{
    return link_unregister(&links.long_links, place);
}

SV_EXPORT int GC_move_long_link(void **from, void **to)
{
    place_check(to, __func__);
    return link_move(&links.long_links, from, to);
}

// ---- in a cycle ---------------------------------------------------------------------------------

static void link_settle(struct sv_registry *r, uint32_t id, bool place_marked, bool object_marked)
{
    (void)place_marked;
    sv_registry_append(r, object_marked ? &links.doubt : &links.clear, id);
}

void sv_link_settle(struct sv_marker *m)
{
    (void)m;
    links.clear = links.doubt = (struct sv_registry_list){0, 0};
    if (!sv_leaks_on)
        sv_registry_walk(&links.short_links, link_settle);
}

static void link_clear(struct sv_registry *r, uint32_t id)
{
    uintptr_t place = ~sv_registry_entry(r, id)->key;
    if (sv_registry_marked(place))
        *(void **)place = NULL;
    sv_registry_remove(r, id);
}

static void long_commit(struct sv_registry *r, uint32_t id, bool place_marked, bool object_marked)
{
    (void)place_marked, (void)object_marked;
    link_clear(r, id);
}

void sv_link_commit(void)
{
    struct sv_registry *r = &links.short_links;
    uint32_t id;
    while ((id = sv_registry_take(r, &links.clear)))
        link_clear(r, id);
    while ((id = sv_registry_take(r, &links.doubt)))
        if (!sv_registry_marked(~sv_registry_entry(r, id)->key))
            sv_registry_remove(r, id);
    if (!sv_leaks_on)
        sv_registry_walk(&links.long_links, long_commit);
}

// ---- freed by the program -----------------------------------------------------------------------

static void range_forget(struct sv_registry *r, uintptr_t lo, uintptr_t hi)
{
    uint32_t id;
    if ((hi - lo) / sizeof(void *) <= r->high) {
        for (uintptr_t at = lo; at < hi && r->hashed; at += sizeof(void *))
            if ((id = sv_registry_find(r, at)))
                sv_registry_remove(r, id);
        return;
    }
    for (id = 1; id < r->high; id++) {
        uintptr_t key = sv_registry_entry(r, id)->key;
        if (key && ~key >= lo && ~key < hi)
            sv_registry_remove(r, id);
    }
}

void sv_link_forget(uintptr_t lo, uintptr_t hi)
{
    range_forget(&links.short_links, lo, hi);
    range_forget(&links.long_links, lo, hi);
}

void sv_link_trim(void)
{
    sv_registry_trim(&links.short_links);
    sv_registry_trim(&links.long_links);
}

void sv_link_count(size_t *short_links, size_t *long_links)
{
    *short_links = links.short_links.used;
    *long_links = links.long_links.used;
}
