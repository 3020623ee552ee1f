// A check for leaks: the cycles that it takes, what they found, and the record of it.
//
// While the program goes on, cycles run beside it as ever, two if the first found anything new.
// When a process ends, its checks run in the thread that ends it, with the world stopped for each
// mark: there may be no other thread left that could. If nothing but that thread has run between
// two marks, the second would find what the first one did, and is left out.
//
// From then on no cycle may run, so the check keeps the cycle lock until the record is written. The
// program runs: what is lost it doesn't touch, and if it hid a pointer after all, the object's word
// says so when it is read again. Spans are looked at one by one, under the lock that keeps each.
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "cycle.h"
#include "depot.h"
#include "heap.h"
#include "leaks.h"
#include "lock.h"
#include "lost.h"
#include "mark.h"
#include "metadata.h"
#include "modules.h"
#include "options.h"
#include "os.h"
#include "pagemap.h"
#include "profile.h"
#include "record.h"
#include "sites.h"
#include "span.h"
#include "startmark.h"
#include "sweep.h"

#define TRY_NS ((uint64_t)2 << 30) // a check gives up when the world can't be stopped for so long
#define TRY_NAP_NS 5000000u        // between two tries
#define POSSIBLE_FREE ((uint64_t)16 << 20) // bytes live: up to here one looks for interior pointers
#define POSSIBLE_NS 4u                     // above: nanoseconds a byte, at most a
#define POSSIBLE_SHARE 50u                 // ...th of the processor time so far
#define POSSIBLE_LINES 1000u               // objects named without being asked for
#define MINUTE 600u                        // tenths of a second

enum class { // as the record names them
    CLASS_DIRECT,
    CLASS_INDIRECT,
    CLASS_POSSIBLE,
    CLASS_ABANDONED,
    CLASS_HIDDEN,
    CLASS_LIVE,
    NCLASS
};
static const char *const class_names[NCLASS] = {"direct",    "indirect", "possible",
                                                "abandoned", "hidden",   "live"};

// What a check adds up for a stack and a class.
struct sum {
    uint32_t stack;
    uint32_t class;       // and 1; 0: none
    uint32_t first, last; // tenths of a second
    uint64_t objects, bytes;
};

struct sums {
    struct sum *v; // a hash table; sorted at the end
    size_t n;      // in use
    size_t cap;    // a power of two
    bool failed;   // memory was short
};

// All of a check's, cycle lock held.
static struct {
    struct sv_record record;
    struct sv_lost lost;
    struct sv_lost late;       // what is abandoned
    struct sv_startmark start; // what only interior pointers hold
    bool looked;               // `start` was run
    struct sums sums;
    uintptr_t frames[SV_DEPOT_DEPTH];
} check;

static uint32_t hash(uint64_t key)
{
    return (uint32_t)(key * 0x9e3779b97f4a7c15u >> 32);
}

static uint32_t cycle_now(void)
{
    return atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
}

// ---- walking over objects; cycle lock held, everything swept ------------------------------------

// Told of each recorded object in use; the lock that keeps it there is held.
typedef void object_fn(struct sv_span *span, uintptr_t start, sv_profile_word *word);

static void span_each(struct sv_span *span, object_fn *fn)
{
    struct sv_bits *bits = sv_span_bits(span);
    uintptr_t base = sv_page_addr((uint32_t)(span - sv_heap.spans));
    size_t size = sv_span_slot_size(span);
    for (unsigned w = 0; w < sv_span_words(span); w++) {
        uint64_t used = atomic_load_explicit(&bits[w].alloc, memory_order_relaxed);
        for (; used; used &= used - 1) {
            uintptr_t start = base + (w * 64 + (unsigned)__builtin_ctzll(used)) * size;
            sv_profile_word *word = sv_profile_word_of((const void *)start);
            if (word)
                fn(span, start, word);
        }
    }
}

static void page_walk(uint32_t page, sv_pagemap_entry e, bool all, object_fn *fn)
{
    struct sv_span *span = sv_span_at(page);
    unsigned code = sv_pagemap_code(e);
    bool large = sv_code_class(code) == SV_CLASS_LARGE;
    if (!all && !large && !__atomic_load_n(&span->suspects, __ATOMIC_RELAXED))
        return;
    struct sv_lock *lock = large ? &sv_heap.lock : &sv_heap.central[code].lock;
    sv_lock_acquire(lock);
    if (sv_pagemap_get(page) == e) // still there, or another of the same kind
        span_each(span, fn);
    sv_lock_release(lock);
}

