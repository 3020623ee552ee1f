// The collector's own memory. Each criterion test is a process of its own, so each starts jemalloc.
#include "../../core/metadata.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

struct probe {
    uintptr_t lo, hi; // looked for
    int hits;         // mappings that hold all of it
    size_t bytes;     // of all mappings
    uintptr_t last;   // end of the mapping before
    int disorder;
};

static void probe_range(void *arg, unsigned long lo, unsigned long hi)
{
    struct probe *p = arg;
    p->hits += lo <= p->lo && p->hi <= hi;
    p->bytes += hi - lo;
    p->disorder += lo >= hi || lo <= p->last;
    p->last = hi;
}

static struct probe probe(const void *at, size_t bytes)
{
    struct probe p = {.lo = (uintptr_t)at, .hi = (uintptr_t)at + bytes};
    sv_metadata_each(probe_range, &p);
    return p;
}

static int is_zero(const unsigned char *p, size_t n)
{
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

Test(metadata, nothing_before_the_first_allocation)
{
    cr_assert_eq(sv_metadata_bytes(), 0);
    cr_assert_eq(probe(NULL, 0).bytes, 0);
}

Test(metadata, zeroed_aligned_and_listed)
{
    static const size_t sizes[] = {0, 1, 8, 15, 16, 100, 4096, 40000, 1 << 20, 9 << 20};
    enum { NSIZES = sizeof sizes / sizeof *sizes };
    for (size_t i = 0; i < 3 * NSIZES; i++) {
        size_t size = sizes[i % NSIZES];
        // the first stays, so that the others lie beside it and their memory is used again
        for (int j = 0; j < 4; j++) {
            unsigned char *p = sv_metadata_alloc(size);
            struct probe found = probe(p, size);
            cr_assert_not_null(p);
            cr_assert_eq((uintptr_t)p % 16, 0, "%zu bytes at %p", size, (void *)p);
            cr_assert(is_zero(p, size), "%zu bytes not zeroed", size);
            cr_assert_eq(found.hits, 1, "%zu bytes at %p not listed", size, (void *)p);
            cr_assert_eq(found.disorder, 0);
            memset(p, 0xff, size);
            if (j > 0)
                sv_metadata_free(p, size);
        }
    }
}

Test(metadata, free_of_null)
{
    sv_metadata_free(NULL, 0);
    sv_metadata_free(NULL, 100);
}

Test(metadata, starts_small)
{
    cr_assert_not_null(sv_metadata_alloc(100));
    cr_assert_gt(sv_metadata_bytes(), 0);
    cr_assert_lt(sv_metadata_bytes(), 300 << 10, "%zu bytes", sv_metadata_bytes());
}

Test(metadata, bytes_follow_use)
{
    size_t size = 32 << 20, before, during, after;
    void *p;
    sv_metadata_alloc(1);
    before = sv_metadata_bytes();
    p = sv_metadata_alloc(size);
    cr_assert_lt(sv_metadata_bytes(), before + (1 << 20)); // not touched yet
    memset(p, 1, size);
    during = sv_metadata_bytes();
    sv_metadata_free(p, size);
    after = sv_metadata_bytes();
    cr_assert_geq(during, before + size);
    cr_assert_leq(during, before + size + (1 << 20));
    cr_assert_lt(after, before + (1 << 20), "%zu, then %zu", before, after);
}

// Whatever the limit, an answer and no crash.
Test(metadata, start_under_a_limit)
{
    for (size_t mib = 0; mib <= 16; mib++) {
        pid_t pid = fork();
        int status;
        if (pid == 0) {
            struct rlimit limit;
            size_t used = 0;
            FILE *f = fopen("/proc/self/statm", "r");
            if (!f || fscanf(f, "%zu", &used) != 1)
                _exit(2);
            limit.rlim_cur = limit.rlim_max = (used + 64) * 4096 + (mib << 20);
            setrlimit(RLIMIT_AS, &limit);
            char *p = sv_metadata_alloc(5000);
            if (p)
                memset(p, 1, 5000);
            _exit(!p && mib > 12);
        }
        cr_assert_eq(waitpid(pid, &status, 0), pid);
        cr_assert_eq(status, 0, "%zu MiB: status %x", mib, status);
    }
}

Test(metadata, short_of_memory)
{
    errno = 77;
    cr_assert_null(sv_metadata_alloc((size_t)1 << 60));
    cr_assert_eq(errno, 77);
    cr_assert_not_null(sv_metadata_alloc(100));
}

// abort_conf ends a process that has a setting jemalloc doesn't know, as `bogus` is.
Test(metadata, environment_is_not_read)
{
    setenv("MALLOC_CONF", "abort_conf:true,bogus:1,junk:true", 1);
    unsigned char *p = sv_metadata_alloc(5000);
    cr_assert(is_zero(p, 5000));
    sv_metadata_free(p, 5000);
}

Test(metadata, many_sizes_at_once)
{
    enum { N = 4000 };
    static unsigned char *v[N];
    static size_t size[N];
    uint64_t seed = 1;
    for (int i = 0; i < 40000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t k = (seed >> 33) % N;
        if (v[k]) {
            for (size_t j = 0; j < size[k]; j += 97)
                cr_assert_eq(v[k][j], k % 255);
            sv_metadata_free(v[k], size[k]);
            v[k] = NULL;
        } else {
            size[k] = (seed >> 40) % 100 ? (seed >> 45) % 2000 : (seed >> 45) % 200000;
            v[k] = sv_metadata_alloc(size[k]);
            cr_assert_eq(probe(v[k], size[k]).hits, 1);
            memset(v[k], (int)(k % 255), size[k]);
        }
    }
}

static void *thread_use(void *arg)
{
    for (int i = 0; i < 200; i++) {
        char *p = sv_metadata_alloc(64 + i);
        memset(p, i, 64 + i);
        sv_metadata_free(p, 64 + i);
    }
    return arg;
}

static void threads_use(int n)
{
    pthread_t t[16];
    for (int i = 0; i < n; i++)
        cr_assert_eq(pthread_create(&t[i], NULL, thread_use, NULL), 0);
    for (int i = 0; i < n; i++)
        pthread_join(t[i], NULL);
}

// glibc gives a new thread the TLS of an old one: jemalloc must not have kept it in a list.
Test(metadata, threads_come_and_go)
{
    for (int i = 0; i < 50; i++)
        threads_use(4);
}

static int stay[2];
static void *thread_stay(void *arg)
{
    char c;
    sv_metadata_free(sv_metadata_alloc(64), 64);
    (void)!write(stay[0], "", 1);
    (void)!read(stay[1], &c, 1);
    return arg;
}

// The child reuses the stacks, and with them the TLS, of the threads that it doesn't have.
Test(metadata, fork_with_threads)
{
    int in[2], out[2], status;
    char c;
    pthread_t t[8];
    cr_assert(pipe(in) == 0 && pipe(out) == 0);
    stay[0] = in[1];
    stay[1] = out[0];
    for (int i = 0; i < 8; i++) {
        cr_assert_eq(pthread_create(&t[i], NULL, thread_stay, NULL), 0);
        cr_assert_eq(read(in[0], &c, 1), 1);
    }
    sv_metadata_lock();
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        sv_metadata_fork_child();
        for (int i = 0; i < 10; i++)
            threads_use(16);
        _exit(0);
    }
    sv_metadata_unlock();
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert_eq(status, 0, "child's status %x", status);
    cr_assert_eq(write(out[1], "12345678", 8), 8);
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
}

