// The twenty C++ operators, as C functions under their mangled names, so that the library needs no
// libstdc++ of its own.
//
// The C++ standard lets a program replace some of them and has the others follow: new[] calls new,
// delete[] and the sized forms call delete. libstdc++'s own forms do so; ours go straight to the
// heap. So the first call of such a derived form looks whether the program has an operator of its
// own in front of any of ours; if so, ours step aside for the next definition, libstdc++'s, which
// calls the program's. Without this a program with its own new and delete would see half of its
// calls.
//
// A throwing form that finds no memory calls the new-handler again and again, as the standard says,
// and then has the program's C++ library throw std::bad_alloc. C code has unwind tables on x86-64
// and aarch64, so that exception passes through these frames.
#include "export.h"
#include "malloc.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

_Static_assert(SIZE_MAX == ULONG_MAX, "the mangled names take size_t for unsigned long");

// Every operator: our name for it, its mangled name, result and arguments. std::align_val_t is
// passed as a size_t, a reference to std::nothrow_t as a pointer.
#define NEW_OPERATORS(X)                                                                           \
    X(new_one, "_Znwm", void *, (size_t size))                                                     \
    X(new_array, "_Znam", void *, (size_t size))                                                   \
    X(new_one_nothrow, "_ZnwmRKSt9nothrow_t", void *, (size_t size, const void *tag))              \
    X(new_array_nothrow, "_ZnamRKSt9nothrow_t", void *, (size_t size, const void *tag))            \
    X(new_one_aligned, "_ZnwmSt11align_val_t", void *, (size_t size, size_t align))                \
    X(new_array_aligned, "_ZnamSt11align_val_t", void *, (size_t size, size_t align))              \
    X(new_one_aligned_nothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t", void *,                       \
      (size_t size, size_t align, const void *tag))                                                \
    X(new_array_aligned_nothrow, "_ZnamSt11align_val_tRKSt9nothrow_t", void *,                     \
      (size_t size, size_t align, const void *tag))                                                \
    X(delete_one, "_ZdlPv", void, (void *p))                                                       \
    X(delete_array, "_ZdaPv", void, (void *p))                                                     \
    X(delete_one_sized, "_ZdlPvm", void, (void *p, size_t size))                                   \
    X(delete_array_sized, "_ZdaPvm", void, (void *p, size_t size))                                 \
    X(delete_one_nothrow, "_ZdlPvRKSt9nothrow_t", void, (void *p, const void *tag))                \
    X(delete_array_nothrow, "_ZdaPvRKSt9nothrow_t", void, (void *p, const void *tag))              \
    X(delete_one_aligned, "_ZdlPvSt11align_val_t", void, (void *p, size_t align))                  \
    X(delete_array_aligned, "_ZdaPvSt11align_val_t", void, (void *p, size_t align))                \
    X(delete_one_aligned_sized, "_ZdlPvmSt11align_val_t", void,                                    \
      (void *p, size_t size, size_t align))                                                        \
    X(delete_array_aligned_sized, "_ZdaPvmSt11align_val_t", void,                                  \
      (void *p, size_t size, size_t align))                                                        \
    X(delete_one_aligned_nothrow, "_ZdlPvSt11align_val_tRKSt9nothrow_t", void,                     \
      (void *p, size_t align, const void *tag))                                                    \
    X(delete_array_aligned_nothrow, "_ZdaPvSt11align_val_tRKSt9nothrow_t", void,                   \
      (void *p, size_t align, const void *tag))

#define NEW_DECLARE(name, mangled, result, args) SV_EXPORT result name args __asm__(mangled);
#define NEW_ID(name, mangled, result, args) ID_##name,
#define NEW_NAME(name, mangled, result, args) mangled,
NEW_OPERATORS(NEW_DECLARE)
enum { NEW_OPERATORS(NEW_ID) NEW_COUNT };
static const char *const new_names[NEW_COUNT] = {NEW_OPERATORS(NEW_NAME)};

// ---- operators of the program's own -------------------------------------------------------------

enum { NEW_UNKNOWN, NEW_OURS, NEW_REPLACED };
static _Atomic int new_state;
static _Atomic(void *)
    new_next[NEW_COUNT]; // the definition behind ours, if the program replaces any

// dlsym allocates when it fails; malloc is not an operator, so this doesn't come back here. An
// operator that isn't the first of its name in the process is a program's that replaces it.
static int new_state_find(void)
{
    Dl_info own;
    Dl_info first;
    int state = NEW_OURS;
    int saved = errno;
    if (dladdr((void *)new_names, &own) == 0) {
        own.dli_fbase = NULL;
    }
    for (int i = 0; i < NEW_COUNT; i++) {
        void *fn = dlsym(RTLD_DEFAULT, new_names[i]);
        if (fn != NULL && dladdr(fn, &first) != 0 && first.dli_fbase != own.dli_fbase) {
            state = NEW_REPLACED;
        }
    }
    for (int i = 0; state == NEW_REPLACED && i < NEW_COUNT; i++) {
        atomic_store_explicit(&new_next[i], dlsym(RTLD_NEXT, new_names[i]), memory_order_relaxed);
    }
    atomic_store_explicit(&new_state, state, memory_order_release);
    errno = saved;
    return state;
}

// What a derived form has to call instead of doing its work itself, or NULL.
static void *new_next_get(int id)
{
    int state = atomic_load_explicit(&new_state, memory_order_acquire);
    if (__builtin_expect(state == NEW_UNKNOWN, 0)) {
        state = new_state_find();
    }
    return state == NEW_OURS ? NULL : atomic_load_explicit(&new_next[id], memory_order_relaxed);
}

#define NEW_STEP_ASIDE(name, ...)                                                                  \
    do {                                                                                           \
        __typeof__(&name) next = (__typeof__(&name))new_next_get(ID_##name);                       \
        if (__builtin_expect(next != NULL, 0)) {                                                   \
            return next(__VA_ARGS__);                                                              \
        }                                                                                          \
    } while (0)

// ---- no memory ----------------------------------------------------------------------------------

// std::bad_alloc, thrown by the C++ library that the program uses. One that came with a dlopen'ed
// library is found by its file.
__attribute__((noreturn, cold)) static void new_throw(void)
{
    static const char *const names[] = {"_ZSt17__throw_bad_allocv",
                                        "_ZNSt3__117__throw_bad_allocEv"};
    static const char *const files[] = {"libstdc++.so.6", "libc++.so.1"};
    for (int i = 0; i < 2; i++) {
        void (*fn)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, names[i]);
        void *lib = fn == NULL ? dlopen(files[i], RTLD_LAZY | RTLD_NOLOAD) : NULL;
        if (lib != NULL) {
            fn = (void (*)(void))dlsym(lib, names[i]);
        }
        if (fn != NULL) {
            fn();
        }
    }
    abort();
}

typedef void (*new_handler_fn)(void);
typedef new_handler_fn new_handler_get_fn(void);

static new_handler_fn new_handler_find(void)
{
    new_handler_get_fn *get = (new_handler_get_fn *)dlsym(RTLD_DEFAULT, "_ZSt15get_new_handlerv");
    return get != NULL ? get() : NULL;
}

static void *new_try(size_t size, size_t align)
{
    size += size == 0;
    if (align == 0) {
        return sv_malloc(size);
    }
    return (align & (align - 1)) == 0 ? sv_memalign(align, size) : NULL;
}

// The handler makes memory, throws, or ends the program; without one the attempt has failed.
__attribute__((cold, noinline)) static void *new_retry(size_t size, size_t align)
{
    for (;;) {
        new_handler_fn handler = new_handler_find();
        if (handler == NULL) {
            return NULL;
        }
        handler();
        void *p = new_try(size, align);
        if (p != NULL) {
            return p;
        }
    }
}

// align 0: as malloc does.
static inline void *new_get(size_t size, size_t align)
{
    void *p = new_try(size, align);
    if (__builtin_expect(p == NULL, 0)) {
        p = new_retry(size, align);
        if (p == NULL) {
            new_throw();
        }
    }
    return p;
}

// A handler may throw. libstdc++ turns that into NULL, which takes a handler for exceptions, in
// C++: its own form is called for the case that there is a handler, and allocates by our throwing
// form.
static inline void *new_get_nothrow(size_t size, size_t align, int id, const void *tag)
{
    void *p = new_try(size, align);
    if (__builtin_expect(p != NULL || new_handler_find() == NULL, 1)) {
        return p;
    }
    void *next = dlsym(RTLD_NEXT, new_names[id]);
    if (next == NULL) {
        return new_retry(size, align);
    }
    return align == 0 ? ((__typeof__(&new_one_nothrow))next)(size, tag)
                      : ((__typeof__(&new_one_aligned_nothrow))next)(size, align, tag);
}

// ---- new ----------------------------------------------------------------------------------------

void *new_one(size_t size)
{
    return new_get(size, 0);
}

void *new_array(size_t size)
{
    NEW_STEP_ASIDE(new_array, size);
    return new_get(size, 0);
}

void *new_one_nothrow(size_t size, const void *tag)
{
    NEW_STEP_ASIDE(new_one_nothrow, size, tag);
    return new_get_nothrow(size, 0, ID_new_one_nothrow, tag);
}

void *new_array_nothrow(size_t size, const void *tag)
{
    NEW_STEP_ASIDE(new_array_nothrow, size, tag);
    return new_get_nothrow(size, 0, ID_new_array_nothrow, tag);
}

void *new_one_aligned(size_t size, size_t align)
{
    return new_get(size, align);
}

void *new_array_aligned(size_t size, size_t align)
{
    NEW_STEP_ASIDE(new_array_aligned, size, align);
    return new_get(size, align);
}

void *new_one_aligned_nothrow(size_t size, size_t align, const void *tag)
{
    NEW_STEP_ASIDE(new_one_aligned_nothrow, size, align, tag);
    return new_get_nothrow(size, align, ID_new_one_aligned_nothrow, tag);
}

void *new_array_aligned_nothrow(size_t size, size_t align, const void *tag)
{
    NEW_STEP_ASIDE(new_array_aligned_nothrow, size, align, tag);
    return new_get_nothrow(size, align, ID_new_array_aligned_nothrow, tag);
}

// ---- delete -------------------------------------------------------------------------------------

// Sizes and alignments are the caller's claim; the heap knows better.
void delete_one(void *p)
{
    sv_free(p);
}

void delete_one_aligned(void *p, size_t align)
{
    (void)align;
    sv_free(p);
}

#define DELETE_DERIVED(name, args, ...)                                                            \
    void name args                                                                                 \
    {                                                                                              \
        __typeof__(&name) next = (__typeof__(&name))new_next_get(ID_##name);                       \
        if (__builtin_expect(next != NULL, 0)) {                                                   \
            next(__VA_ARGS__);                                                                     \
        } else {                                                                                   \
            sv_free(p);                                                                            \
        }                                                                                          \
    }

DELETE_DERIVED(delete_array, (void *p), p)
DELETE_DERIVED(delete_one_sized, (void *p, size_t size), p, size)
DELETE_DERIVED(delete_array_sized, (void *p, size_t size), p, size)
DELETE_DERIVED(delete_one_nothrow, (void *p, const void *tag), p, tag)
DELETE_DERIVED(delete_array_nothrow, (void *p, const void *tag), p, tag)
DELETE_DERIVED(delete_array_aligned, (void *p, size_t align), p, align)
DELETE_DERIVED(delete_one_aligned_sized, (void *p, size_t size, size_t align), p, size, align)
DELETE_DERIVED(delete_array_aligned_sized, (void *p, size_t size, size_t align), p, size, align)
DELETE_DERIVED(delete_one_aligned_nothrow, (void *p, size_t align, const void *tag), p, align, tag)
DELETE_DERIVED(delete_array_aligned_nothrow, (void *p, size_t align, const void *tag), p, align,
               tag)
