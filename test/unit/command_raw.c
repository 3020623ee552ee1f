// Reading raw records: what a good one means, what a bad one is refused for, and that nothing which
// can stand in a file makes the reader do anything but that.
#include "raw.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdlib.h>
#include <string.h>

static const char good[] = "salvage-raw 1 0.9\n"
                           "process 42 1 /usr/bin/a%20b a%20b%20-x%25%c3%a9\n"
                           "check exit 1700000000.250 12.5 9\n"
                           "recording 512 32\n"
                           "novelty 1 2 3\n"
                           "heap 100 2 300 4 200\n"
                           "module 0x1000 0x3000 0x1000 0.0 2.0 abcdef /lib/one.so\n"
                           "module 0x2000 0x4000 0x2000 3.0 - - /lib/two.so\n"
                           "module 0x3800 0x5000 0x2000 6.0 - - /lib/three.so\n"
                           "object 0xff0 16 7 direct 1.5\n"
                           "growth 7 direct 6.0 1 16 a-later-word\n"
                           "site 7 direct 2 32 1.0 1.5 4 8.0 -12.5\n"
                           "site 7 indirect 1 8 1.0 1.0 4 8.0 0\n"
                           "site 0 possible 1 4 1.0 1.0 4 8.0 0.0\n"
                           "object 0xff8 4 0 possible 1.0 memory:0x10\n"
                           "object 0xfff 4 7 live 1.0\n"
                           "stack 7 0x1010 =0x2020 0xFFFFFFFFFFFFFFFF\n"
                           "stack 8\n"
                           "end\n";

static struct raw_record *text_read(const char *text, size_t n, bool *failed)
{
    FILE *in = fmemopen((void *)(uintptr_t)text, n, "r");
    struct raw_record *r = raw_read(in, "name", failed);
    fclose(in);
    return r;
}

Test(raw, all_that_a_record_says)
{
    bool failed;
    struct raw_record *r = text_read(good, strlen(good), &failed);
    cr_assert(r && !failed && !r->cut && !r->failed);
    cr_assert(r->pid == 42 && r->ppid == 1 && r->cycle == 9 && r->sample == 512 && r->depth == 32);
    cr_assert_str_eq(r->exe, "/usr/bin/a b");
    cr_assert_str_eq(r->cmdline, "a b -x%\xc3\xa9");
    cr_assert_str_eq(r->reason, "exit");
    cr_assert_str_eq(r->version, "0.9");
    cr_assert(r->when == 1700000000.25 && r->uptime == 12.5);
    cr_assert(r->live_bytes == 100 && r->live_objects == 2 && r->allocated_bytes == 300 &&
              r->allocated_objects == 4 && r->freed_bytes == 200);
    cr_assert(r->nmodules == 3 && r->modules[0].to == 20 && r->modules[1].to == UINT64_MAX);
    cr_assert_str_eq(r->modules[0].build_id, "abcdef");
    cr_assert(!r->modules[1].build_id && r->modules[1].bias == 0x2000);
    cr_assert(r->nstacks == 2 && r->stacks[0].n == 3 && r->stacks[1].n == 0);
    cr_assert(r->stacks[0].exact[1] && !r->stacks[0].exact[0]);
    cr_assert(r->stacks[0].frames[2] == UINT64_MAX);
    cr_assert(r->nsites == 3 && r->sites[0].stack == 0 && r->sites[2].stack == SIZE_MAX);
    cr_assert(r->sites[0].growth == -12.5 && r->sites[1].class == RAW_INDIRECT);
    raw_free(r);
}

// They stood before what they name; one that names nothing is dropped.
Test(raw, objects_and_history_find_their_sites)
{
    bool failed;
    struct raw_record *r = text_read(good, strlen(good), &failed);
    cr_assert(r->nobjects == 2 && r->objects[0].site == 0 && r->objects[1].site == 2);
    cr_assert(!r->objects[0].held);
    cr_assert_str_eq(r->objects[1].held, "memory:0x10");
    cr_assert(r->ngrowth == 1 && r->growth[0].site == 0 && r->growth[0].when == 6);
    raw_free(r);
}

