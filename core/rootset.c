// The set of roots of one cycle: everything that the scanners offer, less what is the collector's
// own or dead, plus the stacks and what the program named.
//
// A stack is scanned by itself, from the stack pointer (less the red zone) to its end: below the
// stack pointer it is dead. So a thread's stack, where its bounds are known, is taken out of the
// general roots. Three cases keep a whole stack alive instead: bounds that nobody told us, memory
// that the program gave for the stack (it may use the rest of it), and a stack pointer that lies
// elsewhere (a coroutine's stack, an alternate signal stack): then the place it points into,
// mapping or heap object, counts as a stack too.
//
// glibc caches the stacks of ended threads with their thread blocks. The frames are dead, and so is
// the static TLS above them, which the next thread on that stack gets fresh; but the thread block
// on top stays a root: it alone holds that next thread's DTV. A cached stack is believed to be one
// only while its mapping is there, its thread block still names itself, and no thread's stack
// pointer lies in it; in doubt it is memory like any other.
//
// In a cycle that runs beside the program, each root is visited while the program runs, and at the
// final stop only what was written since. That is sound if nothing unwritten was left out of the
// first visit. What it couldn't read is remembered and visited at the stop. Stacks it leaves out by
// guess, since threads come and go; at the stop, what was left out but is no stack now (nor a dead
// one) is visited whole. What was not listed yet isn't tracked, and so counts as written.
//
// A thread that slept in the kernel from one stop to the next has the frames it had. So the first
// stop leaves those who sleep to the visit beside the program; and where one sleeps on, the final
// stop visits only what others have written there. It asks the kernel so, for each by itself:
// a page table that holds little takes longer to look through than to be asked again. With hundreds
// of sleepers that is most of the stop, so two threads share it, and one of them begins while the
// other lists the mappings; all but theirs, of which nothing need be known. The guard below a stack
// is dead as the stack below its stack pointer is, and saves the question about it.
#include "rootset.h"

#include "arch.h"
#include "gate.h"
#include "leaks.h"
#include "lock.h"
#include "mark.h"
#include "metadata.h"
#include "options.h"
#include "os.h"
#include "pagemap.h"
#include "region.h"
#include "span.h"
#include "world.h"

#define OWN_MAX 8
#define NAMED_MAX 2048
#define LEFT_MAX 512
#define MISSED_MAX 256
#define FORGET_MAX 64             // records of ended threads given up in one stop
#define FRAMES_BELOW 8192u        // bytes of stack that marking uses below base_make
#define FRAMES_MAX (16u << 20)    // bytes from there to `sp`: more, and it is on another stack
#define HW_PAGE ((uintptr_t)4096) // what the kernel tracks by

// Ranges in memory of our own.
struct ranges {
    struct sv_mapping *v;
    size_t n, cap;
};

// Threads that have slept since their stacks were visited.
struct sleepers {
    struct sv_thread **v;
    size_t n, cap;
    _Atomic size_t next;  // who asks: the first that nobody has taken
    struct ranges memory; // of their stacks, guards included
};

static struct {
    struct sv_mapping own[OWN_MAX]; // const after start: the library's data
    size_t nown;
    struct sv_mapping named[NAMED_MAX]; // world lock: the program's explicit roots
    size_t nnamed;
    struct sv_mapping left[LEFT_MAX]; // world lock: what the program wants left out
    size_t nleft;
    struct sv_maps maps;    // cycle lock; kept, it only grows
    struct sv_pages pages;  // cycle lock
    bool opened;            // cycle lock: `pages` from open to release, not from begin to end
    struct ranges base;     // cycle lock: the collector's own memory
    struct ranges cached;   // cycle lock: dead stacks that glibc keeps
    struct ranges stacks;   // cycle lock: what counts as a stack, alive or dead
    struct ranges exclude;  // cycle lock: what is left out of the general roots
    struct ranges armed;    // cycle lock: what is watched
    struct ranges presumed; // cycle lock: stacks that visit_running left out
    struct ranges late;     // cycle lock: to be visited at the stop, written or not
    struct sv_mapping missed[MISSED_MAX]; // cycle lock: what visit_running couldn't read
    size_t nmissed;                       // cycle lock: more than MISSED_MAX: too much, visit all
    struct sleepers sleepers;             // cycle lock: of one stop
    int tid;                              // cycle lock: the collecting thread
    uintptr_t altstack;                   // cycle lock: its alternate signal stack, or 0
} set;

