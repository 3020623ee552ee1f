// The thread cache: malloc and free without a lock, an atomic or a division.
//
// The fast paths below are written to be read in assembly. They use nothing of a thread but its one
// TLS word, which from the start points to a constant cache without slots and without room, so that
// "not yet initialised", "empty" and "full" are one test each.
#ifndef SV_CACHE_H
#define SV_CACHE_H

#include "core.h"
#include "pagemap.h"
#include "sizeclass.h"

extern __thread struct sv_cache *sv_cache_self __attribute__((tls_model("initial-exec")));

// Called in a thread that has just made its cache (preload arms the thread's destructor), or NULL.
extern void (*sv_cache_on_make)(void);

// The calling thread's cache, made and registered on first use. NULL: memory is short, or the
// thread's destructors have run (it allocates without a cache then). No lock held.
struct sv_cache *sv_cache_get(void);

// Fills the bin's empty stack with at least one slot; false when memory is short. May run a cycle.
bool sv_cache_fill(struct sv_cache *cache, struct sv_bin *bin);

// Under `sample`: a slot that isn't to be recorded; if the class has an out bin (cache.c) and it
// was empty, more of them are then in it. NULL: memory is short, or *due: this allocation is to be
// recorded.
void *sv_cache_sample(struct sv_cache *cache, unsigned class, bool *due);

// Makes room in a full bin; NULL, or a slot that was freed twice.
void *sv_cache_flush(struct sv_bin *bin);

// Gives all slots back. The owner calls it, or anyone when the owner is gone for good.
void sv_cache_drain(struct sv_cache *cache);

// The calling thread is ending: its cache is drained and given up; what it still allocates and
// frees goes straight to the central lists.
void sv_cache_retire(void);

// Is this slot in some thread's cache (so that a free of it is the second)? Slow.
bool sv_cache_holds(const void *slot);

// All caches, linked by next; world's list lock held or world stopped.
struct sv_cache *sv_cache_all(void);

// In a forked child, the other threads' caches have no owner: gives them up without draining. Their
// slots are found unreachable by the next cycle.
void sv_cache_fork_child(void);

// From now on every free comes the slow way, where lost objects that the program frees after all
// are noticed (sv_profile_freed): before the first word gets state bits. World stopped, all locks
// held. (A thread that stands in the fast path of free holds the object in a register: that isn't
// lost.)
void sv_cache_watch(void);

// Caches whose owners vanished without a destructor; world's lock held.
void sv_cache_disown(struct sv_cache *cache);

static inline struct sv_bin *sv_cache_bin(struct sv_cache *cache, unsigned code)
{
    return &cache->bins[code];
}

// Takes the top slot of a bin that isn't empty. The slot is in a register before it leaves the
// stack: a thread that was stopped between the two would hold it nowhere, and lose it to the sweep.
static inline void *sv_bin_take(struct sv_bin *bin)
{
    void **top = bin->top;
    void *slot = *(void *volatile *)(top - 1);
    atomic_signal_fence(memory_order_seq_cst);
    bin->top = top - 1;
    return slot;
}

static inline void *sv_bin_pop(struct sv_bin *bin)
{
    void **top = bin->top;
    if (sv_unlikely(top == bin->base))
        return NULL;
    void **slot = sv_bin_take(bin);
    slot[1] = NULL; // the key of a freed slot goes before the program sees it
    return slot;
}

// An object of at most SV_SMALL_MAX bytes, or NULL: take the slow way.
static inline void *sv_cache_alloc(size_t size)
{
    struct sv_cache *cache = sv_cache_self;
    if (sv_unlikely(size >= 1024))
        return NULL;
    return sv_bin_pop((struct sv_bin *)((char *)cache + cache->lut[size >> 4]));
}

// Puts an object that starts at p into the cache; false: take the slow way (nothing was done).
static inline bool sv_cache_free(void *p)
{
    struct sv_cache *cache = sv_cache_self;
    uint64_t page = sv_page_of((uintptr_t)p);
    if (sv_unlikely(page >= sv_heap.npages))
        return false;
    uint32_t e = sv_heap.pagemap[page];
    struct sv_bin *bin = (struct sv_bin *)((char *)cache + (e & SV_PAGEMAP_BIN_MASK));
    // the entry's high bits over the address's low ones: the offset into the span
    uint32_t offset = ((e ^ (uint32_t)(uintptr_t)p) & SV_PAGEMAP_CODE_MASK) ^ e;
    if (sv_unlikely(!sv_slot_starts(offset, bin->inv, e, bin->nslots)))
        return false; // interior, in a tail, large, or no object at all
    uintptr_t key = cache->key;
    if (sv_unlikely(((uintptr_t *)p)[1] == key))
        return false; // freed before, or data that looks like it
    void **top = bin->top;
    if (sv_unlikely(top == bin->end))
        return false;
    *top = p;
    atomic_signal_fence(memory_order_seq_cst); // the stack never counts a slot that isn't there yet
    bin->top = top + 1;
    ((uintptr_t *)p)[1] = key;
    return true;
}

#endif
