// Stacks against libgcc's unwinder, through frames of every kind; and that a path that was seen is
// recognised, and one that only looks like it isn't. The file under test is part of the preload
// layer but needs nothing of it, so it is compiled into this program.
#define _etext __ehdr_start // none of this program's code is the library's own
#include "../../preload/cfi.c"
#include "../../preload/unwind.c"

#include <criterion/criterion.h>
#include <execinfo.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#include "heap.h"
#include "world.h"

enum { DEPTH = 64, STACK_BYTES = 65536 };

#define OPAQUE __attribute__((noinline, noclone, optimize("no-omit-frame-pointer", "O1")))
#define BARE __attribute__((noinline, noclone, optimize("omit-frame-pointer", "O2")))

static void setup(void)
{
    sv_options.depth = DEPTH;
    cr_assert(sv_heap_init());
    cr_assert(sv_world_init());
    sv_world_self();
    void *warm[2];
    backtrace(warm, 2); // loads libgcc
}

TestSuite(unwind, .init = setup, .timeout = 60);

// What was found at the last call of `record`, which is the function "called" here.
static uintptr_t found[SV_DEPOT_DEPTH];
static unsigned nfound;
static uint32_t found_stack;
static void *expected[SV_DEPOT_DEPTH];
static int nexpected;

__attribute__((noinline)) static void record(void)
{
    found_stack = SV_UNWIND(malloc);
    nfound = sv_depot_get(found_stack, found);
    nexpected = backtrace(expected, SV_DEPOT_DEPTH);
    __asm__ volatile("" ::: "memory");
}

// Frame 0 is the name, frame 1 record's caller; backtrace's frame 0 is in record.
static void compare(const char *what, int at_least)
{
    cr_expect_gt(nexpected, at_least, "%s: libgcc found %d frames", what, nexpected);
    cr_expect_eq(found[0], (uintptr_t)malloc + 1, "%s: the function's name", what);
    int n = nexpected < DEPTH ? nexpected : DEPTH;
    cr_expect_eq((int)nfound, n, "%s: %u frames, libgcc %d", what, nfound, nexpected);
    for (int i = 1; i < n && i < (int)nfound; i++)
        cr_expect_eq(found[i] & ~SV_DEPOT_EXACT, (uintptr_t)expected[i], "%s: frame %d", what, i);
}

// ---- frames of many kinds -----------------------------------------------------------------------

static BARE int bare(int depth, char *fill)
{
    char room[40];
    memset(room, depth, sizeof room);
    if (depth == 0)
        record();
    else
        depth = bare(depth - 1, room);
    return depth + room[3] + (fill ? fill[1] : 0);
}

static OPAQUE int framed(int depth, size_t bytes)
{
    char *room = __builtin_alloca(bytes + 16);
    memset(room, depth, bytes);
    if (depth == 0)
        record();
    else
        depth = framed(depth - 1, bytes);
    __asm__ volatile("" ::"r"(room));
    return depth + room[0];
}

static BARE int aligned(int depth) // needs expressions: its frame is found through another register
{
    _Alignas(64) char room[128];
    memset(room, depth, sizeof room);
    __asm__ volatile("" ::"r"(room));
    if (depth == 0)
        return bare(2, NULL);
    char *more = __builtin_alloca((size_t)depth * 16);
    __asm__ volatile("" ::"r"(more));
    return aligned(depth - 1) + room[7];
}

Test(unwind, frames)
{
    for (int again = 0; again < 3; again++) { // unwound, and recognised
        bare(0, NULL);
        compare("bare 0", 3);
        bare(17, NULL);
        compare("bare 17", 19);
        framed(6, 100);
        compare("framed", 8);
        framed(6, 1000);
        compare("framed, farther", 8);
        aligned(4);
        compare("aligned", 8);
    }
}

Test(unwind, deep)
{
    bare(1000, NULL);
    cr_expect_eq(nfound, DEPTH);
    for (int i = 1; i < DEPTH; i++)
        cr_expect_eq(found[i], (uintptr_t)expected[i]);
}

// Same call, same stack pointer, another caller some frames out.
static BARE int left(int depth)
{
    return bare(depth, NULL) + 1;
}

static BARE int right(int depth)
{
    return bare(depth, NULL) + 2;
}

