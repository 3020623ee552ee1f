// The report in valgrind's XML, protocol 4, for the tools that read Memcheck's: an error for each
// stack. Kinds are valgrind's words for the classes. The protocol has one process to a file; with
// several, each error says whose it is.
#include <libxml/xmlwriter.h>
#include <stdlib.h>
#include <string.h>

#include "render.h"

static void element(xmlTextWriter *w, const char *name, const char *value)
{
    struct text room = {0};
    xmlTextWriterWriteElement(w, BAD_CAST name, BAD_CAST text_clean(&room, value, true));
    free(room.s);
}

static void element_number(xmlTextWriter *w, const char *name, uint64_t value)
{
    xmlTextWriterWriteFormatElement(w, BAD_CAST name, "%" PRIu64, value);
}

static void begin(xmlTextWriter *w, const char *name)
{
    xmlTextWriterStartElement(w, BAD_CAST name);
}

static void end(xmlTextWriter *w)
{
    xmlTextWriterEndElement(w);
}

// ---- errors ------------------------------------------------------------------------------------

static void source_write(xmlTextWriter *w, const struct frame *f)
{
    const char *slash = strrchr(f->file, '/');
    if (slash) {
        char *dir = room_text(f->file, (size_t)(slash - f->file));
        element(w, "dir", dir);
        free(dir);
    }
    element(w, "file", slash ? slash + 1 : f->file);
    if (f->line)
        element_number(w, "line", f->line);
}

static void frame_write(xmlTextWriter *w, const struct frame *f)
{
    begin(w, "frame");
    xmlTextWriterWriteFormatElement(w, BAD_CAST "ip", "0x%" PRIX64, f->address);
    if (f->module)
        element(w, "obj", f->module);
    if (f->name && !f->nearest)
        element(w, "fn", f->name);
    if (f->file)
        source_write(w, f);
    end(w);
}

static void what_write(xmlTextWriter *w, const struct report_site *site)
{
    static const char *const words[] = {
        [RAW_DIRECT] = "definitely lost",    [RAW_INDIRECT] = "indirectly lost",
        [RAW_POSSIBLE] = "possibly lost",    [RAW_HIDDEN] = "hidden",
        [RAW_ABANDONED] = "still reachable", [RAW_LIVE] = "still reachable",
    };
    const struct raw_site *raw = site->raw;
    begin(w, "xwhat");
    xmlTextWriterWriteFormatElement(w, BAD_CAST "text",
                                    "%" PRIu64 " bytes in %" PRIu64 " blocks are %s", raw->bytes,
                                    raw->objects, words[raw->class]);
    element_number(w, "leakedbytes", raw->bytes);
    element_number(w, "leakedblocks", raw->objects);
    end(w);
}

static void error_write(xmlTextWriter *w, const struct report *r, const struct report_site *site,
                        uint64_t number, bool many)
{
    static const char *const kinds[] = {
        [RAW_DIRECT] = "Leak_DefinitelyLost",    [RAW_INDIRECT] = "Leak_IndirectlyLost",
        [RAW_POSSIBLE] = "Leak_PossiblyLost",    [RAW_HIDDEN] = "Leak_PossiblyLost",
        [RAW_ABANDONED] = "Leak_StillReachable", [RAW_LIVE] = "Leak_StillReachable",
    };
    begin(w, "error");
    xmlTextWriterWriteFormatElement(w, BAD_CAST "unique", "0x%" PRIx64, number);
    element_number(w, "tid", 1);
    element(w, "kind", kinds[site->raw->class]);
    what_write(w, site);
    begin(w, "stack");
    for (size_t i = 0; i < site->frames.n; i++)
        frame_write(w, &site->frames.frame[i]);
    end(w);
    if (many)
        xmlTextWriterWriteFormatElement(w, BAD_CAST "auxwhat", "in process %" PRIu64,
                                        r->record->pid);
    end(w);
}

// ---- the document ------------------------------------------------------------------------------

static void status_write(xmlTextWriter *w, const char *state, double seconds)
{
    uint64_t ms = (uint64_t)(seconds * 1000);
    begin(w, "status");
    element(w, "state", state);
    xmlTextWriterWriteFormatElement(
        w, BAD_CAST "time", "%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ".%03" PRIu64,
        ms / 86400000, ms / 3600000 % 24, ms / 60000 % 60, ms / 1000 % 60, ms % 1000);
    end(w);
}

// The command line came as one text, arguments joined by a space.
static void args_write(xmlTextWriter *w, const struct raw_record *record)
{
    const char *rest = strchr(record->cmdline, ' ');
    begin(w, "args");
    begin(w, "vargv");
    element(w, "exe", "salvage");
    end(w);
    begin(w, "argv");
    element(w, "exe", record->exe);
    while (rest) {
        rest++;
        char *arg = room_text(rest, strcspn(rest, " "));
        element(w, "arg", arg);
        free(arg);
        rest = strchr(rest, ' ');
    }
    end(w);
    end(w);
}

static void head_write(xmlTextWriter *w, const struct raw_record *record)
{
    element(w, "protocolversion", "4");
    element(w, "protocoltool", "memcheck");
    begin(w, "preamble");
    xmlTextWriterWriteFormatElement(w, BAD_CAST "line", "Salvage %s, a leak detector",
                                    record->version);
    end(w);
    element_number(w, "pid", record->pid);
    element_number(w, "ppid", record->ppid);
    element(w, "tool", "memcheck");
    args_write(w, record);
    status_write(w, "RUNNING", 0);
}

static void suppressed_write(xmlTextWriter *w, const struct report *const *r, size_t n)
{
    begin(w, "suppcounts");
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < r[i]->nsites; j++) {
            const struct report_site *site = &r[i]->sites[j];
            struct report_site bare = {.raw = site->raw};
            if (!site->suppressed || !report_leaks(r[i], &bare))
                continue;
            begin(w, "pair");
            element_number(w, "count", site->raw->objects);
            element(w, "name", site->suppressed);
            end(w);
        }
    }
    end(w);
}

static void errors_write(xmlTextWriter *w, const struct report *const *r, size_t n)
{
    uint64_t number = 0;
    for (size_t i = 0; i < n; i++) {
        size_t sites;
        size_t *order = report_order(r[i], &sites);
        for (size_t j = 0; j < sites; j++)
            error_write(w, r[i], &r[i]->sites[order[j]], number++, n > 1);
        free(order);
    }
}

static int stream_write(void *stream, const char *bytes, int n)
{
    return fwrite(bytes, 1, (size_t)n, stream) == (size_t)n ? n : -1;
}

void report_xml(const struct report *const *r, size_t n, FILE *out)
{
    xmlOutputBuffer *buffer = xmlOutputBufferCreateIO(stream_write, NULL, out, NULL);
    xmlTextWriter *w = buffer ? xmlNewTextWriter(buffer) : NULL;
    if (!w)
        room_end();
    xmlTextWriterSetIndent(w, 1);
    xmlTextWriterStartDocument(w, NULL, NULL, NULL);
    begin(w, "valgrindoutput");
    if (n) {
        head_write(w, r[n - 1]->record);
        errors_write(w, r, n);
        status_write(w, "FINISHED", r[n - 1]->record->uptime);
    }
    begin(w, "errorcounts");
    end(w);
    suppressed_write(w, r, n);
    xmlTextWriterEndDocument(w);
    xmlFreeTextWriter(w);
}
