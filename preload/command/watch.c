// Looking at all processes: which have the library in them, and what they say. A process is known
// by its id and its start, so that a new one under an old number starts with nothing.
//
// What a process loses: in mode=collect what the collector took back, since the program didn't; in
// mode=leaks what is lost now. Both come in jumps, one at each collection, so the rate is taken
// over a minute, and at first over the process's whole life.
#include "watch.h"

#include <dirent.h>
#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "command.h"
#include "link.h"

#define WINDOW 60.0  // seconds that a rate is taken over
#define PATIENCE 0.5 // seconds that a process has to answer

const char *const watch_keys[WATCH_NKEYS] = {"pid",  "live",  "goal", "reclaimed",
                                             "rate", "pause", "cpu"};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double lost(const struct reading *r)
{
    if (r->leaked_known)
        return (double)r->leaked;
    return strcmp(r->mode, "collect") == 0 ? (double)r->reclaimed : NAN;
}

static void sample_add(struct watched *row)
{
    size_t drop = row->samples == WATCH_SAMPLES;
    double at = now();
    while (row->samples > drop + 1 && at - row->sample[drop].at > WINDOW)
        drop++;
    memmove(row->sample, row->sample + drop, (row->samples - drop) * sizeof *row->sample);
    row->samples -= drop;
    row->sample[row->samples].at = at;
    row->sample[row->samples].lost = lost(&row->r);
    row->sample[row->samples++].cpu = reading_cpu(&row->r);
}

static void rates_set(struct watched *row)
{
    sample_add(row);
    size_t last = row->samples - 1;
    if (last == 0) {
        double up = row->r.uptime > 1 ? row->r.uptime : 1;
        row->rate = row->sample[0].lost / up * 60;
        row->cpu = row->sample[0].cpu / up;
        return;
    }
    row->rate = (row->sample[last].lost - row->sample[0].lost) /
                (row->sample[last].at - row->sample[0].at) * 60;
    row->cpu = (row->sample[last].cpu - row->sample[last - 1].cpu) /
               (row->sample[last].at - row->sample[last - 1].at);
}

static void row_ask(struct watched *row)
{
    struct link_patience patience = {.seconds = PATIENCE};
    struct link_answer answer;
    char why[LINK_WHY];
    row->answered = link_ask(&row->process, "stat\n", &patience, &answer, why);
    if (!row->answered)
        return;
    row->answered = reading_parse(answer.text, &row->r);
    fclose(answer.text);
    if (!row->answered)
        return;
    snprintf(row->r.mode, sizeof row->r.mode, "%s", answer.mode);
    row->r.uptime = answer.uptime;
    row->pause = fmax(reading_pause(&row->r.prepare, 99), reading_pause(&row->r.termination, 99));
    rates_set(row);
}

static struct watched *row_find(struct watch *w, const struct process *p)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->row[i].process.pid == p->pid && w->row[i].process.started == p->started)
            return &w->row[i];
    if (w->n == w->room) {
        size_t room = w->room ? 2 * w->room : 16;
        struct watched *more = memory_take(room * sizeof *more);
        if (w->n)
            memcpy(more, w->row, w->n * sizeof *more);
        free(w->row);
        w->row = more;
        w->room = room;
    }
    memset(&w->row[w->n], 0, sizeof *w->row);
    return &w->row[w->n++];
}

static void process_look(struct watch *w, int pid)
{
    struct process p;
    char why[LINK_WHY];
    if (!process_read(pid, &p, why, sizeof why))
        return;
    if (!process_mine(&p, why, sizeof why)) {
        w->hidden++;
        return;
    }
    if (process_preloaded(pid) != 1)
        return;
    struct watched *row = row_find(w, &p);
    const struct passwd *user = getpwuid(p.effective);
    row->process = p;
    row->seen = true;
    if (user)
        snprintf(row->user, sizeof row->user, "%s", user->pw_name);
    else
        snprintf(row->user, sizeof row->user, "%u", (unsigned)p.effective);
    process_command(&p, row->command, sizeof row->command);
    row_ask(row);
}

void watch_look(struct watch *w)
{
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    uint64_t pid;
    w->hidden = 0;
    for (size_t i = 0; i < w->n; i++)
        w->row[i].seen = false;
    while (dir && (entry = readdir(dir)))
        if (number_parse(entry->d_name, 1, INT32_MAX, &pid))
            process_look(w, (int)pid);
    if (dir)
        closedir(dir);
    size_t kept = 0;
    for (size_t i = 0; i < w->n; i++)
        if (w->row[i].seen)
            w->row[kept++] = w->row[i];
    w->n = kept;
}

// ---- the table ----------------------------------------------------------------------------------

static double key_value(const struct watched *row, enum watch_key key)
{
    const double values[] = {
        [WATCH_PID] = -row->process.pid,
        [WATCH_LIVE] = (double)row->r.live,
        [WATCH_GOAL] = (double)row->r.goal,
        [WATCH_RECLAIMED] = (double)row->r.reclaimed,
        [WATCH_RATE] = isnan(row->rate) ? 0 : row->rate,
        [WATCH_PAUSE] = row->pause,
        [WATCH_CPU] = row->cpu,
    };
    return values[key];
}

static enum watch_key sort_key;

static int rows_compare(const void *a, const void *b)
{
    const struct watched *x = a, *y = b;
    if (x->answered != y->answered)
        return x->answered ? -1 : 1;
    double vx = key_value(x, sort_key), vy = key_value(y, sort_key);
    if (vx != vy)
        return vx > vy ? -1 : 1;
    return (x->process.pid > y->process.pid) - (x->process.pid < y->process.pid);
}

void watch_sort(struct watch *w, enum watch_key key)
{
    sort_key = key;
    if (w->n)
        qsort(w->row, w->n, sizeof *w->row, rows_compare);
}

// "12.3M", in five columns.
static const char *bytes_short(double v, char out[16])
{
    static const char units[] = "BKMGT";
    size_t unit = 0;
    bool less = v < 0;
    v = fabs(v);
    if (isnan(v) || v >= 1e18)
        return strcpy(out, "-");
    for (; v >= 1000 && unit < 4; unit++)
        v /= 1024;
    snprintf(out, 16, v < 10 && unit ? "%s%.1f%c" : "%s%.0f%c", less ? "-" : "", v, units[unit]);
    return out;
}

void watch_line(const struct watched *row, char *out, size_t room, int width)
{
    char live[16], goal[16], reclaimed[16], rate[16];
    if (!row) {
        snprintf(out, room, "%7s %-8s %-7s %6s %6s %7s %8s %8s %5s %5s %s", "PID", "USER", "MODE",
                 "LIVE", "GOAL", "RECLAIM", "LOST/MIN", "PAUSE99", "CPU%", "GCS", "COMMAND");
    } else if (!row->answered) {
        snprintf(out, room, "%7d %-8.8s %-7s %6s %6s %7s %8s %8s %5s %5s %s", row->process.pid,
                 row->user, "-", "-", "-", "-", "-", "-", "-", "-", row->command);
    } else {
        snprintf(out, room, "%7d %-8.8s %-7s %6s %6s %7s %8s %6.2fms %5.1f %5llu %s",
                 row->process.pid, row->user, row->r.mode, bytes_short((double)row->r.live, live),
                 bytes_short((double)row->r.goal, goal),
                 bytes_short((double)row->r.reclaimed, reclaimed), bytes_short(row->rate, rate),
                 row->pause * 1e3, row->cpu * 100, (unsigned long long)row->r.cycles, row->command);
    }
    if (width >= 0 && (size_t)width < strlen(out))
        out[width] = 0;
}
