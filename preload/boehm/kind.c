// Kinds of objects: the ones that there always are, and a program's own, each with a descriptor
// that says where the pointers of its objects are, and mark procedures for what no descriptor can
// say.
//
// A procedure is the program's code, so no marker calls it beside the program: it is called for
// every marked object that needs it in each stop that tries to end the mark, with the object as it
// is then, and once more for what is marked after that. Its objects stand in a table. In a stop an
// entry's procedure runs once: the round in the entry says for which. Objects that markers reach
// while procedures run come by way of sv_kind_reach, at once; so a chain of them costs no more than
// its length.
//
// An object whose descriptor is in itself (GC_DS_PER_OBJECT) is looked at word by word as well: a
// marker can't know when the program will have written it.
#define GC_BUILD
#include "kind.h"

#include <string.h>

#include "alloc.h"
#include "export.h"
#include "gc/gc_inline.h"
#include "gc/gc_mark.h"
#include "gc/gc_typed.h"
#include "heap.h"
#include "large.h"
#include "mark.h"
#include "metadata.h"
#include "sizeclass.h"
#include "text.h"
#include "uncollectable.h"
#include "unlisted.h"

#define KINDS 64u
#define LISTS 129u // entries of a table of free lists: one for each number of granules up to 2 KiB

struct kind {
    uint64_t descriptor;          // const once its number is known
    bool adjust;                  // const: the object's size is to be added to it
    GC_describe_type_fn describe; // held
};

static struct kind kinds[KINDS];
static unsigned nkinds = SV_KIND_FIRST; // held
static GC_mark_proc procs[GC_MAX_MARK_PROCS];
static unsigned nprocs = GC_RESERVED_MARK_PROCS; // held
static struct sv_table objects; // held: a: the kind, b: the round in which the procedure ran last
static uintptr_t round_now;     // held

// ---- making kinds -------------------------------------------------------------------------------

SV_EXPORT void **GC_new_free_list_inner(void)
{
    void **list = sv_metadata_alloc(LISTS * sizeof *list);
    if (!list)
        sv_die("GC_new_free_list: no memory");
    return list;
}

SV_EXPORT void **GC_new_free_list(void)
{
    return GC_new_free_list_inner();
}

SV_EXPORT unsigned GC_new_kind_inner(void **lists, GC_word descriptor, int adjust, int clear)
{
    (void)lists; // they stay empty
    (void)clear; // always
    if (nkinds == KINDS)
        sv_die("GC_new_kind: more than %u kinds", KINDS);
    kinds[nkinds] = (struct kind){descriptor, adjust != 0, NULL};
    return nkinds++;
}

SV_EXPORT unsigned GC_new_kind(void **lists, GC_word descriptor, int adjust, int clear)
{
    sv_boehm_init();
    sv_boehm_lock();
    unsigned kind = GC_new_kind_inner(lists, descriptor, adjust, clear);
    sv_boehm_unlock();
    return kind;
}

SV_EXPORT unsigned GC_new_proc_inner(GC_mark_proc proc)
{
    if (nprocs == GC_MAX_MARK_PROCS)
        sv_die("GC_new_proc: more than %u procedures", GC_MAX_MARK_PROCS);
    procs[nprocs] = proc;
    return nprocs++;
}

SV_EXPORT unsigned GC_new_proc(GC_mark_proc proc)
{
    sv_boehm_init();
    sv_boehm_lock();
    unsigned number = GC_new_proc_inner(proc);
    sv_boehm_unlock();
    return number;
}

void sv_kind_proc_set(unsigned number, void *proc)
{
    sv_boehm_lock();
    procs[number] = (GC_mark_proc)proc;
    sv_boehm_unlock();
}

// Reports name objects by where they were allocated.
SV_EXPORT void GC_register_describe_type_fn(int kind, GC_describe_type_fn fn)
{
    sv_boehm_lock();
    if (kind >= 0 && (unsigned)kind < KINDS)
        kinds[kind].describe = fn;
    sv_boehm_unlock();
}

static void *no_lists[LISTS];
SV_EXPORT void **const GC_objfreelist_ptr = no_lists;
SV_EXPORT void **const GC_aobjfreelist_ptr = no_lists;
SV_EXPORT void **const GC_uobjfreelist_ptr = no_lists;
SV_EXPORT void **const GC_auobjfreelist_ptr = no_lists;

SV_EXPORT void GC_print_free_list(int kind, size_t granules)
{
    sv_log("salvage: GC_print_free_list(%d, %z): empty", kind, granules);
}

// ---- descriptors --------------------------------------------------------------------------------

static unsigned tag(uint64_t descriptor)
{
    return descriptor & GC_DS_TAGS;
}

static unsigned proc_number(uint64_t descriptor)
{
    return descriptor >> GC_DS_TAG_BITS & (GC_MAX_MARK_PROCS - 1);
}

