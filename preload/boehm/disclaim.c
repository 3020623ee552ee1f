// Objects whose death is told to a procedure: those of a kind with a disclaim procedure. Such an
// object stands in a table. When it isn't marked it stays for this cycle; its procedure is called
// at a safe point, by one thread at a time; then it is freed, unless the procedure wants it to
// stay.
//
// Where a kind asks for it all that a dead object points to outlives it, other such objects
// included, which are told in a later cycle. Else they are all told now; so nothing is freed before
// all have been, and nothing at all, but by a later cycle, when one of them stays: it may point to
// the others. (GC_finalized_malloc's objects need no table: closure.c.)
#define GC_BUILD
#include "cache.h"
#include "export.h"
#include "final.h"
#include "gc/gc.h"
#include "gc/gc_disclaim.h"
#include "heap.h"
#include "leaks.h"
#include "os.h"

#define KINDS 256u
#define BATCH 64u

enum {         // in an entry's tag; its a is ~the kind's number
    FIRST = 1, // all that it points to outlives it
    STAYS = 4  // the procedure said so
};

static struct {
    struct sv_registry table;      // held
    struct sv_registry_list dead;  // held, in settle
    struct sv_registry_list due;   // held, from settle to commit
    struct sv_registry_list queue; // held
    struct sv_registry_list told;  // held: the procedure was called
    int busy;                      // held: the process in which a thread is calling procedures
    struct sv_marker *marker;      // held, in settle
} disclaim;

static struct {
    GC_disclaim_proc proc; // held to write: set once
    bool first;            // likewise
} kinds[KINDS];

// ---- registering --------------------------------------------------------------------------------

SV_EXPORT void GC_register_disclaim_proc(int kind, GC_disclaim_proc proc, int mark_from_all)
{
    if (kind < 0 || kind >= (int)KINDS || sv_leaks_on)
        return;
    sv_boehm_init();
    sv_boehm_lock();
    kinds[kind].first = mark_from_all != 0;
    // release pairs with sv_disclaim_add's acquire
    __atomic_store_n(&kinds[kind].proc, proc, __ATOMIC_RELEASE);
    sv_boehm_unlock();
}

bool sv_disclaim_add(void *object, unsigned kind)
{
    bool fresh;
    // acquire pairs with GC_register_disclaim_proc's release
    if (kind >= KINDS || !__atomic_load_n(&kinds[kind].proc, __ATOMIC_ACQUIRE))
        return true;
    sv_boehm_lock();
    uint32_t id = sv_registry_add(&disclaim.table, (uintptr_t)object, &fresh);
    if (id) {
        struct sv_entry *e = sv_registry_entry(&disclaim.table, id);
        e->a = ~(uintptr_t)kind;
        e->b = 0;
        e->tag = kinds[kind].first ? FIRST : 0;
        sv_registry_near_set((uintptr_t)object, SV_NEAR_OBJECT);
    }
    sv_boehm_unlock();
    return id != 0;
}

void sv_disclaim_forget(uintptr_t start)
{
    uint32_t id = sv_registry_find(&disclaim.table, start);
    if (!id)
        return;
    sv_registry_unlink(&disclaim.table, id);
    struct sv_entry *e = sv_registry_entry(&disclaim.table, id);
    if (e->tag & SV_ENTRY_OFF) // it stands on a list
        e->a = 0;
    else
        sv_registry_release(&disclaim.table, id);
}

// ---- in a cycle ---------------------------------------------------------------------------------

static void list_mark(struct sv_marker *m, const struct sv_registry_list *list)
{
    for (uint32_t id = list->first; id; id = sv_registry_entry(&disclaim.table, id)->list)
        sv_mark_word(m, ~sv_registry_entry(&disclaim.table, id)->key);
}

void sv_disclaim_hold(struct sv_marker *m)
{
    list_mark(m, &disclaim.queue);
    list_mark(m, &disclaim.told);
}

// One that is marked by then, because another dead one points to it, isn't dead in this cycle.
static void dead_add(struct sv_registry *r, uint32_t id, bool marked, bool a_marked)
{
    struct sv_mark_place at;
    (void)a_marked;
    if (marked)
        return;
    if (!sv_mark_find(~sv_registry_entry(r, id)->key, &at)) {
        sv_registry_remove(r, id); // there is no such object any more
        return;
    }
    sv_registry_append(r, &disclaim.dead, id);
    if (sv_registry_entry(r, id)->tag & FIRST)
        sv_contents_mark(disclaim.marker, &at, false);
}

