// The witness: one heap object whose only pointer stands where a test put it.
//
// A case allocates the witness, fills it with a pattern, keeps its address for itself only inverted
// (no conservative scan takes that for a pointer), plants the one true pointer at the place under
// test, wipes what the planting left in registers and dead stack, and collects several times with
// plenty of allocation in between. The witness must still hold its pattern. Then the case takes the
// pointer away and collects again: a witness that is reclaimed now shows that nothing but the place
// had kept it, so that a case can't pass by accident. Conservatism allows some to stay; the driver
// wants most of them gone.
//
// Every case runs in a process of its own (fork and exec of this program with the case's name), so
// that a crash, a hang or a changed root of one case touches no other.
#ifndef WITNESS_H
#define WITNESS_H

#include "../../../preload/include/salvage.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define WITNESS_SIZE 4242
#define WITNESS_SKIP 77
#define WITNESS_KEPT 78 // passed, but the witness outlived its last pointer
#define WITNESS_NONE                                                                               \
    SIZE_MAX            // the case makes its own objects and ends well by returning from `hold`
#define WITNESS_HANG 30 // seconds until a case counts as hung

#define witness_noinline __attribute__((noinline, noclone, unused))
#ifdef __clang__
#undef witness_noinline
#define witness_noinline __attribute__((noinline, optnone, unused))
#endif

struct witness {
    uintptr_t inverted; // ~address
    size_t size;        // bytes asked for
    uint64_t seed;      // of the pattern
    void *anchor;       // the address while the pointer is on its way to its place, else NULL
};

static struct witness witness;

// The pattern's words have a top that no user address has: a scan of the witness finds nothing.
static inline uint64_t witness_word(uint64_t seed, size_t i)
{
    uint64_t x = (seed + i + 1) * 0x9e3779b97f4a7c15u;
    x ^= x >> 29;
    return (x & 0x0000ffffffffffffu) | 0xa5a5000000000000u;
}

static witness_noinline void witness_fill(unsigned char *p, size_t size, uint64_t seed)
{
    for (size_t at = 0; at < size; at += 8) {
        uint64_t w = witness_word(seed, at / 8);
        memcpy(p + at, &w, size - at < 8 ? size - at : 8);
    }
}

// The offset of the first byte that differs from the pattern, or size.
static witness_noinline size_t witness_compare(const unsigned char *p, size_t size, uint64_t seed)
{
    for (size_t at = 0; at < size; at += 8) {
        uint64_t w = witness_word(seed, at / 8);
        if (memcmp(p + at, &w, size - at < 8 ? size - at : 8) != 0)
            return at;
    }
    return size;
}

// Allocates a witness, held by its anchor until that is weighed. Registers and dead stack are the
// caller's to wipe.
static witness_noinline void witness_make(struct witness *w, size_t size)
{
    static _Atomic uint64_t seeds = 1;
    unsigned char *p = malloc(size);
    if (p == NULL)
        abort();
    w->size = size;
    w->seed = atomic_fetch_add_explicit(&seeds, 1, memory_order_relaxed) << 20;
    witness_fill(p, size, w->seed);
    w->inverted = ~(uintptr_t)p;
    w->anchor = p;
}

// From here on only the place under test holds the witness.
static inline void witness_weigh(struct witness *w)
{
    *(void *volatile *)&w->anchor = NULL;
}

static witness_noinline bool witness_intact(const struct witness *w)
{
    const unsigned char *p = (const unsigned char *)~w->inverted;
    size_t at = witness_compare(p, w->size, w->seed);
    if (at == w->size)
        return true;
    printf("  witness %p: byte %zu of %zu is 0x%02x\n", (const void *)p, at, w->size, p[at]);
    return false;
}

// The same for a witness that may be gone: its memory may not even be mapped any more.
static witness_noinline bool witness_survives(const struct witness *w)
{
    static unsigned char copy[1 << 16];
    size_t n = w->size < sizeof copy ? w->size : sizeof copy;
    struct iovec to = {copy, n}, from = {(void *)~w->inverted, n};
    if (process_vm_readv(getpid(), &to, 1, &from, 1, 0) != (ssize_t)n)
        return false;
    return witness_compare(copy, n & ~(size_t)7, w->seed) == (n & ~(size_t)7);
}

