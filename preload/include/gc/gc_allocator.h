/*
 * Allocators for the C++ library's containers.
 *
 *     std::list<T, gc_allocator<T> >                   elements are collected
 *     std::vector<T, gc_allocator_ignore_off_page<T> > collected; for large arrays whose first page
 *                                                      the program keeps a pointer to
 *     std::map<K, V, C, traceable_allocator<...> >     not collected, but looked at for pointers
 *
 * The first two take memory without pointers for types that have none: the arithmetic types, and
 * those named by GC_DECLARE_PTRFREE(T) at file scope.
 */
#ifndef GC_ALLOCATOR_H
#define GC_ALLOCATOR_H

#include "gc.h"
#include <new>

#if defined(GC_NEW_ABORTS_ON_OOM) || defined(_LIBCPP_NO_EXCEPTIONS)
#define GC_ALLOCATOR_THROW_OR_ABORT() GC_abort_on_oom()
#else
#define GC_ALLOCATOR_THROW_OR_ABORT() throw std::bad_alloc()
#endif

/* Whether a type holds no pointers: the type of GC_type_traits<T>::GC_is_ptr_free. */
struct GC_true_type {
};
struct GC_false_type {
};
template <class GC_tp> struct GC_type_traits {
    GC_false_type GC_is_ptr_free;
};
#define GC_DECLARE_PTRFREE(T)                                                                      \
    template <> struct GC_type_traits<T> {                                                         \
        GC_true_type GC_is_ptr_free;                                                               \
    }
GC_DECLARE_PTRFREE(char);
GC_DECLARE_PTRFREE(signed char);
GC_DECLARE_PTRFREE(unsigned char);
GC_DECLARE_PTRFREE(signed short);
GC_DECLARE_PTRFREE(unsigned short);
GC_DECLARE_PTRFREE(signed int);
GC_DECLARE_PTRFREE(unsigned int);
GC_DECLARE_PTRFREE(signed long);
GC_DECLARE_PTRFREE(unsigned long);
GC_DECLARE_PTRFREE(float);
GC_DECLARE_PTRFREE(double);
GC_DECLARE_PTRFREE(long double);

inline void *GC_allocator_check(void *obj)
{
    if (obj == 0)
        GC_ALLOCATOR_THROW_OR_ABORT();
    return obj;
}

/* Memory with pointers or without, as the second argument's type says. */
template <class GC_Tp> inline void *GC_selective_alloc(size_t bytes, GC_Tp, bool ignore_off_page)
{
    return GC_allocator_check(ignore_off_page ? GC_MALLOC_IGNORE_OFF_PAGE(bytes)
                                              : GC_MALLOC(bytes));
}
template <>
inline void *GC_selective_alloc<GC_true_type>(size_t bytes, GC_true_type, bool ignore_off_page)
{
    return GC_allocator_check(ignore_off_page ? GC_MALLOC_ATOMIC_IGNORE_OFF_PAGE(bytes)
                                              : GC_MALLOC_ATOMIC(bytes));
}

/*
 * One allocator: its name, and the expression for so many elements' memory. All objects of it are
 * alike, so any of them may deallocate what another allocated.
 */
#define GC_ALLOCATOR_TYPES(name, T)                                                                \
    typedef size_t size_type;                                                                      \
    typedef ptrdiff_t difference_type;                                                             \
    typedef T *pointer;                                                                            \
    typedef const T *const_pointer;                                                                \
    typedef T value_type;                                                                          \
    template <class GC_Tp1> struct rebind {                                                        \
        typedef name<GC_Tp1> other;                                                                \
    };

#define GC_ALLOCATOR_DEFINE(name, memory)                                                          \
    template <class GC_Tp> class name                                                              \
    {                                                                                              \
      public:                                                                                      \
        GC_ALLOCATOR_TYPES(name, GC_Tp)                                                            \
        typedef GC_Tp &reference;                                                                  \
        typedef const GC_Tp &const_reference;                                                      \
        name() GC_NOEXCEPT                                                                         \
        {                                                                                          \
        }                                                                                          \
        name(const name &) GC_NOEXCEPT                                                             \
        {                                                                                          \
        }                                                                                          \
        template <class GC_Tp1> name(const name<GC_Tp1> &) GC_NOEXCEPT                             \
        {                                                                                          \
        }                                                                                          \
        ~name() GC_NOEXCEPT                                                                        \
        {                                                                                          \
        }                                                                                          \
        pointer address(reference GC_x) const                                                      \
        {                                                                                          \
            return &GC_x;                                                                          \
        }                                                                                          \
        const_pointer address(const_reference GC_x) const                                          \
        {                                                                                          \
            return &GC_x;                                                                          \
        }                                                                                          \
        GC_Tp *allocate(size_type GC_n, const void * = 0)                                          \
        {                                                                                          \
            if (GC_n > max_size())                                                                 \
                GC_ALLOCATOR_THROW_OR_ABORT();                                                     \
            return static_cast<GC_Tp *>(memory);                                                   \
        }                                                                                          \
        void deallocate(pointer GC_p, size_type) GC_NOEXCEPT                                       \
        {                                                                                          \
            GC_FREE(GC_p);                                                                         \
        }                                                                                          \
        size_type max_size() const GC_NOEXCEPT                                                     \
        {                                                                                          \
            return size_t(-1) / sizeof(GC_Tp);                                                     \
        }                                                                                          \
        void construct(pointer GC_p, const GC_Tp &GC_value)                                        \
        {                                                                                          \
            new (GC_p) GC_Tp(GC_value);                                                            \
        }                                                                                          \
        void destroy(pointer GC_p)                                                                 \
        {                                                                                          \
            GC_p->~GC_Tp();                                                                        \
        }                                                                                          \
    };                                                                                             \
    template <> class name<void>                                                                   \
    {                                                                                              \
      public:                                                                                      \
        GC_ALLOCATOR_TYPES(name, void)                                                             \
    };                                                                                             \
    template <class GC_T1, class GC_T2>                                                            \
    inline bool operator==(const name<GC_T1> &, const name<GC_T2> &) GC_NOEXCEPT                   \
    {                                                                                              \
        return true;                                                                               \
    }                                                                                              \
    template <class GC_T1, class GC_T2>                                                            \
    inline bool operator!=(const name<GC_T1> &, const name<GC_T2> &) GC_NOEXCEPT                   \
    {                                                                                              \
        return false;                                                                              \
    }

GC_ALLOCATOR_DEFINE(gc_allocator, GC_selective_alloc(GC_n * sizeof(GC_Tp),
                                                     GC_type_traits<GC_Tp>().GC_is_ptr_free, false))
GC_ALLOCATOR_DEFINE(gc_allocator_ignore_off_page,
                    GC_selective_alloc(GC_n * sizeof(GC_Tp), GC_type_traits<GC_Tp>().GC_is_ptr_free,
                                       true))
GC_ALLOCATOR_DEFINE(traceable_allocator,
                    GC_allocator_check(GC_MALLOC_UNCOLLECTABLE(GC_n * sizeof(GC_Tp))))

#undef GC_ALLOCATOR_TYPES
#undef GC_ALLOCATOR_DEFINE

#endif
