// Reading raw records (docs/raw-record.md), a line at a time. A line whose first word is known must
// be right to the last word that this version knows, or the file is refused with the line's number:
// half-understood numbers would be shown as truth. Words after those and lines with other first
// words belong to later versions and are passed over.
//
// A record without its `end` was cut off (the process was killed, the disk was full): what came
// whole is kept, and so that no number is half read, a last line without its newline isn't looked
// at. Sites name their stacks, and objects and history their sites, by keys in any order; they are
// matched when the record has ended, and what names nothing is dropped.
#include "raw.h"

#include <stdlib.h>
#include <string.h>

#include "room.h"

#define VERSION 1

struct key { // by what lines refer to one another
    uint64_t stack;
    enum raw_class class;
    size_t index; // in the record's array
};

struct parse { // one record on its way
    struct raw_record *record;
    size_t modules, stacks, sites, objects, growth; // capacities
    struct key *of_site, *of_object, *of_growth;    // as the arrays
    size_t sites_keys, objects_keys, growth_keys;   // capacities
    bool ended;
};

static const char *const class_words[] = {
    [RAW_DIRECT] = "direct",       [RAW_INDIRECT] = "indirect", [RAW_POSSIBLE] = "possible",
    [RAW_ABANDONED] = "abandoned", [RAW_HIDDEN] = "hidden",     [RAW_LIVE] = "live",
    [RAW_ALLOCATED] = "allocated",
};

const char *raw_class_word(enum raw_class class)
{
    return class_words[class];
}

// ---- words -------------------------------------------------------------------------------------

// The next word, ended by a zero byte in place; NULL: none.
static char *word_next(char **at)
{
    char *word = *at;
    if (!word)
        return NULL;
    char *space = strchr(word, ' ');
    if (space)
        *space++ = '\0';
    *at = space;
    return word;
}

static bool decimal_parse(const char *s, uint64_t *out)
{
    uint64_t v = 0;
    if (!*s)
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9' || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
            return false;
    }
    *out = v;
    return true;
}

// 12, 12.3, -0.5; without strtod, whose decimal point is the locale's.
static bool fixed_parse(const char *s, double *out)
{
    bool negative = *s == '-';
    s += negative;
    double v = 0, unit = 1;
    bool point = false, digit = false;
    for (; *s; s++) {
        if (*s == '.' && digit && !point) {
            point = true;
            digit = false; // one must follow
            continue;
        }
        if (*s < '0' || *s > '9')
            return false;
        digit = true;
        if (point)
            v += (*s - '0') * (unit /= 10);
        else
            v = v * 10 + (*s - '0');
    }
    *out = negative ? -v : v;
    return digit && v < 1e19;
}

static bool hex_parse(const char *s, uint64_t *out)
{
    if (s[0] != '0' || s[1] != 'x' || !s[2] || strlen(s + 2) > 16)
        return false;
    if (s[2 + strspn(s + 2, "0123456789abcdefABCDEF")])
        return false;
    *out = strtoull(s + 2, NULL, 16);
    return true;
}

// Takes the escapes out in place. false: one is none, or stands for a zero byte.
static bool text_unescape(char *s)
{
    char *to = s;
    for (; *s; s++) {
        if (*s != '%') {
            *to++ = *s;
            continue;
        }
        char digits[5] = {'0', 'x'};
        uint64_t byte;
        if (!s[1] || !s[2])
            return false;
        memcpy(digits + 2, s + 1, 2);
        if (!hex_parse(digits, &byte) || byte == 0)
            return false;
        *to++ = (char)byte;
        s += 2;
    }
    *to = '\0';
    return true;
}

static bool decimal_next(char **at, uint64_t *out)
{
    char *w = word_next(at);
    return w && decimal_parse(w, out);
}

static bool fixed_next(char **at, double *out)
{
    char *w = word_next(at);
    return w && fixed_parse(w, out);
}

