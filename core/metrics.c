// The statistics in the OpenMetrics text format 1.0, names after Go's runtime/metrics.
//
// The file is replaced as a whole: a new one is written beside it and renamed onto it, so a reader
// sees the old text or the new one and never a part. The new one's name holds the process id, since
// a forked child has inherited the option; it is made anew each time (O_EXCL), so a link that
// somebody planted there isn't followed. What stands under the name already is replaced only if it
// is a regular file: `stats=/dev/null` must not cost a system its device.
//
// Whoever runs the cycle writes, a thread of the program's or a worker with a descriptor table of
// its own: nothing stays open between cycles, and the name is absolute, because the program changes
// its directory as it likes. Buffers are static, under the cycle lock: neither memory nor much
// stack is needed.
#include "metrics.h"

#include <errno.h>
#include <fcntl.h>

#include "options.h"
#include "os.h"
#include "sites.h"
#include "stats.h"

#define PATH_ROOM 4096

static struct {
    char folder[PATH_ROOM]; // const: what a relative name is meant from
    char path[PATH_ROOM + sizeof sv_options.stats + 32];  // cycle lock
    char fresh[PATH_ROOM + sizeof sv_options.stats + 64]; // cycle lock: the new file's
    char text[SV_METRICS_ROOM];                           // cycle lock
    bool complained;                                      // cycle lock
} metrics;

void sv_metrics_start(void)
{
    if (sv_options.stats[0] == 0 || sv_options.stats[0] == '/')
        return;
    long n = sv_os_cwd(metrics.folder, sizeof metrics.folder);
    // a folder that lies outside of the root has no absolute name: "(unreachable)..."
    if (n < 2 || metrics.folder[0] != '/')
        metrics.folder[0] = 0;
}

// ---- the text -----------------------------------------------------------------------------------

// The lines in front of a family's samples. unit: "" where it has none.
static void family(struct sv_text *t, const char *name, const char *type, const char *unit,
                   const char *help)
{
    sv_text_put(t, "# TYPE %s %s\n", name, type);
    if (*unit)
        sv_text_put(t, "# UNIT %s %s\n", name, unit);
    sv_text_put(t, "# HELP %s %s\n", name, help);
}

static void put_label(struct sv_text *t, const char *name, const char *value)
{
    sv_text_put(t, "{%s=\"", name);
    for (; *value; value++) {
        if (*value == '\\' || *value == '"')
            sv_text_put(t, "\\");
        sv_text_put(t, "%c", *value < ' ' ? ' ' : *value);
    }
    sv_text_put(t, "\"}");
}

static void gauge(struct sv_text *t, const char *name, const char *unit, uint64_t v,
                  const char *help)
{
    family(t, name, "gauge", unit, help);
    if (v == UINT64_MAX) // no goal
        sv_text_put(t, "%s +Inf\n", name);
    else
        sv_text_put(t, "%s %U\n", name, v);
}

static void counter(struct sv_text *t, const char *name, const char *unit, uint64_t v,
                    const char *help)
{
    family(t, name, "counter", unit, help);
    sv_text_put(t, "%s_total %U\n", name, v);
}

// Every other bucket of ours: two to a doubling are fine enough for a file that people read, too.
static void put_pauses(struct sv_text *t, const char *stop, const struct sv_histogram *h)
{
    uint64_t seen = 0;
    for (unsigned i = 0; i < SV_HISTOGRAM_N; i++) {
        seen += atomic_load_explicit(&h->count[i], memory_order_relaxed);
        if (i % 2 && i < SV_HISTOGRAM_N - 1)
            continue;
        sv_text_put(t, "salvage_gc_pause_seconds_bucket{stop=\"%s\",le=\"", stop);
        if (i < SV_HISTOGRAM_N - 1)
            sv_text_fixed(t, sv_histogram_end(i), 9);
        else
            sv_text_put(t, "+Inf");
        sv_text_put(t, "\"} %U\n", seen);
    }
    sv_text_put(t, "salvage_gc_pause_seconds_count{stop=\"%s\"} %U\n", stop, seen);
    sv_text_put(t, "salvage_gc_pause_seconds_sum{stop=\"%s\"} ", stop);
    sv_text_fixed(t, atomic_load_explicit(&h->sum, memory_order_relaxed), 9);
    sv_text_put(t, "\n");
}

static void put_cpu(struct sv_text *t, const struct sv_stats_read *now)
{
    static const char *const classes[SV_NCPU] = {
        [SV_CPU_ASSIST] = "assist", [SV_CPU_BACKGROUND] = "background", [SV_CPU_IDLE] = "idle",
        [SV_CPU_PAUSE] = "pause",   [SV_CPU_SWEEP] = "sweep",
    };
    family(t, "salvage_gc_cpu_seconds", "counter", "seconds",
           "Processor time of the collector; a pause counts for every processor.");
    for (unsigned i = 0; i < SV_NCPU; i++) {
        sv_text_put(t, "salvage_gc_cpu_seconds_total");
        put_label(t, "class", classes[i]);
        sv_text_put(t, " ");
        sv_text_fixed(t, now->cpu[i], 9);
        sv_text_put(t, "\n");
    }
}

