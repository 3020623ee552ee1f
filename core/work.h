// Objects found reachable whose words haven't been looked at: what markers push, pop and share.
// What an entry means is its owner's business; only 0 can't be one.
//
// A marker's own part (struct sv_work) is two chunks and belongs to one thread at a time. All else
// is in the pool: lists of full and of empty chunks, lock-free, because a thread that helps to mark
// may be stopped anywhere, in the middle of these functions too.
#ifndef SV_WORK_H
#define SV_WORK_H

#include "core.h"

#define SV_WORK_CHUNK 254 // entries: a chunk is 2 KiB

struct sv_work_chunk {
    struct sv_work_chunk *_Atomic next; // whoever has the chunk: the next of a list of the pool
    size_t n;                           // whoever has the chunk: entries in use
    uintptr_t entry[SV_WORK_CHUNK];     // whoever has the chunk
};

// Zeroed to begin with.
struct sv_work {
    struct sv_work_chunk *top;   // its marker: pushed to and popped from
    struct sv_work_chunk *other; // its marker: takes top's place when that is full or empty
    bool failed;                 // its marker: memory was short and an entry was dropped
};

// The slow halves of push and pop: false when there is no memory (`failed` is then set), and when
// nothing is left here and in the pool.
bool sv_work_grow(struct sv_work *work);
bool sv_work_refill(struct sv_work *work);

// Gives other markers something to take: about half of what is here, if the pool has nothing.
void sv_work_share(struct sv_work *work);

// All that is here goes to the pool; *work holds no memory afterwards.
void sv_work_flush(struct sv_work *work);

// True when the pool has no entries. What markers have for themselves doesn't count.
bool sv_work_idle(void);

// The pool takes its memory from metadata. While the world is stopped, whoever stopped it holds
// metadata's lock: it says so here after the stop, before it or any helper pushes, and takes it
// back before the lock goes. In between, only the stopper and its helpers may mark. A marker that
// isn't stopped with the program must be at rest before metadata's lock is taken, or it could wait
// for that lock in sv_work_grow for as long as the stop lasts.
void sv_work_held(bool held);

// Ends a cycle: the pool's memory goes back to metadata, entries and all. No marker is at work, and
// none keeps what it had: each is begun or zeroed again before it pushes.
void sv_work_reset(void);

// In a forked child, which has no other threads: the pool forgets all entries and keeps its memory.
// No marker's *work of before the fork may be used again.
void sv_work_fork_child(void);

// Without memory for another chunk the entry is lost, and `failed` says so.
static inline void sv_work_push(struct sv_work *work, uintptr_t entry)
{
    struct sv_work_chunk *top = work->top;
    if (sv_unlikely(!top || top->n == SV_WORK_CHUNK)) {
        if (!sv_work_grow(work))
            return;
        top = work->top;
    }
    top->entry[top->n++] = entry;
}

// The entry pushed last or one from the pool, or 0: nothing is left in either.
static inline uintptr_t sv_work_pop(struct sv_work *work)
{
    struct sv_work_chunk *top = work->top;
    if (sv_unlikely(!top || top->n == 0)) {
        if (!sv_work_refill(work))
            return 0;
        top = work->top;
    }
    return top->entry[--top->n];
}

#endif