// Writes the witness's address plus delta to *where.
static witness_noinline void witness_put_of(const struct witness *w, volatile void *where,
                                            ptrdiff_t delta)
{
    *(volatile uintptr_t *)where = ~w->inverted + (uintptr_t)delta;
}

static witness_noinline void witness_put(volatile void *where)
{
    witness_put_of(&witness, where, 0);
}

// Overwrites dead stack below the caller, and every register that a call may leave changed.
static witness_noinline void witness_wipe(void)
{
    volatile uint64_t pad[6144];
    for (size_t i = 0; i < sizeof pad / sizeof pad[0]; i++)
        pad[i] = 0;
    if (__builtin_cpu_supports("avx512f")) {
        __asm__ volatile(".irp n,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n\t"
                         "vpxorq %%zmm\\n,%%zmm\\n,%%zmm\\n\n\t"
                         ".endr" ::
                             : "memory");
    }
    if (__builtin_cpu_supports("avx"))
        __asm__ volatile("vzeroall" ::: "memory");
    __asm__ volatile("xorl %%eax,%%eax; xorl %%ecx,%%ecx; xorl %%edx,%%edx; xorl %%esi,%%esi\n\t"
                     "xorl %%edi,%%edi; xorl %%r8d,%%r8d; xorl %%r9d,%%r9d; xorl %%r10d,%%r10d\n\t"
                     "xorl %%r11d,%%r11d\n\t"
                     "pxor %%xmm0,%%xmm0; pxor %%xmm1,%%xmm1; pxor %%xmm2,%%xmm2\n\t"
                     "pxor %%xmm3,%%xmm3; pxor %%xmm4,%%xmm4; pxor %%xmm5,%%xmm5\n\t"
                     "pxor %%xmm6,%%xmm6; pxor %%xmm7,%%xmm7; pxor %%xmm8,%%xmm8\n\t"
                     "pxor %%xmm9,%%xmm9; pxor %%xmm10,%%xmm10; pxor %%xmm11,%%xmm11\n\t"
                     "pxor %%xmm12,%%xmm12; pxor %%xmm13,%%xmm13; pxor %%xmm14,%%xmm14\n\t"
                     "pxor %%xmm15,%%xmm15"
                     :
                     :
                     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "xmm0", "xmm1",
                       "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
                       "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "memory");
}

// Allocates and frees objects of this size, filled with garbage: a reclaimed slot gets overwritten.
static witness_noinline void witness_churn(size_t size)
{
    static _Thread_local void *filler[512];
    size_t n = size < (32 << 20) / 512 ? 512 : 8;
    for (size_t i = 0; i < n; i++) {
        filler[i] = malloc(size);
        if (filler[i] != NULL)
            memset(filler[i], 0xee, size);
    }
    for (size_t i = 0; i < n; i++) {
        free(filler[i]);
        filler[i] = NULL;
    }
}

// Weighs the anchor, then makes three whole collections with churn between them.
static witness_noinline void witness_collect(size_t size)
{
    witness_weigh(&witness);
    for (int i = 0; i < 3; i++) {
        witness_wipe();
        salvage_collect();
        witness_churn(size);
    }
    witness_wipe();
}

// Says what went wrong and ends the case.
static _Noreturn void __attribute__((format(printf, 1, 2), unused))
witness_fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    printf("  ");
    vprintf(fmt, ap);
    printf("\n");
    fflush(stdout);
    va_end(ap);
    _exit(1);
}

#define WITNESS_NEED(cond, ...)                                                                    \
    do {                                                                                           \
        if (!(cond))                                                                               \
            witness_fail(__VA_ARGS__);                                                             \
    } while (0)

static _Noreturn void __attribute__((unused)) witness_skip(const char *why)
{
    printf("  skipped: %s\n", why);
    fflush(stdout);
    _exit(WITNESS_SKIP);
}

// ---- a thread that holds the witness while the case's own thread collects ----------------------