void sv_rootset_exclude(uintptr_t lo, uintptr_t hi)
{
    if (set.nown < OWN_MAX)
        set.own[set.nown++] = (struct sv_mapping){lo, hi, 0};
}

bool sv_rootset_add(uintptr_t lo, uintptr_t hi)
{
    if (set.nnamed == NAMED_MAX)
        return false;
    set.named[set.nnamed++] = (struct sv_mapping){lo, hi, 0};
    return true;
}

void sv_rootset_remove(uintptr_t lo, uintptr_t hi)
{
    for (size_t i = set.nnamed; i-- > 0;)
        if (set.named[i].lo >= lo && set.named[i].hi <= hi)
            set.named[i] = set.named[--set.nnamed];
}

bool sv_rootset_leave(uintptr_t lo, uintptr_t hi)
{
    if (set.nleft == LEFT_MAX)
        return false;
    set.left[set.nleft++] = (struct sv_mapping){(lo + 7) & ~(uintptr_t)7, hi & ~(uintptr_t)7, 0};
    return true;
}

void sv_rootset_leave_none(void)
{
    set.nleft = 0;
}

const struct sv_pages *sv_rootset_pages(void)
{
    return &set.pages;
}

// ---- ranges; metadata lock held -----------------------------------------------------------------

static bool ranges_make(struct ranges *r, size_t cap)
{
    r->n = 0;
    r->cap = cap;
    r->v = sv_metadata_alloc_held(cap * sizeof *r->v);
    return r->v != NULL;
}

static void ranges_free(struct ranges *r)
{
    if (r->v)
        sv_metadata_free_held(r->v, r->cap * sizeof *r->v);
    *r = (struct ranges){0};
}

static void ranges_add(struct ranges *r, uintptr_t lo, uintptr_t hi)
{
    if (hi > lo && r->n < r->cap)
        r->v[r->n++] = (struct sv_mapping){lo, hi, 0};
}

// Makes them ascend and joins those that touch.
static void ranges_sort(struct ranges *r)
{
    struct sv_mapping *v = r->v;
    for (size_t gap = r->n / 2; gap > 0; gap /= 2) { // Shell's
        for (size_t i = gap; i < r->n; i++) {
            struct sv_mapping m = v[i];
            size_t j = i;
            for (; j >= gap && v[j - gap].lo > m.lo; j -= gap)
                v[j] = v[j - gap];
            v[j] = m;
        }
    }
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (n && v[i].lo <= v[n - 1].hi) {
            if (v[i].hi > v[n - 1].hi)
                v[n - 1].hi = v[i].hi;
        } else {
            v[n++] = v[i];
        }
    }
    r->n = n;
}

// Adds to `r` what of `from` isn't in `without`, both sorted.
static void ranges_subtract(struct ranges *r, const struct ranges *from,
                            const struct ranges *without)
{
    size_t cut = 0;
    for (size_t i = 0; i < from->n; i++) {
        uintptr_t lo = from->v[i].lo, hi = from->v[i].hi;
        while (cut < without->n && without->v[cut].hi <= lo)
            cut++;
        for (size_t j = cut; j < without->n && without->v[j].lo < hi; j++) {
            if (without->v[j].lo > lo)
                ranges_add(r, lo, without->v[j].lo);
            lo = without->v[j].hi;
        }
        ranges_add(r, lo, hi);
    }
}

// ---- stacks -------------------------------------------------------------------------------------

struct stack {
    uintptr_t live; // lowest live address
    uintptr_t lo;   // of the memory to take out of the general roots; 0: none of it
    uintptr_t end;  // of the stack
};

static bool thread_live(const struct sv_thread *t)
{
    return !t->gone && t->seen && !t->worker;
}

// Is it on the stack that it began with, if one knows?
static bool stack_own(const struct sv_thread *t)
{
    return t->stack_lo && !t->user_stack && t->sp >= t->stack_lo && t->sp < t->stack_end;
}

