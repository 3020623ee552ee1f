// The exec family: no stop of the world may be under way while the program is replaced.
//
// A stop signal that is sent before exec and delivered after it would kill the new program, which
// has no handler for it. So each function blocks cycles first and unblocks them when the real one
// has come back, which it does only to report a failure. A vfork child shares the parent's memory
// and must not take its lock: there sv_cycle_block says false, and nothing is done.
//
// Another preloaded library may implement one of these by calling another one through the dynamic
// linker, which brings it back here: a flag of the thread keeps the block from being taken twice.
// In mode=leaks the leak check of this end comes first (exit.c). The variadic forms gather their
// arguments on the stack, because malloc isn't allowed in a child of vfork or of a threaded
// process's fork.
#include "cycle.h"
#include "exit.h"
#include "export.h"
#include "real.h"

#include <alloca.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

static _Thread_local bool exec_blocked;

// What will be executed: see sv_exit_exec.
static bool exec_begin(int dirfd, const char *path, bool search)
{
    if (exec_blocked) {
        return false;
    }
    sv_exit_exec(dirfd, path, search);
    int saved = errno;
    exec_blocked = sv_cycle_block();
    errno = saved;
    return exec_blocked;
}

// Hands through the real function's answer.
static int exec_end(bool blocked, int result)
{
    if (blocked) {
        int saved = errno;
        sv_cycle_unblock();
        exec_blocked = false;
        errno = saved;
    }
    return result;
}

SV_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
    bool blocked = exec_begin(AT_FDCWD, path, false);
    return exec_end(blocked, sv_real(execve)(path, argv, envp));
}

SV_EXPORT int execv(const char *path, char *const argv[])
{
    bool blocked = exec_begin(AT_FDCWD, path, false);
    return exec_end(blocked, sv_real(execv)(path, argv));
}

SV_EXPORT int execvp(const char *file, char *const argv[])
{
    bool blocked = exec_begin(AT_FDCWD, file, true);
    return exec_end(blocked, sv_real(execvp)(file, argv));
}

SV_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
    bool blocked = exec_begin(AT_FDCWD, file, true);
    return exec_end(blocked, sv_real(execvpe)(file, argv, envp));
}

SV_EXPORT int execveat(int dirfd, const char *path, char *const argv[], char *const envp[],
                       int flags)
{
    bool blocked = exec_begin(dirfd, path, false);
    return exec_end(blocked, sv_real(execveat)(dirfd, path, argv, envp, flags));
}

SV_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
    bool blocked = exec_begin(fd, "", false);
    return exec_end(blocked, sv_real(fexecve)(fd, argv, envp));
}

// How many pointers follow `arg`, with it and up to the NULL that ends them.
static size_t args_count(const char *arg, va_list *ap)
{
    size_t n = 1;
    while (arg != NULL && n < INT_MAX) {
        arg = va_arg(*ap, const char *);
        n++;
    }
    return n;
}

// Copies as many as args_count said.
static void args_copy(char **argv, size_t n, const char *arg, va_list *ap)
{
    argv[0] = (char *)(uintptr_t)arg;
    for (size_t i = 1; i < n; i++) {
        argv[i] = va_arg(*ap, char *);
    }
}

SV_EXPORT int execl(const char *path, const char *arg, ...)
{
    va_list ap;
    va_start(ap, arg);
    size_t n = args_count(arg, &ap);
    va_end(ap);
    if (n >= INT_MAX) {
        errno = E2BIG;
        return -1;
    }
    char **argv = alloca(n * sizeof(char *));
    va_start(ap, arg);
    args_copy(argv, n, arg, &ap);
    va_end(ap);
    return execv(path, argv);
}

SV_EXPORT int execlp(const char *file, const char *arg, ...)
{
    va_list ap;
    va_start(ap, arg);
    size_t n = args_count(arg, &ap);
    va_end(ap);
    if (n >= INT_MAX) {
        errno = E2BIG;
        return -1;
    }
    char **argv = alloca(n * sizeof(char *));
    va_start(ap, arg);
    args_copy(argv, n, arg, &ap);
    va_end(ap);
    return execvp(file, argv);
}

// The environment follows the arguments' NULL.
SV_EXPORT int execle(const char *path, const char *arg, ...)
{
    va_list ap;
    va_start(ap, arg);
    size_t n = args_count(arg, &ap);
    va_end(ap);
    if (n >= INT_MAX) {
        errno = E2BIG;
        return -1;
    }
    char **argv = alloca(n * sizeof(char *));
    va_start(ap, arg);
    args_copy(argv, n, arg, &ap);
    char *const *envp = va_arg(ap, char *const *);
    va_end(ap);
    return execve(path, argv, envp);
}
