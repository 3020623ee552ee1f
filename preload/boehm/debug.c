// The debugging functions: objects with a header of 32 bytes in front of what the program gets,
// which remembers where in the program it was allocated, and how many bytes were asked for.
// Programs count on the header: GC_base of such an object is the header's address, and they add
// GC_get_debug_header_size to come back (a finalizer of the plain functions, for one, is registered
// for the base). The last word of the header, made from its own address, tells such objects from
// others, so that each function here takes either.
//
// Nothing is checked beyond that: what was written past the end of an object is an affair of the
// slot's.
#define GC_BUILD
#include "gc/gc.h"

#include <stdint.h>
#include <string.h>

#include "boehm.h"
#include "export.h"
#include "gc/gc_inline.h"
#include "gc/gc_mark.h"

struct header {
    const char *file; // const: where the program asked
    intptr_t line;    // const
    size_t size;      // const: bytes asked for
    uintptr_t magic;  // header_magic of this header, while the object is in use
};
_Static_assert(sizeof(struct header) == 32, "programs know its size");

SV_EXPORT const size_t GC_debug_header_size = sizeof(struct header);

SV_EXPORT size_t GC_get_debug_header_size(void)
{
    return sizeof(struct header);
}

static uintptr_t header_magic(const struct header *h)
{
    return ~((uintptr_t)h ^ 0x5deb06c0ffee0000u);
}

// The header of an object of these functions; NULL: it is none.
static struct header *header_of(const void *p)
{
    if (!p)
        return NULL;
    struct header *h = (struct header *)p - 1;
    return GC_base((void *)(uintptr_t)p) == h && h->magic == header_magic(h) ? h : NULL;
}

// The object that begins with the header at p.
static void *object_make(void *p, size_t size, const char *file, int line)
{
    struct header *h = p;
    if (!p)
        return NULL;
    *h = (struct header){file, line, size, header_magic(h)};
    return h + 1;
}

static size_t with_header(size_t size)
{
    return size > PTRDIFF_MAX ? size : size + sizeof(struct header);
}

// ---- allocating ---------------------------------------------------------------------------------

SV_EXPORT void *GC_debug_malloc(size_t size, const char *file, int line)
{
    return object_make(GC_malloc(with_header(size)), size, file, line);
}

SV_EXPORT void *GC_debug_malloc_atomic(size_t size, const char *file, int line)
{
    return object_make(GC_malloc_atomic(with_header(size)), size, file, line);
}

SV_EXPORT void *GC_debug_malloc_uncollectable(size_t size, const char *file, int line)
{
    return object_make(GC_malloc_uncollectable(with_header(size)), size, file, line);
}

SV_EXPORT void *GC_debug_malloc_atomic_uncollectable(size_t size, const char *file, int line)
{
    return object_make(GC_malloc_atomic_uncollectable(with_header(size)), size, file, line);
}

SV_EXPORT void *GC_debug_malloc_ignore_off_page(size_t size, const char *file, int line)
{
    return GC_debug_malloc(size, file, line);
}

SV_EXPORT void *GC_debug_malloc_atomic_ignore_off_page(size_t size, const char *file, int line)
{
    return GC_debug_malloc_atomic(size, file, line);
}

SV_EXPORT void *GC_debug_malloc_stubborn(size_t size, const char *file, int line)
{
    return GC_debug_malloc(size, file, line);
}

SV_EXPORT void *GC_debug_malloc_replacement(size_t size)
{
    return GC_debug_malloc(size, "unknown", 0);
}

SV_EXPORT void *GC_debug_generic_or_special_malloc(size_t size, int kind, const char *file,
                                                   int line)
{
    return object_make(GC_generic_malloc(with_header(size), kind), size, file, line);
}

SV_EXPORT char *GC_debug_strndup(const char *text, size_t max, const char *file, int line)
{
    size_t n = strnlen(text, max);
    char *to = GC_debug_malloc_atomic(n + 1, file, line);
    if (to) {
        memcpy(to, text, n);
        to[n] = 0;
    }
    return to;
}

