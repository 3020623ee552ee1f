// x86-64: system calls that leave errno alone, a pause, and registers spilled where they are
// scanned.
#ifndef SV_ARCH_X86_64_H
#define SV_ARCH_X86_64_H

#include <cpuid.h>
#include <elf.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>

#define SV_ARCH_RED_ZONE 128 // bytes below the stack pointer that a leaf function may use (psABI)

// Returns the result or -errno.
static inline long sv_arch_syscall(long n, long a, long b, long c, long d, long e, long f)
{
    long r;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(r)
                     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return r;
}

// The kernel's own form of sigaction: libc's is one of the names that the preload layer wraps.
struct sv_arch_sigaction {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    uint64_t mask;
};

void sv_arch_restorer(void); // arch_x86_64.S

#define SV_ARCH_SA_RESTORER 0x04000000

static inline int sv_arch_signal_set(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
    // everything is blocked meanwhile: the program's handlers don't run on top of a stopped thread
    struct sv_arch_sigaction sa = {handler, (unsigned long)flags | SV_ARCH_SA_RESTORER,
                                   sv_arch_restorer, ~(uint64_t)0};
    return (int)sv_arch_syscall(SYS_rt_sigaction, sig, (long)&sa, 0, sizeof sa.mask, 0, 0);
}

static inline void sv_arch_pause(void)
{
    __builtin_ia32_pause();
}

// The registers a callee must preserve: the only ones in which a caller's pointer can live across a
// call (every other register, the vector ones included, is the callee's to overwrite).
struct sv_arch_saved {
    uintptr_t r[6];
};

static inline void sv_arch_save(struct sv_arch_saved *s)
{
    __asm__ volatile("movq %%rbx, 0(%0)\n\tmovq %%rbp, 8(%0)\n\tmovq %%r12, 16(%0)\n\t"
                     "movq %%r13, 24(%0)\n\tmovq %%r14, 32(%0)\n\tmovq %%r15, 40(%0)"
                     :
                     : "r"(s->r)
                     : "memory");
}

// The calling function's stack pointer: nothing of its callers' lies below. (`frame`, a local of
// the caller's, serves the generic twin.)
static inline uintptr_t sv_arch_sp(const void *frame)
{
    uintptr_t sp;
    (void)frame;
    __asm__ volatile("movq %%rsp, %0" : "=r"(sp));
    return sp;
}

// Memory protection keys: opens all of them for the calling thread and returns what was set; close
// puts that back. Nothing on processors and systems without keys.
static inline bool sv_arch_keys_there(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (c & (1u << 4)); // OSPKE
}

static inline void sv_arch_keys_close(uint32_t keys)
{
    if (sv_arch_keys_there())
        __asm__ volatile(".byte 0x0f, 0x01, 0xef" ::"a"(keys), "c"(0), "d"(0) : "memory"); // wrpkru
}

static inline uint32_t sv_arch_keys_open(void)
{
    uint32_t keys = 0, high;
    if (!sv_arch_keys_there())
        return 0;
    __asm__ volatile(".byte 0x0f, 0x01, 0xee" : "=a"(keys), "=d"(high) : "c"(0)); // rdpkru
    sv_arch_keys_close(0);
    return keys;
}

// The address of the calling thread's thread block: the thread pointer, which the psABI has point
// to itself.
static inline uintptr_t sv_arch_tcb(void)
{
    uintptr_t tcb;
    __asm__("movq %%fs:0, %0" : "=r"(tcb));
    return tcb;
}

// Does `tcb` look like a thread block of glibc (its first and third word name itself)?
static inline int sv_arch_tcb_valid(uintptr_t tcb)
{
    const uintptr_t *w = (const uintptr_t *)tcb;
    return w[0] == tcb && w[2] == tcb;
}

// Is it a relocation by which an object reaches a function of another one, through a word of its
// own (psABI: the function's address, nothing added)?
static inline bool sv_arch_relocation_slot(unsigned long type)
{
    return type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT;
}

// The stack pointer that a signal interrupted.
#define sv_arch_context_sp(uc) ((uintptr_t)(uc)->uc_mcontext.gregs[REG_RSP])

#endif
