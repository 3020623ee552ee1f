// Parsing SALVAGE. The text is walked in place; a bad item is named on stderr in one line and
// skipped, because a program must not fail for an option's sake.
#include "options.h"

#include <string.h>

#include "scanners.h"
#include "text.h"

#define ROOTS_ALL                                                                                  \
    (SV_ROOTS_DATA | SV_ROOTS_STACKS | SV_ROOTS_MMAP | SV_ROOTS_SHARED | SV_ROOTS_KERNEL)

#define BYTES_MAX ((uint64_t)1 << 47) // user space on x86-64

struct sv_options sv_options = {
    .mode = SV_MODE_COLLECT,
    .gcpercent = 100,
    .memlimit = UINT64_MAX,
    .workers = SV_WORKERS_AUTO,
    .align = 4,
    .period = 120,
    .roots = ROOTS_ALL,
    .log = "stderr",
    .depth = 32,
    .report = "stderr",
    .format = "text",
};

struct word { // one value, not terminated
    const char *p;
    size_t n;
};

static bool word_is(struct word w, const char *s)
{
    return strlen(s) == w.n && memcmp(s, w.p, w.n) == 0;
}

static bool word_number(struct word w, uint64_t lo, uint64_t hi, uint64_t *out)
{
    uint64_t v = 0;
    if (w.n == 0 || w.n > 19) // no overflow
        return false;
    if (w.p[0] == '0' && w.n > 1) // octal?
        return false;
    for (size_t i = 0; i < w.n; i++) {
        if (w.p[i] < '0' || w.p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(w.p[i] - '0');
    }
    *out = v;
    return v >= lo && v <= hi;
}

static bool word_u32(struct word w, uint32_t lo, uint32_t hi, uint32_t *out)
{
    uint64_t v;
    if (!word_number(w, lo, hi, &v))
        return false;
    *out = (uint32_t)v;
    return true;
}

// A number of bytes, at least 1: digits, and perhaps K, M or G.
static bool word_bytes(struct word w, uint64_t *out)
{
    unsigned shift = 0;
    switch (w.n ? w.p[w.n - 1] : 0) {
    case 'K':
        shift = 10;
        break;
    case 'M':
        shift = 20;
        break;
    case 'G':
        shift = 30;
        break;
    default:
        break;
    }
    w.n -= shift != 0;
    if (!word_number(w, 1, BYTES_MAX >> shift, out))
        return false;
    *out <<= shift;
    return true;
}

static bool word_flag(struct word w, bool *out)
{
    uint32_t v;
    if (!word_u32(w, 0, 1, &v))
        return false;
    *out = v != 0;
    return true;
}

static bool word_roots(struct word w, uint32_t *out)
{
    static const struct {
        const char *name;
        uint32_t bits;
    } names[] = {{"data", SV_ROOTS_DATA},     {"stacks", SV_ROOTS_STACKS}, {"mmap", SV_ROOTS_MMAP},
                 {"shared", SV_ROOTS_SHARED}, {"kernel", SV_ROOTS_KERNEL}, {"all", ROOTS_ALL}};
    uint32_t bits = 0;
    for (const char *plus = w.p; plus;) {
        plus = memchr(w.p, '+', w.n);
        struct word one = {w.p, plus ? (size_t)(plus - w.p) : w.n};
        uint32_t found = 0;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (word_is(one, names[i].name))
                found = names[i].bits;
        if (!found)
            return false;
        bits |= found;
        size_t skip = one.n + (plus != NULL);
        w = (struct word){w.p + skip, w.n - skip};
    }
    *out = bits;
    return true;
}

static bool word_text(struct word w, char *out, size_t room)
{
    if (w.n == 0 || w.n >= room)
        return false;
    memcpy(out, w.p, w.n);
    out[w.n] = 0;
    return true;
}

static bool word_mode(struct word w, enum sv_mode *out)
{
    static const char names[][8] = {
        [SV_MODE_COLLECT] = "collect", [SV_MODE_LEAKS] = "leaks", [SV_MODE_OFF] = "off"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (word_is(w, names[i])) {
            *out = (enum sv_mode)i;
            return true;
        }
    return false;
}

static bool word_format(struct word w, char *out, size_t room)
{
    static const char names[][10] = {"text",      "json", "sarif", "pprof",
                                     "collapsed", "xml",  "html",  "raw"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (word_is(w, names[i]))
            return word_text(w, out, room);
    return false;
}

static bool word_barrier(struct word w, enum sv_barrier_kind *out)
{
    static const char names[][10] = {[SV_BARRIER_AUTO] = "auto",
                                     [SV_BARRIER_UFFD] = "uffd",
                                     [SV_BARRIER_SOFTDIRTY] = "softdirty",
                                     [SV_BARRIER_MPROTECT] = "mprotect",
                                     [SV_BARRIER_STW] = "stw"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (word_is(w, names[i])) {
            *out = (enum sv_barrier_kind)i;
            return true;
        }
    return false;
}

static bool word_align(struct word w, uint32_t *align)
{
    return word_u32(w, 1, 8, align) && (*align == 1 || *align == 4 || *align == 8);
}

static bool word_percent(struct word w, uint32_t *out)
{
    if (word_is(w, "off")) {
        *out = UINT32_MAX;
        return true;
    }
    return word_u32(w, 10, 10000, out);
}

static bool word_memlimit(struct word w, uint64_t *out)
{
    if (word_is(w, "off")) {
        *out = UINT64_MAX;
        return true;
    }
    return word_bytes(w, out);
}

static bool word_workers(struct word w, uint32_t *out)
{
    if (word_is(w, "auto")) {
        *out = SV_WORKERS_AUTO;
        return true;
    }
    return word_u32(w, 0, 64, out);
}

// 1: taken, 0: bad value, -1: unknown key
static int option_set_leaks(struct sv_options *o, struct word key, struct word v)
{
    if (word_is(key, "sample"))
        return word_is(v, "0") ? (o->sample = 0, 1) : word_bytes(v, &o->sample);
    if (word_is(key, "depth"))
        return word_u32(v, 1, 256, &o->depth);
    if (word_is(key, "report"))
        return word_text(v, o->report, sizeof o->report);
    if (word_is(key, "format"))
        return word_format(v, o->format, sizeof o->format);
    if (word_is(key, "suppressions"))
        return word_text(v, o->suppressions, sizeof o->suppressions);
    if (word_is(key, "exitcode"))
        return word_u32(v, 0, 255, &o->exitcode);
    if (word_is(key, "abandoned"))
        return word_flag(v, &o->abandoned);
    if (word_is(key, "live"))
        return word_flag(v, &o->live);
    if (word_is(key, "every"))
        return word_u32(v, 0, 86400 * 365, &o->every);
    if (word_is(key, "rss"))
        return word_bytes(v, &o->rss);
    return -1;
}

// Likewise.
static int option_set(struct word key, struct word v)
{
    struct sv_options *o = &sv_options;
    if (word_is(key, "mode"))
        return word_mode(v, &o->mode);
    if (word_is(key, "gcpercent"))
        return word_percent(v, &o->gcpercent);
    if (word_is(key, "memlimit"))
        return word_memlimit(v, &o->memlimit);
    if (word_is(key, "gctrace"))
        return word_u32(v, 0, 2, &o->gctrace);
    if (word_is(key, "barrier"))
        return word_barrier(v, &o->barrier);
    if (word_is(key, "workers"))
        return word_workers(v, &o->workers);
    if (word_is(key, "stress"))
        return word_u32(v, 0, UINT32_MAX / 8, &o->stress);
    if (word_is(key, "chaos"))
        return word_u32(v, 0, UINT32_MAX, &o->chaos);
    if (word_is(key, "checkmark"))
        return word_flag(v, &o->checkmark);
    if (word_is(key, "clobber"))
        return word_flag(v, &o->clobber);
    if (word_is(key, "align"))
        return word_align(v, &o->align);
    if (word_is(key, "tagbits"))
        return word_u32(v, 0, 16, &o->tagbits);
    if (word_is(key, "period"))
        return word_u32(v, 0, 86400 * 365, &o->period);
    if (word_is(key, "roots"))
        return word_roots(v, &o->roots);
    if (word_is(key, "log"))
        return word_text(v, o->log, sizeof o->log);
    if (word_is(key, "stats"))
        return word_text(v, o->stats, sizeof o->stats);
    return option_set_leaks(o, key, v);
}

// What fits of a word, terminated. Control characters would break the line: they are shown as '?'.
static void word_show(struct word w, char *out, size_t room)
{
    size_t n = w.n < room ? w.n : room - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)w.p[i] < ' ' || w.p[i] == 0x7f ? '?' : w.p[i];
    out[n] = 0;
}

static void option_complain(struct word key, struct word value, int known)
{
    char k[64], v[128];
    word_show(key, k, sizeof k);
    word_show(value, v, sizeof v);
    if (known < 0)
        sv_log("salvage: SALVAGE: unknown option '%s', ignored", k);
    else
        sv_log("salvage: SALVAGE: bad value '%s' for option '%s', its default is used", v, k);
}

void sv_options_parse(const char *text)
{
    while (text && *text) {
        size_t n = strcspn(text, ",");
        const char *eq = memchr(text, '=', n);
        struct word key = {text, eq ? (size_t)(eq - text) : n};
        struct word value = {eq ? eq + 1 : text + n, eq ? n - key.n - 1 : 0};
        struct sv_options before = sv_options;
        int known = n ? option_set(key, value) : 1;
        if (known != 1) {
            sv_options = before;
            option_complain(key, value, known);
        }
        text += n + (text[n] == ',');
    }
}
