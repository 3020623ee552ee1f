// Where and when objects were allocated: a word beside the span for each slot.
//
// With `mode=leaks` every allocation is recorded; with `sample=BYTES`, in any mode, one in so many
// bytes (Poisson: each byte is as likely as any other to have its object recorded). The fast paths
// of malloc and free don't know of either: the caches of threads are made so that they decline.
#ifndef SV_PROFILE_H
#define SV_PROFILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// The word of a slot. 0: not recorded. `state` belongs to leaks.c; an allocation clears it.
#define SV_PROFILE_STACK_BITS 24 // lowest: depot number
#define SV_PROFILE_SLACK_BITS 13 // then: bytes of the slot beyond the request, less 1
#define SV_PROFILE_WHEN_BITS 24  // then: tenths of a second since the start
#define SV_PROFILE_STATE_BITS 3  // highest
#define SV_PROFILE_STATE_SHIFT (64 - SV_PROFILE_STATE_BITS)
typedef _Atomic uint64_t sv_profile_word;

struct sv_profile_site {
    uint32_t stack; // depot number, 0: recorded, but the stack is unknown
    uint32_t when;  // tenths of a second since the start
    size_t bytes;   // as asked for
};

// const after init: something is recorded; every allocation is (mode=leaks without sample), or one
// in so many bytes (sample=).
extern bool sv_profile_on;
extern bool sv_profile_all;
extern bool sv_profile_sampling;

// An object whose word had state bits was freed or reallocated, by the calling thread; `word` is
// what stood there, and stands there now without those bits. Called before the object goes, no lock
// held. NULL: nobody wants to know. Who sets state bits calls sv_cache_watch before the first time.
extern void (*sv_profile_freed)(void *object, uint64_t word);

// Reads the options. At start, before the first allocation.
void sv_profile_init(void);

// The word of an object that starts at p (a slot of a span in use), or NULL: not recorded. Stays
// where it is as long as the span is one. Any thread.
sv_profile_word *sv_profile_word_of(const void *p);

// Tenths of a second since the start, from 1 on, as in words.
uint32_t sv_profile_now(void);

// Takes a word apart; slot_bytes is the slot's size. false: not recorded.
bool sv_profile_read(uint64_t word, size_t slot_bytes, struct sv_profile_site *out);

// Writes the word of a new object of `bytes`, at its start p, which the calling thread alone knows
// yet. No lock held.
void sv_profile_record(void *p, size_t bytes, uint32_t stack);

// Under `sample`, an object that is resized where it is: keeps its stack and its time, if it has
// any.
void sv_profile_resize(void *p, size_t bytes);

// Can the slack of a request in such a slot be told?
static inline bool sv_profile_fits(size_t slot_bytes, size_t bytes)
{
    return slot_bytes - bytes <= (size_t)1 << SV_PROFILE_SLACK_BITS;
}

// Under `sample`: is this allocation, a large one, to be recorded?
bool sv_profile_due(size_t bytes);

// Under `sample`: how many slots of so many bytes go by until one is to be recorded.
uint32_t sv_profile_gap(size_t slot_bytes);

// The object at p, one of the program's, is about to be freed or reallocated.
void sv_profile_leave(void *p);

// An object of a span's is gone and nobody will overwrite its word; or all of a span's are. The
// heap's lock, or that of the span's list, is held, metadata's isn't.
void sv_profile_forget(const void *p);
void sv_profile_drop(uint32_t page);

#endif
