// The salvage command: which verb, its help, and the few helpers that all of them use.
//
// The command is an ordinary program, with stdio and the heap of whoever runs it. Whatever goes
// wrong costs one line on stderr that names the culprit, and the exit status 125.
#include "command.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct verb {
    const char *name;
    int (*main)(int argc, char **argv);
    const char *does;  // in the list of verbs
    const char *usage; // what follows the name
    const char *help;
};

#define RENDERING_HELP                                                                             \
    "  --format F             text, json, sarif, pprof, collapsed, xml, html or raw (text)\n"      \
    "  --output PATH          write the report there\n"                                            \
    "  --suppressions PATH    leave out what it lists: LeakSanitizer's or valgrind's form; may "   \
    "be\n"                                                                                         \
    "                         given several times\n"                                               \
    "  --gen-suppressions     print ready suppressions for what is reported\n"                     \
    "  --objects              the address of each object, too\n"                                   \
    "  --possible             what only an interior or a stale word holds, too\n"                  \
    "  --abandoned            what was still reachable when main ended, too\n"                     \
    "  --live                 what is reachable, too (growth that is no leak)\n"                   \
    "  --debuginfod           fetch missing debug information from the servers of\n"               \
    "                         DEBUGINFOD_URLS\n"

static const struct verb verbs[] = {
    {"run", run_main, "run a program under the library", "[-o KEY=VALUE]... [--] PROGRAM [ARG]...",
     "Runs PROGRAM in this process's place with libsalvage.so preloaded. Exit status: PROGRAM's\n"
     "own; 126 or 127 if it can't be run or found, 125 if Salvage can't work in it.\n\n"
     "  -o KEY=VALUE           an option of the library, added to SALVAGE; the last one counts\n"},
    {"leaks", leaks_main, "find what a program, or a running process, has lost",
     "[OPTION]... [-o KEY=VALUE]... -- PROGRAM [ARG]...\n       salvage leaks [OPTION]... PID",
     "Runs PROGRAM in mode=leaks and reports what it and its children lost, on stderr; or has a\n"
     "running process of mode=leaks checked, and reports on stdout. Exit status: PROGRAM's own\n"
     "(128 and the number of the signal that ended it); for PID 0 without leaks, 23 "
     "with.\n\n" RENDERING_HELP
     "  --exitcode N           PROGRAM: exit with N when there are unsuppressed leaks\n"
     "  -o KEY=VALUE           an option of the library, added to SALVAGE; the last one counts\n"},
    {"stat", stat_main, "one reading of a process's heap and collector", "[--format F] PID",
     "Asks a running process for its statistics.\n\n"
     "  --format F             table, openmetrics or json (table)\n"},
    {"top", top_main, "a live table of the processes under the library",
     "[-b] [-n COUNT] [-d SECONDS] [-s KEY]",
     "Shows the processes under the library that you may ask: heap live and goal, what the\n"
     "collector took back, what is lost a minute, the pause that 99 of 100 don't exceed, the\n"
     "collector's part of a processor. Keys: q ends, Enter opens a process's leaking stacks,\n"
     "? names the others.\n\n"
     "  -b                     print tables instead; so it is, once, when stdout is no terminal\n"
     "  -n COUNT               end after so many tables\n"
     "  -d SECONDS             time between two (2)\n"
     "  -s KEY                 sort by pid, live, goal, reclaimed, rate, pause or cpu (rate)\n"},
    {"gc", gc_main, "have a process collect now", "PID",
     "Has a running process do a whole collection, and tells what it brought back.\n"},
    {"report", report_main, "render a saved raw record", "[OPTION]... RAW",
     "Renders the raw records in the file RAW (`-`: stdin), as docs/raw-record.md has them, with\n"
     "symbols. Exit status: 0 without leaks, 23 with.\n\n" RENDERING_HELP},
};

#define NVERBS (sizeof verbs / sizeof *verbs)

static const struct verb *verb;

