// A checker for the OpenMetrics text format 1.0: as much of the standard as a scraper refuses a
// text for. Each family's TYPE comes first and once, its samples stand together and have the
// suffixes of its type, units end names, numbers and labels have their form, no sample comes twice,
// the buckets of a histogram ascend to +Inf and agree with its count, and "# EOF" is the last line.
#ifndef OPENMETRICS_H
#define OPENMETRICS_H

#include <regex.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPENMETRICS_NAME "[a-zA-Z_][a-zA-Z0-9_]*"
#define OPENMETRICS_LABEL OPENMETRICS_NAME "=\"([^\"\\\n]|\\\\.)*\""
#define OPENMETRICS_SAMPLE                                                                         \
    "^(" OPENMETRICS_NAME ")(\\{(" OPENMETRICS_LABEL "(," OPENMETRICS_LABEL ")*)?\\})? "           \
    "([0-9]+(\\.[0-9]+)?|\\+Inf)$"
#define OPENMETRICS_META "^# (TYPE|UNIT|HELP) (" OPENMETRICS_NAME ") (.+)$"

struct openmetrics {
    regex_t meta, sample;
    char family[128], type[32];
    char *families;         // "\nname\n", one after the other
    char *samples;          // the same of names with their labels
    char series[256];       // the histogram's labels without le
    double end, count;      // of its last bucket
    bool buckets, infinite; // there are some; the last one was +Inf
    char why[512];
};

static void openmetrics_part(char *out, size_t room, const char *line, const regmatch_t *m)
{
    size_t n = m->rm_so < 0 ? 0 : (size_t)(m->rm_eo - m->rm_so);
    snprintf(out, room, "%.*s", (int)n, n ? line + m->rm_so : "");
}

// Adds "name" to a set; false: it was there.
static bool openmetrics_new(char *set, const char *name)
{
    char item[512];
    snprintf(item, sizeof item, "\n%s\n", name);
    if (strstr(set, item))
        return false;
    strcat(set, item);
    return true;
}

static const char *openmetrics_meta(struct openmetrics *o, const char *line, const regmatch_t *m)
{
    char kind[8], name[128], value[256];
    openmetrics_part(kind, sizeof kind, line, &m[1]);
    openmetrics_part(name, sizeof name, line, &m[2]);
    openmetrics_part(value, sizeof value, line, &m[3]);
    if (strcmp(kind, "TYPE") == 0) {
        static const char *const types[] = {"counter", "gauge", "histogram", "info", "unknown"};
        bool known = false;
        for (unsigned i = 0; i < sizeof types / sizeof *types; i++)
            known |= strcmp(value, types[i]) == 0;
        if (o->buckets && !o->infinite)
            return "a histogram without +Inf";
        o->buckets = false;
        snprintf(o->family, sizeof o->family, "%s", name);
        snprintf(o->type, sizeof o->type, "%s", value);
        return !known ? "no type" : openmetrics_new(o->families, name) ? NULL : "declared twice";
    }
    if (strcmp(name, o->family) != 0)
        return "not the family of the last TYPE";
    if (strcmp(kind, "UNIT") == 0) {
        size_t n = strlen(name), u = strlen(value);
        if (n <= u || name[n - u - 1] != '_' || strcmp(name + n - u, value) != 0)
            return "the unit doesn't end the name";
    }
    return NULL;
}

// One sample of a histogram: `labels` with the le taken out is its series.
static const char *openmetrics_bucket(struct openmetrics *o, const char *suffix, char *labels,
                                      double value)
{
    char *le = strstr(labels, "le=\"");
    double end = le ? strtod(le + 4, NULL) : 0;
    bool infinite = le && strncmp(le + 4, "+Inf\"", 5) == 0;
    if (le)
        le[le > labels ? -1 : 0] = 0;
    bool next = o->buckets && strcmp(labels, o->series) == 0;
    if (strcmp(suffix, "_bucket") != 0) {
        if (!next || !o->infinite)
            return "a sum or count without its buckets";
        return strcmp(suffix, "_count") != 0 || value == o->count ? NULL : "not the last bucket";
    }
    if (!le)
        return "a bucket without le";
    if (!next && o->buckets && !o->infinite)
        return "a histogram without +Inf";
    if (next && (o->infinite || (!infinite && end <= o->end)))
        return "ends of buckets don't ascend";
    if (next && value < o->count)
        return "counts of buckets descend";
    snprintf(o->series, sizeof o->series, "%s", labels);
    o->buckets = true;
    o->infinite = infinite;
    o->end = end;
    o->count = value;
    return NULL;
}