bool sv_kind_plain(uint64_t descriptor)
{
    return tag(descriptor) < GC_DS_PROC ||
           (tag(descriptor) == GC_DS_PROC && proc_number(descriptor) == SV_PROC_SHAPE);
}

size_t sv_kind_usable(size_t size)
{
    size_t bytes = size + sizeof(uint64_t);
    bytes = bytes > SV_SMALL_MAX ? sv_large_pages(bytes) << SV_PAGE_SHIFT
                                 : sv_classes[sv_sizeclass(bytes)].size;
    return bytes - sizeof(uint64_t);
}

static uint64_t descriptor_of(uintptr_t start, size_t size)
{
    return __atomic_load_n((const uint64_t *)(start + size), __ATOMIC_RELAXED);
}

// What an object that says it itself says. The first word is 0, or a link, while it is on a list of
// the program's: what is found then is a word of another object, or 0.
static uint64_t descriptor_resolve(uint64_t descriptor, uintptr_t start, size_t size)
{
    int64_t offset = (int64_t)(descriptor & ~(uint64_t)GC_DS_TAGS);
    if (offset >= 0)
        return (uint64_t)offset + sizeof(uint64_t) <= size
                   ? *(const uint64_t *)(start + (uint64_t)offset)
                   : 0;
    uintptr_t table = *(const uintptr_t *)start;
    return table ? *(const uint64_t *)(table - (uint64_t)offset - GC_INDIR_PER_OBJ_BIAS) : 0;
}

// ---- allocating ---------------------------------------------------------------------------------

static bool entry_add(void *p, unsigned kind)
{
    sv_object_note((uintptr_t)p);
    sv_boehm_lock();
    struct sv_table_entry *e = sv_table_add(&objects, (uintptr_t)p);
    if (e)
        *e = (struct sv_table_entry){e->key, kind, 0};
    sv_boehm_unlock();
    return e;
}

void *sv_kind_alloc(size_t size, uint64_t descriptor, unsigned kind)
{
    if (descriptor == 0)
        return sv_atomic_zeroed(size);
    if (tag(descriptor) == GC_DS_LENGTH && descriptor >= size)
        return GC_malloc(size);
    sv_boehm_poll();
    if (sv_unlikely(!sv_boehm_ready))
        sv_boehm_init();
    void *p = sv_object_traced(size, descriptor);
    if (sv_unlikely(!p))
        p = sv_heap_alloc_traced(size, descriptor);
    if (p && !sv_kind_plain(descriptor) && !entry_add(p, kind)) {
        sv_heap_free(p);
        p = NULL;
    }
    if (p && sv_unlikely(!sv_object_leaks()))
        return sv_uncollectable_add(p, size);
    return p ? p : sv_boehm_oom(size);
}

static void *own_alloc(size_t size, unsigned kind)
{
    if (kind >= KINDS || size > PTRDIFF_MAX)
        return sv_boehm_oom(size);
    uint64_t descriptor = kinds[kind].descriptor;
    if (kinds[kind].adjust)
        descriptor += sv_kind_usable(size);
    void *p = sv_kind_alloc(size, descriptor, kind);
    // an object that marking needs no procedure for has an entry all the same: its kind is asked
    // for
    bool noted = !p || !sv_kind_plain(descriptor) || entry_add(p, kind);
    if (sv_likely(noted && (!p || sv_disclaim_add(p, kind))))
        return p;
    GC_free(p);
    return sv_boehm_oom(size);
}

static bool entry_kind(uintptr_t start, unsigned *kind)
{
    sv_boehm_lock();
    const struct sv_table_entry *e = sv_table_find(&objects, start);
    if (e)
        *kind = (unsigned)e->a;
    sv_boehm_unlock();
    return e;
}

void *sv_kind_like(uintptr_t start, size_t size)
{
    unsigned kind = SV_KIND_TYPED;
    if (entry_kind(start, &kind) && kind >= SV_KIND_FIRST)
        return own_alloc(size, kind);
    size_t old = 0;
    sv_boehm_start((const void *)start, &old, &(unsigned){0});
    return sv_kind_alloc(size, descriptor_of(start, old), kind);
}

void sv_kind_forget(uintptr_t start)
{
    sv_boehm_lock();
    struct sv_table_entry *e = sv_table_find(&objects, start);
    if (e)
        sv_table_remove(&objects, e);
    sv_boehm_unlock();
}

SV_EXPORT void *GC_generic_malloc(size_t size, int kind)
{
    switch (kind) {
    case SV_KIND_ATOMIC:
        return GC_malloc_atomic(size);
    case SV_KIND_NORMAL:
        return GC_malloc(size);
    case SV_KIND_UNCOLLECTABLE:
        return GC_malloc_uncollectable(size);
    case SV_KIND_ATOMIC_UNCOLLECTABLE:
        return GC_malloc_atomic_uncollectable(size);
    default:
        return own_alloc(size, (unsigned)kind);
    }
}

