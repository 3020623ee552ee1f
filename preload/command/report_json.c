// The report as JSON: all that the record says, symbolised; docs/leak-report.schema.json describes
// it. Sites are written one by one, each a line, so that a large report needs no memory and can be
// searched by line.
#include <stdlib.h>
#include <string.h>

#include "json_text.h"
#include "render.h"

static json_t *number(uint64_t n)
{
    return json_integer(n < INT64_MAX ? (json_int_t)n : INT64_MAX);
}

static json_t *frame_json(const struct frame *f)
{
    json_t *o = json_object();
    json_object_set_new(o, "address", json_address(f->address));
    if (f->module) {
        json_object_set_new(o, "module", json_text(f->module));
        json_object_set_new(o, "offset", json_address(f->offset));
    }
    json_text_set(o, "function", f->name);
    if (f->linkage && strcmp(f->linkage, f->name) != 0)
        json_text_set(o, "linkage", f->linkage);
    json_text_set(o, "file", f->file);
    if (f->line)
        json_object_set_new(o, "line", number(f->line));
    if (f->inlined)
        json_object_set_new(o, "inlined", json_true());
    if (f->nearest) {
        json_object_set_new(o, "nearest", json_true());
        json_object_set_new(o, "into", number(f->into));
    }
    return o;
}

static json_t *history_json(const struct report *r, size_t site, const struct by_site *by)
{
    json_t *history = json_array();
    for (size_t i = by->from[site]; i < by->from[site + 1]; i++) {
        const struct raw_growth *g = &r->record->growth[by->item[i]];
        json_t *point = json_object();
        json_object_set_new(point, "time", json_real(g->when));
        json_object_set_new(point, "objects", number(g->objects));
        json_object_set_new(point, "bytes", number(g->bytes));
        json_array_append_new(history, point);
    }
    return history;
}

static json_t *objects_json(const struct report *r, size_t site, const struct by_site *by)
{
    json_t *objects = json_array();
    for (size_t i = by->from[site]; i < by->from[site + 1]; i++) {
        const struct raw_object *o = &r->record->objects[by->item[i]];
        json_t *object = json_object();
        json_object_set_new(object, "address", json_address(o->address));
        json_object_set_new(object, "bytes", number(o->bytes));
        json_object_set_new(object, "time", json_real(o->when));
        json_text_set(object, "held", o->held);
        json_array_append_new(objects, object);
    }
    return objects;
}

static json_t *site_json(const struct report *r, size_t index, const struct by_site *objects,
                         const struct by_site *history)
{
    const struct report_site *site = &r->sites[index];
    const struct raw_site *raw = site->raw;
    json_t *o = json_object(), *stack = json_array();
    json_object_set_new(o, "class", json_text(raw_class_word(raw->class)));
    json_object_set_new(o, "objects", number(raw->objects));
    json_object_set_new(o, "bytes", number(raw->bytes));
    json_object_set_new(o, "first", json_real(raw->first));
    json_object_set_new(o, "last", json_real(raw->last));
    json_object_set_new(o, "cycle", number(raw->cycle));
    json_object_set_new(o, "found", json_real(raw->found));
    json_object_set_new(o, "growth", json_real(raw->growth));
    json_object_set_new(o, "suppressed", json_text(site->suppressed));
    for (size_t i = 0; i < site->frames.n; i++)
        json_array_append_new(stack, frame_json(&site->frames.frame[i]));
    json_object_set_new(o, "stack", stack);
    json_object_set_new(o, "history", history_json(r, index, history));
    if (r->objects)
        json_object_set_new(o, "addresses", objects_json(r, index, objects));
    return o;
}

// What counts, what would count without a suppression, what came back, and the reachable if asked.
static bool site_told(const struct report *r, const struct report_site *site)
{
    struct report_site bare = {.raw = site->raw};
    return report_leaks(r, &bare) || site->raw->class == RAW_HIDDEN ||
           (r->live && site->raw->class == RAW_LIVE);
}

static void sites_write(const struct report *r, FILE *out)
{
    struct by_site objects = objects_by_site(r->record), history = growth_by_site(r->record);
    size_t n = 0;
    size_t *order = room_new(r->nsites, sizeof(*order));
    bool first = true;
    for (size_t i = 0; i < r->nsites; i++) {
        if (site_told(r, &r->sites[i]))
            order[n++] = i;
    }
    report_order_sort(r, order, n);
    fputs("\"sites\":[", out);
    for (size_t i = 0; i < n; i++)
        json_item_write(site_json(r, order[i], &objects, &history), &first, out);
    fputs("\n]", out);
    by_site_free(&objects);
    by_site_free(&history);
    free(order);
}