static const char *openmetrics_sample(struct openmetrics *o, const char *line, const regmatch_t *m)
{
    static const struct {
        const char *type, *suffix;
    } suffixes[] = {{"counter", "_total"},    {"gauge", ""},           {"unknown", ""},
                    {"histogram", "_bucket"}, {"histogram", "_count"}, {"histogram", "_sum"},
                    {"info", "_info"}};
    char name[128], labels[256], value[64], whole[512];
    size_t n = strlen(o->family);
    openmetrics_part(name, sizeof name, line, &m[1]);
    openmetrics_part(labels, sizeof labels, line, &m[3]);
    openmetrics_part(value, sizeof value, line, &m[7]);
    snprintf(whole, sizeof whole, "%s{%s}", name, labels);
    if (!openmetrics_new(o->samples, whole))
        return "this sample was there already";
    bool fits = false;
    for (unsigned i = 0; n && i < sizeof suffixes / sizeof *suffixes; i++)
        fits |= strcmp(o->type, suffixes[i].type) == 0 && strncmp(name, o->family, n) == 0 &&
                strcmp(name + n, suffixes[i].suffix) == 0;
    if (!fits)
        return "not a sample of the family declared last";
    if (strcmp(o->type, "info") == 0 && strcmp(value, "1") != 0)
        return "an info that isn't 1";
    if (strcmp(o->type, "histogram") == 0)
        return openmetrics_bucket(o, name + n, labels, strtod(value, NULL));
    return NULL;
}

static const char *openmetrics_line(struct openmetrics *o, const char *line)
{
    regmatch_t m[10];
    if (regexec(&o->meta, line, 10, m, 0) == 0)
        return openmetrics_meta(o, line, m);
    if (regexec(&o->sample, line, 10, m, 0) == 0)
        return openmetrics_sample(o, line, m);
    return "neither metadata nor a sample";
}

// NULL when the text is well formed, else what is wrong with it.
static const char *openmetrics_check(const char *text)
{
    static char why[512];
    static const char end[] = "# EOF\n";
    struct openmetrics o = {0};
    size_t n = strlen(text);
    if (n < sizeof end - 1 || strcmp(text + n - (sizeof end - 1), end) != 0)
        return "the text doesn't end with # EOF";
    if (regcomp(&o.meta, OPENMETRICS_META, REG_EXTENDED) ||
        regcomp(&o.sample, OPENMETRICS_SAMPLE, REG_EXTENDED))
        return "the checker's own expressions";
    o.families = calloc(3, n);
    o.samples = calloc(3, n);
    char *copy = strndup(text, n - (sizeof end - 1)), *at = copy;
    const char *error = NULL;
    for (char *next; !error && *at; at = next + 1) {
        next = strchr(at, '\n');
        *next = 0;
        error = openmetrics_line(&o, at);
        if (error)
            snprintf(why, sizeof why, "%s: %.400s", error, at);
    }
    if (!error && o.buckets && !o.infinite)
        error = strcpy(why, "a histogram without +Inf");
    regfree(&o.meta);
    regfree(&o.sample);
    free(copy);
    free(o.families);
    free(o.samples);
    return error ? why : NULL;
}

// The value of a sample, by name and labels as they are written; -1 when there is none.
static double openmetrics_value(const char *text, const char *sample)
{
    size_t n = strlen(sample);
    for (const char *line = text; *line; line = strchr(line, '\n') + 1)
        if (strncmp(line, sample, n) == 0 && line[n] == ' ')
            return strtod(line + n, NULL);
    return -1;
}

#endif
