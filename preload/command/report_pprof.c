// The report as pprof's profile.proto, compressed with gzip: what was leaked, what was ever
// allocated (under `sample`), and what is reachable (the sites of class live), as sample types of
// one profile, so that `go tool pprof` shows either and their difference. With sampling the numbers
// are scaled up as Go's heap profile does it: an object of s bytes was seen with a chance of 1 -
// exp(-s / sample).
//
// Everything is put into a table once and named by its number: strings, functions, locations (an
// address with all that was inlined there) and mappings.
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "profile.pb-c.h"
#include "render.h"

struct entry { // of a table; used when `value` isn't 0
    uint64_t key[3];
    const char *text; // of a string; not compared otherwise
    uint64_t value;
};

struct table {
    struct entry *entry; // hashed, open addressing
    size_t n, capacity;  // a power of two
};

struct list { // of pointers to messages
    void **item;
    size_t n, capacity;
};

struct profile {
    struct table strings, functions, locations, mappings;
    struct list string, function, location, mapping, sample;
    const struct report *report;
};

// ---- tables ------------------------------------------------------------------------------------

static bool entry_same(const struct entry *e, const struct entry *wanted)
{
    if (memcmp(e->key, wanted->key, sizeof(e->key)) != 0)
        return false;
    return !wanted->text || strcmp(e->text, wanted->text) == 0;
}

static struct entry *table_slot(const struct table *t, const struct entry *wanted)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < 3; i++)
        hash = (hash ^ wanted->key[i]) * 0x9e3779b97f4a7c15;
    size_t at = (size_t)(hash >> 17) & (t->capacity - 1);
    while (t->entry[at].value && !entry_same(&t->entry[at], wanted))
        at = (at + 1) & (t->capacity - 1);
    return &t->entry[at];
}

// The entry of the key; a new one when its value is 0: the caller sets it at once.
static struct entry *table_find(struct table *t, struct entry wanted)
{
    if (t->n * 2 >= t->capacity) {
        struct table bigger = {.capacity = t->capacity ? t->capacity * 2 : 1024, .n = t->n};
        bigger.entry = room_new(bigger.capacity, sizeof(*bigger.entry));
        for (size_t i = 0; i < t->capacity; i++) {
            const struct entry *e = &t->entry[i];
            if (e->value)
                *table_slot(&bigger, e) = *e;
        }
        free(t->entry);
        *t = bigger;
    }
    struct entry *e = table_slot(t, &wanted);
    if (!e->value) {
        wanted.value = 0;
        *e = wanted;
        t->n++;
    }
    return e;
}

static void list_add(struct list *l, void *item)
{
    l->item = room_more(l->item, l->n, &l->capacity, sizeof(*l->item));
    l->item[l->n++] = item;
}

static uint64_t text_hash(const char *s)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (; *s; s++)
        hash = (hash ^ (unsigned char)*s) * 0x100000001b3;
    return hash;
}

// The string's index; the empty one is 0.
static int64_t string_id(struct profile *p, const char *s)
{
    struct text room = {0};
    const char *clean = text_clean(&room, s ? s : "", false);
    struct entry *e = table_find(&p->strings, (struct entry){{text_hash(clean)}, clean, 0});
    if (!e->value) {
        list_add(&p->string, room_text(clean, strlen(clean)));
        e->text = p->string.item[p->string.n - 1];
        e->value = p->string.n; // one more than the index: 0 is none
    }
    free(room.s);
    return (int64_t)e->value - 1;
}

// ---- what samples refer to ---------------------------------------------------------------------

static uint64_t function_id(struct profile *p, const struct frame *f)
{
    struct text unknown = {0};
    const char *name = f->name, *linkage = f->linkage;
    if (!name || f->nearest) {
        text_print(&unknown, "%s+0x%" PRIx64,
                   f->nearest  ? name
                   : f->module ? f->module
                               : "unknown",
                   f->nearest  ? f->into
                   : f->module ? f->offset
                               : f->address);
        name = linkage = unknown.s;
    }
    uint64_t key[3] = {(uint64_t)string_id(p, name), (uint64_t)string_id(p, linkage),
                       (uint64_t)string_id(p, f->file)};
    free(unknown.s);
    struct entry *e = table_find(&p->functions, (struct entry){{key[0], key[1], key[2]}, NULL, 0});
    if (!e->value) {
        Pprof__Function *function = room_new(1, sizeof(*function));
        pprof__function__init(function);
        list_add(&p->function, function);
        function->id = e->value = p->function.n;
        function->name = (int64_t)key[0];
        function->system_name = (int64_t)key[1];
        function->filename = (int64_t)key[2];
    }
    return e->value;
}

