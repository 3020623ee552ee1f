// The options: each key with good and bad values. A bad item costs one line on stderr that names
// its key, and nothing else changes; a good one costs nothing and changes its own field alone.
#include "options.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scanners.h"

enum { STRESS_MAX = UINT32_MAX / 8, PERIOD_MAX = 86400 * 365 };

static const uint32_t ALL =
    SV_ROOTS_DATA | SV_ROOTS_STACKS | SV_ROOTS_MMAP | SV_ROOTS_SHARED | SV_ROOTS_KERNEL;

static struct sv_options defaults;
static char said[1 << 16]; // what the last parse wrote to stderr

static void setup(void)
{
    defaults = sv_options;
}

// Parses over the defaults.
static void parse(const char *text)
{
    FILE *file = tmpfile();
    int saved = dup(2);
    cr_assert(file && saved >= 0);
    sv_options = defaults;
    dup2(fileno(file), 2);
    sv_options_parse(text);
    dup2(saved, 2);
    close(saved);
    rewind(file);
    size_t n = fread(said, 1, sizeof said - 1, file);
    said[n] = 0;
    fclose(file);
}

static unsigned lines(void)
{
    unsigned n = 0;
    for (const char *p = said; *p; p++)
        n += *p == '\n';
    return n;
}

static bool same_leaks(const struct sv_options *a, const struct sv_options *b)
{
    return a->sample == b->sample && a->depth == b->depth && a->exitcode == b->exitcode &&
           a->every == b->every && a->rss == b->rss && a->abandoned == b->abandoned &&
           a->live == b->live && strcmp(a->report, b->report) == 0 &&
           strcmp(a->format, b->format) == 0 && strcmp(a->suppressions, b->suppressions) == 0;
}

static bool same(const struct sv_options *a, const struct sv_options *b)
{
    return a->mode == b->mode && a->gcpercent == b->gcpercent && a->gctrace == b->gctrace &&
           a->barrier == b->barrier && a->stress == b->stress && a->checkmark == b->checkmark &&
           a->clobber == b->clobber && a->align == b->align && a->tagbits == b->tagbits &&
           a->period == b->period && a->roots == b->roots && strcmp(a->log, b->log) == 0 &&
           a->memlimit == b->memlimit && a->workers == b->workers && a->chaos == b->chaos &&
           strcmp(a->stats, b->stats) == 0 && same_leaks(a, b);
}

// Silent, and the options are the defaults but for what `change` sets.
#define GOOD(text, change)                                                                         \
    do {                                                                                           \
        struct sv_options want = defaults;                                                         \
        struct sv_options *o = &want;                                                              \
        parse(text);                                                                               \
        change;                                                                                    \
        cr_assert(lines() == 0 && said[0] == 0, "%s: %s", text, said);                             \
        cr_assert(same(&want, &sv_options), "%s", text);                                           \
    } while (0)

// One line that names the key; all as before.
static void bad(const char *key, const char *value)
{
    char text[512], quoted[80];
    snprintf(text, sizeof text, "%s=%s", key, value);
    snprintf(quoted, sizeof quoted, "'%s'", key);
    parse(text);
    cr_assert(lines() == 1 && said[strlen(said) - 1] == '\n', "%s: '%s'", text, said);
    cr_assert(strncmp(said, "salvage: ", 9) == 0 && strstr(said, quoted), "%s: %s", text, said);
    cr_assert(same(&defaults, &sv_options), "%s", text);
}

TestSuite(options, .init = setup);

Test(options, defaults)
{
    cr_assert(defaults.mode == SV_MODE_COLLECT && defaults.gcpercent == 100);
    cr_assert(defaults.gctrace == 0 && defaults.stress == 0 && defaults.tagbits == 0);
    cr_assert(defaults.barrier == SV_BARRIER_AUTO && defaults.roots == ALL);
    cr_assert(!defaults.checkmark && !defaults.clobber && strcmp(defaults.log, "stderr") == 0);
    cr_assert(defaults.memlimit == UINT64_MAX && defaults.workers == SV_WORKERS_AUTO);
    cr_assert(defaults.chaos == 0 && defaults.stats[0] == 0);
    GOOD("", (void)o);
    parse(NULL);
    cr_assert(said[0] == 0 && same(&defaults, &sv_options));
}