void sv_disclaim_settle(struct sv_marker *m)
{
    struct sv_registry *r = &disclaim.table;
    struct sv_mark_place at;
    uint32_t id;
    disclaim.dead = disclaim.due = (struct sv_registry_list){0, 0};
    if (sv_leaks_on || !r->hashed)
        return;
    disclaim.marker = m;
    sv_registry_walk(r, dead_add);
    sv_final_drain(m);
    while ((id = sv_registry_take(r, &disclaim.dead))) {
        const struct sv_entry *e = sv_registry_entry(r, id);
        if (sv_registry_marked(~e->key) || !sv_mark_find(~e->key, &at))
            continue;
        sv_mark_found(m, &at, !(e->tag & FIRST)); // else what it points to is marked
        sv_registry_append(r, &disclaim.due, id);
    }
    sv_final_drain(m);
}

void sv_disclaim_commit(void)
{
    uint32_t id;
    while ((id = sv_registry_take(&disclaim.table, &disclaim.due))) {
        sv_registry_entry(&disclaim.table, id)->tag |= SV_ENTRY_OFF;
        sv_registry_append(&disclaim.table, &disclaim.queue, id);
    }
    if (disclaim.queue.first)
        atomic_store_explicit(&sv_boehm_due, true, memory_order_relaxed);
}

// ---- telling ------------------------------------------------------------------------------------

struct told {
    uint32_t id;
    bool stays;
    uintptr_t object, kind;
};

// Some of the queue, which go to those that were told.
static unsigned queue_take(struct told told[BATCH])
{
    struct sv_registry *r = &disclaim.table;
    unsigned n = 0;
    uint32_t id;
    while (n < BATCH && (id = sv_registry_take(r, &disclaim.queue))) {
        const struct sv_entry *e = sv_registry_entry(r, id);
        if (e->a)
            told[n++] = (struct told){id, false, ~e->key, ~e->a};
        sv_registry_append(r, &disclaim.told, id);
    }
    return n;
}

// Answers whether any of them stays.
static bool queue_tell(void)
{
    struct told told[BATCH];
    bool any = false;
    for (unsigned n; (n = queue_take(told));) {
        sv_boehm_unlock();
        for (unsigned i = 0; i < n; i++)
            told[i].stays = kinds[told[i].kind].proc((void *)told[i].object) != 0;
        sv_boehm_lock();
        for (unsigned i = 0; i < n; i++) {
            sv_registry_entry(&disclaim.table, told[i].id)->tag |= told[i].stays ? STAYS : 0;
            any |= told[i].stays;
        }
    }
    return any;
}

// So many of those that were told as fit; what is to be freed is answered.
static unsigned told_take(bool any_stays, void *gone[BATCH])
{
    struct sv_registry *r = &disclaim.table;
    unsigned n = 0;
    uint32_t id;
    while (n < BATCH && (id = sv_registry_take(r, &disclaim.told))) {
        struct sv_entry *e = sv_registry_entry(r, id);
        if (e->a && (e->tag & STAYS)) {
            e->tag &= FIRST;
            continue;
        }
        if (e->a && !any_stays)
            gone[n++] = (void *)~e->key;
        if (e->a)
            sv_registry_unlink(r, id);
        sv_registry_release(r, id);
    }
    return n;
}

void sv_disclaim_poll(void)
{
    int me = sv_os_getpid();
    sv_boehm_lock();
    if (disclaim.busy != me && disclaim.queue.first) { // of a fork's parent: it isn't here
        disclaim.busy = me;
        bool any_stays = queue_tell();
        void *gone[BATCH];
        while (disclaim.told.first) {
            unsigned n = told_take(any_stays, gone);
            sv_boehm_unlock();
            for (unsigned i = 0; i < n; i++)
                if (!sv_cache_free(gone[i]))
                    sv_heap_free(gone[i]);
            sv_boehm_lock();
        }
        disclaim.busy = 0;
        sv_registry_trim(&disclaim.table);
    }
    sv_boehm_unlock();
}
