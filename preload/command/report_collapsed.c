// Collapsed stacks, as flame graph tools read them: a line for each stack, frames from the root to
// the leaf joined by `;`, a space and the bytes. The executable's name is the root.
#include <stdlib.h>
#include <string.h>

#include "render.h"

// A name as one frame: `;` would end it, a line's end the line.
static void name_add(struct text *line, const char *name)
{
    for (; *name; name++)
        text_add(line, *name == ';' ? ":" : *name == '\n' || *name == '\r' ? " " : name, 1);
}

static const char *base_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void frame_add(struct text *line, const struct frame *f)
{
    text_add(line, ";", 1);
    if (f->name && !f->nearest)
        name_add(line, f->name);
    else if (f->module)
        name_add(line, base_of(f->module));
    else
        text_add(line, "[unknown]", strlen("[unknown]"));
    if (f->module && (!f->name || f->nearest))
        text_print(line, "+0x%" PRIx64, f->offset);
}

static void site_write(const struct report *r, const struct report_site *site, FILE *out)
{
    struct text line = {0};
    const char *exe = base_of(r->record->exe);
    name_add(&line, *exe ? exe : "[process]");
    if (site->frames.n == 0)
        text_print(&line, ";[no stack]");
    for (size_t i = site->frames.n; i-- > 0;)
        frame_add(&line, &site->frames.frame[i]);
    text_print(&line, " %" PRIu64 "\n", site->raw->bytes);
    fwrite(line.s, 1, line.n, out);
    free(line.s);
}

void report_collapsed(const struct report *r, FILE *out)
{
    size_t n;
    size_t *order = report_order(r, &n);
    for (size_t i = 0; i < n; i++)
        site_write(r, &r->sites[order[i]], out);
    for (size_t i = 0; r->live && i < r->nsites; i++) {
        if (r->sites[i].raw->class == RAW_LIVE)
            site_write(r, &r->sites[i], out);
    }
    free(order);
}
