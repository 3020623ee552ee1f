/*
 * Boehm's collector from C++.
 *
 *     class A : public gc { ... };            objects of A are collected; no destructor is called
 *     class B : public gc_cleanup { ... };    collected, and the destructor is called when they die
 *     new (UseGC) T                           collected, whatever T is
 *     new (NoGC) T                            not collected, but looked at for pointers
 *     new (PointerFreeGC) T                   collected, and holds no pointers
 *     new (UseGC, cleanup, data) T            collected; cleanup(object, data) when it dies
 *
 * Plain new and delete are uncollected memory that is looked at for pointers when the program links
 * with libgccpp (-lgccpp), and the C++ library's otherwise: in a process where libsalvage serves
 * malloc() that is looked at, too.
 *
 * A destructor is called as a finalizer that ignores the object's pointers to itself: on a thread
 * of the program, in allocation after a collection. Objects of gc_cleanup that point to each other
 * in a cycle are therefore never destroyed.
 */
#ifndef GC_CPP_H
#define GC_CPP_H

#include "gc.h"

#ifdef GC_INCLUDE_NEW
#include <new>
#endif

/* With GC_NAMESPACE, everything here but the operators is in the namespace boehmgc. */
#ifdef GC_NAMESPACE
#define GC_NS_QUALIFY(T) boehmgc::T
#else
#define GC_NS_QUALIFY(T) T
#endif

#define GC_cdecl GC_CALLBACK
#if !defined(GC_NO_OPERATOR_NEW_ARRAY) && !defined(GC_OPERATOR_NEW_ARRAY)
#define GC_OPERATOR_NEW_ARRAY
#endif
#define GC_PLACEMENT_DELETE

/*
 * When there is no memory: std::bad_alloc, thrown by a function of libgccpp, or here if
 * GC_INCLUDE_NEW is defined; with GC_NEW_ABORTS_ON_OOM the process ends.
 */
#if defined(GC_NEW_ABORTS_ON_OOM) || defined(_LIBCPP_NO_EXCEPTIONS)
#define GC_OP_NEW_OOM_CHECK(obj)                                                                   \
    do {                                                                                           \
        if (!(obj))                                                                                \
            GC_abort_on_oom();                                                                     \
    } while (0)
#elif defined(GC_INCLUDE_NEW)
#define GC_OP_NEW_OOM_CHECK(obj)                                                                   \
    if (obj) {                                                                                     \
    } else                                                                                         \
        throw std::bad_alloc()
#else
GC_API void GC_CALL GC_throw_bad_alloc();
#define GC_OP_NEW_OOM_CHECK(obj)                                                                   \
    if (obj) {                                                                                     \
    } else                                                                                         \
        GC_throw_bad_alloc()
#endif

#ifdef GC_NAMESPACE
namespace boehmgc
{
#endif

/* GC is an older name of UseGC, for programs that have no other use for it. */
enum GCPlacement {
    UseGC,
#ifndef GC_NAME_CONFLICT
    GC = UseGC,
#endif
    NoGC,
    PointerFreeGC
#ifdef GC_ATOMIC_UNCOLLECTABLE
    ,
    PointerFreeNoGC
#endif
};

/* Memory as placement says; not checked. */
inline void *GC_cpp_allocate(size_t size, GCPlacement placement)
{
    switch (placement) {
    case UseGC:
        return GC_MALLOC(size);
    case PointerFreeGC:
        return GC_MALLOC_ATOMIC(size);
#ifdef GC_ATOMIC_UNCOLLECTABLE
    case PointerFreeNoGC:
        return GC_MALLOC_ATOMIC_UNCOLLECTABLE(size);
#endif
    case NoGC:
    default:
        return GC_MALLOC_UNCOLLECTABLE(size);
    }
}

/* Base of classes whose objects are collected. */
class gc
{
  public:
    inline void *operator new(size_t size);
    inline void *operator new(size_t size, GCPlacement placement);
    inline void *operator new(size_t, void *place) GC_NOEXCEPT
    {
        return place;
    }
    inline void operator delete(void *obj) GC_NOEXCEPT
    {
        GC_FREE(obj);
    }
    inline void operator delete(void *obj, GCPlacement) GC_NOEXCEPT
    {
        GC_FREE(obj);
    }
    inline void operator delete(void *, void *) GC_NOEXCEPT
    {
    }
#ifdef GC_OPERATOR_NEW_ARRAY
    inline void *operator new[](size_t size)
    {
        return gc::operator new(size);
    }
    inline void *operator new[](size_t size, GCPlacement placement)
    {
        return gc::operator new(size, placement);
    }
    inline void *operator new[](size_t, void *place) GC_NOEXCEPT
    {
        return place;
    }
    inline void operator delete[](void *obj) GC_NOEXCEPT
    {
        GC_FREE(obj);
    }
    inline void operator delete[](void *obj, GCPlacement) GC_NOEXCEPT
    {
        GC_FREE(obj);
    }
    inline void operator delete[](void *, void *) GC_NOEXCEPT
    {
    }
#endif
};

inline void *gc::operator new(size_t size)
{
    void *obj = GC_MALLOC(size);
    GC_OP_NEW_OOM_CHECK(obj);
    return obj;
}

inline void *gc::operator new(size_t size, GCPlacement placement)
{
    void *obj = GC_cpp_allocate(size, placement);
    GC_OP_NEW_OOM_CHECK(obj);
    return obj;
}

/*
 * Base of classes whose objects are collected and destroyed. An object that isn't in the
 * collector's heap (a local variable) is left to the language.
 */
class gc_cleanup : virtual public gc
{
  public:
    inline gc_cleanup();
    inline virtual ~gc_cleanup();

