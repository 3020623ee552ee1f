// The totals and the gctrace lines. Every test has a process of its own, so the totals start at 0.
#include "stats.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "os.h"
#include "text.h"

#define MS UINT64_C(1000000)
#define S UINT64_C(1000000000)

static const uint64_t start = 5000 * S;
static char said[1 << 16];
static int pipes[2];

static void setup(void)
{
    cr_assert(pipe(pipes) == 0);
    sv_log_set(pipes[1]);
    sv_stats_start(start);
}

static const char *lines(void)
{
    close(pipes[1]);
    long got;
    for (size_t n = 0; (got = read(pipes[0], said + n, sizeof said - 1 - n)) > 0;)
        n += (size_t)got;
    return said;
}

// Milliseconds as Go prints them, by cases.
static const char *ms(uint64_t ns)
{
    static char texts[8][32];
    static unsigned next;
    char *text = texts[next++ % 8];
    unsigned us = (unsigned)(ns / 1000);
    if (ns >= 10 * MS)
        snprintf(text, 32, "%" PRIu64, ns / MS);
    else if (us >= 1000)
        snprintf(text, 32, "%u.%u", us / 1000, us % 1000 / 100);
    else if (us >= 100)
        snprintf(text, 32, "0.%02u", us / 10);
    else if (us > 0)
        snprintf(text, 32, "0.%03u", us);
    else
        snprintf(text, 32, "0");
    return text;
}

// A concurrent cycle of 1 ms + 50 ms + 2 ms that begins `at` after the start.
static struct sv_stats_cycle cycle_make(uint64_t at)
{
    struct sv_stats_cycle c = {.barrier = "uffd",
                               .workers = 1,
                               .assist = 3 * MS,
                               .background = 25 * MS,
                               .idle = 7 * MS,
                               .live_start = 40 << 20,
                               .live_end = 44 << 20,
                               .live_marked = 20 << 20,
                               .goal = 48 << 20,
                               .stacks = 1 << 20,
                               .roots = 2 << 20,
                               .objects = 1234,
                               .scanned = 99999,
                               .assists = 17,
                               .dirty = 320,
                               .dirty_final = 20,
                               .rounds = 2,
                               .threads = 5,
                               .asleep = 4};
    uint64_t t = start + at;
    sv_stats_stop(&c, SV_STOP_PREPARE, t, t + MS / 10, t + MS);
    sv_stats_stop(&c, SV_STOP_TERMINATION, t + 51 * MS, t + 51 * MS + MS / 5, t + 53 * MS);
    return c;
}

TestSuite(stats, .init = setup);

Test(stats, trace_has_gos_fields)
{
    char want[600];
    unsigned p = sv_os_processors();
    sv_options.gctrace = 1;
    struct sv_stats_cycle c = cycle_make(947 * MS); // ends at 1 s
    sv_stats_cycle(&c);
    unsigned percent = (28 + 3 * p) * 100 / (1000 * p);
    snprintf(want, sizeof want,
             "gc 1 @0.947s %u%%: 1.0+50+2.0 ms clock, %s+3.0/25/7.0+%s ms cpu, 40->44->20 MB, "
             "48 MB goal, 1 MB stacks, 2 MB globals, %u P\n",
             percent, ms(p * MS), ms(2 * p * MS), p);
    cr_assert_str_eq(lines(), want);
}

Test(stats, trace_forced_and_stopped)
{
    char want[600];
    unsigned p = sv_os_processors();
    sv_options.gctrace = 1;
    struct sv_stats_cycle c = {.barrier = "stw", .forced = true, .goal = UINT64_MAX};
    sv_stats_stop(&c, SV_STOP_TERMINATION, start + 12345 * MS, start + 12346 * MS,
                  start + 12345 * MS + 340000);
    sv_stats_cycle(&c);
    snprintf(want, sizeof want,
             "gc 1 @12.345s 0%%: 0+0+0.34 ms clock, 0+0/0/0+%s ms cpu, 0->0->0 MB, "
             "17592186044415 MB goal, 0 MB stacks, 0 MB globals, %u P (forced)\n",
             ms(340000 * p), p);
    cr_assert_str_eq(lines(), want);
}

