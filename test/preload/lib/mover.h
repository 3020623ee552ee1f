// Movers hide the only pointer to a checked object: from place to place, by every kind of copy,
// while another thread collects back to back. At each moment the pointer stands in at least one
// root or reachable word or register, so the object may never be lost; each move ends by checking
// it.
//
// A mover lives in static memory and keeps for itself only the object's inverted address. The
// pointer is cleared at the old place after it was written to the new one, or, in the moves that go
// through one register alone, before.
#ifndef MOVER_H
#define MOVER_H

#include "witness.h"

#include <sys/mman.h>

enum mover_place {
    PLACE_GLOBAL,    // bss
    PLACE_TLS,       // of the mover's thread
    PLACE_STACK,     // a frame of the mover's thread
    PLACE_SMALL,     // a word of a small object that lives long
    PLACE_LARGE,     // a word in the middle of a large object that lives long
    PLACE_FRESH,     // an object made for this visit, freed after it
    PLACE_ABANDONED, // the same, left to the collector
    PLACE_GROWN,     // an array that realloc resizes at each visit
    PLACE_MAPPED,    // an anonymous mapping
    PLACE_SHARED,    // a shared mapping
    PLACES
};

enum mover_kind {
    MOVE_STORE,    // load, store, clear
    MOVE_MEMCPY,   // memcpy of a block around it
    MOVE_VECTOR,   // only in an XMM register for a while
    MOVE_REGISTER, // only in RBX for a while
    MOVE_SCRATCH,  // only in R10 for a while
    MOVE_EXCHANGE, // by xchg
    MOVE_KERNEL,   // copied by a system call
    MOVE_INTERIOR, // stored as a pointer into the middle
    MOVES
};

static const char *const mover_places[PLACES] = {
    "global",       "TLS",       "stack", "small object",    "large object",
    "fresh object", "abandoned", "grown", "private mapping", "shared mapping"};
static const char *const mover_moves[MOVES] = {"store",   "memcpy", "vector", "register",
                                               "scratch", "xchg",   "kernel", "interior"};

#define MOVER_WORDS 8 // of the block that MOVE_MEMCPY copies; the pointer is the fourth
#define MOVER_LARGE (300000 / sizeof(uintptr_t))

struct mover_object {
    struct witness witness; // where it is, inverted
    ptrdiff_t delta;        // the stored word is the address plus this
    enum mover_place at;
    uintptr_t global[MOVER_WORDS]; // PLACE_GLOBAL
    uintptr_t *small, *large, *fresh, *grown, *mapped, *shared;
    size_t grown_words;
};

#define MOVER_OBJECTS 6

struct mover {
    struct mover_object objects[MOVER_OBJECTS];
    uint64_t seed, state; // of the random choices
    unsigned number;
    uint64_t step;
    uintptr_t (*stack)[MOVER_WORDS]; // PLACE_STACK, one block an object
    pthread_t thread;
};

static _Thread_local uintptr_t mover_tls[MOVER_OBJECTS][MOVER_WORDS];
static _Atomic bool mover_over;       // the collecting thread stops
static _Atomic uint64_t mover_cycles; // collections that it made
static _Atomic uint64_t mover_moves_done;

static inline uint64_t mover_random(struct mover *m)
{
    m->state ^= m->state >> 12;
    m->state ^= m->state << 25;
    m->state ^= m->state >> 27;
    return m->state * 0x2545f4914f6cdd1du;
}

static void *mover_memory(void *p)
{
    WITNESS_NEED(p != NULL && p != MAP_FAILED, "no memory");
    return p;
}

