// malloc, free and their family, as the program sees them: glibc's answers in every corner (zero
// sizes, odd alignments, overflow, errno), over the heap of core. The fast paths are inlined from
// cache.h; what they decline goes to the noinline half below. free() never changes errno; malloc
// only when it fails.
//
// Where allocations are recorded (profile.h) the fast paths decline by themselves, and the slow
// ones turn to the functions that end in _recorded. Those are tail calls, so that a function's own
// frame is gone and the caller of malloc is the caller of malloc_recorded.
//
// A pointer that isn't ours is looked at before anything else happens: what glibc's own allocator
// or the dynamic linker handed out (before we were loaded, or in another namespace) is left alone
// and counted; anything else is the program's mistake, and is named in one line before abort().
#include "malloc.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "cycle.h"
#include "export.h"
#include "foreign.h"
#include "heap.h"
#include "init.h"
#include "leaks.h"
#include "misuse.h"
#include "profile.h"
#include "unwind.h"

#define SYSTEM_PAGE 4096u // what valloc and pvalloc align to

// Requests below this many bytes are answered by a bin if it can: none where allocations are
// recorded.
static size_t malloc_quick = SV_SMALL_MAX + 1;

void sv_malloc_init(void)
{
    if (sv_profile_on)
        malloc_quick = 0;
}

static void *no_memory(void)
{
    errno = ENOMEM;
    return NULL;
}

// ---- malloc -------------------------------------------------------------------------------------

static inline void *quick_all(size_t size)
{
    return size <= SV_SMALL_MAX ? sv_bin_pop(sv_cache_bin(sv_cache_self, sv_sizeclass(size)))
                                : NULL;
}

// Where leaks are looked for, no object begins with what another one left: programs don't write all
// of what they allocate, and an old pointer in the rest would hide what is lost. The whole slot, of
// which the first `kept` bytes are in use already.
static void *slot_clear(void *p, size_t size, size_t kept)
{
    size_t bytes = sv_classes[sv_code_class(sv_sizeclass(size))].size;
    if (bytes > kept)
        memset((char *)p + kept, 0, bytes - kept);
    return p;
}

static void *malloc_clear(size_t size)
{
    if (size > SV_SMALL_MAX)
        return sv_heap_alloc_zeroed(size);
    void *p = quick_all(size);
    return p || (p = sv_heap_alloc(size)) ? slot_clear(p, size, 0) : NULL;
}

__attribute__((noinline)) static void *malloc_recorded(size_t size)
{
    bool due = sv_profile_all;
    sv_cycle_link_poll();
    void *p = due ? malloc_clear(size) : sv_heap_alloc_sampled(size, false, false, &due);
    if (!p && (due || !(p = sv_heap_alloc(size))))
        return no_memory();
    sv_leaks_clean(p, size);
    if (due)
        sv_profile_record(p, size, SV_UNWIND(malloc));
    return p;
}

__attribute__((noinline)) static void *malloc_slow(size_t size)
{
    if (size < malloc_quick) {
        void *p = sv_bin_pop(sv_cache_bin(sv_cache_self, sv_sizeclass(size)));
        if (sv_likely(p != NULL))
            return p;
    }
    if (sv_unlikely(!sv_init_done))
        sv_init();
    if (sv_unlikely(sv_profile_on))
        return malloc_recorded(size);
    void *p = sv_heap_alloc(size);
    return p ? p : no_memory();
}

void *sv_malloc(size_t size)
{
    void *p = sv_cache_alloc(size);
    return sv_likely(p != NULL) ? p : malloc_slow(size);
}

__attribute__((noinline)) static void *calloc_recorded(size_t size)
{
    bool due = sv_profile_all;
    sv_cycle_link_poll();
    void *p = due && size < 1024 ? quick_all(size) : NULL;
    if (p)
        slot_clear(p, size, 0);
    else
        p = due ? sv_heap_alloc_zeroed(size) : sv_heap_alloc_sampled(size, true, false, &due);
    if (p && due)
        sv_profile_record(p, size, SV_UNWIND(calloc));
    return p ? p : no_memory();
}

__attribute__((noinline)) static void *calloc_slow(size_t size)
{
    if (sv_unlikely(!sv_init_done))
        sv_init();
    if (sv_unlikely(sv_profile_on))
        return calloc_recorded(size);
    void *p = sv_heap_alloc_zeroed(size);
    return p ? p : no_memory();
}