Test(options, good_values)
{
    GOOD("mode=off", o->mode = SV_MODE_OFF);
    GOOD("mode=collect", o->mode = SV_MODE_COLLECT);
    GOOD("gcpercent=10", o->gcpercent = 10);
    GOOD("gcpercent=100", o->gcpercent = 100);
    GOOD("gcpercent=10000", o->gcpercent = 10000);
    GOOD("gcpercent=off", o->gcpercent = UINT32_MAX);
    GOOD("gctrace=0", o->gctrace = 0);
    GOOD("gctrace=2", o->gctrace = 2);
    GOOD("barrier=stw", o->barrier = SV_BARRIER_STW);
    GOOD("barrier=auto", o->barrier = SV_BARRIER_AUTO);
    GOOD("barrier=uffd", o->barrier = SV_BARRIER_UFFD);
    GOOD("barrier=softdirty", o->barrier = SV_BARRIER_SOFTDIRTY);
    GOOD("barrier=mprotect", o->barrier = SV_BARRIER_MPROTECT);
    GOOD("stress=1", o->stress = 1);
    GOOD("stress=536870911", o->stress = STRESS_MAX);
    GOOD("checkmark=1", o->checkmark = true);
    GOOD("clobber=1", o->clobber = true);
    GOOD("clobber=0", o->clobber = false);
    GOOD("tagbits=16", o->tagbits = 16);
    GOOD("period=0", o->period = 0);
    GOOD("period=31536000", o->period = PERIOD_MAX);
    GOOD("log=/tmp/x=y", strcpy(o->log, "/tmp/x=y"));
    GOOD("log=fd:7", strcpy(o->log, "fd:7"));
    GOOD("log=a.%p,stats=b.%p", (strcpy(o->log, "a.%p"), strcpy(o->stats, "b.%p")));
    GOOD("workers=0", o->workers = 0);
    GOOD("workers=64", o->workers = 64);
    GOOD("workers=2,workers=auto", o->workers = SV_WORKERS_AUTO);
    GOOD("chaos=0", o->chaos = 0);
    GOOD("chaos=4294967295", o->chaos = UINT32_MAX);
    static const uint32_t aligns[] = {1, 4, 8};
    for (unsigned i = 0; i < 3; i++) {
        char text[16];
        snprintf(text, sizeof text, "align=%u", aligns[i]);
        GOOD(text, o->align = aligns[i]);
    }
}

Test(options, bad_numbers)
{
    static const struct {
        const char *key;
        uint32_t lo, hi;
    } numbers[] = {{"gcpercent", 10, 10000}, {"gctrace", 0, 2},         {"stress", 0, STRESS_MAX},
                   {"checkmark", 0, 1},      {"clobber", 0, 1},         {"align", 1, 8},
                   {"tagbits", 0, 16},       {"period", 0, PERIOD_MAX}, {"workers", 0, 64}};
    static const char *const never[] = {"",
                                        "-1",
                                        "+1",
                                        "x",
                                        "1x",
                                        "0x1",
                                        " 1",
                                        "1 ",
                                        "1.0",
                                        "on",
                                        "4294967296",
                                        "4294967306",
                                        "1e1",
                                        "1=1",
                                        "=",
                                        "true",
                                        "18446744073709551626",
                                        "yes",
                                        "OFF",
                                        "0000000001"};
    for (unsigned k = 0; k < sizeof numbers / sizeof *numbers; k++) {
        char value[32];
        for (unsigned i = 0; i < sizeof never / sizeof *never; i++)
            bad(numbers[k].key, never[i]);
        snprintf(value, sizeof value, "%u", numbers[k].hi + 1);
        bad(numbers[k].key, value);
        if (numbers[k].lo) {
            snprintf(value, sizeof value, "%u", numbers[k].lo - 1);
            bad(numbers[k].key, value);
        }
    }
    for (unsigned i = 0; i <= 20; i++) {
        char value[16];
        snprintf(value, sizeof value, "%u", i);
        if (i != 1 && i != 4 && i != 8)
            bad("align", value);
    }
}

