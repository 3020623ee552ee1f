// SALVAGE: mode=collect
// SALVAGE: mode=off
// SALVAGE: stress=64,checkmark=1,clobber=1
// The malloc ABI as a program sees it: every function, every edge in which mallocs differ (the
// expected answers are glibc 2.36's), contents kept, alignment, errno, zeroes, and a randomised
// comparison with a plain model. All functions are looked up by dlsym, so that the compiler can
// neither reason about them nor remove them.
#include "check.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>

struct abi {
    void *(*malloc)(size_t);
    void (*free)(void *);
    void *(*calloc)(size_t, size_t);
    void *(*realloc)(void *, size_t);
    void *(*reallocarray)(void *, size_t, size_t);
    void *(*memalign)(size_t, size_t);
    void *(*aligned_alloc)(size_t, size_t);
    int (*posix_memalign)(void **, size_t, size_t);
    void *(*valloc)(size_t);
    void *(*pvalloc)(size_t);
    size_t (*usable)(void *);
    void (*cfree)(void *);
    void (*free_sized)(void *, size_t);
    void (*free_aligned_sized)(void *, size_t, size_t);
};
static struct abi a;

static void *symbol(const char *name, bool required)
{
    void *p = dlsym(RTLD_DEFAULT, name);
    CHECK(p || !required, "%s is missing", name);
    return p;
}

static void symbols_find(void)
{
    bool own = check_salvage();
    a.malloc = symbol("malloc", true);
    a.free = symbol("free", true);
    a.calloc = symbol("calloc", true);
    a.realloc = symbol("realloc", true);
    a.reallocarray = symbol("reallocarray", true);
    a.memalign = symbol("memalign", true);
    a.aligned_alloc = symbol("aligned_alloc", true);
    a.posix_memalign = symbol("posix_memalign", true);
    a.valloc = symbol("valloc", true);
    a.pvalloc = symbol("pvalloc", true);
    a.usable = symbol("malloc_usable_size", true);
    a.cfree = symbol("cfree", own);
    a.free_sized = symbol("free_sized", own);
    a.free_aligned_sized = symbol("free_aligned_sized", own);
}

static bool aligned(const void *p, size_t to)
{
    return ((uintptr_t)p & (to - 1)) == 0;
}

// ---- sizes -------------------------------------------------------------------------------------

#define SIZES 40001
static void *blocks[SIZES];

// Every size up to well past the largest small one, all at once, so that an overlap shows.
static void sizes_small(void)
{
    size_t step = check_stressed() ? 7 : 1;
    for (size_t n = 0; n < SIZES; n += step) {
        unsigned char *p = blocks[n] = a.malloc(n);
        if (!CHECK(p, "malloc(%zu) is NULL", n))
            return;
        CHECK(aligned(p, 16), "malloc(%zu) is %p, not 16-byte aligned", n, (void *)p);
        CHECK(a.usable(p) >= n, "usable size of malloc(%zu) is %zu", n, a.usable(p));
        check_fill(p, n, (unsigned)n);
    }
    for (size_t n = 0; n < SIZES; n += step) {
        CHECK(check_pattern(blocks[n], n, n, (unsigned)n), "malloc(%zu): contents changed", n);
        a.free(blocks[n]);
        blocks[n] = NULL;
    }
}

static void sizes_large(void)
{
    for (int shift = 15; shift <= 30; shift++) {
        for (int d = -1; d <= 1; d++) {
            size_t n = ((size_t)1 << shift) + (size_t)d;
            void *p = a.malloc(n);
            if (!CHECK(p, "malloc(%zu) is NULL", n))
                continue;
            CHECK(aligned(p, 16) && a.usable(p) >= n, "malloc(%zu): %p, usable %zu", n, p,
                  a.usable(p));
            check_fill(p, n, 3);
            CHECK(check_pattern(p, n, n, 3), "malloc(%zu) loses its contents", n);
            a.free(p);
        }
    }
}

static void sizes_zero(void)
{
    void *p[1000];
    for (int i = 0; i < 1000; i++)
        p[i] = i & 1 ? a.malloc(0) : a.calloc(0, 8);
    for (int i = 0; i < 1000; i++) {
        CHECK(p[i], "an allocation of no bytes is NULL");
        for (int j = 0; j < i; j++)
            if (p[i] == p[j])
                CHECK(false, "allocations of no bytes are not unique: %p", p[i]);
    }
    for (int i = 0; i < 1000; i++)
        a.free(p[i]);
    a.free(NULL);
    CHECK(a.usable(NULL) == 0, "malloc_usable_size(NULL) is %zu", a.usable(NULL));
}

