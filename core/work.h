// The marker's queue: objects found reachable whose words haven't been looked at. A stack in
// chunks.
#ifndef SV_WORK_H
#define SV_WORK_H

#include "core.h"

#define SV_WORK_CHUNK 2046 // entries: a chunk is 16 KiB

struct sv_work_chunk {
    struct sv_work_chunk *below; // the rest of the stack, always full
    size_t n;                    // entries in use
    uintptr_t entry[SV_WORK_CHUNK];
};

struct sv_work {
    struct sv_work_chunk *top;   // its marker
    struct sv_work_chunk *spare; // its marker: empty chunks, for going up again
    bool failed;                 // its marker: memory was short and an object was dropped
};

// The metadata lock is held by the caller of both.
void sv_work_grow(struct sv_work *work);
void sv_work_end(struct sv_work *work); // all memory goes back

static inline void sv_work_push(struct sv_work *work, uintptr_t object)
{
    if (sv_unlikely(!work->top || work->top->n == SV_WORK_CHUNK)) {
        sv_work_grow(work);
        if (work->failed)
            return;
    }
    work->top->entry[work->top->n++] = object;
}

// The object pushed last, or 0: the queue is empty.
static inline uintptr_t sv_work_pop(struct sv_work *work)
{
    struct sv_work_chunk *top = work->top;
    if (sv_unlikely(!top || top->n == 0)) {
        if (!top || !top->below)
            return 0;
        work->top = top->below;
        top->below = work->spare;
        work->spare = top;
        top = work->top;
    }
    return top->entry[--top->n];
}

#endif
