// Suppressions of both formats: which stacks they take out, what is wrong with a file, and which
// were of no use.
#include "suppress.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// main -> app::parse -> (inlined) copy -> libx's static function -> malloc's caller
static struct frame frames[] = {
    {.name = "exported", .linkage = "exported", .module = "/usr/lib/libx.so.1", .nearest = true},
    {.name = "copy(char const*)",
     .linkage = "_Z4copyPKc",
     .module = "/opt/app/bin/app",
     .file = "/src/app/copy.cc",
     .line = 12,
     .inlined = true},
    {.name = "app::parse()",
     .linkage = "_ZN3app5parseEv",
     .module = "/opt/app/bin/app",
     .file = "/src/app/parse.cc",
     .line = 7},
    {.name = "main",
     .linkage = "main",
     .module = "/opt/app/bin/app",
     .file = "/src/app/main.cc",
     .line = 3},
    {.address = 0x1234},
};

static const struct frames stack = {frames, sizeof(frames) / sizeof(*frames)};

static char path[] = "/tmp/suppressXXXXXX";

static struct suppressions *text_read(const char *text, bool *good)
{
    struct suppressions *all = suppress_open();
    strcpy(path, "/tmp/suppressXXXXXX");
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    *good = suppress_read(all, path);
    unlink(path);
    return all;
}

static bool takes_out(const char *text, enum raw_class class)
{
    bool good;
    struct suppressions *all = text_read(text, &good);
    cr_assert(good, "%s", text);
    bool match = suppress_match(all, class, &stack) != NULL;
    suppress_close(all);
    return match;
}

static const char *const leak_matches[] = {
    "leak:main",
    "leak:^main$",
    "leak:app::parse",
    "leak:_ZN3app5parseEv",
    "leak:pars",
    "leak:^copy(*const",
    "leak:main.cc$",
    "leak:libx.so",
    "leak:^/usr/lib/lib*.so.1$",
    "leak:a*p*()$",
    "leak:*",
    "# a comment\n\n   leak:main   \n",
    "leak:no\nleak:main",
    "leak:^app*parse*$\r\n",
};

static const char *const leak_misses[] = {
    "leak:Main",   "leak:^ain$",     "leak:^mai$",      "leak:parse$",
    "leak:^libx",  "leak:exported",  "leak:^exported$", "leak:p?rse",
    "leak:nosuch", "leak:^parse()$", "leak:0x1234",     "",
};

Test(suppress, leak_patterns)
{
    for (size_t i = 0; i < sizeof(leak_matches) / sizeof(*leak_matches); i++)
        cr_assert(takes_out(leak_matches[i], RAW_DIRECT), "%s", leak_matches[i]);
    for (size_t i = 0; i < sizeof(leak_misses) / sizeof(*leak_misses); i++)
        cr_assert(!takes_out(leak_misses[i], RAW_DIRECT), "%s", leak_misses[i]);
}

#define BLOCK(frames) "{\n  a name\n  Memcheck:Leak\n" frames "\n}\n"

static const char *const block_matches[] = {
    BLOCK("obj:/usr/lib/libx.so.*"),
    BLOCK("obj:*\n fun:_Z4copyPKc"),
    BLOCK("obj:*\n fun:_Z4*\n fun:_ZN3app5parseEv\n fun:main"),
    BLOCK("fun:malloc\n obj:*/libx.so.?\n fun:_Z4copyPKc"),
    BLOCK("fun:*alloc\n ...\n fun:main"),
    BLOCK("...\n fun:main"),
    BLOCK("...\n fun:main\n ..."),
    BLOCK("...\n src:parse.cc:7\n"),
    BLOCK("...\n src:/src/app/parse.cc\n"),
    BLOCK("match-leak-kinds: definite\n...\n fun:main"),
    BLOCK("match-leak-kinds:indirect,definite\n...\n fun:main"),
    BLOCK("match-leak-kinds: all\n...\n fun:main"),
    BLOCK("fun:???\n fun:_Z4copyPKc"),
    "# before\n{\n name\n# inside\n Memcheck,Addrcheck:Leak\n ...\n}\n",
};