// Every usable byte may be written, and no neighbour notices.
static void sizes_usable(void)
{
    enum { N = 4000 };
    static unsigned char *p[N];
    static size_t n[N];
    uint64_t seed = 11;
    for (int i = 0; i < N; i++) {
        p[i] = a.malloc(check_random(&seed) % (i % 50 ? 600 : 70000));
        n[i] = a.usable(p[i]);
        check_fill(p[i], n[i], (unsigned)i);
    }
    for (int i = 0; i < N; i++)
        CHECK(check_pattern(p[i], n[i], n[i], (unsigned)i),
              "usable bytes of block %d (%zu) are shared", i, n[i]);
    for (int i = 0; i < N; i++)
        a.free(p[i]);
}

// ---- realloc -----------------------------------------------------------------------------------

static const size_t resizes[] = {
    1,       8,        15,       16,       17,    24,     32,     33,     48,      100,
    128,     129,      500,      1000,     1024,  2048,   4096,   4097,   8192,    16384,
    32767,   32768,    32769,    40960,    65536, 100000, 131072, 262144, 1 << 20, (1 << 20) + 1,
    4 << 20, 16 << 20, 64 << 20, 256 << 20};
#define RESIZES (sizeof resizes / sizeof *resizes)

static void realloc_pairs(void)
{
    size_t last = check_stressed() ? RESIZES - 2 : RESIZES;
    for (size_t i = 0; i < last; i++) {
        for (size_t j = 0; j < last; j++) {
            size_t from = resizes[i], to = resizes[j], kept = from < to ? from : to;
            void *p = a.malloc(from);
            check_fill(p, from, (unsigned)(i + j));
            void *q = a.realloc(p, to);
            if (!CHECK(q, "realloc from %zu to %zu is NULL", from, to)) {
                a.free(p);
                continue;
            }
            CHECK(aligned(q, 16), "realloc from %zu to %zu: %p isn't aligned", from, to, q);
            CHECK(a.usable(q) >= to, "realloc from %zu to %zu: usable %zu", from, to, a.usable(q));
            CHECK(check_pattern(q, kept, from, (unsigned)(i + j)),
                  "realloc from %zu to %zu loses contents", from, to);
            check_fill(q, to, 9);
            CHECK(check_pattern(q, to, to, 9), "realloc from %zu to %zu: can't be written", from,
                  to);
            a.free(q);
        }
    }
}

// One block grown by steps with its neighbours alive, as a program builds a string or a table.
static void realloc_growth(void)
{
    static const size_t steps[] = {1, 7, 16, 1000, 5000, 100000};
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        size_t n = steps[s], limit = n * 1000 < (16u << 20) ? n * 1000 : 16u << 20;
        void *p = a.malloc(n), *guard[64] = {0};
        check_fill(p, n, 1);
        for (int k = 0; n < limit; k++) {
            size_t to = n + steps[s] + n / 64;
            p = a.realloc(p, to);
            if (!CHECK(p && check_pattern(p, n, n, 1), "growing by %zu: contents lost at %zu",
                       steps[s], n))
                return;
            n = to;
            check_fill(p, n, 1);
            a.free(guard[k & 63]);
            guard[k & 63] = a.malloc(steps[s]);
        }
        for (int k = 0; k < 64; k++)
            a.free(guard[k]);
        while (n > 64) {
            size_t to = n / 2;
            p = a.realloc(p, to);
            CHECK(p && check_pattern(p, to, n, 1), "shrinking from %zu loses contents", n);
            n = to;
            check_fill(p, n, 1);
        }
        a.free(p);
    }
}