// All objects, or those of flagged spans and large ones.
static void heap_walk(bool all, object_fn *fn)
{
    // acquire pairs with the release in sv_region_grow: the tables are accessible
    uint32_t grown = __atomic_load_n(&sv_heap.grown, __ATOMIC_ACQUIRE);
    for (uint32_t page = 1; page < grown; page++) {
        sv_pagemap_entry e = sv_pagemap_get(page);
        if (e && sv_pagemap_first(page, e) == page)
            page_walk(page, e, all, fn);
    }
}

// ---- adding up ----------------------------------------------------------------------------------

static struct sum *sum_place(struct sum *v, size_t cap, uint32_t stack, uint32_t class)
{
    size_t i = hash((uint64_t)stack << 4 | class) & (cap - 1);
    while (v[i].class && (v[i].stack != stack || v[i].class != class))
        i = (i + 1) & (cap - 1);
    return &v[i];
}

static bool sums_grow(struct sums *s)
{
    size_t cap = s->cap ? 2 * s->cap : 256;
    struct sum *v = sv_metadata_alloc(cap * sizeof *v);
    if (!v) {
        s->failed = true;
        return false;
    }
    for (size_t i = 0; i < s->cap; i++)
        if (s->v[i].class)
            *sum_place(v, cap, s->v[i].stack, s->v[i].class) = s->v[i];
    sv_metadata_free(s->v, s->cap * sizeof *v);
    s->v = v;
    s->cap = cap;
    return true;
}

static void sums_add(struct sums *s, enum class class, const struct sv_profile_site *from,
                     uint64_t objects)
{
    if (s->failed || (4 * s->n >= 3 * s->cap && !sums_grow(s)))
        return;
    struct sum *at = sum_place(s->v, s->cap, from->stack, class + 1);
    if (!at->class) {
        *at = (struct sum){.stack = from->stack, .class = class + 1, .first = UINT32_MAX};
        s->n++;
    }
    at->objects += objects;
    at->bytes += from->bytes;
    at->first = from->when < at->first ? from->when : at->first;
    at->last = from->when > at->last ? from->when : at->last;
}

static bool sum_before(const struct sum *a, const struct sum *b)
{
    return a->stack != b->stack ? a->stack < b->stack : a->class < b->class;
}

// By stack, then class; no hash table any more.
static void sums_sort(struct sums *s)
{
    struct sum *v = s->v;
    size_t n = 0;
    for (size_t i = 0; i < s->cap; i++)
        if (v[i].class)
            v[n++] = v[i];
    for (size_t gap = n / 2; gap > 0; gap /= 2) { // Shell's
        for (size_t i = gap; i < n; i++) {
            struct sum x = v[i];
            size_t j = i;
            for (; j >= gap && sum_before(&x, &v[j - gap]); j -= gap)
                v[j] = v[j - gap];
            v[j] = x;
        }
    }
    s->n = n;
}

// ---- what a check finds; cycle lock held, everything swept --------------------------------------

// There is no second mark that could tell candidates from what was on its way: see above.
static void candidate_promote(struct sv_span *span, uintptr_t start, sv_profile_word *word)
{
    (void)start;
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    if (sv_leaks_state(old) != SV_LEAKS_CANDIDATE)
        return;
    bool large = sv_code_class(span->code) == SV_CLASS_LARGE; // then the lock is held
    if (!large)
        sv_lock_acquire(&sv_heap.lock);
    sv_leaks_settle(word, old, sv_span_slot_size(span));
    if (!large)
        sv_lock_release(&sv_heap.lock);
}

static void lost_collect(struct sv_span *span, uintptr_t start, sv_profile_word *word)
{
    unsigned state = sv_leaks_state(atomic_load_explicit(word, memory_order_relaxed));
    if (state == SV_LEAKS_LOST)
        sv_lost_add(&check.lost, span, start);
    else if (state == SV_LEAKS_ABANDONED)
        sv_lost_add(&check.late, span, start);
}

