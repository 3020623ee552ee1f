// Words that the program gave to the kernel and may get back: an epoll_data, a sigval. Wrappers
// hold a word here before the system call that hands it over, and drop it when the kernel has
// forgotten it.
//
// A hash table in segments, each twice as large as the one before, of slots that never move: a
// thread may be stopped at any instruction, and a signal handler that interrupts an operation may
// begin one itself, so nobody ever waits for anybody. A slot's state carries a counter, and whoever
// wants to change a slot first takes it by compare-and-swap from the very state in which he read
// the key; a slot that was dropped and given to another key in the meantime has another count. A
// slot that somebody else has taken is passed over as if it were another key's. The price is that
// two operations on one key at the same time may leave two slots with that key, both words being
// roots, until the next drop, which looks for all of them; ordering calls for one key is the
// caller's business, as it is with the kernel.
//
// Invariant: once hold has returned, its word is in some slot until a hold or drop of the same key
// begins. A word's place is written once per operation, so the stopped world sees the old or the
// new. A slot whose owner never comes back (it jumped out of a signal handler) is lost with its
// word, which stays a root. Segments are never given back.
#include "kernel.h"

#include "proc.h"
#include "scanners.h"

#include <errno.h>
#include <stdatomic.h>

enum { SLOTS_FIRST = 1024, PROBES = 32 };

enum { EMPTY = 0, TAKEN = 1, FULL = 2, DEAD = 3, STATE_MASK = 3, COUNT_ONE = 4 };

struct slot {
    _Atomic uint64_t state; // EMPTY..DEAD, and above it how often the slot was taken
    _Atomic uintptr_t kind; // the key: written by who has taken the slot, read by anyone
    _Atomic uintptr_t a;
    _Atomic uintptr_t b;
};

struct key {
    uintptr_t kind, a, b;
};

// A segment is an array of words, which are the roots, and behind it an array of as many slots.
// Published once by compare-and-swap.
static _Atomic(uintptr_t) segments[SV_KERNEL_SEGMENTS];

static size_t segment_slots(size_t i)
{
    return (size_t)SLOTS_FIRST << i;
}

static size_t segment_bytes(size_t i)
{
    return segment_slots(i) * (sizeof(uintptr_t) + sizeof(struct slot));
}

static uintptr_t segment_load(size_t i)
{
    return atomic_load_explicit(&segments[i], memory_order_acquire);
}

static _Atomic uintptr_t *segment_words(uintptr_t segment)
{
    return (_Atomic uintptr_t *)segment;
}

static struct slot *segment_slot(uintptr_t segment, size_t i, size_t index)
{
    return (struct slot *)(segment + segment_slots(i) * sizeof(uintptr_t)) + index;
}

struct sv_mapping sv_kernel_own(size_t i)
{
    uintptr_t lo = segment_load(i);
    return (struct sv_mapping){lo, lo ? lo + segment_bytes(i) : lo, 0};
}

// Multiplication by odd constants (2^64 over the golden ratio, and two random ones), high bits
// down.
static size_t key_hash(const struct key *k)
{
    uint64_t h = k->a * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ h >> 32 ^ k->b) * UINT64_C(0xd6e8feb86659fd93);
    h = (h ^ h >> 32 ^ k->kind) * UINT64_C(0xa0761d6478bd642f);
    return (size_t)(h ^ h >> 32);
}

static bool slot_has(const struct slot *s, const struct key *k)
{
    return atomic_load_explicit(&s->kind, memory_order_relaxed) == k->kind &&
           atomic_load_explicit(&s->a, memory_order_relaxed) == k->a &&
           atomic_load_explicit(&s->b, memory_order_relaxed) == k->b;
}

