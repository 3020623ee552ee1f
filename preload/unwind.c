// Finding out who called malloc, for every allocation, fast.
//
// Stacks of programs without frame pointers are followed by their call frame information (cfi.h),
// and the rule of each return address is remembered in a table for all threads. That takes some 5
// ns a frame. But most allocations come by a path that was taken before, with everything in the
// same place; so each thread remembers paths: from where the stack pointer stood, which words of
// the stack were the return addresses, and the saved frame pointers on which their places depended.
// A path is the same when all these words are the same, which is two loads a frame. Nothing else is
// believed: what selects the path to compare with is only a guess.
//
// Which path to compare with is found by a tree of decisions, which lies in a hash table. It starts
// with the call of malloc and the stack pointer. When a path is found there that doesn't hold, its
// first word that differs becomes a decision: both paths move to where that word's values lead.
// (One in which that word is no return address, but anything, goes where unknown values lead.) So a
// wrapper around malloc, or a function that calls the same helper from ten places, is told apart by
// as few words as it takes.
//
// Only the part of a stack above the frame is read. On the thread's own stack all of that is
// memory; on others (coroutines, alternate signal stacks) each page is asked for first, by a system
// call that fails where a load would (and nothing is remembered). A stack that leads elsewhere than
// upwards ends there.
//
// In a signal handler that interrupted this code nothing is remembered, and if the interrupted code
// holds metadata's lock, no new stack is made. A thread's paths live in metadata's memory: TLS
// holds one pointer.
#include "unwind.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/resource.h>
#include <ucontext.h>

#include "arch.h"
#include "cfi.h"
#include "core.h"
#include "depot.h"
#include "metadata.h"
#include "options.h"
#include "os.h"
#include "profile.h"
#include "world.h"

#define HW_PAGE ((uintptr_t)4096)
#define WORDS_MAX (2 * SV_DEPOT_DEPTH) // of a path: return addresses and saved frame pointers
#define LEAF 1  // the distance of the return address: it belongs to the call, decides nothing more
#define WAYS 4u // places of an entry
#define SETS_MIN 16u // of a thread's table, doubled while it is crowded
#define SETS_MAX 8192u
#define SETS_SMALL 256u // a table that may always be had (300 bytes a set, with its paths)
#define VALUE(word) ((word) & (((uint64_t)1 << 48) - 1))
#define DISTANCE_MAX ((uintptr_t)0xffff * sizeof(uintptr_t))

extern void *__libc_stack_end;

// ---- what is remembered -------------------------------------------------------------------------

struct path {
    uint64_t call;    // const: hash of the call and the stack pointer
    uint32_t stack;   // const: its number
    uint32_t nwords;  // const
    uint64_t words[]; // const: distance from the frame in words << 48 | the word's low 48 bits
};

struct entry {
    uint64_t key;           // owner: of the call, or of a decision's outcome; 0: none
    uint64_t distance : 16; // owner: LEAF, or of the word that decides where to look next
    uint64_t path : 48;     // owner: of a leaf
};

struct set {
    _Alignas(SV_CACHE_LINE) struct entry ways[WAYS];
};

struct paths {        // of one thread
    uintptr_t lo, hi; // owner: its stack, as far as it may be read
    struct set *sets; // owner
    uint32_t mask;    // owner: sets, less 1
    uint32_t count;   // owner: entries
    uint32_t random;  // owner: which way gives way
    uint32_t again;   // owner: walks of old stacks, since the table has this size
    bool busy;        // owner: being written
};

static __thread struct paths *paths_self __attribute__((tls_model("initial-exec")));

