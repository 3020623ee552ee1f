// Finalizers: which object has one, which are due, and running them.
//
// When everything is marked, the objects with a finalizer that aren't, are the dead ones. What
// each of them points to is marked then, as far as its order asks for that; who is marked by it
// waits for another one's finalizer, or for its own (a cycle, which is warned about: it waits for
// good). The others are due: they are marked themselves, with all they lead to, taken out of the
// table and queued. Those that are to wait until they are really unreachable come last, and stay
// if something that is due leads to them. An entry is its own place in the queue.
//
// What is queued is a root until it runs, and the closure's data from the registration on: both
// are looked at once in a cycle beside the program, and what came since in the stop.
//
// Finalizers run at safe points, on whichever thread comes first, one at a time off the queue with
// no lock held, so that a longjmp out of one, or a fork in one, loses none of the others.
#define GC_BUILD
#include "final.h"

#include <string.h>

#include "export.h"
#include "gc/gc.h"
#include "gc/javaxfc.h"
#include "heap.h"
#include "leaks.h"
#include "metadata.h"
#include "options.h"
#include "text.h"

enum order { ORDER_NORMAL, ORDER_IGNORE_SELF, ORDER_NONE, ORDER_UNREACHABLE };

#define GROUP 32u          // dead objects whose contents are marked together
#define CYCLES_MAX 16u     // warned about after one collection
#define SEARCH_WORDS 65536 // looked at for cycles in one stop
#define SEARCH_STACK 512u
#define SEARCH_SEEN 1024u
#define KEEP_MIN 64u
#define SMALL 128u     // bytes of objects that are looked at for a pointer first
#define NESTED_MAX 16u // beyond that, finalizers don't lead to others being run

// In groups, so that the marker has something to have on its way from memory.
struct group {
    struct sv_marker *marker;
    uint32_t id[GROUP]; // dead objects of which something was marked
    unsigned n;
};

// Of an entry: a is ~fn, b the closure's data, the tag its order; on a queue it is unlinked.
static struct {
    struct sv_registry table;      // held
    struct sv_registry_list dead;  // held, in settle
    struct sv_registry_list due;   // held, from settle to commit
    struct sv_registry_list gone;  // likewise: there is no such object any more
    struct sv_registry_list found; // held: queued, and not yet told to GC_set_await_finalize_proc
    struct sv_registry_list queue; // held
    size_t nheld;                  // held: registrations ever whose data is of the heap
    uintptr_t *keep;               // held: words that are roots until the next hold
    size_t nkeep, keep_room;       // held
    bool hold_again;               // held: the tables are looked at in the stop
    bool notify;                   // held: a cycle has left something in the queue
    uintptr_t cycles[CYCLES_MAX];  // held, from settle to commit: to warn about
    unsigned ncycles;              // likewise
    long budget;                   // in settle: words that may be looked at for cycles
    struct group group;            // in settle
    GC_await_finalize_proc await;  // held
} final;

SV_EXPORT int GC_finalize_on_demand;
SV_EXPORT int GC_java_finalization = 1; // only remembered: what is due keeps all it needs, always
SV_EXPORT GC_finalizer_notifier_proc GC_finalizer_notifier;

// ---- registering --------------------------------------------------------------------------------

void sv_final_keep(uintptr_t word)
{
    if (!sv_registry_in_heap(word) || !sv_heap_marking()) // exact: a stop holds our lock
        return;
    if (final.nkeep == final.keep_room) {
        size_t room = final.keep_room ? 2 * final.keep_room : KEEP_MIN;
        uintptr_t *keep = sv_metadata_alloc(room * sizeof *keep);
        if (!keep) {
            final.hold_again = true;
            return;
        }
        if (final.keep)
            memcpy(keep, final.keep, final.nkeep * sizeof *keep);
        sv_metadata_free(final.keep, final.keep_room * sizeof *keep);
        final.keep = keep;
        final.keep_room = room;
    }
    final.keep[final.nkeep++] = word;
}

static void entry_fill(uint32_t id, GC_finalization_proc fn, void *cd, enum order order)
{
    struct sv_entry *e = sv_registry_entry(&final.table, id);
    e->a = ~(uintptr_t)fn;
    e->b = (uintptr_t)cd;
    e->tag = order & 7;
    final.nheld += sv_registry_in_heap((uintptr_t)cd);
    sv_final_keep((uintptr_t)cd);
}

struct closure {
    GC_finalization_proc fn;
    void *cd;
};