// ---- the table itself, by the functions that jemalloc calls ------------------------------------

void *meta_mmap(void *hint, size_t bytes, int prot, int flags, int fd, long offset);
int meta_munmap(void *p, size_t bytes);

static char *pages_map(size_t pages)
{
    return meta_mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                     0);
}

Test(metadata, table_splits_and_merges)
{
    char *p = pages_map(10);
    cr_assert_eq(probe(p, 10 * 4096).hits, 1);
    cr_assert_eq(meta_munmap(p + 3 * 4096, 2 * 4096), 0);
    cr_assert_eq(probe(p, 3 * 4096).hits, 1);
    cr_assert_eq(probe(p + 2 * 4096, 2 * 4096).hits, 0);
    cr_assert_eq(probe(p + 5 * 4096, 5 * 4096).hits, 1);
    cr_assert_eq(probe(p, 0).bytes, 8 * 4096);
    cr_assert_eq(meta_mmap(p + 3 * 4096, 2 * 4096, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0),
                 p + 3 * 4096);
    cr_assert_eq(probe(p, 10 * 4096).hits, 1);
    cr_assert_eq(meta_munmap(p, 4096), 0);
    cr_assert_eq(meta_munmap(p + 9 * 4096, 4096), 0);
    cr_assert_eq(probe(p + 4096, 8 * 4096).hits, 1);
    cr_assert_eq(meta_munmap(p, 10 * 4096), 0);
    cr_assert_eq(probe(p, 0).bytes, 0);
}

// A hole that could not be told from our memory must not become one.
Test(metadata, table_full)
{
    size_t n = 9000;
    char *p = pages_map(n);
    size_t i;
    for (i = 1; i < n; i += 2) {
        struct probe before = probe(NULL, 0), after;
        p[i * 4096] = 1;
        cr_assert_eq(meta_munmap(p + i * 4096, 4096), 0);
        after = probe(NULL, 0);
        if (after.bytes == before.bytes)
            break;
    }
    cr_assert_lt(i, n, "the table never fills");
    cr_assert_eq(p[i * 4096], 0); // still mapped, and released
    cr_assert_eq(pages_map(1), MAP_FAILED);
    cr_assert_eq(errno, ENOMEM);
    cr_assert_null(sv_metadata_alloc(100));
}
