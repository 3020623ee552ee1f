// Parsing SALVAGE. The text is walked in place; a bad item is named on stderr in one line and
// skipped, because a program must not fail for an option's sake.
#include "options.h"

#include <string.h>

#include "scanners.h"
#include "text.h"

#define ROOTS_ALL                                                                                  \
    (SV_ROOTS_DATA | SV_ROOTS_STACKS | SV_ROOTS_MMAP | SV_ROOTS_SHARED | SV_ROOTS_KERNEL)

struct sv_options sv_options = {
    .mode = SV_MODE_COLLECT,
    .gcpercent = 100,
    .align = 4,
    .period = 120,
    .roots = ROOTS_ALL,
    .log = "stderr",
};

struct word { // one value, not terminated
    const char *p;
    size_t n;
};

static bool word_is(struct word w, const char *s)
{
    return strlen(s) == w.n && memcmp(s, w.p, w.n) == 0;
}

static bool word_number(struct word w, uint32_t lo, uint32_t hi, uint32_t *out)
{
    uint64_t v = 0;
    if (w.n == 0 || w.n > 9)
        return false;
    for (size_t i = 0; i < w.n; i++) {
        if (w.p[i] < '0' || w.p[i] > '9')
            return false;
        v = v * 10 + (uint64_t)(w.p[i] - '0');
    }
    if (v < lo || v > hi)
        return false;
    *out = (uint32_t)v;
    return true;
}

static bool word_flag(struct word w, bool *out)
{
    uint32_t v;
    if (!word_number(w, 0, 1, &v))
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
    *out = word_is(w, "off") ? SV_MODE_OFF : SV_MODE_COLLECT;
    return word_is(w, "off") || word_is(w, "collect");
}

static bool word_barrier(struct word w, enum sv_barrier_kind *out)
{
    *out = word_is(w, "stw") ? SV_BARRIER_STW : SV_BARRIER_AUTO;
    return word_is(w, "stw") || word_is(w, "auto");
}

static bool word_align(struct word w, uint32_t *align)
{
    return word_number(w, 1, 8, align) && (*align == 1 || *align == 4 || *align == 8);
}

static bool word_percent(struct word w, uint32_t *out)
{
    if (word_is(w, "off")) {
        *out = UINT32_MAX;
        return true;
    }
    return word_number(w, 10, 10000, out);
}

// 1: taken, 0: bad value, -1: unknown key
static int option_set(struct word key, struct word v)
{
    struct sv_options *o = &sv_options;
    if (word_is(key, "mode"))
        return word_mode(v, &o->mode);
    if (word_is(key, "gcpercent"))
        return word_percent(v, &o->gcpercent);
    if (word_is(key, "gctrace"))
        return word_number(v, 0, 2, &o->gctrace);
    if (word_is(key, "barrier"))
        return word_barrier(v, &o->barrier);
    if (word_is(key, "stress"))
        return word_number(v, 0, UINT32_MAX / 8, &o->stress);
    if (word_is(key, "checkmark"))
        return word_flag(v, &o->checkmark);
    if (word_is(key, "clobber"))
        return word_flag(v, &o->clobber);
    if (word_is(key, "align"))
        return word_align(v, &o->align);
    if (word_is(key, "tagbits"))
        return word_number(v, 0, 16, &o->tagbits);
    if (word_is(key, "period"))
        return word_number(v, 0, 86400 * 365, &o->period);
    if (word_is(key, "roots"))
        return word_roots(v, &o->roots);
    if (word_is(key, "log"))
        return word_text(v, o->log, sizeof o->log);
    return -1;
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
