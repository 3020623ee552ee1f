// A trap: a way by which the only pointer to an object gets onto memory that a running collection
// has already looked at.
//
// Each trap runs in a process of its own. One thread collects back to back; the trap moves the
// pointers to some objects about, one after the other, until enough collections were made. An
// object lives through two collections at least, since one that is made while objects are marked
// is safe from that collection anyway; then it is left, pointer and all, for a new one. At every
// moment its pointer stands in a word that counts, in the old place until it has reached the new
// one. What a move leaves in registers and dead stack is wiped, so that nothing but the barrier can
// have kept the object. The heap holds some megabytes beside, so that marking takes long enough to
// be overtaken.
#ifndef TRAP_H
#define TRAP_H

#include "witness.h"

#include <sys/mman.h>

#define TRAP_OBJECTS 16
#define TRAP_CYCLES 6   // collections a trap lasts
#define TRAP_LIFE 2     // collections of an object
#define TRAP_CELLS 64   // words on heap pages of their own between which pointers are moved
#define TRAP_BLOCK 4000 // bytes of the objects that hold them
#define TRAP_BALLAST 32 // as many objects as cells, times this, are only there to be marked
#define TRAP_MAP ((size_t)1 << 16)

struct trap {
    struct witness witness;
    uintptr_t *at;  // the word that holds its pointer
    uintptr_t *map; // memory of its own, as the trap likes
    unsigned born;  // collections made before it
};

static struct trap traps[TRAP_OBJECTS];
static struct trap *trap;    // whose turn it is
static unsigned trap_number; // of turns
static _Atomic bool trap_over;
static _Atomic unsigned trap_cycles; // collections made
static uintptr_t **trap_blocks;

static void *trap_collector(void *arg)
{
    while (!atomic_load_explicit(&trap_over, memory_order_relaxed)) {
        salvage_collect();
        atomic_fetch_add_explicit(&trap_cycles, 1, memory_order_relaxed);
    }
    return arg;
}

static void *trap_memory(void *p)
{
    WITNESS_NEED(p != NULL && p != MAP_FAILED, "no memory: %s", strerror(errno));
    return p;
}

static witness_noinline uintptr_t *trap_anon(size_t bytes, int flags)
{
    return trap_memory(mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0));
}

// Each object gets a mapping of its own.
static witness_noinline void trap_maps(int flags)
{
    for (unsigned i = 0; i < TRAP_OBJECTS; i++)
        traps[i].map = trap_anon(TRAP_MAP, flags);
}

// A heap word for the next move: none that was used lately.
static witness_noinline uintptr_t *trap_cell(void)
{
    static unsigned at;
    at = (at + 37) % TRAP_CELLS;
    return trap_blocks[at * TRAP_BALLAST] + 100;
}

// A word of the object's own memory, on another page each time.
static witness_noinline uintptr_t *trap_word(void)
{
    unsigned page = trap_number / TRAP_OBJECTS * 5 % (TRAP_MAP / 4096);
    return trap->map + page * (4096 / sizeof(uintptr_t)) + 5;
}

static witness_noinline void trap_litter(void)
{
    for (int i = 0; i < 4; i++) {
        void *volatile p = malloc(trap->witness.size);
        if (p)
            memset(p, 0xee, trap->witness.size);
    }
}

static witness_noinline void trap_object(void)
{
    static const size_t sizes[] = {24, 64, 500, 4242, 40000};
    witness_make(&trap->witness, sizes[trap_number % (sizeof sizes / sizeof *sizes)]);
    trap->at = (uintptr_t *)&trap->witness.anchor;
    trap->born = atomic_load_explicit(&trap_cycles, memory_order_relaxed);
    trap_litter();
}

// The next object's turn, which is looked at, and perhaps renewed; false: enough.
static witness_noinline bool trap_on(void)
{
    unsigned cycles = atomic_load_explicit(&trap_cycles, memory_order_relaxed);
    trap = &traps[trap_number++ % TRAP_OBJECTS];
    if (trap->at && !witness_intact(&trap->witness))
        witness_fail("object %td lost in turn %u, collection %u", trap - traps, trap_number,
                     cycles);
    if (!trap->at || cycles > trap->born + TRAP_LIFE)
        trap_object();
    witness_wipe();
    return cycles < TRAP_CYCLES;
}

// The pointer has been copied to `to`, or stands in what is `to` now: it leaves where it was.
static witness_noinline void trap_moved(uintptr_t *to)
{
    uintptr_t *from = trap->at;
    WITNESS_NEED(*(volatile uintptr_t *)to == ~trap->witness.inverted, "the pointer isn't there");
    trap->at = to;
    if (from != to)
        *(volatile uintptr_t *)from = 0;
}

static witness_noinline void trap_store(uintptr_t *to)
{
    witness_put_of(&trap->witness, to, 0);
    trap_moved(to);
}

static witness_noinline void trap_to_heap(void)
{
    trap_store(trap_cell());
}

static witness_noinline void trap_to_map(void)
{
    trap_store(trap_word());
}

static witness_noinline void trap_setup(void)
{
    size_t n = TRAP_CELLS * TRAP_BALLAST;
    trap_blocks = trap_memory(calloc(n, sizeof *trap_blocks));
    for (size_t i = 0; i < n; i++)
        trap_blocks[i] = trap_memory(calloc(1, TRAP_BLOCK));
}

// What `hold` of each trap is: the collector runs meanwhile.
static witness_noinline void trap_run(void (*fn)(void))
{
    pthread_t collector;
    trap_setup();
    WITNESS_NEED(pthread_create(&collector, NULL, trap_collector, NULL) == 0, "pthread_create");
    fn();
    atomic_store_explicit(&trap_over, true, memory_order_relaxed);
    pthread_join(collector, NULL);
}

#define TRAP(name)                                                                                 \
    static void name(void);                                                                        \
    static void name##_run(void)                                                                   \
    {                                                                                              \
        trap_run(name);                                                                            \
    }                                                                                              \
    static witness_noinline void name(void)

#define TRAP_PLACE(name)                                                                           \
    {                                                                                              \
#name, name##_run, NULL, WITNESS_NONE                                                      \
    }

#endif
