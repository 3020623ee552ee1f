// What a thread behind its gate holds: the only pointer to an object stands in its stack, in a
// register that calls preserve, among the arguments of the call that it waits in, or is known to
// the kernel as its alternate stack. The object stays until the thread has come back.
//
// SALVAGE: clobber=1,checkmark=1
#include "lib/witness.h"

#include <signal.h>

static witness_noinline void *stack_thread(void *arg)
{
    void *volatile place[4] = {NULL};
    witness_put(&place[1]);
    witness_wipe();
    parked_read();
    place[1] = NULL;
    return arg;
}

// Calls read with the witness in the register, which is empty again afterwards. 136: the red zone,
// and the stack's alignment.
#define REGISTER_THREAD(reg)                                                                       \
    static witness_noinline void *reg##_thread(void *arg)                                          \
    {                                                                                              \
        char c;                                                                                    \
        ssize_t n;                                                                                 \
        witness_wipe();                                                                            \
        parked_say();                                                                              \
        __asm__ volatile("subq $136, %%rsp\n\tpushq %%" #reg "\n\tmovq %%rcx, %%" #reg             \
                         "\n\tnotq %%" #reg "\n\txorl %%ecx, %%ecx\n\tcall *%%rax\n\t"             \
                         "popq %%" #reg "\n\taddq $136, %%rsp"                                     \
                         : "=a"(n)                                                                 \
                         : "a"(read), "D"(parked_pipe[0]), "S"(&c), "d"(1), "c"(witness.inverted)  \
                         : "r8", "r9", "r10", "r11", "memory", "cc");                              \
        WITNESS_NEED(n == 0, "read on a pipe: %zd, %s", n, strerror(errno));                       \
        return arg;                                                                                \
    }

REGISTER_THREAD(rbx)
REGISTER_THREAD(rbp)
REGISTER_THREAD(r12)
REGISTER_THREAD(r13)
REGISTER_THREAD(r14)
REGISTER_THREAD(r15)

// The witness is where read is to store, and nobody but read is told. It stores nothing.
static witness_noinline void *argument_thread(void *arg)
{
    ssize_t n;
    witness_wipe();
    parked_say();
    __asm__ volatile("subq $128, %%rsp\n\tnotq %%rsi\n\tcall *%%rax\n\taddq $128, %%rsp"
                     : "=a"(n)
                     : "a"(read), "D"(parked_pipe[0]), "S"(witness.inverted), "d"(1)
                     : "rcx", "r8", "r9", "r10", "r11", "memory", "cc");
    WITNESS_NEED(n == 0, "read on a pipe: %zd, %s", n, strerror(errno));
    return arg;
}

#define ALTSTACK_SIZE 65536

static witness_noinline void altstack_set(void)
{
    stack_t ss = {.ss_size = ALTSTACK_SIZE};
    witness_put(&ss.ss_sp);
    WITNESS_NEED(sigaltstack(&ss, NULL) == 0, "sigaltstack");
    *(void *volatile *)&ss.ss_sp = NULL;
}

static witness_noinline void *altstack_thread(void *arg)
{
    stack_t off = {.ss_flags = SS_DISABLE};
    altstack_set();
    witness_wipe();
    parked_read();
    sigaltstack(&off, NULL);
    return arg;
}

#define HOLD(name)                                                                                 \
    static void name##_hold(void)                                                                  \
    {                                                                                              \
        parked_start(name##_thread, NULL);                                                         \
    }

HOLD(stack)
HOLD(rbx)
HOLD(rbp)
HOLD(r12)
HOLD(r13)
HOLD(r14)
HOLD(r15)
HOLD(argument)
HOLD(altstack)

static const struct place places[] = {
    {"stack", stack_hold, parked_end, 0},
    {"rbx", rbx_hold, parked_end, 0},
    {"rbp", rbp_hold, parked_end, 0},
    {"r12", r12_hold, parked_end, 0},
    {"r13", r13_hold, parked_end, 0},
    {"r14", r14_hold, parked_end, 0},
    {"r15", r15_hold, parked_end, 0},
    {"argument", argument_hold, parked_end, 0},
    {"altstack", altstack_hold, parked_end, ALTSTACK_SIZE},
};

int main(int argc, char **argv)
{
    return place_main(argc, argv, places, sizeof places / sizeof places[0], 25);
}
