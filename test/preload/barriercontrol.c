// The barrier and unusual control: the only pointer to an object is on the stack of a coroutine or
// of a signal handler, in a jump buffer, or stored behind a write barrier of the program's own,
// while collections run (lib/trap.h).
//
// SALVAGE: barrier=uffd,checkmark=1,clobber=1
// SALVAGE: barrier=stw,clobber=1
// SALVAGE: chaos=7,clobber=1

#include "lib/trap.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

// ---- coroutines ---------------------------------------------------------------------------------

static ucontext_t routine_main, routine_context[TRAP_OBJECTS];

static witness_noinline void routine_yield(void)
{
    swapcontext(&routine_context[trap - traps], &routine_main);
}

// Takes the pointer onto its own stack, and gives it back when it is called next.
static void routine_run(void)
{
    volatile uintptr_t words[300] = {0};
    for (;;) {
        trap_store((uintptr_t *)&words[trap_number / TRAP_OBJECTS % 300]);
        routine_yield();
        trap_to_heap();
        routine_yield();
    }
}

static void routines_trap(bool heap)
{
    for (unsigned i = 0; i < TRAP_OBJECTS; i++) {
        void *stack = heap ? trap_memory(malloc(TRAP_MAP)) : trap_anon(TRAP_MAP, MAP_PRIVATE);
        getcontext(&routine_context[i]);
        routine_context[i].uc_stack.ss_sp = stack;
        routine_context[i].uc_stack.ss_size = TRAP_MAP;
        makecontext(&routine_context[i], routine_run, 0);
    }
    while (trap_on()) {
        swapcontext(&routine_main, &routine_context[trap - traps]);
        if (trap_number / TRAP_OBJECTS % 3 == 0)
            swapcontext(&routine_main, &routine_context[trap - traps]);
    }
}

TRAP(routine_on_heap)
{
    routines_trap(true);
}

TRAP(routine_on_map)
{
    routines_trap(false);
}

// ---- handlers -----------------------------------------------------------------------------------

static void handler_hold(int sig)
{
    volatile uintptr_t words[200] = {0};
    (void)sig;
    trap_store((uintptr_t *)&words[trap_number % 200]);
    witness_wipe();
    for (unsigned i = 0; i < trap_number * 7919 % 3000; i++)
        __asm__ volatile("pause");
    trap_to_heap();
}

static void handler_trap(int flags)
{
    struct sigaction act = {.sa_handler = handler_hold, .sa_flags = flags};
    sigaction(SIGUSR1, &act, NULL);
    while (trap_on())
        raise(SIGUSR1);
}

TRAP(handler)
{
    handler_trap(0);
}

TRAP(handler_on_heap)
{
    stack_t stack = {.ss_sp = trap_memory(malloc(2 * TRAP_MAP)), .ss_size = 2 * TRAP_MAP};
    WITNESS_NEED(sigaltstack(&stack, NULL) == 0, "sigaltstack");
    stack.ss_sp = NULL;
    handler_trap(SA_ONSTACK);
}

TRAP(handler_on_map)
{
    stack_t stack = {.ss_sp = trap_anon(2 * TRAP_MAP, MAP_PRIVATE), .ss_size = 2 * TRAP_MAP};
    WITNESS_NEED(sigaltstack(&stack, NULL) == 0, "sigaltstack");
    handler_trap(SA_ONSTACK);
}

// ---- jumps --------------------------------------------------------------------------------------

// Only in RBX, then in the jump buffer alone; after a while the jump brings it back.
void jump_carry(uintptr_t *from, uintptr_t *to, void *buffer, uintptr_t turns);
__asm__(".text\n"
        "jump_carry:\n\t"
        "pushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
        "movq %rdi, %r12\n\tmovq %rsi, %r13\n\tmovq %rdx, %r14\n\tmovq %rcx, %r15\n\t"
        "movq (%r12), %rbx\n\tmovq %r14, %rdi\n\tcall _setjmp@PLT\n\t"
        "testl %eax, %eax\n\tjnz 2f\n\t"
        "xorl %ebx, %ebx\n\tmovq $0, (%r12)\n"
        "1:\tpause\n\tdecq %r15\n\tjns 1b\n\t"
        "movq %r14, %rdi\n\tmovl $1, %esi\n\tcall longjmp@PLT\n"
        "2:\tmovq %rbx, (%r13)\n\tmovq $0, (%r14)\n\t"
        "popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tret\n");

