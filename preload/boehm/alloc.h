// What alloc.c does for its neighbours: the filter of objects that some table knows.
#ifndef SV_ALLOC_H
#define SV_ALLOC_H

#include <string.h>

#include "boehm.h"
#include "cache.h"
#include "sizeclass.h"

#define SV_OBJECT_FILTER 1024u // words of 64 bits; a bit stands for the objects of one hash

extern _Atomic uint64_t sv_object_filter[SV_OBJECT_FILTER]; // anyone; bits are only ever set

static inline unsigned sv_object_hash(uintptr_t start)
{
    return (unsigned)((start >> 4) * 0x9e3779b97f4a7c15u >> 48);
}

// An object has an entry in a table from which GC_free must take it: called before it has.
static inline void sv_object_note(uintptr_t start)
{
    unsigned h = sv_object_hash(start);
    atomic_fetch_or_explicit(&sv_object_filter[h / 64], (uint64_t)1 << h % 64,
                             memory_order_relaxed);
}

// May it have one? Relaxed: who frees an object knows of it by whoever noted it.
static inline bool sv_object_noted(uintptr_t start)
{
    unsigned h = sv_object_hash(start);
    return atomic_load_explicit(&sv_object_filter[h / 64], memory_order_relaxed) >> h % 64 & 1;
}

// ---- what a bin can answer ----------------------------------------------------------------------

#define SV_OBJECT_QUICK 1024u // bytes that a look into a table finds the class of

// Requests below this many bytes are answered by a bin if it can: SV_OBJECT_QUICK; 0 until all is
// initialised, and where allocations are recorded. Set by sv_boehm_init.
extern size_t sv_object_quick;

// Stores of two words; volatile, or the loop would become a call of memset, which takes longer for
// the few that there are.
typedef long long sv_slot_part __attribute__((vector_size(16), may_alias));

static inline void sv_slot_zero(void *p, size_t bytes)
{
    if (sv_unlikely(bytes > 256)) {
        memset(p, 0, bytes);
        return;
    }
    volatile sv_slot_part *at = p, *end = (volatile sv_slot_part *)((char *)p + bytes);
    do
        *at++ = (sv_slot_part){0, 0};
    while (at != end);
}

// A traced object, zeroed; NULL: the slow way (sv_heap_alloc_traced).
static inline void *sv_object_traced(size_t size, uint64_t descriptor)
{
    size += sizeof descriptor;
    if (sv_unlikely(size - sizeof descriptor >= sv_object_quick || size >= SV_OBJECT_QUICK))
        return NULL;
    unsigned class = sv_class_of_16[size >> 4];
    struct sv_bin *bin = sv_cache_bin(sv_cache_self, sv_code(class, SV_TRACED));
    if (sv_unlikely(bin->top == bin->base))
        return NULL;
    char *p = sv_bin_take(bin);
    size_t bytes = sv_classes[class].size;
    sv_slot_zero(p, bytes);
    // release: who traces it by this finds what it held before gone
    __atomic_store_n((uint64_t *)(p + bytes) - 1, descriptor, __ATOMIC_RELEASE);
    return p;
}

// -------------------------------------------------------------------------------------------------

// Where leaks are looked for (mode=leaks) nothing is collected, so what a program leaves to this
// collector is a root there, and nothing that it leads to is lost. False: it is such; true: leaks
// are not looked for, or the program asked for those among these objects.
bool sv_object_leaks(void);

// An atomic object that is zero.
void *sv_atomic_zeroed(size_t size);

#endif
