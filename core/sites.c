// A hash table of sites, which only grows. A site's history is what it was before each cycle in
// which it changed; when there are too many points, every second one goes, so that the oldest stays
// and the others lie evenly. Past SITES_MAX stacks nothing is remembered of new ones: a check knows
// of them all the same, for it counts the objects.
#include "sites.h"

#include <stdatomic.h>

#include "heap.h"
#include "lock.h"
#include "metadata.h"
#include "profile.h"

#define SITES_MAX 65536u
#define SITES_MIN 64u

static struct {
    struct sv_site *v;    // heap lock: a hash table
    uint32_t n;           // heap lock: in use
    uint32_t cap;         // heap lock: a power of two
    uint64_t hidden;      // heap lock: objects that came back
    _Atomic int64_t lost; // heap lock to write: bytes lost now
} sites;

static uint32_t cycle_now(void)
{
    return atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
}

// Stacks are numbers of 24 bits.
static uint32_t site_key(uint32_t stack, enum sv_sites_kind kind)
{
    return (stack << 2 | kind) + 1;
}

static uint32_t key_stack(uint32_t key)
{
    return (key - 1) >> 2;
}

static struct sv_site *site_place(struct sv_site *v, uint32_t cap, uint32_t key)
{
    uint32_t i = (uint32_t)(key * 0x9e3779b97f4a7c15u >> 32) & (cap - 1);
    while (v[i].key && v[i].key != key)
        i = (i + 1) & (cap - 1);
    return &v[i];
}

static bool sites_grow(void)
{
    uint32_t cap = sites.cap ? 2 * sites.cap : SITES_MIN;
    struct sv_site *v = sites.n < SITES_MAX ? sv_metadata_alloc(cap * sizeof *v) : NULL;
    if (!v)
        return false;
    for (uint32_t i = 0; i < sites.cap; i++)
        if (sites.v[i].key)
            *site_place(v, cap, sites.v[i].key) = sites.v[i];
    sv_metadata_free(sites.v, sites.cap * sizeof *v);
    sites.v = v;
    sites.cap = cap;
    return true;
}

// NULL: there is none yet.
static struct sv_site *site_at(uint32_t stack, enum sv_sites_kind kind)
{
    uint32_t key = site_key(stack, kind);
    struct sv_site *s = sites.cap ? site_place(sites.v, sites.cap, key) : NULL;
    return s && s->key ? s : NULL;
}

// NULL: memory is short, or there are too many.
static struct sv_site *site_get(uint32_t stack, enum sv_sites_kind kind)
{
    struct sv_site *s = site_at(stack, kind);
    if (s)
        return s;
    if (4 * sites.n >= 3 * sites.cap && !sites_grow())
        return NULL;
    uint32_t key = site_key(stack, kind);
    s = site_place(sites.v, sites.cap, key);
    *s = (struct sv_site){.key = key,
                          .cycle = cycle_now(),
                          .found = sv_profile_now(),
                          .last = cycle_now(),
                          .when = sv_profile_now()};
    sites.n++;
    return s;
}

// What it was before this cycle becomes history. Every second point goes when there are too many.
static void site_touch(struct sv_site *s)
{
    if (s->last != cycle_now()) {
        if (s->npoints == SV_SITES_POINTS) {
            for (unsigned i = 0; i < SV_SITES_POINTS / 2; i++)
                s->points[i] = s->points[2 * i];
            s->npoints = SV_SITES_POINTS / 2;
        }
        s->points[s->npoints++] =
            (struct sv_site_point){s->when, (uint64_t)s->objects, (uint64_t)s->bytes};
    }
    s->last = cycle_now();
    s->when = sv_profile_now();
}

void sv_sites_add(uint64_t word, size_t size)
{
    struct sv_profile_site from;
    sv_profile_read(word, size, &from);
    struct sv_site *s = site_get(from.stack, SV_SITES_LOST);
    if (!s)
        return;
    site_touch(s);
    s->objects++;
    s->bytes += (int64_t)from.bytes;
    atomic_fetch_add_explicit(&sites.lost, (int64_t)from.bytes, memory_order_relaxed);
}

void sv_sites_subtract(uint64_t word, size_t size, bool named)
{
    struct sv_profile_site from;
    sv_profile_read(word, size, &from);
    struct sv_site *s = site_get(from.stack, SV_SITES_LOST);
    sites.hidden += named;
    if (!s)
        return;
    site_touch(s);
    s->objects--;
    s->bytes -= (int64_t)from.bytes;
    atomic_fetch_sub_explicit(&sites.lost, (int64_t)from.bytes, memory_order_relaxed);
    if (named) {
        s->hidden.when = from.when;
        s->hidden.objects++;
        s->hidden.bytes += from.bytes;
    }
}

const struct sv_site *sv_site_find(uint32_t stack, enum sv_sites_kind kind)
{
    return site_at(stack, kind);
}

void sv_sites_allocated(uint32_t stack, size_t bytes)
{
    sv_lock_acquire(&sv_heap.lock);
    struct sv_site *s = site_get(stack, SV_SITES_ALLOCATED);
    if (s) {
        s->objects++;
        s->bytes += (int64_t)bytes;
        s->when = sv_profile_now();
    }
    sv_lock_release(&sv_heap.lock);
}

bool sv_sites_next(uint32_t *at, enum sv_sites_kind kind, uint32_t *stack, struct sv_site *out)
{
    for (; *at < sites.cap; ++*at) {
        *out = sites.v[*at];
        *stack = out->key ? key_stack(out->key) : 0;
        if (out->key && out->key == site_key(*stack, kind)) {
            ++*at;
            return true;
        }
    }
    return false;
}

void sv_sites_live(uint32_t stack, uint64_t objects, uint64_t bytes)
{
    struct sv_site *s = site_get(stack, SV_SITES_LIVE);
    if (!s)
        return;
    site_touch(s);
    s->objects = (int64_t)objects;
    s->bytes = (int64_t)bytes;
}

void sv_sites_hidden(void (*fn)(void *arg, uint32_t stack, const struct sv_site_point *hidden),
                     void *arg)
{
    for (uint32_t i = 0; i < sites.cap; i++)
        if (sites.v[i].key && sites.v[i].hidden.objects)
            fn(arg, key_stack(sites.v[i].key), &sites.v[i].hidden);
}

uint64_t sv_sites_hidden_objects(void)
{
    return sites.hidden;
}

uint64_t sv_sites_lost_bytes(void)
{
    return (uint64_t)atomic_load_explicit(&sites.lost, memory_order_relaxed);
}
