// Suppressions in LeakSanitizer's format and in valgrind's.
#ifndef SUPPRESS_H
#define SUPPRESS_H

#include "report.h"

struct suppressions;

extern const char suppress_builtin[]; // the text of those that are always there

struct suppressions *suppress_open(void);

// Adds a file's. A line that is wrong is named on stderr and passed over; so is a file that can't
// be read, since a report without suppressions is better than none. false: something was wrong.
bool suppress_read(struct suppressions *all, const char *path);

// What takes the stack out, or NULL; counts as a use of it. The text lives until suppress_close.
const char *suppress_match(struct suppressions *all, enum raw_class class,
                           const struct frames *frames);

// One line on stderr for each from a file that suppress_match never returned.
void suppress_unused_tell(const struct suppressions *all);

// Lines that would suppress what the reports show: LeakSanitizer's, each once, under the exact
// stacks as comments in valgrind's format.
void suppress_generate(const struct report *const *r, size_t n, FILE *out);

void suppress_close(struct suppressions *all);

#endif
