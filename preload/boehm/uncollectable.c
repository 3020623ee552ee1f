// Uncollectable objects: roots until GC_free. Each is an ordinary object with an entry in a table
// that a cycle goes through once: what becomes an entry after that was allocated while objects were
// marked, and is marked already; what it points to comes up with its page, which was written.
#define GC_BUILD
#include "alloc.h"
#include "export.h"
#include "gc/gc.h"
#include "mark.h"

#define BATCH 256u

static struct sv_table uncollectable; // held: a: whether it holds no pointers

static void *uncollectable_add(void *p, size_t size, bool atomic)
{
    if (!p)
        return NULL;
    if (sv_unlikely(!sv_boehm_ready))
        sv_boehm_init();
    sv_object_note((uintptr_t)p);
    sv_boehm_lock();
    struct sv_table_entry *e = sv_table_add(&uncollectable, (uintptr_t)p);
    if (e)
        e->a = atomic;
    sv_boehm_unlock();
    if (e)
        return p;
    GC_free(p);
    return sv_boehm_oom(size);
}

SV_EXPORT void *GC_malloc_uncollectable(size_t size)
{
    return uncollectable_add(GC_malloc(size), size, false);
}

SV_EXPORT void *GC_malloc_atomic_uncollectable(size_t size)
{
    return uncollectable_add(GC_malloc_atomic(size), size, true);
}

bool sv_uncollectable_find(uintptr_t start, bool *atomic)
{
    sv_boehm_lock();
    const struct sv_table_entry *e = sv_table_find(&uncollectable, start);
    if (e)
        *atomic = e->a;
    sv_boehm_unlock();
    return e;
}

bool sv_uncollectable_forget(uintptr_t start)
{
    sv_boehm_lock();
    struct sv_table_entry *e = sv_table_find(&uncollectable, start);
    if (e)
        sv_table_remove(&uncollectable, e);
    sv_boehm_unlock();
    return e;
}

// Addresses on their way to the marker. As a range of words they are looked at many at a time, which
// one by one would each wait for memory.
struct batch {
    struct sv_marker *m;
    unsigned n;
    uintptr_t words[BATCH];
};

static void batch_mark(struct batch *b)
{
    sv_mark_range(b->m, (uintptr_t)b->words, (uintptr_t)(b->words + b->n), false);
    b->n = 0;
}

static bool entry_hold(struct sv_table_entry *e, void *arg)
{
    struct batch *b = arg;
    b->words[b->n++] = ~e->key;
    if (b->n == BATCH)
        batch_mark(b);
    return true;
}

void sv_uncollectable_hold(struct sv_marker *m)
{
    struct batch b = {.m = m};
    sv_table_each(&uncollectable, entry_hold, &b);
    batch_mark(&b);
}
