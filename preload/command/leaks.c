// salvage leaks: what a program lost, or has lost so far.
//
// The program is run with format=raw into a folder of our own; the records of it and of its
// children are put together when it has ended, the program's first, and rendered. Meanwhile the
// command is nearly not there: what the terminal sends reaches the program by itself, what is sent
// to the command is handed on, and the program's status becomes the command's.
//
// A program that root runs may change its user before it writes its record; so root's folder takes
// everybody's files, and only regular ones are read, never through a link.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "link.h"
#include "program.h"
#include "rendering.h"

#define EXITCODE_NONE (-1)

struct ask { // what the command line says
    struct rendering rendering;
    struct program_options options;
    int exitcode; // EXITCODE_NONE: the program's own
};

// ---- a running process --------------------------------------------------------------------------

static int process_leaks(const struct ask *ask, int pid)
{
    struct link_answer answer;
    const struct report_options *o = &ask->rendering.options;
    char *name = text_take("process %d", pid);
    char *request = text_take("leaks%s%s\n", o->objects ? " objects" : "", o->live ? " live" : "");
    if (!rendering_ready(&ask->rendering, stdout) ||
        !link_ask_pid(pid, request, "checking", &answer))
        return COMMAND_FAILED;
    long leaks = rendering_run(&ask->rendering, answer.text, name, stdout);
    fclose(answer.text);
    free(request);
    free(name);
    return leaks < 0 ? COMMAND_FAILED : leaks ? COMMAND_LEAKS : COMMAND_OK;
}

// ---- the folder ---------------------------------------------------------------------------------

static char *folder_make(void)
{
    const char *base = getenv("TMPDIR");
    char *path = text_take("%s/salvage.XXXXXX", base && *base ? base : "/tmp");
    if (strpbrk(path, ",%")) { // would end the option, or mean something in it
        free(path);
        path = text_take("/tmp/salvage.XXXXXX");
    }
    if (!mkdtemp(path) || (geteuid() == 0 && chmod(path, 01733) != 0)) {
        complain("%s: %s", path, strerror(errno));
        free(path);
        return NULL;
    }
    return path;
}

static int entry_pid(const struct dirent *entry)
{
    char *end;
    long pid = strtol(entry->d_name, &end, 10);
    return strcmp(end, ".raw") == 0 && pid > 0 && pid <= INT32_MAX ? (int)pid : 0;
}

static int entry_is_record(const struct dirent *entry)
{
    return entry_pid(entry) != 0;
}

static int first_pid; // for the order: the program's own record comes first

static int entry_compare(const struct dirent **a, const struct dirent **b)
{
    int x = entry_pid(*a), y = entry_pid(*b);
    if (x == first_pid || y == first_pid)
        return (y == first_pid) - (x == first_pid);
    return (x > y) - (x < y);
}

// Adds a record's text to `all`; bytes.
static size_t record_copy(const char *folder, const char *name, FILE *all)
{
    char *path = text_take("%s/%s", folder, name), piece[16384];
    struct stat st;
    size_t copied = 0;
    ssize_t n;
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    free(path);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_nlink == 1)
        while ((n = read(fd, piece, sizeof piece)) > 0)
            copied += fwrite(piece, 1, (size_t)n, all);
    if (fd >= 0)
        close(fd);
    return copied;
}

// All records, one after the other, in a stream at its start; NULL: none. *own: the program's is
// there.
static FILE *records_gather(const char *folder, int pid, bool *own)
{
    struct dirent **entries;
    first_pid = pid;
    int n = scandir(folder, &entries, entry_is_record, entry_compare);
    FILE *all = tmpfile();
    size_t bytes = 0;
    *own = false;
    for (int i = 0; i < n; i++) {
        size_t copied = all ? record_copy(folder, entries[i]->d_name, all) : 0;
        *own |= copied && entry_pid(entries[i]) == pid;
        bytes += copied;
        free(entries[i]);
    }
    if (n >= 0)
        free(entries);
    if (all && bytes) {
        rewind(all);
        return all;
    }
    if (all)
        fclose(all);
    return NULL;
}

static void folder_remove(const char *folder)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)))
        unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    rmdir(folder);
}

// ---- the program --------------------------------------------------------------------------------

static const int forwarded[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGALRM};
#define NFORWARDED (sizeof forwarded / sizeof *forwarded)

static volatile sig_atomic_t child;

// What comes from the kernel (the terminal's keys, its end) has been sent to the program as well.
static void signal_forward(int sig, siginfo_t *info, void *context)
{
    (void)context;
    int saved = errno;
    if (info->si_code <= 0 && info->si_pid != child)
        kill(child, sig);
    errno = saved;
}

