// OpenMetrics text as numbers. Samples are taken one a line; names that aren't known are left out,
// so that a newer library can tell more.
#include "reading.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const reading_cpu_names[5] = {"assist", "background", "idle", "pause", "sweep"};

// The value of a label in {a="b",c="d"}, unescaped; false: it isn't there.
static bool label_get(const char *labels, const char *name, char *out, size_t room)
{
    char key[32];
    snprintf(key, sizeof key, "%s=\"", name);
    const char *at = strstr(labels, key);
    size_t n = 0;
    if (!at)
        return false;
    for (at += strlen(key); *at && *at != '"'; at++) {
        if (*at == '\\' && at[1])
            at++;
        if (n + 1 < room)
            out[n++] = *at;
    }
    out[n] = 0;
    return true;
}

static uint64_t whole(const char *value)
{
    return strcmp(value, "+Inf") == 0 ? UINT64_MAX : strtoull(value, NULL, 10);
}

static bool plain_take(struct reading *r, const char *name, const char *value)
{
    const struct {
        const char *name;
        uint64_t *to;
    } plain[] = {{"salvage_gc_cycles_total", &r->cycles},
                 {"salvage_dirty_pages", &r->dirty},
                 {"salvage_heap_live_bytes", &r->live},
                 {"salvage_heap_goal_bytes", &r->goal},
                 {"salvage_heap_reclaimed_bytes_total", &r->reclaimed},
                 {"salvage_heap_freed_bytes_total", &r->freed},
                 {"salvage_heap_allocated_bytes_total", &r->allocated},
                 {"salvage_metadata_bytes", &r->metadata},
                 {"salvage_released_bytes", &r->released},
                 {"salvage_leaked_bytes", &r->leaked}};
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (strcmp(name, plain[i].name) == 0) {
            *plain[i].to = whole(value);
            r->leaked_known |= plain[i].to == &r->leaked;
            return true;
        }
    return false;
}

static void pause_take(struct reading *r, const char *name, const char *labels, const char *value)
{
    char stop[16] = "", le[32] = "";
    label_get(labels, "stop", stop, sizeof stop);
    struct reading_pauses *p = strcmp(stop, "prepare") == 0 ? &r->prepare : &r->termination;
    if (strcmp(name, "salvage_gc_pause_seconds_count") == 0) {
        p->count = whole(value);
    } else if (strcmp(name, "salvage_gc_pause_seconds_sum") == 0) {
        p->sum = strtod(value, NULL);
    } else if (label_get(labels, "le", le, sizeof le) && p->n < READING_BUCKETS) {
        p->bucket[p->n].le = strcmp(le, "+Inf") == 0 ? INFINITY : strtod(le, NULL);
        p->bucket[p->n++].count = whole(value);
    }
}

static void sample_take(struct reading *r, const char *name, const char *labels, const char *value)
{
    char text[64] = "";
    if (plain_take(r, name, value))
        return;
    if (strncmp(name, "salvage_gc_pause_seconds_", 25) == 0) {
        pause_take(r, name, labels, value);
    } else if (strcmp(name, "salvage_gc_cpu_seconds_total") == 0) {
        label_get(labels, "class", text, sizeof text);
        for (size_t i = 0; i < 5; i++)
            if (strcmp(text, reading_cpu_names[i]) == 0)
                r->cpu[i] = strtod(value, NULL);
    } else if (strcmp(name, "salvage_barrier_info") == 0) {
        label_get(labels, "kind", r->barrier, sizeof r->barrier);
    } else if (strcmp(name, "salvage_cycles_abandoned_total") == 0 &&
               r->reasons < READING_REASONS) {
        label_get(labels, "reason", r->reason[r->reasons].name, sizeof r->reason[r->reasons].name);
        r->reason[r->reasons].count = whole(value);
        r->abandoned += r->reason[r->reasons++].count;
    }
}

bool reading_parse(FILE *text, struct reading *out)
{
    char line[512];
    bool ended = false;
    memset(out, 0, sizeof *out);
    while (fgets(line, sizeof line, text)) {
        line[strcspn(line, "\n")] = 0;
        ended |= strcmp(line, "# EOF") == 0;
        char *value = strrchr(line, ' ');
        if (line[0] == '#' || !value)
            continue;
        *value++ = 0;
        char *labels = strchr(line, '{');
        if (labels)
            *labels++ = 0;
        sample_take(out, line, labels ? labels : "", value);
    }
    return ended;
}

double reading_pause(const struct reading_pauses *p, double percent)
{
    double last = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (p->bucket[i].le != INFINITY)
            last = p->bucket[i].le;
        if (p->count && (double)p->bucket[i].count * 100 >= (double)p->count * percent)
            return last;
    }
    return p->count ? last : 0;
}

double reading_cpu(const struct reading *r)
{
    double all = 0;
    for (size_t i = 0; i < 5; i++)
        all += r->cpu[i];
    return all;
}

const char *bytes_text(uint64_t bytes, char *out, size_t room)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double v = (double)bytes;
    size_t unit = 0;
    if (bytes == UINT64_MAX) {
        snprintf(out, room, "none");
        return out;
    }
    for (; v >= 1024 && unit < 4; unit++)
        v /= 1024;
    snprintf(out, room, unit ? "%.1f %s" : "%.0f %s", v, units[unit]);
    return out;
}
