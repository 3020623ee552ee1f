// Objects: allocating them, resizing them, giving them back, and questions about them.
//
// What Boehm's interface promises beyond malloc's: an object that is scanned is zero to the end of
// its slot, also where realloc made it longer; and the program may use all that GC_size says, which
// is the slot (of a traced object, without the descriptor in its last word). An object is of the
// same kind after GC_realloc: its code tells scanned from atomic, the tables of uncollectable.c and
// kind.c the rest.
//
// GC_malloc is written to be read in assembly, like malloc's own. What a bin can't answer goes the
// slow way, where the first call of all initialises; until then, and where allocations are recorded
// (profile.h), no size is quick.
//
// GC_free has to forget what the tables know of an object before its slot can be another's. Few
// objects are in any: a filter says for an address, without a lock, that it is in none.
#define GC_BUILD
#include "alloc.h"

#include <errno.h>
#include <string.h>

#include "cache.h"
#include "export.h"
#include "foreign.h"
#include "gc/gc.h"
#include "gc/gc_inline.h"
#include "kind.h"
#include "leaks.h"
#include "misuse.h"
#include "pagemap.h"
#include "profile.h"
#include "span.h"
#include "text.h"
#include "uncollectable.h"
#include "unlisted.h"
#include "unwind.h"

#define MANY_BYTES 2048u // of all the objects of one GC_malloc_many

size_t sv_object_quick;
_Atomic uint64_t sv_object_filter[SV_OBJECT_FILTER];

// ---- allocating ---------------------------------------------------------------------------------

// The bytes of the slot that a request gets; size <= SV_SMALL_MAX.
static size_t slot_bytes(size_t size)
{
    return sv_classes[sv_sizeclass(size)].size;
}

// NULL: memory is short, or *due, for recording, was asked for (else due is NULL) and isn't true.
static void *zeroed_alloc(size_t size, bool *due)
{
    size_t usable = size > SV_SMALL_MAX ? size : slot_bytes(size) - 1;
    char *p = due ? sv_heap_alloc_sampled(usable, true, false, due) : sv_heap_alloc_zeroed(usable);
    if (p && size <= SV_SMALL_MAX)
        p[usable] = 0; // the byte past the end, which the program may use here
    return p;
}

bool sv_object_leaks(void)
{
    return !sv_leaks_on || GC_get_find_leak();
}

// `frame` and `name`: of the function that the program called, for the recorded stack.
static void *malloc_recorded(size_t size, bool noscan, const void *frame, uintptr_t name)
{
    bool due = sv_profile_all;
    void *p;
    if (!noscan)
        p = zeroed_alloc(size, sv_profile_sampling ? &due : NULL);
    else
        p = sv_profile_sampling ? sv_heap_alloc_sampled(size, false, true, &due)
                                : sv_heap_alloc_noscan(size);
    if (p && !sv_object_leaks())
        return sv_uncollectable_add(p, size);
    if (p && due)
        sv_profile_record(p, size, sv_unwind_stack(frame, name));
    return p ? p : sv_boehm_oom(size);
}

__attribute__((noinline)) static void *malloc_slow(size_t size)
{
    if (sv_unlikely(!sv_boehm_ready))
        sv_boehm_init();
    if (sv_unlikely(sv_profile_on))
        return malloc_recorded(size, false, __builtin_frame_address(0), (uintptr_t)GC_malloc);
    void *p = zeroed_alloc(size, NULL);
    return p ? p : sv_boehm_oom(size);
}

__attribute__((noinline)) static void *malloc_polled(size_t size)
{
    sv_boehm_poll_slow();
    return malloc_slow(size);
}

SV_EXPORT void *GC_malloc(size_t size)
{
    if (sv_unlikely(atomic_load_explicit(&sv_boehm_due, memory_order_relaxed)))
        return malloc_polled(size);
    if (sv_unlikely(size >= sv_object_quick))
        return malloc_slow(size);
    unsigned class = sv_class_of_16[size >> 4];
    struct sv_bin *bin = sv_cache_bin(sv_cache_self, class);
    if (sv_unlikely(bin->top == bin->base))
        return malloc_slow(size);
    void *p = sv_bin_take(bin);
    sv_slot_zero(p, sv_classes[class].size);
    return p;
}

