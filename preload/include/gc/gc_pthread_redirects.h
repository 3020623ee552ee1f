/*
 * The thread functions that Boehm's collector has to wrap, and the macros that make a program call
 * the wrappers. gc.h includes it when GC_THREADS is defined.
 *
 * Salvage finds threads, signal masks and loaded libraries by itself, so calling the plain ones is
 * right too: the wrappers pass on to the C library and keep GC_thread_is_registered() true.
 * GC_NO_THREAD_REDIRECTS leaves the names alone; GC_PTHREAD_REDIRECTS_ONLY gives only the macros.
 */
#if !defined(GC_PTHREAD_REDIRECTS_H) && defined(GC_H) && defined(GC_PTHREADS)
#define GC_PTHREAD_REDIRECTS_H

#ifndef GC_PTHREAD_REDIRECTS_ONLY

#include <pthread.h>
#ifndef GC_NO_DLOPEN
#include <dlfcn.h>
#endif
#ifndef GC_NO_PTHREAD_SIGMASK
#include <signal.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#ifndef GC_SUSPEND_THREAD_ID
#define GC_SUSPEND_THREAD_ID pthread_t /* what gc/javaxfc.h names a thread by */
#endif

/* Each like the function without GC_, results and errors included. */
GC_API int GC_pthread_create(pthread_t *, GC_PTHREAD_CREATE_CONST pthread_attr_t *,
                             void *(*)(void *), void *);
GC_API int GC_pthread_join(pthread_t, void **);
GC_API int GC_pthread_detach(pthread_t);
#ifndef GC_NO_PTHREAD_CANCEL
GC_API int GC_pthread_cancel(pthread_t);
#endif
#ifndef GC_PTHREAD_EXIT_DECLARED
#define GC_PTHREAD_EXIT_DECLARED
GC_API void GC_pthread_exit(void *) GC_PTHREAD_EXIT_ATTRIBUTE;
#endif
#ifndef GC_NO_DLOPEN
GC_API void *GC_dlopen(const char *, int);
#endif
#if !defined(GC_NO_PTHREAD_SIGMASK) &&                                                             \
    (defined(GC_PTHREAD_SIGMASK_NEEDED) || defined(_GNU_SOURCE) || defined(_BSD_SOURCE) ||         \
     (_POSIX_C_SOURCE >= 199506L) || (_XOPEN_SOURCE >= 500))
GC_API int GC_pthread_sigmask(int, const sigset_t *, sigset_t *);
#endif

#ifdef __cplusplus
}
#endif

#endif /* !GC_PTHREAD_REDIRECTS_ONLY */

#if !defined(GC_NO_THREAD_REDIRECTS) && !defined(GC_USE_LD_WRAP)
#undef pthread_create
#undef pthread_join
#undef pthread_detach
#undef pthread_exit
#define pthread_create GC_pthread_create
#define pthread_join GC_pthread_join
#define pthread_detach GC_pthread_detach
#define pthread_exit GC_pthread_exit
#ifndef GC_NO_PTHREAD_CANCEL
#undef pthread_cancel
#define pthread_cancel GC_pthread_cancel
#endif
#ifndef GC_NO_PTHREAD_SIGMASK
#undef pthread_sigmask
#define pthread_sigmask GC_pthread_sigmask
#endif
#ifndef GC_NO_DLOPEN
#undef dlopen
#define dlopen GC_dlopen
#endif
#endif

#endif
