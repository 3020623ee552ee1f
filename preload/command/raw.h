// A raw record, read: what libsalvage wrote about one process (docs/raw-record.md).
#ifndef RAW_H
#define RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum raw_class {
    RAW_DIRECT,
    RAW_INDIRECT,
    RAW_POSSIBLE,
    RAW_ABANDONED,
    RAW_HIDDEN,
    RAW_LIVE,
    RAW_ALLOCATED
};

const char *raw_class_word(enum raw_class class); // as in the record

struct raw_module {
    uint64_t start, end; // addresses of its mappings
    uint64_t bias;       // address minus this is the address in the file
    uint64_t from, to;   // tenths of a second: when it was there; to == UINT64_MAX: still is
    char *build_id;      // hexadecimal, NULL: none
    char *path;
};

struct raw_stack {
    uint64_t id;
    size_t n;
    uint64_t *frames; // return addresses, innermost first
    bool *exact;      // of each: an interrupted address, not a return address
};

struct raw_site {
    size_t stack; // index into stacks; SIZE_MAX: no stack
    enum raw_class class;
    uint64_t objects, bytes;
    double first, last; // seconds since start: oldest and youngest allocation
    uint64_t cycle;     // in which the first of them was found
    double found;       // seconds since start of that cycle
    double growth;      // bytes a minute
};

struct raw_object {
    uint64_t address, bytes;
    size_t site; // index into sites
    double when; // seconds since start
    char *held;  // possible: the place of the word that holds it; NULL otherwise
};

struct raw_growth { // a point of the history of a site
    size_t site;
    double when;
    uint64_t objects, bytes;
};

struct raw_record {
    uint64_t pid, ppid, cycle, sample, depth;
    char *exe, *cmdline, *reason, *version;
    double when;   // Unix time of the check
    double uptime; // seconds
    uint64_t live_bytes, live_objects, allocated_bytes, allocated_objects, freed_bytes;
    char *failed; // why no verdict could be reached; NULL: one was
    bool cut;     // it has no end: what is here may not be all
    struct raw_module *modules;
    size_t nmodules;
    struct raw_stack *stacks;
    size_t nstacks;
    struct raw_site *sites;
    size_t nsites;
    struct raw_object *objects;
    size_t nobjects;
    struct raw_growth *growth;
    size_t ngrowth;
};

struct raw_reader {
    FILE *in;
    const char *name; // for messages
    size_t line;      // number of the last line read
    char *ahead;      // the first line of the next record, read when one had no end; NULL: none
    size_t nahead;    // bytes in it
};

// Reads one record; NULL at the end of the file, or with one line on stderr that names the file and
// the line that is wrong and *failed set. Several may follow one another in a file. One that was
// cut off is told on stderr and returned as far as it goes.
struct raw_record *raw_read_next(struct raw_reader *reader, bool *failed);
void raw_reader_end(struct raw_reader *reader); // frees what it holds; the file stays open

// The same for a file with a single record.
struct raw_record *raw_read(FILE *in, const char *name, bool *failed);
void raw_free(struct raw_record *record);

// Which module held the address at that time (seconds since start): the last one that had come by
// then, or, since clocks are read a little apart, the first that came later. NULL: none ever did.
const struct raw_module *raw_module_find(const struct raw_record *record, uint64_t address,
                                         double when);

#endif