__attribute__((noinline)) static void *atomic_slow(size_t size)
{
    if (sv_unlikely(!sv_boehm_ready))
        sv_boehm_init();
    if (sv_unlikely(sv_profile_on))
        return malloc_recorded(size, true, __builtin_frame_address(0), (uintptr_t)GC_malloc_atomic);
    void *p = sv_heap_alloc_noscan(size);
    return p ? p : sv_boehm_oom(size);
}

__attribute__((noinline)) static void *atomic_polled(size_t size)
{
    sv_boehm_poll_slow();
    return atomic_slow(size);
}

SV_EXPORT void *GC_malloc_atomic(size_t size)
{
    if (sv_unlikely(atomic_load_explicit(&sv_boehm_due, memory_order_relaxed)))
        return atomic_polled(size);
    if (sv_unlikely(size >= sv_object_quick))
        return atomic_slow(size);
    unsigned code = sv_code(sv_class_of_16[size >> 4], SV_NOSCAN);
    void *p = sv_bin_pop(sv_cache_bin(sv_cache_self, code));
    return sv_likely(p != NULL) ? p : atomic_slow(size);
}

// A pointer to anywhere in an object keeps it, so nothing is to be ignored.
SV_EXPORT void *GC_malloc_ignore_off_page(size_t size)
{
    return GC_malloc(size);
}

SV_EXPORT void *GC_malloc_atomic_ignore_off_page(size_t size)
{
    return GC_malloc_atomic(size);
}

SV_EXPORT void *GC_malloc_stubborn(size_t size)
{
    return GC_malloc(size);
}

void *sv_atomic_zeroed(size_t size)
{
    void *p = GC_malloc_atomic(size);
    if (p && sv_boehm_start(p, &size, &(unsigned){0}) == (uintptr_t)p)
        memset(p, 0, size);
    return p;
}

SV_EXPORT void *GC_memalign(size_t align, size_t size)
{
    if (align <= SV_ALIGN)
        return GC_malloc(size);
    sv_boehm_poll();
    if (sv_unlikely(!sv_boehm_ready))
        sv_boehm_init();
    void *p = align & (align - 1) ? NULL : sv_heap_alloc_aligned(align, size);
    if (!p)
        return sv_boehm_oom(size);
    size_t bytes = 0;
    if (sv_boehm_start(p, &bytes, &(unsigned){0}))
        memset(p, 0, bytes);
    return p;
}