// The address that two libraries had one after the other.
Test(raw, a_module_is_found_by_its_time)
{
    bool failed;
    struct raw_record *r = text_read(good, strlen(good), &failed);
    const struct raw_module *one = &r->modules[0], *two = &r->modules[1];
    cr_assert_eq(raw_module_find(r, 0x2500, 1.0), one);
    cr_assert_eq(raw_module_find(r, 0x2500, 5.0), two);
    cr_assert_eq(raw_module_find(r, 0x2500, 2.5), one);
    cr_assert_eq(raw_module_find(r, 0x1500, 9.0), one);
    cr_assert_eq(raw_module_find(r, 0x3500, 1.0), two);
    cr_assert_eq(raw_module_find(r, 0x3800, 1.0), two);
    cr_assert_eq(raw_module_find(r, 0x3800, 9.0), two + 1);
    cr_assert_eq(raw_module_find(r, 0x4000, 5.0), two + 1);
    cr_assert_null(raw_module_find(r, 0x5000, 5.0));
    cr_assert_null(raw_module_find(r, 0xfff, 5.0));
    raw_free(r);
}

// Lines are counted through all of them.
Test(raw, several_records_in_one_file, .init = cr_redirect_stderr)
{
    char text[3 * sizeof(good)];
    bool failed;
    int n = snprintf(text, sizeof(text), "%s\n%ssalvage-raw 1 x\nrecording\n", good, good);
    FILE *in = fmemopen(text, (size_t)n, "r");
    struct raw_reader reader = {.in = in, .name = "name"};
    for (int i = 0; i < 2; i++) {
        struct raw_record *r = raw_read_next(&reader, &failed);
        cr_assert(r && !r->cut && r->nsites == 3);
        raw_free(r);
    }
    cr_assert(!raw_read_next(&reader, &failed) && failed);
    raw_reader_end(&reader);
    fclose(in);
    cr_assert_stderr_eq_str("salvage: name:41: malformed `recording` line\n");
}

Test(raw, a_record_after_one_without_end, .init = cr_redirect_stderr)
{
    char text[3 * sizeof(good)];
    bool failed;
    int n =
        snprintf(text, sizeof(text), "%.*s%s", (int)(strlen(good) - strlen("end\n")), good, good);
    FILE *in = fmemopen(text, (size_t)n, "r");
    struct raw_reader reader = {.in = in, .name = "name"};
    struct raw_record *r = raw_read_next(&reader, &failed);
    cr_assert(r && r->cut && !failed && r->nsites == 3);
    raw_free(r);
    r = raw_read_next(&reader, &failed);
    cr_assert(r && !r->cut && !failed && r->nsites == 3);
    raw_free(r);
    cr_assert(!raw_read_next(&reader, &failed) && !failed);
    raw_reader_end(&reader);
    fclose(in);
    cr_assert_stderr_eq_str(
        "salvage: name:1: the record that begins here was cut off: shown as far as it goes\n");
}

Test(raw, why_there_is_no_verdict)
{
    static const char text[] = "salvage-raw 1 0.9\nfailed the%20world%20didn't stop\nend\n";
    bool failed;
    struct raw_record *r = text_read(text, strlen(text), &failed);
    cr_assert(r && !failed);
    cr_assert_str_eq(r->failed, "the world didn't stop");
    cr_assert_str_eq(r->exe, "");
    raw_free(r);
}

// Half a number is never taken for one: of a record cut anywhere, only whole lines count.
Test(raw, cut_at_every_byte, .init = cr_redirect_stderr)
{
    for (size_t n = strlen(good) - 1; n > 0; n--) {
        bool failed;
        struct raw_record *r = text_read(good, n, &failed);
        size_t lines = 0;
        for (size_t i = 0; i < n; i++)
            lines += good[i] == '\n';
        cr_assert(lines == 0 ? !r && failed : r && r->cut && !failed, "%zu bytes", n);
        if (r && strstr(good, "recording") - good + 17 > (long)n)
            cr_assert(r->sample == 0, "%zu bytes", n);
        raw_free(r);
    }
}

Test(raw, an_empty_file_has_no_record)
{
    bool failed = true;
    FILE *in = fopen("/dev/null", "r");
    cr_assert(!raw_read(in, "name", &failed) && !failed);
    fclose(in);
}