// A slot that the program freed keeps its word until it is taken again, and has the key meanwhile.
static void live_collect(struct sv_span *span, uintptr_t start, sv_profile_word *word)
{
    struct sv_profile_site from;
    uint64_t old = atomic_load_explicit(word, memory_order_relaxed);
    if (sv_leaks_state(old) != SV_LEAKS_NONE || sv_mark_freed(start))
        return;
    if (sv_profile_read(old, sv_span_slot_size(span), &from))
        sums_add(&check.sums, CLASS_LIVE, &from, 1);
}

// A lost object as it is now; false: it isn't any more.
static bool lost_read(uintptr_t start, unsigned state, struct sv_profile_site *out)
{
    uint64_t word;
    size_t size;
    return sv_lost_word(start, &word, &size) && sv_leaks_state(word) == state &&
           sv_profile_read(word, size, out);
}

static void lost_sum(void)
{
    struct sv_profile_site from;
    for (size_t i = 0; i < check.lost.n; i++)
        if (lost_read(sv_lost_start(&check.lost, i), SV_LEAKS_LOST, &from))
            sums_add(&check.sums, sv_lost_indirect(&check.lost, i) ? CLASS_INDIRECT : CLASS_DIRECT,
                     &from, 1);
    for (size_t i = 0; i < check.late.n; i++)
        if (lost_read(sv_lost_start(&check.late, i), SV_LEAKS_ABANDONED, &from))
            sums_add(&check.sums, CLASS_ABANDONED, &from, 1);
}

// An object that only interior pointers hold, as it is now.
static bool possible_read(uintptr_t start, struct sv_profile_site *out)
{
    uint64_t word;
    size_t size;
    return sv_lost_word(start, &word, &size) && sv_profile_read(word, size, out) &&
           !sv_mark_freed(start);
}

static void possible_sum(void)
{
    struct sv_profile_site from;
    for (size_t i = 0; i < check.start.n && !check.start.failed; i++)
        if (possible_read(check.start.v[i].start, &from))
            sums_add(&check.sums, CLASS_POSSIBLE, &from, 1);
}

static void hidden_add(void *arg, uint32_t stack, const struct sv_site_point *hidden)
{
    struct sv_profile_site from = {stack, hidden->when, hidden->bytes};
    sums_add(arg, CLASS_HIDDEN, &from, hidden->objects);
}

static void hidden_sum(void)
{
    sv_lock_acquire(&sv_heap.lock);
    sv_sites_hidden(hidden_add, &check.sums);
    sv_lock_release(&sv_heap.lock);
}

static bool classify(const struct sv_leaks_ask *ask)
{
    // acquire pairs with the release in sv_region_grow
    sv_lost_begin(&check.lost, __atomic_load_n(&sv_heap.grown, __ATOMIC_ACQUIRE));
    sv_lost_begin(&check.late, check.lost.npages);
    if (sv_leaks_on)
        heap_walk(false, lost_collect);
    bool ok = !check.late.failed && sv_lost_classify(&check.lost);
    lost_sum();
    possible_sum();
    hidden_sum();
    if (ask->live)
        heap_walk(true, live_collect);
    sums_sort(&check.sums);
    return ok && !check.sums.failed;
}

// ---- the record ---------------------------------------------------------------------------------

static const char *const reason_names[] = {"request", "api",        "period", "rss",
                                           "exit",    "after-exit", "_exit",  "quick_exit",
                                           "abort",   "signal",     "exec"};

static void header_put(struct sv_record *r, const struct sv_leaks_ask *ask, int procfd)
{
    uint64_t now = sv_os_realtime() / 1000000;
    uint64_t ms = now % 1000;
    sv_record_put(r, "salvage-raw 1 %s\n", SALVAGE_VERSION);
    sv_record_process(r, procfd);
    sv_record_put(r, "check %s %U.%U%U%U ", reason_names[ask->reason], now / 1000, ms / 100,
                  ms / 10 % 10, ms % 10);
    sv_record_seconds(r, sv_profile_now());
    sv_record_put(r, " %u\nrecording %U %u\n", cycle_now(), sv_options.sample, sv_options.depth);
}

