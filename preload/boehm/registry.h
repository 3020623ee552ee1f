// Tables of what the program registered for addresses: finalizers, links, toggle refs, objects with
// a procedure. An entry is named by a number and never moves while it is in use, so that it can
// stand on a list of its owner's, and be its own place in a queue: in a stop nothing is allocated.
//
// All of it is held (client.h). Entries are metadata and never scanned; addresses are stored
// inverted all the same.
#ifndef SV_REGISTRY_H
#define SV_REGISTRY_H

#include "core.h"
#include "heap.h"
#include "pagemap.h"
#include "span.h"

#define SV_ENTRY_OFF 8u // in a tag: left out by sv_registry_walk; the other bits are the owner's

struct sv_entry {
    uintptr_t key;      // held: ~address; 0: free
    uintptr_t a;        // held, the owner's: ~something that may be an object
    uintptr_t b;        // held, the owner's
    uint32_t next : 28; // held: the next of its bucket, or free one
    uint32_t tag : 4;   // held: see above
    uint32_t list;      // held, the owner's: the next of the list that it stands on
};

#define SV_REGISTRY_SHIFT 12 // entries of a chunk: two to the power of it

struct sv_registry {
    struct sv_entry **chunks; // held: metadata
    uint32_t *buckets;        // held: metadata
    uint32_t nchunks;         // held: chunks there are
    uint32_t room;            // held: places in `chunks`
    uint32_t mask;            // held: buckets - 1
    uint32_t high;            // held: numbers of entries in use lie below; 0 is never in use
    uint32_t free;            // held: entries below `high` that are free
    uint32_t used;            // held: entries in use
    uint32_t hashed;          // held: those of them that an address finds
    uint32_t walked;          // held: hashed at the last walk
    uint32_t unlinked;        // held: since then, those that no address finds any more
    uint32_t gone;            // held: the same of walks before, halved at each
    uint32_t uncharged;       // held: registrations that weren't charged for yet
};

struct sv_registry_list {
    uint32_t first, last; // held: numbers of entries, by their `list`; 0: none
};

static inline struct sv_entry *sv_registry_entry(const struct sv_registry *r, uint32_t id)
{
    return &r->chunks[id >> SV_REGISTRY_SHIFT][id & ((1u << SV_REGISTRY_SHIFT) - 1)];
}

uint32_t sv_registry_find(const struct sv_registry *r, uintptr_t address);       // 0: none
uint32_t sv_registry_add(struct sv_registry *r, uintptr_t address, bool *fresh); // 0: no memory
void sv_registry_unlink(struct sv_registry *r, uint32_t id);  // no address finds it any more
void sv_registry_release(struct sv_registry *r, uint32_t id); // it is free; was unlinked
void sv_registry_remove(struct sv_registry *r, uint32_t id);  // both
// Gives memory back after there was a lot; numbers change, so no entry may stand on a list. Not in
// a stop.
void sv_registry_trim(struct sv_registry *r);

void sv_registry_append(struct sv_registry *r, struct sv_registry_list *list, uint32_t id);
uint32_t sv_registry_take(struct sv_registry *r, struct sv_registry_list *list); // 0: empty

// In a stop, everything marked: calls fn for the entries of which the key, or what ~a is, is an
// object that isn't marked. fn may remove the entry it is called with.
typedef void sv_registry_fn(struct sv_registry *r, uint32_t id, bool key_marked, bool a_marked);
void sv_registry_walk(struct sv_registry *r, sv_registry_fn *fn);

// ---- is an object marked? -----------------------------------------------------------------------

struct sv_probe {
    const struct sv_bits *bits; // of the object's
    uint64_t bit;               // its bit
};

extern const struct sv_bits sv_probe_never, sv_probe_always;

// What isn't of the heap counts as marked, what of the heap isn't an object as not marked. The line
// that sv_probe_marked reads is prefetched. In a stop only.
static inline struct sv_probe sv_probe_make(uintptr_t address)
{
    uint64_t page = sv_page_of(address);
    if (page >= sv_heap.npages)
        return (struct sv_probe){&sv_probe_always, 1};
    if (page >= sv_heap.grown)
        return (struct sv_probe){&sv_probe_never, 1};
    sv_pagemap_entry e = sv_pagemap_get(page);
    uint32_t first = sv_pagemap_first((uint32_t)page, e);
    unsigned class = sv_code_class(sv_pagemap_code(e));
    const struct sv_class *c = &sv_classes[class];
    unsigned i = sv_slot_of((uint32_t)(address - sv_page_addr(first)), c->magic);
    if (i >= c->nslots) // of no class, too
        return (struct sv_probe){&sv_probe_never, 1};
    const struct sv_bits *bits =
        class <= SV_DENSE_CLASS_MAX ? sv_heap.dense[first].bits : sv_heap.spans[first].bits;
    __builtin_prefetch(&bits[i / 64]);
    return (struct sv_probe){&bits[i / 64], (uint64_t)1 << (i & 63)};
}

static inline bool sv_probe_marked(struct sv_probe p)
{
    uint64_t alloc = atomic_load_explicit(&p.bits->alloc, memory_order_relaxed);
    return (alloc & atomic_load_explicit(&p.bits->mark, memory_order_relaxed) & p.bit) != 0;
}

static inline bool sv_registry_marked(uintptr_t address)
{
    return sv_probe_marked(sv_probe_make(address));
}

static inline bool sv_registry_in_heap(uintptr_t address)
{
    return address - sv_heap.base < sv_heap.size;
}

// ---- what GC_free has to look up ----------------------------------------------------------------

// Was anything ever registered for an address near this one? Kinds are told apart by bits. A guess
// that errs to the right side; written held, read by anyone who knows of the registration.
#define SV_NEAR_OBJECT 1u // a finalizer, a toggle ref, a procedure
#define SV_NEAR_PLACE 2u  // a link's place
#define SV_NEAR_SLOTS (1u << 16)
extern _Atomic uint8_t sv_registry_near[SV_NEAR_SLOTS]; // by page

static inline _Atomic uint8_t *sv_registry_near_at(uintptr_t address)
{
    return &sv_registry_near[(address >> SV_PAGE_SHIFT) & (SV_NEAR_SLOTS - 1)];
}

static inline void sv_registry_near_set(uintptr_t address, uint8_t bits)
{
    _Atomic uint8_t *at = sv_registry_near_at(address);
    uint8_t old = atomic_load_explicit(at, memory_order_relaxed);
    if ((old & bits) != bits)
        atomic_store_explicit(at, old | bits, memory_order_relaxed);
}

#endif