static uint64_t mix(uint64_t h)
{
    h *= 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

static inline uintptr_t word_at(uintptr_t frame, uint64_t distance)
{
    return *(const uintptr_t *)(frame + distance * sizeof(uintptr_t));
}

static inline uint64_t key_next(uint64_t key, uint64_t word)
{
    return mix(key ^ VALUE(word)) | 1;
}

static inline struct path *entry_path(const struct entry *e)
{
    return (struct path *)(uintptr_t)e->path;
}

static inline uint64_t key_other(uint64_t key)
{
    return mix(~key) | 1;
}

static inline void path_put(struct entry *e, struct path *path)
{
    e->path = (uintptr_t)path & (((uint64_t)1 << 48) - 1);
}

static inline struct entry *entry_find(const struct paths *t, uint64_t key)
{
    struct set *set = &t->sets[key >> 8 & t->mask];
    for (unsigned i = 0; i < WAYS; i++)
        if (set->ways[i].key == key)
            return &set->ways[i];
    return NULL;
}

// Where the decision `e` leads, or NULL.
static inline struct entry *entry_next(const struct paths *t, const struct entry *e,
                                       uintptr_t frame)
{
    struct entry *next = entry_find(t, key_next(e->key, word_at(frame, e->distance)));
    return sv_likely(next != NULL) ? next : entry_find(t, key_other(e->key));
}

// Do all its words stand there?
static inline bool path_holds(const struct path *path, uintptr_t frame)
{
    uint64_t differ = 0, other = 0;
    uint32_t n = path->nwords, i = 0;
    for (; i + 1 < n; i += 2) {
        differ |= word_at(frame, path->words[i] >> 48) ^ path->words[i];
        other |= word_at(frame, path->words[i + 1] >> 48) ^ path->words[i + 1];
    }
    if (i < n)
        differ |= word_at(frame, path->words[i] >> 48) ^ path->words[i];
    return VALUE(differ | other) == 0;
}

// ---- rules --------------------------------------------------------------------------------------

// A rule in 64 bits, for all but expressions: kind, offset, where rbp stands.
static struct {
    struct {
        _Atomic uint64_t key;  // address ^ rule, so that a torn pair is no entry
        _Atomic uint64_t rule; // 0: none
    } entries[8192];
} rules;

static uint64_t rule_pack(const struct sv_cfi_rule *r)
{
    if (r->offset < 0 || r->offset >= 1 << 24 || r->bp < INT16_MIN || r->bp > INT16_MAX)
        return SV_CFI_COMPLEX;
    if (r->kind == SV_CFI_EXPR || r->bp_expr)
        return SV_CFI_EXPR;
    return (uint64_t)(uint16_t)r->bp << 32 | (uint64_t)r->offset << 8 | r->kind;
}

static enum sv_cfi_kind rule_kind(uint64_t rule)
{
    return (enum sv_cfi_kind)(rule & 0x7f);
}

#define RULE_THERE ((uint64_t)0x80)

static uint64_t rule_find(uintptr_t pc)
{
    size_t i = mix(pc) % (sizeof rules.entries / sizeof rules.entries[0]);
    uint64_t rule = atomic_load_explicit(&rules.entries[i].rule, memory_order_relaxed);
    if (sv_likely(rule &&
                  (atomic_load_explicit(&rules.entries[i].key, memory_order_relaxed) ^ rule) == pc))
        return rule;
    struct sv_cfi_rule found = sv_cfi_find(pc);
    rule = rule_pack(&found) | RULE_THERE;
    atomic_store_explicit(&rules.entries[i].rule, rule, memory_order_relaxed);
    atomic_store_explicit(&rules.entries[i].key, pc ^ rule, memory_order_relaxed);
    return rule;
}

void sv_unwind_forget(void)
{
    if (!sv_profile_on)
        return;
    for (size_t i = 0; i < sizeof rules.entries / sizeof rules.entries[0]; i++)
        atomic_store_explicit(&rules.entries[i].rule, 0, memory_order_relaxed);
}

// ---- walking ------------------------------------------------------------------------------------

struct walk {
    uintptr_t pc, sp, bp;
    uintptr_t lo, hi;   // may be read
    uintptr_t base;     // the frame that distances are counted from
    uintptr_t bp_at;    // where bp came from, 0: it was noted
    unsigned n, nwords; // frames; words noted
    unsigned most;      // frames wanted
    bool fixed;         // hi is the stack's end: no page beyond is asked for
    bool exact;         // pc was interrupted, it is no return address
    bool lasting;       // the path may be remembered
    uintptr_t *frames;  // [most]
    uint64_t *words;    // [WORDS_MAX]
};

// Can the page be read? The kernel copies the mask before it looks at what is to be done with it.
static bool page_readable(uintptr_t page)
{
    return sv_arch_syscall(SYS_rt_sigprocmask, -1, (long)page, 0, sizeof(uint64_t), 0, 0) != -14;
}

static bool readable(struct walk *w, uintptr_t at)
{
    if (at & 7 || at < w->lo)
        return false;
    if (at < w->hi)
        return true;
    if (w->fixed || at - w->hi >= DISTANCE_MAX)
        return false;
    for (; w->hi <= at; w->hi += HW_PAGE)
        if (!page_readable(w->hi))
            return false;
    return true;
}

static void note(struct walk *w, uintptr_t at, uintptr_t value)
{
    uintptr_t distance = at - w->base;
    if (distance > DISTANCE_MAX || w->nwords == WORDS_MAX)
        w->lasting = false;
    else
        w->words[w->nwords++] = (uint64_t)(distance / sizeof at) << 48 | VALUE(value);
}

static bool load(void *arg, uintptr_t at, uintptr_t *out)
{
    struct walk *w = arg;
    if (!readable(w, at))
        return false;
    *out = *(const uintptr_t *)at;
    note(w, at, *out);
    return true;
}

// What follows depends on bp's value.
static void bp_use(struct walk *w)
{
    if (w->bp_at)
        note(w, w->bp_at, w->bp);
    w->bp_at = 0;
}

static bool bp_load(struct walk *w, uintptr_t at)
{
    if (!readable(w, at))
        return false;
    w->bp = *(const uintptr_t *)at;
    w->bp_at = at;
    return true;
}

// Leaves the frame that ends at `end`, whose caller's rbp stands at bp_at unless 0.
static bool frame_leave(struct walk *w, uintptr_t end, uintptr_t bp_at)
{
    uintptr_t ra;
    if (end <= w->sp || !load(w, end - sizeof ra, &ra) || (bp_at && !bp_load(w, bp_at)))
        return false;
    w->pc = ra;
    w->sp = end;
    w->exact = false;
    return ra != 0;
}

// Unknown code keeps a chain of frame pointers, or the stack ends here.
static bool frame_guess(struct walk *w)
{
    bp_use(w);
    return w->bp >= w->sp && frame_leave(w, w->bp + 2 * sizeof w->bp, w->bp);
}

static bool frame_evaluate(struct walk *w)
{
    struct sv_cfi_rule r = sv_cfi_find(w->exact ? w->pc : w->pc - 1);
    struct sv_cfi_machine m = {.sp = w->sp, .bp = w->bp, .pc = w->pc, .load = load, .arg = w};
    uintptr_t end = w->sp + (uintptr_t)r.offset, bp_at = 0;
    bp_use(w);
    if (r.kind == SV_CFI_BP)
        end = w->bp + (uintptr_t)r.offset;
    else if (r.kind == SV_CFI_EXPR && !sv_cfi_evaluate(r.expr, r.expr_end, 0, &m, &end))
        return false;
    if (r.bp_expr && !sv_cfi_evaluate(r.bp_expr, r.bp_expr_end, end, &m, &bp_at))
        return false;
    if (r.bp)
        bp_at = end + (uintptr_t)(intptr_t)r.bp;
    return frame_leave(w, end, bp_at);
}

// The handler's caller is the kernel; the interrupted code goes on, maybe on another stack.
static bool frame_signal(struct walk *w)
{
    const ucontext_t *uc = (const ucontext_t *)w->sp;
    const greg_t *r = uc->uc_mcontext.gregs;
    if (!readable(w, (uintptr_t)&r[REG_RBP]) || !readable(w, (uintptr_t)&r[REG_RSP]) ||
        !readable(w, (uintptr_t)&r[REG_RIP]))
        return false;
    uintptr_t sp = (uintptr_t)r[REG_RSP];
    w->pc = (uintptr_t)r[REG_RIP];
    w->bp = (uintptr_t)r[REG_RBP];
    w->lasting = false;
    w->exact = true;
    if (!w->fixed || sp < w->sp || sp >= w->hi) {
        w->lo = w->hi = sp & ~(HW_PAGE - 1);
        w->fixed = false;
    }
    w->sp = sp;
    return w->pc != 0;
}

static bool frame_next(struct walk *w)
{
    uint64_t rule = rule_find(w->exact ? w->pc : w->pc - 1);
    uintptr_t offset = rule >> 8 & 0xffffff, end = w->sp + offset;
    intptr_t bp = (int16_t)(rule >> 32);
    switch (rule_kind(rule)) {
    case SV_CFI_BP:
        bp_use(w);
        end = w->bp + offset;
        break;
    case SV_CFI_SP:
        break;
    case SV_CFI_EXPR:
        return frame_evaluate(w);
    case SV_CFI_NONE:
        return frame_guess(w);
    case SV_CFI_SIGNAL:
        return frame_signal(w);
    case SV_CFI_END:
    case SV_CFI_COMPLEX:
        return false;
    }
    return frame_leave(w, end, bp ? end + (uintptr_t)bp : 0);
}

static bool own_code(uintptr_t pc)
{
    extern const char __ehdr_start __attribute__((visibility("hidden")));
    extern const char _etext __attribute__((visibility("hidden")));
    return pc >= (uintptr_t)&__ehdr_start && pc < (uintptr_t)&_etext;
}

// The first frame is the function that the program called. It is `name`, unless that was called by
// another of ours: operator new, say.
static void walk_frames(struct walk *w, uintptr_t name)
{
    w->frames[0] = name + 1;
    w->n = 1;
    bool inside = true;
    do {
        inside = inside && own_code(w->pc);
        if (inside)
            w->frames[0] = w->pc;
        else
            w->frames[w->n++] = w->exact ? w->pc | SV_DEPOT_EXACT : w->pc;
    } while (w->n < w->most && frame_next(w));
}

// ---- a thread's paths ---------------------------------------------------------------------------

// How far the calling thread's own stack may be read, if sp lies in it.
static void bounds_find(uintptr_t sp, uintptr_t *lo, uintptr_t *hi)
{
    const struct sv_thread *t = sv_world_me;
    *lo = *hi = 0;
    if (t && t->stack_lo) {
        *lo = t->stack_lo;
        *hi = t->stack_hi;
    } else if (sv_os_gettid() == sv_os_getpid()) {
        // nothing else is mapped so near: the kernel leaves at least 128 MiB for it to grow
        *hi = (uintptr_t)__libc_stack_end;
        *lo = *hi - ((uintptr_t)127 << 20);
    }
    if (sp < *lo || sp >= *hi)
        *lo = *hi = 0;
}

static size_t path_bytes(uint32_t nwords)
{
    return sizeof(struct path) + nwords * sizeof(uint64_t);
}

static void path_free(struct path *path)
{
    if (path)
        sv_metadata_free(path, path_bytes(path->nwords));
}

// A free place for the key, or that of an entry which gives way, any but `keep`. (What a decision
// led to is found no more then, and gives way in its turn.)
static struct entry *entry_make(struct paths *t, uint64_t key, const struct entry *keep)
{
    struct set *set = &t->sets[key >> 8 & t->mask];
    t->random = t->random * 1664525u + 1013904223u;
    struct entry *e = &set->ways[t->random >> 30];
    if (e == keep)
        e = &set->ways[(t->random >> 30) ^ 1];
    for (unsigned i = 0; i < WAYS; i++)
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): paths have a table (paths_make)
        if (set->ways[i].key == 0)
            e = &set->ways[i];
    if (e->key == 0)
        t->count++;
    path_free(entry_path(e));
    *e = (struct entry){.key = key, .distance = LEAF};
    return e;
}