static const char *const bad[] = {
    "process x 1 a b",
    "process 1",
    "process 1 2 a%0 b",
    "process 1 2 a%00 b",
    "process 1 2 a%zz b",
    "process -1 2 a b",
    "process 99999999999999999999 2 a b",
    "check exit soon 1.0 2",
    "check exit 1. 1.0 2",
    "recording 1",
    "heap 1 2 3 4",
    "module 0x1000 0x3000 0x1000 0.0",
    "module 1000 0x3000 0x1000 0.0 - - /x",
    "module 0x3000 0x1000 0x0 0.0 - - /x",
    "module 0x1000 0x3000 0x0 - - - /x",
    "stack 0 0x1",
    "stack 1 0x1  0x2",
    "stack 1 0x1 0x",
    "stack 1 0x12345678123456781",
    "stack 1 ==0x1",
    "site 1 lost 1 1 1 1 1 1 1",
    "site 1 direct 1 1 1 1 1 1",
    "site 1 direct 1 1 1 1 1 1 nan",
    "site 1 direct 1 -1 1 1 1 1 1",
    "growth 1 direct 1 1",
    "object 16 1 1 direct 1",
    "object 0x10 1 1 direct",
};

Test(raw, what_is_malformed_is_refused_and_named, .init = cr_redirect_stderr)
{
    char expected[4096] = "";
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char text[512];
        bool failed;
        int n = snprintf(text, sizeof(text), "salvage-raw 1 x\nlater 1\n%s\nend\n", bad[i]);
        cr_assert(!text_read(text, (size_t)n, &failed) && failed, "%s", bad[i]);
        snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected),
                 "salvage: name:3: malformed `%.*s` line\n", (int)strcspn(bad[i], " "), bad[i]);
    }
    fflush(stderr);
    cr_assert_stderr_eq_str(expected);
}

Test(raw, another_version_is_refused, .init = cr_redirect_stderr)
{
    bool failed;
    cr_assert(!text_read("salvage-raw 2 x\nend\n", 20, &failed) && failed);
    cr_assert(!text_read("salvage-raw\nend\n", 16, &failed) && failed);
    cr_assert(!text_read("\x7f"
                         "ELF\0\0\0\0\n",
                         9, &failed) &&
              failed);
    cr_assert(!text_read("salvage-raw 1 x\nstack 1 0x1\0 0x2\nend\n", 38, &failed) && failed);
}

static uint64_t seed = 0x2545f4914f6cdd1d;

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void text_mutate(char *text, size_t *n)
{
    size_t at = random_next() % *n, length = random_next() % 40;
    switch (random_next() % 4) {
    case 0:
        text[at] = (char)random_next();
        break;
    case 1: // a piece of it elsewhere
        length = length < *n - at ? length : *n - at;
        memmove(text + random_next() % (*n - length + 1), text + at, length);
        break;
    case 2: // a piece less
        length = length < *n - at ? length : *n - at - 1;
        memmove(text + at, text + at + length, *n - at - length);
        *n -= length;
        break;
    default: // what means something
        text[at] = " \n%=-x0"[random_next() % 7];
    }
}

// Indexes that others follow lead where something is.
static void record_check(const struct raw_record *r)
{
    for (size_t i = 0; i < r->nsites; i++)
        cr_assert(r->sites[i].stack == SIZE_MAX || r->sites[i].stack < r->nstacks);
    for (size_t i = 0; i < r->nobjects; i++)
        cr_assert(r->objects[i].site < r->nsites);
    for (size_t i = 0; i < r->ngrowth; i++)
        cr_assert(r->growth[i].site < r->nsites);
    cr_assert(r->exe && r->cmdline && r->reason && r->version);
}

Test(raw, mutations_do_no_harm, .init = cr_redirect_stderr)
{
    for (int i = 0; i < 20000; i++) {
        char text[sizeof(good)];
        size_t n = strlen(good);
        bool failed;
        memcpy(text, good, sizeof(good));
        for (uint64_t j = random_next() % 6 + 1; j > 0 && n > 64; j--)
            text_mutate(text, &n);
        struct raw_record *r = text_read(text, n, &failed);
        cr_assert(!(r && failed));
        if (r)
            record_check(r);
        raw_free(r);
    }
}
