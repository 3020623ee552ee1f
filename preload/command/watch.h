// The processes under the library that this user may ask, looked at again and again.
#ifndef WATCH_H
#define WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "process.h"
#include "reading.h"

#define WATCH_SAMPLES 32

struct watched {
    struct process process;
    char user[16];
    char command[256];
    bool answered;            // the rest is known
    struct reading r;         // of the last look
    double rate;              // bytes lost a minute, over a minute at most; NAN: not known
    double cpu;               // the collector's part of one processor since the last look
    double pause;             // seconds: 99 of 100 stops weren't longer
    struct {                  // the last looks, oldest first
        double at, lost, cpu; // seconds, bytes, seconds
    } sample[WATCH_SAMPLES];
    size_t samples;
    bool seen; // in this look
};

struct watch {
    struct watched *row;
    size_t n, room;
    unsigned hidden; // processes of others, which can't be asked
};

// Looks again: rows come, go and change their numbers. Takes what the processes take to answer.
void watch_look(struct watch *w);

enum watch_key {
    WATCH_PID,
    WATCH_LIVE,
    WATCH_GOAL,
    WATCH_RECLAIMED,
    WATCH_RATE,
    WATCH_PAUSE,
    WATCH_CPU,
    WATCH_NKEYS
};
extern const char *const watch_keys[WATCH_NKEYS];

// Largest first, but process ids smallest first.
void watch_sort(struct watch *w, enum watch_key key);

// One line of the table, without a newline; row NULL: its head. Cut at `width` columns.
void watch_line(const struct watched *row, char *out, size_t room, int width);

#endif
