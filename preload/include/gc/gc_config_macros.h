/*
 * What the headers say about the platform (Linux on x86-64, gcc or clang) and about the compiler:
 * linkage, calling convention, attributes. gc.h includes it first. A program may define any of the
 * GC_ATTR_ names, GC_API and GC_CALL itself before that.
 *
 * GC_BUILD is for the library's own sources: there an attribute would let the compiler assume what
 * the library has to check (that a pointer isn't NULL), so there are none.
 */
#ifndef GC_CONFIG_MACROS_H
#define GC_CONFIG_MACROS_H

#include <features.h>
#include <stddef.h>

#define __GC /* of old: "this program knows the collector" */

#if defined(__GNUC__) && defined(__GNUC_MINOR__)
#define GC_GNUC_PREREQ(major, minor)                                                               \
    ((__GNUC__ << 16) + __GNUC_MINOR__ >= ((major) << 16) + (minor))
#else
#define GC_GNUC_PREREQ(major, minor) 0
#endif

/*
 * Threads. A program asks for the declarations that have to do with threads, and for redirection of
 * pthread_create() and others, by GC_THREADS (older names: LINUX_THREADS, GC_LINUX_THREADS).
 */
#if defined(LINUX_THREADS) && !defined(GC_LINUX_THREADS)
#define GC_LINUX_THREADS
#endif
#if defined(GC_LINUX_THREADS) && !defined(GC_THREADS)
#define GC_THREADS
#endif
#if defined(GC_BUILD) && !defined(GC_THREADS)
#define GC_THREADS
#endif
#undef GC_PTHREADS
#ifdef GC_THREADS
#ifndef GC_LINUX_THREADS
#define GC_LINUX_THREADS
#endif
#define GC_PTHREADS
#ifndef _REENTRANT
#define _REENTRANT 1
#endif
#endif

#if defined(USE_LD_WRAP) && !defined(GC_USE_LD_WRAP)
#define GC_USE_LD_WRAP /* ld --wrap redirects the thread functions, so the headers do not */
#endif
#if defined(GC_BUILD) && !defined(GC_NO_THREAD_REDIRECTS)
#define GC_NO_THREAD_REDIRECTS
#endif

#ifdef GC_PTHREADS
#ifndef GC_PTHREAD_CREATE_CONST
#define GC_PTHREAD_CREATE_CONST const
#endif
#ifndef GC_HAVE_PTHREAD_EXIT
#define GC_HAVE_PTHREAD_EXIT
#define GC_PTHREAD_EXIT_ATTRIBUTE __attribute__((__noreturn__))
#endif
#endif

/* Linkage and calling convention. */
#ifndef GC_API
#ifdef GC_BUILD
#define GC_API extern __attribute__((__visibility__("default")))
#else
#define GC_API extern
#endif
#endif
#ifndef GC_CALL
#define GC_CALL
#endif
#ifndef GC_CALLBACK
#define GC_CALLBACK GC_CALL
#endif

/*
 * Attributes. A program whose out-of-memory function (GC_set_oom_fn) returns memory that is in use
 * defines GC_OOM_FUNC_RETURNS_ALIAS: the result of an allocation may then be another pointer's.
 */
#ifndef GC_ATTR_MALLOC
#if defined(GC_BUILD) || defined(GC_OOM_FUNC_RETURNS_ALIAS) || !defined(__GNUC__)
#define GC_ATTR_MALLOC
#else
#define GC_ATTR_MALLOC __attribute__((__malloc__))
#endif
#endif

#ifndef GC_ATTR_ALLOC_SIZE
#if defined(GC_BUILD) || !defined(__GNUC__)
#define GC_ATTR_ALLOC_SIZE(size)
#else
#define GC_ATTR_ALLOC_SIZE(size) __attribute__((__alloc_size__(size)))
#endif
#endif

#ifndef GC_ATTR_CALLOC_SIZE
#if defined(GC_BUILD) || !defined(__GNUC__)
#define GC_ATTR_CALLOC_SIZE(count, size)
#else
#define GC_ATTR_CALLOC_SIZE(count, size) __attribute__((__alloc_size__(count, size)))
#endif
#endif

#ifndef GC_ATTR_NONNULL
#if defined(GC_BUILD) || !defined(__GNUC__)
#define GC_ATTR_NONNULL(argument)
#else
#define GC_ATTR_NONNULL(argument) __attribute__((__nonnull__(argument)))
#endif
#endif

#ifndef GC_ATTR_CONST
#if defined(GC_BUILD) || !defined(__GNUC__)
#define GC_ATTR_CONST
#else
#define GC_ATTR_CONST __attribute__((__const__))
#endif
#endif

#ifndef GC_ATTR_DEPRECATED
#if defined(GC_BUILD) || !defined(__GNUC__)
#define GC_ATTR_DEPRECATED
#else
#define GC_ATTR_DEPRECATED __attribute__((__deprecated__))
#endif
#endif

/* The library finds the callers of an allocation by itself; none are passed (see GC_EXTRAS). */
#if !defined(GC_HAVE_BUILTIN_BACKTRACE) && !defined(GC_MISSING_EXECINFO_H)
#define GC_HAVE_BUILTIN_BACKTRACE
#endif
#ifndef GC_CAN_SAVE_CALL_STACKS
#define GC_CAN_SAVE_CALL_STACKS
#endif

#ifdef __cplusplus
#ifndef GC_NOEXCEPT
#if __cplusplus >= 201103L
#define GC_NOEXCEPT noexcept
#else
#define GC_NOEXCEPT throw()
#endif
#endif
#endif

#endif