// Answers what was registered before.
static struct closure entry_register(uintptr_t object, struct closure new, enum order order)
{
    struct closure old = {NULL, NULL};
    bool fresh = false;
    uint32_t id = new.fn ? sv_registry_add(&final.table, object, &fresh)
                         : sv_registry_find(&final.table, object);
    if (id && !fresh) {
        struct sv_entry *e = sv_registry_entry(&final.table, id);
        old = (struct closure){(GC_finalization_proc)~e->a, (void *)e->b};
    }
    if (id && new.fn)
        entry_fill(id, new.fn, new.cd, order);
    else if (id)
        sv_registry_remove(&final.table, id);
    if (fresh)
        sv_registry_near_set(object, SV_NEAR_OBJECT);
    return old;
}

static void finalizer_register(void *object, struct closure new, GC_finalization_proc *old_fn,
                               void **old_cd, enum order order)
{
    struct closure old = {NULL, NULL};
    if (sv_unlikely(!sv_boehm_ready))
        sv_boehm_init();
    if (sv_registry_in_heap((uintptr_t)object)) { // what isn't of the heap never dies
        sv_boehm_lock();
        old = entry_register((uintptr_t)object, new, order);
        sv_boehm_unlock();
    }
    if (old_fn)
        *old_fn = old.fn;
    if (old_cd)
        *old_cd = old.cd;
}

SV_EXPORT void GC_register_finalizer(void *object, GC_finalization_proc fn, void *cd,
                                     GC_finalization_proc *old_fn, void **old_cd)
{
    finalizer_register(object, (struct closure){fn, cd}, old_fn, old_cd, ORDER_NORMAL);
}

SV_EXPORT void GC_register_finalizer_ignore_self(void *object, GC_finalization_proc fn, void *cd,
                                                 GC_finalization_proc *old_fn, void **old_cd)
{
    finalizer_register(object, (struct closure){fn, cd}, old_fn, old_cd, ORDER_IGNORE_SELF);
}

SV_EXPORT void GC_register_finalizer_no_order(void *object, GC_finalization_proc fn, void *cd,
                                              GC_finalization_proc *old_fn, void **old_cd)
{
    finalizer_register(object, (struct closure){fn, cd}, old_fn, old_cd, ORDER_NONE);
}

SV_EXPORT void GC_register_finalizer_unreachable(void *object, GC_finalization_proc fn, void *cd,
                                                 GC_finalization_proc *old_fn, void **old_cd)
{
    finalizer_register(object, (struct closure){fn, cd}, old_fn, old_cd, ORDER_UNREACHABLE);
}

void sv_final_forget(uintptr_t start)
{
    struct sv_mark_place at;
    if (!sv_mark_find(start, &at))
        return;
    size_t size = sv_span_slot_size(at.span);
    uint8_t near = 0;
    for (uintptr_t page = start & ~(SV_PAGE_SIZE - 1); page < start + size; page += SV_PAGE_SIZE)
        near |= atomic_load_explicit(sv_registry_near_at(page), memory_order_relaxed);
    bool queued = atomic_load_explicit(&sv_closure_queued, memory_order_relaxed);
    if (!near && !queued)
        return;
    sv_boehm_lock();
    if (queued)
        sv_closure_forget(start);
    uint32_t id = sv_registry_find(&final.table, start);
    if (id)
        sv_registry_remove(&final.table, id);
    sv_toggle_forget(start);
    sv_disclaim_forget(start);
    if (near & SV_NEAR_PLACE)
        sv_link_forget(start, start + size);
    sv_boehm_unlock();
}

// ---- roots --------------------------------------------------------------------------------------

// By way of the marker's ring, which has many on their way from memory.
void sv_words_hold(struct sv_marker *m, const struct sv_registry *r)
{
    uintptr_t words[SV_MARK_WORDS];
    size_t n = 0;
    for (uint32_t id = 1; id < r->high; id++) {
        const struct sv_entry *e = sv_registry_entry(r, id);
        if (e->key && sv_registry_in_heap(e->b))
            words[n++] = e->b;
        if (n == SV_MARK_WORDS || (n && id + 1 == r->high)) {
            sv_mark_range(m, (uintptr_t)words, (uintptr_t)(words + n), false);
            n = 0;
        }
    }
}

static void list_hold(struct sv_marker *m, const struct sv_registry_list *list)
{
    for (uint32_t id = list->first; id; id = sv_registry_entry(&final.table, id)->list)
        sv_mark_word(m, ~sv_registry_entry(&final.table, id)->key);
}

