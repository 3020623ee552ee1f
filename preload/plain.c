// Renders a raw record (docs/raw-record.md) in the words of LeakSanitizer's reports, for processes
// that can't start the command: it isn't installed beside the library, or lies outside of a root
// directory, or processes can't be made. No symbols, no suppressions; all that needs another
// process's means stays with the command.
//
// The record is read in place. The only memory is an index of the lines that matter, mapped for the
// time; a record that isn't what it should be gives a shorter report, never a fault.
#include "plain.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "os.h"
#include "text.h"

#define OUT_ROOM 4096
#define FRAME_EXACT '='

struct words { // of a line, from the first on
    const char *p, *end;
};

struct site {
    uint64_t stack, objects, bytes;
    bool direct;
};

struct stack {
    uint64_t id;
    struct words frames;
};

struct module {
    uint64_t start, end, bias;
    bool there; // still loaded at the time of the record
    struct words path;
};

struct plain {
    struct site *sites;
    struct stack *stacks;
    struct module *modules;
    size_t nsites, nstacks, nmodules;
    uint64_t pid;
    struct words failed;
    int fd;
    struct sv_text out;
    char room[OUT_ROOM];
};

// ---- reading ------------------------------------------------------------------------------------

static bool word_next(struct words *line, struct words *out)
{
    while (line->p < line->end && *line->p == ' ')
        line->p++;
    out->p = line->p;
    while (line->p < line->end && *line->p != ' ')
        line->p++;
    out->end = line->p;
    return out->p < out->end;
}

static bool word_is(struct words w, const char *s)
{
    size_t n = strlen(s);
    return (size_t)(w.end - w.p) == n && memcmp(w.p, s, n) == 0;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

static uint64_t word_number(struct words w)
{
    uint64_t v = 0;
    int radix = w.end - w.p > 2 && w.p[0] == '0' && w.p[1] == 'x' ? 16 : 10;
    for (const char *c = w.p + (radix == 16 ? 2 : 0); c < w.end && digit(*c) < radix; c++)
        v = v * (uint64_t)radix + (uint64_t)digit(*c);
    return v;
}

static uint64_t number_next(struct words *line)
{
    struct words w;
    return word_next(line, &w) ? word_number(w) : 0;
}

static void site_read(struct plain *p, struct words line)
{
    struct words class;
    struct site s = {.stack = number_next(&line)};
    if (!word_next(&line, &class))
        return;
    s.direct = word_is(class, "direct");
    s.objects = number_next(&line);
    s.bytes = number_next(&line);
    if (s.direct || word_is(class, "indirect"))
        p->sites[p->nsites++] = s;
}

static void module_read(struct plain *p, struct words line)
{
    struct words from, to, id;
    struct module m = {number_next(&line), number_next(&line), number_next(&line), false, {0}};
    if (word_next(&line, &from) && word_next(&line, &to) && word_next(&line, &id) &&
        word_next(&line, &m.path)) {
        m.there = word_is(to, "-");
        p->modules[p->nmodules++] = m;
    }
}

// Several records in one file are read as one: there is one.
static void line_read(struct plain *p, struct words line)
{
    struct words key;
    if (!word_next(&line, &key))
        return;
    if (word_is(key, "process"))
        p->pid = number_next(&line);
    else if (word_is(key, "failed"))
        p->failed = line;
    else if (word_is(key, "module"))
        module_read(p, line);
    else if (word_is(key, "stack"))
        p->stacks[p->nstacks++] = (struct stack){number_next(&line), line};
    else if (word_is(key, "site"))
        site_read(p, line);
}

static void record_read(struct plain *p, const char *record, size_t bytes)
{
    for (const char *at = record, *end = record + bytes; at < end;) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        if (!eol)
            return;
        line_read(p, (struct words){at, eol});
        at = eol + 1;
    }
}

// ---- writing ------------------------------------------------------------------------------------

static void out_flush(struct plain *p)
{
    const char *at = p->out.start;
    while (at < p->out.p) {
        long n = sv_os_write(p->fd, at, (size_t)(p->out.p - at));
        if (n <= 0 && n != -4) // EINTR
            break;
        at += n > 0 ? n : 0;
    }
    p->out.p = p->out.start;
}

