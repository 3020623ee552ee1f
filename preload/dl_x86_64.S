// dlopen on x86-64: clears RTLD_DEEPBIND and jumps, so that the real function sees our caller's
// return address as its own. dl.c says why. The arguments are in rdi and esi.
#define DEEPBIND 8 /* RTLD_DEEPBIND of <dlfcn.h> */

    .text
    .globl dlopen
    .type dlopen, @function
    .p2align 4
dlopen:
    .cfi_startproc
    andl $~DEEPBIND, %esi
    movq sv_dl_real(%rip), %rax
    testq %rax, %rax
    je .Lresolve
    jmp *%rax
.Lresolve:
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    pushq %rsi
    .cfi_adjust_cfa_offset 8
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call sv_dl_resolve
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %rsi
    .cfi_adjust_cfa_offset -8
    popq %rdi
    .cfi_adjust_cfa_offset -8
    jmp *%rax
    .cfi_endproc
    .size dlopen, . - dlopen

    .hidden sv_dl_real
    .hidden sv_dl_resolve
    .section .note.GNU-stack, "", @progbits
