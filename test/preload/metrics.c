// The metrics file and salvage_stats as programs see them: a well-formed file after each cycle,
// the same numbers on both ways, a name that is meant from where the program started, a forked
// child's file of its own, one line when it can't be written; and a structure that has grown, for
// callers who don't know of it.
// SALVAGE: stats=/tmp/salvage-metrics.%p
// SALVAGE: stats=/tmp/salvage-metrics.%p,stress=200
#include "check.h"
#include "lib/openmetrics.h"

#include <dirent.h>
#include <stddef.h>

#define V1 offsetof(struct salvage_stats, pause_prepare_ns_p50)

static char text[1 << 16], path[64];

static void work(void)
{
    for (int i = 0; i < 30000; i++) {
        void **p = check_hide(malloc(600));
        *p = p;
    }
}

// Reads the file of a process; its name is left in `path`.
static bool file_read(pid_t pid)
{
    snprintf(path, sizeof path, "/tmp/salvage-metrics.%d", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    check_slurp(fd, text, sizeof text);
    close(fd);
    const char *wrong = openmetrics_check(text);
    return CHECK(!wrong, "%s", wrong);
}

static unsigned descriptors(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fd");
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static void file_is_current(void)
{
    static const char *const samples[] = {"salvage_gc_pause_seconds_count{stop=\"prepare\"}",
                                          "salvage_gc_pause_seconds_count{stop=\"termination\"}",
                                          "salvage_gc_cpu_seconds_total{class=\"assist\"}",
                                          "salvage_gc_cpu_seconds_total{class=\"background\"}",
                                          "salvage_gc_cpu_seconds_total{class=\"pause\"}",
                                          "salvage_gc_cpu_seconds_total{class=\"sweep\"}",
                                          "salvage_heap_live_bytes",
                                          "salvage_heap_goal_bytes",
                                          "salvage_heap_reclaimed_bytes_total",
                                          "salvage_heap_freed_bytes_total",
                                          "salvage_heap_allocated_bytes_total",
                                          "salvage_metadata_bytes",
                                          "salvage_released_bytes",
                                          "salvage_dirty_pages"};
    struct salvage_stats s;
    unsigned before = descriptors();
    work();
    check_collect();
    salvage_stats(&s);
    if (!CHECK(file_read(getpid()), "no %s after a collection", path))
        return;
    for (unsigned i = 0; i < sizeof samples / sizeof *samples; i++)
        CHECK(openmetrics_value(text, samples[i]) >= 0, "no %s", samples[i]);
    CHECK(strstr(text, "\nsalvage_barrier_info{kind=\""), "no barrier");
    // under stress another cycle may have come since
    double cycles = openmetrics_value(text, "salvage_gc_cycles_total");
    CHECK(cycles >= (double)s.cycles && s.cycles > 0 && cycles <= (double)s.cycles + 5,
          "%g cycles, not %llu", cycles, (unsigned long long)s.cycles);
    CHECK(openmetrics_value(text, "salvage_gc_pause_seconds_count{stop=\"termination\"}") >= cycles,
          "fewer stops than cycles");
    CHECK(openmetrics_value(text, "salvage_heap_allocated_bytes_total") >= 30000 * 600,
          "allocated too little");
    CHECK(descriptors() == before, "descriptors stay open");
    unsigned stale = 0;
    char prefix[64];
    snprintf(prefix, sizeof prefix, "salvage-metrics.%d.", (int)getpid());
    DIR *d = opendir("/tmp");
    for (struct dirent *e; (e = readdir(d));)
        stale += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    closedir(d);
    CHECK(stale == 0, "%u unfinished files lie about", stale);
}

static void child_has_its_own(void)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        check_collect();
        bool mine = file_read(getpid());
        unlink(path);
        _exit(mine ? 0 : 1);
    }
    int status = check_wait(pid);
    CHECK(status == 0, "the forked child has no file: status %#x", status);
}

// ---- salvage_stats ------------------------------------------------------------------------------

