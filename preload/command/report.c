// From a file of raw records to a report: all records are read, symbolised and held against the
// suppressions before the first byte is written, since some formats begin with what comes last.
//
// Several records of one process are its state at several times, and what is lost stays lost: the
// later one supersedes the earlier. Text, JSON and HTML show all of them; formats whose readers add
// up get the last of each process, and so does the count of leaks. A record without a verdict
// supersedes nothing.
#include "report.h"

#include <stdlib.h>
#include <string.h>

#include "render.h"
#include "suppress.h"
#include "symbols.h"

struct file { // of records, and what was made of them
    struct raw_record **records;
    struct report *reports;
    size_t n, capacity;
    const struct report **last; // of each process
    size_t nlast;
    struct symbols *symbols;
    struct suppressions *suppressions;
    bool failed; // something was told on stderr that makes the result doubtful
};

bool report_format_parse(const char *word, enum report_format *out)
{
    static const char *const words[] = {
        [REPORT_TEXT] = "text",           [REPORT_JSON] = "json",
        [REPORT_SARIF] = "sarif",         [REPORT_PPROF] = "pprof",
        [REPORT_COLLAPSED] = "collapsed", [REPORT_XML] = "xml",
        [REPORT_HTML] = "html",           [REPORT_RAW] = "raw",
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        if (strcmp(word, words[i]) == 0) {
            *out = (enum report_format)i;
            return true;
        }
    }
    return false;
}

// ---- reading -----------------------------------------------------------------------------------

static void records_read(struct file *f, FILE *in, const char *name)
{
    struct raw_reader reader = {.in = in, .name = name};
    struct raw_record *record;
    bool failed;
    while ((record = raw_read_next(&reader, &failed))) {
        f->records = room_more(f->records, f->n, &f->capacity, sizeof(struct raw_record *));
        f->records[f->n++] = record;
    }
    raw_reader_end(&reader);
    f->failed |= failed;
    if (f->n == 0 && !failed) {
        fprintf(stderr, "salvage: %s: empty: no record in it\n", name);
        f->failed = true;
    }
}

static struct report report_make(struct file *f, const struct raw_record *record,
                                 const struct report_options *options)
{
    struct report r = {
        .record = record,
        .sites = room_new(record->nsites, sizeof(*r.sites)),
        .nsites = record->nsites,
        .objects = options->objects,
        .possible = options->possible,
        .abandoned = options->abandoned,
        .live = options->live,
        .color = options->color,
    };
    for (size_t i = 0; i < r.nsites; i++) {
        const struct raw_site *raw = &record->sites[i];
        struct report_site *site = &r.sites[i];
        site->raw = raw;
        if (raw->stack != SIZE_MAX)
            site->frames =
                symbols_stack(f->symbols, record, &record->stacks[raw->stack], raw->last);
        if (raw->class < RAW_HIDDEN)
            site->suppressed = suppress_match(f->suppressions, raw->class, &site->frames);
    }
    return r;
}

// An exec'd program has its predecessor's number, but not its name, or it is younger.
static bool record_supersedes(const struct raw_record *late, const struct raw_record *early)
{
    return !late->failed && late->pid == early->pid && strcmp(late->exe, early->exe) == 0 &&
           late->uptime >= early->uptime;
}

static void last_find(struct file *f)
{
    f->last = room_new(f->n, sizeof(struct report *));
    for (size_t i = 0; i < f->n; i++) {
        bool last = true;
        for (size_t j = i + 1; j < f->n && last; j++)
            last = !record_supersedes(f->records[j], f->records[i]);
        if (last)
            f->last[f->nlast++] = &f->reports[i];
    }
}

static void reports_make(struct file *f, const struct report_options *options)
{
    f->symbols = symbols_open(options->debuginfod);
    f->suppressions = suppress_open();
    for (size_t i = 0; i < options->nsuppressions; i++)
        suppress_read(f->suppressions, options->suppressions[i]);
    f->reports = room_new(f->n, sizeof(*f->reports));
    for (size_t i = 0; i < f->n; i++)
        f->reports[i] = report_make(f, f->records[i], options);
    last_find(f);
}