Test(stats, trace_2_tells_the_work)
{
    sv_options.gctrace = 2;
    struct sv_stats_cycle c = cycle_make(MS);
    sv_stats_cycle(&c);
    const char *second = strchr(lines(), '\n') + 1;
    cr_assert_str_eq(second, "gc 1: barrier uffd, 300+20 pages written, 2 rounds, 1 attempts, "
                             "17 assists, 1 workers, 5 threads signalled, 4 asleep, stopping "
                             "0.10+0.20 ms, 1234 objects, 99999 bytes scanned, "
                             "3145728 bytes of roots\n");
}

Test(stats, trace_0_is_silent)
{
    struct sv_stats_cycle c = cycle_make(MS);
    sv_stats_cycle(&c);
    sv_stats_abandoned(&c, "no reason");
    cr_assert_str_eq(lines(), "");
}

// Times of every length, through the last stop's clock.
Test(stats, milliseconds_as_go_prints_them)
{
    uint64_t seed = 88172645463325252,
             times[300] = {0,      1,      999, 1000,        9999,    99999,
                           100000, 999999, MS,  10 * MS - 1, 10 * MS, 60 * S};
    sv_options.gctrace = 1;
    for (unsigned i = 0; i < 300; i++) {
        if (i >= 12) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            times[i] = seed >> (28 + seed % 36);
        }
        struct sv_stats_cycle c = {.barrier = "stw"};
        sv_stats_stop(&c, SV_STOP_TERMINATION, start + S, start + S, start + S + times[i]);
        sv_stats_cycle(&c);
        // the pipe is emptied as it goes
        long n = read(pipes[0], said, sizeof said - 1);
        cr_assert(n > 0 && said[n - 1] == '\n');
        said[n] = 0;
        char want[64];
        snprintf(want, sizeof want, ": 0+0+%s ms clock", ms(times[i]));
        cr_assert(strstr(said, want), "%s not in %s", want, said);
    }
}

// The share counts every processor for a pause, and leaves idle marking out.
Test(stats, percent_is_since_the_start)
{
    unsigned p = sv_os_processors();
    sv_options.gctrace = 1;
    for (int i = 0; i < 2; i++) {
        struct sv_stats_cycle c = {.barrier = "stw", .idle = 100 * S};
        c.assist = (uint64_t)p * 100 * MS;
        c.background = (uint64_t)p * 150 * MS;
        uint64_t end = start + (i + 1) * S;
        sv_stats_stop(&c, SV_STOP_TERMINATION, end - 50 * MS, end, end);
        sv_stats_cycle(&c);
    }
    lines();
    cr_assert(strstr(said, "gc 1 @0.950s 30%:") && strstr(said, "gc 2 @1.950s 30%:"), "%s", said);
}

Test(stats, attempts_are_pauses_each)
{
    struct sv_stats_cycle c = {.barrier = "uffd"};
    sv_stats_stop(&c, SV_STOP_PREPARE, start, start + 1, start + 1 * MS);
    sv_stats_stop(&c, SV_STOP_TERMINATION, start + 10 * MS, start + 11 * MS, start + 14 * MS);
    sv_stats_stop(&c, SV_STOP_TERMINATION, start + 20 * MS, start + 22 * MS, start + 23 * MS);
    cr_assert(c.attempts == 2 && c.mark == 19 * MS && c.began == start);
    cr_assert(c.ended == start + 23 * MS);
    cr_assert(c.stop[SV_STOP_TERMINATION].stopping == 2 * MS);
    cr_assert(c.stop[SV_STOP_TERMINATION].total == 3 * MS);
    cr_assert(c.all[SV_STOP_TERMINATION].stopping == 3 * MS);
    cr_assert(c.all[SV_STOP_TERMINATION].total == 7 * MS);
    sv_stats_cycle(&c);
    struct sv_stats_read now;
    sv_stats_read(&now);
    cr_assert(now.pause_last == 3 * MS && now.pause_max == 4 * MS && now.pause_total == 8 * MS);
    cr_assert(now.pause[SV_STOP_PREPARE].max == MS && now.pause[SV_STOP_PREPARE].p50 == MS);
    cr_assert(now.pause[SV_STOP_TERMINATION].max == 4 * MS);
    cr_assert(now.pause[SV_STOP_TERMINATION].p99 == 4 * MS);
    cr_assert(now.pause[SV_STOP_TERMINATION].p50 >= 3 * MS);
    cr_assert(now.pause[SV_STOP_TERMINATION].p50 < 4 * MS);
    cr_assert(sv_histogram_total(sv_stats_pauses(SV_STOP_TERMINATION)) == 2);
}

