// Two formats in one file, told apart by their first character.
//
// LeakSanitizer's: `leak:PATTERN`, matched against function, source file and module of every frame;
// a part of the name is enough unless ^ or $ hold the pattern to its beginning or end; * is
// anything. Other lines of the kind `type:` belong to other sanitizers and are wrong here.
// Valgrind's: a block in braces with a name, `Memcheck:Leak`, maybe `match-leak-kinds:`, and frames
// (`fun:`, `obj:`, `src:`, `...` for any number) that must match the innermost ones in order; * and
// ? as in a shell, against the whole word. Blocks for other errors and tools are passed over.
// There, the allocator's function comes first, which our stacks may begin behind: a frame that
// names one may match nothing.
//
// A name that is only the nearest one to an address is never matched: it would hide what it
// doesn't mean.
#include "suppress.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "render.h"
#include "room.h"

enum pattern_kind { PATTERN_ANY, PATTERN_FUN, PATTERN_OBJ, PATTERN_SRC, PATTERN_ELLIPSIS };

struct pattern {
    enum pattern_kind kind;
    char *glob;
    bool allocator; // it names a function that allocates
};

struct suppression {
    char *name;       // as told
    char *file;       // NULL: built in
    size_t line;      // where it begins
    bool valgrind;    // the frames in order; otherwise pattern[0] against any frame
    unsigned classes; // bit 1 << class of those that it is for
    struct pattern *patterns;
    size_t npatterns, capacity;
    bool used;
};

struct suppressions {
    struct suppression **one;
    size_t n, capacity;
};

#define CLASSES_ALL (~0u)

// ---- matching ----------------------------------------------------------------------------------

// * any, ? one character when `question`.
static bool glob_match(const char *glob, const char *s, bool question)
{
    const char *star = NULL, *back = NULL;
    while (*s) {
        if (*glob == '*') {
            star = glob++;
            back = s;
        } else if (*glob == *s || (question && *glob == '?')) {
            glob++;
            s++;
        } else if (star) {
            glob = star + 1;
            s = ++back;
        } else {
            return false;
        }
    }
    while (*glob == '*')
        glob++;
    return *glob == '\0';
}

static bool glob_some(const char *glob, const char *s, bool question)
{
    return s && glob_match(glob, s, question);
}

static bool frame_match_any(const struct pattern *p, const struct frame *frame)
{
    if (glob_some(p->glob, frame->file, false) || glob_some(p->glob, frame->module, false))
        return true;
    return !frame->nearest &&
           (glob_some(p->glob, frame->name, false) || glob_some(p->glob, frame->linkage, false));
}

static const char *base_of(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path;
}

// `src:file.c:12` or `src:file.c`, by the whole path or its last part.
static bool source_match(const char *glob, const struct frame *frame)
{
    char line[16];
    const char *names[] = {frame->file, base_of(frame->file)};
    snprintf(line, sizeof(line), ":%u", frame->line);
    for (size_t i = 0; frame->file && i < 2; i++) {
        struct text numbered = {0};
        text_print(&numbered, "%s%s", names[i], line);
        bool match = glob_match(glob, names[i], true) || glob_match(glob, numbered.s, true);
        free(numbered.s);
        if (match)
            return true;
    }
    return false;
}

static bool frame_match(const struct pattern *p, const struct frame *frame)
{
    switch (p->kind) {
    case PATTERN_FUN:
        if (!frame->name || frame->nearest)
            return glob_match(p->glob, "???", true); // as valgrind names the unknown
        return glob_some(p->glob, frame->linkage, true) || glob_match(p->glob, frame->name, true);
    case PATTERN_OBJ:
        return glob_match(p->glob, frame->module ? frame->module : "???", true);
    case PATTERN_SRC:
        return source_match(p->glob, frame);
    default:
        return false;
    }
}

// Whether the patterns match the innermost frames.
static bool frames_match(const struct suppression *s, const struct frames *frames)
{
    size_t p = 0, f = 0, star = SIZE_MAX, back = 0;
    while (p < s->npatterns) {
        if (s->patterns[p].kind == PATTERN_ELLIPSIS) {
            star = p++;
            back = f;
        } else if (f < frames->n && frame_match(&s->patterns[p], &frames->frame[f])) {
            p++;
            f++;
        } else if (f == 0 && p == 0 && s->patterns[p].allocator) {
            p++; // the stack begins behind it
        } else if (star != SIZE_MAX && back < frames->n) {
            p = star + 1;
            f = ++back;
        } else {
            return false;
        }
    }
    return true;
}

