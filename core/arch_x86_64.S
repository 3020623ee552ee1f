// The return from our signal handler. The kernel wants it from the program on x86-64; the encoding
// of the first instruction is the one by which unwinders and debuggers recognise a signal frame.
    .text
    .globl  sv_arch_restorer
    .hidden sv_arch_restorer
    .type   sv_arch_restorer, @function
    nop // unwinders look one byte before a return address
sv_arch_restorer:
    .byte   0x48, 0xc7, 0xc0, 0x0f, 0x00, 0x00, 0x00 // mov $15, %rax: rt_sigreturn
    syscall
    .size   sv_arch_restorer, . - sv_arch_restorer
    .section .note.GNU-stack, "", @progbits
