// The pool of marking work. Two lists of chunks, with entries and without, are stacks whose head is
// one word: the chunk's address and a count of changes, so that a head which was taken off and put
// back in the meantime is recognised. Chunks are multiples of 2 KiB, which leaves 27 bits for the
// count: a thread would have to sleep in the middle of a pop for exactly 2^27 changes to be fooled.
// Chunks stay chunks until the cycle ends, so reading the `next` of one that somebody else has just
// taken is harmless: the count has changed, and what was read is dropped.
//
// Nobody ever waits for another thread here, but for metadata's lock when a block of new chunks is
// needed: a thread stopped in the middle of any function leaves lists that others can use.
//
// When memory is short the queue fails, and the cycle that needed it is given up: an object that
// isn't scanned could cost one that is still in use.
#include "work.h"

#include <string.h>

#include "assert.h"
#include "metadata.h"

#define CHUNK_BYTES sizeof(struct sv_work_chunk)
#define BLOCK_BYTES ((size_t)64 << 10) // taken from metadata at a time
#define COUNT_BITS 27
#define COUNT_MASK (((uint64_t)1 << COUNT_BITS) - 1)
#define ADDRESS_SHIFT 16 // addresses have 48 bits, the low 11 of a chunk's are 0
#define SHARE_MIN 4      // entries: fewer are not worth a chunk

_Static_assert(sizeof(struct sv_work_chunk) == 1 << (COUNT_BITS - ADDRESS_SHIFT), "heads fit");

struct block {
    struct block *next; // const once the block is listed
};

static struct {
    _Alignas(SV_CACHE_LINE) _Atomic uint64_t full;        // any marker: chunks with entries
    _Alignas(SV_CACHE_LINE) _Atomic uint64_t empty;       // any marker: chunks without
    _Alignas(SV_CACHE_LINE) struct block *_Atomic blocks; // any marker adds; freed by reset only
    _Atomic bool held;                                    // stopper: metadata's lock is held
} pool;

// ---- lists --------------------------------------------------------------------------------------

static struct sv_work_chunk *head_chunk(uint64_t head)
{
    return (struct sv_work_chunk *)(uintptr_t)((head & ~COUNT_MASK) >> ADDRESS_SHIFT);
}

static uint64_t head_make(const struct sv_work_chunk *chunk, uint64_t before)
{
    return (uint64_t)(uintptr_t)chunk << ADDRESS_SHIFT | ((before + 1) & COUNT_MASK);
}

static void list_push(_Atomic uint64_t *list, struct sv_work_chunk *chunk)
{
    uint64_t head = atomic_load_explicit(list, memory_order_relaxed);
    do {
        atomic_store_explicit(&chunk->next, head_chunk(head), memory_order_relaxed);
        // release pairs with the acquire in list_pop: the chunk's entries are there
    } while (!atomic_compare_exchange_weak_explicit(list, &head, head_make(chunk, head),
                                                    memory_order_release, memory_order_relaxed));
}

static struct sv_work_chunk *list_pop(_Atomic uint64_t *list)
{
    uint64_t head = atomic_load_explicit(list, memory_order_acquire);
    struct sv_work_chunk *chunk, *next;
    do {
        chunk = head_chunk(head);
        if (!chunk)
            return NULL;
        next = atomic_load_explicit(&chunk->next, memory_order_relaxed);
        // acquire pairs with the release in list_push
    } while (!atomic_compare_exchange_weak_explicit(list, &head, head_make(next, head),
                                                    memory_order_acquire, memory_order_acquire));
    return chunk;
}

// ---- memory -------------------------------------------------------------------------------------

static void *block_alloc(void)
{
    if (!atomic_load_explicit(&pool.held, memory_order_relaxed))
        return sv_metadata_alloc(BLOCK_BYTES);
    return sv_metadata_alloc_held(BLOCK_BYTES);
}

// The chunks of a block but its first go to the list of empty ones; the first is returned.
static struct sv_work_chunk *block_carve(struct block *block)
{
    uintptr_t at = ((uintptr_t)(block + 1) + CHUNK_BYTES - 1) & ~(CHUNK_BYTES - 1);
    uintptr_t end = (uintptr_t)block + BLOCK_BYTES;
    struct sv_work_chunk *first = (struct sv_work_chunk *)at;
    first->n = 0;
    for (at += CHUNK_BYTES; at + CHUNK_BYTES <= end; at += CHUNK_BYTES) {
        struct sv_work_chunk *chunk = (struct sv_work_chunk *)at;
        chunk->n = 0;
        list_push(&pool.empty, chunk);
    }
    return first;
}

