// glibc's statistics describe this heap: they rise and fall with what the program holds, and their
// text has glibc's form.
#include "check.h"

#include <malloc.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define BLOCKS 4000
#define BYTES 1000

static void *blocks[BLOCKS];

static void fill(void)
{
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = memset(malloc(BYTES), 1, BYTES);
}

static void drain(void)
{
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
}

static void figures(void)
{
    const size_t held = (size_t)BLOCKS * BYTES;
    struct mallinfo2 before = mallinfo2();
    fill();
    errno = 77;
    struct mallinfo2 full = mallinfo2();
    struct mallinfo old = mallinfo();
    CHECK(errno == 77, "errno %d", errno);
    CHECK(full.uordblks - before.uordblks >= held, "in use: %zu to %zu", before.uordblks,
          full.uordblks);
    CHECK(full.uordblks - before.uordblks < held + held / 4, "in use: %zu to %zu", before.uordblks,
          full.uordblks);
    CHECK(full.arena + full.hblkhd >= full.uordblks, "arena %zu, in use %zu", full.arena,
          full.uordblks);
    CHECK(full.uordblks + full.fordblks == full.arena, "free %zu", full.fordblks);
    CHECK((size_t)old.uordblks == full.uordblks && (size_t)old.arena == full.arena, "mallinfo: %d",
          old.uordblks);
    drain();
    struct mallinfo2 after = mallinfo2();
    CHECK(after.uordblks < before.uordblks + held / 2, "after free: %zu", after.uordblks);
}

static size_t attribute(const char *text, const char *element)
{
    const char *at = strstr(text, element);
    const char *size = at ? strstr(at, "size=\"") : NULL;
    return size ? strtoull(size + 6, NULL, 10) : 0;
}

static void xml(void)
{
    char *text = NULL;
    size_t n = 0;
    fill();
    FILE *file = open_memstream(&text, &n);
    errno = 0;
    CHECK(malloc_info(1, file) == EINVAL, "an unknown option");
    CHECK(malloc_info(0, file) == 0, "malloc_info");
    fclose(file);
    CHECK(strncmp(text, "<malloc version=\"1\">\n<heap nr=\"0\">\n", 35) == 0, "%.60s", text);
    CHECK(strcmp(text + n - 10, "</malloc>\n") == 0, "%s", text + n - 10);
    size_t system = attribute(text, "<system type=\"current\"");
    CHECK(system >= (size_t)BLOCKS * BYTES, "system %zu", system);
    CHECK(attribute(text, "<aspace type=\"total\"") >= system, "aspace");
    CHECK(strstr(text, "<total type=\"mmap\" count=\""), "no mmap total");
    CHECK(attribute(text, "<total type=\"rest\"") <= system, "free");
    free(text);
    drain();
}

static void stats(void)
{
    static char text[8192];
    int pipes[2];
    unsigned long system = 0, used = 0;
    fill();
    CHECK(pipe(pipes) == 0, "pipe");
    int saved = dup(2);
    dup2(pipes[1], 2);
    malloc_stats();
    dup2(saved, 2);
    close(pipes[1]);
    check_slurp(pipes[0], text, sizeof text);
    CHECK(strncmp(text, "Arena 0:\nsystem bytes     = ", 28) == 0, "%.60s", text);
    const char *total = strstr(text, "Total (incl. mmap):\n");
    CHECK(total && sscanf(total, "Total (incl. mmap):\nsystem bytes = %lu\nin use bytes = %lu",
                          &system, &used) == 2,
          "%s", text);
    CHECK(used >= (size_t)BLOCKS * BYTES && used <= system, "%lu of %lu", used, system);
    CHECK(strstr(text, "max mmap regions = ") && strstr(text, "max mmap bytes   = "), "%s", text);
    drain();
}

static void trim(void)
{
    for (int i = 0; i < 40; i++)
        blocks[i] = memset(malloc(100000), 1, 100000);
    for (int i = 0; i < 40; i++)
        free(blocks[i]);
    size_t before = check_rss();
    errno = 77;
    int first = malloc_trim(0);
    CHECK(errno == 77, "errno %d", errno);
    CHECK(first == 1 || check_rss() <= before, "malloc_trim: %d", first);
    CHECK(!check_salvage() || first == 1, "nothing was given back");
    CHECK(!check_salvage() || check_rss() + 2000000 < before, "%zu to %zu", before, check_rss());
}

static void options(void)
{
    const int known[] = {M_TRIM_THRESHOLD, M_TOP_PAD,    M_MMAP_THRESHOLD, M_MMAP_MAX,
                         M_CHECK_ACTION,   M_ARENA_TEST, M_ARENA_MAX,      M_PERTURB};
    errno = 77;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        CHECK(mallopt(known[i], 1) == 1, "mallopt(%d)", known[i]);
    CHECK(mallopt(M_MXFAST, 64) == 1 && mallopt(M_MXFAST, 1000) == 0, "M_MXFAST");
    CHECK(mallopt(12345, 1) == 1, "an unknown parameter");
    CHECK(errno == 77, "errno %d", errno);
    fill();
    drain();
}

int main(void)
{
    check_case("figures", figures, 30);
    check_case("xml", xml, 30);
    check_case("stats", stats, 30);
    check_case("trim", trim, 30);
    check_case("options", options, 30);
    return check_done();
}
