// Every function of the exec family under threads that keep the collector busy: the new program
// starts with its arguments and environment, no stop signal follows it, and after a failure all
// goes on. The program that is started is this one, which then compares what it was given.
#include "check.h"

#include <pthread.h>
#include <sched.h>
#include <spawn.h>

#define ROUNDS 40

extern char **environ;

static char self[4096];
static char folder[4096]; // of self, ends with a slash
static const char *name;  // of self in it

static char *args[] = {"exec-child", "one", "", "three", NULL};
static char *own_environ[] = {"EXEC_CHILD=own", NULL};

// What the started program does: 0 when it got what the name says.
static int child(int argc, char **argv)
{
    const char *expected[] = {"exec-child", "one", "", "three"};
    if (argc != 4)
        return 40 + argc;
    for (int i = 0; i < 4; i++)
        if (strcmp(argv[i], expected[i]) != 0)
            return 50 + i;
    return strcmp(getenv("EXEC_CHILD"), "own") == 0 && getenv("HOME") != NULL ? 60 : 0;
}

static void by_execve(void)
{
    execve(self, args, own_environ);
}

static void by_execv(void)
{
    execv(self, args);
}

static void by_execvp(void)
{
    execvp(name, args);
}

static void by_execvpe(void)
{
    execvpe(name, args, own_environ);
}

static void by_execl(void)
{
    execl(self, "exec-child", "one", "", "three", (char *)NULL);
}

static void by_execlp(void)
{
    execlp(name, "exec-child", "one", "", "three", (char *)NULL);
}

static void by_execle(void)
{
    execle(self, "exec-child", "one", "", "three", (char *)NULL, own_environ);
}

static void by_fexecve(void)
{
    fexecve(open(self, O_RDONLY | O_CLOEXEC), args, own_environ);
}

static void by_execveat(void)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    execveat(fd, name, args, own_environ, 0);
}

static _Atomic int churn_end, churn_rounds;

// Loses memory, and on Salvage collects, so that stops are under way at any moment.
static void *churn(void *arg)
{
    (void)arg;
    while (!atomic_load(&churn_end)) {
        for (int i = 0; i < 200; i++)
            check_hide(malloc(1000));
        check_collect();
        atomic_fetch_add(&churn_rounds, 1);
    }
    return NULL;
}

static void with_threads(void (*fn)(void))
{
    pthread_t thread[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, churn, NULL);
    while (atomic_load(&churn_rounds) < 4)
        sched_yield();
    fn();
}

static void replace(const char *what, void (*fn)(void))
{
    for (int i = 0; i < ROUNDS; i++) {
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            alarm(30);
            with_threads(fn);
            _exit(99);
        }
        char text[48];
        int status = check_wait(pid);
        if (!CHECK(status == 0, "%s: %s", what, check_status(status, text)))
            return;
    }
}

// A call that fails says why and leaves the process able to collect and to try again.
static void failures(void)
{
    char *no = "/nonexistent/program";
    for (int i = 0; i < 2; i++) {
        errno = 0;
        CHECK(execve(no, args, environ) == -1 && errno == ENOENT, "execve: %d", errno);
        CHECK(execv(no, args) == -1 && errno == ENOENT, "execv: %d", errno);
        CHECK(execvp("nonexistent-program", args) == -1 && errno == ENOENT, "execvp: %d", errno);
        CHECK(execvpe(no, args, environ) == -1 && errno == ENOENT, "execvpe: %d", errno);
        CHECK(execl(no, "a", (char *)NULL) == -1 && errno == ENOENT, "execl: %d", errno);
        CHECK(execlp(no, "a", (char *)NULL) == -1 && errno == ENOENT, "execlp: %d", errno);
        CHECK(execle(no, "a", (char *)NULL, environ) == -1 && errno == ENOENT, "execle: %d", errno);
        CHECK(execveat(-1, "x", args, environ, 0) == -1 && errno == EBADF, "execveat: %d", errno);
        CHECK(fexecve(-1, args, environ) == -1 && errno == EINVAL, "fexecve: %d", errno);
        CHECK(execv("/", args) == -1 && errno == EACCES, "a folder: %d", errno);
        check_collect();
    }
}

static void failures_threaded(void)
{
    with_threads(failures);
    atomic_store(&churn_end, 1);
}

// The child of vfork shares our memory: what it blocks or leaves behind would be ours.
static pid_t vfork_execv(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execl("/nonexistent/program", "a", (char *)NULL);
        execv(self, args);
        _exit(99);
    }
    return pid;
}

static void vforked(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        int status = check_wait(vfork_execv());
        CHECK(status == 0, "vfork and execv: %#x", status);
    }
    check_collect();
}

static void vforked_threaded(void)
{
    with_threads(vforked);
    atomic_store(&churn_end, 1);
}

static void spawned(void)
{
    for (int i = 0; i < ROUNDS; i++) {
        pid_t pid = -1;
        int error = posix_spawn(&pid, self, NULL, NULL, args, environ);
        int status = error ? -1 : check_wait(pid);
        CHECK(error == 0 && status == 0, "posix_spawn: %d, %#x", error, status);
    }
    CHECK(system("exit 7") == 7 << 8, "system");
}

static void spawned_threaded(void)
{
    with_threads(spawned);
    atomic_store(&churn_end, 1);
}

int main(int argc, char **argv)
{
    if (getenv("EXEC_CHILD"))
        return child(argc, argv);
    setenv("EXEC_CHILD", "inherited", 1);
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(n > 0, "readlink");
    char *slash = strrchr(self, '/');
    name = slash + 1;
    memcpy(folder, self, (size_t)(name - self));
    setenv("PATH", folder, 1);
    replace("execve", by_execve);
    replace("execv", by_execv);
    replace("execvp", by_execvp);
    replace("execvpe", by_execvpe);
    replace("execl", by_execl);
    replace("execlp", by_execlp);
    replace("execle", by_execle);
    replace("fexecve", by_fexecve);
    replace("execveat", by_execveat);
    check_case("failures", failures_threaded, 60);
    check_case("vforked", vforked_threaded, 60);
    check_case("spawned", spawned_threaded, 60);
    return check_done();
}
