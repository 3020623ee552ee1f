// salvage run: the program under the library, in this process's place. It keeps the process's id,
// its signals and its exit status; nothing of the command stays.
#include <getopt.h>
#include <stddef.h>

#include "command.h"
#include "program.h"

int run_main(int argc, char **argv)
{
    static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {0}};
    struct program_options options = {0};
    int c;
    while ((c = getopt_long(argc, argv, "+o:h", longs, NULL)) != -1) {
        if (c == 'h')
            return usage_show();
        if (c != 'o')
            return usage_error();
        if (!program_option(&options, optarg))
            return COMMAND_FAILED;
    }
    if (optind >= argc) {
        complain("which program?");
        return usage_error();
    }
    int status = program_check(argv[optind]);
    if (!status)
        status = program_prepare(&options, NULL);
    return status ? status : program_exec(argv + optind);
}
