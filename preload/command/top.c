// salvage top: the processes under the library, on a terminal (screen.c) or as plain tables.
#include <getopt.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "screen.h"
#include "watch.h"

struct ask {
    enum watch_key key;
    double delay;   // seconds
    uint64_t count; // tables, 0: no end
    bool batch;
};

static void tables_print(const struct ask *ask)
{
    struct watch w = {0};
    char line[512];
    for (uint64_t i = 0; !ask->count || i < ask->count; i++) {
        if (i) {
            poll(NULL, 0, (int)(ask->delay * 1000));
            putchar('\n');
        }
        watch_look(&w);
        watch_sort(&w, ask->key);
        watch_line(NULL, line, sizeof line, -1);
        puts(line);
        for (size_t row = 0; row < w.n; row++) {
            watch_line(&w.row[row], line, sizeof line, -1);
            puts(line);
        }
        if (fflush(stdout) != 0)
            break;
    }
    free(w.row);
}

static bool key_parse(const char *word, enum watch_key *out)
{
    for (unsigned i = 0; i < WATCH_NKEYS; i++)
        if (strcmp(word, watch_keys[i]) == 0) {
            *out = (enum watch_key)i;
            return true;
        }
    complain("-s '%s': pid, live, goal, reclaimed, rate, pause or cpu", word);
    return false;
}

static bool option_take(struct ask *ask, int c, const char *value)
{
    char *end;
    switch (c) {
    case 'b':
        ask->batch = true;
        return true;
    case 's':
        return key_parse(value, &ask->key);
    case 'n':
        if (number_parse(value, 1, UINT32_MAX, &ask->count))
            return true;
        complain("-n '%s': a number from 1 on", value);
        return false;
    default:
        ask->delay = strtod(value, &end);
        if (*end == 0 && ask->delay >= 0.1 && ask->delay <= 3600)
            return true;
        complain("-d '%s': seconds, 0.1 to 3600", value);
        return false;
    }
}

int top_main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"help", no_argument, NULL, 'h'},        {"batch", no_argument, NULL, 'b'},
        {"count", required_argument, NULL, 'n'}, {"delay", required_argument, NULL, 'd'},
        {"sort", required_argument, NULL, 's'},  {0}};
    struct ask ask = {.key = WATCH_RATE, .delay = 2};
    struct watch w = {0};
    int c;
    setlocale(LC_CTYPE, "");
    while ((c = getopt_long(argc, argv, "bn:d:s:h", longs, NULL)) != -1) {
        if (c == 'h')
            return usage_show();
        if (c == '?')
            return usage_error();
        if (!option_take(&ask, c, optarg))
            return COMMAND_FAILED;
    }
    if (optind < argc) {
        complain("'%s' is too much", argv[optind]);
        return usage_error();
    }
    bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (!ask.batch && terminal && screen_run(&w, ask.key, ask.delay, ask.count)) {
        free(w.row);
        return COMMAND_OK;
    }
    if (!terminal && !ask.batch && !ask.count)
        ask.count = 1;
    tables_print(&ask);
    return COMMAND_OK;
}