void *sv_calloc(size_t n, size_t size)
{
    size_t bytes;
    if (sv_unlikely(__builtin_mul_overflow(n, size, &bytes)))
        return no_memory();
    void *p = sv_cache_alloc(bytes);
    return sv_likely(p != NULL) ? memset(p, 0, bytes) : calloc_slow(bytes);
}

// ---- free ---------------------------------------------------------------------------------------

// What to do about a pointer that the heap didn't take: returns only when it is to be left alone.
static void refused(const char *function, const void *p, enum sv_verdict verdict)
{
    switch (verdict) {
    case SV_OURS:
        return;
    case SV_FREED:
        sv_misuse(function, p, "double free, or never allocated");
    case SV_INTERIOR:
        sv_misuse(function, p, "interior of an allocated block");
    case SV_FOREIGN:
        break;
    }
    switch (sv_foreign_classify(p)) {
    case SV_FOREIGN_GLIBC:
    case SV_FOREIGN_LDSO:
        atomic_fetch_add_explicit(&sv_heap.foreign, 1, memory_order_relaxed);
        return;
    case SV_FOREIGN_STACK:
        sv_misuse(function, p, "address on a stack");
    case SV_FOREIGN_GLOBAL:
        sv_misuse(function, p, "address of a global or constant");
    case SV_FOREIGN_UNMAPPED:
        sv_misuse(function, p, "unmapped address");
    case SV_FOREIGN_MAPPING:
        sv_misuse(function, p, "address in a mapping of the program's own");
    }
}

__attribute__((noinline)) static void free_slow(void *p)
{
    if (!p)
        return;
    int saved = errno;
    if (sv_unlikely(!sv_init_done))
        sv_init();
    enum sv_verdict verdict = sv_heap_free(p);
    if (sv_unlikely(verdict != SV_OURS))
        refused("free", p, verdict);
    errno = saved;
}

void sv_free(void *p)
{
    if (sv_likely(sv_cache_free(p)))
        return;
    free_slow(p);
}

// ---- realloc ------------------------------------------------------------------------------------

__attribute__((noinline)) static void *realloc_foreign(void *p, size_t size)
{
    size_t old = sv_foreign_usable(p);
    void *to = sv_malloc(size);
    if (to)
        memcpy(to, p, old < size ? old : size);
    return to;
}

// Under `sample`, a small object that grows and is to be recorded moves to a span of its own.
static void *realloc_sampled(void *p, size_t size, bool *due)
{
    enum sv_verdict verdict;
    size_t usable = sv_heap_usable(p, &verdict);
    *due = false;
    if (verdict != SV_OURS || size <= usable || size > SV_SMALL_MAX)
        return NULL;
    void *to = sv_heap_alloc_sampled(size, false, false, due);
    if (to) {
        memcpy(to, p, usable);
        verdict = sv_heap_free(p);
        if (sv_unlikely(verdict != SV_OURS)) // a slot that lies in a cache
            refused("realloc", p, verdict);
    }
    return to;
}

// A resized object is a new one, of the stack that resized it; under `sample`, if it moved.
__attribute__((noinline)) static void *realloc_recorded(void *p, size_t size)
{
    bool due = true;
    enum sv_verdict verdict = SV_OURS;
    void *to = sv_profile_sampling ? realloc_sampled(p, size, &due) : NULL;
    if (!to) {
        enum sv_verdict old;
        size_t kept = sv_profile_all && size <= SV_SMALL_MAX ? sv_heap_usable(p, &old) : size;
        to = sv_heap_realloc(p, size, &verdict);
        if (to && to != p && kept < size)
            slot_clear(to, size, kept);
        due = to && (sv_profile_all || (to != p && size > SV_SMALL_MAX && sv_profile_due(size)));
    }
    if (sv_unlikely(verdict != SV_OURS)) {
        refused("realloc", p, verdict);
        return realloc_foreign(p, size);
    }
    if (due)
        sv_profile_record(to, size, SV_UNWIND(realloc));
    else if (to == p)
        sv_profile_resize(to, size);
    return to ? to : no_memory();
}

void *sv_realloc(void *p, size_t size)
{
    if (!p)
        return sv_malloc(size);
    if (size == 0) {
        sv_free(p);
        return NULL;
    }
    if (sv_unlikely(!sv_init_done))
        sv_init();
    if (sv_unlikely(sv_profile_on))
        return realloc_recorded(p, size);
    enum sv_verdict verdict;
    void *to = sv_heap_realloc(p, size, &verdict);
    if (sv_unlikely(verdict != SV_OURS)) {
        refused("realloc", p, verdict);
        return realloc_foreign(p, size);
    }
    return to ? to : no_memory();
}

// ---- alignment ----------------------------------------------------------------------------------

