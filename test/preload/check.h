// What a test program under LD_PRELOAD includes: counting, and running risky cases in children.
//
// A case is a `void fn(void)` that calls CHECK; it passes when none of its checks fails and it comes
// back. check_run calls it here, check_fork in a child whose crash or hang fails that case alone.
// Each failing check or case prints one line. main ends with `return check_done();`, which prints
// `N passed, N failed` alone on the last line. The header is its own library: all of it is static,
// works as C and as C++, and allocates nothing itself.
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK_SECONDS 60 // a child that runs longer is ended by SIGALRM, and its case has failed

static struct {
    int passed;       // cases
    int failed;       // cases
    int bad;          // failing checks of the running case
    const char *name; // of the running case
} check_state;

__attribute__((unused, format(printf, 3, 4))) static void check_fail(const char *file, int line,
                                                                     const char *format, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    __atomic_fetch_add(&check_state.bad, 1, __ATOMIC_RELAXED);
    printf("%s: %s:%d: %s\n", check_state.name ? check_state.name : "-", file, line, text);
    fflush(stdout);
}

// Goes on after a failure. Any thread.
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            check_fail(__FILE__, __LINE__, "%s", #condition);                                      \
    } while (0)

// Two integers; a failure prints both.
#define CHECK_EQ(left, right)                                                                      \
    do {                                                                                           \
        long long check_l = (long long)(left), check_r = (long long)(right);                       \
        if (check_l != check_r)                                                                    \
            check_fail(__FILE__, __LINE__, "%s is %lld, not %s = %lld", #left, check_l, #right,    \
                       check_r);                                                                   \
    } while (0)

// A failure with a printf format of one's own.
#define CHECK_FAIL(...) check_fail(__FILE__, __LINE__, __VA_ARGS__)

static void check_end(void)
{
    if (check_state.bad)
        check_state.failed++;
    else
        check_state.passed++;
    check_state.bad = 0;
    check_state.name = NULL;
}

// Runs a case in this process.
__attribute__((unused)) static void check_run(const char *name, void (*fn)(void))
{
    check_state.name = name;
    fn();
    check_end();
}

// Runs fn in a child; returns the child's wait status, or -1. The child ends by _exit, so that the
// parent's handlers and buffers are its own. Status 1: some check failed.
__attribute__((unused)) static int check_child(void (*fn)(void))
{
    int status;
    pid_t pid;
    fflush(stdout);
    fflush(stderr);
    pid = fork();
    if (pid < 0)
        return -1;
    if (pid == 0) {
        check_state.bad = 0;
        signal(SIGALRM, SIG_DFL);
        alarm(CHECK_SECONDS);
        fn();
        fflush(stdout);
        fflush(stderr);
        _exit(check_state.bad ? 1 : 0);
    }
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return status;
}

// Runs a case in a child, which has to come back from fn with no failing check.
__attribute__((unused)) static void check_fork(const char *name, void (*fn)(void))
{
    int status;
    check_state.name = name;
    status = check_child(fn);
    if (status == -1)
        CHECK_FAIL("fork or waitpid: %s", strerror(errno));
    else if (WIFSIGNALED(status))
        CHECK_FAIL("ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        CHECK_FAIL("child failed, status %d", WEXITSTATUS(status));
    check_end();
}

// Runs a case in a child, which has to die of `sig`. What it prints on stderr is dropped.
__attribute__((unused)) static void check_dies(const char *name, void (*fn)(void), int sig)
{
    int status, saved = dup(2);
    check_state.name = name;
    fflush(stderr);
    if (!freopen("/dev/null", "w", stderr))
        CHECK_FAIL("/dev/null: %s", strerror(errno));
    status = check_child(fn);
    fflush(stderr);
    dup2(saved, 2);
    close(saved);
    if (status == -1)
        CHECK_FAIL("fork or waitpid: %s", strerror(errno));
    else if (!WIFSIGNALED(status))
        CHECK_FAIL("lived, status %d, instead of dying of signal %d", WEXITSTATUS(status), sig);
    else if (WTERMSIG(status) != sig)
        CHECK_FAIL("died of signal %d instead of %d", WTERMSIG(status), sig);
    check_end();
}

// The program's last words, and its exit status.
__attribute__((unused)) static int check_done(void)
{
    printf("%d passed, %d failed\n", check_state.passed, check_state.failed);
    fflush(stdout);
    return check_state.failed != 0 || check_state.passed == 0;
}

#endif