// A word of the record, as it was before it was escaped.
static void out_word(struct plain *p, struct words w)
{
    for (const char *c = w.p; c < w.end; c++) {
        char shown = *c;
        if (*c == '%' && w.end - c > 2 && digit(c[1]) < 16 && digit(c[2]) < 16) {
            shown = (char)(digit(c[1]) * 16 + digit(c[2]));
            c += 2;
        }
        sv_text_put(&p->out, "%c", (unsigned char)shown < ' ' ? '?' : shown);
    }
}

static const struct module *module_find(const struct plain *p, uint64_t address)
{
    const struct module *gone = NULL;
    for (size_t i = 0; i < p->nmodules; i++) {
        const struct module *m = &p->modules[i];
        if (address < m->start || address >= m->end)
            continue;
        if (m->there)
            return m;
        gone = m;
    }
    return gone;
}

static void frames_write(struct plain *p, struct words line)
{
    struct words w;
    for (unsigned n = 0; word_next(&line, &w); n++) {
        bool exact = *w.p == FRAME_EXACT;
        w.p += exact;
        uint64_t address = word_number(w) - !exact; // of the call
        const struct module *m = module_find(p, address);
        sv_text_put(&p->out, "    #%u 0x%x ", n, address);
        if (m) {
            sv_text_put(&p->out, " (");
            out_word(p, m->path);
            sv_text_put(&p->out, "+0x%x)", address - m->bias);
        }
        sv_text_put(&p->out, "\n");
        if (p->out.end - p->out.p < OUT_ROOM / 2)
            out_flush(p);
    }
}

static void site_write(struct plain *p, const struct site *s)
{
    sv_text_put(&p->out, "%s leak of %U byte(s) in %U object(s) allocated from:\n",
                s->direct ? "Direct" : "Indirect", s->bytes, s->objects);
    for (size_t i = 0; s->stack && i < p->nstacks; i++) {
        if (p->stacks[i].id == s->stack) {
            frames_write(p, p->stacks[i].frames);
            break;
        }
    }
    sv_text_put(&p->out, "\n");
    out_flush(p);
}

static bool site_before(const struct site *a, const struct site *b)
{
    return a->direct != b->direct ? a->direct : a->bytes > b->bytes;
}

static void sites_sort(struct site *v, size_t n)
{
    for (size_t gap = n / 2; gap > 0; gap /= 2) { // Shell's
        for (size_t i = gap; i < n; i++) {
            struct site s = v[i];
            size_t j = i;
            for (; j >= gap && site_before(&s, &v[j - gap]); j -= gap)
                v[j] = v[j - gap];
            v[j] = s;
        }
    }
}

static void record_write(struct plain *p)
{
    uint64_t bytes = 0, objects = 0;
    sv_text_put(&p->out, "\n=================================================================\n");
    sv_text_put(&p->out, "==%U==ERROR: Salvage: detected memory leaks\n\n", p->pid);
    for (size_t i = 0; i < p->nsites; i++) {
        site_write(p, &p->sites[i]);
        bytes += p->sites[i].bytes;
        objects += p->sites[i].objects;
    }
    sv_text_put(&p->out, "SUMMARY: Salvage: %U byte(s) leaked in %U allocation(s).\n", bytes,
                objects);
    out_flush(p);
}

void sv_plain_write(int fd, const char *record, size_t bytes)
{
    size_t lines = 0;
    for (size_t i = 0; i < bytes; i++)
        lines += record[i] == '\n';
    size_t one = sizeof(struct site) + sizeof(struct stack) + sizeof(struct module);
    size_t room = sizeof(struct plain) + lines * one;
    struct plain *p = sv_os_map(room);
    if (!p)
        return;
    p->sites = (struct site *)(p + 1);
    p->stacks = (struct stack *)(p->sites + lines);
    p->modules = (struct module *)(p->stacks + lines);
    p->fd = fd;
    p->out = sv_text_start(p->room, sizeof p->room);
    record_read(p, record, bytes);
    sites_sort(p->sites, p->nsites);
    if (p->failed.p) {
        sv_text_put(&p->out, "==%U==Salvage: no leak check:", p->pid);
        out_word(p, p->failed);
        sv_text_put(&p->out, "\n");
        out_flush(p);
    } else if (p->nsites) {
        record_write(p);
    }
    sv_os_unmap(p, room);
}