static bool hex_next(char **at, uint64_t *out)
{
    char *w = word_next(at);
    return w && hex_parse(w, out);
}

// `-` is the empty text, and so is an empty word, or none at the end of a line.
static bool text_next(char **at, char **out)
{
    char *w = word_next(at);
    if (w && strcmp(w, "-") == 0)
        w = NULL;
    if (w && !text_unescape(w))
        return false;
    free(*out);
    *out = room_text(w ? w : "", w ? strlen(w) : 0);
    return true;
}

static bool class_next(char **at, enum raw_class *out)
{
    char *w = word_next(at);
    for (unsigned i = 0; w && i < sizeof(class_words) / sizeof(*class_words); i++) {
        if (strcmp(w, class_words[i]) == 0) {
            *out = (enum raw_class)i;
            return true;
        }
    }
    return false;
}

// ---- lines -------------------------------------------------------------------------------------

static bool process_line(struct parse *p, char *at)
{
    struct raw_record *r = p->record;
    return decimal_next(&at, &r->pid) && decimal_next(&at, &r->ppid) && text_next(&at, &r->exe) &&
           text_next(&at, &r->cmdline);
}

static bool check_line(struct parse *p, char *at)
{
    struct raw_record *r = p->record;
    return text_next(&at, &r->reason) && fixed_next(&at, &r->when) && fixed_next(&at, &r->uptime) &&
           decimal_next(&at, &r->cycle);
}

static bool recording_line(struct parse *p, char *at)
{
    return decimal_next(&at, &p->record->sample) && decimal_next(&at, &p->record->depth);
}

static bool heap_line(struct parse *p, char *at)
{
    struct raw_record *r = p->record;
    return decimal_next(&at, &r->live_bytes) && decimal_next(&at, &r->live_objects) &&
           decimal_next(&at, &r->allocated_bytes) && decimal_next(&at, &r->allocated_objects) &&
           decimal_next(&at, &r->freed_bytes);
}

static bool failed_line(struct parse *p, char *at)
{
    const char *text = at ? at : "";
    free(p->record->failed);
    p->record->failed = room_text(text, strlen(text));
    return text_unescape(p->record->failed);
}

// Seconds as tenths; UINT64_MAX for `-`.
static bool tenths_next(char **at, uint64_t *out)
{
    char *w = word_next(at);
    double seconds;
    *out = UINT64_MAX;
    if (w && strcmp(w, "-") == 0)
        return true;
    if (!w || !fixed_parse(w, &seconds) || seconds < 0 || seconds > 1e12)
        return false;
    *out = (uint64_t)(seconds * 10 + 0.5);
    return true;
}

static bool module_line(struct parse *p, char *at)
{
    struct raw_record *r = p->record;
    r->modules = room_more(r->modules, r->nmodules, &p->modules, sizeof(*r->modules));
    struct raw_module *m = &r->modules[r->nmodules++];
    *m = (struct raw_module){.start = 0};
    if (!hex_next(&at, &m->start) || !hex_next(&at, &m->end) || !hex_next(&at, &m->bias) ||
        !tenths_next(&at, &m->from) || m->from == UINT64_MAX || !tenths_next(&at, &m->to) ||
        !text_next(&at, &m->build_id) || !text_next(&at, &m->path))
        return false;
    if (!*m->build_id) {
        free(m->build_id);
        m->build_id = NULL;
    }
    return m->start < m->end;
}

static bool stack_line(struct parse *p, char *at)
{
    struct raw_record *r = p->record;
    r->stacks = room_more(r->stacks, r->nstacks, &p->stacks, sizeof(*r->stacks));
    struct raw_stack *s = &r->stacks[r->nstacks++];
    *s = (struct raw_stack){.id = 0};
    if (!decimal_next(&at, &s->id) || s->id == 0)
        return false;
    size_t frames = 0;
    for (const char *c = at; c && *c; c++)
        frames += *c == ' ';
    frames += at && *at;
    s->frames = room_new(frames, sizeof(*s->frames));
    s->exact = room_new(frames, sizeof(*s->exact));
    for (; s->n < frames; s->n++) {
        char *w = word_next(&at);
        s->exact[s->n] = *w == '=';
        if (!hex_parse(w + s->exact[s->n], &s->frames[s->n]))
            return false;
    }
    return true;
}