  private:
    inline static void GC_cdecl cleanup(void *base, void *offset);
};

inline void GC_CALLBACK gc_cleanup::cleanup(void *base, void *offset)
{
    ((gc_cleanup *)((char *)base + (ptrdiff_t)offset))->~gc_cleanup();
}

inline gc_cleanup::gc_cleanup()
{
#ifndef GC_NO_FINALIZATION
    void *base = GC_base((void *)this);
    if (base == 0)
        return;
    GC_finalization_proc earlier = 0;
    void *earlier_data = 0;
    void *offset = (void *)((char *)(void *)this - (char *)base);
    GC_register_finalizer_ignore_self(base, (GC_finalization_proc)cleanup, offset, &earlier,
                                      &earlier_data);
    // A whole object that this one is a part of registered first: its destructor calls this one's.
    if (earlier != 0)
        GC_register_finalizer_ignore_self(base, earlier, earlier_data, 0, 0);
#endif
}

inline gc_cleanup::~gc_cleanup()
{
#ifndef GC_NO_FINALIZATION
    void *base = GC_base((void *)this);
    if (base != 0)
        GC_register_finalizer_ignore_self(base, 0, 0, 0, 0);
#endif
}

extern "C" {
typedef void(GC_CALLBACK *GCCleanUpFunc)(void *obj, void *data);
}

#ifdef GC_NAMESPACE
}
#endif

/* new (placement) T, new (placement, cleanup, data) T. cleanup is for UseGC only. */
inline void *operator new(size_t size, GC_NS_QUALIFY(GCPlacement) placement,
                          GC_NS_QUALIFY(GCCleanUpFunc) cleanup = 0, void *data = 0)
{
    void *obj = GC_NS_QUALIFY(GC_cpp_allocate)(size, placement);
#ifndef GC_NO_FINALIZATION
    if (cleanup != 0 && obj != 0 && placement == GC_NS_QUALIFY(UseGC)) {
        GC_REGISTER_FINALIZER_IGNORE_SELF(obj, cleanup, data, 0, 0);
    }
#else
    (void)cleanup;
    (void)data;
#endif
    GC_OP_NEW_OOM_CHECK(obj);
    return obj;
}

inline void operator delete(void *obj, GC_NS_QUALIFY(GCPlacement), GC_NS_QUALIFY(GCCleanUpFunc),
                            void *) GC_NOEXCEPT
{
    GC_FREE(obj);
}

#ifdef GC_OPERATOR_NEW_ARRAY
inline void *operator new[](size_t size, GC_NS_QUALIFY(GCPlacement) placement,
                            GC_NS_QUALIFY(GCCleanUpFunc) cleanup = 0, void *data = 0)
{
    return ::operator new(size, placement, cleanup, data);
}

inline void operator delete[](void *obj, GC_NS_QUALIFY(GCPlacement), GC_NS_QUALIFY(GCCleanUpFunc),
                              void *) GC_NOEXCEPT
{
    GC_FREE(obj);
}
#endif

#endif
