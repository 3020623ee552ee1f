// salvage report: renders raw records that were saved, here or on another machine.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "rendering.h"

static int file_render(const struct rendering *rendering, const char *path)
{
    bool piped = strcmp(path, "-") == 0;
    FILE *in = piped ? stdin : fopen(path, "re");
    if (!in)
        return complain("%s: %s", path, strerror(errno));
    long leaks = rendering_run(rendering, in, piped ? "stdin" : path, stdout);
    if (!piped)
        fclose(in);
    return leaks < 0 ? COMMAND_FAILED : leaks ? COMMAND_LEAKS : COMMAND_OK;
}

int report_main(int argc, char **argv)
{
    static const struct option longs[] = {RENDERING_LONGS, {"help", no_argument, NULL, 'h'}, {0}};
    struct rendering rendering = {0};
    int c;
    while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        bool failed = false;
        if (c == 'h')
            return usage_show();
        if (!rendering_option(&rendering, c, optarg, &failed))
            return usage_error();
        if (failed)
            return COMMAND_FAILED;
    }
    if (optind + 1 != argc) {
        if (optind >= argc)
            complain("which record? the name of a file, or - for stdin, is missing");
        else
            complain("one file at a time: '%s' is too much", argv[optind + 1]);
        return usage_error();
    }
    if (!rendering_ready(&rendering, stdout))
        return COMMAND_FAILED;
    return file_render(&rendering, argv[optind]);
}
