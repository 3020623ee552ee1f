// What the programs of test/preload share: counting, cases in forked children, expected deaths,
// patterns in memory. One header and no library, so that a test is one file with one compile line.
//
// CHECK counts one passed or failed check and prints the failed ones. In a case run by check_case
// (a forked child) the checks of the case count as one, in the parent. Nothing here allocates, or
// takes a lock of stdio's, on its way to a verdict: messages are made on the stack and go out by
// write.
#ifndef CHECK_H
#define CHECK_H

#include "salvage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_UNUSED __attribute__((unused))
#define CHECK_SHOWN 20 // failures printed in full by one process; the rest are only counted

static _Atomic unsigned long check_passed CHECK_UNUSED, check_failed CHECK_UNUSED;

// Hides a value from the compiler, which would otherwise warn about, or remove, what a test is for.
#define check_hide(v)                                                                              \
    ({                                                                                             \
        __typeof__((v) + 0) hide_ = (v);                                                           \
        __asm__ volatile("" : "+r"(hide_)::"memory");                                              \
        hide_;                                                                                     \
    })

static CHECK_UNUSED __attribute__((format(printf, 4, 5))) bool
check_that(bool ok, const char *file, int line, const char *fmt, ...)
{
    int saved = errno;
    if (ok) {
        atomic_fetch_add_explicit(&check_passed, 1, memory_order_relaxed);
    } else if (atomic_fetch_add_explicit(&check_failed, 1, memory_order_relaxed) < CHECK_SHOWN) {
        char text[1024];
        int n = snprintf(text, sizeof text, "failed: %s:%d: ", file, line);
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(text + n, sizeof text - (size_t)n - 1, fmt, ap);
        va_end(ap);
        n = (int)strlen(text);
        text[n++] = '\n';
        if (write(STDOUT_FILENO, text, (size_t)n) <
            0) // a case may have closed it: the count stands
            ok = false;
    }
    errno = saved;
    return ok;
}
// The value is the condition's, so that a test can stop where going on makes no sense.
#define CHECK(cond, ...) check_that(!!(cond), __FILE__, __LINE__, __VA_ARGS__)

static CHECK_UNUSED bool check_salvage(void)
{
    return salvage_enabled && salvage_enabled();
}

// Whether the environment asks for cycles at every turn: tests then do less of the same.
static CHECK_UNUSED bool check_stressed(void)
{
    const char *s = getenv("SALVAGE");
    return s && strstr(s, "stress=");
}

static CHECK_UNUSED bool check_collecting(void)
{
    const char *s = getenv("SALVAGE");
    return check_salvage() && salvage_collect && !(s && strstr(s, "mode=off"));
}

// One collection; nothing on plain glibc.
static CHECK_UNUSED size_t check_collect(void)
{
    return check_salvage() && salvage_collect ? salvage_collect() : 0;
}

// Reads fd to its end or until the buffer is full; always ends it with a zero.
static CHECK_UNUSED size_t check_slurp(int fd, char *buf, size_t size)
{
    size_t n = 0;
    ssize_t got;
    while (n < size - 1 &&
           ((got = read(fd, buf + n, size - 1 - n)) > 0 || (got < 0 && errno == EINTR)))
        n += got > 0 ? (size_t)got : 0;
    buf[n] = 0;
    return n;
}

// Resident bytes of this process, 0 when /proc can't be read.
static CHECK_UNUSED size_t check_rss(void)
{
    char text[128];
    unsigned long pages = 0;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    check_slurp(fd, text, sizeof text);
    close(fd);
    sscanf(text, "%*u %lu", &pages);
    return pages * 4096;
}

// Prints the last line and returns main's status.
static CHECK_UNUSED int check_done(void)
{
    unsigned long failed = atomic_load(&check_failed);
    fflush(NULL);
    dprintf(STDOUT_FILENO, "%lu passed, %lu failed\n", atomic_load(&check_passed), failed);
    return failed != 0;
}

// The status of a child, in words.
static CHECK_UNUSED const char *check_status(int status, char text[48])
{
    if (WIFEXITED(status))
        snprintf(text, 48, "exit status %d", WEXITSTATUS(status));
    else
        snprintf(text, 48, "signal %d%s", WTERMSIG(status),
                 WTERMSIG(status) == SIGALRM ? " (hung)" : "");
    return text;
}

static CHECK_UNUSED int check_wait(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

// Runs fn in a forked child that has `seconds` to finish; passes when no check in it failed and it
// returned. Standard streams are flushed first, so that the child can't write the parent's text
// again.
static CHECK_UNUSED bool check_case(const char *name, void (*fn)(void), unsigned seconds)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(seconds);
        atomic_store(&check_failed, 0);
        fn();
        fflush(NULL);
        _exit(atomic_load(&check_failed) ? 1 : 0);
    }
    char text[48];
    int status = check_wait(pid);
    return CHECK(pid > 0 && status == 0, "case %s: %s", name, check_status(status, text));
}

