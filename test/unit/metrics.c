// The metrics: the text by a checker of its format, which is itself shown broken texts, and the
// file as it is replaced, in a folder of its own.
#include "metrics.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../preload/lib/openmetrics.h"
#include "heap.h"
#include "options.h"
#include "stats.h"

#define MS UINT64_C(1000000)

static char text[SV_METRICS_ROOM + 1];
static char folder[] = "/tmp/salvage-metrics-XXXXXX";
static int log_file = -1;

static const char *text_now(void)
{
    struct sv_text t = sv_text_start(text, SV_METRICS_ROOM);
    sv_metrics_put(&t);
    cr_assert(t.p < t.end, "the text doesn't fit");
    *t.p = 0;
    return text;
}

static void cycle_count(unsigned ms)
{
    struct sv_stats_cycle c = {.barrier = "uffd", .assist = MS, .dirty = 7};
    sv_stats_stop(&c, SV_STOP_PREPARE, 1000 * MS, 1000 * MS, 1001 * MS);
    sv_stats_stop(&c, SV_STOP_TERMINATION, 2000 * MS, 2000 * MS, (2000 + ms) * MS);
    sv_stats_cycle(&c);
    sv_stats_goal(64 << 20);
}

// ---- the text -----------------------------------------------------------------------------------

#define WELL(what)                                                                                 \
    cr_assert(!openmetrics_check(text_now()), "%s: %s", what, openmetrics_check(text))
#define VALUE(sample, want)                                                                        \
    do {                                                                                           \
        double value = openmetrics_value(text, sample);                                            \
        cr_assert(value >= (want)-1e-9 && value <= (want) + 1e-9, "%s is %g", sample, value);      \
    } while (0)

Test(metrics, text_is_well_formed)
{
    WELL("at start");
    VALUE("salvage_gc_cycles_total", 0);
    sv_heap.allocated = 1000;
    sv_heap.freed = 200;
    sv_heap.reclaimed = 300;
    sv_heap.live = 500;
    for (unsigned ms = 0; ms < 40; ms++) {
        cycle_count(ms * ms * ms);
        WELL("after a cycle");
    }
    VALUE("salvage_gc_cycles_total", 40);
    VALUE("salvage_gc_pause_seconds_count{stop=\"prepare\"}", 40);
    VALUE("salvage_gc_pause_seconds_sum{stop=\"prepare\"}", 0.04);
    VALUE("salvage_gc_pause_seconds_bucket{stop=\"prepare\",le=\"0.001048576\"}", 40);
    VALUE("salvage_gc_pause_seconds_bucket{stop=\"prepare\",le=\"0.000786432\"}", 0);
    VALUE("salvage_gc_pause_seconds_bucket{stop=\"termination\",le=\"+Inf\"}", 40);
    VALUE("salvage_gc_pause_seconds_bucket{stop=\"termination\",le=\"17.179869184\"}", 26);
    VALUE("salvage_gc_cpu_seconds_total{class=\"assist\"}", 0.04);
    VALUE("salvage_dirty_pages", 7);
    VALUE("salvage_barrier_info{kind=\"uffd\"}", 1);
    VALUE("salvage_heap_goal_bytes", 64 << 20);
    VALUE("salvage_heap_live_bytes", 500);
    VALUE("salvage_heap_allocated_bytes_total", 1000);
    VALUE("salvage_heap_freed_bytes_total", 200);
    VALUE("salvage_heap_reclaimed_bytes_total", 300);
    cr_assert(openmetrics_value(text, "salvage_released_bytes") >= 0);
    cr_assert(openmetrics_value(text, "salvage_metadata_bytes") >= 0);
}

// The greatest numbers, as many reasons as there can be, in characters that need escapes.
Test(metrics, text_fits_at_its_longest)
{
    static char reasons[20][64];
    struct sv_stats_cycle c = {.barrier = "soft\"dirty\\\n"};
    for (int i = 0; i < 20; i++) {
        snprintf(reasons[i], sizeof reasons[i], "%d \"quoted\" \\ and a\nline of forty characters",
                 i);
        sv_stats_abandoned(&c, reasons[i]);
    }
    sv_heap.allocated = sv_heap.freed = sv_heap.reclaimed = UINT64_MAX - 1;
    sv_heap.live = UINT64_MAX - 1;
    sv_heap.trigger = UINT64_MAX;
    for (int i = 0; i < 2; i++) {
        struct sv_histogram *h = (struct sv_histogram *)(uintptr_t)sv_stats_pauses(i);
        h->count[0] = UINT64_MAX;
        h->sum = UINT64_MAX;
    }
    for (int i = 0; i < SV_NCPU; i++)
        sv_stats_cpu_add(i, UINT64_MAX);
    WELL("at its longest");
    cr_assert(strstr(text, "salvage_heap_goal_bytes +Inf\n"));
    cr_assert(strstr(text, "{reason=\"3 \\\"quoted\\\" \\\\ and a line"), "%s", text);
    cr_assert(strstr(text, "{kind=\"soft\\\"dirty\\\\ \"} 1\n"));
    cr_assert(strlen(text) < SV_METRICS_ROOM * 2 / 3, "%zu bytes", strlen(text));
}