Test(options, bad_words)
{
    static const char *const words[] = {"",         "on", "Collect", "offf", "of",
                                        "collect ", "1",  "stw2",    "uff"};
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++) {
        bad("mode", words[i]);
        bad("barrier", words[i]);
        bad("roots", words[i]);
    }
    bad("log", "");
    bad("stats", "");
}

Test(options, bytes)
{
    GOOD("memlimit=off", o->memlimit = UINT64_MAX);
    GOOD("memlimit=1", o->memlimit = 1);
    GOOD("memlimit=123456789012", o->memlimit = 123456789012);
    GOOD("memlimit=3K", o->memlimit = 3 << 10);
    GOOD("memlimit=512M", o->memlimit = 512 << 20);
    GOOD("memlimit=40G", o->memlimit = (uint64_t)40 << 30);
    GOOD("memlimit=140737488355328", o->memlimit = (uint64_t)1 << 47);
    GOOD("memlimit=137438953472K", o->memlimit = (uint64_t)1 << 47);
    GOOD("memlimit=131072G", o->memlimit = (uint64_t)1 << 47);
    static const char *const wrong[] = {"0",
                                        "0K",
                                        "K",
                                        "G",
                                        "-1M",
                                        "+1M",
                                        " 1M",
                                        "1 M",
                                        "1.5G",
                                        "1k",
                                        "1g",
                                        "1T",
                                        "1X",
                                        "1KB",
                                        "1KiB",
                                        "1MM",
                                        "01M",
                                        "140737488355329",
                                        "1M1",
                                        "1M ",
                                        "0x1",
                                        "infinite",
                                        "OFF",
                                        "off1",
                                        "131073G",
                                        "137438953473K",
                                        "18014398509481984K",
                                        "17179869185G",
                                        "18446744073709551617",
                                        "99999999999999999999G"};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        bad("memlimit", wrong[i]);
}

Test(options, chaos_is_a_seed)
{
    static const char *const wrong[] = {"", "-1", "x", "4294967296", "18446744073709551617", "01"};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        bad("chaos", wrong[i]);
}

Test(options, leaks)
{
    GOOD("mode=leaks", o->mode = SV_MODE_LEAKS);
    GOOD("sample=512K", o->sample = 512 << 10);
    GOOD("sample=0", o->sample = 0);
    GOOD("depth=7", o->depth = 7);
    GOOD("report=/tmp/%p", strcpy(o->report, "/tmp/%p"));
    GOOD("format=pprof", strcpy(o->format, "pprof"));
    GOOD("suppressions=/s", strcpy(o->suppressions, "/s"));
    GOOD("exitcode=9", o->exitcode = 9);
    GOOD("every=60", o->every = 60);
    GOOD("rss=1G", o->rss = 1 << 30);
    GOOD("abandoned=1", o->abandoned = true);
    GOOD("live=1", o->live = true);
    bad("depth", "0");
    bad("depth", "257");
    bad("exitcode", "256");
    bad("format", "yaml");
    bad("sample", "-1");
    bad("rss", "0");
}

// Keys of modes that don't exist yet are no silent no-ops.
Test(options, keys_to_come_are_unknown)
{
    bad("pause", "1");
    cr_assert(strstr(said, "unknown"), "%s", said);
    bad("mode", "guard");
}

Test(options, unknown_keys)
{
    static const char *const keys[] = {"", "Mode", "modes", "mod", " mode", "gc", "%s", "log.file"};
    for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++)
        bad(keys[i], "1");
    parse("mode"); // no value at all
    cr_assert(lines() == 1 && strstr(said, "'mode'") && same(&defaults, &sv_options));
    parse("nonsense");
    cr_assert(lines() == 1 && strstr(said, "'nonsense'") && same(&defaults, &sv_options));
}

