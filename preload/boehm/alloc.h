// What alloc.c does for its neighbours: the filter of objects that some table knows.
#ifndef SV_ALLOC_H
#define SV_ALLOC_H

#include "boehm.h"

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

// Where leaks are looked for (mode=leaks) nothing is collected, so what a program leaves to this
// collector is a root there, and nothing that it leads to is lost. False: it is such; true: leaks
// are not looked for, or the program asked for those among these objects.
bool sv_object_leaks(void);

// An atomic object that is zero.
void *sv_atomic_zeroed(size_t size);

#endif
