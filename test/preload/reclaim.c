// What nothing points to comes back: nearly all of many small objects by two collections, large
// ones, cycles, what ended threads and closed libraries held; and what is reachable by unusual
// shapes (a very long list, a very large array) stays, with the statistics telling the truth about
// both.
//
// Conservatism may keep a few (stale words); each case says how many.
//
// SALVAGE: gcpercent=off
// SALVAGE: clobber=1,checkmark=1,gcpercent=off
// SALVAGE: mode=collect

#include "lib/witness.h"

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>

// Everything dropped since the start of a case, counted by what the collector alone brought back.
static uint64_t reclaimed_now(void)
{
    struct salvage_stats s;
    salvage_stats(&s);
    return s.reclaimed;
}

static uint64_t reclaimed_before;

static void reclaimed_start(void)
{
    witness_wipe();
    salvage_collect();
    salvage_collect();
    reclaimed_before = reclaimed_now();
}

// Two collections must bring back `percent` of `bytes`, all that was dropped since reclaimed_start.
static void reclaimed_end(uint64_t bytes, unsigned percent)
{
    for (int i = 0; i < 2; i++) {
        witness_wipe();
        salvage_collect();
    }
    uint64_t got = reclaimed_now() - reclaimed_before;
    WITNESS_NEED(got >= bytes / 100 * percent, "%lu of %lu bytes came back", (unsigned long)got,
                 (unsigned long)bytes);
}

// ---- small objects -----------------------------------------------------------------------------

static witness_noinline void drop_small(size_t n, size_t size)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char *volatile p = malloc(size);
        memset(p, 0x11, size);
    }
}

static void small_case(size_t size)
{
    reclaimed_start();
    drop_small(10000, size);
    reclaimed_end(10000 * size, 95);
}

static void small_16(void)
{
    small_case(16);
}
static void small_48(void)
{
    small_case(48);
}
static void small_64(void)
{
    small_case(64);
}
static void small_1024(void)
{
    small_case(1024);
}

static witness_noinline void drop_mixed(size_t *bytes)
{
    unsigned x = 12345;
    for (int i = 0; i < 10000; i++) {
        x = x * 1664525 + 1013904223;
        size_t size = 16 + (x >> 20) % 2000;
        void *volatile p = calloc(1, size);
        (void)p;
        *bytes += size;
    }
}

static void small_mixed(void)
{
    size_t bytes = 0;
    reclaimed_start();
    drop_mixed(&bytes);
    reclaimed_end(bytes, 95);
}

// Every other one is freed by the program: free() and the collector must share them out exactly.
static witness_noinline void drop_half(uint64_t *freed)
{
    struct salvage_stats a, b;
    salvage_stats(&a);
    for (int i = 0; i < 10000; i++) {
        void *volatile p = malloc(256);
        if (i & 1)
            free(p);
    }
    salvage_stats(&b);
    *freed = b.freed - a.freed;
}

static void small_half_freed(void)
{
    uint64_t freed = 0;
    reclaimed_start();
    drop_half(&freed);
    reclaimed_end(5000 * 256, 95);
    uint64_t got = reclaimed_now() - reclaimed_before;
    // 256 bytes lie in slots of 288: one byte more than asked for has room
    WITNESS_NEED(got <= 5000 * 288 + 65536, "%lu bytes reclaimed, 1440000 dropped",
                 (unsigned long)got);
}

// What was handed out is live, was freed or was reclaimed; nothing is counted twice.
static void identity(void)
{
    struct salvage_stats s;
    static void *keep[1000];
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 1000; i++) {
            if (i % 3 == 0)
                free(keep[i]);
            keep[i] = malloc(16 + (size_t)(i * 37 + round * 11) % 5000);
            if (i % 7 == 0)
                keep[i] = realloc(keep[i], 9000);
            if (i % 11 == 0)
                keep[i] = realloc(keep[i], 100);
            if (i % 100 == 0)
                keep[i] = realloc(keep[i], 200000);
        }
        salvage_collect();
        salvage_stats(&s);
        WITNESS_NEED(s.allocated >= s.freed + s.reclaimed,
                     "round %d: %lu allocated, %lu freed, %lu reclaimed", round,
                     (unsigned long)s.allocated, (unsigned long)s.freed,
                     (unsigned long)s.reclaimed);
    }
    for (int i = 0; i < 1000; i++) {
        free(keep[i]);
        keep[i] = NULL;
    }
    salvage_collect();
    salvage_collect();
    salvage_stats(&s);
    // What is out of spans but free lies in thread caches; `live` counts it, `freed` may or may
    // not.
    uint64_t left = s.allocated - s.freed - s.reclaimed;
    WITNESS_NEED(left <= s.heap_live + (4 << 20) && left < 16 << 20,
                 "%lu bytes neither freed nor reclaimed, %lu live", (unsigned long)left,
                 (unsigned long)s.heap_live);
}

// ---- large objects -----------------------------------------------------------------------------

static witness_noinline void drop_large(int n, size_t size)
{
    for (int i = 0; i < n; i++) {
        unsigned char *volatile p = malloc(size);
        p[0] = p[size - 1] = 1;
    }
}

