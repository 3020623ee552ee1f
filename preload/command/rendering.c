// The options of a report, and the stream it goes to.
#include "rendering.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

bool rendering_suppress(struct rendering *r, const char *path)
{
    if (access(path, R_OK) != 0) {
        complain("--suppressions %s: %s", path, strerror(errno));
        return false;
    }
    if (r->options.nsuppressions == RENDERING_SUPPRESSIONS) {
        complain("--suppressions %s: more than %d of them", path, RENDERING_SUPPRESSIONS);
        return false;
    }
    r->paths[r->options.nsuppressions++] = path;
    return true;
}

bool rendering_option(struct rendering *r, int option, const char *value, bool *failed)
{
    struct report_options *o = &r->options;
    bool *const flags[] = {&o->gen_suppressions, &o->objects, &o->possible,
                           &o->abandoned,        &o->live,    &o->debuginfod};
    if (option >= RENDERING_GEN && option <= RENDERING_DEBUGINFOD) {
        *flags[option - RENDERING_GEN] = true;
    } else if (option == RENDERING_FORMAT) {
        *failed = !report_format_parse(value, &o->format);
        if (*failed)
            complain("--format '%s': text, json, sarif, pprof, collapsed, xml, html or raw", value);
    } else if (option == RENDERING_OUTPUT) {
        r->output = value;
    } else if (option == RENDERING_SUPPRESS) {
        *failed = !rendering_suppress(r, value);
    } else {
        return false;
    }
    return true;
}

bool rendering_ready(const struct rendering *r, FILE *stream)
{
    if (r->output) {
        FILE *out = fopen(r->output, "ae");
        if (!out) {
            complain("--output %s: %s", r->output, strerror(errno));
            return false;
        }
        fclose(out);
    } else if (r->options.format == REPORT_PPROF && isatty(fileno(stream))) {
        complain("pprof is no text, and this is a terminal: say --output PATH");
        return false;
    }
    return true;
}

long rendering_run(const struct rendering *r, FILE *in, const char *name, FILE *stream)
{
    struct report_options options = r->options;
    FILE *out = r->output ? fopen(r->output, "we") : stream;
    if (!out)
        return complain("--output %s: %s", r->output, strerror(errno)), -1;
    options.suppressions = r->paths;
    options.color = isatty(fileno(out)) && options.format == REPORT_TEXT;
    long leaks = report_file(in, name, out, &options);
    bool bad = fflush(out) != 0 || ferror(out);
    if (bad)
        complain("can't write the report%s%s: %s", r->output ? " to " : "",
                 r->output ? r->output : "", strerror(errno));
    if (r->output)
        fclose(out);
    return bad ? -1 : leaks;
}