// Where a live thread's stack is.
static struct stack thread_stack(const struct sv_thread *t)
{
    uintptr_t sp = t->sp;
    uintptr_t live = sp - SV_ARCH_RED_ZONE;
    if (!t->frame_end && t->frame && t->frame < live)
        live = t->frame; // the signal frame lies on the same stack
    if (stack_own(t))
        return (struct stack){live < t->stack_lo ? t->stack_lo : live, t->stack_lo, t->stack_end};
    if (sp - sv_heap.base < sv_heap.size) { // on a stack that came from malloc
        struct sv_mark_place at;
        if (sv_mark_find(sp, &at))
            return (struct stack){live < at.start ? at.start : live, 0,
                                  at.start + sv_span_slot_size(at.span)};
        return (struct stack){sp, 0, sp};
    }
    const struct sv_mapping *m = sv_maps_find(&set.maps, sp);
    if (!m)
        return (struct stack){sp, 0, sp};
    bool main_stack = m->flags & SV_MAP_STACK;
    return (struct stack){live < m->lo ? m->lo : live, main_stack ? m->lo : 0, m->hi};
}

// Is its stack visited now, or will be before the next stop?
static void thread_note(struct sv_thread *t, bool visited)
{
    t->scanned = visited ? atomic_load_explicit(&t->gate, memory_order_relaxed) : 0;
}

// Where the memory of its stack begins: with a guard, if the listing shows one there.
static uintptr_t stack_bottom(const struct sv_thread *t)
{
    const struct sv_mapping *m = sv_maps_find(&set.maps, t->guard_lo);
    bool guard = m && m->hi == t->stack_lo &&
                 !(m->flags & (SV_MAP_READ | SV_MAP_WRITE | SV_MAP_FILE | SV_MAP_SHARED));
    return guard ? t->guard_lo : t->stack_lo;
}

// Only general roots can be asked for what was written, or visited while the program runs.
static bool stacks_general(void)
{
    const unsigned both = SV_ROOTS_STACKS | SV_ROOTS_MMAP;
    return (sv_options.roots & both) == both;
}

// ---- stacks that glibc keeps --------------------------------------------------------------------

struct cached {
    struct sv_thread *thread; // that had it
    bool used;                // it is another thread's, or lies in another's
};

struct caches {
    struct cached *v; // ascending by stack_lo
    size_t n, cap;
};

// Could it be one? `running`: what the thread block holds can't be asked.
static bool stack_cached(const struct sv_thread *gone, bool running)
{
    const struct sv_mapping *m = sv_maps_find(&set.maps, gone->stack_lo);
    if (!m || gone->stack_end > m->hi ||
        (m->flags & (SV_MAP_READ | SV_MAP_WRITE | SV_MAP_FILE | SV_MAP_SHARED)) !=
            (SV_MAP_READ | SV_MAP_WRITE))
        return false;
    if (gone->tcb < gone->stack_hi || gone->tcb + 3 * sizeof(uintptr_t) > gone->stack_end)
        return false;
    return running || sv_arch_tcb_valid(gone->tcb);
}

static void caches_sort(struct caches *c)
{
    for (size_t gap = c->n / 2; gap > 0; gap /= 2) { // Shell's
        for (size_t i = gap; i < c->n; i++) {
            struct cached it = c->v[i];
            size_t j = i;
            for (; j >= gap && c->v[j - gap].thread->stack_lo > it.thread->stack_lo; j -= gap)
                c->v[j] = c->v[j - gap];
            c->v[j] = it;
        }
    }
    for (size_t i = 1; i < c->n; i++) // in doubt, which of two it is
        c->v[i].used = c->v[i].thread->stack_lo < c->v[i - 1].thread->stack_end;
}

static void caches_use(struct caches *c, uintptr_t addr)
{
    size_t lo = 0, hi = c->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (c->v[mid].thread->stack_lo <= addr)
            lo = mid + 1;
        else
            hi = mid;
    }
    // those that overlap are used but for the first
    for (; lo > 0; lo--) {
        c->v[lo - 1].used |= addr < c->v[lo - 1].thread->stack_end;
        if (lo < 2 || c->v[lo - 2].thread->stack_end <= c->v[lo - 1].thread->stack_lo)
            break;
    }
}

