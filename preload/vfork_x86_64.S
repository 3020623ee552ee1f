// vfork on x86-64: the system call between two calls of distrust.c. The child returns first and
// uses the stack on which the parent returns later, so the return address waits in a register that
// the kernel keeps for the parent; the real function could not be called with one of ours below it.
    .text
    .globl vfork
    .globl __vfork
    .type vfork, @function
    .type __vfork, @function
    .p2align 4
vfork:
__vfork:
    .cfi_startproc
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    call sv_distrust_vfork_begin
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %rdi
    .cfi_adjust_cfa_offset -8
    .cfi_register %rip, %rdi
    movl $58, %eax // SYS_vfork
    syscall
    pushq %rdi
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rip, 0
    testl %eax, %eax
    je .Lchild
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    movl %eax, %edi
    call sv_distrust_vfork_end
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
.Lchild:
    ret
    .cfi_endproc
    .size vfork, . - vfork
    .size __vfork, . - __vfork

    .hidden sv_distrust_vfork_begin
    .hidden sv_distrust_vfork_end
    .section .note.GNU-stack, "", @progbits
