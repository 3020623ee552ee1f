// A second mark, world stopped, through pointers to the starts of objects only: what the real mark
// reached and this one didn't is held by an interior pointer, or only by what is.
#ifndef SV_STARTMARK_H
#define SV_STARTMARK_H

#include "core.h"
#include "work.h"

struct sv_startmark_object {
    uintptr_t start; // of the object
    uintptr_t where; // the word that holds it: the first one found
};

struct sv_startmark {
    struct sv_work work;           // objects to scan
    uint8_t *bits;                 // one for every 16 bytes of the grown heap: reached
    size_t bytes;                  // of bits
    uint64_t reached;              // objects
    bool interior;                 // any pointer counts now: what is found goes to `objects`
    struct sv_startmark_object *v; // what only interior pointers hold, in no order
    size_t n;                      // of them
    size_t cap;                    // of v
    bool failed;                   // memory was short, or a root can't be read: nothing is known
};

// Zeroed or freed before. After the real mark, marks still set, root set begun; all locks held.
// `marked`: objects that the real mark reached. Without memory it fails, and that is all.
void sv_startmark_run(struct sv_startmark *m, uint64_t marked);

// World running. Frees what it holds.
void sv_startmark_end(struct sv_startmark *m);

#endif
