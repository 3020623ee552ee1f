// Thread caches, their slow half. A cache is a table of bins, one a code, each a stack of free
// slots in an array of its own; all arrays of a cache lie behind its table in one block. The main
// thread's block is static, so that a small program needs none of the collector's other memory.
//
// A young bin has little room and takes small batches; both double as it is used, up to a limit by
// bytes, so that a program that needs three objects of a size doesn't hold a hundred.
//
// Under `sample` (profile.h) the fast paths must know nothing of it, and yet give out no more slots
// than there are until one is to be recorded. So frees go to the bin of their code as ever, but
// malloc takes from another one, an *out bin*, into which sv_cache_sample moves as many as may be
// given out.
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
#include "profile.h"
#include "sizeclass.h"
#include "world.h"

#define ROOM_BYTES 32768u // what a bin may hold, with at least ROOM_MIN slots and at most ROOM_MAX
#define ROOM_MIN 2u
#define ROOM_MAX 256u
#define ROOM_YOUNG 8u // slots, at first; doubled at each of the first YOUNG_MAX fills
#define YOUNG_MAX 5u
#define ROOM_OUT 32u    // slots of an out bin
#define OUT_FEW 16      // fewer to be taken again are few
#define SLOTS_MAX 8500u // of a whole cache; checked when the first one is made

struct cache_block {
    _Alignas(SV_CACHE_LINE) struct sv_cache cache;
    void *slots[SLOTS_MAX];
};

static struct cache_block cache_main;
static struct sv_cache *cache_list;  // world lock
static struct sv_cache *cache_spare; // world lock: blocks of ended threads
static _Atomic bool cache_main_taken;
static _Atomic bool cache_watched; // world lock to write

static struct sv_cache cache_none = {.state = SV_CACHE_NONE};
static struct sv_cache cache_dead = {.state = SV_CACHE_DEAD};

__thread struct sv_cache *sv_cache_self = &cache_none;

void (*sv_cache_on_make)(void);

static unsigned bin_code(unsigned i)
{
    return i < SV_NCODE ? i : i - SV_NCODE;
}

static unsigned bin_room(unsigned i)
{
    unsigned code = bin_code(i), class = sv_code_class(code);
    if (class == 0 || class == SV_CLASS_LARGE)
        return 0;
    if (i >= SV_NCODE)
        return sv_profile_sampling ? ROOM_OUT : 0;
    unsigned room = ROOM_BYTES / sv_classes[class].size;
    room = room < ROOM_MIN ? ROOM_MIN : room > ROOM_MAX ? ROOM_MAX : room;
    return code >= SV_NCLASS ? (room + 3) / 4 : room; // rarer
}

static unsigned bin_room_young(unsigned code, unsigned young)
{
    unsigned room = bin_room(code);
    unsigned start = ROOM_YOUNG << young;
    return start < room ? start : room;
}

// The bin from which the fast path takes slots of a class.
static unsigned bin_of_lut(unsigned class)
{
    return sv_profile_all ? 0 : sv_profile_sampling ? SV_NCODE + class : class;
}