static void large_40k(void)
{
    reclaimed_start();
    drop_large(500, 40000);
    reclaimed_end(500 * 40000, 95);
}

static void large_1m(void)
{
    reclaimed_start();
    drop_large(50, 1 << 20);
    reclaimed_end((uint64_t)50 << 20, 90);
}

static witness_noinline void drop_grown(void)
{
    for (int i = 0; i < 20; i++) {
        char *volatile p = malloc(100);
        for (size_t size = 200; size <= 2 << 20; size *= 3)
            p = realloc(p, size);
        memset(p, 1, 1 << 20);
    }
}

static void large_realloced(void)
{
    reclaimed_start();
    drop_grown();
    reclaimed_end((uint64_t)18 << 20, 90);
}

// A program that drops a MiB at a time stays small, collecting by itself.
static void large_forever(void)
{
    const char *options = getenv("SALVAGE");
    if (options && strstr(options, "gcpercent=off"))
        witness_skip("asks for collections by growth");
    struct salvage_stats s;
    uint64_t most = 0;
    for (int i = 0; i < 100; i++) {
        drop_large(10, 1 << 20);
        salvage_stats(&s);
        most = s.heap_live > most ? s.heap_live : most;
    }
    WITNESS_NEED(most < 128 << 20, "%lu bytes live at most of 1000 MiB dropped",
                 (unsigned long)most);
}

// ---- shapes ------------------------------------------------------------------------------------

static witness_noinline void drop_cycles(void)
{
    for (int i = 0; i < 5000; i++) {
        void **a = malloc(64), **b = malloc(96), **c = malloc(640);
        a[0] = b;
        b[11] = c;
        c[3] = a;
        c[79] = (char *)c + 40;
        __asm__ volatile("" ::"r"(a), "r"(b), "r"(c) : "memory");
    }
}

static void cycles(void)
{
    reclaimed_start();
    drop_cycles();
    reclaimed_end(5000 * 800, 95);
}

static witness_noinline void **list_make(size_t n)
{
    void **head = NULL;
    for (size_t i = 0; i < n; i++) {
        void **node = malloc(32);
        node[0] = head;
        node[1] = (void *)(i * 2 + 1);
        head = node;
    }
    return head;
}

static void **volatile list_head;

static witness_noinline void list_check(size_t n)
{
    size_t i = n;
    for (void **node = list_head; node; node = node[0]) {
        i--;
        WITNESS_NEED(node[1] == (void *)(i * 2 + 1), "node %zu is wrong", i);
    }
    WITNESS_NEED(i == 0, "the list ends %zu nodes early", i);
}

// Depth is what overflows a marker that recurses.
static void long_list(void)
{
    list_head = list_make(1000000);
    for (int i = 0; i < 2; i++) {
        witness_wipe();
        salvage_collect();
        witness_churn(32);
    }
    list_check(1000000);
    reclaimed_before = reclaimed_now();
    list_head = NULL;
    reclaimed_end(32000000, 95);
}

// One object of 64 MiB, every word of which is the only pointer to a small object.
static uintptr_t *volatile wide;

static witness_noinline void wide_make(size_t n)
{
    wide = malloc(n * sizeof *wide);
    for (size_t i = 0; i < n; i += 16) {
        for (size_t j = 0; j < 16; j++)
            wide[i + j] = 0;
        uint64_t *p = malloc(24);
        p[0] = ~i;
        p[1] = i * 3;
        wide[i + i / 16 % 16] = (uintptr_t)p;
    }
}

static witness_noinline void wide_check(size_t n)
{
    for (size_t i = 0; i < n; i += 16) {
        const uint64_t *p = (const uint64_t *)wide[i + i / 16 % 16];
        WITNESS_NEED(p[0] == ~i && p[1] == i * 3, "word %zu's object is wrong", i);
    }
}

static void wide_array(void)
{
    size_t n = (64 << 20) / sizeof *wide;
    wide_make(n);
    for (int i = 0; i < 2; i++) {
        witness_wipe();
        salvage_collect();
        witness_churn(24);
    }
    wide_check(n);
    reclaimed_before = reclaimed_now();
    wide = NULL;
    reclaimed_end(64 << 20, 95);
}

// A complete binary tree of 2^18 nodes, reached through interior pointers.
struct tree {
    uint64_t number;
    uintptr_t left, right; // 5 bytes into the child
};
static volatile uintptr_t tree_root;

static witness_noinline uintptr_t tree_make(uint64_t number, int depth)
{
    struct tree *t = malloc(sizeof *t);
    t->number = number;
    t->left = depth ? tree_make(number * 2, depth - 1) : 0;
    t->right = depth ? tree_make(number * 2 + 1, depth - 1) : 0;
    return (uintptr_t)t + 5;
}

