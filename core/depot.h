// Unique allocation stacks, each with a number that never changes.
//
// A frame is a return address, innermost first: what is shown of it is the call before it. One with
// SV_DEPOT_EXACT is an address that a signal interrupted, and is shown as it stands.
#ifndef SV_DEPOT_H
#define SV_DEPOT_H

#include <stdint.h>

#define SV_DEPOT_EXACT ((uintptr_t)1 << 63)
#define SV_DEPOT_DEPTH 256u              // frames of a stack, at most
#define SV_DEPOT_MAX ((uint32_t)1 << 24) // stacks, at most: numbers fit 24 bits

// The number of the stack with these frames, from 1 on, made on first sight. 0: memory is short,
// there are SV_DEPOT_MAX, or the calling thread is inside metadata's lock (a signal handler that
// interrupted it). Any thread; takes that lock to make one.
uint32_t sv_depot_put(const uintptr_t *frames, unsigned n);

// How many frames the stack has, which are copied. 0: there is no such stack. Takes no lock.
unsigned sv_depot_get(uint32_t stack, uintptr_t frames[SV_DEPOT_DEPTH]);

// The numbers given out are among 1 to this.
uint32_t sv_depot_count(void);

#endif