static void structure_grows(void)
{
    union {
        struct salvage_stats s;
        unsigned char bytes[sizeof(struct salvage_stats) + 64];
    } u;
    void (*plain)(struct salvage_stats *) = salvage_stats; // no macro: the symbol
    check_collect();
    memset(u.bytes, 0xa5, sizeof u);
    plain(&u.s);
    CHECK(u.s.cycles > 0 && u.s.heap_reserved > 0, "the plain symbol fills nothing");
    for (size_t i = V1; i < sizeof u; i++)
        CHECK(u.bytes[i] == 0xa5, "byte %zu is behind what an old program has room for", i);
    for (size_t size = 0; size <= sizeof u; size += 8) {
        memset(u.bytes, 0xa5, sizeof u);
        salvage_stats_sized(&u.s, size);
        bool rest = true, fresh = true;
        for (size_t i = size; i < sizeof u; i++)
            rest &= u.bytes[i] == 0xa5;
        for (size_t i = sizeof u.s; i < size; i++)
            fresh &= u.bytes[i] == 0;
        CHECK(rest && fresh, "size %zu: %s", size, rest ? "unknown fields" : "beyond its end");
    }
    memset(u.bytes, 0xa5, sizeof u);
    salvage_stats(&u.s);
    CHECK(u.bytes[sizeof u.s - 1] != 0xa5 && u.bytes[sizeof u.s] == 0xa5, "not the whole of it");
    CHECK(V1 == 120, "the first fields have moved: %zu", V1);
}

static void numbers_agree(void)
{
    struct salvage_stats s;
    salvage_stats(&s);
    uint64_t longest = s.pause_prepare_ns_max > s.pause_termination_ns_max
                           ? s.pause_prepare_ns_max
                           : s.pause_termination_ns_max;
    CHECK(s.pause_ns_max == longest && longest > 0, "longest stop %llu",
          (unsigned long long)s.pause_ns_max);
    CHECK(s.pause_termination_ns_p50 > 0 &&
              s.pause_termination_ns_p50 <= s.pause_termination_ns_p99,
          "p50 %llu", (unsigned long long)s.pause_termination_ns_p50);
    CHECK(s.pause_termination_ns_p99 <= s.pause_termination_ns_max, "p99 %llu, max %llu",
          (unsigned long long)s.pause_termination_ns_p99,
          (unsigned long long)s.pause_termination_ns_max);
    CHECK(s.pause_ns_last <= s.pause_ns_max && s.pause_ns_total >= s.pause_ns_max, "stops");
    CHECK(s.heap_end >= s.heap_goal, "ends at %llu, below its start at %llu",
          (unsigned long long)s.heap_end, (unsigned long long)s.heap_goal);
    CHECK(s.fragmentation <= s.heap_mapped, "fragmentation %llu",
          (unsigned long long)s.fragmentation);
}

// ---- started again ------------------------------------------------------------------------------

// In the process that `again` starts: collects somewhere else than where it started. The library
// starts at the first allocation.
static int other_place(void)
{
    work();
    if (chdir("/"))
        return 1;
    for (int i = 0; i < 3; i++) {
        work();
        check_collect();
    }
    return 0;
}

// Starts this program with `options` in `folder`; what it wrote is in `text`.
static int again(const char *self, const char *folder, const char *options)
{
    char preload[4200], salvage[256];
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", getenv("LD_PRELOAD"));
    snprintf(salvage, sizeof salvage, "SALVAGE=%s", options);
    char *argv[] = {(char *)self, "--other", NULL}, *environment[] = {preload, salvage, NULL};
    int old = open(".", O_PATH | O_CLOEXEC);
    if (chdir(folder))
        return -1;
    int status = check_spawn(argv, environment, text, sizeof text);
    if (fchdir(old))
        return -1;
    close(old);
    return status;
}

static void names(void)
{
    static char self[4096], file[64];
    char folder[] = "/tmp/salvage-metrics-XXXXXX";
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (!CHECK(n > 0 && mkdtemp(folder), "a folder: %s", strerror(errno)))
        return;
    int status = again(self, folder, "stats=m");
    CHECK(status == 0 && !*text, "status %#x: %s", status, text);
    snprintf(file, sizeof file, "%s/m", folder);
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0, "no %s", file);
    check_slurp(fd, text, sizeof text);
    close(fd);
    const char *wrong = openmetrics_check(text);
    CHECK(!wrong, "%s", wrong);
    unlink(file);
    status = again(self, folder, "stats=none/m");
    const char *end = strchr(text, '\n');
    CHECK(status == 0 && end && !end[1] && strstr(text, "/none/m'") && strstr(text, folder),
          "not one line naming the file: status %#x: %s", status, text);
    rmdir(folder);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--other") == 0)
        return other_place();
    const char *options = getenv("SALVAGE");
    if (!check_collecting() || !options || !strstr(options, "stats=")) {
        puts("skipped: needs the library and stats");
        return check_done();
    }
    file_is_current();
    child_has_its_own();
    structure_grows();
    numbers_agree();
    names();
    snprintf(path, sizeof path, "/tmp/salvage-metrics.%d", (int)getpid());
    unlink(path);
    return check_done();
}
