// The formatter against the one in libc: random values, in buffers of every size up to what they
// need; and lines as they arrive at a descriptor.
#include "text.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t seed = 0x2545f4914f6cdd1d;

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

// Numbers of every length.
static uint64_t random_number(void)
{
    static const uint64_t edges[] = {
        0, 1, 9, 10, INT_MAX, (uint64_t)INT_MAX + 1, UINT32_MAX, UINT64_MAX, (uint64_t)1 << 63};
    return random_next() % 8 ? random_next() >> random_next() % 64 : edges[random_next() % 9];
}

// Formats into `out` (`size` bytes, fenced by the caller) and answers how many bytes were put.
static size_t put(char *out, size_t size, const char *format, ...)
{
    struct sv_text t = sv_text_start(out, size);
    va_list args;
    va_start(args, format);
    sv_text_putv(&t, format, args);
    va_end(args);
    cr_assert(t.p >= out && t.p <= out + size && t.start == out && t.end == out + size);
    return (size_t)(t.p - out);
}

// Expects `want` whole, and in every shorter buffer its beginning with nothing written behind.
#define EXPECT(want, ...)                                                                          \
    do {                                                                                           \
        size_t length = strlen(want);                                                              \
        for (size_t room = 0; room <= length + 3; room++) {                                        \
            char out[2048];                                                                        \
            memset(out, 0x7e, sizeof out);                                                         \
            size_t n = put(out, room, __VA_ARGS__);                                                \
            cr_assert(n == (room < length ? room : length), "%zu bytes of '%s'", n, want);         \
            cr_assert(memcmp(out, want, n) == 0, "'%.*s', not '%s'", (int)n, out, want);           \
            cr_assert(out[n] == 0x7e && out[room] == 0x7e);                                        \
        }                                                                                          \
    } while (0)

Test(text, numbers_as_printf)
{
    char want[512];
    for (int i = 0; i < 3000; i++) {
        uint64_t v = random_number();
        snprintf(want, sizeof want, "%d", (int)v);
        EXPECT(want, "%d", (int)v);
        snprintf(want, sizeof want, "%u %" PRIu64, (unsigned)v, v);
        EXPECT(want, "%u %U", (unsigned)v, v);
        snprintf(want, sizeof want, "%zu:%" PRIx64 ";", (size_t)v, v);
        EXPECT(want, "%z:%x;", (size_t)v, v);
        snprintf(want, sizeof want, "0x%" PRIx64, v);
        EXPECT(want, "%p", (void *)v);
    }
}

Test(text, edges)
{
    char want[64];
    static const int ints[] = {0, 1, -1, 9, -10, INT_MAX, INT_MIN, INT_MIN + 1};
    for (unsigned i = 0; i < sizeof ints / sizeof *ints; i++) {
        snprintf(want, sizeof want, "%d", ints[i]);
        EXPECT(want, "%d", ints[i]);
    }
    EXPECT("18446744073709551615 0", "%U %U", UINT64_MAX, (uint64_t)0);
    EXPECT("ffffffffffffffff 0", "%x %x", UINT64_MAX, (uint64_t)0);
    EXPECT("0x0", "%p", (void *)NULL);
}

Test(text, strings_and_characters)
{
    char text[600], want[1400];
    EXPECT("", "");
    EXPECT("plain", "plain");
    EXPECT("%", "%%");
    EXPECT("100%d", "100%%d");
    EXPECT("(null)", "%s", (char *)NULL);
    EXPECT("[]", "[%s]", "");
    for (int i = 0; i < 200; i++) {
        size_t n = random_next() % sizeof text;
        for (size_t k = 0; k < n; k++)
            text[k] = (char)(1 + random_next() % 255);
        text[n ? n - 1 : 0] = 0;
        char c = (char)(' ' + random_next() % 95);
        snprintf(want, sizeof want, "%s%c<%s>%%", text, c, text);
        EXPECT(want, "%s%c<%s>%%", text, c, text);
    }
}

// All conversions in one line: each takes its own argument and no other's.
Test(text, mixed)
{
    char want[512];
    for (int i = 0; i < 1000; i++) {
        int d = (int)random_number();
        unsigned u = (unsigned)random_number();
        uint64_t big = random_number(), x = random_number();
        size_t z = random_number();
        void *p = (void *)random_number();
        snprintf(want, sizeof want,
                 "gc %d @%u %s%c %" PRIu64 "/%zu %" PRIx64 " 0x%" PRIxPTR " %%%u", d, u, "ms", 'k',
                 big, z, x, (uintptr_t)p, u);
        EXPECT(want, "gc %d @%u %s%c %U/%z %x %p %%%u", d, u, "ms", 'k', big, z, x, p, u);
    }
}

