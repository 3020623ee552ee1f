// How a report is to look and where it goes: the options that `leaks` and `report` share.
#ifndef RENDERING_H
#define RENDERING_H

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>

#include "report.h"

#define RENDERING_SUPPRESSIONS 32

struct rendering {
    struct report_options options;
    const char *output; // path, NULL: a stream
    const char *paths[RENDERING_SUPPRESSIONS];
};

// The long options, to be put into a verb's table before its own.
#define RENDERING_FORMAT 1000
#define RENDERING_OUTPUT 1001
#define RENDERING_SUPPRESS 1002
#define RENDERING_GEN 1003
#define RENDERING_OBJECTS 1004
#define RENDERING_POSSIBLE 1005
#define RENDERING_ABANDONED 1006
#define RENDERING_LIVE 1007
#define RENDERING_DEBUGINFOD 1008
#define RENDERING_LONGS                                                                            \
    {"format", required_argument, NULL, RENDERING_FORMAT},                                         \
        {"output", required_argument, NULL, RENDERING_OUTPUT},                                     \
        {"suppressions", required_argument, NULL, RENDERING_SUPPRESS},                             \
        {"gen-suppressions", no_argument, NULL, RENDERING_GEN},                                    \
        {"objects", no_argument, NULL, RENDERING_OBJECTS},                                         \
        {"possible", no_argument, NULL, RENDERING_POSSIBLE},                                       \
        {"abandoned", no_argument, NULL, RENDERING_ABANDONED},                                     \
        {"live", no_argument, NULL, RENDERING_LIVE},                                               \
    {                                                                                              \
        "debuginfod", no_argument, NULL, RENDERING_DEBUGINFOD                                      \
    }

// Takes one of them: what getopt_long returned. False: it is none of them, or after a line that
// says what is wrong with its value (*failed).
bool rendering_option(struct rendering *r, int option, const char *value, bool *failed);

// One more suppressions file; false after a line.
bool rendering_suppress(struct rendering *r, const char *path);

// Renders the records; `stream` when no --output was given. The number of unsuppressed leaks, or -1
// after a line.
long rendering_run(const struct rendering *r, FILE *in, const char *name, FILE *stream);

// The output can be written: asked before a program is run for an hour. False after a line.
bool rendering_ready(const struct rendering *r, FILE *stream);

#endif