static void heap_put(struct sv_record *r)
{
    uint64_t live = 0, allocated = 0;
    for (unsigned code = 0; code < SV_NCODE; code++) {
        struct sv_central *central = &sv_heap.central[code];
        sv_lock_acquire(&central->lock);
        live += central->nused;
        allocated += central->allocated;
        sv_lock_release(&central->lock);
    }
    sv_record_put(r, "heap %U %U %U %U %U\n",
                  atomic_load_explicit(&sv_heap.live, memory_order_relaxed), live,
                  atomic_load_explicit(&sv_heap.allocated, memory_order_relaxed), allocated,
                  atomic_load_explicit(&sv_heap.freed, memory_order_relaxed));
}

static void stack_put(struct sv_record *r, uint32_t stack)
{
    unsigned n = stack ? sv_depot_get(stack, check.frames) : 0;
    if (n == 0)
        return;
    sv_record_put(r, "stack %u", stack);
    for (unsigned i = 0; i < n; i++)
        sv_record_put(r, check.frames[i] & SV_DEPOT_EXACT ? " =%p" : " %p",
                      (void *)(check.frames[i] & ~SV_DEPOT_EXACT));
    sv_record_put(r, "\n");
}

// Bytes a minute from `from` to now; by the objects' own times where there is no history.
static int64_t growth(const struct sv_site *s, const struct sum *sum)
{
    uint32_t now = sv_profile_now();
    if (s && s->npoints && now > s->points[0].when) {
        int64_t by = s->bytes - (int64_t)s->points[0].bytes;
        return by * (int64_t)MINUTE / (int64_t)(now - s->points[0].when);
    }
    if (sum->class == CLASS_LIVE + 1 || sum->objects < 2 || sum->last <= sum->first)
        return 0;
    return (int64_t)(sum->bytes * MINUTE / (sum->last - sum->first));
}

static void site_put(struct sv_record *r, const struct sum *sum, bool history)
{
    enum class class = sum->class - 1;
    sv_lock_acquire(&sv_heap.lock);
    const struct sv_site *found =
        sv_site_find(sum->stack, class == CLASS_LIVE ? SV_SITES_LIVE : SV_SITES_LOST);
    struct sv_site s =
        found ? *found : (struct sv_site){.cycle = cycle_now(), .found = sv_profile_now()};
    if (class == CLASS_LIVE)
        sv_sites_live(sum->stack, sum->objects, sum->bytes);
    sv_lock_release(&sv_heap.lock);
    s.bytes = class == CLASS_LIVE ? (int64_t)sum->bytes : s.bytes;
    int64_t by = growth(history ? &s : NULL, sum);
    sv_record_put(r, "site %u %s %U %U ", sum->stack, class_names[class], sum->objects, sum->bytes);
    sv_record_seconds(r, sum->first);
    sv_record_put(r, " ");
    sv_record_seconds(r, sum->last);
    sv_record_put(r, " %u ", s.cycle);
    sv_record_seconds(r, s.found);
    sv_record_put(r, " %s%U\n", by < 0 ? "-" : "", (uint64_t)(by < 0 ? -by : by));
    for (unsigned i = 0; history && i < s.npoints; i++) {
        sv_record_put(r, "growth %u %s ", sum->stack, class_names[class]);
        sv_record_seconds(r, s.points[i].when);
        sv_record_put(r, " %U %U\n", s.points[i].objects, s.points[i].bytes);
    }
}

static bool class_shown(const struct sv_leaks_ask *ask, const struct sum *sum)
{
    return sum->class != CLASS_ABANDONED + 1 || ask->abandoned;
}

// History is kept by stack; it is told with the class that has the most of its bytes.
static bool class_leads(const struct sum *v, size_t n, size_t i)
{
    if (v[i].class == CLASS_LIVE + 1)
        return true;
    if (v[i].class > CLASS_INDIRECT + 1)
        return false;
    for (size_t j = i ? i - 1 : i; j < n && j <= i + 1; j++) {
        bool before = j < i;
        if (j != i && v[j].stack == v[i].stack && v[j].class <= CLASS_INDIRECT + 1 &&
            (v[j].bytes > v[i].bytes || (v[j].bytes == v[i].bytes && before)))
            return false;
    }
    return true;
}

static bool allocated_next(uint32_t *at, uint32_t *stack, struct sv_site *s)
{
    sv_lock_acquire(&sv_heap.lock);
    bool more = sv_sites_next(at, SV_SITES_ALLOCATED, stack, s);
    sv_lock_release(&sv_heap.lock);
    return more;
}

