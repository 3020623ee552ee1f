// measure: what a command costs, read from the kernel's own account of it.
//
// `measure [-n RUNS] [-p PRELOAD] [-i IN] [-o OUT] COMMAND ARGUMENT...` runs COMMAND RUNS times
// (1), with LD_PRELOAD set to PRELOAD for it alone, IN as its input and OUT (/dev/null) as its
// output, and prints one line: CPU in microseconds (user and system, all runs together, descendants
// that were waited for included), peak RSS in KiB (the median of the runs), and the exit status
// (128+N for signal N; that of the last run that failed, if any did).
//
// The numbers are wait4's: the kernel keeps them to the nanosecond tick of the scheduler, where
// time(1) rounds to 10 ms. This program is linked statically and starts the command by posix_spawn,
// because Linux carries the peak RSS of the image that called exec into the new one's, so that a
// larger parent would set a floor under every small program.

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { RUNS_MAX = 10000 };

extern char **environ;

struct command {
    char **argv;
    const char *in;
    const char *out;
};

static _Noreturn void fail(const char *what, int error)
{
    fprintf(stderr, "measure: %s: %s\n", what, strerror(error));
    exit(125);
}

// Runs the command once, fills `use`, returns its exit status as a shell would.
static int command_run(const struct command *command, char **environment, struct rusage *use)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, command->in, O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, command->out, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    int error = posix_spawnp(&pid, command->argv[0], &actions, NULL, command->argv, environment);
    if (error)
        fail(command->argv[0], error);
    posix_spawn_file_actions_destroy(&actions);
    while (wait4(pid, &status, 0, use) < 0)
        if (errno != EINTR)
            fail("wait4", errno);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int long_compare(const void *a, const void *b)
{
    long x = *(const long *)a, y = *(const long *)b;
    return (x > y) - (x < y);
}

// The caller's environment with LD_PRELOAD as given, or without it.
static char **environment_make(const char *preload)
{
    size_t count = 0, kept = 0;
    while (environ[count])
        count++;
    char **made = calloc(count + 2, sizeof *made);
    char *line = malloc(preload ? strlen(preload) + sizeof "LD_PRELOAD=" : 1);
    if (!made || !line)
        fail("environment", ENOMEM);
    for (size_t i = 0; i < count; i++)
        if (strncmp(environ[i], "LD_PRELOAD=", 11) != 0)
            made[kept++] = environ[i];
    if (preload) {
        sprintf(line, "LD_PRELOAD=%s", preload);
        made[kept] = line;
    }
    return made;
}

int main(int argc, char **argv)
{
    static long rss[RUNS_MAX];
    struct command command = {.in = "/dev/null", .out = "/dev/null"};
    const char *preload = NULL;
    int runs = 1, option, failed = 0;
    while ((option = getopt(argc, argv, "+n:p:i:o:")) != -1) {
        if (option == 'n')
            runs = atoi(optarg);
        else if (option == 'p')
            preload = *optarg ? optarg : NULL;
        else if (option == 'i')
            command.in = optarg;
        else if (option == 'o')
            command.out = optarg;
        else
            return 125;
    }
    if (optind == argc || runs < 1 || runs > RUNS_MAX) {
        fprintf(stderr, "usage: measure [-n RUNS] [-p PRELOAD] [-i IN] [-o OUT] COMMAND...\n");
        return 125;
    }
    command.argv = argv + optind;
    char **environment = environment_make(preload);
    long long cpu = 0;
    for (int i = 0; i < runs; i++) {
        struct rusage use;
        int status = command_run(&command, environment, &use);
        if (status)
            failed = status;
        cpu += (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000LL;
        cpu += use.ru_utime.tv_usec + use.ru_stime.tv_usec;
        rss[i] = use.ru_maxrss;
    }
    qsort(rss, (size_t)runs, sizeof rss[0], long_compare);
    printf("%lld %ld %d\n", cpu, rss[runs / 2], failed);
    return 0;
}