static struct sv_work_chunk *chunk_new(void)
{
    struct sv_work_chunk *chunk = list_pop(&pool.empty);
    sv_debug(!chunk || chunk->n == 0);
    if (chunk)
        return chunk;
    struct block *block = block_alloc();
    if (!block)
        return NULL;
    struct block *blocks = atomic_load_explicit(&pool.blocks, memory_order_relaxed);
    do
        block->next = blocks;
    // read again by sv_work_reset and sv_work_fork_child only, when no marker is at work
    while (!atomic_compare_exchange_weak_explicit(&pool.blocks, &blocks, block,
                                                  memory_order_release, memory_order_relaxed));
    return block_carve(block);
}

static void chunk_give(struct sv_work_chunk *chunk)
{
    if (chunk)
        list_push(chunk->n ? &pool.full : &pool.empty, chunk);
}

// ---- a marker's own part ------------------------------------------------------------------------

static void chunks_swap(struct sv_work *work)
{
    struct sv_work_chunk *top = work->top;
    work->top = work->other;
    work->other = top;
}

bool sv_work_grow(struct sv_work *work)
{
    if (work->other && work->other->n < SV_WORK_CHUNK) {
        chunks_swap(work);
        return true;
    }
    struct sv_work_chunk *chunk = chunk_new();
    if (!chunk) {
        work->failed = true;
        return false;
    }
    chunk_give(work->other);
    work->other = work->top;
    work->top = chunk;
    return true;
}

bool sv_work_refill(struct sv_work *work)
{
    if (work->other && work->other->n) {
        chunks_swap(work);
        return true;
    }
    struct sv_work_chunk *chunk = list_pop(&pool.full);
    if (!chunk)
        return false;
    sv_debug(chunk->n > 0 && chunk->n <= SV_WORK_CHUNK);
    chunk_give(work->other);
    work->other = work->top;
    work->top = chunk;
    return true;
}

// The older half is given away: what was found early tends to have more behind it.
static void top_split(struct sv_work *work)
{
    struct sv_work_chunk *top = work->top;
    struct sv_work_chunk *chunk = chunk_new();
    if (!chunk)
        return;
    chunk->n = top->n / 2;
    top->n -= chunk->n;
    memcpy(chunk->entry, top->entry, chunk->n * sizeof *chunk->entry);
    memmove(top->entry, top->entry + chunk->n, top->n * sizeof *top->entry);
    chunk_give(chunk);
}

void sv_work_share(struct sv_work *work)
{
    if (!sv_work_idle())
        return;
    if (work->other && work->other->n) {
        chunk_give(work->other);
        work->other = NULL;
    } else if (work->top && work->top->n >= SHARE_MIN) {
        top_split(work);
    }
}

void sv_work_flush(struct sv_work *work)
{
    chunk_give(work->top);
    chunk_give(work->other);
    work->top = work->other = NULL;
}

// ---- the whole pool -----------------------------------------------------------------------------

bool sv_work_idle(void)
{
    return !head_chunk(atomic_load_explicit(&pool.full, memory_order_relaxed));
}

void sv_work_held(bool held)
{
    atomic_store_explicit(&pool.held, held, memory_order_relaxed);
}

void sv_work_reset(void)
{
    struct block *block = atomic_load_explicit(&pool.blocks, memory_order_acquire);
    atomic_store_explicit(&pool.full, 0, memory_order_relaxed);
    atomic_store_explicit(&pool.empty, 0, memory_order_relaxed);
    atomic_store_explicit(&pool.blocks, NULL, memory_order_relaxed);
    while (block) {
        struct block *next = block->next;
        if (atomic_load_explicit(&pool.held, memory_order_relaxed))
            sv_metadata_free_held(block, BLOCK_BYTES);
        else
            sv_metadata_free(block, BLOCK_BYTES);
        block = next;
    }
}

void sv_work_fork_child(void)
{
    sv_work_held(false);
    atomic_store_explicit(&pool.full, 0, memory_order_relaxed);
    atomic_store_explicit(&pool.empty, 0, memory_order_relaxed);
    struct block *block = atomic_load_explicit(&pool.blocks, memory_order_relaxed);
    for (; block; block = block->next)
        list_push(&pool.empty, block_carve(block));
}