static void cache_prepare(struct sv_cache *cache)
{
    void **slots = (void **)(cache + 1);
    for (unsigned i = 0; i < SV_NBIN; i++) {
        const struct sv_class *c = &sv_classes[sv_code_class(bin_code(i))];
        struct sv_bin *bin = &cache->bins[i];
        bin->base = bin->top = slots;
        bin->inv = c->inv;
        // large objects are freed the slow way, and under clobber everything, to be filled
        bool slow =
            sv_options.clobber || atomic_load_explicit(&cache_watched, memory_order_relaxed);
        bin->nslots = bin_room(i) && !slow ? c->nslots : 0;
        bin->end = slots + bin_room_young(i, 0);
        slots += bin_room(i);
    }
    memset(cache->young, 0, sizeof cache->young);
    sv_check((size_t)(slots - (void **)(cache + 1)) <= SLOTS_MAX);
    sv_check(sv_class_of_16[SV_CACHE_LUT - 1] < SV_NOUT);
    for (unsigned i = 0; i < SV_CACHE_LUT; i++) // bin 0 is always empty
        cache->lut[i] = (uint16_t)(bin_of_lut(sv_class_of_16[i]) * sizeof(struct sv_bin));
    for (unsigned i = 1; sv_profile_sampling && i < SV_CLASS_LARGE; i++)
        cache->gaps[i] = sv_profile_gap(sv_classes[i].size);
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
    thread->cached = 0; // no thread sleeps with an even gate
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

// One more slot of the class goes out: is it the one to be recorded?
static bool gap_step(struct sv_cache *cache, unsigned class)
{
    bool due = cache->gaps[class]-- == 0;
    if (due)
        cache->gaps[class] = sv_profile_gap(sv_classes[class].size);
    return due;
}

// Moves up to n slots from the full bin to the empty one.
static void bin_move(struct sv_bin *out, struct sv_bin *in, size_t n)
{
    memcpy(out->base, in->top - n, n * sizeof *out->base);
    out->top = out->base + n;
    atomic_signal_fence(memory_order_seq_cst); // a slot is in one of the stacks, or in both
    in->top -= n;
}

// Fills the empty out bin of the class with at most `most` slots; returns how many. Few slots that
// go round would be moved again and again, so then there come more.
static size_t out_fill(struct sv_cache *cache, unsigned class, size_t most)
{
    struct sv_bin *in = &cache->bins[class], *out = &cache->bins[SV_NCODE + class];
    if (in->top - in->base < OUT_FEW && most >= OUT_FEW) {
        sv_cycle_poll(OUT_FEW * sv_classes[class].size);
        if (out->top == out->base && sv_central_fill(class, out, OUT_FEW))
            return (size_t)(out->top - out->base);
        return 0;
    }
    if (in->top == in->base && !sv_cache_fill(cache, in))
        return 0;
    size_t n = (size_t)(in->top - in->base);
    n = n < most ? n : most;
    bin_move(out, in, n);
    return n;
}

void *sv_cache_sample(struct sv_cache *cache, unsigned class, bool *due)
{
    bool has_out = class < SV_NOUT;
    struct sv_bin *bin = &cache->bins[has_out ? SV_NCODE + class : class];
    *due = false;
    if (has_out && bin->top != bin->base) // what lies there was counted
        return sv_bin_pop(bin);
    *due = gap_step(cache, class);
    if (*due)
        return NULL;
    if (has_out) {
        size_t most = (size_t)cache->gaps[class] + 1;
        size_t n = out_fill(cache, class, most < ROOM_OUT ? most : ROOM_OUT);
        cache->gaps[class] -= (uint32_t)(n ? n - 1 : 0);
    } else if (bin->top == bin->base && !sv_cache_fill(cache, bin)) {
        return NULL;
    }
    return sv_bin_pop(bin);
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
    for (unsigned i = 0; i < SV_NBIN; i++) {
        struct sv_bin *bin = &cache->bins[i];
        size_t held = (size_t)(bin->top - bin->base);
        if (held == 0)
            continue;
        void *bad = sv_central_flush(bin_code(i), bin, (unsigned)held);
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

static bool bin_holds(const struct sv_bin *bin, const void *slot)
{
    // racy where the cache is another thread's, but a slot that the caller owns can't be on its way
    // out of there
    for (void **at = bin->base; at < bin->top; at++)
        if (*at == slot)
            return true;
    return false;
}

bool sv_cache_holds(const void *slot)
{
    bool found = false;
    uint32_t page = (uint32_t)sv_page_of((uintptr_t)slot);
    unsigned code = sv_pagemap_code(sv_pagemap_get(page));
    sv_world_lock();
    for (struct sv_cache *cache = cache_list; cache && !found; cache = cache->next) {
        found = bin_holds(&cache->bins[code], slot) ||
                (code < SV_NOUT && bin_holds(&cache->bins[SV_NCODE + code], slot));
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
    for (unsigned i = 0; i < SV_NBIN; i++)
        cache->bins[i].top = cache->bins[i].base;
    cache_unlink(cache);
}

void sv_cache_watch(void)
{
    atomic_store_explicit(&cache_watched, true, memory_order_relaxed);
    for (struct sv_cache *cache = cache_list; cache; cache = cache->next)
        for (unsigned i = 0; i < SV_NBIN; i++)
            cache->bins[i].nslots = 0;
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
