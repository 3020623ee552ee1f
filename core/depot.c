// The depot. Stacks share their outer frames, most of them, so they are kept as paths in a tree:
// a node holds up to four frames and the number of the node that holds the next outer ones. Groups
// of four are counted from the outermost frame, so that stacks with the same outer frames have the
// same nodes; only the innermost node of a stack may be less than full. A stack's number is that of
// its innermost node. A node is 32 bytes: user addresses have 47 bits, so a frame takes six bytes,
// its top bit being SV_DEPOT_EXACT.
//
// Nodes are written once, under metadata's lock, and named afterwards, by a store with release;
// they never move and never go. A look-up takes no lock: it walks a chain that is only prepended
// to, or re-linked when the buckets double. Re-linking leaves every chain finite, since a re-linked
// node points to nodes that were re-linked before it, but a reader may then miss a node: who finds
// none looks again under the lock. Old tables of buckets are kept, since somebody may still read
// them; all of them together are as large as the new one.
#include "depot.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "core.h"
#include "metadata.h"

#define GROUP 4u         // frames of a node
#define CHUNK_SHIFT 10   // nodes of a chunk, as a power of two
#define BUCKETS_MIN 256u // doubled when there are twice as many nodes
#define FRAME_EXACT ((uint64_t)1 << 47)

struct node {
    uint32_t outer;        // const: the node with the next outer frames, 0: none
    _Atomic uint32_t next; // metadata lock to write: of the same bucket
    uint32_t low[GROUP];   // const: frames, innermost first; 0 and 0: no more
    uint16_t high[GROUP];  // const
};
_Static_assert(sizeof(struct node) == 32, "two nodes a cache line");

struct table {
    uint32_t mask;
    _Atomic uint32_t buckets[];
};

static struct {
    _Atomic(struct node *) chunks[SV_DEPOT_MAX >> CHUNK_SHIFT]; // metadata lock to write
    _Atomic(struct table *) table;                              // metadata lock to write
    _Atomic uint32_t count;                                     // metadata lock to write
} depot;

struct key { // what a node is looked for by
    uint32_t outer;
    uint64_t frames[GROUP]; // packed, 0: none
};

static uint64_t frame_pack(uintptr_t frame)
{
    return (frame & (FRAME_EXACT - 1)) | (frame & SV_DEPOT_EXACT ? FRAME_EXACT : 0);
}

static uintptr_t frame_unpack(uint64_t packed)
{
    return (packed & (FRAME_EXACT - 1)) | (packed & FRAME_EXACT ? SV_DEPOT_EXACT : 0);
}

static uint64_t node_frame(const struct node *node, unsigned i)
{
    return (uint64_t)node->high[i] << 32 | node->low[i];
}

static struct node *node_at(uint32_t number)
{
    // acquire pairs with the release in node_make; number - 1: 0 is no node
    struct node *chunk =
        atomic_load_explicit(&depot.chunks[(number - 1) >> CHUNK_SHIFT], memory_order_acquire);
    return &chunk[(number - 1) & ((1u << CHUNK_SHIFT) - 1)];
}