static void realloc_edges(void)
{
    void *p = a.realloc(NULL, 100);
    CHECK(p && a.usable(p) >= 100, "realloc(NULL, 100) is %p", p);
    errno = 77;
    CHECK(!a.realloc(p, 0), "realloc(p, 0) is not NULL");
    CHECK(errno == 77, "realloc(p, 0) sets errno to %d", errno);
    p = a.realloc(NULL, 0);
    CHECK(p, "realloc(NULL, 0) is NULL");
    a.free(p);
    p = a.reallocarray(NULL, 10, 10);
    CHECK(p && a.usable(p) >= 100, "reallocarray(NULL, 10, 10) is %p", p);
    p = a.reallocarray(p, 1000, 10);
    CHECK(p && a.usable(p) >= 10000, "reallocarray(p, 1000, 10) is %p", p);
    CHECK(!a.reallocarray(p, 10, 0), "reallocarray(p, 10, 0) is not NULL");

    // What realloc(p, 0) frees is free: resident memory stays where it is.
    size_t before = check_rss(), rounds = check_stressed() ? 2000 : 40000;
    for (size_t i = 0; i < rounds; i++) {
        p = a.malloc(8000);
        memset(check_hide(p), 1, 8000);
        CHECK(!a.realloc(p, 0), "realloc(p, 0) is not NULL");
    }
    CHECK(check_rss() < before + (64u << 20), "realloc(p, 0) leaks: %zu MiB",
          (check_rss() - before) >> 20);

    // A realloc that fails leaves the block alone.
    for (size_t n = 100; n <= 1000000; n *= 100) {
        p = a.malloc(n);
        check_fill(p, n, 5);
        errno = 0;
        CHECK(!a.realloc(p, check_hide((size_t)PTRDIFF_MAX + 1)) && errno == ENOMEM,
              "a huge realloc: errno %d", errno);
        errno = 0;
        CHECK(!a.reallocarray(p, check_hide(SIZE_MAX / 4), 8) && errno == ENOMEM,
              "reallocarray overflow: errno %d", errno);
        CHECK(check_pattern(p, n, n, 5), "a realloc of %zu bytes that failed changed the block", n);
        a.free(p);
    }
}

// ---- failures and errno ------------------------------------------------------------------------

static void failures(void)
{
    static const size_t huge[] = {(size_t)PTRDIFF_MAX + 1,
                                  SIZE_MAX,
                                  SIZE_MAX - 15,
                                  SIZE_MAX - 4096,
                                  (size_t)1 << 62,
                                  (size_t)PTRDIFF_MAX,
                                  (size_t)PTRDIFF_MAX - 8192,
                                  (size_t)1 << 48};
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        size_t n = check_hide(huge[i]);
        void *keep = &n, *out = keep;
        errno = 0;
        CHECK(!a.malloc(n) && errno == ENOMEM, "malloc(%#zx): errno %d", n, errno);
        errno = 0;
        CHECK(!a.calloc(1, n) && errno == ENOMEM, "calloc(1, %#zx): errno %d", n, errno);
        errno = 0;
        CHECK(!a.realloc(NULL, n) && errno == ENOMEM, "realloc(NULL, %#zx): errno %d", n, errno);
        errno = 0;
        CHECK(!a.memalign(64, n) && errno == ENOMEM, "memalign(64, %#zx): errno %d", n, errno);
        errno = 0;
        CHECK(!a.aligned_alloc(4096, n) && errno == ENOMEM, "aligned_alloc(4096, %#zx): errno %d",
              n, errno);
        CHECK(a.posix_memalign(&out, 64, n) == ENOMEM && out == keep, "posix_memalign(%#zx)", n);
        errno = 0;
        CHECK(!a.valloc(n) && errno == ENOMEM, "valloc(%#zx): errno %d", n, errno);
        errno = 0;
        CHECK(!a.pvalloc(n) && errno == ENOMEM, "pvalloc(%#zx): errno %d", n, errno);
    }
    static const size_t factors[][2] = {
        {(size_t)1 << 33, (size_t)1 << 33}, {SIZE_MAX, 2},         {2, SIZE_MAX},
        {(size_t)1 << 32, (size_t)1 << 32}, {SIZE_MAX / 8 + 1, 8}, {SIZE_MAX, SIZE_MAX}};
    for (size_t i = 0; i < sizeof factors / sizeof *factors; i++) {
        size_t m = check_hide(factors[i][0]), n = check_hide(factors[i][1]);
        errno = 0;
        CHECK(!a.calloc(m, n) && errno == ENOMEM, "calloc(%#zx, %#zx): errno %d", m, n, errno);
        errno = 0;
        CHECK(!a.reallocarray(NULL, m, n) && errno == ENOMEM, "reallocarray(%#zx, %#zx): errno %d",
              m, n, errno);
    }
}