static bool suppression_match(const struct suppression *s, enum raw_class class,
                              const struct frames *frames)
{
    if (!(s->classes & 1u << class))
        return false;
    if (s->valgrind)
        return frames_match(s, frames);
    for (size_t i = 0; i < frames->n; i++) {
        if (frame_match_any(&s->patterns[0], &frames->frame[i]))
            return true;
    }
    return false;
}

const char *suppress_match(struct suppressions *all, enum raw_class class,
                           const struct frames *frames)
{
    for (size_t i = 0; i < all->n; i++) {
        if (suppression_match(all->one[i], class, frames)) {
            all->one[i]->used = true;
            return all->one[i]->name;
        }
    }
    return NULL;
}

// ---- reading -----------------------------------------------------------------------------------

struct parse {
    struct suppressions *all;
    const char *file; // NULL: built in
    size_t line;
    struct suppression *block; // being read; NULL: outside one
    unsigned named;            // lines of the block that were: its name, what it is for
    bool other;                // the block is for something else
    bool good;
};

static void parse_fail(struct parse *p, const char *what)
{
    fprintf(stderr, "salvage: %s:%zu: %s\n", p->file ? p->file : "built in", p->line, what);
    p->good = false;
}

static struct suppression *suppression_new(const struct parse *p, const char *name)
{
    struct suppression *s = room_new(1, sizeof(*s));
    s->name = room_text(name, strlen(name));
    s->file = p->file ? room_text(p->file, strlen(p->file)) : NULL;
    s->line = p->line;
    s->classes = CLASSES_ALL;
    return s;
}

static void suppression_free(struct suppression *s)
{
    for (size_t i = 0; i < s->npatterns; i++)
        free(s->patterns[i].glob);
    free(s->patterns);
    free(s->name);
    free(s->file);
    free(s);
}

static void suppression_add(struct suppressions *all, struct suppression *s)
{
    all->one = room_more(all->one, all->n, &all->capacity, sizeof(struct suppression *));
    all->one[all->n++] = s;
}

// Whether the glob can match what allocates: then the frame may be missing in our stacks.
static bool glob_names_allocator(const char *glob)
{
    static const char *const names[] = {
        "malloc",
        "calloc",
        "realloc",
        "reallocarray",
        "memalign",
        "posix_memalign",
        "aligned_alloc",
        "valloc",
        "pvalloc",
        "_Znwm",
        "_Znam",
        "_Znwmm",
        "_ZnwmRKSt9nothrow_t",
        "_ZnamRKSt9nothrow_t",
        "_ZnwmSt11align_val_t",
        "_ZnamSt11align_val_t",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        if (glob_match(glob, names[i], true))
            return true;
    }
    return false;
}

static void pattern_add(struct suppression *s, enum pattern_kind kind, const char *glob)
{
    s->patterns = room_more(s->patterns, s->npatterns, &s->capacity, sizeof(*s->patterns));
    s->patterns[s->npatterns++] = (struct pattern){
        .kind = kind,
        .glob = room_text(glob, strlen(glob)),
        .allocator = kind == PATTERN_FUN && glob_names_allocator(glob),
    };
}

// LeakSanitizer's pattern as a glob over the whole name.
static void leak_line(struct parse *p, const char *line)
{
    const char *from = line + strlen("leak:");
    size_t n = strlen(from);
    if (n == 0) {
        parse_fail(p, "`leak:` without a pattern");
        return;
    }
    struct suppression *s = suppression_new(p, line);
    bool begins = from[0] == '^', ends = from[n - 1] == '$';
    struct text glob = {0};
    if (!begins)
        text_add(&glob, "*", 1);
    text_add(&glob, from + begins, n - begins - (ends && n > begins));
    if (!ends)
        text_add(&glob, "*", 1);
    pattern_add(s, PATTERN_ANY, glob.s);
    free(glob.s);
    suppression_add(p->all, s);
}