static void tables_hold(struct sv_marker *m)
{
    if (final.nheld)
        sv_words_hold(m, &final.table);
    list_hold(m, &final.found);
    list_hold(m, &final.queue);
    final.hold_again = false;
}

void sv_final_hold(struct sv_marker *m)
{
    final.nkeep = 0;
    if (!final.table.used)
        final.nheld = 0;
    tables_hold(m);
}

void sv_final_push(struct sv_marker *m)
{
    if (final.hold_again)
        tables_hold(m);
    if (final.nkeep)
        sv_mark_range(m, (uintptr_t) final.keep, (uintptr_t)(final.keep + final.nkeep), false);
}

// ---- what the dead point to ---------------------------------------------------------------------

void sv_final_drain(struct sv_marker *m)
{
    while (!sv_mark_drain(m, UINT64_MAX) && !m->work.failed)
        ;
}

// Each range by itself: it isn't the next one of a mapping's.
static void range_mark(struct sv_marker *m, uintptr_t lo, uintptr_t hi)
{
    m->range_end = 0;
    sv_mark_range(m, lo, hi, false);
}

// Most small objects that have a finalizer hold a handle and no pointer.
static bool points_anywhere(uintptr_t lo, uintptr_t end)
{
    bool any = false;
    for (uintptr_t p = lo; p + sizeof(uintptr_t) <= end; p += 4) {
        uintptr_t word;
        memcpy(&word, (const void *)p, sizeof word);
        any |= sv_registry_in_heap(word);
    }
    return any;
}

bool sv_contents_mark(struct sv_marker *m, const struct sv_mark_place *at, bool ignore_self)
{
    size_t size = sv_span_slot_size(at->span);
    uintptr_t lo = at->start, end = lo + size;
    if (sv_code_noscan(at->span->code))
        return false;
    if (sv_code_traced(at->span->code)) {
        end -= sizeof(uint64_t);
        uint64_t descriptor = *(const uint64_t *)end;
        if (!sv_closure_is(descriptor)) {
            sv_client->trace(m, lo, size, lo, lo + size, true);
            return true;
        }
        sv_closure_trace(m, descriptor);
    }
    if (size <= SMALL && !sv_options.tagbits && !points_anywhere(lo, end))
        return false;
    for (uintptr_t p = lo; ignore_self && p < end; p += sizeof(uintptr_t)) {
        if (*(const uintptr_t *)p - at->start < size) {
            range_mark(m, lo, p);
            lo = p + sizeof(uintptr_t);
        }
    }
    range_mark(m, lo, end);
    return true;
}

// Does what the object points to lead back to it? Looked for only so far as the budget reaches.
// Marks can't be used, since they tell of others' contents, too.
struct search {
    uintptr_t stack[SEARCH_STACK];
    uintptr_t seen[SEARCH_SEEN];
    unsigned n;
};

static void search_push(struct search *s, uintptr_t start)
{
    uintptr_t *seen = &s->seen[(start >> 4) * 0x9e3779b97f4a7c15u >> 54];
    if (*seen == start || s->n == SEARCH_STACK)
        return;
    *seen = start;
    s->stack[s->n++] = start;
}

static bool object_search(struct search *s, uintptr_t from, uintptr_t goal, bool ignore_self)
{
    struct sv_mark_place at, to;
    if (!sv_mark_find(from, &at) || sv_code_kind(at.span->code) != SV_SCAN)
        return false;
    uintptr_t end = at.start + sv_span_slot_size(at.span);
    for (uintptr_t p = at.start; p < end && final.budget > 0; p += sizeof(uintptr_t)) {
        uintptr_t word = *(const uintptr_t *)p;
        final.budget--;
        if (!sv_registry_in_heap(word) || !sv_mark_find(word, &to))
            continue;
        if (to.start == goal && !(ignore_self && at.start == goal))
            return true;
        if (to.start != goal)
            search_push(s, to.start);
    }
    return false;
}

static bool cycle_find(uintptr_t object, bool ignore_self)
{
    static struct search s; // in a stop: one at a time
    struct sv_mark_place at;
    memset(&s, 0, sizeof s);
    if (!sv_mark_find(object, &at))
        return false;
    if (object_search(&s, at.start, at.start, ignore_self))
        return true;
    while (s.n && final.budget > 0)
        if (object_search(&s, s.stack[--s.n], at.start, ignore_self))
            return true;
    return false;
}