// Runs argv[0] with `environment`; returns the wait status, and what it wrote to both streams in
// text.
static CHECK_UNUSED int check_spawn(char *const *argv, char *const *environment, char *text,
                                    size_t size)
{
    int fd[2];
    if (pipe(fd))
        return -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd[1], STDOUT_FILENO);
        dup2(fd[1], STDERR_FILENO);
        close(fd[0]);
        close(fd[1]);
        alarm(120);
        execve(argv[0], argv, environment);
        _exit(126);
    }
    close(fd[1]);
    check_slurp(fd[0], text, size);
    close(fd[0]);
    return check_wait(pid);
}

// The address that a dying child is about to misuse, in memory shared with its parent.
static uintptr_t *check_death_address CHECK_UNUSED;

static CHECK_UNUSED void *check_dying(const void *p)
{
    *check_death_address = (uintptr_t)p;
    void *same = (void *)(uintptr_t)p;
    return check_hide(same);
}

// Runs fn in a forked child, which must die of SIGABRT after one line on stderr that holds
// `expected` and, when fn named one by check_dying, the address. Indented lines, lines that start
// with #, and those of backtrace_symbols_fd are a stack and don't count. Returns whether it did.
static CHECK_UNUSED bool check_death(const char *name, void (*fn)(void), const char *expected)
{
    int fd[2];
    if (!check_death_address)
        check_death_address =
            mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    *check_death_address = 0;
    if (!CHECK(pipe(fd) == 0, "case %s: pipe: %s", name, strerror(errno)))
        return false;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd[1], STDERR_FILENO);
        close(fd[0]);
        close(fd[1]);
        alarm(60);
        fn();
        _exit(0);
    }
    close(fd[1]);
    static char text[65536];
    check_slurp(fd[0], text, sizeof text);
    close(fd[0]);
    char words[48], address[32];
    int status = check_wait(pid);
    if (!CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT,
               "case %s: %s, not an abort; stderr: %.200s", name, check_status(status, words),
               text))
        return false;
    unsigned lines = 0;
    char *save = NULL, *first = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (*line == ' ' || *line == '\t' || *line == '#' ||
            (strstr(line, "[0x") && line[strlen(line) - 1] == ']'))
            continue;
        if (lines++ == 0)
            first = line;
    }
    snprintf(address, sizeof address, "%#lx", (unsigned long)*check_death_address);
    return CHECK(lines == 1, "case %s: %u lines on stderr, first: %s", name, lines,
                 first ? first : "") &&
           CHECK(strstr(first, expected), "case %s: no \"%s\" in: %s", name, expected, first) &&
           CHECK(!*check_death_address || strstr(first, address), "case %s: no %s in: %s", name,
                 address, first);
}

// ---- patterns ----------------------------------------------------------------------------------

// A step that makes the work on a block bounded: every byte up to 4 KiB, then one in ever more.
static CHECK_UNUSED size_t check_step(size_t n)
{
    return n <= 4096          ? 1
           : n <= (64u << 10) ? 7
           : n <= (1u << 20)  ? 61
           : n <= (16u << 20) ? 1021
                              : 16411;
}

static CHECK_UNUSED unsigned char check_byte(size_t i, unsigned seed)
{
    return (unsigned char)((i * 167) ^ (i >> 8) ^ (i >> 16) ^ seed);
}

// Fills p[0..n) for check_pattern: all of a small block; of a large one its first and last 256
// bytes and some between.
static CHECK_UNUSED void check_fill(void *p, size_t n, unsigned seed)
{
    volatile unsigned char *b = p;
    for (size_t i = 0; i < n; i += check_step(n))
        b[i] = check_byte(i, seed);
    for (size_t i = 0; i < 256 && i < n; i++)
        b[i] = check_byte(i, seed), b[n - 1 - i] = check_byte(n - 1 - i, seed);
}

// Looks at the first `kept` of the n bytes that check_fill filled; true when they are as they were.
static CHECK_UNUSED bool check_pattern(const void *p, size_t kept, size_t n, unsigned seed)
{
    const volatile unsigned char *b = p;
    for (size_t i = 0; i < kept; i += check_step(n))
        if (b[i] != check_byte(i, seed))
            return false;
    for (size_t i = 0; i < 256 && i < kept; i++)
        if (b[i] != check_byte(i, seed))
            return false;
    for (size_t i = n > 256 ? n - 256 : 0; i < kept; i++)
        if (b[i] != check_byte(i, seed))
            return false;
    return true;
}

static CHECK_UNUSED bool check_zero(const void *p, size_t n)
{
    const volatile unsigned char *b = p;
    for (size_t i = 0; i < n; i += check_step(n))
        if (b[i])
            return false;
    for (size_t i = 0; i < 256 && i < n; i++)
        if (b[i] || b[n - 1 - i])
            return false;
    return true;
}

// xorshift64*, a state a caller.
static CHECK_UNUSED uint64_t check_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

#endif