// Adds the dead parts of cached stacks to `out`. Records of threads whose stacks are gone are
// forgotten, some at a time, since finding each on the list takes a walk.
static bool caches_add(struct ranges *out, bool running)
{
    struct caches c = {.cap = 0};
    unsigned forgotten = 0;
    for (struct sv_thread *t = sv_world_threads(); t; t = t->next)
        c.cap += t->gone;
    if (c.cap == 0)
        return true;
    c.v = sv_metadata_alloc_held(c.cap * sizeof *c.v);
    if (!c.v)
        return false;
    struct sv_thread *next;
    for (struct sv_thread *t = sv_world_threads(); t; t = next) {
        next = t->next;
        if (t->gone && c.n < c.cap && stack_cached(t, running))
            c.v[c.n++] = (struct cached){t, false};
        else if (t->gone && !running && forgotten++ < FORGET_MAX)
            sv_world_forget(t);
    }
    caches_sort(&c);
    for (struct sv_thread *t = sv_world_threads(); t; t = t->next) {
        if (t->gone || (!running && !t->seen && t->tid != set.tid))
            continue;
        caches_use(&c, t->sp);
        caches_use(&c, t->stack_lo);
    }
    for (size_t i = 0; i < c.n; i++)
        if (!c.v[i].used)
            ranges_add(out, c.v[i].thread->stack_lo, c.v[i].thread->tcb);
    sv_metadata_free_held(c.v, c.cap * sizeof *c.v);
    return true;
}

// ---- what is left out ---------------------------------------------------------------------------

static void base_add(void *arg, uintptr_t lo, uintptr_t hi)
{
    ranges_add(arg, lo, hi);
}

static void base_count(void *arg, uintptr_t lo, uintptr_t hi)
{
    (void)lo;
    (void)hi;
    ++*(size_t *)arg;
}

// The collector's own memory, and what the program wants left out. World's and metadata's lock
// held.
static bool base_make(uintptr_t sp)
{
    size_t n = OWN_MAX + 4 + set.nleft + sv_world_count();
    sv_metadata_each(base_count, &n);
    if (!ranges_make(&set.base, n + 16)) // metadata may grow by the allocation of this very array
        return false;
    for (size_t i = 0; i < set.nown; i++)
        ranges_add(&set.base, set.own[i].lo, set.own[i].hi);
    for (size_t i = 0; i < set.nleft; i++)
        ranges_add(&set.base, set.left[i].lo, set.left[i].hi);
    sv_region_each(base_add, &set.base);
    sv_metadata_each(base_add, &set.base);
    struct sv_mapping own = sv_maps_own(&set.maps);
    ranges_add(&set.base, own.lo, own.hi);
    for (struct sv_thread *t = sv_world_threads(); t; t = t->next)
        if (t->worker && !t->gone) // but for its thread block, which holds what libc allocated
            ranges_add(&set.base, t->stack_lo, t->stack_hi);
    // The collector's own frames, on a stack whose bounds nobody told: they change under its eyes.
    // What it calls from here on reaches a little lower. (The stack of a signal handler may lie
    // anywhere else.)
    uintptr_t here = (uintptr_t)__builtin_frame_address(0) - FRAMES_BELOW;
    if (sp > here && sp - here < FRAMES_MAX)
        ranges_add(&set.base, here, sp);
    ranges_sort(&set.base);
    return true;
}

// Room for what visit_stacks finds, and what needs no visit.
static bool stacks_make(void)
{
    size_t n = sv_world_count() + 1;
    return ranges_make(&set.cached, n) && ranges_make(&set.stacks, n) &&
           ranges_make(&set.exclude, set.base.n + n) && caches_add(&set.cached, false);
}