// 0: in no module.
static uint64_t mapping_id(struct profile *p, const struct raw_module *m)
{
    if (!m)
        return 0;
    struct entry *e = table_find(&p->mappings, (struct entry){{(uint64_t)(uintptr_t)m}, NULL, 0});
    if (!e->value) {
        Pprof__Mapping *mapping = room_new(1, sizeof(*mapping));
        pprof__mapping__init(mapping);
        list_add(&p->mapping, mapping);
        mapping->id = e->value = p->mapping.n;
        mapping->memory_start = m->start;
        mapping->memory_limit = m->end;
        mapping->file_offset = m->start - m->bias;
        mapping->filename = string_id(p, m->path);
        mapping->build_id = string_id(p, m->build_id);
        mapping->has_functions = mapping->has_filenames = true;
        mapping->has_line_numbers = mapping->has_inline_frames = true;
    }
    return e->value;
}

// The executable; NULL: not in the load map.
static const struct raw_module *module_main(const struct raw_record *record)
{
    for (size_t i = 0; i < record->nmodules; i++) {
        if (strcmp(record->modules[i].path, record->exe) == 0)
            return &record->modules[i];
    }
    return NULL;
}

// Of n frames of one address.
static uint64_t location_id(struct profile *p, const struct frame *frames, size_t n,
                            const struct raw_site *site)
{
    const struct raw_module *m = raw_module_find(p->report->record, frames->address, site->last);
    uint64_t mapping = mapping_id(p, m);
    struct entry *e =
        table_find(&p->locations, (struct entry){{frames->address, mapping}, NULL, 0});
    if (e->value)
        return e->value;
    Pprof__Location *location = room_new(1, sizeof(*location));
    pprof__location__init(location);
    list_add(&p->location, location);
    location->id = e->value = p->location.n;
    location->mapping_id = mapping;
    location->address = frames->address;
    location->line = room_new(n, sizeof(Pprof__Line *));
    for (size_t i = 0; i < n; i++) {
        Pprof__Line *line = room_new(1, sizeof(*line));
        pprof__line__init(line);
        line->function_id = function_id(p, &frames[i]);
        line->line = frames[i].line;
        location->line[location->n_line++] = line;
    }
    return location->id;
}

// ---- samples -----------------------------------------------------------------------------------

enum value {
    LEAKED_OBJECTS,
    LEAKED_SPACE,
    ALLOC_OBJECTS,
    ALLOC_SPACE,
    INUSE_OBJECTS,
    INUSE_SPACE,
    VALUES
};

static const char *const value_words[VALUES][2] = {
    [LEAKED_OBJECTS] = {"leaked_objects", "count"}, [LEAKED_SPACE] = {"leaked_space", "bytes"},
    [ALLOC_OBJECTS] = {"alloc_objects", "count"},   [ALLOC_SPACE] = {"alloc_space", "bytes"},
    [INUSE_OBJECTS] = {"inuse_objects", "count"},   [INUSE_SPACE] = {"inuse_space", "bytes"},
};

static double scale_of(const struct raw_record *record, const struct raw_site *site)
{
    if (record->sample <= 1 || site->objects == 0 || site->bytes == 0)
        return 1;
    double mean = (double)site->bytes / (double)site->objects;
    return 1 / -expm1(-mean / (double)record->sample);
}

static int64_t scaled(uint64_t n, double scale)
{
    double v = (double)n * scale + 0.5;
    return v < 9e18 ? (int64_t)v : INT64_MAX;
}

static void label_add(struct profile *p, Pprof__Sample *sample, const char *key, const char *text,
                      uint64_t number)
{
    Pprof__Label *label = room_new(1, sizeof(*label));
    pprof__label__init(label);
    label->key = string_id(p, key);
    label->str = string_id(p, text);
    label->num = (int64_t)number;
    sample->label[sample->n_label++] = label;
}

static void sample_locations(struct profile *p, Pprof__Sample *sample,
                             const struct report_site *site)
{
    const struct frames *frames = &site->frames;
    sample->location_id = room_new(frames->n, sizeof(*sample->location_id));
    for (size_t i = 0, end; i < frames->n; i = end) {
        end = i + 1;
        while (end < frames->n && frames->frame[end - 1].inlined)
            end++;
        sample->location_id[sample->n_location_id++] =
            location_id(p, &frames->frame[i], end - i, site->raw);
    }
}

static void sample_add(struct profile *p, const struct report_site *site)
{
    const struct raw_site *raw = site->raw;
    double scale = scale_of(p->report->record, raw);
    enum value first = raw->class == RAW_LIVE        ? INUSE_OBJECTS
                       : raw->class == RAW_ALLOCATED ? ALLOC_OBJECTS
                                                     : LEAKED_OBJECTS;
    Pprof__Sample *sample = room_new(1, sizeof(*sample));
    pprof__sample__init(sample);
    list_add(&p->sample, sample);
    sample->n_value = VALUES;
    sample->value = room_new(VALUES, sizeof(*sample->value));
    sample->value[first] = scaled(raw->objects, scale);
    sample->value[first + 1] = scaled(raw->bytes, scale);
    sample->label = room_new(2, sizeof(Pprof__Label *));
    label_add(p, sample, "class", raw_class_word(raw->class), 0);
    label_add(p, sample, "pid", NULL, p->report->record->pid);
    sample_locations(p, sample, site);
}

