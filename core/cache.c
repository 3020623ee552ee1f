// Thread caches, their slow half. A cache is a table of bins, one a code, each a stack of free
// slots in an array of its own; all arrays of a cache lie behind its table in one block. The main
// thread's block is static, so that a small program needs none of the collector's other memory.
//
// A young bin has little room and takes small batches; both double as it is used, up to a limit by
// bytes, so that a program that needs three objects of a size doesn't hold a hundred.
//
// The collector marks what lies in [base, top) of a stopped thread's bins. At every instruction of
// the fast paths a slot is in the stack, in a register, or both.
#include "cache.h"

#include <string.h>

#include "assert.h"
#include "central.h"
#include "cycle.h"
#include "heap.h"
#include "lock.h"
#include "metadata.h"
#include "options.h"
#include "pagemap.h"
#include "sizeclass.h"
#include "world.h"

#define ROOM_BYTES 32768u // what a bin may hold, with at least ROOM_MIN slots and at most ROOM_MAX
#define ROOM_MIN 2u
#define ROOM_MAX 256u
#define ROOM_YOUNG 8u // slots, at first; doubled at each of the first YOUNG_MAX fills
#define YOUNG_MAX 5u
#define SLOTS_MAX 8000u // of a whole cache; checked when the first one is made

struct cache_block {
    _Alignas(SV_CACHE_LINE) struct sv_cache cache;
    void *slots[SLOTS_MAX];
};

static struct cache_block cache_main;
static struct sv_cache *cache_list;  // world lock
static struct sv_cache *cache_spare; // world lock: blocks of ended threads
static _Atomic bool cache_main_taken;

static struct sv_cache cache_none = {.state = SV_CACHE_NONE};
static struct sv_cache cache_dead = {.state = SV_CACHE_DEAD};

__thread struct sv_cache *sv_cache_self = &cache_none;

void (*sv_cache_on_make)(void);

static unsigned bin_room(unsigned code)
{
    unsigned class = sv_code_class(code);
    if (class == 0 || class == SV_CLASS_LARGE)
        return 0;
    unsigned room = ROOM_BYTES / sv_classes[class].size;
    room = room < ROOM_MIN ? ROOM_MIN : room > ROOM_MAX ? ROOM_MAX : room;
    return sv_code_noscan(code) ? (room + 3) / 4 : room;
}

static unsigned bin_room_young(unsigned code, unsigned young)
{
    unsigned room = bin_room(code);
    unsigned start = ROOM_YOUNG << young;
    return start < room ? start : room;
}

static void cache_prepare(struct sv_cache *cache)
{
    void **slots = (void **)(cache + 1);
    for (unsigned code = 0; code < SV_NCODE; code++) {
        const struct sv_class *c = &sv_classes[sv_code_class(code)];
        struct sv_bin *bin = &cache->bins[code];
        bin->base = bin->top = slots;
        bin->inv = c->inv;
        // large objects are freed the slow way, and under clobber everything, to be filled
        bin->nslots = bin_room(code) && !sv_options.clobber ? c->nslots : 0;
        bin->end = slots + bin_room_young(code, 0);
        cache->young[code] = 0;
        slots += bin_room(code);
    }
    sv_check((size_t)(slots - (void **)(cache + 1)) <= SLOTS_MAX);
    for (unsigned i = 0; i < SV_CACHE_LUT; i++)
        cache->lut[i] = (uint16_t)(sv_class_of_16[i] * sizeof(struct sv_bin));
    cache->key = sv_heap.key;
    cache->state = SV_CACHE_LIVE;
}

__attribute__((noinline)) struct sv_cache *sv_cache_get(void)
{
    if (sv_likely(sv_cache_self->state == SV_CACHE_LIVE))
        return sv_cache_self;
    if (sv_cache_self->state == SV_CACHE_DEAD || !sv_heap_init())
        return NULL;
    struct sv_thread *thread = sv_world_self();
    struct sv_cache *cache = NULL;
    if (!thread)
        return NULL;
    sv_world_lock();
    if (!atomic_exchange_explicit(&cache_main_taken, true, memory_order_relaxed)) {
        cache = &cache_main.cache;
    } else {
        cache = cache_spare;
        if (cache)
            cache_spare = cache->next;
    }
    sv_world_unlock();
    if (!cache)
        cache = sv_metadata_alloc(sizeof(struct cache_block));
    if (!cache)
        return NULL;
    cache_prepare(cache);
    sv_world_lock();
    cache->thread = thread;
    thread->cache = cache;
    cache->next = cache_list;
    cache_list = cache;
    sv_cache_self = cache;
    sv_world_unlock();
    if (sv_cache_on_make)
        sv_cache_on_make();
    return cache;
}