// With n sets, a power of two. The entries move.
static bool table_make(struct paths *t, uint32_t n)
{
    struct paths old = *t;
    struct set *sets = sv_metadata_alloc(n * sizeof *sets);
    if (!sets)
        return false;
    t->sets = sets;
    t->mask = n - 1;
    t->count = 0;
    t->again = 0;
    for (uint32_t i = 0; old.sets && i < (old.mask + 1) * WAYS; i++) {
        struct entry *e = &old.sets[i / WAYS].ways[i % WAYS];
        if (e->key)
            *entry_make(t, e->key, NULL) = *e;
    }
    if (old.sets)
        sv_metadata_free(old.sets, (old.mask + 1) * sizeof *sets);
    return true;
}

static struct paths *paths_make(void)
{
    struct paths *t = sv_metadata_alloc(sizeof *t);
    if (!t || !table_make(t, SETS_MIN)) {
        sv_metadata_free(t, sizeof *t);
        return NULL;
    }
    paths_self = t;
    return t;
}

void sv_unwind_thread_end(void)
{
    struct paths *t = paths_self;
    paths_self = NULL;
    if (!t)
        return;
    for (uint32_t i = 0; i < (t->mask + 1) * WAYS; i++)
        path_free(entry_path(&t->sets[i / WAYS].ways[i % WAYS]));
    sv_metadata_free(t->sets, (t->mask + 1) * sizeof *t->sets);
    sv_metadata_free(t, sizeof *t);
}