static struct key *key_add(struct key **keys, size_t n, size_t *capacity)
{
    *keys = room_more(*keys, n, capacity, sizeof(**keys));
    (*keys)[n] = (struct key){.index = n};
    return &(*keys)[n];
}

static bool site_line(struct parse *p, char *at)
{
    struct raw_record *r = p->record;
    struct key *k = key_add(&p->of_site, r->nsites, &p->sites_keys);
    r->sites = room_more(r->sites, r->nsites, &p->sites, sizeof(*r->sites));
    struct raw_site *s = &r->sites[r->nsites++];
    *s = (struct raw_site){.stack = SIZE_MAX};
    if (!decimal_next(&at, &k->stack) || !class_next(&at, &k->class) ||
        !decimal_next(&at, &s->objects) || !decimal_next(&at, &s->bytes) ||
        !fixed_next(&at, &s->first) || !fixed_next(&at, &s->last) || !decimal_next(&at, &s->cycle))
        return false;
    s->class = k->class;
    return fixed_next(&at, &s->found) && fixed_next(&at, &s->growth);
}

static bool growth_line(struct parse *p, char *at)
{
    struct raw_record *r = p->record;
    struct key *k = key_add(&p->of_growth, r->ngrowth, &p->growth_keys);
    r->growth = room_more(r->growth, r->ngrowth, &p->growth, sizeof(*r->growth));
    struct raw_growth *g = &r->growth[r->ngrowth++];
    *g = (struct raw_growth){.site = SIZE_MAX};
    return decimal_next(&at, &k->stack) && class_next(&at, &k->class) &&
           fixed_next(&at, &g->when) && decimal_next(&at, &g->objects) &&
           decimal_next(&at, &g->bytes);
}

static bool object_line(struct parse *p, char *at)
{
    struct raw_record *r = p->record;
    struct key *k = key_add(&p->of_object, r->nobjects, &p->objects_keys);
    r->objects = room_more(r->objects, r->nobjects, &p->objects, sizeof(*r->objects));
    struct raw_object *o = &r->objects[r->nobjects++];
    *o = (struct raw_object){.site = SIZE_MAX};
    if (!hex_next(&at, &o->address) || !decimal_next(&at, &o->bytes) ||
        !decimal_next(&at, &k->stack) || !class_next(&at, &k->class) || !fixed_next(&at, &o->when))
        return false;
    return !at || !*at || text_next(&at, &o->held);
}

static bool end_line(struct parse *p, char *at)
{
    (void)at;
    p->ended = true;
    return true;
}

static const struct {
    const char *word;
    bool (*read)(struct parse *p, char *at);
} lines[] = {
    {"process", process_line}, {"check", check_line},   {"recording", recording_line},
    {"heap", heap_line},       {"failed", failed_line}, {"module", module_line},
    {"stack", stack_line},     {"site", site_line},     {"growth", growth_line},
    {"object", object_line},   {"end", end_line},
};

static bool line_read(struct parse *p, char *line)
{
    char *at = line;
    const char *word = word_next(&at);
    for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
        if (strcmp(word, lines[i].word) == 0)
            return lines[i].read(p, at);
    }
    return true;
}

// ---- keys --------------------------------------------------------------------------------------

static int key_compare(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->stack != y->stack)
        return x->stack < y->stack ? -1 : 1;
    if (x->class != y->class)
        return x->class < y->class ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

