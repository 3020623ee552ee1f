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
// on top stays a root: it alone holds that next thread's DTV. A cached
// stack is believed to be one only while its mapping is there, its thread block still names itself,
// and no thread's stack pointer lies in it; in doubt it is memory like any other.
#include "rootset.h"

#include "arch.h"
#include "mark.h"
#include "metadata.h"
#include "options.h"
#include "os.h"
#include "pagemap.h"
#include "region.h"
#include "scanners.h"
#include "span.h"
#include "world.h"

#define OWN_MAX 8
#define NAMED_MAX 2048
#define FRAMES_BELOW 6144u // bytes of stack that marking uses below exclude_make

static struct {
    struct sv_mapping own[OWN_MAX]; // const after start: the library's data
    size_t nown;
    struct sv_mapping named[NAMED_MAX]; // world lock: the program's explicit roots
    size_t nnamed;
    struct sv_maps maps;        // cycle lock; kept, it only grows
    struct sv_pages pages;      // cycle lock
    struct sv_mapping *exclude; // cycle lock
    size_t nexclude;
    size_t cap;
    int tid;            // cycle lock: the collecting thread
    uintptr_t altstack; // cycle lock: its alternate signal stack, or 0
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

const struct sv_pages *sv_rootset_pages(void)
{
    return &set.pages;
}

// ---- stacks -------------------------------------------------------------------------------------

struct stack {
    uintptr_t live; // lowest live address
    uintptr_t lo;   // of the memory to take out of the general roots; 0: none of it
    uintptr_t end;  // of the stack
};

static bool thread_live(const struct sv_thread *t)
{
    return !t->gone && t->seen;
}

// Where a live thread's stack is.
static struct stack thread_stack(const struct sv_thread *t)
{
    uintptr_t sp = t->sp;
    uintptr_t live = sp - SV_ARCH_RED_ZONE;
    if (!t->frame_end && t->frame && t->frame < live)
        live = t->frame; // the signal frame lies on the same stack
    if (t->stack_lo && !t->user_stack && sp >= t->stack_lo && sp < t->stack_end)
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

static bool stack_cached(const struct sv_thread *gone)
{
    const struct sv_mapping *m = sv_maps_find(&set.maps, gone->stack_lo);
    if (!m || gone->stack_end > m->hi ||
        (m->flags & (SV_MAP_READ | SV_MAP_WRITE | SV_MAP_FILE | SV_MAP_SHARED)) !=
            (SV_MAP_READ | SV_MAP_WRITE))
        return false;
    if (gone->tcb < gone->stack_hi || gone->tcb + 3 * sizeof(uintptr_t) > gone->stack_end ||
        !sv_arch_tcb_valid(gone->tcb))
        return false;
    for (struct sv_thread *t = sv_world_threads(); t; t = t->next) {
        if (t == gone || (!thread_live(t) && t->tid != set.tid))
            continue;
        if ((t->sp >= gone->stack_lo && t->sp < gone->stack_end) || t->stack_lo == gone->stack_lo)
            return false;
    }
    return true;
}

// ---- what is left out ---------------------------------------------------------------------------

static void exclude_add(void *arg, uintptr_t lo, uintptr_t hi)
{
    (void)arg;
    if (hi > lo && set.nexclude < set.cap)
        set.exclude[set.nexclude++] = (struct sv_mapping){lo, hi, 0};
}

static void exclude_count(void *arg, uintptr_t lo, uintptr_t hi)
{
    (void)lo;
    (void)hi;
    ++*(size_t *)arg;
}

static void exclude_sort(void)
{
    struct sv_mapping *v = set.exclude;
    for (size_t gap = set.nexclude / 2; gap > 0; gap /= 2) { // Shell's
        for (size_t i = gap; i < set.nexclude; i++) {
            struct sv_mapping m = v[i];
            size_t j = i;
            for (; j >= gap && v[j - gap].lo > m.lo; j -= gap)
                v[j] = v[j - gap];
            v[j] = m;
        }
    }
    size_t n = 0;
    for (size_t i = 0; i < set.nexclude; i++) {
        if (n && v[i].lo <= v[n - 1].hi) {
            if (v[i].hi > v[n - 1].hi)
                v[n - 1].hi = v[i].hi;
        } else {
            v[n++] = v[i];
        }
    }
    set.nexclude = n;
}

static bool exclude_make(uintptr_t sp)
{
    size_t n = OWN_MAX + 4;
    for (struct sv_thread *t = sv_world_threads(); t; t = t->next)
        n++;
    sv_metadata_each(exclude_count, &n);
    set.cap = n + 16; // metadata may grow by the allocation of this very array
    set.nexclude = 0;
    set.exclude = sv_metadata_alloc_held(set.cap * sizeof *set.exclude);
    if (!set.exclude)
        return false;
    for (size_t i = 0; i < set.nown; i++)
        exclude_add(NULL, set.own[i].lo, set.own[i].hi);
    sv_region_each(exclude_add, NULL);
    sv_metadata_each(exclude_add, NULL);
    exclude_add(NULL, (uintptr_t)set.maps.v, (uintptr_t)(set.maps.v + set.maps.cap));
    // The collector's own frames, on a stack whose bounds nobody told: they change under its eyes.
    // What it calls from here on reaches a little lower.
    exclude_add(NULL, (uintptr_t)__builtin_frame_address(0) - FRAMES_BELOW, sp);
    struct sv_thread *next;
    for (struct sv_thread *t = sv_world_threads(); t; t = next) {
        next = t->next;
        if (t->gone) {
            if (stack_cached(t))
                exclude_add(NULL, t->stack_lo, t->tcb);
            else
                sv_world_forget(t);
        } else if (thread_live(t)) {
            struct stack s = thread_stack(t);
            if (s.lo)
                exclude_add(NULL, s.lo, s.end);
        }
    }
    exclude_sort();
    return true;
}

// ---- the face -----------------------------------------------------------------------------------

const char *sv_rootset_begin(int procfd, uintptr_t sp)
{
    set.exclude = NULL;
    set.tid = sv_os_gettid();
    struct sv_thread *self = sv_world_self();
    self->sp = sp + SV_ARCH_RED_ZONE; // the caller's frame is live from sp itself
    self->frame = self->frame_end = 0;
    // Only the kernel may know it. Other threads' stands in their signal frames.
    set.altstack = sv_os_altstack();
    if (sv_maps_read(&set.maps, procfd) != 0)
        return "can't read /proc/self/maps";
    // Without them more is read, or sv_roots_each says what can't be.
    sv_pages_open(&set.pages, procfd);
    return exclude_make(sp) ? NULL : "no memory for the collector";
}

static void general_offer(void *arg, uintptr_t lo, uintptr_t hi)
{
    struct sv_rootset_visitor *v = arg;
    const struct sv_mapping *m = sv_maps_find(&set.maps, lo);
    v->others += hi - lo;
    // what stands in no mapping is a copy, and of what isn't known
    v->range(v->arg, lo, hi, !m || (m->flags & SV_MAP_EXEC));
}

static void stack_offer(struct sv_rootset_visitor *v, uintptr_t lo, uintptr_t hi)
{
    v->stacks += hi - lo;
    v->range(v->arg, lo, hi, false);
}

const char *sv_rootset_visit(struct sv_rootset_visitor *v)
{
    const struct sv_roots_in in = {&set.maps, &set.pages, set.exclude, set.nexclude,
                                   sv_options.roots};
    // A thread may have shut itself out of memory by protection keys that the mappings don't show.
    uint32_t keys = sv_arch_keys_open();
    int unread = sv_roots_each(&in, general_offer, v);
    sv_arch_keys_close(keys);
    if (unread != 0)
        return "a root that can't be read";
    for (size_t i = 0; i < set.nnamed; i++)
        general_offer(v, set.named[i].lo, set.named[i].hi);
    if (!(sv_options.roots & SV_ROOTS_STACKS))
        return NULL;
    stack_offer(v, (uintptr_t)&set.altstack, (uintptr_t)(&set.altstack + 1));
    for (struct sv_thread *t = sv_world_threads(); t; t = t->next) {
        if (!thread_live(t))
            continue;
        struct stack s = thread_stack(t);
        stack_offer(v, s.live, s.end);
        if (t->frame_end)
            stack_offer(v, t->frame, t->frame_end);
        if (t->sp - sv_heap.base < sv_heap.size) {
            // the heap object that serves as a stack stays, whoever points to it
            uintptr_t word = t->sp;
            general_offer(v, (uintptr_t)&word, (uintptr_t)(&word + 1));
        }
    }
    return NULL;
}

void sv_rootset_end(void)
{
    sv_pages_close(&set.pages);
    if (set.exclude)
        sv_metadata_free_held(set.exclude, set.cap * sizeof *set.exclude);
    set.exclude = NULL;
}
