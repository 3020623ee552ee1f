// The heap: every request of the program that its thread's cache can't answer by itself.
//
// Called on any thread with no lock of ours held, never from the stop handler. Functions return
// NULL when memory is short, after one emergency collection; setting errno is the caller's
// business.
#ifndef SV_HEAP_H
#define SV_HEAP_H

#include "core.h"

extern struct sv_heap sv_heap;

// Reserves the region and its tables and makes the heap usable. Once; idempotent and safe against
// concurrent first calls. False: no address space; every allocation then fails.
bool sv_heap_init(void);

void *sv_heap_alloc(size_t size); // contents undefined
void *sv_heap_alloc_zeroed(size_t size);
void *sv_heap_alloc_noscan(size_t size); // the collector won't look for pointers in it
void *sv_heap_alloc_aligned(size_t align, size_t size); // align: any power of two

// Zeroed; the client traces it by the descriptor, which is the last word of its slot.
void *sv_heap_alloc_traced(size_t size, uint64_t descriptor);

// Under `sample` (profile.h): as the first three, and whether the object is to be recorded; a small
// one that is has a span of its own. `zeroed` and `noscan` not both.
void *sv_heap_alloc_sampled(size_t size, bool zeroed, bool noscan, bool *due);

enum sv_verdict { // what a pointer that the program handed back turned out to be
    SV_OURS,      // the start of an object in use
    SV_FOREIGN,   // not in the region: nothing was done
    SV_FREED,     // a slot or page of ours that isn't in use: a second free
    SV_INTERIOR   // inside of an object in use, or of a span's unused tail
};

enum sv_verdict sv_heap_free(void *p); // p != NULL; nothing is done unless the answer is SV_OURS

// The bytes that the program may use of the object at p: a slot less the byte that is reserved for
// a pointer just past the object. *verdict says what p is; 0 unless SV_OURS.
size_t sv_heap_usable(const void *p, enum sv_verdict *verdict);

// Resizes in place, by moving pages, or by copying. size > 0. NULL: memory is short, or *verdict
// isn't SV_OURS; p is then untouched.
void *sv_heap_realloc(void *p, size_t size, enum sv_verdict *verdict);

// Pages for a span, or SV_NOPAGE. `align` in pages, a power of two. May grow the heap; no trigger
// is looked at. The heap's lock is held.
uint32_t sv_heap_pages_take(uint32_t n, uint32_t align, bool *clean);

// What a client wants of the heap's size, in pages of spans: more than sv_heap_limit are not to be
// had (UINT64_MAX: as many as there are; anyone writes it), and past sv_heap_told it is told (heap
// lock; UINT64_MAX: never).
extern _Atomic uint64_t sv_heap_limit;
extern uint64_t sv_heap_told;

// Pages of a span come back; the heap's lock is held. Whoever has dropped all locks afterwards
// calls sv_scavenge_poll.
void sv_heap_pages_give(uint32_t page, uint32_t n, bool clean);

// Are objects being marked, so that the page map may only grow (enum sv_phase)? Exact while the
// heap's lock or any central's is held; else a guess.
static inline bool sv_heap_marking(void)
{
    return atomic_load_explicit(&sv_heap.phase, memory_order_relaxed) != SV_PHASE_OFF;
}

// Memory of the heap, in bytes, as of about now: what spans take, objects or not; what is free and
// still costs memory; both; and what ever went back to the kernel. Large objects' untouched pages
// count as if they were backed.
uint64_t sv_heap_inuse(void);
uint64_t sv_heap_free_unreleased(void);
uint64_t sv_heap_mapped_unreleased(void);
uint64_t sv_heap_released(void);

// fork and stops: every lock of the heap, in order.
void sv_heap_lock_all(void);
void sv_heap_unlock_all(void);

// In a forked child of which no handler took them: free, but those that the caller is inside of.
void sv_heap_lock_reset(void);
bool sv_heap_locked_here(void); // any of them, by the calling thread

#endif
