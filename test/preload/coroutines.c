// Coroutine stacks: a stack that swapcontext left, or is running on, holds pointers like any other,
// in malloc'ed memory or in a mapping; and so does the thread's own stack while SP is elsewhere.
//
// SALVAGE: mode=collect
// SALVAGE: clobber=1,checkmark=1
// SALVAGE: stress=64,clobber=1

#include "lib/witness.h"

#include <sys/mman.h>
#include <ucontext.h>

#define STACK (1 << 17)

static ucontext_t outer, inner;
static uintptr_t stack_inverted;
static bool stack_mapped;

static witness_noinline void *stack_take(bool mapped)
{
    void *p = mapped ? mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                     : malloc(STACK);
    WITNESS_NEED(p != NULL && p != MAP_FAILED, "no stack");
    stack_mapped = mapped;
    stack_inverted = ~(uintptr_t)p;
    return p;
}

// A context that has come to its end leaves its stack to a pointer that nobody sees: it is named
// again before that.
static void *volatile stack_kept;
static void stack_keep(void)
{
    stack_kept = (void *)~stack_inverted;
}

static void stack_give(void)
{
    if (stack_mapped)
        munmap((void *)~stack_inverted, STACK);
    else
        free((void *)~stack_inverted);
    stack_kept = NULL;
}

static witness_noinline void context_make(ucontext_t *uc, void (*fn)(void), bool mapped)
{
    getcontext(uc);
    uc->uc_stack.ss_sp = stack_take(mapped);
    uc->uc_stack.ss_size = STACK;
    uc->uc_link = &outer;
    makecontext(uc, fn, 0);
}

// ---- left: the context is in a global, its stack is not running --------------------------------

static void left_fn(void)
{
    volatile uintptr_t word = 0;
    witness_put(&word);
    swapcontext(&inner, &outer);
    word = 0;
}

static void left_hold(bool mapped)
{
    context_make(&inner, left_fn, mapped);
    swapcontext(&outer, &inner);
}

static void left_malloc_hold(void)
{
    left_hold(false);
}
static void left_mmap_hold(void)
{
    left_hold(true);
}

static void left_drop(void)
{
    stack_keep();
    swapcontext(&outer, &inner);
    memset(&inner, 0, sizeof inner);
    memset(&outer, 0, sizeof outer);
    stack_give();
}

// The same with the context itself on the heap, and the witness in a callee-saved register when the
// coroutine left: swapcontext stored that in the context.
static ucontext_t *inner_heap;
uintptr_t spin_inverted __attribute__((visibility("hidden")));
void context_leave(void);
void __attribute__((visibility("hidden"))) context_leave(void)
{
    swapcontext(inner_heap, &outer);
}

void leave_with_rbx(void);
__asm__(".text\nleave_with_rbx:\n\t"
        "push %rbx\n\t"
        "mov spin_inverted(%rip), %rbx\n\t"
        "not %rbx\n\t"
        "call context_leave\n\t"
        "xor %ebx, %ebx\n\t"
        "pop %rbx\n\t"
        "ret\n");

static void register_hold(void)
{
    inner_heap = calloc(1, sizeof *inner_heap);
    spin_inverted = witness.inverted;
    context_make(inner_heap, leave_with_rbx, false);
    swapcontext(&outer, inner_heap);
}

static void register_drop(void)
{
    stack_keep();
    swapcontext(&outer, inner_heap);
    free(inner_heap);
    inner_heap = NULL;
    memset(&outer, 0, sizeof outer);
    stack_give();
}

// ---- arguments of a coroutine that has not started ---------------------------------------------

static uint64_t argument_seen;

static void argument_fn(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f,
                        uint64_t g, uint64_t h)
{
    argument_seen = a == ~witness.inverted || h == ~witness.inverted;
    (void)b, (void)c, (void)d, (void)e, (void)f, (void)g;
}

// makecontext hands on the whole of each argument's register on x86-64, as coroutine libraries rely
// on.
static witness_noinline void argument_make(bool on_stack)
{
    void *fn = (void *)(uintptr_t)argument_fn;
    getcontext(&inner);
    inner.uc_stack.ss_sp = stack_take(on_stack);
    inner.uc_stack.ss_size = STACK;
    inner.uc_link = &outer;
    uintptr_t p = ~witness.inverted;
    makecontext(&inner, (void (*)(void))fn, 8, on_stack ? 1 : p, 2l, 3l, 4l, 5l, 6l, 7l,
                on_stack ? p : 8);
}

static void argument_first_hold(void)
{
    argument_make(false);
}
static void argument_last_hold(void)
{
    argument_make(true);
}

static void argument_drop(void)
{
    stack_keep();
    swapcontext(&outer, &inner);
    WITNESS_NEED(argument_seen == 1, "makecontext lost the argument");
    memset(&inner, 0, sizeof inner);
    memset(&outer, 0, sizeof outer);
    stack_give();
}

// ---- running: a thread blocks or spins on a coroutine stack while main collects -----------------

static _Thread_local ucontext_t mine, other;
static bool running_spins, running_mapped;
static _Atomic bool running_stop;