// What visit_running presumes to be stacks. Wrong guesses cost time, see ranges_subtract.
static bool presumed_make(void)
{
    size_t n = sv_world_count() + 2;
    if (!ranges_make(&set.presumed, n) || !caches_add(&set.presumed, true))
        return false;
    for (struct sv_thread *t = sv_world_threads(); t; t = t->next) {
        bool elsewhere = t->seen && (t->sp < t->stack_lo || t->sp >= t->stack_end);
        if (t->gone || t->worker || t->user_stack || elsewhere)
            continue;
        t->bottom = stack_bottom(t);
        ranges_add(&set.presumed, t->bottom, t->beside ? thread_stack(t).live : t->stack_end);
    }
    for (size_t i = 0; i < set.maps.n; i++)
        if (set.maps.v[i].flags & SV_MAP_STACK)
            ranges_add(&set.presumed, set.maps.v[i].lo, set.maps.v[i].hi);
    ranges_sort(&set.presumed);
    return true;
}

// ---- while the program runs ---------------------------------------------------------------------

static struct sv_roots_in roots_in(const struct ranges *exclude, unsigned which)
{
    return (struct sv_roots_in){.maps = &set.maps,
                                .pages = &set.pages,
                                .exclude = exclude->v,
                                .nexclude = exclude->n,
                                .which = which};
}

const char *sv_rootset_open(int procfd)
{
    if (sv_maps_read(&set.maps, procfd) != 0)
        return "can't read /proc/self/maps";
    sv_pages_open(&set.pages, procfd);
    set.opened = true;
    return NULL;
}

static void armed_count(void *arg, uintptr_t lo, uintptr_t hi, uint32_t flags)
{
    (void)flags;
    base_count(arg, lo, hi);
}

// Pages of which only a part is the program's stay untracked.
static void armed_note(void *arg, uintptr_t lo, uintptr_t hi, uint32_t flags)
{
    (void)flags;
    ranges_add(arg, (lo + HW_PAGE - 1) & ~(HW_PAGE - 1), hi & ~(HW_PAGE - 1));
}

const char *sv_rootset_watch(int (*watch)(uintptr_t lo, uintptr_t hi))
{
    size_t n = 0;
    sv_world_lock();
    sv_metadata_lock();
    bool made = base_make(0);
    struct sv_roots_in in = roots_in(&set.base, sv_options.roots);
    if (made)
        sv_roots_windows(&in, armed_count, &n);
    made = made && ranges_make(&set.armed, n + 1);
    if (made)
        sv_roots_windows(&in, armed_note, &set.armed);
    ranges_free(&set.base);
    sv_metadata_unlock();
    sv_world_unlock();
    if (!made)
        return "no memory for the collector";
    n = 0;
    for (size_t i = 0; i < set.armed.n; i++)
        if (watch(set.armed.v[i].lo, set.armed.v[i].hi) == 0)
            set.armed.v[n++] = set.armed.v[i];
    set.armed.n = n;
    return NULL;
}

static void running_miss(void *arg, uintptr_t lo, uintptr_t hi)
{
    (void)arg;
    size_t n = set.nmissed;
    if (n > MISSED_MAX)
        return;
    if (n && set.missed[n - 1].hi == lo)
        set.missed[n - 1].hi = hi;
    else if (set.nmissed++ < MISSED_MAX)
        set.missed[n] = (struct sv_mapping){lo, hi, 0};
}

static void general_offer(void *arg, uintptr_t lo, uintptr_t hi, uint32_t flags)
{
    struct sv_rootset_visitor *v = arg;
    v->others += hi - lo;
    // what can't be read now may have been code
    v->range(v->arg, lo, hi, (flags & SV_MAP_EXEC) || !(flags & SV_MAP_READ));
}

// What is visited while the program runs: not the collector's memory, and no stacks. `exclude` is a
// variable of its own: the stop that follows makes the set's anew.
static bool running_make(struct ranges *exclude, bool first)
{
    if (first)
        ranges_free(&set.presumed);
    bool made = base_make(0) && (!first || presumed_make()) &&
                ranges_make(exclude, set.base.n + set.presumed.n + 1);
    for (size_t i = 0; made && i < set.base.n; i++)
        exclude->v[exclude->n++] = set.base.v[i];
    for (size_t i = 0; made && i < set.presumed.n; i++)
        exclude->v[exclude->n++] = set.presumed.v[i];
    ranges_sort(exclude);
    ranges_free(&set.base);
    return made;
}

