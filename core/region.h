// The region: the one stretch of address space that all objects lie in, and the tables indexed by
// its pages. Reserved once, backed step by step as the heap grows.
#ifndef SV_REGION_H
#define SV_REGION_H

#include "core.h"

// Reserves region and tables and fills in sv_heap's constants; false when there is no address
// space.
bool sv_region_reserve(void);

// Makes pages before `pages` (rounded up to a step) usable; heap lock held. False: no memory.
bool sv_region_grow(uint32_t pages);

// Calls fn for the address ranges of the heap and of the tables: never roots.
void sv_region_each(void (*fn)(void *arg, uintptr_t lo, uintptr_t hi), void *arg);

#endif