Test(options, roots_are_lists)
{
    static const struct {
        const char *name;
        uint32_t bits;
    } names[] = {{"data", SV_ROOTS_DATA},
                 {"stacks", SV_ROOTS_STACKS},
                 {"mmap", SV_ROOTS_MMAP},
                 {"shared", SV_ROOTS_SHARED},
                 {"kernel", SV_ROOTS_KERNEL}};
    for (uint32_t set = 1; set < 32; set++) {
        char text[80] = "roots=";
        uint32_t bits = 0;
        for (unsigned i = 0; i < 5; i++) {
            if (!(set >> i & 1))
                continue;
            strcat(text, bits ? "+" : "");
            strcat(text, names[i].name);
            bits |= names[i].bits;
        }
        GOOD(text, o->roots = bits);
    }
    GOOD("roots=all", o->roots = ALL);
    GOOD("roots=data+all", o->roots = ALL);
    GOOD("roots=mmap+mmap", o->roots = SV_ROOTS_MMAP);
    GOOD("roots=kernel+data", o->roots = SV_ROOTS_KERNEL | SV_ROOTS_DATA);
    static const char *const wrong[] = {"+",         "data+",  "+data",     "data++mmap", "dat",
                                        "data|mmap", "data +", "data+heap", "datammap",   "none"};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        bad("roots", wrong[i]);
}

Test(options, items_are_independent)
{
    GOOD("gcpercent=50,gctrace=1,align=8", (o->gcpercent = 50, o->gctrace = 1, o->align = 8));
    GOOD("gcpercent=50,gcpercent=70", o->gcpercent = 70); // the last one counts
    GOOD(",,gctrace=1,,", o->gctrace = 1);
    GOOD(",", (void)o);
    parse("gctrace=1,bogus=3,align=5,tagbits=2,period=x,clobber=1");
    cr_assert(lines() == 3, "%s", said);
    const char *first = strstr(said, "'bogus'"), *second = strstr(said, "'align'");
    const char *third = strstr(said, "'period'");
    cr_assert(first && second && third && first < second && second < third, "%s", said);
    cr_assert(sv_options.gctrace == 1 && sv_options.tagbits == 2 && sv_options.clobber);
    cr_assert(sv_options.align == defaults.align && sv_options.period == defaults.period);
}

// A bad value after a good one of the same key leaves the good one.
Test(options, bad_item_changes_nothing)
{
    parse("gcpercent=50,gcpercent=5,roots=data,roots=mmap+bogus,mode=off,mode=on");
    cr_assert(lines() == 3 && sv_options.gcpercent == 50, "%s", said);
    cr_assert(sv_options.roots == SV_ROOTS_DATA && sv_options.mode == SV_MODE_OFF);
}

Test(options, long_log)
{
    char text[600] = "log=";
    for (size_t n = 250; n < 262; n++) {
        memset(text + 4, 'p', n);
        text[4 + n] = 0;
        parse(text);
        if (n < sizeof defaults.log) {
            cr_assert(said[0] == 0 && strcmp(sv_options.log, text + 4) == 0, "%zu", n);
        } else {
            cr_assert(lines() == 1 && strstr(said, "'log'"), "%zu: %s", n, said);
            cr_assert(same(&defaults, &sv_options));
        }
    }
}

// Whatever stands there: one line for each item that isn't empty.
Test(options, garbage)
{
    static char text[20000];
    uint64_t seed = 12345;
    for (int round = 0; round < 200; round++) {
        size_t n = round < 100 ? 40 : sizeof text - 1;
        unsigned items = 0;
        for (size_t i = 0; i < n; i++) {
            seed = seed * 6364136223846793005 + 1442695040888963407;
            char c = (char)(seed >> 40);
            text[i] = c == 0 ? 'x' : seed >> 60 == 0 && round % 4 ? ',' : c;
        }
        text[n] = 0;
        for (size_t i = 0; i < n; i++)
            items += text[i] != ',' && (i == 0 || text[i - 1] == ',');
        parse(text);
        if (strlen(said) < sizeof said - 1)
            cr_assert(lines() == items, "round %d: %u lines of %u items", round, lines(), items);
        cr_assert(same(&defaults, &sv_options));
    }
}

Test(options, long_items)
{
    static char text[100000];
    memset(text, 'k', sizeof text - 1);
    parse(text);
    cr_assert(lines() == 1 && strlen(said) < 1024 && strstr(said, "'kkkk"));
    // over the front of the long item: no end is wanted here
    // NOLINTNEXTLINE(bugprone-not-null-terminated-result)
    memcpy(text, "gcpercent=", 10);
    parse(text);
    cr_assert(lines() == 1 && strlen(said) < 1024 && strstr(said, "'gcpercent'"));
    cr_assert(same(&defaults, &sv_options));
}
