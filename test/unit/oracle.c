// The fork oracle: right after the flip, before anything is swept, the process is forked, and the
// child walks the frozen image of the threads' graphs by the plain rules of the graphs themselves.
// What it reaches must be an object in use, and marked unless its span was swept meanwhile.
//
// The threads keep their graphs in memory of the test's own, each word of which the test knows;
// what a thread has in registers only the walk doesn't see. The library's and the test's variables
// are no roots here, so nothing but the graphs keeps anything.
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "heap.h"
#include "limiter.h"
#include "mark.h"
#include "options.h"
#include "pacer.h"
#include "pagemap.h"
#include "phase.h"
#include "rootset.h"
#include "scanners.h"
#include "share.h"
#include "span.h"
#include "sweep.h"
#include "worker.h"
#include "world.h"

enum { THREADS = 3, ROOTS = 400, EDGES = 6, CELLS = 64, HOT = 16, CYCLES = 40 };

struct node {
    uint64_t check; // ~address
    struct node *_Atomic edge[EDGES];
};

struct graph {
    struct node *_Atomic root[ROOTS];
    struct node *_Atomic cell[CELLS];       // nodes that stay
    struct node *_Atomic *_Atomic hot[HOT]; // the words of cells that hold hot nodes' pointers
    uint64_t state;
};

static struct graph *graphs; // a mapping
static _Atomic bool over;
static _Atomic(const char *) trouble;
static _Atomic(const char *) given_up; // why a cycle was, last
static _Atomic unsigned long cycles, reached;

// ---- the program --------------------------------------------------------------------------------

static unsigned below(struct graph *g, unsigned n)
{
    g->state ^= g->state << 13;
    g->state ^= g->state >> 7;
    g->state ^= g->state << 17;
    return (unsigned)(g->state >> 20) % n;
}

static struct node *node_make(struct graph *g)
{
    static const size_t sizes[] = {56, 64, 100, 500, 2000, 9000, 40000};
    size_t size = sizes[below(g, 64) ? below(g, 5) : 5 + below(g, 2)];
    struct node *n = sv_heap_alloc_zeroed(size);
    if (!n)
        abort();
    n->check = ~(uint64_t)(uintptr_t)n;
    return n;
}

// A word of the graph, at some depth.
static struct node *_Atomic *word_find(struct graph *g)
{
    struct node *_Atomic *word = &g->root[below(g, ROOTS)];
    for (unsigned depth = below(g, 12); depth; depth--) {
        struct node *n = atomic_load_explicit(word, memory_order_relaxed);
        if (!n)
            break;
        word = &n->edge[below(g, EDGES)];
    }
    return word;
}

// A few nodes move on as fast as stores go, from cell to cell, so that some are always ahead of who
// looks at written pages. Now and then each is left for a new one.
static void hot_move(struct graph *g)
{
    for (unsigned n = 0; n < 64; n++) {
        struct node *_Atomic *from = g->hot[n % HOT], *_Atomic * to;
        do
            to = &g->cell[below(g, CELLS)]->edge[below(g, EDGES)];
        while (*to);
        g->hot[n % HOT] = to;
        atomic_store_explicit(to, from ? *from : node_make(g), memory_order_relaxed);
        if (from)
            atomic_store_explicit(from, NULL, memory_order_relaxed);
    }
    unsigned i = below(g, 16 * HOT);
    if (i < HOT)
        *g->hot[i] = node_make(g);
}

static void *program_run(void *arg)
{
    struct graph *g = arg;
    if (!sv_world_self())
        abort();
    for (unsigned i = 0; i < CELLS; i++)
        g->cell[i] = node_make(g);
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        struct node *_Atomic *to = word_find(g), *_Atomic *from = word_find(g);
        switch (below(g, 8)) {
        case 0:
            atomic_store_explicit(to, node_make(g), memory_order_relaxed);
            break;
        case 1:
            atomic_store_explicit(to, NULL, memory_order_relaxed);
            break;
        default: // moved: it is in a register for a moment
            atomic_store_explicit(to, atomic_exchange_explicit(from, NULL, memory_order_relaxed),
                                  memory_order_relaxed);
        }
        hot_move(g);
        for (struct node *n = *to; n; n = n->edge[below(g, EDGES)])
            if (n->check != ~(uint64_t)(uintptr_t)n)
                trouble = "an object in use was overwritten";
    }
    return NULL;
}

// ---- the walk -----------------------------------------------------------------------------------

static struct {
    uint8_t *seen;       // a bit for every 16 bytes of the heap
    struct node **stack; // what is reached and not walked
    size_t n;
    unsigned long reached;
} walk;

static void *walk_memory(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED)
        _exit(2);
    return p;
}

// 0, or what is wrong about it.
static int node_judge(struct node *n)
{
    struct sv_mark_place at;
    if (!sv_mark_find((uintptr_t)n, &at) || at.start != (uintptr_t)n)
        return 3;
    bool swept = at.span->sweepgen == atomic_load(&sv_heap.sweepgen);
    if (!swept && !(atomic_load(&at.bits->mark) & at.bit))
        return 4;
    return n->check == ~(uint64_t)(uintptr_t)n ? 0 : 5;
}

static void word_walk(struct node *n)
{
    if (!n)
        return;
    size_t i = ((uintptr_t)n - sv_heap.base) / 16;
    if (walk.seen[i / 8] >> (i & 7) & 1)
        return;
    walk.seen[i / 8] |= (uint8_t)(1u << (i & 7));
    int wrong = node_judge(n);
    if (wrong)
        _exit(wrong);
    walk.reached++;
    walk.stack[walk.n++] = n;
}

