// The stack of whoever called malloc, as a number of the depot.
#ifndef SV_UNWIND_H
#define SV_UNWIND_H

#include <stdint.h>

// The number of the calling thread's stack, from a function's caller outwards: `frame` is that
// function's __builtin_frame_address(0), `name` the address of the function that the program
// called, which becomes the innermost frame. 0: unknown. Any thread, also in signal handlers;
// leaves errno alone.
uint32_t sv_unwind_stack(const void *frame, uintptr_t name);
#define SV_UNWIND(function) sv_unwind_stack(__builtin_frame_address(0), (uintptr_t)(function))

// A library is about to be unmapped, or was: what was learnt of its code is forgotten.
void sv_unwind_forget(void);

// The calling thread allocates no more.
void sv_unwind_thread_end(void);

#endif
