// SALVAGE: mode=collect
// SALVAGE: mode=off
// SALVAGE: clobber=1,checkmark=1
// Misuse that must be fatal: a second free, a free or realloc of a pointer into an object, of a
// stack, a global, unmapped memory or a mapping of the program's. Each in a forked child, which
// must die of SIGABRT after one line that names the kind and the address. And what looks like
// misuse but isn't must not die. On plain glibc, whose words differ, only the latter runs.
#include "check.h"

#include <pthread.h>
#include <sys/resource.h>

static const size_t sizes[] = {0,    1,    16,   17,    40,    48,      64,      100,
                               1000, 4096, 8192, 32768, 40000, 1 << 20, 64 << 20};
#define SIZES (sizeof sizes / sizeof *sizes)
static size_t size; // of the block that the case is about
static int offset;  // into it

// ---- second frees ------------------------------------------------------------------------------

static void twice(void)
{
    void *p = malloc(size);
    free(check_hide(p));
    free(check_dying(p));
}

static void twice_calloc(void)
{
    void *p = calloc(1, size);
    free(check_hide(p));
    free(check_dying(p));
}

static void twice_written(void)
{
    void *p = malloc(size);
    memset(check_hide(p), 0x5a, size);
    free(check_hide(p));
    free(check_dying(p));
}

// With frees of neighbours between, few enough that all stay in the thread's cache, or so many that
// the cache gives slots back.
static void twice_between(int n)
{
    void *p = malloc(size), *other[4000];
    for (int i = 0; i < n; i++)
        other[i] = malloc(size);
    free(check_hide(p));
    for (int i = 0; i < n; i++)
        free(check_hide(other[i]));
    free(check_dying(p));
}

static void twice_few(void)
{
    twice_between(3);
}
static void twice_many(void)
{
    twice_between(4000);
}

// Thousands of operations between; none asks for the block's own size, which might hand it out
// again.
static void twice_later(void)
{
    void *p = malloc(size);
    free(check_hide(p));
    void *ring[64] = {0};
    uint64_t state = 5;
    for (int i = 0; i < 20000; i++) {
        free(ring[i & 63]);
        ring[i & 63] = malloc(size * 2 + 200 + check_random(&state) % 10000);
    }
    free(check_dying(p));
}

static void twice_collected(void)
{
    check_collect(); // the first one starts a thread, for which libc allocates
    void *p = malloc(size);
    free(check_hide(p));
    check_collect();
    free(check_dying(p));
}

static void *free_it(void *p)
{
    free(check_hide(p));
    return NULL;
}

static void *free_it_again(void *p)
{
    free(check_dying(p));
    return NULL;
}

static void in_thread(void *(*fn)(void *), void *p)
{
    pthread_t t;
    pthread_create(&t, NULL, fn, p);
    pthread_join(t, NULL);
}

static void twice_other_second(void)
{ // main frees, a thread frees again
    void *p = malloc(size);
    free(check_hide(p));
    in_thread(free_it_again, p);
}

static void twice_other_first(void)
{ // a thread frees and ends, main frees again
    void *p = malloc(size);
    in_thread(free_it, p);
    free(check_dying(p));
}

static void twice_both(void)
{ // one thread, then another
    void *p = malloc(size);
    in_thread(free_it, p);
    in_thread(free_it_again, p);
}

static void realloc_freed(void)
{
    void *p = malloc(size);
    free(check_hide(p));
    p = realloc(check_dying(p), size + 100);
    (void)check_hide(p);
}

static void realloc_moved(void)
{ // the old address of a block that realloc moved
    void *p = malloc(size), *guard = malloc(size), *old = check_hide(p);
    p = realloc(check_hide(p), size * 4 + (1 << 20));
    (void)check_hide(guard), (void)check_hide(p);
    if (p == old)
        abort();
    free(check_dying(old));
}

static void twice_zero_realloc(void)
{
    void *p = malloc(size), *old = check_hide(p);
    p = realloc(check_hide(p), 0);
    (void)check_hide(p);
    free(check_dying(old));
}

// ---- pointers into objects ---------------------------------------------------------------------

static void interior_free(void)
{
    char *p = malloc(size);
    free(check_dying(p + offset));
}

static void interior_realloc(void)
{
    char *p = malloc(size);
    void *q = realloc(check_dying(p + offset), 10000);
    (void)check_hide(q);
}

static void *interior_run(void *arg)
{
    free(check_dying((char *)arg + offset));
    return NULL;
}

