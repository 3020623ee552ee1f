// Marking: from words to objects, and from objects to the words in them.
//
// World stopped, every lock of the heap and metadata's held by the caller.
#ifndef SV_MARK_H
#define SV_MARK_H

#include "core.h"
#include "scanners.h"
#include "work.h"

#define SV_MARK_CANDIDATES 128 // words whose span records are on their way from memory
#define SV_MARK_OBJECTS 128    // marked objects whose first lines are on their way
#define SV_MARK_WORDS 1024     // words filtered at a time

struct sv_marker {
    struct sv_work work;          // objects to scan
    sv_words_fn *filter;          // const in a cycle: the word kernel
    const struct sv_pages *pages; // const in a cycle: tells untouched pages of large objects apart
    uint64_t objects;             // marked
    uint64_t bytes;               // of marked objects
    uint64_t scanned;             // bytes looked at
    uintptr_t range_end;          // of the root range looked at last
    unsigned ncandidates;         // in use, from `candidate_at` on, around the ring
    unsigned candidate_at;
    uintptr_t candidates[SV_MARK_CANDIDATES];
    unsigned nobjects; // likewise
    unsigned object_at;
    uintptr_t ring[SV_MARK_OBJECTS];
    uintptr_t found[SV_MARK_WORDS];
};

// Where a word points, if it points into an object in use.
struct sv_mark_place {
    struct sv_span *span;
    struct sv_bits *bits; // the pair of words that has the object's bits
    uint64_t bit;         // in it
    uintptr_t start;      // of the object
};

bool sv_mark_find(uintptr_t word, struct sv_mark_place *place);

void sv_mark_begin(struct sv_marker *m, const struct sv_pages *pages);

// Marks what the words of [lo, hi) point to; lo is rounded up to 8. In code, a word may start at
// any byte: pointers are operands of instructions.
void sv_mark_range(struct sv_marker *m, uintptr_t lo, uintptr_t hi, bool code);

// Marks the object that holds this address, if any.
void sv_mark_word(struct sv_marker *m, uintptr_t word);

// Marks a slot without scanning it: it lies in a thread's cache.
void sv_mark_black(struct sv_marker *m, void *slot);

// Scans until nothing is left. False: memory for the queue was short, the marks are incomplete.
bool sv_mark_drain(struct sv_marker *m);

// Undoes all marks, after a cycle that was given up.
void sv_mark_clear(void);

#endif