// Neither free nor an allocation that succeeds touches errno, whatever the size.
static void errno_kept(void)
{
    static const size_t sizes[] = {0, 1, 100, 5000, 32768, 32769, 200000, 1 << 20, 64 << 20};
    for (size_t round = 0; round < 50; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            size_t n = sizes[i];
            void *out = NULL;
            errno = 1234;
            void *p = a.malloc(n), *q = a.calloc(1, n), *r = a.memalign(256, n),
                 *v = a.aligned_alloc(4096, n);
            int rc = a.posix_memalign(&out, 64, n);
            p = a.realloc(p, n + 100);
            CHECK(errno == 1234 && !rc, "allocation of %zu bytes sets errno to %d", n, errno);
            a.free(p), a.free(q), a.free(r), a.free(v), a.free(out), a.free(NULL);
            CHECK(errno == 1234, "free of %zu bytes sets errno to %d", n, errno);
        }
    }
}

// ---- zeroes ------------------------------------------------------------------------------------

static void zeroes_after(size_t n, int count)
{
    void *p[200];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < count; i++)
            p[i] = a.malloc(n), memset(p[i], 0xff, a.usable(p[i]));
        for (int i = 0; i < count; i++)
            a.free(p[round & 1 ? i : count - 1 - i]);
        for (int i = 0; i < count; i++) {
            p[i] = i & 1 ? a.calloc(1, n) : a.calloc(n, 1);
            CHECK(check_zero(p[i], n), "calloc of %zu bytes isn't zero", n);
            memset(check_hide(p[i]), 0xee, n);
        }
        for (int i = 0; i < count; i++) {
            p[i] = a.realloc(p[i], n / 2 + 1);
            p[i] = a.realloc(p[i], n * 2 + 1);
            memset(check_hide(p[i]), 0xdd, n * 2 + 1);
        }
        for (int i = 0; i < count; i++)
            a.free(p[i]);
    }
}

static __attribute__((noinline)) void dirty_drop(size_t n, int count)
{
    for (int i = 0; i < count; i++)
        memset(check_hide(a.malloc(n)), 0xff, n);
}

static void zeroes(void)
{
    static const size_t sizes[] = {1,     8,     16,     24,     32,     48,      64,     100,
                                   500,   1000,  1024,   4000,   4096,   8192,    20000,  32768,
                                   32769, 50000, 131072, 135000, 300000, 1 << 20, 5 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        int count = sizes[i] > 100000 ? 10 : 200;
        zeroes_after(sizes[i], count);
        // dropped, not freed: what the collector takes back is dirty too
        dirty_drop(sizes[i], count);
        check_collect();
        for (int k = 0; k < count; k++) {
            void *p = a.calloc(1, sizes[i]);
            CHECK(check_zero(p, sizes[i]), "calloc of %zu bytes after a collection isn't zero",
                  sizes[i]);
            blocks[k] = p;
        }
        for (int k = 0; k < count; k++)
            a.free(blocks[k]), blocks[k] = NULL;
    }
}

// ---- alignment of the odd functions ------------------------------------------------------------