// The first word of the path that isn't there now; its own return address if all are.
static uint64_t path_differs(const struct path *path, uintptr_t frame)
{
    for (uint32_t i = 0; i < path->nwords; i++)
        if (VALUE(word_at(frame, path->words[i] >> 48) ^ path->words[i]))
            return path->words[i];
    return (uint64_t)LEAF << 48;
}

// Turns a leaf into a decision, by the first word of its path that isn't there now. False: all are,
// and the entry is free.
static bool leaf_split(struct paths *t, struct entry *e, uintptr_t frame)
{
    struct path *path = entry_path(e);
    uint64_t word = path_differs(path, frame);
    e->path = 0;
    e->distance = (uint16_t)(word >> 48);
    if (e->distance != LEAF) {
        path_put(entry_make(t, key_next(e->key, word), e), path);
        return true;
    }
    path_free(path);
    e->key = 0;
    t->count--;
    return false;
}

static bool walk_has(const struct walk *w, uint64_t distance)
{
    for (unsigned i = 0; i < w->nwords; i++)
        if (w->words[i] >> 48 == distance)
            return true;
    return false;
}

// The key under which this path, which wasn't found, is to be found.
static uint64_t key_decide(struct paths *t, uint64_t call, const struct walk *w)
{
    uint64_t key = call;
    for (struct entry *e = entry_find(t, key); e; e = entry_next(t, e, w->base)) {
        key = e->key;
        if (e->path && !leaf_split(t, e, w->base))
            return key;
        key = walk_has(w, e->distance) ? key_next(key, word_at(w->base, e->distance))
                                       : key_other(key);
    }
    return key;
}