Test(unwind, siblings)
{
    uint32_t stacks[2] = {0};
    for (int i = 0; i < 200; i++) {
        if (i % 2)
            left(5);
        else
            right(5);
        compare(i % 2 ? "left" : "right", 7);
        if (stacks[i % 2])
            cr_expect_eq(found_stack, stacks[i % 2]);
        stacks[i % 2] = found_stack;
    }
    cr_expect_neq(stacks[0], stacks[1]);
}

// Ten thousand stacks, in an order that comes back; no mistake among them.
static BARE int branch(unsigned path, int depth)
{
    if (depth == 0) {
        record();
        return 0;
    }
    switch (path % 4) {
    case 0:
        return branch(path / 4, depth - 1) + 1;
    case 1:
        return branch(path / 4, depth - 1) + 2;
    case 2:
        return branch(path / 4, depth - 1) + 3;
    default:
        return branch(path / 4, depth - 1) + 4;
    }
}

Test(unwind, many)
{
    for (int again = 0; again < 2; again++) {
        for (unsigned path = 0; path < 4096; path++) {
            branch(path, 6);
            compare("branch", 8);
        }
    }
}

// A recognised path is walked no more, so it would stay as it is if the code's rules changed.
Test(unwind, recognised)
{
    uint32_t stacks[2];
    sv_profile_on = true;
    for (int i = 0; i < 2; i++) {
        bare(9, NULL);
        stacks[i] = found_stack;
        for (size_t k = 0; k < sizeof rules.entries / sizeof rules.entries[0]; k++)
            cr_assert(i == 0 || atomic_load(&rules.entries[k].rule) == 0, "rules were asked for");
        sv_unwind_forget();
    }
    cr_expect_eq(stacks[0], stacks[1]);
}

// Stale return addresses in a frame of changing size are no path.
static OPAQUE int shifted(size_t bytes)
{
    volatile char *room = __builtin_alloca(bytes); // as it was
    record();
    return room[bytes - 1];
}

static OPAQUE int deeper(size_t bytes)
{
    volatile char room[64];
    room[0] = (char)shifted(bytes);
    return room[0];
}

static OPAQUE int called(int (*function)(size_t), size_t bytes)
{
    return function(bytes) + 1;
}

// One of the paddings is as large as deeper's frame: then everything is where it was, and in the
// frame's middle stands what led through `deeper` before.
Test(unwind, stale)
{
    for (size_t pad = 0; pad < 512; pad += 16) {
        called(deeper, 32); // nothing else is called between the two
        called(shifted, 32 + pad);
        compare("shifted", 4);
    }
}

// ---- other stacks -------------------------------------------------------------------------------

static ucontext_t outside, inside;

static void coroutine(void)
{
    for (int i = 0; i < 3; i++) {
        bare(5, NULL);
        swapcontext(&inside, &outside);
    }
}

Test(unwind, coroutine)
{
    long page = sysconf(_SC_PAGESIZE);
    char *stack = mmap(NULL, STACK_BYTES + (size_t)page, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(stack + STACK_BYTES, (size_t)page, PROT_NONE); // what lies above can't be read
    getcontext(&inside);
    inside.uc_stack.ss_sp = stack;
    inside.uc_stack.ss_size = STACK_BYTES;
    inside.uc_link = &outside;
    makecontext(&inside, coroutine, 0);
    for (int i = 0; i < 3; i++) {
        swapcontext(&outside, &inside);
        compare("coroutine", 7);
        bare(5, NULL);
        compare("outside", 7);
    }
}

static void handler(int sig)
{
    (void)sig;
    bare(3, NULL);
}

static BARE int raises(int depth)
{
    if (depth > 0)
        return raises(depth - 1) + 1;
    return raise(SIGUSR1);
}

static void signal_with(int flags)
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = flags};
    sigaction(SIGUSR1, &sa, NULL);
    for (int i = 0; i < 2; i++) {
        raises(4);
        compare("handler", 10);
        unsigned exact = 0;
        for (unsigned f = 0; f < nfound; f++)
            exact += (found[f] & SV_DEPOT_EXACT) != 0;
        cr_expect_eq(exact, 1, "%u interrupted frames", exact);
    }
}

Test(unwind, handler)
{
    signal_with(0);
}

Test(unwind, handler_altstack)
{
    stack_t ss = {.ss_sp = malloc(STACK_BYTES), .ss_size = STACK_BYTES};
    sigaltstack(&ss, NULL);
    signal_with(SA_ONSTACK);
}

// A stack whose outermost frame leads nowhere, at the very end of what can be read.
static void (*volatile cliff_call)(void) = record;