// ---- who is due ---------------------------------------------------------------------------------

static enum order entry_order(uint32_t id)
{
    return (enum order)(sv_registry_entry(&final.table, id)->tag & 7);
}

static uintptr_t entry_object(uint32_t id)
{
    return ~sv_registry_entry(&final.table, id)->key;
}

// What was marked by its own group may lead to itself.
static void group_search(struct group *g)
{
    sv_final_drain(g->marker);
    for (unsigned i = 0; i < g->n; i++) {
        uintptr_t object = entry_object(g->id[i]);
        if (final.budget > 0 && final.ncycles < CYCLES_MAX && sv_registry_marked(object) &&
            cycle_find(object, entry_order(g->id[i]) == ORDER_IGNORE_SELF))
            final.cycles[final.ncycles++] = object;
    }
    g->n = 0;
}

// Marks what an object that isn't marked points to, which has to wait for it. One that another's
// group has marked is waiting itself, and isn't found here.
static void dead_add(struct sv_registry *r, uint32_t id, bool marked, bool a_marked)
{
    struct group *g = &final.group;
    struct sv_mark_place at;
    (void)a_marked;
    if (marked)
        return;
    sv_registry_append(r, &final.dead, id);
    enum order order = entry_order(id);
    if (order == ORDER_NONE || !sv_mark_find(entry_object(id), &at))
        return;
    if (sv_contents_mark(g->marker, &at, order == ORDER_IGNORE_SELF)) {
        g->id[g->n++] = id;
        if (g->n == GROUP)
            group_search(g);
    }
}

// Of the dead that nothing has marked: marked, or there is no such object, or it isn't its turn.
static bool due_mark(struct sv_marker *m, uint32_t id, enum order turn)
{
    struct sv_mark_place at;
    if (!sv_mark_find(entry_object(id), &at)) {
        sv_registry_append(&final.table, &final.gone, id);
        return true;
    }
    if ((entry_order(id) == ORDER_UNREACHABLE) != (turn == ORDER_UNREACHABLE))
        return false;
    sv_mark_found(m, &at, entry_order(id) == ORDER_NONE); // what others point to is marked
    sv_registry_append(&final.table, &final.due, id);
    return true;
}

// The dead that nothing has marked are due, and are marked; but those that are to be really
// unreachable only when the others have been. Nothing is looked at for more before all are marked.
static void dead_sort(struct sv_marker *m)
{
    struct sv_registry_list last = {0, 0};
    uint32_t id;
    while ((id = sv_registry_take(&final.table, &final.dead)))
        if (!sv_registry_marked(entry_object(id)) && !due_mark(m, id, ORDER_NORMAL))
            sv_registry_append(&final.table, &last, id);
    sv_final_drain(m);
    while ((id = sv_registry_take(&final.table, &last)))
        if (!sv_registry_marked(entry_object(id)))
            due_mark(m, id, ORDER_UNREACHABLE);
}

void sv_final_settle(struct sv_marker *m)
{
    final.dead = final.due = final.gone = (struct sv_registry_list){0, 0};
    if (sv_leaks_on || !final.table.hashed)
        return;
    final.budget = SEARCH_WORDS;
    final.ncycles = 0;
    final.group = (struct group){.marker = m};
    sv_registry_walk(&final.table, dead_add);
    group_search(&final.group);
    dead_sort(m);
}

static void due_queue(uint32_t id)
{
    sv_registry_unlink(&final.table, id);
    sv_registry_entry(&final.table, id)->tag |= SV_ENTRY_OFF;
    sv_registry_append(&final.table, &final.found, id);
}

void sv_final_commit(void)
{
    uint32_t id;
    while ((id = sv_registry_take(&final.table, &final.due)))
        due_queue(id);
    while ((id = sv_registry_take(&final.table, &final.gone)))
        sv_registry_remove(&final.table, id);
    for (unsigned i = 0; i < final.ncycles; i++)
        sv_event_warn_held("GC Warning: Finalization cycle involving %p\n", final.cycles[i]);
    final.ncycles = 0;
    final.notify = final.found.first || final.queue.first;
    if (final.notify)
        atomic_store_explicit(&sv_boehm_due, true, memory_order_relaxed);
}

// ---- running them -------------------------------------------------------------------------------