// ---- writing -----------------------------------------------------------------------------------

static void reports_write(const struct file *f, enum report_format format, FILE *out)
{
    const struct report **all = room_new(f->n, sizeof(struct report *));
    for (size_t i = 0; i < f->n; i++)
        all[i] = &f->reports[i];
    switch (format) {
    case REPORT_TEXT:
        for (size_t i = 0; i < f->n; i++)
            report_text(all[i], out);
        break;
    case REPORT_JSON:
        report_json(all, f->n, out);
        break;
    case REPORT_SARIF:
        report_sarif(f->last, f->nlast, out);
        break;
    case REPORT_PPROF:
        report_pprof(f->last, f->nlast, out);
        break;
    case REPORT_COLLAPSED:
        for (size_t i = 0; i < f->nlast; i++)
            report_collapsed(f->last[i], out);
        break;
    case REPORT_XML:
        report_xml(f->last, f->nlast, out);
        break;
    case REPORT_HTML:
        report_html(all, f->n, out);
        break;
    case REPORT_RAW: // was copied
        break;
    }
    free(all);
}

// Ready lines: after a text, which people cut at will; elsewhere they would break the format.
static void suppressions_write(const struct file *f, const struct report_options *options,
                               FILE *out)
{
    FILE *to = options->format == REPORT_TEXT ? out : stderr;
    if (options->gen_suppressions)
        suppress_generate(f->last, f->nlast, to);
}

static long leaks_count(struct file *f)
{
    uint64_t leaks = 0;
    bool verdict = false;
    for (size_t i = 0; i < f->nlast; i++) {
        const struct raw_record *record = f->last[i]->record;
        verdict |= !record->failed;
        if (record->failed)
            fprintf(stderr, "salvage: process %" PRIu64 ": no verdict: %s\n", record->pid,
                    record->failed);
        leaks += report_sum(f->last[i]).objects;
    }
    if (f->failed || !verdict)
        return -1;
    if (leaks == 0 || f->n == 0)
        return 0;
    return leaks < INT32_MAX ? (long)leaks : INT32_MAX;
}

static void file_free(struct file *f)
{
    for (size_t i = 0; i < f->n; i++) {
        for (size_t j = 0; f->reports && j < f->reports[i].nsites; j++)
            free(f->reports[i].sites[j].frames.frame);
        if (f->reports)
            free(f->reports[i].sites);
        raw_free(f->records[i]);
    }
    if (f->symbols)
        symbols_close(f->symbols);
    if (f->suppressions)
        suppress_close(f->suppressions);
    free(f->records);
    free(f->reports);
    free(f->last);
}

// The whole file, copied as it is; to be read from the copy.
static void file_copy(FILE *in, FILE *out, struct text *copy)
{
    char part[65536];
    size_t n;
    while ((n = fread(part, 1, sizeof(part), in)) > 0) {
        fwrite(part, 1, n, out);
        text_add(copy, part, n);
    }
}

long report_file(FILE *in, const char *name, FILE *out, const struct report_options *options)
{
    struct file f = {.n = 0};
    struct text copy = {0};
    FILE *from = in;
    if (options->format == REPORT_RAW) {
        file_copy(in, out, &copy);
        from = copy.n ? fmemopen(copy.s, copy.n, "r") : in;
    }
    if (from)
        records_read(&f, from, name);
    long leaks = -1;
    if (f.n) {
        reports_make(&f, options);
        reports_write(&f, options->format, out);
        suppressions_write(&f, options, out);
        leaks = leaks_count(&f);
        if (leaks >= 0)
            suppress_unused_tell(f.suppressions);
    }
    if (from && from != in)
        fclose(from);
    free(copy.s);
    file_free(&f);
    return leaks;
}
