// One reading of a process's statistics: the OpenMetrics text of the link, as numbers.
#ifndef READING_H
#define READING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define READING_BUCKETS 64
#define READING_REASONS 16

struct reading_pauses { // a histogram of stops
    struct {
        double le;      // seconds, INFINITY for the last
        uint64_t count; // of stops that were not longer
    } bucket[READING_BUCKETS];
    size_t n;
    uint64_t count;
    double sum; // seconds
};

struct reading {
    char mode[16];
    double uptime; // seconds
    uint64_t cycles, abandoned;
    uint64_t live, goal; // bytes; goal UINT64_MAX: none
    uint64_t allocated, freed, reclaimed, metadata, released;
    uint64_t dirty;    // pages
    uint64_t leaked;   // bytes that are lost now, mode=leaks
    bool leaked_known; // the process tells
    char barrier[16];  // "": before the first collection
    double cpu[5];     // seconds: see reading_cpu_names
    struct {
        char name[64];
        uint64_t count;
    } reason[READING_REASONS]; // for which collections were given up
    size_t reasons;
    struct reading_pauses prepare, termination;
};

extern const char *const reading_cpu_names[5];

// Reads the text to its end; false: it isn't whole.
bool reading_parse(FILE *text, struct reading *out);

// Of that many stops in a hundred, how long the longest took at most, seconds; 0: there were none.
double reading_pause(const struct reading_pauses *p, double percent);

// All processor time of the collector, seconds.
double reading_cpu(const struct reading *r);

// "12.3 MiB".
const char *bytes_text(uint64_t bytes, char *out, size_t room);

#endif