// In the child. Its last words are its status.
static void image_walk(unsigned long *count)
{
    size_t bytes = (size_t)sv_heap.grown << SV_PAGE_SHIFT;
    walk.seen = walk_memory(bytes / 128 + 1);
    walk.stack = walk_memory(bytes);
    for (unsigned t = 0; t < THREADS; t++) {
        for (unsigned i = 0; i < ROOTS; i++)
            word_walk(atomic_load(&graphs[t].root[i]));
        for (unsigned i = 0; i < CELLS; i++)
            word_walk(atomic_load(&graphs[t].cell[i]));
    }
    while (walk.n) {
        struct node *n = walk.stack[--walk.n];
        for (unsigned i = 0; i < EDGES; i++)
            word_walk(atomic_load(&n->edge[i]));
    }
    *count = walk.reached;
    _exit(0);
}

static void oracle_ask(unsigned long *count)
{
    static const char *const verdicts[] = {
        [2] = "the child has no memory",
        [3] = "reached, and not in use",
        [4] = "reached, and not marked",
        [5] = "reached, and overwritten",
    };
    int status;
    sv_heap_lock_all();
    pid_t pid = fork();
    if (pid == 0)
        image_walk(count);
    sv_heap_unlock_all();
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) > 5)
        trouble = "the child died";
    else if (status)
        trouble = verdicts[WEXITSTATUS(status)];
    atomic_fetch_add(&reached, *count);
}

// ---- the driver ---------------------------------------------------------------------------------

static void driver_cycle(struct sv_phase_in *in, unsigned long *count)
{
    struct sv_stats_cycle stats = {0};
    sv_sweep_finish();
    sv_pacer_start(in->pacer, atomic_load(&sv_heap.live));
    sv_share_begin(in->procfd, 1.0);
    cr_assert(!in->beside || in->barrier->open(in->procfd) == 0);
    const char *reason = sv_phase_collect(in, &stats);
    sv_share_end();
    if (!reason)
        oracle_ask(count);
    else
        given_up = reason;
    sv_phase_finish();
    cycles++;
}

static void driver_body(unsigned index)
{
    static struct sv_lock stopping;
    static struct sv_pacer pacer;
    static struct sv_limiter limiter;
    unsigned long *count =
        mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int procfd = sv_proc_open();
    struct sv_phase_in in = {
        sv_barrier_choose(procfd), &stopping, &pacer, &limiter, procfd, 0, false, NULL};
    (void)index;
    in.beside = in.barrier->concurrent;
    if (!in.beside) // the crew that a cycle beside the program needs isn't there either
        atomic_store(&over, true);
    sv_pacer_init(&pacer, 100, SV_PACER_NOLIMIT, 2);
    sv_limiter_init(&limiter, 2, 0);
    while (!over && !trouble && !given_up && cycles < CYCLES)
        driver_cycle(&in, count);
    atomic_store(&over, true);
}

static int driver_spawn(void *(*start)(void *), void *arg, void *stack, size_t bytes,
                        unsigned long *handle)
{
    sigset_t all, old;
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstack(&attr, stack, bytes);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int r = pthread_create((pthread_t *)handle, &attr, start, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return r;
}

static void driver_join(unsigned long handle)
{
    pthread_join((pthread_t)handle, NULL);
}

static const char *setup(void)
{
    static const struct sv_worker_hooks hooks = {driver_spawn, driver_join};
    extern char __data_start[], _end[];
    if (!sv_heap_init() || !sv_world_init())
        return "no heap";
    atomic_store(&sv_heap.trigger, UINT64_MAX);
    sv_worker_hooks = &hooks;
    sv_rootset_exclude((uintptr_t)__data_start, (uintptr_t)_end);
    graphs = mmap(NULL, THREADS * sizeof *graphs, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return graphs != MAP_FAILED ? NULL : "no memory";
}

static const char *judge(void)
{
    if (trouble || given_up)
        return trouble ? trouble : given_up;
    if (cycles && reached < cycles * 100)
        return "the walk hardly reached anything";
    return cycles && atomic_load(&sv_heap.reclaimed) == 0 ? "nothing was reclaimed" : NULL;
}

static int oracle_run(void)
{
    pthread_t thread[THREADS];
    const char *wrong = setup();
    for (unsigned i = 0; i < THREADS && !wrong; i++) {
        graphs[i].state = i * 1000003 + 7;
        if (pthread_create(&thread[i], NULL, program_run, &graphs[i]) != 0)
            wrong = "no thread";
    }
    if (!wrong && sv_worker_start(driver_body, 1) != SV_WORKER_THERE)
        wrong = "no worker";
    for (unsigned i = 0; i < THREADS && !wrong; i++)
        pthread_join(thread[i], NULL);
    wrong = wrong ? wrong : judge();
    fprintf(stderr, "%lu cycles, %lu objects reached, %lu MB reclaimed: %s\n", cycles, reached,
            atomic_load(&sv_heap.reclaimed) >> 20, wrong ? wrong : "well");
    return wrong != NULL;
}

// In a process of its own: criterion's has threads that can't be stopped.
Test(oracle, what_the_image_reaches_is_marked, .timeout = 60)
{
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(oracle_run());
    cr_assert(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "status %d", status);
}