// A text with its first `from` replaced is refused.
static void refused(const char *from, const char *to)
{
    static char broken[2 * SV_METRICS_ROOM];
    const char *at = strstr(text, from);
    cr_assert(at, "%s", from);
    snprintf(broken, sizeof broken, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    cr_assert(openmetrics_check(broken), "'%s' for '%s' passes", to, from);
}

Test(metrics, checker_refuses)
{
    cycle_count(3);
    WELL("as it is");
    refused("# EOF\n", "");
    refused("# EOF\n", "# EOF\n\n");
    refused("# EOF\n", "# EOF");
    refused("salvage_gc_cycles_total 1", "salvage_gc_cycles 1");
    refused("salvage_gc_cycles_total 1", "salvage_gc_cycles_total -1");
    refused("salvage_gc_cycles_total 1", "salvage_gc_cycles_total  1");
    refused("salvage_gc_cycles_total 1", "salvage_gc_cycles_total 1\n");
    refused("salvage_gc_cycles_total 1", "salvage_gc_cycles_total 1\nsalvage_gc_cycles_total 1");
    refused("# TYPE salvage_gc_cycles counter", "# TYPE salvage_gc_cycles meter");
    refused("# TYPE salvage_dirty_pages gauge\n", "");
    refused("# TYPE salvage_dirty_pages gauge", "# TYPE salvage_gc_cycles gauge");
    refused("# UNIT salvage_dirty_pages pages", "# UNIT salvage_dirty_pages page");
    refused("# HELP salvage_dirty_pages", "# HELP salvage_dirty_page");
    refused("{class=\"assist\"}", "{class=\"assist}");
    refused("{class=\"assist\"}", "{class=assist}");
    refused("{class=\"idle\"}", "{class=\"assist\"}");
    refused("le=\"0.001048576\"", "le=\"0.000048576\"");
    refused("le=\"0.002097152\"} 1", "le=\"0.002097152\"} 0");
    refused("salvage_gc_pause_seconds_bucket{stop=\"prepare\",le=\"+Inf\"} 1\n", "");
    refused("salvage_gc_pause_seconds_count{stop=\"prepare\"} 1",
            "salvage_gc_pause_seconds_count{stop=\"prepare\"} 2");
    refused("uffd\"} 1", "uffd\"} 2");
}

// ---- the file -----------------------------------------------------------------------------------

static void file_setup(void)
{
    cr_assert(mkdtemp(folder));
    log_file = memfd_create("log", 0);
    sv_log_set(log_file);
}

static void file_teardown(void)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    cr_assert(system(command) == 0);
}