// What was found is told to the program, then it is in the queue.
static void found_tell(void)
{
    uint32_t id;
    while ((id = sv_registry_take(&final.table, &final.found))) {
        GC_await_finalize_proc await = final.await;
        void *object = (void *)entry_object(id);
        if (await) { // meanwhile our stack keeps it
            sv_boehm_unlock();
            await(object);
            sv_boehm_lock();
        }
        sv_registry_append(&final.table, &final.queue, id);
    }
}

static bool due_take(void **object, struct closure *closure)
{
    sv_boehm_lock();
    found_tell();
    uint32_t id = sv_registry_take(&final.table, &final.queue);
    if (id) {
        struct sv_entry *e = sv_registry_entry(&final.table, id);
        *object = (void *)~e->key;
        *closure = (struct closure){(GC_finalization_proc)~e->a, (void *)e->b};
        sv_registry_release(&final.table, id);
    } else {
        sv_registry_trim(&final.table);
        sv_link_trim();
    }
    sv_boehm_unlock();
    return id != 0;
}

SV_EXPORT int GC_invoke_finalizers(void)
{
    struct closure closure;
    void *object;
    int n = 0;
    for (; due_take(&object, &closure); n++)
        closure.fn(object, closure.cd);
    return n;
}

SV_EXPORT int GC_should_invoke_finalizers(void)
{
    sv_boehm_lock();
    bool any = final.found.first || final.queue.first;
    sv_boehm_unlock();
    return any;
}

// Finalizers that allocate would run others, each inside the one before: the deeper, the seldomer.
static void queue_run(void)
{
    static __thread unsigned nested, skipped;
    if (nested && (nested >= NESTED_MAX || ++skipped < 1u << nested))
        return; // who runs them goes on with the rest
    skipped = 0;
    unsigned before = nested++;
    GC_invoke_finalizers();
    nested = before;
}

void sv_final_poll(void)
{
    sv_boehm_lock();
    found_tell();
    bool any = final.queue.first;
    bool notify = any && final.notify;
    final.notify = false;
    sv_boehm_unlock();
    GC_finalizer_notifier_proc notifier = GC_finalizer_notifier;
    if (any && !GC_finalize_on_demand)
        queue_run();
    else if (notify && notifier)
        notifier();
}

// For each object with a finalizer, that there is, reachable or not. Those that a cycle marks just
// now are looked at once more in its stop.
SV_EXPORT void GC_finalize_all(void)
{
    for (bool more = true; more;) {
        sv_boehm_lock();
        for (uint32_t id = 1; id < final.table.high; id++) {
            const struct sv_entry *e = sv_registry_entry(&final.table, id);
            if (e->key && !(e->tag & SV_ENTRY_OFF))
                due_queue(id);
        }
        more = final.table.used > 0;
        final.hold_again = true;
        sv_boehm_unlock();
        GC_invoke_finalizers();
    }
}

// ---- settings -----------------------------------------------------------------------------------

SV_EXPORT void GC_set_finalize_on_demand(int on)
{
    GC_finalize_on_demand = on;
}

SV_EXPORT int GC_get_finalize_on_demand(void)
{
    return GC_finalize_on_demand;
}

SV_EXPORT void GC_set_java_finalization(int on)
{
    GC_java_finalization = on;
}

SV_EXPORT int GC_get_java_finalization(void)
{
    return GC_java_finalization;
}

SV_EXPORT void GC_set_finalizer_notifier(GC_finalizer_notifier_proc notifier)
{
    GC_finalizer_notifier = notifier;
}

SV_EXPORT GC_finalizer_notifier_proc GC_get_finalizer_notifier(void)
{
    return GC_finalizer_notifier;
}

SV_EXPORT void GC_set_await_finalize_proc(GC_await_finalize_proc fn)
{
    sv_boehm_lock();
    final.await = fn;
    sv_boehm_unlock();
}

SV_EXPORT GC_await_finalize_proc GC_get_await_finalize_proc(void)
{
    sv_boehm_lock();
    GC_await_finalize_proc fn = final.await;
    sv_boehm_unlock();
    return fn;
}

SV_EXPORT void GC_dump_finalization(void)
{
    size_t short_links, long_links;
    sv_boehm_lock();
    sv_link_count(&short_links, &long_links);
    size_t finalizers = final.table.hashed, due = final.table.used - finalizers;
    sv_boehm_unlock();
    sv_log("salvage: %z finalizers, %z of them queued; %z links, %z long links", finalizers + due,
           due, short_links, long_links);
}