static _Atomic int parked_n; // threads that have planted and are about to block or spin
static int parked_pipe[2];   // parked readers leave when its write end closes
static pthread_t parked_thread;

static __attribute__((unused)) void parked_say(void)
{
    atomic_fetch_add_explicit(&parked_n, 1, memory_order_seq_cst);
}

// Waits until n threads have said so. They need not have reached the kernel: the collector must
// cope with either.
static __attribute__((unused)) void parked_await(int n)
{
    while (atomic_load_explicit(&parked_n, memory_order_seq_cst) < n)
        sched_yield();
}

static __attribute__((unused)) void parked_read(void)
{
    char c;
    parked_say();
    ssize_t n = read(parked_pipe[0], &c, 1);
    WITNESS_NEED(n == 0, "read on a pipe: %zd, %s", n, strerror(errno));
}

static __attribute__((unused)) void parked_start(void *(*fn)(void *), const pthread_attr_t *attr)
{
    if (pipe(parked_pipe) != 0 || pthread_create(&parked_thread, attr, fn, NULL) != 0)
        abort();
    parked_await(1);
}

static __attribute__((unused)) void parked_end(void)
{
    close(parked_pipe[1]);
    pthread_join(parked_thread, NULL);
}

// ---- the driver --------------------------------------------------------------------------------

struct place {
    const char *name;
    void (*hold)(void); // plants the only pointer to `witness`
    void (*drop)(void); // takes it away; NULL: there is no way to
    size_t size;        // of the witness; 0: WITNESS_SIZE; WITNESS_NONE: no witness
};

static witness_noinline int place_run(const struct place *p)
{
    alarm(WITNESS_HANG);
    setvbuf(stdout, NULL, _IONBF, 0);
    if (p->size == WITNESS_NONE) {
        p->hold();
        return 0;
    }
    witness_make(&witness, p->size ? p->size : WITNESS_SIZE);
    p->hold();
    witness_collect(witness.size);
    if (!witness_intact(&witness))
        return 1;
    if (p->drop == NULL)
        return 0;
    p->drop();
    witness_collect(witness.size);
    return witness_survives(&witness) ? WITNESS_KEPT : 0;
}

static int place_fork(const struct place *p, const char *self)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/proc/self/exe", self, p->name, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return 1;
    if (WIFSIGNALED(status)) {
        printf("  %s\n", WTERMSIG(status) == SIGALRM ? "hung" : strsignal(WTERMSIG(status)));
        return 1;
    }
    return WEXITSTATUS(status);
}

// Runs the case that argv names, or all of them. `kept_max`: at most so many witnesses in a hundred
// may outlive their last pointer.
static __attribute__((unused)) int place_main(int argc, char **argv, const struct place *v,
                                              size_t n, int kept_max)
{
    if (salvage_collect == NULL) {
        printf("0 passed, 0 failed, 1 skipped\n");
        return 0;
    }
    for (size_t i = 0; argc > 1 && i < n; i++) {
        if (strcmp(argv[1], v[i].name) == 0)
            return place_run(&v[i]);
    }
    int passed = 0, failed = 0, skipped = 0, kept = 0, dropped = 0;
    for (size_t i = 0; i < n; i++) {
        int rc = place_fork(&v[i], argv[0]);
        passed += rc == 0 || rc == WITNESS_KEPT;
        kept += rc == WITNESS_KEPT;
        dropped += rc == WITNESS_KEPT || (rc == 0 && v[i].drop != NULL);
        skipped += rc == WITNESS_SKIP;
        if (rc == WITNESS_KEPT)
            printf("kept without a pointer: %s\n", v[i].name);
        if (rc != 0 && rc != WITNESS_KEPT && rc != WITNESS_SKIP) {
            failed++;
            printf("FAIL %s (status %d)\n", v[i].name, rc);
        }
    }
    if (kept * 100 > dropped * kept_max) {
        failed++;
        printf("FAIL %d of %d witnesses outlived their last pointer\n", kept, dropped);
    }
    if (skipped)
        printf("%d skipped\n", skipped);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

#endif