static void interior_thread(void)
{
    in_thread(interior_run, malloc(size));
}

// ---- pointers that no malloc gave --------------------------------------------------------------

static char global[4096] = "initialised";
static char global_bss[4096];
static _Thread_local char global_tls[256];
static int realloc_too; // the case asks for realloc instead of free

static void misuse(void *p)
{
    if (realloc_too) {
        void *q = realloc(check_dying(p), 100);
        (void)check_hide(q);
    } else {
        free(check_dying(p));
    }
}

static void stack_main(void)
{
    char local[256];
    misuse(check_hide(local + 64));
}

static void *stack_run(void *arg)
{
    (void)arg;
    stack_main();
    return NULL;
}

static void stack_thread(void)
{
    in_thread(stack_run, NULL);
}
static void stack_environ(void)
{
    misuse(environ[0]);
}
static void global_data(void)
{
    misuse(check_hide(global + 16));
}
static void global_zero(void)
{
    misuse(check_hide(global_bss + 1024));
}
static void global_library(void)
{
    misuse(stdout);
}
static void global_literal(void)
{
    misuse(check_hide((char *)(uintptr_t) "a string literal of the program"));
}
static void unmapped_low(void)
{
    misuse((void *)check_hide((uintptr_t)0x10));
}
static void unmapped_ascii(void)
{
    misuse((void *)check_hide((uintptr_t)0x6867666564636261));
}
static void unmapped_kernel(void)
{
    misuse((void *)check_hide((uintptr_t)0xffff888000000000));
}
static void unmapped_null(void)
{
    misuse((void *)check_hide((uintptr_t)1));
}
static void tls_main(void)
{
    misuse(check_hide(global_tls + 16));
}

static char *map(size_t n, int prot, int flags)
{
    char *p = mmap(NULL, n, prot, MAP_ANONYMOUS | flags, -1, 0);
    if (p == MAP_FAILED)
        _exit(3);
    return p;
}

static void unmapped_page(void)
{
    char *p = map(1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    p[0x8000] = 1;
    munmap(p, 1 << 20);
    misuse(p + 0x8000);
}

static void mapping_start(void)
{
    misuse(map(1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE));
}
static void mapping_header(void)
{
    misuse(map(1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE) + 16);
}
static void mapping_middle(void)
{
    misuse(map(1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE) + 70000);
}
static void mapping_odd(void)
{
    misuse(map(1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE) + 70001);
}
static void mapping_shared(void)
{
    misuse(map(1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED) + 4096 + 16);
}
static void mapping_readonly(void)
{
    misuse(map(1 << 20, PROT_READ, MAP_PRIVATE) + 4096 + 16);
}
static void mapping_none(void)
{
    misuse(map(1 << 20, PROT_NONE, MAP_PRIVATE) + 4096 + 16);
}

// ---- what only looks like misuse ---------------------------------------------------------------

// A program may copy what a freed block holds into a live one: that one can still be freed.
static void legal_copied(void)
{
    for (size_t i = 0; i < SIZES - 2; i++) {
        size_t n = sizes[i];
        unsigned char *p = malloc(n), *copy = malloc(n);
        memset(check_hide(p), 0, n), memset(check_hide(copy), 0, n);
        free(check_hide(p));
        memcpy(copy, check_hide(p), n);
        unsigned char *live = malloc(n * 2 + 8), *same = malloc(n);
        for (size_t k = 0; k + 8 <= n; k += 8)
            memcpy(live + k, copy, 8);
        memcpy(same, copy, n);
        void *more[100];
        for (int k = 0; k < 100; k++)
            more[k] = malloc(n), memcpy(more[k], copy, n);
        for (int k = 0; k < 100; k++)
            free(more[k]);
        free(same), free(copy), free(live);
    }
}

// A block that is handed out again is another block, though its address is the same.
static void legal_again(void)
{
    for (size_t i = 0; i < SIZES; i++)
        for (int k = 0; k < 1000; k++)
            free(check_hide(malloc(sizes[i])));
}

// What malloc gives is not written before it is freed: nothing stale in it may count.
static void legal_unwritten(void)
{
    void *p[500];
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < 500; i++)
            p[i] = malloc(40);
        for (int i = 0; i < 500; i++)
            free(p[(i * 7 + round) % 500]);
    }
}

