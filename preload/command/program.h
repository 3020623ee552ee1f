// A program that is to be started under the library.
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdbool.h>

// Everything that -o gave, in order: what SALVAGE gets after what the environment has there.
struct program_options {
    char *text; // joined by commas, "" or NULL: none
};

// Takes one -o; false after a line: it isn't key=value.
bool program_option(struct program_options *options, const char *item);

// The last value that the environment's SALVAGE and then these options give a key, to be freed;
// NULL: none.
char *program_value(const struct program_options *options, const char *key);

// Finds the program as a shell does, and looks whether the library can work in it. 0, or the exit
// status after a line that says why not.
int program_check(const char *name);

// Sets LD_PRELOAD and SALVAGE in this process's environment; `last` comes after all options, NULL:
// nothing. 0 or the exit status after a line.
int program_prepare(const struct program_options *options, const char *last);

// Becomes the program. Returns the exit status, after a line.
int program_exec(char **argv);

#endif