// Under `sample` an aligned object of less than a page may be missed.
__attribute__((noinline)) static void *memalign_recorded(size_t align, size_t size)
{
    void *p = sv_heap_alloc_aligned(align, size);
    bool due = sv_profile_all || (size > SV_SMALL_MAX && sv_profile_due(size));
    if (p && due)
        sv_profile_record(p, size, SV_UNWIND(memalign));
    return p ? p : no_memory();
}

void *sv_memalign(size_t align, size_t size)
{
    if (sv_unlikely(!sv_init_done))
        sv_init();
    if (align > SIZE_MAX / 2 + 1) {
        errno = EINVAL;
        return NULL;
    }
    if (align & (align - 1)) // glibc takes the next power of two
        align = (size_t)1 << (64 - __builtin_clzl(align));
    if (align <= SV_ALIGN)
        return sv_malloc(size);
    if (sv_unlikely(sv_profile_on))
        return memalign_recorded(align, size);
    void *p = sv_heap_alloc_aligned(align, size);
    return p ? p : no_memory();
}

// ---- the exported names -------------------------------------------------------------------------

SV_EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
    if (align % sizeof(void *) || align == 0 || (align & (align - 1)))
        return EINVAL;
    int saved = errno;
    void *p = sv_memalign(align, size);
    errno = saved;
    if (!p)
        return ENOMEM;
    *out = p;
    return 0;
}

SV_EXPORT void *reallocarray(void *p, size_t n, size_t size)
{
    size_t bytes;
    return __builtin_mul_overflow(n, size, &bytes) ? no_memory() : sv_realloc(p, bytes);
}

SV_EXPORT void *valloc(size_t size)
{
    return sv_memalign(SYSTEM_PAGE, size);
}

SV_EXPORT void *pvalloc(size_t size)
{
    size_t bytes;
    if (__builtin_add_overflow(size, SYSTEM_PAGE - 1, &bytes))
        return no_memory();
    return sv_memalign(SYSTEM_PAGE, bytes & ~(size_t)(SYSTEM_PAGE - 1));
}

SV_EXPORT size_t malloc_usable_size(void *p)
{
    if (!p)
        return 0;
    if (sv_unlikely(!sv_init_done))
        sv_init();
    enum sv_verdict verdict;
    size_t usable = sv_heap_usable(p, &verdict);
    return verdict == SV_FOREIGN ? sv_foreign_usable(p) : usable;
}

// C23's; this C library's headers don't have them yet.
void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t align, size_t size);

SV_EXPORT void free_sized(void *p, size_t size)
{
    (void)size;
    sv_free(p);
}

SV_EXPORT void free_aligned_sized(void *p, size_t align, size_t size)
{
    (void)align;
    (void)size;
    sv_free(p);
}

// An alias carries none of its target's attributes; gcc wants them copied, clang has no way to.
#ifndef __clang__
#pragma GCC diagnostic ignored "-Wmissing-attributes"
#endif
#define ALIAS(name, of) __attribute__((alias(#of), visibility("default")))

void *malloc(size_t size) ALIAS(malloc, sv_malloc);
void *calloc(size_t n, size_t size) ALIAS(calloc, sv_calloc);
void *realloc(void *p, size_t size) ALIAS(realloc, sv_realloc);
void free(void *p) ALIAS(free, sv_free);
void cfree(void *p) ALIAS(cfree, sv_free);
void *memalign(size_t align, size_t size) ALIAS(memalign, sv_memalign);
void *aligned_alloc(size_t align, size_t size) ALIAS(aligned_alloc, sv_memalign);

void *__libc_malloc(size_t size) ALIAS(__libc_malloc, sv_malloc);
void *__libc_calloc(size_t n, size_t size) ALIAS(__libc_calloc, sv_calloc);
void *__libc_realloc(void *p, size_t size) ALIAS(__libc_realloc, sv_realloc);
void __libc_free(void *p) ALIAS(__libc_free, sv_free);
void __libc_cfree(void *p) ALIAS(__libc_cfree, sv_free);
void *__libc_memalign(size_t align, size_t size) ALIAS(__libc_memalign, sv_memalign);
void *__libc_valloc(size_t size) ALIAS(__libc_valloc, valloc);
void *__libc_pvalloc(size_t size) ALIAS(__libc_pvalloc, pvalloc);
void *__libc_reallocarray(void *p, size_t n, size_t size) ALIAS(__libc_reallocarray, reallocarray);
int __posix_memalign(void **out, size_t align, size_t size) ALIAS(__posix_memalign, posix_memalign);
