// Stacks that the program makes: found by themselves, or pushed by a callback, as Crystal does it.
#include "check.h"

#include <sys/mman.h>
#include <ucontext.h>

#define FIBERS 8
#define PER 50
#define STACK (256 << 10)

struct fiber {
    ucontext_t context;
    char *stack;
    bool done;
};

// In memory that is no root: what a fiber holds is on its stack alone.
static struct fiber *fibers;
static ucontext_t *main_context;
static int current;
static struct herd all;
static GC_push_other_roots_proc before;
static bool intact = true;

static void yield_to_main(void)
{
    swapcontext(&fibers[current].context, main_context);
}

NOINLINE static void body(int id)
{
    long *volatile local[PER];
    for (int i = 0; i < PER; i++) {
        local[i] = GC_malloc(48);
        local[i][3] = id * 1000 + i;
        herd_put(all, id * PER + i, local[i]);
        if (i % 10 == 0)
            yield_to_main();
    }
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < PER; i++)
            intact &= local[i][3] == id * 1000 + i;
        yield_to_main();
    }
    for (int i = 0; i < PER; i++)
        local[i] = NULL;
}

static void entry(void)
{
    body(current);
    fibers[current].done = true;
    yield_to_main();
}

static void push(void)
{
    for (int i = 0; i < FIBERS; i++)
        if (!fibers[i].done)
            GC_push_all_eager(fibers[i].stack, fibers[i].stack + STACK);
    if (before)
        before();
}

static void round_trip(void)
{
    for (current = 0; current < FIBERS; current++)
        if (!fibers[current].done)
            swapcontext(main_context, &fibers[current].context);
}

static void start(void)
{
    before = GC_get_push_other_roots();
    GC_set_push_other_roots(push);
    main_context = malloc(sizeof *main_context);
    all = herd_new(FIBERS * PER);
    fibers = calloc(FIBERS, sizeof *fibers);
    for (int i = 0; i < FIBERS; i++) {
        struct fiber *f = &fibers[i];
        f->stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        getcontext(&f->context);
        f->context.uc_stack.ss_sp = f->stack;
        f->context.uc_stack.ss_size = STACK;
        f->context.uc_link = NULL;
        makecontext(&f->context, entry, 0);
    }
}

// Collections from the main stack only: its bottom is right without a word to the collector.
TEST(pushed)
{
    start();
    GC_disable(); // and none while a fiber runs
    for (int i = 0; i < 7; i++) {
        round_trip();
        GC_enable();
        collect();
        GC_disable();
    }
    GC_enable();
    is("intact", intact);
    say("kept", "%s", share(herd_left(all), FIBERS * PER));
    for (int i = 0; i < 7; i++)
        round_trip();
    bool done = true;
    for (int i = 0; i < FIBERS; i++)
        done &= fibers[i].done;
    is("done", done);
    say("lost", "%s", herd_share(all));
}

// Collections within a fiber, after its stack's bottom was named.
static void within(void)
{
    struct GC_stack_base base = {fibers[0].stack + STACK};
    GC_set_stackbottom(NULL, &base);
    long *volatile local[PER];
    for (int i = 0; i < PER; i++) {
        local[i] = GC_malloc(48);
        local[i][0] = i;
        herd_put(all, i, local[i]);
    }
    collect();
    for (int i = 0; i < PER; i++)
        intact &= local[i][0] == i;
    say("kept", "%s", share(herd_left(all), PER));
    swapcontext(&fibers[0].context, main_context);
}

TEST(bottom_named)
{
    struct GC_stack_base mine;
    void *volatile here[PER];
    GC_get_my_stackbottom(&mine);
    main_context = malloc(sizeof *main_context);
    all = herd_new(PER);
    fibers = calloc(1, sizeof *fibers);
    fibers[0].stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    getcontext(&fibers[0].context);
    fibers[0].context.uc_stack.ss_sp = fibers[0].stack;
    fibers[0].context.uc_stack.ss_size = STACK;
    makecontext(&fibers[0].context, within, 0);
    swapcontext(main_context, &fibers[0].context);
    GC_set_stackbottom(NULL, &mine);
    is("intact", intact);
    for (int i = 0; i < PER; i++)
        here[i] = GC_malloc(16);
    collect();
    for (int i = 0; i < PER; i++)
        intact &= zero(here[i], 16);
    is("main_again", intact);
}
