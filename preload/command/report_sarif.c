// The report as SARIF 2.1.0, for code hosts and editors: a result for each stack, placed at its
// innermost frame that has a source line and is the program's rather than a common library's, with
// the whole stack, and the same as a code flow from main inwards for viewers that show only those.
// A result's fingerprint is made of names alone, so that it stays the same from build to build and
// from run to run.
#include <stdlib.h>
#include <string.h>

#include "json_text.h"
#include "render.h"

static const struct {
    const char *id, *name, *text, *level;
} rules[] = {
    [RAW_DIRECT] = {"direct-leak", "DirectLeak",
                    "Memory that was allocated, never freed, and that nothing points to.", "error"},
    [RAW_INDIRECT] = {"indirect-leak", "IndirectLeak", "Memory that only leaked memory points to.",
                      "error"},
    [RAW_POSSIBLE] = {"possible-leak", "PossibleLeak",
                      "Memory that is held by a doubtful word alone.", "warning"},
    [RAW_ABANDONED] = {"abandoned-leak", "AbandonedLeak",
                       "Memory that was reachable until the exit handlers ran.", "note"},
};

#define RULES (sizeof(rules) / sizeof(*rules))

// ---- places ------------------------------------------------------------------------------------

// A path as a URI reference.
static json_t *uri_json(const char *path)
{
    struct text uri = {0};
    if (path[0] == '/')
        text_print(&uri, "file://");
    for (; *path; path++) {
        unsigned char c = (unsigned char)*path;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     strchr("-._~/+", c);
        if (plain)
            text_add(&uri, path, 1);
        else
            text_print(&uri, "%%%02X", c);
    }
    json_t *value = json_string(uri.s ? uri.s : "");
    free(uri.s);
    return value;
}

static json_t *nested(const char *key, json_t *value)
{
    json_t *o = json_object();
    json_object_set_new(o, key, value);
    return o;
}

// What a frame is called where there is one line for it.
static json_t *frame_name(const struct frame *f)
{
    struct text name = {0};
    if (f->name && f->nearest)
        text_print(&name, "%s+0x%" PRIx64, f->name, f->into);
    else if (f->name)
        text_print(&name, "%s", f->name);
    else if (f->module)
        text_print(&name, "%s+0x%" PRIx64, f->module, f->offset);
    else
        text_print(&name, "0x%" PRIx64, f->address);
    json_t *value = json_text(name.s);
    free(name.s);
    return value;
}

static json_t *physical_json(const struct frame *f)
{
    json_t *o = json_object();
    const char *file = f->file ? f->file : f->module;
    if (file)
        json_object_set_new(o, "artifactLocation", nested("uri", uri_json(file)));
    if (f->file && f->line)
        json_object_set_new(o, "region", nested("startLine", json_integer(f->line)));
    return o;
}

static json_t *address_json(const struct frame *f)
{
    json_t *o = json_object();
    if (f->address < INT64_MAX)
        json_object_set_new(o, "absoluteAddress", json_integer((json_int_t)f->address));
    return o;
}

// A step of a flow: what a viewer shows in its list, and where that leads.
static json_t *step_json(const struct frame *f)
{
    json_t *o = json_object(), *physical = physical_json(f);
    if (!f->file && !f->module) // it must have one or the other
        json_object_set_new(physical, "address", address_json(f));
    json_object_set_new(o, "physicalLocation", physical);
    json_object_set_new(o, "message", nested("text", frame_name(f)));
    return o;
}

// With the function and the address as well.
static json_t *location_json(const struct frame *f)
{
    json_t *o = step_json(f), *logical = json_object(), *all = json_array();
    json_object_set_new(json_object_get(o, "physicalLocation"), "address", address_json(f));
    json_object_set_new(logical, "fullyQualifiedName", frame_name(f));
    json_text_set(logical, "decoratedName", f->linkage);
    json_object_set_new(logical, "kind", json_string("function"));
    json_array_append_new(all, logical);
    json_object_set_new(o, "logicalLocations", all);
    return o;
}

static const struct frame *frame_main(const struct frames *frames)
{
    const struct frame *any = frames->n ? &frames->frame[0] : NULL, *own = NULL;
    for (size_t i = 0; i < frames->n; i++) {
        const struct frame *f = &frames->frame[i];
        if (!f->module || frame_common(f))
            continue;
        if (f->file && f->line)
            return f;
        own = own ? own : f;
    }
    return own ? own : any;
}

static json_t *stacks_json(const struct frames *frames)
{
    json_t *stack = json_object(), *list = json_array(), *all = json_array();
    for (size_t i = 0; i < frames->n; i++) {
        const struct frame *f = &frames->frame[i];
        json_t *o = nested("location", location_json(f));
        json_text_set(o, "module", f->module);
        json_array_append_new(list, o);
    }
    json_object_set_new(stack, "message", nested("text", json_string("Allocated here")));
    json_object_set_new(stack, "frames", list);
    json_array_append_new(all, stack);
    return all;
}

static json_t *flows_json(const struct frames *frames)
{
    json_t *steps = json_array(), *threads = json_array(), *flows = json_array();
    for (size_t i = frames->n; i-- > 0;)
        json_array_append_new(steps, nested("location", step_json(&frames->frame[i])));
    json_array_append_new(threads, nested("locations", steps));
    json_array_append_new(flows, nested("threadFlows", threads));
    return flows;
}

// ---- results -----------------------------------------------------------------------------------