static void alignment_odd(void)
{
    void *out, *keep = &out;
    static const size_t bad[] = {0, 1, 2, 4, 3, 12, 24, 40, 100, 4097, SIZE_MAX};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        out = keep;
        int rc = a.posix_memalign(&out, check_hide(bad[i]), 100);
        CHECK(rc == EINVAL && out == keep, "posix_memalign of alignment %zu: %d, pointer %s",
              bad[i], rc, out == keep ? "kept" : "changed");
    }
    static const size_t odd[][2] = {{0, 16},  {1, 16},    {3, 16},      {24, 32},
                                    {40, 64}, {100, 128}, {4097, 8192}, {12345, 16384}};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        for (size_t n = 0; n <= 100000; n = n * 3 + 1) {
            void *p = a.aligned_alloc(check_hide(odd[i][0]), n),
                 *q = a.memalign(check_hide(odd[i][0]), n);
            CHECK(p && aligned(p, odd[i][1]), "aligned_alloc(%zu, %zu) is %p", odd[i][0], n, p);
            CHECK(q && aligned(q, odd[i][1]), "memalign(%zu, %zu) is %p", odd[i][0], n, q);
            CHECK(a.usable(p) >= n && a.usable(q) >= n, "memalign(%zu, %zu): usable %zu", odd[i][0],
                  n, a.usable(q));
            memset(p, 1, n), memset(q, 2, n);
            a.free(p), a.free(q);
        }
    }
    errno = 0;
    CHECK(!a.memalign(check_hide(((size_t)1 << 63) + 1), 10) && errno == EINVAL,
          "memalign beyond 2^63: errno %d", errno);
    errno = 0;
    CHECK(!a.memalign(check_hide((size_t)1 << 63), 10) && errno == ENOMEM,
          "memalign(2^63): errno %d", errno);
    void *v = a.valloc(10), *pv = a.pvalloc(1), *p0 = a.pvalloc(0), *p2 = a.pvalloc(5000);
    CHECK(v && aligned(v, 4096) && a.usable(v) >= 10, "valloc(10) is %p", v);
    CHECK(pv && aligned(pv, 4096) && a.usable(pv) >= 4096, "pvalloc(1) is %p, usable %zu", pv,
          a.usable(pv));
    CHECK(p2 && aligned(p2, 4096) && a.usable(p2) >= 8192, "pvalloc(5000) is %p, usable %zu", p2,
          a.usable(p2));
    CHECK(p0, "pvalloc(0) is NULL");
    memset(pv, 1, 4096), memset(p2, 1, 8192);
    a.free(v), a.free(pv), a.free(p0), a.free(p2);
}

// ---- other names -------------------------------------------------------------------------------

static void names_libc(void)
{
    static const char *const need[] = {"__libc_malloc",  "__libc_free",     "__libc_calloc",
                                       "__libc_realloc", "__libc_memalign", "__libc_valloc",
                                       "__libc_pvalloc"};
    for (size_t i = 0; i < sizeof need / sizeof *need; i++)
        symbol(need[i], true);
    void *(*m)(size_t) = symbol("__libc_malloc", true);
    void (*f)(void *) = symbol("__libc_free", true);
    void *(*c)(size_t, size_t) = symbol("__libc_calloc", true);
    void *(*r)(void *, size_t) = symbol("__libc_realloc", true);
    void *(*al)(size_t, size_t) = symbol("__libc_memalign", true);
    void *(*v)(size_t) = symbol("__libc_valloc", true);
    void *(*pv)(size_t) = symbol("__libc_pvalloc", true);
    // One heap behind both sets of names: what one allocates the other frees.
    void *p[] = {m(100), c(10, 10), r(NULL, 100), al(64, 100), v(100), pv(100)};
    for (size_t i = 0; i < sizeof p / sizeof *p; i++) {
        CHECK(p[i] && a.usable(p[i]) >= 100, "%s allocates nothing", need[i]);
        memset(p[i], 1, 100);
        i & 1 ? f(p[i]) : a.free(p[i]);
    }
    p[0] = r(a.malloc(10), 1000);
    CHECK(p[0], "__libc_realloc of malloc's block is NULL");
    f(p[0]);
    f(a.malloc(70000));
    for (int i = 0; i < 200 && a.free_sized && a.free_aligned_sized && a.cfree; i++) {
        size_t n = (size_t)i * 400;
        a.free_sized(a.malloc(n), n);
        a.free_sized(a.calloc(1, n), n);
        a.free_aligned_sized(a.aligned_alloc(64, n), 64, n);
        a.free_aligned_sized(a.aligned_alloc(8192, n), 8192, n);
        a.cfree(a.malloc(n));
        a.free_sized(NULL, 0);
        a.free_aligned_sized(NULL, 64, 0);
        a.cfree(NULL);
    }
}