// Takes the slot if it is still as it was in `state`; the release keeps the reading of the key
// before.
static bool slot_take(struct slot *s, uint64_t state)
{
    uint64_t taken = ((state & ~(uint64_t)STATE_MASK) + COUNT_ONE) | TAKEN;
    return atomic_compare_exchange_strong_explicit(&s->state, &state, taken, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

// For the owner only.
static void slot_leave(struct slot *s, unsigned as)
{
    uint64_t state = atomic_load_explicit(&s->state, memory_order_relaxed);
    atomic_store_explicit(&s->state, (state & ~(uint64_t)STATE_MASK) | as, memory_order_release);
}

// ---- searching ----------------------------------------------------------------------------------

// Walks the places where a key may be, in all segments.
struct probe {
    size_t hash;
    size_t segment; // index of the segment at hand
    size_t step;    // probes made in it
    uintptr_t base; // its address
    struct slot *slot;
    _Atomic uintptr_t *word;
    uint64_t state; // of the slot when it was looked at
};

static void probe_skip(struct probe *p)
{ // nothing further on in this segment
    p->step = PROBES;
}

static bool probe_next(struct probe *p)
{
    if (p->step == PROBES) {
        p->segment++;
        p->step = 0;
    }
    if (p->step == 0)
        p->base = p->segment < SV_KERNEL_SEGMENTS ? segment_load(p->segment) : 0;
    if (!p->base)
        return false;
    size_t index = (p->hash + p->step++) & (segment_slots(p->segment) - 1);
    p->slot = segment_slot(p->base, p->segment, index);
    p->word = &segment_words(p->base)[index];
    p->state = atomic_load_explicit(&p->slot->state, memory_order_acquire);
    return true;
}

// Takes the slot of the key. Else returns false, with *room the first slot that was free, if any.
static bool key_take(const struct key *k, struct probe *found, struct probe *room)
{
    struct probe p = {.hash = key_hash(k)};
    room->slot = NULL;
    while (probe_next(&p)) {
        unsigned state = p.state & STATE_MASK;
        if (state == FULL && slot_has(p.slot, k) && slot_take(p.slot, p.state)) {
            *found = p;
            return true;
        }
        if ((state == EMPTY || state == DEAD) && !room->slot)
            *room = p;
        if (state == EMPTY)
            probe_skip(&p);
    }
    return false;
}

// Adds a segment. Another thread, or a handler in the middle of this, may add it first.
static int segment_add(void)
{
    size_t i = 0;
    while (i < SV_KERNEL_SEGMENTS && segment_load(i))
        i++;
    if (i == SV_KERNEL_SEGMENTS)
        return -ENOMEM;
    void *memory = sv_proc_map(segment_bytes(i));
    uintptr_t none = 0;
    if (!memory)
        return -ENOMEM;
    if (!atomic_compare_exchange_strong_explicit(&segments[i], &none, (uintptr_t)memory,
                                                 memory_order_acq_rel, memory_order_relaxed))
        sv_proc_unmap(memory, segment_bytes(i));
    return 0;
}

// ---- the calls ----------------------------------------------------------------------------------

static void slot_fill(const struct probe *p, const struct key *k, uintptr_t word)
{
    atomic_store_explicit(p->word, word, memory_order_relaxed);
    atomic_store_explicit(&p->slot->kind, k->kind, memory_order_relaxed);
    atomic_store_explicit(&p->slot->a, k->a, memory_order_relaxed);
    atomic_store_explicit(&p->slot->b, k->b, memory_order_relaxed);
    slot_leave(p->slot, FULL);
}

int sv_kernel_hold(enum sv_kernel_kind kind, uintptr_t a, uintptr_t b, uintptr_t word)
{
    const struct key k = {(uintptr_t)kind, a, b};
    struct probe found, room;
    for (;;) {
        if (key_take(&k, &found, &room)) {
            slot_fill(&found, &k, word);
            return 0;
        }
        if (room.slot && slot_take(room.slot, room.state)) {
            slot_fill(&room, &k, word);
            return 0;
        }
        if (!room.slot && segment_add() != 0)
            return -ENOMEM;
    }
}

void sv_kernel_drop(enum sv_kernel_kind kind, uintptr_t a, uintptr_t b)
{
    const struct key k = {(uintptr_t)kind, a, b};
    struct probe found, room;
    while (key_take(&k, &found, &room)) {
        atomic_store_explicit(found.word, 0, memory_order_relaxed);
        slot_leave(found.slot, DEAD);
    }
}

void sv_kernel_each(sv_range_fn *fn, void *arg)
{
    for (size_t i = 0; i < SV_KERNEL_SEGMENTS; i++) {
        uintptr_t lo = segment_load(i);
        if (lo)
            fn(arg, lo, lo + segment_slots(i) * sizeof(uintptr_t));
    }
}