__attribute__((naked, noinline)) static void cliff(uintptr_t sp __attribute__((unused)))
{
    __asm__("push %rbp\n\tmov %rsp, %rbp\n\tmov %rdi, %rsp\n\tcall *cliff_call(%rip)\n\t"
            "mov %rbp, %rsp\n\tpop %rbp\n\tret");
}

Test(unwind, cliff)
{
    long page = sysconf(_SC_PAGESIZE);
    char *stack = mmap(NULL, STACK_BYTES + (size_t)page, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(stack + STACK_BYTES, (size_t)page, PROT_NONE);
    found_stack = 0;
    nexpected = 0;
    cliff_call = (void (*)(void))(uintptr_t)getpid; // warm up: the page works as a stack
    cliff((uintptr_t)stack + STACK_BYTES - 64);
    extern void cliff_record(void);
    cliff_call = cliff_record;
    cliff((uintptr_t)stack + STACK_BYTES); // what is read next is no memory
    cr_expect_neq(found_stack, 0);
    cr_expect_geq(nfound, 2u);
}

void cliff_record(void); // without libgcc's, which isn't as careful
__attribute__((noinline)) void cliff_record(void)
{
    found_stack = SV_UNWIND(malloc);
    nfound = sv_depot_get(found_stack, found);
}

// ---- threads ------------------------------------------------------------------------------------

static uint32_t thread_stacks[2];
static bool thread_same = true;

static void *thread_run(void *arg)
{
    pthread_attr_t attr;
    void *lo;
    size_t size;
    uint32_t first = 0;
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &lo, &size);
    pthread_attr_destroy(&attr);
    sv_world_self_stack((uintptr_t)lo, (uintptr_t)__builtin_frame_address(0), (uintptr_t)lo + size,
                        0, false);
    for (int i = 0; i < 1000; i++) {
        uintptr_t frames[SV_DEPOT_DEPTH];
        uint32_t stack = SV_UNWIND(malloc);
        if (sv_depot_get(stack, frames) < 2 || frames[0] != (uintptr_t)malloc + 1)
            thread_same = false;
        if (i == 1)
            first = stack;
        thread_same &= i < 2 || stack == first;
    }
    *(uint32_t *)arg = first;
    sv_unwind_thread_end();
    thread_same &= !paths_self;
    return NULL;
}

Test(unwind, threads)
{
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, thread_run, &thread_stacks[i]);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cr_assert(thread_same);
    cr_assert_eq(thread_stacks[0], thread_stacks[1], "two threads with the same stack");
}

// In a handler that interrupted this very code: something is found, or nothing; nothing breaks.
static volatile sig_atomic_t interrupted;

static void interrupt(int sig)
{
    (void)sig;
    uint32_t stack = SV_UNWIND(malloc);
    interrupted += stack != 0;
}

Test(unwind, reentered)
{
    struct sigaction sa = {.sa_handler = interrupt};
    sigaction(SIGALRM, &sa, NULL);
    struct itimerval every = {{0, 200}, {0, 200}};
    setitimer(ITIMER_REAL, &every, NULL);
    for (unsigned path = 0; path < 40000; path++) {
        branch(path % 4096, 6);
        sv_unwind_forget();
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    for (unsigned path = 0; path < 4096; path++) {
        branch(path, 6);
        compare("branch", 8);
    }
    cr_expect_gt(interrupted, 0);
}

// ---- what .eh_frame says ------------------------------------------------------------------------

// The rule of every function of libc, against nothing: it must be found and make sense.
Test(unwind, rules)
{
    Dl_info libc;
    cr_assert(dladdr((void *)(uintptr_t)getpid, &libc));
    unsigned kinds[SV_CFI_COMPLEX + 1] = {0};
    uintptr_t base = (uintptr_t)libc.dli_fbase;
    struct dl_find_object object;
    cr_assert_eq(_dl_find_object((void *)(uintptr_t)getpid, &object), 0);
    for (uintptr_t pc = base; pc < (uintptr_t)object.dlfo_map_end; pc += 7)
        kinds[sv_cfi_find(pc).kind]++;
    unsigned known = kinds[SV_CFI_SP] + kinds[SV_CFI_BP] + kinds[SV_CFI_EXPR];
    cr_expect_gt(known, 100000, "%u places of libc have a rule", known);
    cr_expect_lt(kinds[SV_CFI_COMPLEX], known / 100, "%u complex ones", kinds[SV_CFI_COMPLEX]);
    cr_expect_gt(kinds[SV_CFI_SIGNAL], 0);
}