// The first of the sorted keys that names the same, as an index; SIZE_MAX: none.
static size_t key_find(const struct key *keys, size_t n, const struct key *wanted)
{
    size_t lo = 0, hi = keys ? n : 0;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        bool before = keys[mid].stack < wanted->stack ||
                      (keys[mid].stack == wanted->stack && keys[mid].class < wanted->class);
        if (before)
            lo = mid + 1;
        else
            hi = mid;
    }
    bool same =
        keys && lo < n && keys[lo].stack == wanted->stack && keys[lo].class == wanted->class;
    return same ? keys[lo].index : SIZE_MAX;
}

static void keys_sort(struct key *keys, size_t n)
{
    if (keys && n)
        qsort(keys, n, sizeof(*keys), key_compare);
}

static void stacks_match(struct parse *p)
{
    struct raw_record *r = p->record;
    struct key *keys = room_new(r->nstacks, sizeof(*keys));
    for (size_t i = 0; i < r->nstacks; i++)
        keys[i] = (struct key){.stack = r->stacks[i].id, .index = i};
    keys_sort(keys, r->nstacks);
    for (size_t i = 0; p->of_site && i < r->nsites; i++) {
        struct key wanted = {.stack = p->of_site[i].stack};
        r->sites[i].stack = key_find(keys, r->nstacks, &wanted);
    }
    free(keys);
}

static void sites_match(struct parse *p)
{
    struct raw_record *r = p->record;
    size_t objects = 0, growth = 0;
    keys_sort(p->of_site, r->nsites);
    for (size_t i = 0; i < r->nobjects; i++) {
        struct raw_object o = r->objects[i];
        o.site = key_find(p->of_site, r->nsites, &p->of_object[i]);
        if (o.site == SIZE_MAX)
            free(o.held);
        else
            r->objects[objects++] = o;
    }
    for (size_t i = 0; i < r->ngrowth; i++) {
        struct raw_growth g = r->growth[i];
        g.site = key_find(p->of_site, r->nsites, &p->of_growth[i]);
        if (g.site != SIZE_MAX)
            r->growth[growth++] = g;
    }
    r->nobjects = objects;
    r->ngrowth = growth;
}

// ---- records -----------------------------------------------------------------------------------

static void texts_complete(struct raw_record *r)
{
    char **texts[] = {&r->exe, &r->cmdline, &r->reason, &r->version};
    for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
        if (!*texts[i])
            *texts[i] = room_text("", 0);
    }
}

static struct raw_record *parse_end(struct parse *p, bool good)
{
    struct raw_record *r = p->record;
    texts_complete(r);
    stacks_match(p);
    sites_match(p);
    r->cut = !p->ended;
    free(p->of_site);
    free(p->of_object);
    free(p->of_growth);
    if (good)
        return r;
    raw_free(r);
    return NULL;
}

static struct raw_record *reader_fail(const struct raw_reader *reader, bool *failed,
                                      const char *what)
{
    fprintf(stderr, "salvage: %s:%zu: %s\n", reader->name, reader->line, what);
    *failed = true;
    return NULL;
}

// Bytes of the next whole line, without its newline; -1: none, *whole tells whether the file ended
// at a line's end.
static ssize_t line_next(struct raw_reader *reader, char **line, size_t *room, bool *whole)
{
    *whole = true;
    if (reader->ahead) {
        free(*line);
        *line = reader->ahead;
        *room = reader->nahead + 1;
        reader->ahead = NULL;
        return (ssize_t)reader->nahead;
    }
    ssize_t n = getline(line, room, reader->in);
    if (n <= 0)
        return -1;
    reader->line++;
    *whole = (*line)[n - 1] == '\n';
    if (!*whole)
        return -1;
    (*line)[--n] = '\0';
    return n;
}

static bool line_begins(const char *line, const char *word)
{
    size_t n = strlen(word);
    return strncmp(line, word, n) == 0 && (line[n] == ' ' || line[n] == '\0');
}

