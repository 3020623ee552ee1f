// A running process, as /proc shows it to anybody.
#ifndef PROCESS_H
#define PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct process {
    int pid;
    int inner;                  // its id as it sees it itself: of the innermost namespace
    uid_t real, effective;      // whose it is
    char state;                 // as in /proc/PID/stat
    char name[64];              // of its first thread
    unsigned long long started; // clock ticks since boot: with the id, which process it is
    uint64_t resident;          // bytes
};

// False, with the reason in `why`: there is no such process, it is a thread of another one, it has
// ended, or the kernel's own.
bool process_read(int pid, struct process *out, char *why, size_t room);

// May this user ask it? False with the reason.
bool process_mine(const struct process *p, char *why, size_t room);

// Its command line in one line, control characters shown as '?'; its name in brackets if there is
// none.
void process_command(const struct process *p, char *out, size_t room);

// Is libsalvage.so mapped in it? -1: that can't be seen (errno).
int process_preloaded(int pid);

// Why it doesn't answer although it exists and is ours.
void process_explain(const struct process *p, char *why, size_t room);

#endif