static bool kinds_parse(const char *list, unsigned *out)
{
    static const struct {
        const char *word;
        unsigned classes;
    } kinds[] = {
        {"definite", 1u << RAW_DIRECT},
        {"indirect", 1u << RAW_INDIRECT},
        {"possible", 1u << RAW_POSSIBLE},
        {"reachable", 1u << RAW_LIVE | 1u << RAW_ABANDONED},
        {"all", CLASSES_ALL},
        {"none", 0},
    };
    *out = 0;
    while (*list) {
        size_t n = strcspn(list, ","), i = 0, all = sizeof(kinds) / sizeof(*kinds);
        while (i < all && (strlen(kinds[i].word) != n || strncmp(list, kinds[i].word, n) != 0))
            i++;
        if (i == all)
            return false;
        *out |= kinds[i].classes;
        list += n + (list[n] == ',');
    }
    return true;
}

// The line after the word, without spaces in front; NULL: it begins otherwise.
static const char *line_after(const char *line, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(line, word, n) != 0)
        return NULL;
    return line + n + strspn(line + n, " \t");
}

static void block_frame(struct parse *p, const char *line)
{
    static const struct {
        const char *word;
        enum pattern_kind kind;
    } kinds[] = {{"fun:", PATTERN_FUN}, {"obj:", PATTERN_OBJ}, {"src:", PATTERN_SRC}};
    const char *rest = line_after(line, "match-leak-kinds:");
    if (rest) {
        if (!kinds_parse(rest, &p->block->classes))
            parse_fail(p, "not a list of leak kinds");
        return;
    }
    if (strcmp(line, "...") == 0) {
        pattern_add(p->block, PATTERN_ELLIPSIS, "");
        return;
    }
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if ((rest = line_after(line, kinds[i].word)) && *rest) {
            pattern_add(p->block, kinds[i].kind, rest);
            return;
        }
    }
    parse_fail(p, "expected fun:, obj:, src: or ...");
    p->other = true;
}

static void block_end(struct parse *p)
{
    struct suppression *s = p->block;
    p->block = NULL;
    if (!p->other && s->npatterns == 0)
        parse_fail(p, "a suppression without frames");
    if (p->other || s->npatterns == 0)
        suppression_free(s);
    else
        suppression_add(p->all, s);
}

static void block_line(struct parse *p, const char *line)
{
    if (strcmp(line, "}") == 0) {
        block_end(p);
    } else if (p->named == 0) {
        free(p->block->name);
        p->block->name = room_text(line, strlen(line));
        p->named++;
    } else if (p->named == 1) {
        const char *colon = strchr(line, ':');
        const char *memcheck = strstr(line, "Memcheck");
        p->other = !colon || !memcheck || memcheck > colon || strcmp(colon, ":Leak") != 0;
        if (!colon)
            parse_fail(p, "expected TOOL:KIND");
        p->named++;
    } else if (!p->other) {
        block_frame(p, line);
    }
}

static void line_read(struct parse *p, char *line)
{
    line += strspn(line, " \t");
    for (size_t n = strlen(line); n && isspace((unsigned char)line[n - 1]); n--)
        line[n - 1] = '\0';
    if (*line == '\0' || *line == '#')
        return;
    if (p->block) {
        block_line(p, line);
    } else if (strcmp(line, "{") == 0) {
        p->block = suppression_new(p, "");
        p->block->valgrind = true;
        p->named = 0;
        p->other = false;
    } else if (strncmp(line, "leak:", strlen("leak:")) == 0) {
        leak_line(p, line);
    } else {
        parse_fail(p, "neither leak:PATTERN nor a block in braces");
    }
}

static bool lines_read(struct suppressions *all, FILE *in, const char *file)
{
    struct parse p = {.all = all, .file = file, .good = true};
    char *line = NULL;
    size_t room = 0;
    while (getline(&line, &room, in) >= 0) {
        p.line++;
        line_read(&p, line);
    }
    free(line);
    if (p.block) {
        parse_fail(&p, "the file ends inside a block");
        suppression_free(p.block);
    }
    return p.good;
}

bool suppress_read(struct suppressions *all, const char *path)
{
    FILE *in = fopen(path, "re");
    if (!in) {
        fprintf(stderr, "salvage: %s: %s: no suppressions from it\n", path, strerror(errno));
        return false;
    }
    bool good = lines_read(all, in, path);
    if (ferror(in)) {
        fprintf(stderr, "salvage: %s: %s\n", path, strerror(errno));
        good = false;
    }
    fclose(in);
    return good;
}

