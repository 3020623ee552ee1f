// The page: page.html with the records in the place of its marker, as JSON.
//
// A page must open from a file, on a machine without a network, years later: so there is nothing
// beside it. The template is in the binary (.incbin), and everything that is drawn is drawn by its
// script. Frames stand once in a table that stacks refer to by number: a thousand stacks of one
// program share nearly all of them. No byte of a name can end the script element or upset the
// parser: `<` is written \u003c, and bytes that are no UTF-8 become U+FFFD.
#include <stdlib.h>
#include <string.h>

#include "report.h"

#define MARKER "@RECORDS@"

__asm__(".pushsection .rodata\n"
        "page_start: .incbin \"preload/command/page.html\"\n"
        "page_end:\n"
        ".popsection\n");
extern const char page_start[] __attribute__((visibility("hidden")));
extern const char page_end[] __attribute__((visibility("hidden")));

// ---- JSON --------------------------------------------------------------------------------------

// How many bytes the UTF-8 sequence at p has, 0: it is none (cut off, overlong, a surrogate).
static unsigned utf8_length(const unsigned char *p)
{
    unsigned n = *p < 0x80 ? 1 : *p >= 0xc2 && *p < 0xe0 ? 2 : (*p & 0xf0) == 0xe0 ? 3 : 4;
    if (n == 4 && (*p < 0xf0 || *p > 0xf4))
        return 0;
    for (unsigned i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] >= 0xa0) ||
        (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] >= 0x90))
        return 0;
    return n;
}

static void put_string(FILE *out, const char *text)
{
    if (!text) {
        fputs("null", out);
        return;
    }
    putc('"', out);
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        unsigned n = utf8_length(p);
        if (n == 0)
            fputs("\\ufffd", out);
        else if (*p < ' ' || *p == '<' || *p == '"' || *p == '\\')
            fprintf(out, "\\u%04x", *p);
        else
            fwrite(p, 1, n, out);
        p += n ? n : 1;
    }
    putc('"', out);
}

static void put_key(FILE *out, const char *key, const char *text)
{
    fprintf(out, ",\"%s\":", key);
    put_string(out, text);
}

// ---- the frames of a record, each once ---------------------------------------------------------

struct frame_table {
    const struct frame **frame; // sorted, without doubles
    size_t n;
};

static int text_compare(const char *a, const char *b)
{
    return a == b ? 0 : !a ? -1 : !b ? 1 : strcmp(a, b);
}