const char *sv_rootset_visit_running(struct sv_rootset_visitor *v, sv_written_fn *written)
{
    struct ranges exclude = {0};
    if (!written)
        set.nmissed = 0;
    sv_world_lock();
    sv_metadata_lock();
    bool made = running_make(&exclude, !written);
    sv_metadata_unlock();
    sv_world_unlock();
    int unread = 0;
    if (made) {
        struct sv_roots_in in = roots_in(&exclude, sv_options.roots & ~SV_ROOTS_STACKS);
        in.running = true;
        in.missed = running_miss;
        in.written = written;
        unread = sv_roots_each(&in, general_offer, v);
    }
    sv_metadata_lock();
    ranges_free(&exclude);
    sv_metadata_unlock();
    return !made ? "no memory for the collector" : unread ? "a root that can't be read" : NULL;
}

void sv_rootset_release(void (*release)(uintptr_t lo, uintptr_t hi))
{
    for (size_t i = 0; i < set.armed.n; i++)
        release(set.armed.v[i].lo, set.armed.v[i].hi);
    sv_metadata_lock();
    ranges_free(&set.armed);
    ranges_free(&set.presumed);
    sv_metadata_unlock();
    set.nmissed = 0;
    if (set.opened)
        sv_pages_close(&set.pages);
    set.opened = false;
}

// ---- world stopped ------------------------------------------------------------------------------

const char *sv_rootset_begin(int procfd, uintptr_t sp)
{
    set.tid = sv_os_gettid();
    set.altstack = 0;
    if (sp) {
        struct sv_thread *self = sv_world_self();
        self->sp = sp + SV_ARCH_RED_ZONE; // the caller's frame is live from sp itself
        self->frame = self->frame_end = 0;
        // Only the kernel may know it. Other threads' stands in their signal frames.
        set.altstack = sv_os_altstack();
    }
    const struct ranges *asleep = &set.sleepers.memory;
    if (sv_maps_read_but(&set.maps, procfd, asleep->v, asleep->n) != 0)
        return "can't read /proc/self/maps";
    // Without them more is read, or sv_roots_each says what can't be.
    if (set.opened && sv_pages_check(&set.pages) != 0)
        sv_pages_close(&set.pages);
    if (!set.opened || set.pages.mem_fd < 0)
        sv_pages_open(&set.pages, procfd);
    return base_make(sp) && stacks_make() ? NULL : "no memory for the collector";
}

// Does thread_stack find all stacks with a listing that is older than this stop? What it says of
// the main thread's is sure: that grows, and nothing else.
static bool stacks_sure(void)
{
    for (const struct sv_thread *t = sv_world_threads(); t; t = t->next) {
        if (!thread_live(t) || stack_own(t) || t->sp - sv_heap.base < sv_heap.size)
            continue;
        const struct sv_mapping *m = sv_maps_find(&set.maps, t->sp);
        if (!m || !(m->flags & SV_MAP_STACK))
            return false;
    }
    return true;
}

static void stack_offer(struct sv_rootset_visitor *v, uintptr_t lo, uintptr_t hi)
{
    if (!(sv_options.roots & SV_ROOTS_STACKS))
        return;
    v->stacks += hi - lo;
    v->range(v->arg, lo, hi, false);
}

static void thread_offer(struct sv_rootset_visitor *v, const struct sv_thread *t,
                         const struct stack *s)
{
    stack_offer(v, s->live, s->end);
    if (t->frame_end)
        stack_offer(v, t->frame, t->frame_end);
    if (t->sp - sv_heap.base < sv_heap.size) {
        // the heap object that serves as a stack stays, whoever points to it
        uintptr_t word = t->sp;
        stack_offer(v, (uintptr_t)&word, (uintptr_t)(&word + 1));
    }
}

// Objects that leak reports leave out keep what they lead to.
static void ignored_offer(struct sv_rootset_visitor *v)
{
    const uintptr_t *words;
    size_t n = sv_leaks_roots(&words);
    if (n)
        v->range(v->arg, (uintptr_t)words, (uintptr_t)(words + n), false);
}