SV_EXPORT void *GC_generic_malloc_ignore_off_page(size_t size, int kind)
{
    return GC_generic_malloc(size, kind);
}

SV_EXPORT void *GC_generic_or_special_malloc(size_t size, int kind)
{
    return GC_generic_malloc(size, kind);
}

SV_EXPORT void *GC_generic_malloc_uncollectable(size_t size, int kind)
{
    return kind == SV_KIND_ATOMIC || kind == SV_KIND_ATOMIC_UNCOLLECTABLE
               ? GC_malloc_atomic_uncollectable(size)
               : GC_malloc_uncollectable(size);
}

SV_EXPORT void *GC_malloc_kind(size_t size, int kind)
{
    return GC_generic_malloc(size, kind);
}

SV_EXPORT void *GC_malloc_kind_global(size_t size, int kind)
{
    return GC_generic_malloc(size, kind);
}

SV_EXPORT int GC_get_kind_and_size(const void *p, size_t *size)
{
    size_t bytes = 0;
    unsigned code = 0, kind = SV_KIND_NORMAL;
    sv_boehm_start(p, &bytes, &code);
    if (size)
        *size = bytes;
    if (sv_uncollectable_is((uintptr_t)p))
        return sv_code_noscan(code) ? SV_KIND_ATOMIC_UNCOLLECTABLE : SV_KIND_UNCOLLECTABLE;
    if (sv_object_noted((uintptr_t)p) && entry_kind((uintptr_t)p, &kind))
        return (int)kind;
    return sv_code_traced(code)   ? SV_KIND_TYPED
           : sv_code_noscan(code) ? SV_KIND_ATOMIC
                                  : SV_KIND_NORMAL;
}

// ---- procedures ---------------------------------------------------------------------------------

// What procedures are given for a stack: they push nothing on it by themselves.
static uint64_t mark_stack[8];

static void proc_call(uintptr_t start, size_t size)
{
    uint64_t descriptor = descriptor_of(start, size);
    if (tag(descriptor) == GC_DS_PER_OBJECT)
        descriptor = descriptor_resolve(descriptor, start, size);
    GC_mark_proc proc = procs[proc_number(descriptor)];
    if (tag(descriptor) == GC_DS_PROC && proc)
        proc((GC_word *)start, (struct GC_ms_entry *)mark_stack,
             (struct GC_ms_entry *)(mark_stack + 8),
             descriptor >> (GC_DS_TAG_BITS + GC_LOG_MAX_MARK_PROCS));
}

// True if its procedure has been called now.
static bool entry_call(struct sv_table_entry *e)
{
    size_t size;
    unsigned code;
    if (e->b == round_now || !sv_boehm_marked(~e->key) ||
        !sv_boehm_start((const void *)~e->key, &size, &code) || !sv_code_traced(code))
        return false;
    e->b = round_now;
    proc_call(~e->key, size);
    return true;
}

void sv_kind_reach(uintptr_t start)
{
    struct sv_table_entry *e = sv_table_find(&objects, start);
    if (e)
        entry_call(e);
}

static bool entry_visit(struct sv_table_entry *e, void *called)
{
    *(bool *)called |= entry_call(e);
    return true;
}

bool sv_kind_settle(struct sv_marker *m)
{
    (void)m; // it is sv_boehm_marker
    bool called = false;
    sv_table_each(&objects, entry_visit, &called);
    return called;
}

void sv_kind_push(struct sv_marker *m)
{
    round_now++;
    sv_kind_settle(m);
}

static bool entry_keep(struct sv_table_entry *e, void *arg)
{
    (void)arg;
    return sv_boehm_marked(~e->key);
}

void sv_kind_commit(void)
{
    sv_table_each(&objects, entry_keep, NULL);
}

SV_EXPORT struct GC_ms_entry *GC_mark_and_push(void *p, struct GC_ms_entry *top,
                                               struct GC_ms_entry *limit, void **from)
{
    (void)limit;
    (void)from;
    if (sv_boehm_marker)
        sv_mark_word(sv_boehm_marker, (uintptr_t)p);
    return top;
}

// ---- marks --------------------------------------------------------------------------------------

// Outside of a cycle there are no marks: what is there was reached by the last.
SV_EXPORT int GC_is_marked(const void *p)
{
    return sv_heap_marking() ? sv_boehm_marked((uintptr_t)p) : 1;
}

// For the program's part in marking; without its pointers being looked at.
SV_EXPORT void GC_set_mark_bit(const void *p)
{
    struct sv_mark_place at;
    if (sv_boehm_marker && sv_mark_find((uintptr_t)p, &at))
        sv_mark_black(sv_boehm_marker, (void *)at.start);
}

// Marks are the collector's to clear: what is marked may be on its way already.
SV_EXPORT void GC_clear_mark_bit(const void *p)
{
    (void)p;
}
