// A record as text, JSON, SARIF, pprof, collapsed stacks, valgrind's XML or HTML.
#ifndef REPORT_H
#define REPORT_H

#include "raw.h"

enum report_format {
    REPORT_TEXT,
    REPORT_JSON,
    REPORT_SARIF,
    REPORT_PPROF,
    REPORT_COLLAPSED,
    REPORT_XML,
    REPORT_HTML,
    REPORT_RAW
};

struct frame {           // a source-level frame: one address gives several when calls were inlined
    uint64_t address;    // in the call: one less than a recorded return address
    uint64_t offset;     // the same in the module's file, as addr2line takes it
    const char *module;  // path, NULL: in none
    const char *name;    // demangled, NULL: unknown
    const char *linkage; // as in the symbol table, NULL: unknown
    const char *file;    // NULL: unknown
    unsigned line;
    bool inlined;  // into the next frame
    bool nearest;  // the name is only the nearest exported one before the address
    uint64_t into; // bytes from that name's address; of no meaning where DWARF had the name
};

struct frames {
    struct frame *frame;
    size_t n;
};

struct report_site { // a site of the record, symbolised and judged
    const struct raw_site *raw;
    struct frames frames;
    const char *suppressed; // the suppression that takes it out, NULL: none
};

struct report {
    const struct raw_record *record;
    struct report_site *sites; // as in record->sites
    size_t nsites;
    bool objects;                   // the user wants each object's address
    bool possible, abandoned, live; // classes shown beside direct and indirect
    bool color;                     // of a text on a terminal
};

struct report_options {
    enum report_format format;
    const char *const *suppressions; // paths
    size_t nsuppressions;
    bool gen_suppressions, objects, possible, abandoned, live, debuginfod, color;
};

bool report_format_parse(const char *word, enum report_format *out);

// Symbolises, judges and writes all records of the file. Returns how many leaked objects
// (direct and indirect, and the classes asked for but live) are not suppressed, or -1: a line on
// stderr says what went wrong; what could be read is written nevertheless. Errors of writing stay
// in `out`.
long report_file(FILE *in, const char *name, FILE *out, const struct report_options *options);

// One writer for each format. `first`, `last`: of the file's records.
void report_text(const struct report *r, FILE *out);
void report_json(const struct report *const *r, size_t n, FILE *out);
void report_sarif(const struct report *const *r, size_t n, FILE *out);
void report_pprof(const struct report *const *r, size_t n, FILE *out);
void report_collapsed(const struct report *r, FILE *out);
void report_xml(const struct report *const *r, size_t n, FILE *out);
void report_html(const struct report *const *r, size_t n, FILE *out);

#endif
