// The marker's queue. Its memory is metadata; when that is short the queue fails, and the cycle
// that needed it is given up: an object that isn't scanned could cost one that is still in use.
#include "work.h"

#include "metadata.h"

void sv_work_grow(struct sv_work *work)
{
    struct sv_work_chunk *chunk = work->spare;
    if (chunk)
        work->spare = chunk->below;
    else
        chunk = sv_metadata_alloc_held(sizeof *chunk);
    if (!chunk) {
        work->failed = true;
        return;
    }
    chunk->n = 0;
    chunk->below = work->top;
    work->top = chunk;
}

static void chain_free(struct sv_work_chunk *chunk)
{
    while (chunk) {
        struct sv_work_chunk *below = chunk->below;
        sv_metadata_free_held(chunk, sizeof *chunk);
        chunk = below;
    }
}

void sv_work_end(struct sv_work *work)
{
    chain_free(work->top);
    chain_free(work->spare);
    *work = (struct sv_work){0};
}