SV_EXPORT char *GC_debug_strdup(const char *text, const char *file, int line)
{
    return text ? GC_debug_strndup(text, SIZE_MAX, file, line) : NULL;
}

SV_EXPORT void GC_debug_free(void *p)
{
    struct header *h = header_of(p);
    if (h)
        h->magic = 0;
    GC_free(h ? h : p);
}

SV_EXPORT void *GC_debug_realloc(void *p, size_t size, const char *file, int line)
{
    if (!p)
        return GC_debug_malloc(size, file, line);
    if (size == 0) {
        GC_debug_free(p);
        return NULL;
    }
    struct header *h = header_of(p);
    if (!h)
        return GC_realloc(p, size);
    if (size > h->size) // what was allocated beyond the request may have been written to
        memset((char *)p + h->size, 0, GC_size(h) - sizeof *h - h->size);
    return object_make(GC_realloc(h, with_header(size)), size, file, line);
}

SV_EXPORT void *GC_debug_realloc_replacement(void *p, size_t size)
{
    return GC_debug_realloc(p, size, "unknown", 0);
}

// ---- finalizers ---------------------------------------------------------------------------------

// A finalizer is given the object that the program knows. The object of the plain functions is the
// header, so its finalizer is `closure_run`, with what the program registered as its argument.
struct closure {
    GC_finalization_proc fn;
    void *data;
};

static void closure_run(void *base, void *data)
{
    struct closure *closure = data;
    closure->fn((struct header *)base + 1, closure->data);
}

typedef void registering(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);

static void finalizer_register(registering *plain, void *p, GC_finalization_proc fn, void *data,
                               GC_finalization_proc *old_fn, void **old_data)
{
    struct header *h = header_of(p);
    if (!h) {
        plain(p, fn, data, old_fn, old_data);
        return;
    }
    struct closure *closure = NULL;
    if (fn) {
        closure = GC_malloc(sizeof *closure);
        if (!closure)
            return;
        *closure = (struct closure){fn, data};
    }
    GC_finalization_proc was = NULL;
    void *was_data = NULL;
    plain(h, fn ? closure_run : NULL, closure, &was, &was_data);
    if (was == closure_run) {
        closure = was_data;
        was = closure->fn;
        was_data = closure->data;
    }
    if (old_fn)
        *old_fn = was;
    if (old_data)
        *old_data = was_data;
}

SV_EXPORT void GC_debug_register_finalizer(void *p, GC_finalization_proc fn, void *data,
                                           GC_finalization_proc *old_fn, void **old_data)
{
    finalizer_register(GC_register_finalizer, p, fn, data, old_fn, old_data);
}

SV_EXPORT void GC_debug_register_finalizer_ignore_self(void *p, GC_finalization_proc fn, void *data,
                                                       GC_finalization_proc *old_fn,
                                                       void **old_data)
{
    finalizer_register(GC_register_finalizer_ignore_self, p, fn, data, old_fn, old_data);
}

SV_EXPORT void GC_debug_register_finalizer_no_order(void *p, GC_finalization_proc fn, void *data,
                                                    GC_finalization_proc *old_fn, void **old_data)
{
    finalizer_register(GC_register_finalizer_no_order, p, fn, data, old_fn, old_data);
}

SV_EXPORT void GC_debug_register_finalizer_unreachable(void *p, GC_finalization_proc fn, void *data,
                                                       GC_finalization_proc *old_fn,
                                                       void **old_data)
{
    finalizer_register(GC_register_finalizer_unreachable, p, fn, data, old_fn, old_data);
}

// ---- what needs no help of the program's here ---------------------------------------------------

SV_EXPORT void GC_debug_change_stubborn(const void *p)
{
    (void)p;
}

SV_EXPORT void GC_debug_end_stubborn_change(const void *p)
{
    (void)p;
}

SV_EXPORT void GC_debug_ptr_store_and_dirty(void *at, const void *p)
{
    *(const void **)at = p;
}