static witness_noinline void tree_check(uintptr_t at, uint64_t number, int depth)
{
    const struct tree *t = (const struct tree *)(at - 5);
    WITNESS_NEED(t->number == number, "node %lu is %lu", (unsigned long)number,
                 (unsigned long)t->number);
    if (depth) {
        tree_check(t->left, number * 2, depth - 1);
        tree_check(t->right, number * 2 + 1, depth - 1);
    }
}

static void tree_kept(void)
{
    tree_root = tree_make(1, 17);
    for (int i = 0; i < 2; i++) {
        witness_wipe();
        salvage_collect();
        witness_churn(sizeof(struct tree));
    }
    tree_check(tree_root, 1, 17);
    reclaimed_before = reclaimed_now();
    tree_root = 0;
    reclaimed_end((1 << 18) * sizeof(struct tree), 95);
}

// ---- threads and libraries ---------------------------------------------------------------------

static void *drop_thread(void *arg)
{
    drop_small(1000, 128);
    return arg;
}

static void threads_dropped(void)
{
    reclaimed_start();
    for (int round = 0; round < 4; round++) {
        pthread_t t[8];
        for (int i = 0; i < 8; i++)
            WITNESS_NEED(pthread_create(&t[i], NULL, drop_thread, NULL) == 0, "pthread_create");
        for (int i = 0; i < 8; i++)
            pthread_join(t[i], NULL);
    }
    reclaimed_end(32 * 128000, 95);
}

// Static TLS of a thread that has ended. glibc may keep its block for the next thread, so only what
// is lost for good counts: the next thread's block starts with zeroes.
static _Thread_local void *volatile ended_tls[64];

static void *ended_thread(void *arg)
{
    for (size_t i = 0; i < 64; i++)
        ended_tls[i] = malloc(10000);
    return arg;
}

static void *plain_thread(void *arg)
{
    return arg;
}

static void ended_threads(void)
{
    reclaimed_start();
    pthread_t t;
    for (int i = 0; i < 20; i++) {
        WITNESS_NEED(pthread_create(&t, NULL, ended_thread, NULL) == 0, "pthread_create");
        pthread_join(t, NULL);
    }
    WITNESS_NEED(pthread_create(&t, NULL, plain_thread, NULL) == 0, "pthread_create");
    pthread_join(t, NULL);
    reclaimed_end(20 * 640000, 95);
}

// A dead thread's own stack is not a root, though glibc keeps it mapped.
static witness_noinline void stack_fill(void)
{
    void *volatile held[512];
    for (size_t i = 0; i < 512; i++)
        held[i] = malloc(2048);
    __asm__ volatile("" ::"r"(held) : "memory");
}

static void *stack_thread(void *arg)
{
    stack_fill();
    return arg;
}

static void ended_stacks(void)
{
    reclaimed_start();
    pthread_t t[8];
    for (int i = 0; i < 8; i++)
        WITNESS_NEED(pthread_create(&t[i], NULL, stack_thread, NULL) == 0, "pthread_create");
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
    reclaimed_end(8 * 512 * 2048, 95);
}

static void *library;

static witness_noinline void library_fill(const char *path)
{
    library = dlopen(path, RTLD_NOW);
    WITNESS_NEED(library != NULL, "%s", dlerror());
    void **bss = dlsym(library, "holder_bss");
    void **chain = malloc(1 << 20);
    memset(chain, 0, 1 << 20);
    *bss = chain;
}

static void closed_library(void)
{
    char source[PATH_MAX], here[] = __FILE__, command[3 * PATH_MAX];
    char path[] = "/tmp/holder.XXXXXX";
    int fd = mkstemp(path);
    WITNESS_NEED(fd >= 0, "mkstemp");
    close(fd);
    snprintf(source, sizeof source, "%s/lib/holder.c", dirname(here));
    snprintf(command, sizeof command,
             "env -u LD_PRELOAD cc -shared -fPIC -ftls-model=global-dynamic -o '%s' '%s'", path,
             source);
    WITNESS_NEED(system(command) == 0, "can't build lib/holder.c (run from the top)");
    reclaimed_start();
    library_fill(path);
    unlink(path);
    witness_wipe();
    salvage_collect();
    WITNESS_NEED(reclaimed_now() - reclaimed_before < 1 << 20, "lost from an open library");
    dlclose(library);
    library = NULL;
    reclaimed_end(1 << 20, 100);
}

#define TRIAL(name)                                                                                \
    {                                                                                              \
#name, name, NULL, WITNESS_NONE                                                            \
    }

static const struct place places[] = {
    TRIAL(small_16),      TRIAL(small_48),        TRIAL(small_64),       TRIAL(small_1024),
    TRIAL(small_mixed),   TRIAL(identity),        TRIAL(large_40k),      TRIAL(small_half_freed),
    TRIAL(large_1m),      TRIAL(large_realloced), TRIAL(large_forever),  TRIAL(cycles),
    TRIAL(long_list),     TRIAL(wide_array),      TRIAL(tree_kept),      TRIAL(threads_dropped),
    TRIAL(ended_threads), TRIAL(ended_stacks),    TRIAL(closed_library),
};

int main(int argc, char **argv)
{
    return place_main(argc, argv, places, sizeof places / sizeof places[0], 0);
}