static void put_reason(void *arg, const char *reason, uint64_t count)
{
    struct sv_text *t = arg;
    sv_text_put(t, "salvage_cycles_abandoned_total");
    put_label(t, "reason", reason);
    sv_text_put(t, " %U\n", count);
}

static void put_gc(struct sv_text *t, const struct sv_stats_read *now)
{
    counter(t, "salvage_gc_cycles", "", now->cycles, "Collections finished.");
    family(t, "salvage_cycles_abandoned", "counter", "",
           "Collections given up without reclaiming anything.");
    sv_stats_reasons(put_reason, t);
    family(t, "salvage_gc_pause_seconds", "histogram", "seconds",
           "Stops of the program, before the mark and after it.");
    put_pauses(t, "prepare", sv_stats_pauses(SV_STOP_PREPARE));
    put_pauses(t, "termination", sv_stats_pauses(SV_STOP_TERMINATION));
    put_cpu(t, now);
    gauge(t, "salvage_dirty_pages", "pages", now->dirty,
          "Pages found written while the last collection marked.");
    if (now->barrier) {
        family(t, "salvage_barrier", "info", "", "How written pages are found.");
        sv_text_put(t, "salvage_barrier_info");
        put_label(t, "kind", now->barrier);
        sv_text_put(t, " 1\n");
    }
}

static void put_heap(struct sv_text *t, const struct sv_stats_read *now)
{
    gauge(t, "salvage_heap_live_bytes", "bytes", now->heap_live,
          "Held by the program or in its threads' caches.");
    gauge(t, "salvage_heap_goal_bytes", "bytes", now->heap_goal,
          "What the next collection is meant to end below.");
    counter(t, "salvage_heap_reclaimed_bytes", "bytes", now->reclaimed,
            "Brought back by the collector alone.");
    counter(t, "salvage_heap_freed_bytes", "bytes", now->freed, "Brought back by free().");
    counter(t, "salvage_heap_allocated_bytes", "bytes", now->allocated, "Taken from the heap.");
    gauge(t, "salvage_metadata_bytes", "bytes", now->metadata, "The collector's own memory.");
    gauge(t, "salvage_released_bytes", "bytes", now->released,
          "Given back to the kernel since the start.");
    if (sv_options.mode == SV_MODE_LEAKS)
        gauge(t, "salvage_leaked_bytes", "bytes", sv_sites_lost_bytes(),
              "Lost by the program, by the last collection.");
}

void sv_metrics_put(struct sv_text *t)
{
    struct sv_stats_read now;
    sv_stats_read(&now);
    put_gc(t, &now);
    put_heap(t, &now);
    sv_text_put(t, "# EOF\n");
}

// ---- the file -----------------------------------------------------------------------------------

// Both names; false: too long.
static bool names_make(void)
{
    struct sv_text t = sv_text_start(metrics.path, sizeof metrics.path - 1);
    if (metrics.folder[0])
        sv_text_put(&t, "%s/", metrics.folder);
    sv_text_path(&t, sv_options.stats);
    bool fits = t.p < t.end;
    *t.p = 0;
    t = sv_text_start(metrics.fresh, sizeof metrics.fresh - 1);
    sv_text_put(&t, "%s.%d.new", metrics.path, sv_os_getpid());
    *t.p = 0;
    return fits && t.p < t.end;
}

static int bytes_write(int fd, const char *p, size_t bytes)
{
    while (bytes > 0) {
        long n = sv_os_write(fd, p, bytes);
        if (n == -EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? (int)n : -EIO;
        p += n;
        bytes -= (size_t)n;
    }
    return 0;
}

static int file_write(const char *text, size_t bytes)
{
    if (!names_make())
        return -ENAMETOOLONG;
    if (sv_os_file_special(metrics.path))
        return -EEXIST;
    if (sv_os_file_limit() < bytes) // the kernel would send SIGXFSZ
        return -EFBIG;
    sv_os_unlink(metrics.fresh); // of an earlier process with our id that was killed here
    int fd = sv_os_open_high(metrics.fresh, O_WRONLY | O_CREAT | O_EXCL, 0644);
    if (fd < 0)
        return fd;
    int error = bytes_write(fd, text, bytes);
    sv_os_close(fd);
    if (!error)
        error = sv_os_rename(metrics.fresh, metrics.path);
    if (error)
        sv_os_unlink(metrics.fresh);
    return error;
}

void sv_metrics_write(void)
{
    if (sv_options.stats[0] == 0)
        return;
    struct sv_text t = sv_text_start(metrics.text, sizeof metrics.text);
    sv_metrics_put(&t);
    int error = file_write(metrics.text, (size_t)(t.p - t.start));
    if (error && !metrics.complained) {
        metrics.complained = true;
        sv_log("salvage: SALVAGE: option 'stats': can't write '%s' (error %d)", metrics.path,
               -error);
    }
}