// The twenty C++ operators. Plain C programs on glibc don't have them: only under the library.
static void names_cxx(void)
{
    static const char *const news[] = {"_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t",
                                       "_ZnamRKSt9nothrow_t"};
    static const char *const aligned_news[] = {"_ZnwmSt11align_val_t", "_ZnamSt11align_val_t",
                                               "_ZnwmSt11align_val_tRKSt9nothrow_t",
                                               "_ZnamSt11align_val_tRKSt9nothrow_t"};
    static const char *const deletes[] = {
        "_ZdlPv", "_ZdaPv", "_ZdlPvm", "_ZdaPvm", "_ZdlPvRKSt9nothrow_t", "_ZdaPvRKSt9nothrow_t"};
    static const char *const aligned_deletes[] = {"_ZdlPvSt11align_val_t",
                                                  "_ZdaPvSt11align_val_t",
                                                  "_ZdlPvmSt11align_val_t",
                                                  "_ZdaPvmSt11align_val_t",
                                                  "_ZdlPvSt11align_val_tRKSt9nothrow_t",
                                                  "_ZdaPvSt11align_val_tRKSt9nothrow_t"};
    if (!check_salvage())
        return;
    for (size_t i = 0; i < 4; i++) {
        for (size_t k = 0; k < 6; k++) {
            void *(*new)(size_t, void *) = symbol(news[i], true);
            void (*del)(void *, size_t, void *) = symbol(deletes[k], true);
            void *(*anew)(size_t, size_t, void *) = symbol(aligned_news[i], true);
            void (*adel)(void *, size_t, size_t) = symbol(aligned_deletes[k], true);
            if (!new || !del || !anew || !adel)
                return;
            for (size_t n = 0; n < 100000; n = n * 2 + 1) {
                void *p = new (n, NULL);
                CHECK(p && a.usable(p) >= n, "%s(%zu) is %p", news[i], n, p);
                memset(p, 1, n);
                del(p, n, NULL);
                p = anew(n, 1024, NULL);
                CHECK(p && a.usable(p) >= n && aligned(p, 1024), "%s(%zu, 1024) is %p",
                      aligned_news[i], n, p);
                memset(p, 1, n);
                if (k == 2 || k == 3)
                    adel(p, n, 1024);
                else
                    adel(p, 1024, 0);
                del(NULL, n, NULL);
            }
            if (i >= 2)
                CHECK(!new (check_hide((size_t)PTRDIFF_MAX + 1), NULL), "%s of too much isn't NULL",
                      news[i]);
        }
    }
}

// ---- what mallinfo and its kin say -------------------------------------------------------------

static void stats_child(void)
{
    malloc_stats();
}

static void reports(void)
{
    enum { N = 20000 };
    static void *p[N];
    check_collect(); // what is garbage by now mustn't go in between
    struct mallinfo2 before = mallinfo2();
    size_t used = before.uordblks + before.hblkhd;
    for (int i = 0; i < N; i++)
        p[i] = memset(check_hide(a.malloc(1500)), 1, 1500);
    void *large = memset(check_hide(a.malloc(32 << 20)), 1, 32 << 20);
    struct mallinfo2 during = mallinfo2();
    size_t grown = during.uordblks + during.hblkhd - used, truth = N * 1500 + (32u << 20);
    CHECK(grown >= truth - truth / 50 && grown <= truth + truth / 4,
          "mallinfo2: %zu bytes in use for %zu", grown, truth);
    size_t rss = check_rss();
    for (int i = 0; i < N; i++)
        a.free(p[i]), p[i] = NULL;
    a.free(large);
    check_collect(); // while a cycle marks, pages stay
    struct mallinfo2 after = mallinfo2();
    size_t left = after.uordblks + after.hblkhd;
    CHECK(left < used + truth / 10, "mallinfo2: %zu bytes in use after all is freed, %zu before",
          left, used);
    int trimmed = malloc_trim(0);
    CHECK(trimmed == 0 || trimmed == 1, "malloc_trim is %d", trimmed);
    CHECK(check_rss() + (48u << 20) < rss, "malloc_trim: %zu MiB of %zu are still there",
          check_rss() >> 20, rss >> 20);
    CHECK(mallopt(M_MMAP_THRESHOLD, 1 << 20) == 1, "mallopt says no");

    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    CHECK(malloc_info(0, f) == 0, "malloc_info fails");
    fclose(f);
    CHECK(n > 20 && !strncmp(text, "<malloc", 7) && strstr(text, "</malloc>"), "malloc_info: %.60s",
          text);
    a.free(text);
    f = fopen("/dev/null", "w");
    CHECK(malloc_info(1, f) != 0, "malloc_info with options isn't refused");
    fclose(f);

    int fd[2];
    if (pipe(fd) == 0) {
        static char out[4096];
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            dup2(fd[1], STDERR_FILENO);
            stats_child();
            _exit(0);
        }
        close(fd[1]);
        check_slurp(fd[0], out, sizeof out);
        close(fd[0]);
        CHECK(check_wait(pid) == 0 && strstr(out, "in use bytes"), "malloc_stats: %.60s", out);
    }
}