struct suppressions *suppress_open(void)
{
    struct suppressions *all = room_new(1, sizeof(*all));
    char *text = room_text(suppress_builtin, strlen(suppress_builtin));
    FILE *in = fmemopen(text, strlen(text), "r");
    if (in) {
        lines_read(all, in, NULL);
        fclose(in);
    }
    free(text);
    return all;
}

void suppress_unused_tell(const struct suppressions *all)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct suppression *s = all->one[i];
        if (s->file && !s->used)
            fprintf(stderr, "salvage: %s:%zu: unused suppression: %s\n", s->file, s->line, s->name);
    }
}

void suppress_close(struct suppressions *all)
{
    for (size_t i = 0; i < all->n; i++)
        suppression_free(all->one[i]);
    free(all->one);
    free(all);
}

// ---- making them -------------------------------------------------------------------------------

static bool text_safe(const char *s)
{
    return !s[strcspn(s, "\n^$")];
}

// A program's own malloc: taking that out would take out everything.
static bool name_allocates(const char *name)
{
    return strcasestr(name, "alloc") || strcasestr(name, "strdup") || strcasestr(name, "strndup");
}

// Of the function nearest to the allocation that does more than allocate and isn't a library's of
// everybody; else of the nearest; else of its module.
static void leak_generate(const struct frames *frames, struct text *out)
{
    const struct frame *best = NULL, *named = NULL, *first = NULL;
    for (size_t i = 0; i < frames->n && !best; i++) {
        const struct frame *f = &frames->frame[i];
        if (!f->module || frame_common(f))
            continue;
        first = first ? first : f;
        if (!f->name || f->nearest || !text_safe(f->name))
            continue;
        named = named ? named : f;
        best = name_allocates(f->name) ? NULL : f;
    }
    if (best || named)
        text_print(out, "leak:^%s$\n", best ? best->name : named->name);
    else if (first && text_safe(first->module))
        text_print(out, "leak:%s\n", base_of(first->module));
    else
        text_print(out, "# nothing in this stack has a name\n");
}

static void block_generate(const struct report_site *site, struct text *out)
{
    static const char *const kinds[] = {
        [RAW_DIRECT] = "definite",     [RAW_INDIRECT] = "indirect", [RAW_POSSIBLE] = "possible",
        [RAW_ABANDONED] = "reachable", [RAW_HIDDEN] = "all",        [RAW_LIVE] = "reachable",
    };
    text_print(out, "#{\n#   <name>\n#   Memcheck:Leak\n#   match-leak-kinds: %s\n",
               kinds[site->raw->class]);
    for (size_t i = 0; i < site->frames.n; i++) {
        const struct frame *f = &site->frames.frame[i];
        if (f->linkage && !f->nearest)
            text_print(out, "#   fun:%s\n", f->linkage);
        else
            text_print(out, "#   obj:%s\n", f->module ? f->module : "*");
    }
    text_print(out, "#}\n");
}

struct made { // lines of LeakSanitizer's format: one serves many stacks
    char **line;
    size_t n, capacity;
};

static bool made_add(struct made *made, char *line)
{
    for (size_t i = 0; i < made->n; i++) {
        if (strcmp(made->line[i], line) == 0)
            return false;
    }
    made->line = room_more(made->line, made->n, &made->capacity, sizeof(*made->line));
    made->line[made->n++] = line;
    return true;
}

static void site_generate(const struct report_site *site, struct made *made, FILE *out)
{
    struct text text = {0}, line = {0};
    text_print(&text, "# %s leak of %" PRIu64 " byte(s) in %" PRIu64 " object(s)\n",
               raw_class_word(site->raw->class), site->raw->bytes, site->raw->objects);
    block_generate(site, &text);
    leak_generate(&site->frames, &line);
    fwrite(text.s, 1, text.n, out);
    if (made_add(made, line.s))
        fwrite(line.s, 1, line.n, out);
    else
        free(line.s);
    free(text.s);
}

void suppress_generate(const struct report *const *r, size_t n, FILE *out)
{
    struct made made = {0};
    for (size_t i = 0; i < n; i++) {
        size_t sites;
        size_t *order = report_order(r[i], &sites);
        for (size_t j = 0; j < sites; j++) {
            const struct report_site *site = &r[i]->sites[order[j]];
            if (site->frames.n)
                site_generate(site, &made, out);
        }
        free(order);
    }
    for (size_t i = 0; i < made.n; i++)
        free(made.line[i]);
    free(made.line);
}
