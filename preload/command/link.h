// The command's end of the link to a running process (preload/link.c has the other, and what can be
// asked).
#ifndef LINK_H
#define LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "process.h"

#define LINK_WHY 512 // bytes that always hold a reason

struct link_answer {
    FILE *text;    // what followed the first line, from its start; the caller's to close
    char mode[16]; // the process's SALVAGE mode
    double uptime; // seconds since it started Salvage
};

// How to wait. tick: called some ten times a second, false: give up; NULL: nobody is asked.
struct link_patience {
    double seconds; // for the whole answer, 0: without end
    bool (*tick)(void *arg);
    void *arg;
};

// Sends the request and reads the answer. False, with the reason in `why` (LINK_WHY bytes).
bool link_ask(const struct process *p, const char *request, const struct link_patience *patience,
              struct link_answer *out, char *why);

// The same for a verb: looks at the process first, shows progress as `what`, complains.
bool link_ask_pid(int pid, const char *request, const char *what, struct link_answer *out);

#endif