// Room for more is worth its memory if paths that gave way are taken again: their stacks aren't
// new.
static bool table_may_grow(const struct paths *t)
{
    uint32_t n = t->mask + 1;
    return t->count > n * WAYS / 2 && n < SETS_MAX && (n < SETS_SMALL || t->again > 2 * n);
}

static void path_remember(struct paths *t, uint64_t call, const struct walk *w, uint32_t stack)
{
    if (table_may_grow(t))
        table_make(t, 2 * (t->mask + 1));
    struct path *path = sv_metadata_alloc(path_bytes(w->nwords));
    if (!path)
        return;
    path->call = call;
    path->stack = stack;
    path->nwords = w->nwords;
    for (unsigned i = 0; i < w->nwords; i++)
        path->words[i] = w->words[i];
    path_put(entry_make(t, key_decide(t, call, w), NULL), path);
}

// ---- the face -----------------------------------------------------------------------------------

__attribute__((noinline)) static uint32_t stack_find(uintptr_t frame, uintptr_t name, uint64_t call)
{
    uintptr_t frames[SV_DEPOT_DEPTH + 1];
    uint64_t words[WORDS_MAX];
    struct paths *t = paths_self;
    unsigned depth = sv_options.depth < SV_DEPOT_DEPTH ? sv_options.depth : SV_DEPOT_DEPTH;
    depth = depth < 2 ? 2 : depth;
    bool alone = !sv_metadata_locked_here() && !(t && t->busy);
    if (!t && alone)
        t = paths_make();
    struct walk w = {.pc = word_at(frame, 1),
                     .sp = frame + 2 * sizeof frame,
                     .bp = word_at(frame, 0),
                     .base = frame,
                     .bp_at = frame,
                     .most = depth,
                     .frames = frames,
                     .words = words};
    if (t && frame - t->lo < t->hi - t->lo) {
        w.lo = t->lo;
        w.hi = t->hi;
    } else {
        bounds_find(frame, &w.lo, &w.hi);
    }
    w.fixed = w.lasting = w.hi != 0;
    if (!w.fixed) {
        w.lo = frame;
        w.hi = (frame & ~(HW_PAGE - 1)) + HW_PAGE;
    }
    if (alone && t) {
        t->busy = true;
        t->lo = w.fixed ? w.lo : t->lo;
        t->hi = w.fixed ? w.hi : t->hi;
    }
    note(&w, frame + sizeof frame, w.pc);
    walk_frames(&w, name);
    uint32_t known = sv_depot_count(), stack = sv_depot_put(frames, w.n);
    if (alone && t) {
        t->again += sv_depot_count() == known;
        if (w.lasting && stack)
            path_remember(t, call, &w, stack);
        t->busy = false;
    }
    return stack;
}

uint32_t sv_unwind_stack(const void *function, uintptr_t name)
{
    uintptr_t frame = (uintptr_t)function;
    const struct paths *t = paths_self;
    uint64_t call = mix(word_at(frame, 1) ^ (frame << 20) ^ name * 0xff51afd7ed558ccdu) | 1;
    if (sv_likely(t && frame - t->lo < t->hi - t->lo)) {
        const struct entry *e = entry_find(t, call);
        while (e && e->distance != LEAF)
            e = entry_next(t, e, frame);
        const struct path *path = e ? entry_path(e) : NULL;
        if (sv_likely(path && path->call == call && path_holds(path, frame)))
            return path->stack;
    }
    return stack_find(frame, name, call);
}