SV_EXPORT int GC_posix_memalign(void **out, size_t align, size_t size)
{
    if (align % sizeof(void *) || align == 0 || align & (align - 1))
        return EINVAL;
    void *p = GC_memalign(align, size);
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

SV_EXPORT char *GC_strdup(const char *s)
{
    return s ? GC_strndup(s, SIZE_MAX) : NULL;
}

SV_EXPORT char *GC_strndup(const char *s, size_t max)
{
    size_t n = strnlen(s, max);
    char *to = GC_malloc_atomic(n + 1);
    if (!to) {
        errno = ENOMEM;
        return NULL;
    }
    memcpy(to, s, n);
    to[n] = 0;
    return to;
}

SV_EXPORT void GC_generic_malloc_many(size_t size, int kind, void **out)
{
    // a whole number of granules that the program counts on, without one for a byte past the end
    size_t request = size && size <= SV_SMALL_MAX + 1 ? size - 1 : size;
    // where the link isn't scanned, the rest of a list would hang by nothing
    size_t n = kind == GC_I_NORMAL && size < MANY_BYTES ? MANY_BYTES / (size + SV_ALIGN) + 1 : 1;
    void *list = NULL;
    for (; n > 0; n--) {
        void **p = GC_generic_malloc(request, kind);
        if (!p)
            break;
        *p = list;
        list = p;
    }
    *out = list;
}

SV_EXPORT void *GC_malloc_many(size_t size)
{
    void *list;
    GC_generic_malloc_many(size == SIZE_MAX ? size : size + 1, GC_I_NORMAL, &list);
    return list;
}

__attribute__((noinline)) void *sv_boehm_oom(size_t bytes)
{
    GC_oom_func fn = GC_get_oom_fn();
    return fn ? fn(bytes) : NULL;
}

// ---- giving back --------------------------------------------------------------------------------

// What a pointer that isn't the start of an object in use is. Returns when it is to be left alone.
static void refused(const char *function, const void *p, enum sv_verdict verdict)
{
    if (verdict == SV_FREED)
        sv_misuse(function, p, "double free, or never allocated");
    if (verdict == SV_INTERIOR)
        sv_misuse(function, p, "interior of an object");
    if (verdict == SV_FOREIGN && sv_foreign_classify(p) != SV_FOREIGN_GLIBC)
        sv_misuse(function, p, "address outside of the heap");
}

__attribute__((noinline)) static void free_slow(void *p)
{
    int saved = errno;
    if (sv_unlikely(!sv_boehm_ready))
        sv_boehm_init();
    enum sv_verdict verdict;
    size_t size = sv_heap_usable(p, &verdict);
    if (size >= SV_SLOT_MAX)
        sv_info_freed(size);
    verdict = sv_heap_free(p);
    if (sv_unlikely(verdict != SV_OURS))
        refused("GC_free", p, verdict);
    errno = saved;
}

// Before its slot can be another object's.
static void object_forget(void *p)
{
    if (sv_unlikely(sv_uncollectable_is((uintptr_t)p)))
        sv_uncollectable_forget((uintptr_t)p);
    if (sv_unlikely(sv_object_noted((uintptr_t)p)))
        sv_kind_forget((uintptr_t)p);
    sv_final_forget((uintptr_t)p);
}

// A large object's class has no size: free_slow counts those.
static inline void freed_count(const void *p)
{
    uint64_t page = sv_page_of((uintptr_t)p);
    if (sv_likely(page < sv_heap.grown))
        sv_info_freed(sv_classes[sv_code_class(sv_pagemap_code(sv_pagemap_get(page)))].size);
}

SV_EXPORT void GC_free(void *p)
{
    if (sv_unlikely(!p))
        return;
    object_forget(p);
    freed_count(p);
    if (sv_likely(sv_cache_free(p)))
        return;
    free_slow(p);
}

// ---- resizing -----------------------------------------------------------------------------------

// Another object like the one at p, whose code that is.
static void *like_alloc(void *p, size_t size, unsigned code)
{
    if (sv_uncollectable_is((uintptr_t)p))
        return sv_code_noscan(code) ? GC_malloc_atomic_uncollectable(size)
                                    : GC_malloc_uncollectable(size);
    if (sv_code_traced(code))
        return sv_kind_like((uintptr_t)p, size);
    return sv_code_noscan(code) ? GC_malloc_atomic(size) : GC_malloc(size);
}

static void *realloc_copy(void *p, size_t size, size_t old, unsigned code)
{
    void *to = like_alloc(p, size, code);
    if (!to)
        return NULL;
    memcpy(to, p, size < old ? size : old);
    GC_free(p);
    return to;
}

// A large object that stays one: by its pages, if that can be. What is new in a scanned one is
// zero, to the end of the slot.
static void *realloc_large(void *p, size_t size, size_t old, unsigned code)
{
    enum sv_verdict verdict;
    sv_final_forget((uintptr_t)p); // it may be elsewhere after this, and another object here
    void *to = sv_heap_realloc(p, size, &verdict);
    if (sv_unlikely(verdict != SV_OURS))
        refused("GC_realloc", p, verdict);
    if (!to)
        return sv_boehm_oom(size);
    size_t now = old;
    sv_boehm_start(to, &now, &(unsigned){0});
    size_t kept = size < old ? size : old;
    if (!sv_code_noscan(code))
        memset((char *)to + kept, 0, now - kept);
    return to;
}

// Pages of a large object move only where nothing else knows it by its address.
static bool moves_whole(const void *p, size_t size, unsigned code)
{
    return sv_code_class(code) == SV_CLASS_LARGE && !sv_code_traced(code) && size > SV_SMALL_MAX &&
           !sv_uncollectable_is((uintptr_t)p) && !sv_profile_on;
}

SV_EXPORT void *GC_realloc(void *p, size_t size)
{
    if (!p)
        return GC_malloc(size);
    if (size == 0) {
        GC_free(p);
        return NULL;
    }
    sv_boehm_poll();
    size_t old;
    unsigned code;
    if (sv_boehm_start(p, &old, &code) != (uintptr_t)p)
        sv_misuse("GC_realloc", p, "not the start of an object");
    if (size <= old && (size > old / 2 || old <= 64)) {
        if (!sv_code_noscan(code))
            memset((char *)p + size, 0, old - size);
        return p;
    }
    if (moves_whole(p, size, code))
        return realloc_large(p, size, old, code);
    return realloc_copy(p, size, old, code);
}

// ---- questions ----------------------------------------------------------------------------------

uintptr_t sv_boehm_start(const void *p, size_t *size, unsigned *code)
{
    struct sv_mark_place at;
    if (!sv_mark_find((uintptr_t)p, &at))
        return 0;
    *code = at.span->code;
    *size = sv_span_slot_size(at.span) - (sv_code_traced(*code) ? sizeof(uint64_t) : 0);
    return at.start;
}

bool sv_boehm_marked(uintptr_t start)
{
    struct sv_mark_place at;
    if (sv_page_of(start) >= sv_heap.grown)
        return true;
    return sv_mark_find(start, &at) &&
           atomic_load_explicit(&at.bits->mark, memory_order_relaxed) & at.bit;
}

SV_EXPORT void *GC_base(void *p)
{
    return (void *)sv_boehm_start(p, &(size_t){0}, &(unsigned){0});
}

SV_EXPORT size_t GC_size(const void *p)
{
    size_t size = 0;
    sv_boehm_start(p, &size, &(unsigned){0});
    return size;
}

SV_EXPORT int GC_is_heap_ptr(const void *p)
{
    uint64_t page = sv_page_of((uintptr_t)p);
    return page < sv_heap.grown && sv_pagemap_get(page) != 0;
}

SV_EXPORT void GC_noop1(GC_word word)
{
    __asm__ volatile("" : : "r"(word) : "memory");
}

// ---- checks of pointers -------------------------------------------------------------------------

static void same_obj_print(void *p, void *q)
{
    sv_die("GC_same_obj: %p and %p aren't in one object", p, q);
}

static void displacement_print(void *p)
{
    sv_die("GC_is_valid_displacement: %p is in the heap, but in no object", p);
}

static void visible_print(void *p)
{
    sv_die("GC_is_visible: %p isn't looked at for pointers", p);
}

SV_EXPORT void (*GC_same_obj_print_proc)(void *, void *) = same_obj_print;
SV_EXPORT void (*GC_is_valid_displacement_print_proc)(void *) = displacement_print;
SV_EXPORT void (*GC_is_visible_print_proc)(void *) = visible_print;

SV_EXPORT void *GC_same_obj(void *p, void *q)
{
    if (GC_base(p) != GC_base(q))
        GC_same_obj_print_proc(p, q);
    return p;
}

SV_EXPORT void *GC_pre_incr(void **p, ptrdiff_t by)
{
    void *was = *p;
    return *p = GC_same_obj((char *)was + by, was);
}

SV_EXPORT void *GC_post_incr(void **p, ptrdiff_t by)
{
    void *was = *p;
    *p = GC_same_obj((char *)was + by, was);
    return was;
}

SV_EXPORT void *GC_is_valid_displacement(void *p)
{
    if (GC_is_heap_ptr(p) && !GC_base(p))
        GC_is_valid_displacement_print_proc(p);
    return p;
}

SV_EXPORT void *GC_is_visible(void *p)
{
    if ((uintptr_t)p % sizeof(void *) || (GC_is_heap_ptr(p) && !GC_base(p)))
        GC_is_visible_print_proc(p);
    return p;
}

// ---- what needs no help of the program's here ---------------------------------------------------

SV_EXPORT void GC_change_stubborn(const void *p)
{
    (void)p;
}

SV_EXPORT void GC_end_stubborn_change(const void *p)
{
    (void)p;
}

SV_EXPORT void GC_ptr_store_and_dirty(void *at, const void *p)
{
    *(const void **)at = p;
}

// A program's own free lists take objects from GC_generic_malloc_many, which counted them.
SV_EXPORT void GC_incr_bytes_allocd(size_t bytes)
{
    (void)bytes;
}

SV_EXPORT void GC_incr_bytes_freed(size_t bytes)
{
    (void)bytes;
}