static void hash_add(uint64_t *hash, const char *s)
{
    for (; *s; s++)
        *hash = (*hash ^ (unsigned char)*s) * 0x100000001b3;
    *hash = (*hash ^ '\n') * 0x100000001b3;
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static json_t *fingerprints_json(const struct report_site *site)
{
    uint64_t hash = 0xcbf29ce484222325;
    hash_add(&hash, raw_class_word(site->raw->class));
    for (size_t i = 0; i < site->frames.n; i++) {
        const struct frame *f = &site->frames.frame[i];
        hash_add(&hash, f->linkage && !f->nearest ? f->linkage : "");
        hash_add(&hash, f->module ? base_of(f->module) : "");
    }
    return nested("allocationStack/v1", json_sprintf("%016" PRIx64, hash));
}

static json_t *message_json(const struct report *r, const struct report_site *site,
                            const struct frame *at)
{
    const struct raw_site *raw = site->raw;
    struct text text = {0};
    text_print(&text, "%" PRIu64 " byte(s) in %" PRIu64 " object(s) leaked", raw->bytes,
               raw->objects);
    if (at && at->name && !at->nearest)
        text_print(&text, ", allocated in %s", at->name);
    text_print(&text, " (process %" PRIu64 ", %s)", r->record->pid, r->record->exe);
    json_t *message = nested("text", json_text(text.s));
    free(text.s);
    return message;
}

static json_t *properties_json(const struct raw_site *raw)
{
    json_t *o = json_object();
    json_object_set_new(o, "bytes", json_integer((json_int_t)raw->bytes));
    json_object_set_new(o, "objects", json_integer((json_int_t)raw->objects));
    json_object_set_new(o, "firstAllocation", json_real(raw->first));
    json_object_set_new(o, "lastAllocation", json_real(raw->last));
    json_object_set_new(o, "found", json_real(raw->found));
    json_object_set_new(o, "cycle", json_integer((json_int_t)raw->cycle));
    json_object_set_new(o, "growthPerMinute", json_real(raw->growth));
    return o;
}

static json_t *result_json(const struct report *r, const struct report_site *site)
{
    enum raw_class class = site->raw->class;
    const struct frame *at = frame_main(&site->frames);
    json_t *o = json_object(), *locations = json_array();
    json_object_set_new(o, "ruleId", json_string(rules[class].id));
    json_object_set_new(o, "ruleIndex", json_integer(class));
    json_object_set_new(o, "level", json_string(rules[class].level));
    json_object_set_new(o, "message", message_json(r, site, at));
    if (at)
        json_array_append_new(locations, location_json(at));
    json_object_set_new(o, "locations", locations);
    json_object_set_new(o, "partialFingerprints", fingerprints_json(site));
    if (site->frames.n) {
        json_object_set_new(o, "stacks", stacks_json(&site->frames));
        json_object_set_new(o, "codeFlows", flows_json(&site->frames));
    }
    if (site->suppressed) {
        json_t *one = json_object(), *all = json_array();
        json_object_set_new(one, "kind", json_string("external"));
        json_object_set_new(one, "justification", json_text(site->suppressed));
        json_array_append_new(all, one);
        json_object_set_new(o, "suppressions", all);
    }
    json_object_set_new(o, "properties", properties_json(site->raw));
    return o;
}

// Suppressed ones too: SARIF has a place for that.
static void results_write(const struct report *r, bool *first, FILE *out)
{
    for (size_t i = 0; i < r->nsites; i++) {
        struct report_site bare = {.raw = r->sites[i].raw};
        if (report_leaks(r, &bare))
            json_item_write(result_json(r, &r->sites[i]), first, out);
    }
}

static json_t *driver_json(const char *version)
{
    json_t *driver = json_object(), *list = json_array();
    for (size_t i = 0; i < RULES; i++) {
        json_t *rule = json_object();
        json_object_set_new(rule, "id", json_string(rules[i].id));
        json_object_set_new(rule, "name", json_string(rules[i].name));
        json_object_set_new(rule, "shortDescription", nested("text", json_string(rules[i].text)));
        json_object_set_new(rule, "defaultConfiguration",
                            nested("level", json_string(rules[i].level)));
        json_array_append_new(list, rule);
    }
    json_object_set_new(driver, "name", json_string("Salvage"));
    if (*version)
        json_text_set(driver, "version", version);
    json_object_set_new(driver, "rules", list);
    return nested("driver", driver);
}

// A process, as SARIF has it; one without a verdict didn't execute well.
static json_t *invocation_json(const struct raw_record *record)
{
    json_t *o = json_object();
    json_object_set_new(o, "executionSuccessful", json_boolean(!record->failed));
    json_object_set_new(o, "processId", json_integer((json_int_t)record->pid));
    json_object_set_new(o, "commandLine", json_text(record->cmdline));
    return o;
}

void report_sarif(const struct report *const *r, size_t n, FILE *out)
{
    json_t *invocations = json_array();
    bool first = true;
    fputs("{\"$schema\":\"https://json.schemastore.org/sarif-2.1.0.json\",\"version\":\"2.1.0\","
          "\"runs\":[{\n",
          out);
    json_member_write("tool", driver_json(n ? r[0]->record->version : ""), ",\n", out);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(invocations, invocation_json(r[i]->record));
    json_member_write("invocations", invocations, ",\n", out);
    fputs("\"results\":[", out);
    for (size_t i = 0; i < n; i++)
        results_write(r[i], &first, out);
    fputs("\n]}]}\n", out);
}