// From here on nothing but SP points into the new stack.
static void running_wait(void)
{
    memset(&other, 0, sizeof other);
    if (!running_spins) {
        parked_read();
        return;
    }
    parked_say();
    while (!atomic_load_explicit(&running_stop, memory_order_relaxed))
        __builtin_ia32_pause();
}

static void running_fn(void)
{
    volatile uintptr_t word = 0;
    witness_put(&word);
    witness_wipe();
    running_wait();
    word = 0;
}

// The pointer is on the thread's own stack, which waits for the coroutine.
static void outside_fn(void)
{
    running_wait();
}

static witness_noinline void running_make(void (*fn)(void))
{
    getcontext(&other);
    other.uc_stack.ss_sp = stack_take(running_mapped);
    other.uc_stack.ss_size = STACK;
    other.uc_link = &mine;
    makecontext(&other, fn, 0);
    other.uc_stack.ss_sp = NULL;
}

static witness_noinline void running_enter(void)
{
    swapcontext(&mine, &other);
}

static void *running_thread(void *arg)
{
    running_make(running_fn);
    witness_wipe();
    running_enter();
    return arg;
}

static void *outside_thread(void *arg)
{
    volatile uintptr_t word = 0;
    running_make(outside_fn);
    witness_put(&word);
    witness_wipe();
    running_enter();
    word = 0;
    return arg;
}

static void running_hold(void *(*fn)(void *), bool spins, bool mapped)
{
    running_spins = spins;
    running_mapped = mapped;
    parked_start(fn, NULL);
}

static void running_malloc_hold(void)
{
    running_hold(running_thread, false, false);
}
static void running_mmap_hold(void)
{
    running_hold(running_thread, false, true);
}
static void running_malloc_spin_hold(void)
{
    running_hold(running_thread, true, false);
}
static void running_mmap_spin_hold(void)
{
    running_hold(running_thread, true, true);
}
static void outside_malloc_hold(void)
{
    running_hold(outside_thread, false, false);
}
static void outside_mmap_hold(void)
{
    running_hold(outside_thread, true, true);
}

static void running_drop(void)
{
    stack_keep();
    atomic_store_explicit(&running_stop, true, memory_order_relaxed);
    parked_end();
    stack_give();
}

// ---- the collecting thread itself is on a coroutine stack ---------------------------------------

static void collecting_fn(void)
{
    volatile uintptr_t word = 0;
    witness_put(&word);
    witness_collect(witness.size);
    WITNESS_NEED(witness_intact(&witness), "lost from the collector's own coroutine stack");
    word = 0;
}

static uintptr_t collected_word;

static void collecting_hold(bool mapped)
{
    context_make(&inner, collecting_fn, mapped);
    swapcontext(&outer, &inner);
    stack_keep();
    witness_put(&collected_word);
    memset(&inner, 0, sizeof inner);
    memset(&outer, 0, sizeof outer);
    stack_give();
}

static void collecting_malloc_hold(void)
{
    collecting_hold(false);
}
static void collecting_mmap_hold(void)
{
    collecting_hold(true);
}
static void collected_drop(void)
{
    collected_word = 0;
}

// The pointer is on main's own stack while main collects from a coroutine.
static void elsewhere_fn(void)
{
    witness_collect(witness.size);
}

static void elsewhere_hold(void)
{
    volatile uintptr_t word = 0;
    witness_put(&word);
    context_make(&inner, elsewhere_fn, false);
    witness_wipe();
    swapcontext(&outer, &inner);
    WITNESS_NEED(witness_intact(&witness), "lost from main's stack while it ran a coroutine");
    witness_put(&collected_word);
    word = 0;
    memset(&inner, 0, sizeof inner);
    memset(&outer, 0, sizeof outer);
    stack_give();
}

static const struct place places[] = {
    {"left, malloc", left_malloc_hold, left_drop, 0},
    {"left, mmap", left_mmap_hold, left_drop, 0},
    {"left, register in a heap context", register_hold, register_drop, 0},
    {"first argument", argument_first_hold, argument_drop, 0},
    {"eighth argument", argument_last_hold, argument_drop, 0},
    {"running, malloc, blocked", running_malloc_hold, running_drop, 0},
    {"running, mmap, blocked", running_mmap_hold, running_drop, 0},
    {"running, malloc, spinning", running_malloc_spin_hold, running_drop, 0},
    {"running, mmap, spinning", running_mmap_spin_hold, running_drop, 0},
    {"own stack, coroutine blocked", outside_malloc_hold, running_drop, 0},
    {"own stack, coroutine spinning", outside_mmap_hold, running_drop, 0},
    {"collecting on a coroutine, malloc", collecting_malloc_hold, collected_drop, 0},
    {"collecting on a coroutine, mmap", collecting_mmap_hold, collected_drop, 0},
    {"own stack, collecting on a coroutine", elsewhere_hold, collected_drop, 0},
};

int main(int argc, char **argv)
{
    return place_main(argc, argv, places, sizeof places / sizeof places[0], 30);
}