// What was ever recorded of each stack, under `sample`. A table that grows meanwhile may have one
// told twice or not at all.
static void allocated_put(struct sv_record *r)
{
    struct sv_site s;
    for (uint32_t at = 0, stack; allocated_next(&at, &stack, &s);) {
        stack_put(r, stack);
        sv_record_put(r, "site %u allocated %U %U ", stack, (uint64_t)s.objects, (uint64_t)s.bytes);
        sv_record_seconds(r, s.found);
        sv_record_put(r, " ");
        sv_record_seconds(r, s.when);
        sv_record_put(r, " %u ", s.cycle);
        sv_record_seconds(r, s.found);
        sv_record_put(r, " 0\n");
    }
}

static void sites_put(struct sv_record *r, const struct sv_leaks_ask *ask)
{
    const struct sum *v = check.sums.v;
    size_t n = check.sums.n;
    for (size_t i = 0; i < n; i++)
        if (i == 0 || v[i].stack != v[i - 1].stack)
            stack_put(r, v[i].stack);
    for (size_t i = 0; i < n; i++)
        if (class_shown(ask, &v[i]))
            site_put(r, &v[i], class_leads(v, n, i));
    if (ask->live)
        allocated_put(r);
}

static void object_put(struct sv_record *r, uintptr_t start, const struct sv_profile_site *from,
                       enum class class)
{
    sv_record_put(r, "object %p %z %u %s ", (void *)start, from->bytes, from->stack,
                  class_names[class]);
    sv_record_seconds(r, from->when);
}

// Where the word stands that holds an object.
static void place_put(struct sv_record *r, uintptr_t where)
{
    struct sv_mark_place at;
    sv_record_put(r, " ");
    if (sv_mark_find(where, &at))
        sv_record_put(r, "object:%p+%z", (void *)at.start, where - at.start);
    else if (!sv_modules_place(r, where))
        sv_record_put(r, "memory:%p", (void *)where);
}

static void lost_put(struct sv_record *r, const struct sv_lost *lost, unsigned state)
{
    struct sv_profile_site from;
    for (size_t i = 0; i < lost->n; i++) {
        uintptr_t start = sv_lost_start(lost, i);
        if (!lost_read(start, state, &from))
            continue;
        object_put(r, start, &from,
                   state == SV_LEAKS_ABANDONED ? CLASS_ABANDONED
                   : sv_lost_indirect(lost, i) ? CLASS_INDIRECT
                                               : CLASS_DIRECT);
        sv_record_put(r, "\n");
    }
}

static void objects_put(struct sv_record *r, const struct sv_leaks_ask *ask)
{
    struct sv_profile_site from;
    if (ask->objects)
        lost_put(r, &check.lost, SV_LEAKS_LOST);
    if (ask->objects && ask->abandoned)
        lost_put(r, &check.late, SV_LEAKS_ABANDONED);
    for (size_t i = 0; i < check.start.n && (ask->objects || i < POSSIBLE_LINES); i++) {
        if (check.start.failed || !possible_read(check.start.v[i].start, &from))
            continue;
        object_put(r, check.start.v[i].start, &from, CLASS_POSSIBLE);
        place_put(r, check.start.v[i].where);
        sv_record_put(r, "\n");
    }
}

static int record_put(struct sv_record *r, const struct sv_leaks_ask *ask, const char *failed)
{
    if (ask->fd < 0)
        return 0;
    int procfd = sv_cycle_proc();
    sv_record_begin(r, ask->fd);
    header_put(r, ask, procfd);
    if (failed) {
        sv_record_put(r, "failed ");
        sv_record_word(r, failed, strlen(failed));
        sv_record_put(r, "\n");
    } else {
        heap_put(r);
        if (sv_leaks_on && (!check.looked || check.start.failed))
            sv_record_put(r, "skipped possible\n");
        sv_modules_look(procfd);
        sv_modules_put(r);
        sites_put(r, ask);
        objects_put(r, ask);
    }
    sv_record_put(r, "end\n");
    if (procfd >= 0)
        sv_os_close(procfd);
    return sv_record_end(r);
}

// ---- the check ----------------------------------------------------------------------------------

static void startmark_look(uint64_t marked)
{
    sv_startmark_run(&check.start, marked);
    check.looked = true;
}