static void kind(const char *expected, size_t n, void (*const *fn)(void), const char *const *names)
{
    for (realloc_too = 0; realloc_too < 2; realloc_too++) {
        for (size_t i = 0; i < n; i++) {
            char name[96];
            snprintf(name, sizeof name, "%s of %s", realloc_too ? "realloc" : "free", names[i]);
            check_death(name, fn[i], expected);
        }
    }
}

static void deaths_twice(void)
{
    static const struct {
        const char *name;
        void (*fn)(void);
        size_t least, most;
    } cases[] = {
        {"freed twice at once", twice, 0, SIZE_MAX},
        {"freed twice, from calloc", twice_calloc, 0, SIZE_MAX},
        {"freed twice, written before", twice_written, 0, SIZE_MAX},
        {"freed twice, a few frees between", twice_few, 0, SIZE_MAX},
        {"freed twice, 4000 frees between", twice_many, 0, 8192},
        {"freed twice, 20000 operations between", twice_later, 0, 32767},
        {"freed twice, a collection between", twice_collected, 0, SIZE_MAX},
        {"freed again by a thread", twice_other_second, 0, SIZE_MAX},
        {"freed by a thread and again", twice_other_first, 0, SIZE_MAX},
        {"freed by two threads", twice_both, 0, SIZE_MAX},
        {"realloc after free", realloc_freed, 0, SIZE_MAX},
        {"freed after realloc moved it", realloc_moved, 1, 32768},
        {"freed after realloc to nothing", twice_zero_realloc, 0, SIZE_MAX},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        for (size_t i = 0; i < SIZES; i++) {
            size = sizes[i];
            if (size < cases[c].least || size > cases[c].most)
                continue;
            char name[96];
            snprintf(name, sizeof name, "%s, %zu bytes", cases[c].name, size);
            check_death(name, cases[c].fn, "double free");
        }
    }
}

static void deaths_interior(void)
{
    static const int offsets[] = {1, 8, 16, 4096, 8192, 16384};
    for (size_t i = 0; i < SIZES; i++) {
        for (size_t k = 0; k < sizeof offsets / sizeof *offsets; k++) {
            size = sizes[i], offset = offsets[k];
            if (size <= (size_t)offset)
                continue;
            char name[96];
            snprintf(name, sizeof name, "free of p+%d, %zu bytes", offset, size);
            check_death(name, interior_free, "interior");
            snprintf(name, sizeof name, "realloc of p+%d, %zu bytes", offset, size);
            check_death(name, interior_realloc, "interior");
            snprintf(name, sizeof name, "free of p+%d in a thread, %zu bytes", offset, size);
            check_death(name, interior_thread, "interior");
        }
    }
}

#define COUNT(a) (sizeof(a) / sizeof *(a))

static void deaths_outside(void)
{
    static void (*const stacks[])(void) = {stack_main, stack_thread, stack_environ};
    static const char *const stack_names[] = {"main's stack", "a thread's stack",
                                              "an environment string"};
    kind("stack", COUNT(stacks), stacks, stack_names);
    static void (*const globals[])(void) = {global_data, global_zero, global_library,
                                            global_literal};
    static const char *const global_names[] = {"data", "bss", "libc's data", "a literal"};
    kind("global", COUNT(globals), globals, global_names);
    static void (*const nothing[])(void) = {unmapped_low, unmapped_ascii, unmapped_kernel,
                                            unmapped_null, unmapped_page};
    static const char *const nothing_names[] = {"0x10", "text", "a kernel address", "1",
                                                "an unmapped page"};
    kind("unmapped", COUNT(nothing), nothing, nothing_names);
    static void (*const maps[])(void) = {mapping_start, mapping_header, mapping_middle,
                                         mapping_odd,   mapping_shared, mapping_readonly,
                                         mapping_none};
    static const char *const map_names[] = {
        "a mapping",        "a mapping + 16",      "a mapping + 70000",    "a mapping + 70001",
        "a shared mapping", "a read-only mapping", "an unreadable mapping"};
    kind("mapping", COUNT(maps), maps, map_names);
    realloc_too = 0;
    // Thread-local memory of the main thread lies in a mapping that ld.so made: any kind's word
    // will do.
    check_death("free of main's thread-local memory", tls_main, "");
}

int main(void)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    check_case("freed contents copied to live blocks", legal_copied, 60);
    check_case("the same address again", legal_again, 60);
    check_case("blocks never written", legal_unwritten, 60);
    if (!check_salvage())
        return check_done();
    deaths_twice();
    deaths_interior();
    deaths_outside();
    return check_done();
}