static unsigned entries(const char *path)
{
    unsigned n = 0;
    DIR *d = opendir(path);
    for (struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

static const char *file_read(const char *name)
{
    static char path[256], found[SV_METRICS_ROOM + 1];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    if (!file)
        return NULL;
    found[fread(found, 1, sizeof found - 1, file)] = 0;
    fclose(file);
    return found;
}

// Lines in the log so far.
static unsigned logged(const char *word)
{
    static char lines[4096];
    unsigned n = 0;
    long got = pread(log_file, lines, sizeof lines - 1, 0);
    lines[got > 0 ? got : 0] = 0;
    for (char *c = lines; *c; c++)
        n += *c == '\n';
    cr_assert(n == 0 || strstr(lines, word), "no %s in: %s", word, lines);
    return n;
}

static void option(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(sv_options.stats, sizeof sv_options.stats, format, args);
    va_end(args);
    sv_metrics_start();
}

TestSuite(metrics_file, .init = file_setup, .fini = file_teardown);

Test(metrics_file, none_without_the_option)
{
    cr_assert(chdir(folder) == 0);
    sv_metrics_start();
    sv_metrics_write();
    cr_assert(entries(folder) == 0 && logged("") == 0);
}

Test(metrics_file, is_replaced_as_a_whole)
{
    char path[256];
    struct stat first, second;
    unsigned descriptors = entries("/proc/self/fd");
    option("%s/m", folder);
    snprintf(path, sizeof path, "%s/m", folder);
    sv_metrics_write();
    cr_assert(!openmetrics_check(file_read("m")) && stat(path, &first) == 0);
    int old = open(path, O_RDONLY);
    cycle_count(2);
    sv_metrics_write();
    cr_assert(!openmetrics_check(file_read("m")) && stat(path, &second) == 0);
    cr_assert(openmetrics_value(file_read("m"), "salvage_gc_cycles_total") == 1);
    cr_assert(first.st_ino != second.st_ino && (second.st_mode & 0777) == (0644 & ~0022));
    cr_assert(read(old, text, sizeof text - 1) == first.st_size);
    cr_assert(openmetrics_value(text, "salvage_gc_cycles_total") == 0);
    close(old);
    cr_assert(entries(folder) == 1 && entries("/proc/self/fd") == descriptors);
    cr_assert(logged("") == 0);
}

Test(metrics_file, relative_is_meant_from_the_start)
{
    char name[64];
    cr_assert(chdir(folder) == 0 && mkdir("sub", 0755) == 0);
    option("sub/m.%%p");
    cr_assert(chdir("/") == 0);
    sv_metrics_write();
    snprintf(name, sizeof name, "sub/m.%d", (int)getpid());
    cr_assert(file_read(name) && !openmetrics_check(file_read(name)));
}

// The name of the folder is no pattern.
Test(metrics_file, folders_with_a_percent_sign)
{
    cr_assert(chdir(folder) == 0 && mkdir("%p", 0755) == 0 && chdir("%p") == 0);
    option("m");
    sv_metrics_write();
    cr_assert(file_read("%p/m"));
}

Test(metrics_file, failure_is_told_once)
{
    option("%s/none/m", folder);
    for (int i = 0; i < 3; i++)
        sv_metrics_write();
    cr_assert(logged("/none/m'") == 1);
    mkdir(strcat(strcpy(text, folder), "/none"), 0755);
    sv_metrics_write();
    cr_assert(file_read("none/m") && logged("/none/m'") == 1);
}

Test(metrics_file, what_is_no_file_stays)
{
    static const char *const names[] = {"fifo", "link", "folder"};
    cr_assert(chdir(folder) == 0 && mkfifo("fifo", 0600) == 0 && mkdir("folder", 0755) == 0);
    cr_assert(symlink("target", "link") == 0);
    for (unsigned i = 0; i < 3; i++) {
        struct stat before, after;
        option("%s/%s", folder, names[i]);
        cr_assert(lstat(names[i], &before) == 0);
        sv_metrics_write();
        cr_assert(lstat(names[i], &after) == 0 && before.st_ino == after.st_ino, "%s", names[i]);
    }
    cr_assert(entries(folder) == 3 && logged("fifo") == 1);
}

// Somebody's link under the name of the new file isn't followed.
Test(metrics_file, planted_link)
{
    char name[64];
    cr_assert(chdir(folder) == 0);
    int fd = open("victim", O_CREAT | O_WRONLY, 0600);
    cr_assert(fd >= 0);
    close(fd);
    snprintf(name, sizeof name, "m.%d.new", (int)getpid());
    cr_assert(symlink("victim", name) == 0);
    option("m");
    sv_metrics_write();
    cr_assert(file_read("m") && *file_read("victim") == 0 && entries(folder) == 2);
}

// No SIGXFSZ for the program.
Test(metrics_file, small_file_limit)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    option("%s/m", folder);
    limit.rlim_cur = 100;
    setrlimit(RLIMIT_FSIZE, &limit);
    signal(SIGXFSZ, SIG_DFL);
    struct sv_text t = sv_text_start(text, sizeof text);
    sv_metrics_put(&t);
    sv_log_set(-1);
    sv_metrics_write();
    cr_assert(entries(folder) == 0);
    limit.rlim_cur = RLIM_INFINITY;
    setrlimit(RLIMIT_FSIZE, &limit);
    sv_metrics_write();
    cr_assert(!openmetrics_check(file_read("m")));
}

Test(metrics_file, names_that_are_too_long)
{
    memset(sv_options.stats, 'x', sizeof sv_options.stats - 1);
    cr_assert(chdir(folder) == 0);
    sv_metrics_start();
    sv_metrics_write();
    cr_assert(entries(folder) == 0 && logged("xxx") == 1);
    for (unsigned i = 0; i + 2 < sizeof sv_options.stats; i += 2)
        memcpy(sv_options.stats + i, "%p", 2);
    sv_metrics_write();
    cr_assert(entries(folder) == 0 && logged("xxx") == 1);
}