// ---- the whole ---------------------------------------------------------------------------------

static Pprof__ValueType value_type(struct profile *p, const char *type, const char *unit)
{
    Pprof__ValueType v = PPROF__VALUE_TYPE__INIT;
    v.type = string_id(p, type);
    v.unit = string_id(p, unit);
    return v;
}

static void gzip_write(const unsigned char *bytes, size_t n, FILE *out)
{
    z_stream z = {0};
    if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        room_end();
    unsigned char part[65536];
    int state;
    do { // zlib counts input in 32 bits
        if (z.avail_in == 0) {
            z.next_in = (Bytef *)(uintptr_t)bytes;
            z.avail_in = n < 1u << 30 ? (uInt)n : 1u << 30;
            bytes += z.avail_in;
            n -= z.avail_in;
        }
        z.next_out = part;
        z.avail_out = sizeof(part);
        state = deflate(&z, n == 0 ? Z_FINISH : Z_NO_FLUSH);
        // cppcheck-suppress uninitvar
        fwrite(part, 1, sizeof(part) - z.avail_out, out);
    } while (state == Z_OK);
    deflateEnd(&z);
}

static void profile_write(struct profile *p, const struct report *r, FILE *out)
{
    Pprof__Profile message = PPROF__PROFILE__INIT;
    Pprof__ValueType types[VALUES], *type[VALUES];
    Pprof__ValueType period = value_type(p, "space", "bytes");
    for (size_t i = 0; i < VALUES; i++) {
        types[i] = value_type(p, value_words[i][0], value_words[i][1]);
        type[i] = &types[i];
    }
    message.sample_type = type;
    message.n_sample_type = VALUES;
    message.default_sample_type = string_id(p, value_words[LEAKED_SPACE][0]);
    message.period_type = &period;
    message.period = r && r->record->sample ? (int64_t)r->record->sample : 1;
    message.time_nanos = r ? (int64_t)(r->record->when * 1e9) : 0;
    message.duration_nanos = r ? (int64_t)(r->record->uptime * 1e9) : 0;
    message.sample = (Pprof__Sample **)p->sample.item;
    message.n_sample = p->sample.n;
    message.mapping = (Pprof__Mapping **)p->mapping.item;
    message.n_mapping = p->mapping.n;
    message.location = (Pprof__Location **)p->location.item;
    message.n_location = p->location.n;
    message.function = (Pprof__Function **)p->function.item;
    message.n_function = p->function.n;
    message.string_table = (char **)p->string.item;
    message.n_string_table = p->string.n;
    size_t n = pprof__profile__get_packed_size(&message);
    unsigned char *bytes = room_new(n, 1);
    pprof__profile__pack(&message, bytes);
    gzip_write(bytes, n, out);
    free(bytes);
}

static void list_free(struct list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->item[i]);
    free(l->item);
}

static void profile_free(struct profile *p)
{
    for (size_t i = 0; i < p->location.n; i++) {
        Pprof__Location *location = p->location.item[i];
        for (size_t j = 0; j < location->n_line; j++)
            free(location->line[j]);
        free(location->line);
    }
    for (size_t i = 0; i < p->sample.n; i++) {
        Pprof__Sample *sample = p->sample.item[i];
        for (size_t j = 0; j < sample->n_label; j++)
            free(sample->label[j]);
        free(sample->label);
        free(sample->value);
        free(sample->location_id);
    }
    struct list *const lists[] = {&p->string, &p->function, &p->location, &p->mapping, &p->sample};
    for (size_t i = 0; i < sizeof(lists) / sizeof(struct list *); i++)
        list_free(lists[i]);
    free(p->strings.entry);
    free(p->functions.entry);
    free(p->locations.entry);
    free(p->mappings.entry);
}

void report_pprof(const struct report *const *r, size_t n, FILE *out)
{
    struct profile p = {.report = NULL};
    string_id(&p, "");
    for (size_t i = 0; i < n; i++) {
        p.report = r[i];
        mapping_id(&p, module_main(r[i]->record)); // pprof takes the first for the program
        for (size_t j = 0; j < r[i]->nsites; j++) {
            const struct report_site *site = &r[i]->sites[j];
            if (report_leaks(r[i], site) || site->raw->class >= RAW_LIVE)
                sample_add(&p, site);
        }
    }
    profile_write(&p, n ? r[n - 1] : NULL, out);
    profile_free(&p);
}