static json_t *module_json(const struct raw_module *m)
{
    json_t *o = json_object();
    json_object_set_new(o, "path", json_text(m->path));
    json_object_set_new(o, "build_id", json_text(m->build_id));
    json_object_set_new(o, "start", json_address(m->start));
    json_object_set_new(o, "end", json_address(m->end));
    json_object_set_new(o, "bias", json_address(m->bias));
    json_object_set_new(o, "from", json_real((double)m->from / 10));
    json_object_set_new(o, "to", m->to == UINT64_MAX ? json_null() : json_real((double)m->to / 10));
    return o;
}

static json_t *summary_json(const struct report *r)
{
    struct report_sums sums = report_sum(r);
    json_t *o = json_object();
    json_object_set_new(o, "objects", number(sums.objects));
    json_object_set_new(o, "bytes", number(sums.bytes));
    json_object_set_new(o, "direct_objects", number(sums.class_objects[RAW_DIRECT]));
    json_object_set_new(o, "direct_bytes", number(sums.class_bytes[RAW_DIRECT]));
    json_object_set_new(o, "indirect_objects", number(sums.class_objects[RAW_INDIRECT]));
    json_object_set_new(o, "indirect_bytes", number(sums.class_bytes[RAW_INDIRECT]));
    json_object_set_new(o, "suppressed_objects", number(sums.suppressed_objects));
    json_object_set_new(o, "suppressed_bytes", number(sums.suppressed_bytes));
    json_object_set_new(o, "hidden_objects", number(sums.hidden_objects));
    json_object_set_new(o, "hidden_bytes", number(sums.hidden_bytes));
    return o;
}

static json_t *process_json(const struct raw_record *record)
{
    json_t *o = json_object();
    json_object_set_new(o, "pid", number(record->pid));
    json_object_set_new(o, "ppid", number(record->ppid));
    json_object_set_new(o, "executable", json_text(record->exe));
    json_object_set_new(o, "command", json_text(record->cmdline));
    return o;
}

static json_t *check_json(const struct raw_record *record)
{
    json_t *o = json_object();
    json_object_set_new(o, "reason", json_text(record->reason));
    json_object_set_new(o, "time", json_real(record->when));
    json_object_set_new(o, "uptime", json_real(record->uptime));
    json_object_set_new(o, "cycle", number(record->cycle));
    return o;
}

static json_t *heap_json(const struct raw_record *record)
{
    json_t *o = json_object();
    json_object_set_new(o, "live_bytes", number(record->live_bytes));
    json_object_set_new(o, "live_objects", number(record->live_objects));
    json_object_set_new(o, "allocated_bytes", number(record->allocated_bytes));
    json_object_set_new(o, "allocated_objects", number(record->allocated_objects));
    json_object_set_new(o, "freed_bytes", number(record->freed_bytes));
    return o;
}

static void record_write(const struct report *r, FILE *out)
{
    const struct raw_record *record = r->record;
    json_t *recording = json_object();
    bool first = true;
    json_object_set_new(recording, "sample", number(record->sample));
    json_object_set_new(recording, "depth", number(record->depth));
    fputc('{', out);
    json_member_write("process", process_json(record), ",\n", out);
    json_member_write("check", check_json(record), ",\n", out);
    json_member_write("recording", recording, ",\n", out);
    json_member_write("heap", heap_json(record), ",\n", out);
    json_member_write("failed", json_text(record->failed), ",\n", out);
    json_member_write("cut", json_boolean(record->cut), ",\n", out);
    json_member_write("summary", summary_json(r), ",\n", out);
    fputs("\"modules\":[", out);
    for (size_t i = 0; i < record->nmodules; i++)
        json_item_write(module_json(&record->modules[i]), &first, out);
    fputs("\n],\n", out);
    sites_write(r, out);
    fputc('}', out);
}

void report_json(const struct report *const *r, size_t n, FILE *out)
{
    fputc('{', out);
    json_member_write("format", json_text("salvage-leak-report"), ",", out);
    json_member_write("version", json_integer(1), ",", out);
    json_member_write("generator", json_text(n ? r[0]->record->version : ""), ",\n", out);
    fputs("\"records\":[", out);
    for (size_t i = 0; i < n; i++) {
        fputs(i ? ",\n" : "\n", out);
        record_write(r[i], out);
    }
    fputs("\n]}\n", out);
}