static int number_compare(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

// By everything that the page shows of it; the address counts only where nothing else is known.
static int frame_compare(const void *x, const void *y)
{
    const struct frame *a = *(const struct frame *const *)x, *b = *(const struct frame *const *)y;
    int order =
        number_compare(a->module ? a->offset : a->address, b->module ? b->offset : b->address);
    order = order ? order : text_compare(a->module, b->module);
    order = order ? order : text_compare(a->name, b->name);
    order = order ? order : text_compare(a->file, b->file);
    order = order ? order : number_compare(a->line, b->line);
    return order ? order : number_compare(a->inlined, b->inlined);
}

static struct frame_table frames_collect(const struct report *r)
{
    struct frame_table table = {NULL, 0};
    size_t n = 0;
    for (size_t i = 0; i < r->nsites; i++)
        n += r->sites[i].frames.n;
    table.frame = calloc(n + 1, sizeof(void *));
    if (!table.frame)
        abort();
    n = 0;
    for (size_t i = 0; i < r->nsites; i++)
        for (size_t k = 0; k < r->sites[i].frames.n; k++)
            table.frame[n++] = &r->sites[i].frames.frame[k];
    qsort(table.frame, n, sizeof(void *), frame_compare);
    for (size_t i = 0; i < n; i++)
        if (!table.n || frame_compare(&table.frame[table.n - 1], &table.frame[i]))
            table.frame[table.n++] = table.frame[i];
    return table;
}

// Its place in the table, which is its number on the page.
static size_t frame_number(const struct frame_table *table, const struct frame *frame)
{
    const struct frame **found =
        bsearch(&frame, table->frame, table->n, sizeof(void *), frame_compare);
    return (size_t)(found - table->frame);
}

static void put_frames(FILE *out, const struct frame_table *table)
{
    fputs(",\"frames\":[", out);
    for (size_t i = 0; i < table->n; i++) {
        const struct frame *f = table->frame[i];
        fprintf(out, "%s{\"address\":\"0x%llx\",\"offset\":\"0x%llx\",\"line\":%u",
                i ? ",\n" : "\n", (unsigned long long)f->address, (unsigned long long)f->offset,
                f->line);
        put_key(out, "name", f->name);
        put_key(out, "module", f->module);
        put_key(out, "file", f->file);
        if (f->linkage && text_compare(f->linkage, f->name))
            put_key(out, "linkage", f->linkage);
        fputs(f->inlined ? ",\"inlined\":true" : "", out);
        fputs(f->nearest ? ",\"nearest\":true}" : "}", out);
    }
    fputs("]", out);
}

// ---- sites and records -------------------------------------------------------------------------

static const char *const class_names[] = {
    [RAW_DIRECT] = "direct",       [RAW_INDIRECT] = "indirect", [RAW_POSSIBLE] = "possible",
    [RAW_ABANDONED] = "abandoned", [RAW_HIDDEN] = "hidden",     [RAW_LIVE] = "live"};

// The lines of a record that belong to a site, gathered by site: those of site s are
// item[start[s]] to item[start[s + 1]], in the record's order. Counted, not searched: a record can
// have a million objects.
struct gathered {
    size_t *start, *item;
};

static struct gathered gather(size_t nsites, size_t n, size_t (*site_of)(const void *, size_t),
                              const void *lines)
{
    struct gathered g = {calloc(nsites + 2, sizeof(size_t)), calloc(n + 1, sizeof(size_t))};
    if (!g.start || !g.item)
        abort();
    for (size_t i = 0; i < n; i++)
        g.start[site_of(lines, i) + 2]++;
    for (size_t s = 2; s <= nsites; s++)
        g.start[s] += g.start[s - 1];
    for (size_t i = 0; i < n; i++)
        g.item[g.start[site_of(lines, i) + 1]++] = i;
    return g;
}

static void gathered_free(struct gathered *g)
{
    free(g->start);
    free(g->item);
}

static size_t growth_site(const void *lines, size_t i)
{
    return ((const struct raw_growth *)lines)[i].site;
}

static size_t object_site(const void *lines, size_t i)
{
    return ((const struct raw_object *)lines)[i].site;
}

// What putting one record needs beside it.
struct page {
    const struct report *report;
    struct frame_table frames;
    struct gathered growth, objects;
};

// Its history, oldest first, as [seconds, objects, bytes].
static void put_points(FILE *out, const struct page *page, size_t site)
{
    fputs(",\"points\":[", out);
    for (size_t i = page->growth.start[site]; i < page->growth.start[site + 1]; i++) {
        const struct raw_growth *g = &page->report->record->growth[page->growth.item[i]];
        fprintf(out, "%s[%.1f,%llu,%llu]", i > page->growth.start[site] ? "," : "", g->when,
                (unsigned long long)g->objects, (unsigned long long)g->bytes);
    }
    fputs("]", out);
}

static void put_addresses(FILE *out, const struct page *page, size_t site)
{
    fputs(",\"addresses\":[", out);
    for (size_t i = page->objects.start[site]; i < page->objects.start[site + 1]; i++) {
        const struct raw_object *o = &page->report->record->objects[page->objects.item[i]];
        fprintf(out, "%s{\"address\":\"0x%llx\",\"bytes\":%llu",
                i > page->objects.start[site] ? "," : "", (unsigned long long)o->address,
                (unsigned long long)o->bytes);
        put_key(out, "held", o->held);
        fputs("}", out);
    }
    fputs("]", out);
}

static void put_site(FILE *out, const struct page *page, const struct report_site *site)
{
    const struct raw_site *raw = site->raw;
    size_t index = (size_t)(raw - page->report->record->sites);
    fprintf(out, "{\"class\":\"%s\",\"objects\":%llu,\"bytes\":%llu,\"first\":%.1f,\"last\":%.1f",
            class_names[raw->class], (unsigned long long)raw->objects,
            (unsigned long long)raw->bytes, raw->first, raw->last);
    fprintf(out, ",\"cycle\":%llu,\"found\":%.1f,\"growth\":%.1f", (unsigned long long)raw->cycle,
            raw->found, raw->growth);
    put_key(out, "suppressed", site->suppressed);
    fputs(",\"stack\":[", out);
    for (size_t k = 0; k < site->frames.n; k++)
        fprintf(out, "%s%zu", k ? "," : "", frame_number(&page->frames, &site->frames.frame[k]));
    fputs("]", out);
    put_points(out, page, index);
    if (page->report->objects)
        put_addresses(out, page, index);
    fputs("}", out);
}

static void put_process(FILE *out, const struct raw_record *record)
{
    fprintf(out, "{\"pid\":%llu,\"cycle\":%llu,\"sample\":%llu,\"when\":%.3f,\"uptime\":%.1f",
            (unsigned long long)record->pid, (unsigned long long)record->cycle,
            (unsigned long long)record->sample, record->when, record->uptime);
    fprintf(out, ",\"heap\":{\"live_bytes\":%llu,\"allocated_bytes\":%llu}",
            (unsigned long long)record->live_bytes, (unsigned long long)record->allocated_bytes);
    put_key(out, "exe", record->exe);
    put_key(out, "cmdline", record->cmdline);
    put_key(out, "reason", record->reason);
    put_key(out, "version", record->version);
    put_key(out, "failed", record->failed);
}

static void put_record(FILE *out, const struct report *r)
{
    const struct raw_record *record = r->record;
    struct page page = {
        .report = r,
        .frames = frames_collect(r),
        .growth = gather(record->nsites, record->ngrowth, growth_site, record->growth),
        .objects = gather(record->nsites, record->nobjects, object_site, record->objects)};
    put_process(out, record);
    put_frames(out, &page.frames);
    fputs(",\"sites\":[", out);
    bool first = true;
    for (size_t i = 0; i < r->nsites; i++) {
        if (r->sites[i].raw->class == RAW_ALLOCATED) // pprof's
            continue;
        fputs(first ? "\n" : ",\n", out);
        first = false;
        put_site(out, &page, &r->sites[i]);
    }
    fputs("]}", out);
    free(page.frames.frame);
    gathered_free(&page.growth);
    gathered_free(&page.objects);
}

void report_html(const struct report *const *r, size_t n, FILE *out)
{
    const char *marker = memmem(page_start, (size_t)(page_end - page_start), MARKER "</script>",
                                sizeof(MARKER "</script>") - 1);
    fwrite(page_start, 1, (size_t)(marker - page_start), out);
    fputs("{\"shown\":[\"direct\",\"indirect\"", out);
    fputs(n && r[0]->possible ? ",\"possible\"" : "", out);
    fputs(n && r[0]->abandoned ? ",\"abandoned\"" : "", out);
    fputs(n && r[0]->live ? ",\"live\"" : "", out);
    fputs("],\"records\":[", out);
    for (size_t i = 0; i < n; i++) {
        fputs(i ? ",\n" : "\n", out);
        put_record(out, r[i]);
    }
    fputs("]}", out);
    marker += sizeof(MARKER) - 1;
    fwrite(marker, 1, (size_t)(page_end - marker), out);
}
