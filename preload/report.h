// A leak check and its report: where, in which format, by whom.
#ifndef SV_REPORT_H
#define SV_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "leaks.h"

struct sv_report {
    struct sv_leaks_sums sums; // what was found, suppressed or not
    bool leaks;                // some are not suppressed
};

// Notes what must be known of the start of the process: where names are meant from, what stderr is,
// where the command lies. Options read; once; mode=leaks.
void sv_report_init(void);

// Checks, and writes what was found where the option `report` says. Nothing is written when nothing
// was lost, but for raw records. sp and abandoned are struct sv_leaks_ask's. 0, or -errno: there
// was no verdict, or the calling thread is making a report already. Any thread, a worker too,
// outside of our locks; in a signal handler, if it interrupted none of them. errno stays; signals
// of the program's wait during the check.
int sv_report_make(enum sv_leaks_reason reason, uintptr_t sp, bool abandoned,
                   struct sv_report *out);

// Is the calling thread making one?
bool sv_report_here(void);

// For sv_cycle_on_time: the reports that the options `every` and `rss` ask for. The driver.
uint64_t sv_report_time(void);

// The program changes its root directory: keeps open what reports will need.
void sv_report_chroot(void);

// In a forked child.
void sv_report_fork_child(void);

#endif