__attribute__((noinline)) bool sv_cache_fill(struct sv_cache *cache, struct sv_bin *bin)
{
    unsigned code = (unsigned)(bin - cache->bins);
    unsigned n = bin_room_young(code, cache->young[code]) / 2;
    n = n ? n : 1;
    if (cache->young[code] < YOUNG_MAX) {
        unsigned room = bin_room_young(code, ++cache->young[code]);
        if (bin->end < bin->base + room)
            bin->end = bin->base + room;
    }
    sv_cycle_poll(n * sv_classes[sv_code_class(code)].size);
    if (bin->top != bin->base) // a signal handler of the program's filled it meanwhile
        return true;
    return sv_central_fill(code, bin, n);
}

__attribute__((noinline)) void *sv_cache_flush(struct sv_bin *bin)
{
    unsigned code = (unsigned)(bin - sv_cache_self->bins);
    size_t room = bin_room(code), now = (size_t)(bin->end - bin->base);
    if (now < room) {
        bin->end = bin->base + (2 * now < room ? 2 * now : room);
        return NULL;
    }
    return sv_central_flush(code, bin, (unsigned)(bin->top - bin->base + 1) / 2);
}

void sv_cache_drain(struct sv_cache *cache)
{
    for (unsigned code = 0; code < SV_NCODE; code++) {
        struct sv_bin *bin = &cache->bins[code];
        size_t held = (size_t)(bin->top - bin->base);
        if (held == 0)
            continue;
        void *bad = sv_central_flush(code, bin, (unsigned)held);
        if (bad)
            sv_die("double free of %p", bad);
    }
}

static void cache_unlink(struct sv_cache *cache)
{
    for (struct sv_cache **at = &cache_list; *at; at = &(*at)->next) {
        if (*at == cache) {
            *at = cache->next;
            break;
        }
    }
    if (cache->thread)
        cache->thread->cache = NULL;
    if (cache == &cache_main.cache) {
        atomic_store_explicit(&cache_main_taken, false, memory_order_relaxed);
        return;
    }
    cache->next = cache_spare;
    cache_spare = cache;
}

void sv_cache_retire(void)
{
    struct sv_cache *cache = sv_cache_self;
    sv_cache_self = &cache_dead;
    if (cache->state != SV_CACHE_LIVE)
        return;
    sv_cache_drain(cache);
    sv_world_lock();
    cache_unlink(cache);
    sv_world_unlock();
}

bool sv_cache_holds(const void *slot)
{
    bool found = false;
    uint32_t page = (uint32_t)sv_page_of((uintptr_t)slot);
    unsigned code = sv_pagemap_code(sv_pagemap_get(page));
    sv_world_lock();
    for (struct sv_cache *cache = cache_list; cache && !found; cache = cache->next) {
        struct sv_bin *bin = &cache->bins[code];
        // racy where the cache is another thread's, but a slot that the caller owns can't be on its
        // way out of there
        for (void **at = bin->base; at < bin->top && !found; at++)
            found = *at == slot;
    }
    sv_world_unlock();
    return found;
}

struct sv_cache *sv_cache_all(void)
{
    return cache_list;
}

void sv_cache_disown(struct sv_cache *cache)
{
    for (unsigned code = 0; code < SV_NCODE; code++)
        cache->bins[code].top = cache->bins[code].base;
    cache_unlink(cache);
}

void sv_cache_fork_child(void)
{
    struct sv_cache *next;
    for (struct sv_cache *cache = cache_list; cache; cache = next) {
        next = cache->next;
        if (cache != sv_cache_self)
            sv_cache_disown(cache);
    }
}
