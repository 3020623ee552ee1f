// A pointer that lives only in a vector register of another thread, which was interrupted in the
// middle of a copy, say, keeps its object: XMM, the upper halves of YMM and ZMM, mask registers,
// MMX. (Vector registers of the collecting thread's own callers can't hold anything: they are
// caller-saved.)
//
// SALVAGE: mode=collect
// SALVAGE: clobber=1,checkmark=1

#include "lib/witness.h"

int spin_ready __attribute__((visibility("hidden")));
int spin_stop __attribute__((visibility("hidden")));
uintptr_t spin_inverted __attribute__((visibility("hidden")));

static void (*spin_fn)(void);

static void *spin_thread(void *arg)
{
    spin_fn();
    return arg;
}

static void spin_start(void (*fn)(void))
{
    spin_fn = fn;
    spin_inverted = witness.inverted;
    WITNESS_NEED(pthread_create(&parked_thread, NULL, spin_thread, NULL) == 0, "pthread_create");
    while (!__atomic_load_n(&spin_ready, __ATOMIC_SEQ_CST))
        sched_yield();
}

static void spin_drop(void)
{
    __atomic_store_n(&spin_stop, 1, __ATOMIC_SEQ_CST);
    pthread_join(parked_thread, NULL);
}

#define SPIN_LOOP                                                                                  \
    "xor %eax, %eax\n\t"                                                                           \
    "movl $1, spin_ready(%rip)\n"                                                                  \
    "1:\tpause\n\t"                                                                                \
    "cmpl $0, spin_stop(%rip)\n\t"                                                                 \
    "je 1b\n\t"

// The address goes to byte `lane` of the register by way of a block on the stack, which is then
// zeroed.
#define VECTOR(name, load, clear, lane, need)                                                      \
    void vector_##name(void);                                                                      \
    __asm__(".text\nvector_" #name ":\n\t"                                                         \
            "sub $136, %rsp\n\t"                                                                   \
            ".irp at,0,8,16,24,32,40,48,56\n\t"                                                    \
            "movq $0, \\at(%rsp)\n\t"                                                              \
            ".endr\n\t"                                                                            \
            "mov spin_inverted(%rip), %rax\n\t"                                                    \
            "not %rax\n\t"                                                                         \
            "mov %rax, " #lane "(%rsp)\n\t" load "\n\t"                                            \
            "movq $0, " #lane "(%rsp)\n\t" SPIN_LOOP clear "\n\t"                                  \
            "add $136, %rsp\n\t"                                                                   \
            "ret\n");                                                                              \
    static void vector_##name##_hold(void)                                                         \
    {                                                                                              \
        if (!__builtin_cpu_supports(need))                                                         \
            witness_skip(need);                                                                    \
        spin_start(vector_##name);                                                                 \
    }

#define XMM(n)                                                                                     \
    VECTOR(xmm##n##_0, "movdqu (%rsp), %xmm" #n, "pxor %xmm" #n ", %xmm" #n, 0, "sse2")            \
    VECTOR(xmm##n##_1, "movdqu (%rsp), %xmm" #n, "pxor %xmm" #n ", %xmm" #n, 8, "sse2")
#define YMM(n)                                                                                     \
    VECTOR(ymm##n##_2, "vmovdqu (%rsp), %ymm" #n, "vzeroall", 16, "avx")                           \
    VECTOR(ymm##n##_3, "vmovdqu (%rsp), %ymm" #n, "vzeroall", 24, "avx")
#define ZMM(n)                                                                                     \
    VECTOR(zmm##n##_4, "vmovdqu64 (%rsp), %zmm" #n, "vzeroall", 32, "avx512f")                     \
    VECTOR(zmm##n##_7, "vmovdqu64 (%rsp), %zmm" #n, "vzeroall", 56, "avx512f")
#define ZMM_HIGH(n)                                                                                \
    VECTOR(zmm##n##_0, "vmovdqu64 (%rsp), %zmm" #n, "vpxorq %zmm" #n ", %zmm" #n ", %zmm" #n, 0,   \
           "avx512f")                                                                              \
    VECTOR(zmm##n##_7, "vmovdqu64 (%rsp), %zmm" #n, "vpxorq %zmm" #n ", %zmm" #n ", %zmm" #n, 56,  \
           "avx512f")
#define LOW(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11) f(12) f(13) f(14) f(15)

LOW(XMM)
LOW(YMM)
LOW(ZMM)
ZMM_HIGH(16)
ZMM_HIGH(17)
ZMM_HIGH(23)
ZMM_HIGH(30)
ZMM_HIGH(31)
VECTOR(mm3, "movq (%rsp), %mm3", "emms", 0, "mmx")
VECTOR(k5, "kmovq (%rsp), %k5", "kxorq %k5, %k5, %k5", 0, "avx512bw")

#define PLACE(name) {#name, vector_##name##_hold, spin_drop, 0},
#define XMM_PLACE(n) PLACE(xmm##n##_0) PLACE(xmm##n##_1)
#define YMM_PLACE(n) PLACE(ymm##n##_2) PLACE(ymm##n##_3)
#define ZMM_PLACE(n) PLACE(zmm##n##_4) PLACE(zmm##n##_7)
#define ZMM_HIGH_PLACE(n) PLACE(zmm##n##_0) PLACE(zmm##n##_7)

static const struct place places[] = {
    LOW(XMM_PLACE) LOW(YMM_PLACE) LOW(ZMM_PLACE) ZMM_HIGH_PLACE(16) ZMM_HIGH_PLACE(17)
        ZMM_HIGH_PLACE(23) ZMM_HIGH_PLACE(30) ZMM_HIGH_PLACE(31) PLACE(mm3) PLACE(k5)};

int main(int argc, char **argv)
{
    return place_main(argc, argv, places, sizeof places / sizeof places[0], 20);
}
