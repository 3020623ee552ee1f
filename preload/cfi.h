// Call frame information: how to get from a function's frame to its caller's, as the compiler wrote
// it down in .eh_frame. The tables of loaded objects are read where they lie; nothing is allocated,
// locked or remembered, so everything here may be called anywhere, signal handlers included.
#ifndef SV_CFI_H
#define SV_CFI_H

#include <stdbool.h>
#include <stdint.h>

enum sv_cfi_kind {
    SV_CFI_NONE,   // nothing is known: code that was made at run time, or assembly
    SV_CFI_SP,     // the frame's end is `offset` bytes above the stack pointer
    SV_CFI_BP,     // the same of rbp
    SV_CFI_EXPR,   // the frame's end is the value of the expression
    SV_CFI_SIGNAL, // a signal handler's caller: the stack pointer is at a ucontext
    SV_CFI_END,    // the outermost frame
    SV_CFI_COMPLEX // something that compilers don't emit
};

// The rule of a place in the code. The return address stands 8 bytes below the frame's end.
struct sv_cfi_rule {
    enum sv_cfi_kind kind;
    int32_t offset;      // SP, BP
    int32_t bp;          // where the caller's rbp stands, from the frame's end; 0: still in rbp
    const uint8_t *expr; // EXPR: DWARF, and its end
    const uint8_t *expr_end;
    const uint8_t *bp_expr; // not NULL: an expression tells where the caller's rbp stands
    const uint8_t *bp_expr_end;
};

// The rule that holds at this address of code.
struct sv_cfi_rule sv_cfi_find(uintptr_t pc);

struct sv_cfi_machine { // what expressions may ask for
    uintptr_t sp, bp, pc;
    bool (*load)(void *arg, uintptr_t at, uintptr_t *out); // false: can't be read
    void *arg;
};

// The value of an expression with `first` on its stack; false: it can't be had.
bool sv_cfi_evaluate(const uint8_t *p, const uint8_t *end, uintptr_t first,
                     const struct sv_cfi_machine *machine, uintptr_t *out);

#endif
