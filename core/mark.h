// Marking: from words to objects, and from objects to the words in them.
//
// Several markers may work at once, beside the running program: each belongs to one thread at a
// time and takes no lock, but for metadata's when the queue needs memory. While any is at work the
// heap's phase forbids what would pull the ground away (enum sv_phase). With the world stopped, see
// sv_work_held.
#ifndef SV_MARK_H
#define SV_MARK_H

#include "core.h"
#include "heap.h"
#include "leaks.h"
#include "scanners.h"
#include "work.h"

#define SV_MARK_CANDIDATES 64 // words whose span records are on their way from memory
#define SV_MARK_OBJECTS 64    // marked objects whose first lines are on their way
#define SV_MARK_BATCH 8       // of either that are dealt with at a time
#define SV_MARK_WORDS 256     // words filtered at a time

struct sv_mark_candidate {
    struct sv_bits *bits; // the pair of words that has the slot's bits
    uintptr_t entry;      // what is queued if the mark is new
    uint32_t bit;         // number of the slot's bit in them
};

struct sv_marker {
    struct sv_work work;          // objects to scan; `failed`: marks are incomplete for good
    const _Atomic bool *yield;    // driver, after sv_mark_begin: set by anyone, ends sv_mark_drain
    const struct sv_pages *pages; // const in a cycle: tells untouched pages of large objects apart
    sv_words_fn *filter;          // const in a cycle: the word kernels
    sv_halves_fn *filter_halves;  // likewise
    size_t single;                // const in a cycle: bytes that one call of it may look at
    uint32_t grown;               // pages that the heap had when this was looked up last
    uint64_t objects;             // marked
    uint64_t bytes;               // of marked objects
    uint64_t scanned;             // bytes looked at
    uint64_t bytes_told;          // `bytes` already in sv_heap.marked
    uint64_t scanned_told;        // `scanned` already returned by sv_mark_account
    uint64_t pause_at;            // `scanned` at which a large object is left for a look around
    uint64_t share_at;            // `scanned` at which others are thought of
    uintptr_t piece;              // where in a large object the look began
    uintptr_t rest;               // where a large object was left, 0: nowhere
    uintptr_t range_end;          // of the root range looked at last
    unsigned ncandidates;         // in use, from `candidate_at` on, around the ring
    unsigned candidate_at;
    unsigned nobjects; // likewise
    unsigned object_at;
    uintptr_t objects_ring[SV_MARK_OBJECTS];
    struct sv_mark_candidate candidates[SV_MARK_CANDIDATES];
    uintptr_t found[2 * SV_MARK_WORDS + SV_HALVES_SLACK];
};

// Where a word points, if it points into an object in use.
struct sv_mark_place {
    struct sv_span *span;
    struct sv_bits *bits; // the pair of words that has the object's bits
    uint64_t bit;         // in it
    uintptr_t start;      // of the object
};

// A slot that the program has freed, and that waits in a cache, has the key in its second word:
// what stands there is dead. In mode=leaks such words lead nowhere.
static inline bool sv_mark_freed(uintptr_t start)
{
    return sv_leaks_on && __atomic_load_n((uintptr_t *)start + 1, __ATOMIC_RELAXED) == sv_heap.key;
}

// Callable at any time and from anywhere that no span can be unmade.
bool sv_mark_find(uintptr_t word, struct sv_mark_place *place);

// A marker for a new cycle, or for another thread's turn in it. What it had must have been flushed.
void sv_mark_begin(struct sv_marker *m, const struct sv_pages *pages);

// Marks what the words of [lo, hi) point to and queues it; lo is rounded up to 8. In code, a word
// may start at any byte: pointers are operands of instructions.
void sv_mark_range(struct sv_marker *m, uintptr_t lo, uintptr_t hi, bool code);

// Marks the object that holds this address, if any, and queues it.
void sv_mark_word(struct sv_marker *m, uintptr_t word);

// The same for what sv_mark_find has found. Not `scan`: what it points to is marked, or dead.
void sv_mark_found(struct sv_marker *m, const struct sv_mark_place *at, bool scan);

// Marks these slots, of one word of the span's bits, without scanning them. All are in use.
void sv_mark_slots(struct sv_marker *m, struct sv_span *span, struct sv_bits *bits, uint64_t slots);

// Marks a slot without scanning it: it lies in a thread's cache.
void sv_mark_black(struct sv_marker *m, void *slot);

// [lo, hi), any addresses at multiples of 8, was written to: looks again at its words in every
// marked object that it overlaps, and marks and queues what they point to. Parts outside of the
// heap are left out.
void sv_mark_page(struct sv_marker *m, uintptr_t lo, uintptr_t hi);

// Scans what is queued here and in the pool until nothing is left, or `budget` bytes were looked at
// (UINT64_MAX: no bound), or *m->yield is set. Overshoots by a hundred microseconds at most. True
// when nothing was left here or in the pool; other markers may still have work. m->work.failed:
// memory was short, the marks are incomplete and the cycle must be given up.
bool sv_mark_drain(struct sv_marker *m, uint64_t budget);

// Everything that this marker has queued becomes work for all, and its share of sv_heap.marked is
// paid in. It holds no memory afterwards.
void sv_mark_flush(struct sv_marker *m);

// Adds the bytes marked since the last time to sv_heap.marked (sv_mark_drain does so, too). Returns
// the bytes looked at since this function was called last.
uint64_t sv_mark_account(struct sv_marker *m);

// Undoes all marks, after a cycle that was given up. Every lock of the heap is held, or nothing
// else can mark or sweep and no span be made or unmade.
void sv_mark_clear(void);

#endif
