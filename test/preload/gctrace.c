// The gctrace lines of a real program: each cycle has one, in Go's fields (a program that reads
// Go's reads these), numbered in order, with times and sizes that fit each other; and with
// gctrace=2 a second one. Nothing else is in the log, and nothing on the standard streams.
// SALVAGE: gctrace=1,log=/tmp/salvage-gctrace.%p
// SALVAGE: gctrace=2,log=/tmp/salvage-gctrace.%p
// SALVAGE: gctrace=2,stress=50,log=/tmp/salvage-gctrace.%p
#include "check.h"

#include <regex.h>

#define N "([0-9]+)"
#define T "([0-9]+|[0-9]\\.[0-9]|0\\.[0-9]{2}|0\\.0[0-9]{2})" // two digits that count
#define FIRST                                                                                      \
    "^gc " N " @([0-9]+\\.[0-9]{3})s " N "%: " T "\\+" T "\\+" T " ms clock, " T "\\+" T "/" T     \
    "/" T "\\+" T " ms cpu, " N "->" N "->" N " MB, " N " MB goal, " N " MB stacks, " N            \
    " MB globals,"                                                                                 \
    " " N " P( \\(forced\\))?$"
#define SECOND                                                                                     \
    "^gc " N ": barrier [a-z]+, " N "\\+" N " pages written, " N " rounds, " N " attempts, " N     \
    " assists, " N " workers, " N " threads signalled, " N " asleep, stopping " T "\\+" T          \
    " ms, " N " objects, " N " bytes scanned, " N " bytes of roots$"
#define GROUPS 20

static const char *log_path(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/salvage-gctrace.%d", (int)getpid());
    return path;
}

static void **list;

// Garbage, and a list that stays.
static void work(void)
{
    for (int i = 0; i < 60000; i++) {
        void **p = check_hide(malloc(600));
        *p = list;
        if (i % 16 == 0)
            list = p;
    }
}

static double number(const char *line, const regmatch_t *m)
{
    return strtod(line + m->rm_so, NULL);
}

struct seen {
    unsigned cycles, forced, more;
    double at; // seconds
};

// One line of the first kind: 1 cycle, 2 @, 3 %, 4-6 clock, 7-11 cpu, 12-14 heap, 18 P, 19 forced.
static void line_look(struct seen *seen, const char *line, const regmatch_t *m)
{
    double p = number(line, &m[18]), at = number(line, &m[2]);
    seen->cycles++;
    CHECK(number(line, &m[1]) == seen->cycles, "not cycle %u: %s", seen->cycles, line);
    CHECK(at >= seen->at && at < 1000, "time goes back: %s", line);
    CHECK(number(line, &m[3]) <= 100, "more than everything: %s", line);
    CHECK(p >= 1 && p <= (double)sysconf(_SC_NPROCESSORS_CONF), "processors: %s", line);
    for (int i = 0; i < 2; i++) { // a stop costs all processors: two digits of each are shown
        double wall = number(line, &m[4 + 2 * i]), cpu = number(line, &m[7 + 4 * i]);
        CHECK(cpu >= wall * p * 0.8 - 1 && cpu <= wall * p * 1.2 + p, "cpu of a stop: %s", line);
    }
    CHECK(number(line, &m[6]) > 0 || number(line, &m[4]) > 0, "no time at all: %s", line);
    CHECK(number(line, &m[14]) <= number(line, &m[13]), "more marked than there was: %s", line);
    seen->forced += m[19].rm_so >= 0;
    seen->at = at;
}

static struct seen log_look(char *text)
{
    struct seen seen = {0};
    regex_t first, second;
    regmatch_t m[GROUPS];
    CHECK(!regcomp(&first, FIRST, REG_EXTENDED) && !regcomp(&second, SECOND, REG_EXTENDED),
          "the expressions");
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (regexec(&first, line, GROUPS, m, 0) == 0) {
            line_look(&seen, line, m);
        } else if (regexec(&second, line, GROUPS, m, 0) == 0) {
            CHECK(number(line, &m[1]) == seen.cycles, "of another cycle: %s", line);
            CHECK(number(line, &m[12]) > 0 && number(line, &m[13]) > 0, "no work: %s", line);
            seen.more++;
        } else {
            CHECK(false, "neither kind of line: %s", line);
        }
    }
    regfree(&first);
    regfree(&second);
    return seen;
}

// Low numbers are the program's.
static void descriptor_is_high(void)
{
    char name[32], target[64] = "";
    int found = -1;
    for (int fd = 3; fd < 1100; fd++) {
        snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
        ssize_t n = readlink(name, target, sizeof target - 1);
        target[n > 0 ? n : 0] = 0;
        if (strcmp(target, log_path()) == 0)
            found = fd;
    }
    CHECK(found >= 1000, "the log is descriptor %d", found);
}

int main(void)
{
    const char *options = getenv("SALVAGE");
    if (!check_collecting() || !options || !strstr(options, "gctrace=")) {
        puts("skipped: needs the library and gctrace");
        return check_done();
    }
    static char text[1 << 20];
    struct salvage_stats before, after;
    work();
    descriptor_is_high();
    check_collect(); // one by growth may be under way
    salvage_stats(&before);
    check_collect();
    check_collect();
    salvage_stats(&after);
    int fd = open(log_path(), O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0, "no %s", log_path());
    check_slurp(fd, text, sizeof text);
    close(fd);
    struct seen seen = log_look(text);
    CHECK(before.cycles >= 1 && after.cycles >= before.cycles + 2, "%llu cycles",
          (unsigned long long)after.cycles);
    CHECK(seen.cycles == after.cycles, "%u lines of %llu cycles", seen.cycles,
          (unsigned long long)after.cycles);
    CHECK(seen.forced >= 2, "%u cycles were forced", seen.forced);
    CHECK(seen.more == (strstr(options, "gctrace=2") ? seen.cycles : 0), "%u second lines",
          seen.more);
    unlink(log_path());
    return check_done();
}
