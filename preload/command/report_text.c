// The report in LeakSanitizer's words, which people and the parsers of their CI know: a block for
// each stack, direct leaks first, and a last line with the sum. What LeakSanitizer doesn't have
// (times, growth, where a doubtful pointer lies) stands in a line of its own below a block's
// frames, indented and without a `#`, where a parser has seen the last frame and waits for the
// blank line. Without leaks nothing is written at all.
#include <stdlib.h>
#include <string.h>

#include "render.h"

#define RED "\033[1;31m"
#define BLUE "\033[1;34m"
#define PLAIN "\033[0m"

static const char *color(const struct report *r, const char *code)
{
    return r->color ? code : "";
}

static void frame_write(const struct frame *f, size_t number, FILE *out)
{
    fprintf(out, "    #%zu 0x%" PRIx64, number, f->address);
    if (f->name)
        fprintf(out, " in %s", f->name);
    if (f->name && f->nearest)
        fprintf(out, "+0x%" PRIx64, f->into);
    if (f->file && f->line)
        fprintf(out, " %s:%u", f->file, f->line);
    else if (f->file)
        fprintf(out, " %s", f->file);
    if (f->module && !(frame_ours(f) && f->file))
        fprintf(out, " (%s+0x%" PRIx64 ")", f->module, f->offset);
    else if (!f->module)
        fputs("  (<unknown module>)", out);
    fputc('\n', out);
}

static void times_write(const struct report *r, const struct raw_site *site, FILE *out)
{
    bool once = site->last <= site->first;
    if (once)
        fprintf(out, "    allocated %.1f s after start", site->first);
    else
        fprintf(out, "    allocated %.1f s to %.1f s after start", site->first, site->last);
    if (site->class != RAW_LIVE)
        fprintf(out, ", found lost at %.1f s (cycle %" PRIu64 ")", site->found, site->cycle);
    if (site->growth >= 1 || site->growth <= -1)
        fprintf(out, ", growth %.0f byte(s) a minute", site->growth);
    if (r->record->sample)
        fprintf(out, ", seen by sampling each %" PRIu64 " bytes", r->record->sample);
    fputc('\n', out);
}

static void objects_write(const struct report *r, size_t site, const struct by_site *by, FILE *out)
{
    if (by->from[site] == by->from[site + 1])
        return;
    fputs("\nObjects leaked above:\n", out);
    for (size_t i = by->from[site]; i < by->from[site + 1]; i++) {
        const struct raw_object *o = &r->record->objects[by->item[i]];
        fprintf(out, "0x%" PRIx64 " (%" PRIu64 " bytes)", o->address, o->bytes);
        if (o->held)
            fprintf(out, ", held by the word at %s alone", o->held);
        fputc('\n', out);
    }
}

static void block_write(const struct report *r, size_t index, const struct by_site *by, FILE *out)
{
    static const char *const words[] = {
        [RAW_DIRECT] = "Direct leak",       [RAW_INDIRECT] = "Indirect leak",
        [RAW_POSSIBLE] = "Possible leak",   [RAW_HIDDEN] = "Hidden memory",
        [RAW_ABANDONED] = "Abandoned leak", [RAW_LIVE] = "Reachable memory",
    };
    const struct report_site *site = &r->sites[index];
    fprintf(out, "%s%s of %" PRIu64 " byte(s) in %" PRIu64 " object(s) allocated from:%s\n",
            color(r, BLUE), words[site->raw->class], site->raw->bytes, site->raw->objects,
            color(r, PLAIN));
    for (size_t i = 0; i < site->frames.n; i++)
        frame_write(&site->frames.frame[i], i, out);
    if (site->frames.n == 0)
        fputs("    <no stack was recorded>\n", out);
    times_write(r, site->raw, out);
    if (r->objects)
        objects_write(r, index, by, out);
    fputc('\n', out);
}

struct used { // a suppression, and what it took out
    const char *name;
    uint64_t objects, bytes;
};

static void used_add(struct used *used, size_t *n, const struct report_site *site)
{
    size_t i = 0;
    while (i < *n && used[i].name != site->suppressed)
        i++;
    if (i == *n)
        used[(*n)++] = (struct used){.name = site->suppressed};
    used[i].objects += site->raw->objects;
    used[i].bytes += site->raw->bytes;
}

static void suppressed_write(const struct report *r, FILE *out)
{
    static const char rule[] = "-----------------------------------------------------\n";
    struct used *used = room_new(r->nsites, sizeof(*used));
    size_t n = 0;
    for (size_t i = 0; i < r->nsites; i++) {
        struct report_site bare = {.raw = r->sites[i].raw};
        if (r->sites[i].suppressed && report_leaks(r, &bare))
            used_add(used, &n, &r->sites[i]);
    }
    if (n)
        fprintf(out, "%sSuppressions used:\n  count      bytes template\n", rule);
    for (size_t i = 0; i < n; i++) {
        const char *name = used[i].name;
        name += strncmp(name, "leak:", 5) == 0 ? 5 : 0;
        fprintf(out, "%7" PRIu64 " %10" PRIu64 " %s\n", used[i].objects, used[i].bytes, name);
    }
    if (n)
        fprintf(out, "%s\n", rule);
    free(used);
}

static void live_write(const struct report *r, FILE *out)
{
    struct report reachable = *r;
    struct by_site none = {0};
    size_t n = 0;
    size_t *order = room_new(r->nsites, sizeof(*order));
    reachable.objects = false;
    for (size_t i = 0; i < r->nsites; i++) {
        if (r->sites[i].raw->class == RAW_LIVE)
            order[n++] = i;
    }
    report_order_sort(r, order, n);
    if (n)
        fprintf(out, "==%" PRIu64 "==Salvage: reachable memory\n\n", r->record->pid);
    for (size_t i = 0; i < n; i++)
        block_write(&reachable, order[i], &none, out);
    free(order);
}

static void notices_write(const struct report *r, const struct report_sums *sums, FILE *out)
{
    uint64_t pid = r->record->pid;
    if (sums->hidden_objects)
        fprintf(out,
                "==%" PRIu64 "==Salvage: %" PRIu64 " byte(s) in %" PRIu64 " object(s) had no "
                "pointer to them and were used again: the program hides pointers, so that what is "
                "reported here may still be in use.\n\n",
                pid, sums->hidden_bytes, sums->hidden_objects);
    if (r->record->cut)
        fprintf(out, "==%" PRIu64 "==Salvage: the record was cut off: there may be more leaks.\n\n",
                pid);
}

void report_text(const struct report *r, FILE *out)
{
    struct report_sums sums = report_sum(r);
    size_t n;
    size_t *order = report_order(r, &n);
    struct by_site by = objects_by_site(r->record);
    if (r->record->failed)
        fprintf(out, "==%" PRIu64 "==Salvage: no verdict: %s\n", r->record->pid, r->record->failed);
    if (n) {
        fprintf(out, "%s==%" PRIu64 "==ERROR: Salvage: detected memory leaks%s\n\n", color(r, RED),
                r->record->pid, color(r, PLAIN));
        for (size_t i = 0; i < n; i++)
            block_write(r, order[i], &by, out);
        notices_write(r, &sums, out);
        suppressed_write(r, out);
        fprintf(out, "SUMMARY: Salvage: %" PRIu64 " byte(s) leaked in %" PRIu64 " allocation(s).\n",
                sums.bytes, sums.objects);
    }
    if (r->live)
        live_write(r, out);
    by_site_free(&by);
    free(order);
}
