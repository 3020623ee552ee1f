// What finalizers, links, toggle refs and disclaim procedures do for each other; the rest of the
// face knows boehm.h only.
#ifndef SV_FINAL_H
#define SV_FINAL_H

#include "boehm.h"
#include "gc/gc_mark.h"
#include "registry.h"

// Held: this word was registered, and is a root until the next cycle's hold looks at the tables.
void sv_final_keep(uintptr_t word);

// In settle: marks what these objects point to, not the objects; pointers of an object into itself
// are left out where `ignore_self` says so. To be drained afterwards; false: there is nothing.
bool sv_contents_mark(struct sv_marker *m, const struct sv_mark_place *at, bool ignore_self);

// All that is queued is marked.
void sv_final_drain(struct sv_marker *m);

// Marks words of b of entries, if they are addresses of the heap.
void sv_words_hold(struct sv_marker *m, const struct sv_registry *r);

// Held: the object [lo, hi) is freed by the program.
void sv_link_forget(uintptr_t lo, uintptr_t hi);
void sv_toggle_forget(uintptr_t start);
void sv_disclaim_forget(uintptr_t start);
void sv_closure_forget(uintptr_t start);

// In the descriptor of an object of GC_finalized_malloc, the rest of which is the closure's
// address.
#define SV_CLOSURE ((uint64_t)1 << 63)

static inline bool sv_closure_is(uint64_t descriptor)
{
    return (descriptor & (SV_CLOSURE | GC_DS_TAGS)) == (SV_CLOSURE | GC_DS_LENGTH);
}

extern _Atomic bool sv_closure_queued; // held to write: closures wait to be called

void sv_link_trim(void); // held, at a safe point: memory goes back after there were many
void sv_link_count(size_t *short_links, size_t *long_links); // held

#endif
