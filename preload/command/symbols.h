// From recorded addresses to functions, files and lines, out of the process that they belong to.
#ifndef SYMBOLS_H
#define SYMBOLS_H

#include "report.h"

struct symbols;

// debuginfod: files that are nowhere on this machine are asked for from the servers that
// DEBUGINFOD_URLS names. Otherwise that variable is taken out of the environment, since libdwfl
// would follow it unasked.
struct symbols *symbols_open(bool debuginfod);

// The source-level frames of a stack, innermost first, of an allocation made at that time (seconds
// since start). The array is the caller's to free; what it points at lives until
// symbols_close.
struct frames symbols_stack(struct symbols *symbols, const struct raw_record *record,
                            const struct raw_stack *stack, double when);

void symbols_close(struct symbols *symbols);

#endif
