// Checkmark: a second, plain mark after the real one, world still stopped. An object that it
// reaches and the real one didn't is a crash that names both.
#ifndef SV_CHECKMARK_H
#define SV_CHECKMARK_H

#include "core.h"
#include "work.h"

struct sv_checkmark {
    struct sv_work work; // objects to scan
    uint8_t *bits;       // one for every 16 bytes of the grown heap
    size_t bytes;        // of bits
    uintptr_t parent;    // where the words being looked at lie
};

// Same conditions as marking. False: no memory for the bits; nothing is checked.
bool sv_checkmark_begin(struct sv_checkmark *c);
void sv_checkmark_range(struct sv_checkmark *c, uintptr_t lo, uintptr_t hi, bool code);
void sv_checkmark_end(struct sv_checkmark *c); // drains, then frees

#endif
