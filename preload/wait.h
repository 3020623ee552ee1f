// How a wrapper makes a call that may wait in the kernel: behind the thread's gate (gate.h).
#ifndef SV_WAIT_H
#define SV_WAIT_H

#include "gate.h"
#include "real.h"

// sv_gated(name, (arguments), pointers...): the value of the real function's call. The pointers are
// those among the arguments, at least one (NULL, where there is none): during the call nobody but
// the C library may hold them, so they stand in an array here, which the compiler has to believe to
// be read. The real function is looked up outside of the gate, because that takes locks.
#define sv_gated(name, arguments, ...)                                                             \
    ({                                                                                             \
        __typeof__(&name) real_ = sv_real(name);                                                   \
        const volatile void *held_[] = {__VA_ARGS__};                                              \
        struct sv_gate_frame frame_;                                                               \
        __asm__ volatile("" ::"r"(held_) : "memory");                                              \
        sv_gate_enter(&frame_);                                                                    \
        __typeof__(real_ arguments) result_ = real_ arguments;                                     \
        sv_gate_leave(&frame_);                                                                    \
        __asm__ volatile("" ::"r"(held_) : "memory");                                              \
        result_;                                                                                   \
    })

#endif