static const char *const block_misses[] = {
    BLOCK("fun:main"),
    BLOCK("obj:*\n fun:main"),
    BLOCK("obj:libx.so.1"),
    BLOCK("fun:exported"),
    BLOCK("...\n fun:mai"),
    BLOCK("...\n fun:main\n fun:main"),
    BLOCK("...\n src:parse.cc:8\n"),
    BLOCK("match-leak-kinds: indirect,possible,reachable\n...\n fun:main"),
    BLOCK("match-leak-kinds: none\n...\n fun:main"),
    BLOCK("obj:*\n fun:malloc\n fun:_Z4copyPKc"),
    "{\n a\n Memcheck:Cond\n fun:*\n}\n",
    "{\n a\n Helgrind:Race\n fun:*\n}\n",
    "{\n a\n Memcheck:Param\n write(buf)\n fun:*\n}\n",
};

Test(suppress, blocks_of_valgrind)
{
    for (size_t i = 0; i < sizeof(block_matches) / sizeof(*block_matches); i++)
        cr_assert(takes_out(block_matches[i], RAW_DIRECT), "%s", block_matches[i]);
    for (size_t i = 0; i < sizeof(block_misses) / sizeof(*block_misses); i++)
        cr_assert(!takes_out(block_misses[i], RAW_DIRECT), "%s", block_misses[i]);
    cr_assert(takes_out(BLOCK("match-leak-kinds: reachable\n ..."), RAW_ABANDONED));
    cr_assert(!takes_out(BLOCK("match-leak-kinds: definite\n ..."), RAW_INDIRECT));
}

Test(suppress, what_is_wrong_is_named_and_the_rest_holds, .init = cr_redirect_stderr)
{
    static const char text[] = "race:main\n"
                               "leak:\n"
                               "{\n a\n Memcheck:Leak\n funny:x\n}\n"
                               "{\n b\n Memcheck:Leak\n}\n"
                               "{\n c\n what\n}\n"
                               "{\n d\n Memcheck:Leak\n match-leak-kinds: some\n ...\n fun:no\n}\n"
                               "leak:main\n"
                               "{\n e\n";
    char expected[1024];
    bool good;
    struct suppressions *all = text_read(text, &good);
    cr_assert(!good);
    cr_assert_str_eq(suppress_match(all, RAW_DIRECT, &stack), "leak:main");
    suppress_unused_tell(all);
    suppress_close(all);
    snprintf(expected, sizeof(expected),
             "salvage: %s:1: neither leak:PATTERN nor a block in braces\n"
             "salvage: %s:2: `leak:` without a pattern\n"
             "salvage: %s:6: expected fun:, obj:, src: or ...\n"
             "salvage: %s:11: a suppression without frames\n"
             "salvage: %s:14: expected TOOL:KIND\n"
             "salvage: %s:19: not a list of leak kinds\n"
             "salvage: %s:25: the file ends inside a block\n"
             "salvage: %s:16: unused suppression: d\n",
             path, path, path, path, path, path, path, path);
    fflush(stderr);
    cr_assert_stderr_eq_str(expected);
}

Test(suppress, a_file_that_is_not_there, .init = cr_redirect_stderr)
{
    struct suppressions *all = suppress_open();
    cr_assert(!suppress_read(all, "/nowhere/at/all"));
    cr_assert(!suppress_read(all, "/tmp"));
    cr_assert_null(suppress_match(all, RAW_DIRECT, &stack));
    suppress_unused_tell(all);
    suppress_close(all);
    fflush(stderr);
    cr_assert_stderr_eq_str(
        "salvage: /nowhere/at/all: No such file or directory: no suppressions from it\n"
        "salvage: /tmp: Is a directory\n");
}

// What --gen-suppressions prints takes out what it was printed for.
Test(suppress, generated_ones_hold)
{
    struct raw_site raw = {.class = RAW_DIRECT, .objects = 1, .bytes = 8};
    struct report_site site = {.raw = &raw, .frames = stack};
    struct report r = {.sites = &site, .nsites = 1};
    const struct report *const all[] = {&r};
    char *text = NULL, *plain;
    size_t n;
    FILE *out = open_memstream(&text, &n);
    suppress_generate(all, 1, out);
    fclose(out);
    cr_assert(takes_out(text, RAW_DIRECT), "%s", text);
    cr_assert(strstr(text, "\nleak:"));
    plain = calloc(n + 1, 1); // the block, out of its comment and alone
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (strchr("{} ", line[1]) && strncmp(line, "# direct", 8) != 0)
            strcat(strcat(plain, line + 1), "\n");
    }
    cr_assert(takes_out(plain, RAW_DIRECT), "%s", plain);
    cr_assert(!takes_out(plain, RAW_INDIRECT), "%s", plain);
    free(text);
    free(plain);
}