// ---- the model ---------------------------------------------------------------------------------

#define MODEL_SLOTS 20000
static struct slot {
    _Atomic bool busy;
    void *p;
    size_t n;
    unsigned seed;
} model[MODEL_SLOTS];

static size_t model_size(uint64_t r)
{
    unsigned shift = (unsigned)(r % 64);
    size_t top = shift < 48 ? 256 : shift < 62 ? 4096 : shift < 63 ? 65536 : 400000;
    return (r >> 8) % top;
}

static void model_alloc(struct slot *s, uint64_t *state)
{
    uint64_t r = check_random(state);
    size_t n = model_size(check_random(state)), align = (size_t)16 << (r >> 32) % 10;
    bool zero = false;
    switch (r % 8) {
    case 0:
        s->p = a.calloc(n ? n : 1, 1), zero = true;
        break;
    case 1:
        s->p = a.memalign(align, n);
        break;
    case 2:
        s->p = a.aligned_alloc(align, n);
        break;
    case 3:
        CHECK(a.posix_memalign(&s->p, align, n) == 0, "posix_memalign(%zu, %zu) fails", align, n);
        break;
    case 4:
        s->p = a.reallocarray(NULL, n ? n : 1, 1);
        break;
    default:
        s->p = a.malloc(n), align = 16;
    }
    if (r % 8 == 0 || r % 8 == 4)
        align = 16;
    CHECK(s->p && aligned(s->p, align) && a.usable(s->p) >= n, "model: %zu bytes: %p", n, s->p);
    CHECK(!zero || check_zero(s->p, n), "model: calloc of %zu bytes isn't zero", n);
    s->n = n;
    s->seed = (unsigned)(r >> 40);
    check_fill(s->p, n, s->seed);
}

static void model_step(struct slot *s, uint64_t *state)
{
    if (!s->p) {
        model_alloc(s, state);
        return;
    }
    bool same = CHECK(check_pattern(s->p, s->n, s->n, s->seed),
                      "model: block %p of %zu bytes changed", s->p, s->n);
    uint64_t r = check_random(state);
    if (r % 3 == 0 && same) {
        size_t n = model_size(r >> 2) + 1, kept = n < s->n ? n : s->n;
        s->p = a.realloc(s->p, n);
        CHECK(s->p && check_pattern(s->p, kept, s->n, s->seed), "model: realloc from %zu to %zu",
              s->n, n);
        s->n = n;
        check_fill(s->p, n, s->seed);
    } else {
        if (r % 16 == 1 && a.free_sized)
            a.free_sized(s->p, s->n);
        else
            a.free(s->p);
        s->p = NULL;
    }
}

// Both threads work on the whole table, so that about half of the frees are of the other's blocks.
static void *model_run(void *arg)
{
    uint64_t state = (uintptr_t)arg;
    size_t steps = check_stressed() ? 40000 : 400000;
    for (size_t i = 0; i < steps; i++) {
        struct slot *s = &model[check_random(&state) % MODEL_SLOTS];
        if (atomic_exchange_explicit(&s->busy, true, memory_order_acquire))
            continue;
        model_step(s, &state);
        atomic_store_explicit(&s->busy, false, memory_order_release);
        if (i % (steps / 4) == 0)
            check_collect();
    }
    return NULL;
}

static void model_threads(void)
{
    pthread_t t[2];
    for (size_t i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, model_run, (void *)(0x9e3779b97f4a7c15ull * (i + 1)));
    for (size_t i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    for (size_t i = 0; i < MODEL_SLOTS; i++) {
        struct slot *s = &model[i];
        CHECK(!s->p || check_pattern(s->p, s->n, s->n, s->seed),
              "model: block %p of %zu bytes changed", s->p, s->n);
        a.free(s->p);
        s->p = NULL;
    }
}

int main(void)
{
    symbols_find();
    sizes_small();
    sizes_large();
    sizes_zero();
    sizes_usable();
    realloc_pairs();
    realloc_growth();
    realloc_edges();
    failures();
    errno_kept();
    zeroes();
    alignment_odd();
    names_libc();
    names_cxx();
    reports();
    model_threads();
    return check_done();
}