Test(stats, totals)
{
    struct sv_stats_read now;
    sv_stats_read(&now);
    cr_assert(now.cycles == 0 && now.barrier == NULL && now.pause_max == 0);
    cr_assert(now.heap_goal == now.heap_trigger);
    for (int i = 0; i < 3; i++) {
        struct sv_stats_cycle c = cycle_make(i * S);
        if (i < 2)
            sv_stats_cycle(&c);
        else
            sv_stats_abandoned(&c, "no memory");
    }
    sv_stats_goal(41 << 20);
    sv_stats_cpu_add(SV_CPU_SWEEP, 5);
    sv_stats_cpu_add(SV_CPU_SWEEP, 6);
    sv_stats_read(&now);
    cr_assert(now.cycles == 2 && now.cycles_abandoned == 1);
    cr_assert(now.cpu[SV_CPU_ASSIST] == 9 * MS && now.cpu[SV_CPU_BACKGROUND] == 75 * MS);
    cr_assert(now.cpu[SV_CPU_IDLE] == 21 * MS && now.cpu[SV_CPU_SWEEP] == 11);
    cr_assert(now.cpu[SV_CPU_PAUSE] == 9 * MS * sv_os_processors());
    cr_assert(now.dirty == 320 && now.workers == 1 && now.heap_goal == 41 << 20);
    cr_assert_str_eq(now.barrier, "uffd");
    cr_assert(now.pause_total == 9 * MS);
    sv_stats_goal(52 << 20); // the next cycle was put off
    sv_stats_read(&now);
    cr_assert(now.heap_goal == 52 << 20);
}

struct found {
    unsigned n;
    uint64_t total;
    char text[1024];
};

static void reason_find(void *arg, const char *reason, uint64_t count)
{
    struct found *found = arg;
    size_t n = strlen(found->text);
    found->n++;
    found->total += count;
    snprintf(found->text + n, sizeof found->text - n, "%s=%" PRIu64 ";", reason, count);
}

Test(stats, abandoned_by_reason)
{
    struct sv_stats_cycle c = {.barrier = "stw"};
    struct found found = {0};
    sv_options.gctrace = 1;
    char again[] = "no /proc"; // equal text at another address
    sv_stats_abandoned(&c, "no /proc");
    sv_stats_abandoned(&c, "unstoppable thread");
    sv_stats_abandoned(&c, again);
    sv_stats_reasons(reason_find, &found);
    cr_assert_str_eq(found.text, "no /proc=2;unstoppable thread=1;");
    cr_assert_str_eq(lines(), "gc: cycle abandoned, nothing reclaimed: no /proc\n"
                              "gc: cycle abandoned, nothing reclaimed: unstoppable thread\n"
                              "gc: cycle abandoned, nothing reclaimed: no /proc\n");
}

// More reasons than there are places for are counted together.
Test(stats, abandoned_for_too_many_reasons)
{
    static char reasons[40][16];
    struct sv_stats_cycle c = {.barrier = "stw"};
    struct found found = {0};
    for (int i = 0; i < 40; i++) {
        snprintf(reasons[i], sizeof reasons[i], "reason %d", i);
        sv_stats_abandoned(&c, reasons[i]);
        sv_stats_abandoned(&c, reasons[i]);
    }
    sv_stats_reasons(reason_find, &found);
    cr_assert(found.n == 16 && found.total == 80);
    cr_assert(strstr(found.text, "reason 14=2;other=50;"), "%s", found.text);
}
