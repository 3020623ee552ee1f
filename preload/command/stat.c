// salvage stat: one reading of a process, for people, for Prometheus and its kin, or as JSON.
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "link.h"
#include "process.h"
#include "reading.h"

enum format { FORMAT_TABLE, FORMAT_OPENMETRICS, FORMAT_JSON };

// ---- for people ---------------------------------------------------------------------------------

static void row_bytes(const char *name, uint64_t bytes)
{
    char text[32];
    printf("  %-22s %s\n", name, bytes_text(bytes, text, sizeof text));
}

static void row_pauses(const char *name, const struct reading_pauses *p)
{
    printf("  %-22s %" PRIu64 ", half up to %.3f ms, 99 %% up to %.3f ms, together %.3f ms\n", name,
           p->count, reading_pause(p, 50) * 1e3, reading_pause(p, 99) * 1e3, p->sum * 1e3);
}

static void table_show(const struct process *p, const struct reading *r)
{
    char command[256];
    process_command(p, command, sizeof command);
    printf("process %d: %s\n", p->pid, command);
    printf("  %-22s %s, for %.1f s\n", "mode", r->mode, r->uptime);
    row_bytes("heap live", r->live);
    row_bytes("heap goal", r->goal);
    row_bytes("allocated", r->allocated);
    row_bytes("freed", r->freed);
    row_bytes("reclaimed", r->reclaimed);
    if (r->leaked_known)
        row_bytes("leaked", r->leaked);
    row_bytes("given to the kernel", r->released);
    row_bytes("the collector's own", r->metadata);
    row_bytes("resident", p->resident);
    printf("  %-22s %" PRIu64 " (%" PRIu64 " given up), barrier %s\n", "collections", r->cycles,
           r->abandoned, r->barrier[0] ? r->barrier : "not chosen yet");
    for (size_t i = 0; i < r->reasons; i++)
        printf("  %-22s %" PRIu64 ": %s\n", "  given up", r->reason[i].count, r->reason[i].name);
    row_pauses("stops before the mark", &r->prepare);
    row_pauses("stops after the mark", &r->termination);
    printf("  %-22s %.3f s (", "collector's cpu", reading_cpu(r));
    for (size_t i = 0; i < 5; i++)
        printf("%s%s %.3f", i ? ", " : "", reading_cpu_names[i], r->cpu[i]);
    puts(")");
    printf("  %-22s %" PRIu64 "\n", "dirty pages", r->dirty);
}

// ---- JSON ---------------------------------------------------------------------------------------

static void json_text(const char *text)
{
    putchar('"');
    for (const unsigned char *c = (const unsigned char *)text; *c; c++)
        if (*c == '"' || *c == '\\')
            printf("\\%c", *c);
        else if (*c < ' ' || *c >= 0x7f) // bytes that may be no UTF-8 are shown as Latin-1
            printf("\\u%04x", *c);
        else
            putchar(*c);
    putchar('"');
}

static void json_pauses(const char *name, const struct reading_pauses *p)
{
    printf("\"%s\":{\"count\":%" PRIu64 ",\"sum\":%.9f,\"p50\":%.9f,\"p99\":%.9f}", name, p->count,
           p->sum, reading_pause(p, 50), reading_pause(p, 99));
}

static void json_show(const struct process *p, const struct reading *r)
{
    char command[1024];
    process_command(p, command, sizeof command);
    printf("{\"pid\":%d,\"command\":", p->pid);
    json_text(command);
    printf(",\"mode\":\"%s\",\"uptime_seconds\":%.3f", r->mode, r->uptime);
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"heap_live_bytes", r->live},
        {"heap_goal_bytes", r->goal},
        {"heap_allocated_bytes", r->allocated},
        {"heap_freed_bytes", r->freed},
        {"heap_reclaimed_bytes", r->reclaimed},
        {"released_bytes", r->released},
        {"metadata_bytes", r->metadata},
        {"resident_bytes", p->resident},
        {"dirty_pages", r->dirty},
        {"gc_cycles", r->cycles},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (numbers[i].value == UINT64_MAX)
            printf(",\"%s\":null", numbers[i].name);
        else
            printf(",\"%s\":%" PRIu64, numbers[i].name, numbers[i].value);
    if (r->leaked_known)
        printf(",\"leaked_bytes\":%" PRIu64, r->leaked);
    printf(",\"cycles_abandoned\":{");
    for (size_t i = 0; i < r->reasons; i++) {
        fputs(i ? "," : "", stdout);
        json_text(r->reason[i].name);
        printf(":%" PRIu64, r->reason[i].count);
    }
    printf("},\"barrier\":");
    json_text(r->barrier);
    printf(",\"gc_pause_seconds\":{");
    json_pauses("prepare", &r->prepare);
    putchar(',');
    json_pauses("termination", &r->termination);
    printf("},\"gc_cpu_seconds\":{");
    for (size_t i = 0; i < 5; i++)
        printf("%s\"%s\":%.9f", i ? "," : "", reading_cpu_names[i], r->cpu[i]);
    puts("}}");
}

// ---- the verb -----------------------------------------------------------------------------------

static bool format_parse(const char *word, enum format *out)
{
    static const char *const names[] = {"table", "openmetrics", "json"};
    for (unsigned i = 0; i < 3; i++)
        if (strcmp(word, names[i]) == 0) {
            *out = (enum format)i;
            return true;
        }
    complain("--format '%s': table, openmetrics or json", word);
    return false;
}

static void text_copy(FILE *from)
{
    char piece[4096];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, from)) > 0)
        fwrite(piece, 1, n, stdout);
}

static int reading_show(const struct process *p, struct link_answer *answer, enum format format)
{
    struct reading r;
    if (format == FORMAT_OPENMETRICS) {
        text_copy(answer->text);
        return COMMAND_OK;
    }
    if (!reading_parse(answer->text, &r))
        return complain("process %d (%s) broke off: try again", p->pid, p->name);
    snprintf(r.mode, sizeof r.mode, "%s", answer->mode);
    r.uptime = answer->uptime;
    if (format == FORMAT_JSON)
        json_show(p, &r);
    else
        table_show(p, &r);
    return COMMAND_OK;
}

int stat_main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"help", no_argument, NULL, 'h'}, {"format", required_argument, NULL, 'f'}, {0}};
    enum format format = FORMAT_TABLE;
    struct link_answer answer;
    struct process p;
    char why[LINK_WHY];
    int c;
    while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        if (c == 'h')
            return usage_show();
        if (c != 'f')
            return usage_error();
        if (!format_parse(optarg, &format))
            return COMMAND_FAILED;
    }
    int pid = pid_operand(argc, argv, optind);
    if (!pid)
        return usage_error();
    if (!link_ask_pid(pid, "stat\n", "asking", &answer))
        return COMMAND_FAILED;
    if (!process_read(pid, &p, why, sizeof why)) {
        fclose(answer.text);
        return complain("%s", why);
    }
    int status = reading_show(&p, &answer, format);
    fclose(answer.text);
    return status;
}
