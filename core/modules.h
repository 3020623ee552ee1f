// The load map: which files' code is mapped where, since when and until when.
#ifndef SV_MODULES_H
#define SV_MODULES_H

#include <stdbool.h>
#include <stdint.h>

#include "record.h"

// Looks at what is mapped now and remembers it. What was there at the last look and isn't now was
// unloaded in between. Before and after a library is unloaded, and before a record is written.
// `procfd`: /proc. Any thread, no lock held but the cycle's.
void sv_modules_look(int procfd);

// A line for each module that was ever seen.
void sv_modules_put(struct sv_record *r);

// Adds to the record where an address lies, if in a module: its path and the offset from its start.
bool sv_modules_place(struct sv_record *r, uintptr_t address);

// In a forked child: another thread may have been looking.
void sv_modules_fork_child(void);

#endif
