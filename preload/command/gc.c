// salvage gc: has a process collect now, and says what came of it.
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "command.h"
#include "link.h"
#include "reading.h"

int gc_main(int argc, char **argv)
{
    static const struct option longs[] = {{"help", no_argument, NULL, 'h'}, {0}};
    struct link_answer answer;
    uint64_t reclaimed, cycles, abandoned, pause, live;
    char a[32], b[32];
    int c = getopt_long(argc, argv, "h", longs, NULL);
    if (c != -1)
        return c == 'h' ? usage_show() : usage_error();
    int pid = pid_operand(argc, argv, optind);
    if (!pid)
        return usage_error();
    if (!link_ask_pid(pid, "gc\n", "collecting", &answer))
        return COMMAND_FAILED;
    int n = fscanf(answer.text,
                   "reclaimed %" SCNu64 " cycles %" SCNu64 " abandoned %" SCNu64 " pause %" SCNu64
                   " live %" SCNu64,
                   &reclaimed, &cycles, &abandoned, &pause, &live);
    fclose(answer.text);
    if (n != 5)
        return complain("process %d answered nonsense", pid);
    if (cycles == 0)
        return complain("process %d: the collection was given up, nothing was brought back "
                        "(salvage stat tells the reasons)",
                        pid);
    printf("%s reclaimed, %s live; the longest stop took %.3f ms\n",
           bytes_text(reclaimed, a, sizeof a), bytes_text(live, b, sizeof b), (double)pause / 1e6);
    return COMMAND_OK;
}