Test(text, put_goes_on_where_it_was)
{
    char out[16];
    struct sv_text t = sv_text_start(out, sizeof out);
    sv_text_put(&t, "%d", 12);
    sv_text_put(&t, "-%s", "abc");
    cr_assert(t.p - out == 6 && memcmp(out, "12-abc", 6) == 0);
    for (int i = 0; i < 20; i++)
        sv_text_put(&t, "%c", 'x');
    cr_assert(t.p == out + sizeof out && memcmp(out, "12-abcxxxxxxxxxx", 16) == 0);
}

// Decimals with all their digits; against whole numbers cut by hand.
Test(text, fixed)
{
    static const struct {
        uint64_t v;
        unsigned decimals;
        const char *want;
    } cases[] = {{0, 0, "0"},
                 {0, 3, "0.000"},
                 {1234, 0, "1234"},
                 {1234, 3, "1.234"},
                 {5, 3, "0.005"},
                 {10, 1, "1.0"},
                 {1000000, 9, "0.001000000"},
                 {UINT64_MAX, 9, "18446744073.709551615"},
                 {UINT64_MAX, 19, "1.8446744073709551615"}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[40] = {0};
        struct sv_text t = sv_text_start(out, sizeof out - 1);
        sv_text_fixed(&t, cases[i].v, cases[i].decimals);
        cr_assert_str_eq(out, cases[i].want);
    }
    for (int i = 0; i < 3000; i++) {
        char out[40] = {0}, digits[40], want[40];
        uint64_t v = random_number();
        unsigned decimals = 1 + (unsigned)(random_next() % 18);
        struct sv_text t = sv_text_start(out, sizeof out - 1);
        sv_text_fixed(&t, v, decimals);
        int n = snprintf(digits, sizeof digits, "%0*" PRIu64, (int)decimals + 1, v);
        snprintf(want, sizeof want, "%.*s.%s", n - (int)decimals, digits, digits + n - decimals);
        cr_assert_str_eq(out, want);
    }
}

Test(text, paths_name_the_process)
{
    static const char *const patterns[] = {"", "%p", "a%pb%p", "%", "%%p", "/x/%d%s", "%p%"};
    for (unsigned i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char out[128] = {0}, want[128] = {0};
        for (const char *c = patterns[i]; *c; c++) {
            if (strncmp(c, "%p", 2) == 0)
                sprintf(want + strlen(want), "%d", (int)getpid()), c++;
            else
                want[strlen(want)] = *c;
        }
        struct sv_text t = sv_text_start(out, sizeof out - 1);
        sv_text_path(&t, patterns[i]);
        cr_assert_str_eq(out, want);
    }
}

// ---- lines --------------------------------------------------------------------------------------

static size_t drain(int fd, char *out, size_t room)
{
    size_t n = 0;
    long got;
    while (n < room && (got = read(fd, out + n, room - n)) > 0)
        n += (size_t)got;
    return n;
}

Test(text, log_is_one_line_where_it_was_told)
{
    int fd[2];
    char out[4096];
    cr_assert(pipe(fd) == 0);
    sv_log_set(fd[1]);
    errno = 77;
    sv_log("gc %u: %s", 3u, "done");
    sv_log("%s", "");
    cr_assert(errno == 77);
    close(fd[1]);
    size_t n = drain(fd[0], out, sizeof out);
    cr_assert(n == 12 && memcmp(out, "gc 3: done\n\n", 12) == 0, "%zu bytes", n);
}

// What is too long is cut, and is still a line.
Test(text, long_lines_are_cut)
{
    static char text[5000], out[8192];
    int fd[2];
    memset(text, 'a', sizeof text - 1);
    cr_assert(pipe(fd) == 0);
    sv_log_set(fd[1]);
    sv_log("%s", text);
    sv_log("b");
    close(fd[1]);
    size_t n = drain(fd[0], out, sizeof out);
    char *end = memchr(out, '\n', n);
    cr_assert(end && end - out > 900 && end - out < 1024 && n == (size_t)(end - out) + 3);
    cr_assert(memcmp(end, "\nb\n", 3) == 0);
}

Test(text, error_and_death_go_to_stderr)
{
    int fd[2], status;
    char out[4096];
    cr_assert(pipe(fd) == 0);
    pid_t pid = fork();
    cr_assert(pid >= 0);
    if (pid == 0) {
        dup2(fd[1], 2);
        sv_log_set(-1); // the log is elsewhere
        sv_error("first %d", -5);
        sv_die("last %p", (void *)0xabc);
    }
    close(fd[1]);
    size_t n = drain(fd[0], out, sizeof out);
    cr_assert(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) && WTERMSIG(status) == 6);
    static const char want[] = "first -5\nsalvage: last 0xabc\n";
    cr_assert(n == sizeof want - 1 && memcmp(out, want, n) == 0, "'%.*s'", (int)n, out);
}