const char *sv_rootset_visit_awake(struct sv_rootset_visitor *v, int procfd)
{
    bool general = stacks_general();
    if (!stacks_sure() && sv_maps_read(&set.maps, procfd) != 0)
        return "can't read /proc/self/maps";
    ignored_offer(v);
    for (struct sv_thread *t = sv_world_threads(); t; t = t->next) {
        bool live = thread_live(t);
        t->beside = general && live && stack_own(t) && sv_gate_asleep(t);
        thread_note(t, live);
        if (!live || t->beside)
            continue;
        struct stack s = thread_stack(t);
        thread_offer(v, t, &s);
    }
    return NULL;
}

// ---- who sleeps ---------------------------------------------------------------------------------

// Without memory for the list, and where what was visited isn't sure, visit asks like for any root.
void sv_rootset_sleepers_find(void)
{
    struct sleepers *s = &set.sleepers;
    s->n = 0;
    s->cap = sv_world_count() + 1;
    atomic_store_explicit(&s->next, 0, memory_order_relaxed);
    bool all = stacks_general() && set.nmissed <= MISSED_MAX && ranges_make(&s->memory, s->cap);
    s->v = all ? sv_metadata_alloc_held(s->cap * sizeof(struct sv_thread *)) : NULL;
    for (struct sv_thread *t = sv_world_threads(); t; t = t->next) {
        t->asked = false;
        if (!s->v || !thread_live(t) || !stack_own(t) || !sv_gate_slept(t, t->scanned))
            continue;
        s->v[s->n++] = t;
        ranges_add(&s->memory, t->bottom, t->stack_end);
    }
    ranges_sort(&s->memory);
}

static void sleepers_forget(void)
{
    if (set.sleepers.v)
        sv_metadata_free_held(set.sleepers.v, set.sleepers.cap * sizeof(struct sv_thread *));
    set.sleepers.v = NULL;
    ranges_free(&set.sleepers.memory);
}

static void written_widen(void *arg, uintptr_t lo, uintptr_t hi)
{
    struct sv_thread *t = arg;
    t->written_lo = t->written_hi && t->written_lo < lo ? t->written_lo : lo;
    t->written_hi = hi > t->written_hi ? hi : t->written_hi;
}

static void sleeper_ask(struct sv_thread *t, sv_written_fn *written)
{
    struct stack s = thread_stack(t);
    uintptr_t lo = s.live & ~(HW_PAGE - 1), hi = (s.end + HW_PAGE - 1) & ~(HW_PAGE - 1);
    t->written_lo = t->written_hi = 0;
    t->asked = true;
    if (written(NULL, lo, hi, written_widen, t) != 0)
        written_widen(t, lo, hi);
    for (size_t i = 0; i < set.nmissed; i++) // the visit beside couldn't read it
        if (set.missed[i].lo < hi && set.missed[i].hi > lo)
            written_widen(t, lo, hi);
}

void sv_rootset_sleepers_ask(sv_written_fn *written)
{
    struct sleepers *s = &set.sleepers;
    while (atomic_load_explicit(&s->next, memory_order_relaxed) < s->n) {
        size_t i = atomic_fetch_add_explicit(&s->next, 1, memory_order_relaxed);
        if (i < s->n)
            sleeper_ask(s->v[i], written);
    }
}

// A word that begins before what was written, or ends behind it, was written too.
static void sleeper_offer(struct sv_rootset_visitor *v, const struct sv_thread *t,
                          const struct stack *s)
{
    const uintptr_t word = sizeof word;
    if (t->written_hi)
        stack_offer(v, t->written_lo - word > s->live ? t->written_lo - word : s->live,
                    t->written_hi + word < s->end ? t->written_hi + word : s->end);
}

// ---- all stacks ---------------------------------------------------------------------------------