static uint64_t key_hash(const struct key *key)
{
    uint64_t h = key->outer * 0x9e3779b97f4a7c15u;
    for (unsigned i = 0; i < GROUP; i++) {
        h = (h ^ key->frames[i]) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    return h;
}

static bool key_is(const struct key *key, const struct node *node)
{
    bool same = key->outer == node->outer;
    for (unsigned i = 0; i < GROUP; i++)
        same &= key->frames[i] == node_frame(node, i);
    return same;
}

static struct key node_key(const struct node *node)
{
    struct key key = {.outer = node->outer};
    for (unsigned i = 0; i < GROUP; i++)
        key.frames[i] = node_frame(node, i);
    return key;
}

static uint32_t node_find(const struct key *key, uint64_t hash)
{
    struct table *table = atomic_load_explicit(&depot.table, memory_order_acquire);
    uint32_t number = 0;
    if (table) // acquire pairs with the release in node_link: the node is complete
        number = atomic_load_explicit(&table->buckets[hash & table->mask], memory_order_acquire);
    while (number && !key_is(key, node_at(number)))
        number = atomic_load_explicit(&node_at(number)->next, memory_order_acquire);
    return number;
}

// ---- making; metadata lock held -----------------------------------------------------------------

static void node_link(struct table *table, uint32_t number, uint64_t hash)
{
    _Atomic uint32_t *bucket = &table->buckets[hash & table->mask];
    uint32_t first = atomic_load_explicit(bucket, memory_order_relaxed);
    atomic_store_explicit(&node_at(number)->next, first, memory_order_release);
    atomic_store_explicit(bucket, number, memory_order_release);
}

// There is a table, and it isn't crowded if memory allows.
static bool table_ready(uint32_t count)
{
    struct table *old = atomic_load_explicit(&depot.table, memory_order_relaxed);
    if (old && count < 2 * (old->mask + 1))
        return true;
    uint32_t n = old ? 2 * (old->mask + 1) : BUCKETS_MIN;
    struct table *new = sv_metadata_alloc_held(sizeof *new + n * sizeof new->buckets[0]);
    if (!new)
        return old != NULL;
    new->mask = n - 1;
    for (uint32_t number = 1; number <= count; number++) {
        struct key key = node_key(node_at(number));
        node_link(new, number, key_hash(&key));
    }
    atomic_store_explicit(&depot.table, new, memory_order_release);
    return true;
}

static uint32_t node_make(const struct key *key, uint64_t hash)
{
    uint32_t count = atomic_load_explicit(&depot.count, memory_order_relaxed);
    if (count + 1 >= SV_DEPOT_MAX || !table_ready(count))
        return 0;
    uint32_t number = count + 1;
    _Atomic(struct node *) *chunk = &depot.chunks[count >> CHUNK_SHIFT];
    if (!atomic_load_explicit(chunk, memory_order_relaxed)) {
        struct node *made = sv_metadata_alloc_held(sizeof *made << CHUNK_SHIFT);
        if (!made)
            return 0;
        atomic_store_explicit(chunk, made, memory_order_release);
    }
    struct node *node = node_at(number);
    node->outer = key->outer;
    for (unsigned i = 0; i < GROUP; i++) {
        node->low[i] = (uint32_t)key->frames[i];
        node->high[i] = (uint16_t)(key->frames[i] >> 32);
    }
    node_link(atomic_load_explicit(&depot.table, memory_order_relaxed), number, hash);
    // release: who counts on so many numbers finds their nodes
    atomic_store_explicit(&depot.count, number, memory_order_release);
    return number;
}

static uint32_t node_put(const struct key *key)
{
    uint64_t hash = key_hash(key);
    uint32_t number = node_find(key, hash);
    if (number || sv_metadata_locked_here())
        return number;
    sv_metadata_lock();
    number = node_find(key, hash);
    if (!number)
        number = node_make(key, hash);
    sv_metadata_unlock();
    return number;
}

// ---- the face -----------------------------------------------------------------------------------

uint32_t sv_depot_put(const uintptr_t *frames, unsigned n)
{
    uint32_t number = 0;
    n = n < SV_DEPOT_DEPTH ? n : SV_DEPOT_DEPTH;
    for (unsigned end = n; end > 0;) {
        unsigned take = end < GROUP ? end : GROUP;
        struct key key = {.outer = number};
        for (unsigned i = 0; i < take; i++)
            key.frames[i] = frame_pack(frames[end - take + i]);
        number = node_put(&key);
        if (!number)
            return 0;
        end -= take;
    }
    return number;
}

unsigned sv_depot_get(uint32_t stack, uintptr_t frames[SV_DEPOT_DEPTH])
{
    unsigned n = 0;
    if (stack > sv_depot_count())
        return 0;
    for (uint32_t number = stack; number; number = node_at(number)->outer) {
        const struct node *node = node_at(number);
        for (unsigned i = 0; i < GROUP && node_frame(node, i) && n < SV_DEPOT_DEPTH; i++)
            frames[n++] = frame_unpack(node_frame(node, i));
    }
    return n;
}

uint32_t sv_depot_count(void)
{
    return atomic_load_explicit(&depot.count, memory_order_acquire);
}