static void mover_object_init(struct mover_object *o)
{
    o->small = mover_memory(calloc(MOVER_WORDS, sizeof(uintptr_t)));
    o->large = mover_memory(calloc(MOVER_LARGE, sizeof(uintptr_t)));
    o->grown_words = MOVER_WORDS;
    o->grown = mover_memory(calloc(o->grown_words, sizeof(uintptr_t)));
    o->mapped = mover_memory(
        mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    o->shared = mover_memory(
        mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
}

// The block of a place, of MOVER_WORDS words. `enter`: the pointer is about to come.
static uintptr_t *mover_block(struct mover *m, struct mover_object *o, enum mover_place place,
                              bool enter)
{
    switch (place) {
    case PLACE_GLOBAL:
        return o->global;
    case PLACE_TLS:
        return mover_tls[o - m->objects];
    case PLACE_STACK:
        return m->stack[o - m->objects];
    case PLACE_SMALL:
        return o->small;
    case PLACE_LARGE:
        return o->large + MOVER_LARGE / 2;
    case PLACE_FRESH:
    case PLACE_ABANDONED:
        if (enter)
            o->fresh = mover_memory(calloc(MOVER_WORDS + mover_random(m) % 600, sizeof(uintptr_t)));
        return o->fresh;
    case PLACE_GROWN:
        return o->grown;
    case PLACE_MAPPED:
        return o->mapped + 4000;
    default:
        return o->shared + 4000;
    }
}

// After the pointer has left `place`, whose block was `block`.
static void mover_leave(struct mover_object *o, enum mover_place place, uintptr_t *block)
{
    if (place == PLACE_FRESH || place == PLACE_ABANDONED) {
        if (o->fresh == block) // not when it went from one fresh object to the next
            o->fresh = NULL;
        if (place == PLACE_FRESH)
            free(block);
    }
}

static void mover_through_rbx(volatile uintptr_t *from, volatile uintptr_t *to)
{
    __asm__ volatile("movq (%0), %%rbx\n\tmovq $0, (%0)\n\tmovl $200, %%ecx\n"
                     "1:\tpause\n\tdecl %%ecx\n\tjnz 1b\n\t"
                     "movq %%rbx, (%1)\n\txorl %%ebx, %%ebx"
                     :
                     : "r"(from), "r"(to)
                     : "rbx", "rcx", "cc", "memory");
}

static void mover_through_r10(volatile uintptr_t *from, volatile uintptr_t *to)
{
    __asm__ volatile("movq (%0), %%r10\n\tmovq $0, (%0)\n\tmovl $200, %%ecx\n"
                     "1:\tpause\n\tdecl %%ecx\n\tjnz 1b\n\t"
                     "movq %%r10, (%1)\n\txorl %%r10d, %%r10d"
                     :
                     : "r"(from), "r"(to)
                     : "r10", "rcx", "cc", "memory");
}

static void mover_through_xmm(volatile uintptr_t *from, volatile uintptr_t *to)
{
    __asm__ volatile("movq (%0), %%xmm9\n\tmovq $0, (%0)\n\tpunpcklqdq %%xmm9, %%xmm9\n\t"
                     "psrldq $8, %%xmm9\n\tmovl $200, %%ecx\n"
                     "1:\tpause\n\tdecl %%ecx\n\tjnz 1b\n\t"
                     "movq %%xmm9, (%1)\n\tpxor %%xmm9, %%xmm9"
                     :
                     : "r"(from), "r"(to)
                     : "xmm9", "rcx", "cc", "memory");
}

static void mover_by_kernel(uintptr_t *from, uintptr_t *to)
{
    struct iovec a = {to, sizeof *to}, b = {from, sizeof *from};
    if (process_vm_readv(getpid(), &a, 1, &b, 1, 0) != (ssize_t)sizeof *to)
        *(volatile uintptr_t *)to = *(volatile uintptr_t *)from;
    *(volatile uintptr_t *)from = 0;
}

static witness_noinline void mover_carry(struct mover_object *o, enum mover_kind kind,
                                         uintptr_t *from_block, uintptr_t *to_block)
{
    volatile uintptr_t *from = from_block + 3, *to = to_block + 3;
    switch (kind) {
    case MOVE_MEMCPY:
        memmove(to_block, from_block, MOVER_WORDS * sizeof *to_block);
        if (from_block != to_block)
            memset(from_block, 0, MOVER_WORDS * sizeof *from_block);
        break;
    case MOVE_VECTOR:
        mover_through_xmm(from, to);
        break;
    case MOVE_REGISTER:
        mover_through_rbx(from, to);
        break;
    case MOVE_SCRATCH:
        mover_through_r10(from, to);
        break;
    case MOVE_EXCHANGE:
        *to = __atomic_exchange_n(from, 0, __ATOMIC_SEQ_CST);
        break;
    case MOVE_KERNEL:
        if (from != to)
            mover_by_kernel(from_block + 3, to_block + 3);
        break;
    case MOVE_INTERIOR: {
        ptrdiff_t delta = (ptrdiff_t)(o->witness.size * 3 / 4) - o->delta;
        *to = *from + (uintptr_t)delta;
        o->delta += delta;
        if (from != to)
            *from = 0;
        break;
    }
    default:
        *to = *from - (uintptr_t)o->delta;
        o->delta = 0;
        if (from != to)
            *from = 0;
    }
}

static _Noreturn void mover_fail(const struct mover *m, const struct mover_object *o,
                                 enum mover_place from, enum mover_kind kind, const char *what)
{
    printf("FAIL %s: seed %lu, mover %u, step %lu, object %td of %zu bytes, %s -> %s by %s\n", what,
           (unsigned long)m->seed, m->number, (unsigned long)m->step, o - m->objects,
           o->witness.size, mover_places[from], mover_places[o->at], mover_moves[kind]);
    printf("0 passed, 1 failed\n");
    fflush(stdout);
    _exit(1);
}

// One move, and a look at the object.
static void mover_move(struct mover *m, struct mover_object *o, enum mover_place place,
                       enum mover_kind kind)
{
    enum mover_place from = o->at;
    uintptr_t *from_block = mover_block(m, o, from, false);
    uintptr_t *to_block = mover_block(m, o, place, true);
    m->step++;
    mover_carry(o, kind, from_block, to_block);
    o->at = place;
    if (from_block != to_block)
        mover_leave(o, from, from_block);
    if (place == PLACE_GROWN) {
        o->grown_words = MOVER_WORDS + mover_random(m) % 2000;
        o->grown = mover_memory(realloc(o->grown, o->grown_words * sizeof *o->grown));
        to_block = o->grown;
    }
    if (((volatile uintptr_t *)to_block)[3] != ~o->witness.inverted + (uintptr_t)o->delta)
        mover_fail(m, o, from, kind, "the word that holds the pointer changed");
    if (!witness_intact(&o->witness))
        mover_fail(m, o, from, kind, "object lost");
    atomic_fetch_add_explicit(&mover_moves_done, 1, memory_order_relaxed);
}

// A new object in place of the old one, which is freed or left to the collector.
static witness_noinline void mover_renew(struct mover *m, struct mover_object *o, size_t size)
{
    volatile uintptr_t *word = mover_block(m, o, o->at, false) + 3;
    void *old = (void *)~o->witness.inverted;
    struct witness w;
    witness_make(&w, size);
    bool had = *word != 0;
    *word = ~w.inverted;
    witness_weigh(&w);
    o->witness = w;
    o->delta = 0;
    if (had && mover_random(m) % 2)
        free(old);
}

// Objects that nobody keeps, to take the place of what was lost.
static witness_noinline void mover_litter(struct mover *m, size_t size)
{
    for (int i = 0; i < 8; i++) {
        void *volatile p = malloc(size);
        if (p)
            memset(p, 0xee, size);
        if (mover_random(m) % 2)
            free(p);
    }
}

static void *mover_collector(void *arg)
{
    while (!atomic_load_explicit(&mover_over, memory_order_relaxed)) {
        salvage_collect();
        atomic_fetch_add_explicit(&mover_cycles, 1, memory_order_relaxed);
    }
    return arg;
}

#endif
