// libgccpp: plain new and delete for programs that are linked with it (-lgccpp). What new returns
// is uncollectable memory: delete alone gives it back, and it is looked at for pointers to
// collected objects, so that containers of the C++ library may hold them.
//
// It shows the operators (visible, whatever the flags, as <new> declares them) and
// GC_throw_bad_alloc. It knows the collector by its public functions only, so it works with bdwgc's
// libgc too. The nothrow and aligned families aren't here: the C++ library's nothrow operators call
// these, and its aligned ones take and free their own memory by themselves.
#include <new>

#define GC_BUILD
#include "gc/gc.h"

GC_API void GC_CALL GC_throw_bad_alloc();

void GC_CALL GC_throw_bad_alloc()
{
    throw std::bad_alloc();
}

// As the language wants it: the program's new handler is called until there is memory, or none.
static void *uncollectable_alloc(size_t size)
{
    for (;;) {
        void *obj = GC_malloc_uncollectable(size);
        if (obj)
            return obj;
        std::new_handler handler = std::get_new_handler();
        if (!handler)
            GC_throw_bad_alloc();
        handler();
    }
}

void *operator new(size_t size)
{
    return uncollectable_alloc(size);
}

void *operator new[](size_t size)
{
    return uncollectable_alloc(size);
}

void operator delete(void *obj) noexcept
{
    GC_free(obj);
}

void operator delete[](void *obj) noexcept
{
    GC_free(obj);
}

void operator delete(void *obj, size_t) noexcept
{
    GC_free(obj);
}

void operator delete[](void *obj, size_t) noexcept
{
    GC_free(obj);
}