// Looking for interior pointers takes a mark of its own, and not a fast one.
static bool possible_wanted(const struct sv_leaks_ask *ask)
{
    uint64_t live = atomic_load_explicit(&sv_heap.live, memory_order_relaxed);
    if (!sv_leaks_on || ask->possible)
        return sv_leaks_on;
    return ask->reason >= SV_LEAKS_EXIT &&
           (live <= POSSIBLE_FREE || live * POSSIBLE_NS < sv_os_cpu() / POSSIBLE_SHARE);
}

// One mark by the calling thread, the world stopped; cycle lock held. NULL, or why not. A thread
// that has just been made may block every signal until it runs for the first time.
static const char *mark_here(const struct sv_leaks_ask *ask)
{
    const char *reason;
    uint64_t until = sv_os_now() + TRY_NS;
    for (;;) {
        sv_startmark_end(&check.start);
        reason = sv_cycle_here(ask->sp, possible_wanted(ask) ? startmark_look : NULL);
        if (!reason || sv_os_now() >= until)
            return reason;
        sv_os_nap(TRY_NAP_NS);
    }
}

// As many marks as it takes; cycle lock held.
static const char *marks_here(const struct sv_leaks_ask *ask)
{
    const char *reason = mark_here(ask);
    if (!reason && sv_leaks_fresh()) {
        if (sv_cycle_alone())
            heap_walk(false, candidate_promote);
        else
            reason = mark_here(ask);
    }
    return reason;
}

// Beside the program. False: no worker can be had, or it got nothing done.
static bool marks_beside(uintptr_t sp)
{
    return sv_cycle_beside(sp) == 0 && (!sv_leaks_fresh() || sv_cycle_beside(sp) == 0);
}

static void out_fill(struct sv_leaks_sums *out, const struct sv_leaks_ask *ask)
{
    for (size_t i = 0; i < check.sums.n; i++) {
        const struct sum *s = &check.sums.v[i];
        if (s->class <= CLASS_INDIRECT + 1) {
            out->objects += s->objects;
            out->bytes += s->bytes;
        } else if (s->class == CLASS_ABANDONED + 1 && ask->abandoned) {
            out->abandoned += s->objects;
        } else if (s->class == CLASS_POSSIBLE + 1) {
            out->possible += s->objects;
        }
    }
    out->hidden = sv_sites_hidden_objects();
}

static void check_end(void)
{
    sv_lost_end(&check.lost);
    sv_lost_end(&check.late);
    sv_startmark_end(&check.start);
    sv_metadata_free(check.sums.v, check.sums.cap * sizeof *check.sums.v);
    check.sums = (struct sums){0};
    check.looked = false;
}

// No cycle could be kept away, so none of what belongs to a check may be touched.
static int check_refused(const struct sv_leaks_ask *ask, int why)
{
    static atomic_flag busy = ATOMIC_FLAG_INIT;
    static struct sv_record record;
    if (atomic_flag_test_and_set_explicit(&busy, memory_order_acquire))
        return why;
    record_put(&record, ask,
               why == -EDEADLK     ? "malloc was interrupted"
               : why == -ETIMEDOUT ? "a collection didn't end"
                                   : "there are no collections in this process");
    atomic_flag_clear_explicit(&busy, memory_order_release);
    return why;
}

int sv_leaks_check(const struct sv_leaks_ask *ask, struct sv_leaks_sums *out)
{
    const char *failed = NULL;
    *out = (struct sv_leaks_sums){0};
    bool here = ask->reason >= SV_LEAKS_EXIT || !marks_beside(ask->sp);
    int r = sv_cycle_hold();
    if (r != 0)
        return check_refused(ask, r);
    if (here || ask->possible)
        failed = marks_here(ask);
    sv_sweep_finish();
    if (!failed && !classify(ask))
        failed = "no memory for the check";
    if (!failed) {
        out_fill(out, ask);
        if (ask->reason == SV_LEAKS_EXIT)
            sv_leaks_exited();
    }
    r = record_put(&check.record, ask, failed);
    check_end();
    sv_cycle_release();
    return failed ? -EAGAIN : r;
}

// What it had is lost to the child.
void sv_leaks_fork_child(void)
{
    memset(&check, 0, sizeof check);
}