int complain(const char *format, ...)
{
    va_list args;
    progress_end();
    va_start(args, format);
    fprintf(stderr, "salvage: %s%s", verb ? verb->name : "", verb ? ": " : "");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    return COMMAND_FAILED;
}

int usage_error(void)
{
    if (verb)
        fprintf(stderr, "try: salvage %s --help\n", verb->name);
    else
        fputs("try: salvage --help\n", stderr);
    return COMMAND_FAILED;
}

int usage_show(void)
{
    printf("Usage: salvage %s %s\n\n%s", verb->name, verb->usage, verb->help);
    return COMMAND_OK;
}

static int list_show(void)
{
    puts("Usage: salvage VERB ...\n\nA collector for programs that nobody can rebuild.\n");
    for (size_t i = 0; i < NVERBS; i++)
        printf("  %-8s %s\n", verbs[i].name, verbs[i].does);
    puts("\nsalvage VERB --help tells more; so do salvage(1) and libsalvage(3).");
    return COMMAND_OK;
}

// ---- what all use -------------------------------------------------------------------------------

void *memory_take(size_t bytes)
{
    void *p = calloc(1, bytes ? bytes : 1);
    if (!p)
        exit(complain("no memory"));
    return p;
}

char *text_take(const char *format, ...)
{
    va_list args;
    char *text;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        exit(complain("no memory"));
    va_end(args);
    return text;
}

bool number_parse(const char *text, uint64_t lo, uint64_t hi, uint64_t *out)
{
    char *end;
    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *end == 0 && errno == 0 && *out >= lo && *out <= hi;
}

int pid_operand(int argc, char **argv, int at)
{
    uint64_t pid;
    if (at >= argc)
        complain("which process? a PID is missing");
    else if (at + 1 < argc)
        complain("one PID at a time: '%s' is too much", argv[at + 1]);
    else if (!number_parse(argv[at], 1, INT32_MAX, &pid))
        complain("'%s' is no process id", argv[at]);
    else
        return (int)pid;
    return 0;
}

static struct {
    struct timespec began;
    bool running, shown;
} progress;

void progress_show(const char *what)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (!progress.running)
        progress.began = now;
    progress.running = true;
    double s = (double)(now.tv_sec - progress.began.tv_sec) +
               (double)(now.tv_nsec - progress.began.tv_nsec) / 1e9;
    if (s < 0.5 || !isatty(STDERR_FILENO))
        return;
    progress.shown = true;
    fprintf(stderr, "\r\033[K%s: %.1f s", what, s);
    fflush(stderr);
}

void progress_end(void)
{
    if (progress.shown)
        fputs("\r\033[K", stderr);
    progress.running = progress.shown = false;
}

// ---- the verb -----------------------------------------------------------------------------------

static const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < NVERBS; i++)
        if (strcmp(verbs[i].name, name) == 0)
            return &verbs[i];
    return NULL;
}

static int help_main(const char *name)
{
    if (!name)
        return list_show();
    verb = verb_find(name);
    if (verb)
        return usage_show();
    return complain("there is no verb '%s'", name);
}

int main(int argc, char **argv)
{
    int status;
    if (argc < 2) {
        complain("which verb? run, leaks, stat, top, gc or report");
        return usage_error();
    }
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
        status = puts("salvage " SALVAGE_VERSION) < 0 ? COMMAND_FAILED : COMMAND_OK;
    } else if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
               strcmp(argv[1], "help") == 0) {
        status = help_main(argc > 2 ? argv[2] : NULL);
    } else {
        verb = verb_find(argv[1]);
        if (!verb) {
            complain("there is no verb '%s'", argv[1]);
            return usage_error();
        }
        argv[1] = text_take("salvage: %s", verb->name); // as getopt names it
        status = verb->main(argc - 1, argv + 1);
    }
    if (fflush(stdout) != 0 || ferror(stdout))
        return complain("can't write to stdout: %s", strerror(errno));
    return status;
}
