// The graph among lost objects: which of them only other lost ones point to.
//
// Belongs to one thread, the cycle lock held, so that no cycle changes whose turn it is. Memory
// comes from metadata: 8 bytes an object and 4 a page of the heap.
#ifndef SV_LOST_H
#define SV_LOST_H

#include "core.h"

struct sv_lost {
    uint64_t *v;     // the objects, ascending: see lost.c
    size_t n;        // of them
    size_t cap;      // of v
    uint32_t *first; // for each page of a span that has one: its first in v, and 1; 0: none
    size_t npages;   // of first
    bool failed;     // memory was short: nothing here means anything
};

// For a heap that has so many pages. Zeroed or freed before.
void sv_lost_begin(struct sv_lost *lost, size_t npages);

// An object at `start` in this span. In ascending order, the span's code's lock held (the heap's
// for large ones).
void sv_lost_add(struct sv_lost *lost, struct sv_span *span, uintptr_t start);

// Finds out who is direct: an object that no other one leads to, and of each cycle to which nothing
// else leads one. Reads the objects' words while the program runs. False: memory was short.
bool sv_lost_classify(struct sv_lost *lost);

uintptr_t sv_lost_start(const struct sv_lost *lost, size_t i);
bool sv_lost_indirect(const struct sv_lost *lost, size_t i);

// Which object holds this address; SIZE_MAX: none of them.
size_t sv_lost_find(const struct sv_lost *lost, uintptr_t word);

// The word (profile.h) and the slot's size of the object in use that starts there. False: there is
// none, or it isn't recorded. No lock of the heap held.
bool sv_lost_word(uintptr_t start, uint64_t *word, size_t *size);

void sv_lost_end(struct sv_lost *lost);

#endif