// The signals to be handed on wait until there is somebody to get them.
static void signals_catch(sigset_t *old)
{
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < NFORWARDED; i++)
        sigaddset(&set, forwarded[i]);
    sigprocmask(SIG_BLOCK, &set, old);
    for (size_t i = 0; i < NFORWARDED; i++) {
        struct sigaction action = {.sa_sigaction = signal_forward, .sa_flags = SA_SIGINFO}, was;
        if (sigaction(forwarded[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
            sigaction(forwarded[i], &action, NULL);
    }
}

static void signals_default(void)
{
    for (size_t i = 0; i < NFORWARDED; i++) {
        struct sigaction action = {.sa_handler = SIG_DFL}, was;
        if (sigaction(forwarded[i], NULL, &was) == 0 && was.sa_handler != SIG_IGN)
            sigaction(forwarded[i], &action, NULL);
    }
}

// Runs it to its end: its wait status, or -1 after a line.
static int program_wait(char **argv, const char *salvage, const struct program_options *options)
{
    sigset_t old;
    int status;
    fflush(NULL);
    signals_catch(&old);
    pid_t pid = fork();
    if (pid < 0)
        return complain("fork: %s", strerror(errno)), -1;
    if (pid == 0) {
        signals_default();
        sigprocmask(SIG_SETMASK, &old, NULL);
        int failed = program_prepare(options, salvage);
        _exit(failed ? failed : program_exec(argv));
    }
    child = pid;
    sigprocmask(SIG_SETMASK, &old, NULL);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return complain("%s: %s", argv[0], strerror(errno)), -1;
    return status;
}

static int status_code(int status)
{
    return WIFSIGNALED(status) ? COMMAND_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

static void record_miss(const char *name, int status)
{
    if (WIFSIGNALED(status))
        complain("%s left no record: signal %d (%s) ended it", name, WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        complain("%s left no record: it never allocated, or could not write one", name);
}

static int records_render(const struct ask *ask, const char *folder, const char *name, int status)
{
    bool own;
    FILE *all = records_gather(folder, child, &own);
    int code = status_code(status);
    if (!own)
        record_miss(name, status);
    if (!all)
        return code;
    long leaks = rendering_run(&ask->rendering, all, name, stderr);
    fclose(all);
    if (leaks < 0)
        return COMMAND_FAILED;
    return leaks && ask->exitcode != EXITCODE_NONE ? ask->exitcode : code;
}

static int program_leaks(struct ask *ask, char **argv)
{
    int status = program_check(argv[0]);
    if (status)
        return status;
    char *listed = program_value(&ask->options, "suppressions");
    if (listed && !rendering_suppress(&ask->rendering, listed))
        return COMMAND_FAILED;
    if (!rendering_ready(&ask->rendering, stderr))
        return COMMAND_FAILED;
    char *folder = folder_make();
    if (!folder)
        return COMMAND_FAILED;
    char *salvage = text_take("mode=leaks,format=raw,exitcode=0,report=%s/%%p.raw%s%s", folder,
                              ask->rendering.options.abandoned ? ",abandoned=1" : "",
                              ask->rendering.options.live ? ",live=1" : "");
    int ended = program_wait(argv, salvage, &ask->options);
    status = ended == -1 ? COMMAND_FAILED : records_render(ask, folder, argv[0], ended);
    folder_remove(folder);
    free(salvage);
    free(folder);
    return status;
}

// ---- the verb -----------------------------------------------------------------------------------

// Keys that the command itself sets, by the option that stands for each.
static bool option_ours(const char *item)
{
    static const char *const ours[][2] = {
        {"mode=", "leaks has its own mode"},
        {"format=", "say --format"},
        {"report=", "say --output"},
        {"exitcode=", "say --exitcode"},
    };
    for (const char *at = item; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
            if (strncmp(at, ours[i][0], strlen(ours[i][0])) == 0 &&
                strncmp(at, "mode=leaks", 10) != 0) {
                complain("-o '%.*s': %s", (int)strcspn(at, ","), at, ours[i][1]);
                return true;
            }
    return false;
}

// One option; 0, or the exit status + 1.
static int option_take(struct ask *ask, int c)
{
    bool failed = false;
    uint64_t code;
    if (rendering_option(&ask->rendering, c, optarg, &failed))
        return failed ? COMMAND_FAILED + 1 : 0;
    if (c == 'h')
        return usage_show() + 1;
    if (c == 'o')
        return option_ours(optarg) || !program_option(&ask->options, optarg) ? COMMAND_FAILED + 1
                                                                             : 0;
    if (c != 'e')
        return usage_error() + 1;
    if (!number_parse(optarg, 0, 255, &code)) {
        complain("--exitcode '%s': 0 to 255", optarg);
        return COMMAND_FAILED + 1;
    }
    ask->exitcode = code ? (int)code : EXITCODE_NONE;
    return 0;
}

int leaks_main(int argc, char **argv)
{
    static const struct option longs[] = {RENDERING_LONGS,
                                          {"exitcode", required_argument, NULL, 'e'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct ask ask = {.exitcode = EXITCODE_NONE};
    uint64_t pid;
    int c, done;
    while ((c = getopt_long(argc, argv, "+o:h", longs, NULL)) != -1)
        if ((done = option_take(&ask, c)) != 0)
            return done - 1;
    if (optind >= argc) {
        complain("which program, or which process?");
        return usage_error();
    }
    if (strcmp(argv[optind - 1], "--") == 0 || !number_parse(argv[optind], 0, UINT64_MAX, &pid))
        return program_leaks(&ask, argv + optind);
    pid = (uint64_t)pid_operand(argc, argv, optind);
    if (!pid)
        return usage_error();
    if (ask.options.text || ask.exitcode != EXITCODE_NONE)
        return complain("-o and --exitcode are for a program that is to be started");
    return process_leaks(&ask, (int)pid);
}