// `salvage-raw 1 VERSION`
static bool head_read(struct raw_reader *reader, struct parse *p, char *line, bool *failed)
{
    char *at = line;
    uint64_t version;
    word_next(&at);
    if (!decimal_next(&at, &version) || !text_next(&at, &p->record->version)) {
        reader_fail(reader, failed, "malformed `salvage-raw` line");
        return false;
    }
    if (version != VERSION)
        reader_fail(reader, failed, "a raw record of another version of Salvage");
    return version == VERSION;
}

// The lines after the first. false: one is malformed.
static bool body_read(struct raw_reader *reader, struct parse *p, bool *failed)
{
    char *line = NULL;
    size_t room = 0;
    bool whole, good = true;
    ssize_t n;
    while (good && !p->ended && (n = line_next(reader, &line, &room, &whole)) >= 0) {
        if (line_begins(line, "salvage-raw")) {
            reader->ahead = line;
            reader->nahead = (size_t)n;
            line = NULL;
            break;
        }
        char word[24];
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(line, " "), line);
        good = (size_t)n == strlen(line) && line_read(p, line);
        if (!good) {
            char what[64];
            snprintf(what, sizeof(what), "malformed `%s` line", word);
            reader_fail(reader, failed, what);
        }
    }
    free(line);
    return good;
}

struct raw_record *raw_read_next(struct raw_reader *reader, bool *failed)
{
    char *line = NULL;
    size_t room = 0;
    bool whole;
    *failed = false;
    ssize_t n = line_next(reader, &line, &room, &whole);
    while (n == 0) // blank lines between records
        n = line_next(reader, &line, &room, &whole);
    if (n < 0 || !line_begins(line, "salvage-raw")) {
        free(line);
        if (ferror(reader->in))
            return reader_fail(reader, failed, "cannot be read");
        return n < 0 && whole ? NULL : reader_fail(reader, failed, "not a raw record of Salvage");
    }
    struct parse p = {.record = room_new(1, sizeof(*p.record))};
    size_t first = reader->line;
    bool good = head_read(reader, &p, line, failed) && body_read(reader, &p, failed);
    free(line);
    if (good && !p.ended)
        fprintf(stderr,
                "salvage: %s:%zu: the record that begins here was cut off: shown as far as "
                "it goes\n",
                reader->name, first);
    return parse_end(&p, good);
}

void raw_reader_end(struct raw_reader *reader)
{
    free(reader->ahead);
    reader->ahead = NULL;
}

struct raw_record *raw_read(FILE *in, const char *name, bool *failed)
{
    struct raw_reader reader = {.in = in, .name = name};
    struct raw_record *record = raw_read_next(&reader, failed);
    raw_reader_end(&reader);
    return record;
}

void raw_free(struct raw_record *r)
{
    if (!r)
        return;
    for (size_t i = 0; i < r->nmodules; i++) {
        free(r->modules[i].build_id);
        free(r->modules[i].path);
    }
    for (size_t i = 0; i < r->nstacks; i++) {
        free(r->stacks[i].frames);
        free(r->stacks[i].exact);
    }
    for (size_t i = 0; i < r->nobjects; i++)
        free(r->objects[i].held);
    free(r->modules);
    free(r->stacks);
    free(r->sites);
    free(r->objects);
    free(r->growth);
    free(r->exe);
    free(r->cmdline);
    free(r->reason);
    free(r->version);
    free(r->failed);
    free(r);
}

// ---- the load map ------------------------------------------------------------------------------

const struct raw_module *raw_module_find(const struct raw_record *record, uint64_t address,
                                         double when)
{
    const struct raw_module *best = NULL;
    bool best_began = false;
    for (size_t i = 0; i < record->nmodules; i++) {
        const struct raw_module *m = &record->modules[i];
        if (address < m->start || address >= m->end)
            continue;
        bool began = (double)m->from / 10 <= when;
        bool later = best && m->from >= best->from;
        bool nearer = began ? later : !later;
        if (!best || began > best_began || (began == best_began && nearer)) {
            best = m;
            best_began = began;
        }
    }
    return best;
}