void sv_rootset_visit_stacks(struct sv_rootset_visitor *v, bool again)
{
    again = again && stacks_general();
    set.stacks.n = set.exclude.n = 0;
    for (size_t i = 0; i < set.base.n; i++)
        set.exclude.v[set.exclude.n++] = set.base.v[i];
    for (size_t i = 0; i < set.cached.n; i++)
        set.exclude.v[set.exclude.n++] = set.stacks.v[set.stacks.n++] = set.cached.v[i];
    ignored_offer(v);
    if (set.altstack)
        stack_offer(v, (uintptr_t)&set.altstack, (uintptr_t)(&set.altstack + 1));
    for (struct sv_thread *t = sv_world_threads(); t; t = t->next) {
        if (!thread_live(t))
            continue;
        struct stack s = thread_stack(t);
        bool asked = again && t->asked;
        bool left = again && s.lo && !asked && sv_gate_slept(t, t->scanned);
        if (s.lo) {
            uintptr_t lo = s.lo == t->stack_lo ? t->bottom : s.lo;
            ranges_add(&set.stacks, lo, s.end);
            ranges_add(&set.exclude, lo, left ? s.live : s.end);
        }
        if (asked)
            sleeper_offer(v, t, &s);
        else if (!left)
            thread_offer(v, t, &s);
        thread_note(t, true);
    }
    ranges_sort(&set.stacks);
    ranges_sort(&set.exclude);
}

// What was to be visited while the program ran, and wasn't.
static bool late_make(void)
{
    if (!ranges_make(&set.late, set.presumed.n + set.stacks.n + set.nmissed + 1))
        return false;
    ranges_subtract(&set.late, &set.presumed, &set.stacks);
    for (size_t i = 0; i < set.nmissed; i++)
        ranges_add(&set.late, set.missed[i].lo, set.missed[i].hi);
    ranges_sort(&set.late);
    return true;
}

static int late_tell(void *arg, uintptr_t lo, uintptr_t hi, sv_range_fn *fn, void *fn_arg)
{
    const struct ranges *late = arg;
    for (size_t i = 0; i < late->n; i++) {
        const struct sv_mapping *m = &late->v[i];
        if (m->lo < hi && m->hi > lo)
            fn(fn_arg, m->lo > lo ? m->lo : lo, m->hi < hi ? m->hi : hi);
    }
    return 0;
}

static void named_offer(struct sv_rootset_visitor *v)
{
    for (size_t i = 0; i < set.nnamed; i++) {
        const struct sv_mapping *m = sv_maps_find(&set.maps, set.named[i].lo);
        general_offer(v, set.named[i].lo, set.named[i].hi, m ? m->flags : 0);
    }
}

const char *sv_rootset_visit(struct sv_rootset_visitor *v, sv_written_fn *written, void *arg)
{
    struct sv_roots_in in = roots_in(&set.exclude, sv_options.roots);
    ranges_free(&set.late);
    if (set.nmissed > MISSED_MAX)
        written = NULL;
    if (written && !late_make())
        return "no memory for the collector";
    in.written = written;
    in.written_arg = arg;
    // A thread may have shut itself out of memory by protection keys that the mappings don't show.
    uint32_t keys = sv_arch_keys_open();
    int unread = sv_roots_each(&in, general_offer, v);
    if (unread == 0 && set.late.n) {
        in.written = late_tell;
        in.written_arg = &set.late;
        in.which &= ~SV_ROOTS_KERNEL;
        unread = sv_roots_each(&in, general_offer, v);
    }
    sv_arch_keys_close(keys);
    if (unread != 0)
        return "a root that can't be read";
    named_offer(v);
    return NULL;
}

void sv_rootset_end(void)
{
    if (!set.opened)
        sv_pages_close(&set.pages);
    sv_metadata_lock();
    ranges_free(&set.base);
    ranges_free(&set.cached);
    ranges_free(&set.stacks);
    ranges_free(&set.exclude);
    ranges_free(&set.late);
    sleepers_forget();
    sv_metadata_unlock();
}

void sv_rootset_fork_child(void)
{
    set.maps = (struct sv_maps){0};
    set.pages = (struct sv_pages){.pagemap_fd = -1, .mem_fd = -1};
    set.opened = false;
    set.base = set.cached = set.stacks = set.exclude = (struct ranges){0};
    set.armed = set.presumed = set.late = (struct ranges){0};
    set.sleepers = (struct sleepers){0};
    set.nmissed = 0;
}
