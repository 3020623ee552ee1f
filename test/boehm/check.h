// What the conformance programs share. Each is a set of TESTs about one group of functions of
// Boehm's interface; every TEST runs in a process of its own (this program started again with the
// test's name), so that what one sets or breaks is gone for the next, and what a program prints is
// a list of lines `test.question: answer`. The same binary runs on every library that has the
// interface, and run.sh compares the lines. So an answer never holds what may differ by right: an
// address, a size above the one asked for, an exact count of what a conservative collector found.
//
// Counts are answered by share(): most, some or few. What is watched for being collected is watched
// by disappearing links in memory without pointers (struct herd); statics and malloc'ed memory may
// be roots, and GC_ memory of the plain kinds is scanned.
#ifndef CHECK_H
#define CHECK_H

#define GC_THREADS
#ifndef CHECK_REDIRECT // tests say GC_pthread_create or pthread_create, and mean it
#define GC_NO_THREAD_REDIRECTS
#endif
#include <gc.h>
#include <gc/gc_mark.h>
#include <gc/gc_typed.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))
#define NOINLINE __attribute__((noinline, noclone))
#define TEST_LIMIT 100 // seconds a test may take

struct test {
    const char *name;
    void (*run)(void);
    const char *environment; // NAME=value, or NULL
    bool raw;                // the test initialises the collector itself
};

static struct test tests[64];
static unsigned tests_count;
static const char *test_name;

static void test_add(const char *name, void (*run)(void), const char *environment, bool raw)
{
    if (tests_count == sizeof tests / sizeof *tests)
        abort();
    struct test t = {name, run, environment, raw};
    tests[tests_count++] = t;
}

#define TEST_WITH(name, environment, raw)                                                          \
    static void name(void);                                                                        \
    __attribute__((constructor)) static void name##_add(void)                                      \
    {                                                                                              \
        test_add(#name, name, environment, raw);                                                   \
    }                                                                                              \
    static void name(void)
#define TEST(name) TEST_WITH(name, NULL, false)
#define TEST_RAW(name) TEST_WITH(name, NULL, true)
#define TEST_ENV(name, environment) TEST_WITH(name, environment, false)

// One line of the comparison. By write and not by stdio, so that it stands when the next step dies.
static UNUSED __attribute__((format(printf, 2, 3))) void say(const char *question, const char *fmt,
                                                             ...)
{
    char text[512];
    int n = snprintf(text, sizeof text - 1, "%s.%s: ", test_name, question);
    va_list ap;
    va_start(ap, fmt);
    n += vsnprintf(text + n, sizeof text - 1 - (size_t)n, fmt, ap);
    va_end(ap);
    if (n > (int)sizeof text - 2)
        n = (int)sizeof text - 2;
    text[n++] = '\n';
    if (write(STDOUT_FILENO, text, (size_t)n) < 0)
        abort();
}

static UNUSED void is(const char *question, bool truth)
{
    say(question, truth ? "yes" : "no");
}

static UNUSED void number(const char *question, long value)
{
    say(question, "%ld", value);
}

static UNUSED const char *share(long n, long total)
{
    return n * 5 >= total * 4 ? "most" : n * 5 <= total ? "few" : "some";
}

// Hides a value from the compiler, which would otherwise know too much about it.
#define hide(v)                                                                                    \
    ({                                                                                             \
        __typeof__((v) + 0) hide_ = (v);                                                           \
        __asm__ volatile("" : "+r"(hide_)::"memory");                                              \
        hide_;                                                                                     \
    })

// Overwrites the stack below the caller and the registers that calls keep.
static UNUSED NOINLINE void stack_clear(void)
{
    volatile char room[65536];
    memset((char *)room, 0, sizeof room);
    __asm__ volatile("" ::"r"(room) : "memory", "rbx", "r12", "r13", "r14", "r15");
}

// What is lost when it is called has had every chance to be found: collections, finalizers run.
static UNUSED NOINLINE void collect(void)
{
    for (int i = 0; i < 3; i++) {
        stack_clear();
        GC_gcollect();
    }
    stack_clear();
}

static UNUSED bool zero(const void *p, size_t n)
{
    const volatile unsigned char *b = (const unsigned char *)p;
    for (size_t i = 0; i < n; i++)
        if (b[i])
            return false;
    return true;
}

// ---- weak references to many objects -----------------------------------------------------------

struct herd {
    void **slot; // memory without pointers: does not keep what it names
    long n;
};

static UNUSED struct herd herd_new(long n)
{
    struct herd h = {(void **)GC_malloc_atomic_uncollectable((size_t)n * sizeof(void *)), n};
    memset(h.slot, 0, (size_t)n * sizeof(void *));
    return h;
}

static UNUSED void herd_put(struct herd h, long i, void *p)
{
    h.slot[i] = p;
    GC_general_register_disappearing_link(&h.slot[i], GC_base(p));
}

static UNUSED long herd_left(struct herd h)
{
    long left = 0;
    for (long i = 0; i < h.n; i++)
        left += h.slot[i] != NULL;
    return left;
}

// How many are still there, in words, after collections.
static UNUSED NOINLINE const char *herd_share(struct herd h)
{
    collect();
    return share(herd_left(h), h.n);
}

NOINLINE static UNUSED void herd_fill(struct herd h, void **place)
{
    for (long i = 0; i < h.n; i++)
        herd_put(h, i, place[i] = GC_malloc(40));
}

// Does what stands in these n words keep objects? "kept" and, when it doesn't any more, "lost".
static UNUSED void herd_hold(void **place, long n)
{
    struct herd h = herd_new(n);
    herd_fill(h, place);
    say("kept", "%s", herd_share(h));
    memset(place, 0, (size_t)n * sizeof *place);
    say("lost", "%s", herd_share(h));
}

// ---- the runner --------------------------------------------------------------------------------

static int test_one(const struct test *t)
{
    test_name = t->name;
    alarm(TEST_LIMIT);
    if (!t->raw)
        GC_INIT();
    t->run();
    return 0;
}

int main(int argc, char **argv)
{
    for (unsigned i = 0; argc == 2 && i < tests_count; i++)
        if (strcmp(argv[1], tests[i].name) == 0)
            return test_one(&tests[i]);
    for (unsigned i = 0; i < tests_count; i++) {
        int status = -1;
        pid_t pid = fork();
        if (pid == 0) {
            char *pair = tests[i].environment ? strdup(tests[i].environment) : NULL;
            if (pair)
                putenv(pair);
            execl("/proc/self/exe", argv[0], tests[i].name, (char *)NULL);
            _exit(126);
        }
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        test_name = tests[i].name;
        if (WIFSIGNALED(status))
            say("end", "signal %d", WTERMSIG(status));
        else
            say("end", "status %d", WEXITSTATUS(status));
    }
    return 0;
}

#endif