TRAP(jump)
{
    while (trap_on()) {
        uintptr_t *cell = trap_cell();
        jump_carry(trap->at, cell, trap_cell() + 40, trap_number * 7919 % 3000);
        trap_moved(cell);
    }
}

// ---- a write barrier of the program's own -------------------------------------------------------

static uintptr_t *guard_map;
static unsigned guard_faults;

// A program with a write barrier of its own.
static void guard_handler(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)context;
    uintptr_t page = (uintptr_t)info->si_addr & ~(uintptr_t)4095;
    if (page - (uintptr_t)guard_map >= TRAP_MAP)
        _exit(3);
    guard_faults++;
    mprotect((void *)page, 4096, PROT_READ | PROT_WRITE);
}

TRAP(segv_handler)
{
    struct sigaction act = {.sa_sigaction = guard_handler, .sa_flags = SA_SIGINFO};
    unsigned stores = 0;
    sigaction(SIGSEGV, &act, NULL);
    trap_maps(MAP_PRIVATE);
    while (trap_on()) {
        guard_map = trap->map;
        trap_to_heap();
        mprotect(guard_map, TRAP_MAP, PROT_READ);
        trap_to_map();
        mprotect(guard_map, TRAP_MAP, PROT_READ | PROT_WRITE);
        stores++;
    }
    WITNESS_NEED(guard_faults == stores, "%u faults for %u stores", guard_faults, stores);
}

static unsigned uffd_refused;

// The kernel refuses a mapping that another userfaultfd has, which may be the collector's.
static int uffd_register(int fd, struct uffdio_register *reg)
{
    int r;
    while ((r = ioctl(fd, UFFDIO_REGISTER, reg)) != 0 && errno == EBUSY) {
        uffd_refused++;
        sched_yield();
    }
    return r;
}

// A program that takes care of its own missing pages.
TRAP(own_userfaultfd)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */);
    struct uffdio_api api = {.api = UFFD_API};
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) != 0)
        witness_skip("no userfaultfd");
    trap_maps(MAP_PRIVATE);
    while (trap_on()) {
        struct uffdio_register reg = {.range = {(uintptr_t)trap->map, TRAP_MAP},
                                      .mode = UFFDIO_REGISTER_MODE_MISSING};
        WITNESS_NEED(uffd_register(fd, &reg) == 0, "register: %s", strerror(errno));
        uintptr_t *word = trap_word();
        struct uffdio_zeropage zero = {.range = {(uintptr_t)word & ~(uintptr_t)4095, 4096}};
        int r = ioctl(fd, UFFDIO_ZEROPAGE, &zero);
        WITNESS_NEED(r == 0 || errno == EEXIST, "zeropage: %s", strerror(errno));
        trap_store(word);
        if (trap_number % 3 == 0) {
            trap_to_heap();
            WITNESS_NEED(ioctl(fd, UFFDIO_UNREGISTER, &reg.range) == 0, "unregister: %s",
                         strerror(errno));
            madvise(trap->map, TRAP_MAP, MADV_DONTNEED);
        }
    }
    printf("own userfaultfd: %u turns, refused %u times\n", trap_number, uffd_refused);
}

static const struct place places[] = {
    TRAP_PLACE(routine_on_heap), TRAP_PLACE(routine_on_map),  TRAP_PLACE(handler),
    TRAP_PLACE(handler_on_heap), TRAP_PLACE(handler_on_map),  TRAP_PLACE(jump),
    TRAP_PLACE(segv_handler),    TRAP_PLACE(own_userfaultfd),
};

int main(int argc, char **argv)
{
    return place_main(argc, argv, places, sizeof places / sizeof *places, 0);
}
