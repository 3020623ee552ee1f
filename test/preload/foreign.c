// Pointers that another malloc gave: of a second libc (dlmopen), and of a library loaded with
// RTLD_DEEPBIND. The library must recognise the first, leave them alone and count them, and must
// keep the second from ever splitting the program between two mallocs. The test's own library is
// compiled here, into a temporary folder. What frees foreign pointers is skipped on plain glibc,
// which aborts.
#include "check.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>

static char folder[] = "/tmp/salvage-foreign-XXXXXX";

static const char source[] = "#include <stdio.h>\n"
                             "#include <stdlib.h>\n"
                             "#include <string.h>\n"
                             "void *lib_malloc(size_t n) { return malloc(n); }\n"
                             "void *lib_calloc(size_t n) { return calloc(n, 1); }\n"
                             "void *lib_realloc(void *p, size_t n) { return realloc(p, n); }\n"
                             "void lib_free(void *p) { free(p); }\n"
                             "char *lib_strdup(const char *s) { return strdup(s); }\n"
                             "char *lib_print(int n) {\n"
                             "    char *p = NULL;\n"
                             "    return asprintf(&p, \"%0*d\", n, n) < 0 ? NULL : p;\n"
                             "}\n";

static bool library_build(char path[128])
{
    char file[128], command[512];
    if (!mkdtemp(folder))
        return false;
    snprintf(file, sizeof file, "%s/lib.c", folder);
    snprintf(path, 128, "%s/lib.so", folder);
    FILE *f = fopen(file, "w");
    if (!f || fputs(source, f) < 0 || fclose(f))
        return false;
    snprintf(command, sizeof command,
             "env -u LD_PRELOAD cc -D_GNU_SOURCE -shared -fPIC -O1 -fno-builtin -o %s %s", path,
             file);
    return system(command) == 0;
}

static void folder_remove(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    CHECK(system(command) == 0, "%s can't be removed", folder);
}

static uint64_t foreign_count(void)
{
    struct salvage_stats s;
    memset(&s, 0, sizeof s);
    if (check_salvage() && salvage_stats)
        salvage_stats(&s);
    return s.foreign;
}

// ---- the second libc ---------------------------------------------------------------------------

static void *(*second_malloc)(size_t);
static void (*second_free)(void *);

static const size_t sizes[] = {1, 10, 24, 100, 1000, 5000, 100000, 200000, 1 << 20, 40 << 20};
#define SIZES (sizeof sizes / sizeof *sizes)

// Frees, resizes and measures the second libc's blocks; each must be untouched after, and its owner
// must be able to free it. Also in threads, whose blocks come from arenas in anonymous mappings.
static void *second_round(void *arg)
{
    (void)arg;
    for (size_t i = 0; i < SIZES; i++) {
        size_t n = sizes[i];
        unsigned char *p[8];
        for (int k = 0; k < 8; k++)
            p[k] = second_malloc(n), check_fill(p[k], n, (unsigned)k);
        for (int k = 0; k < 8; k++) {
            uint64_t before = foreign_count();
            errno = 55;
            if (k & 1) {
                size_t to = k & 2 ? n * 2 + 30 : n / 2 + 1, kept = to < n ? to : n;
                void *q = realloc(check_hide(p[k]), to);
                CHECK(q && q != p[k] && check_pattern(q, kept, n, (unsigned)k),
                      "realloc of a foreign block, %zu to %zu bytes: contents not copied", n, to);
                if (q)
                    memset(q, 1, to);
                free(q);
            } else {
                free(check_hide(p[k]));
            }
            CHECK(errno == 55, "a foreign block of %zu bytes sets errno to %d", n, errno);
            CHECK(foreign_count() > before, "a foreign block of %zu bytes isn't counted", n);
            CHECK(check_pattern(p[k], n, n, (unsigned)k),
                  "a foreign block of %zu bytes was changed", n);
        }
        CHECK(!realloc(check_hide(p[0]), 0), "realloc of a foreign block to nothing isn't NULL");
        size_t usable = malloc_usable_size(check_hide(p[0]));
        CHECK(usable == 0 || usable >= n, "usable size of a foreign block of %zu bytes is %zu", n,
              usable);
        for (int k = 0; k < 8; k++)
            second_free(p[k]);
    }
    return NULL;
}

static void second_libc(const char *path)
{
    void *h = dlmopen(LM_ID_NEWLM, "libc.so.6", RTLD_NOW | RTLD_LOCAL);
    if (!CHECK(h, "dlmopen of libc: %s", dlerror()))
        return;
    second_malloc = dlsym(h, "malloc");
    second_free = dlsym(h, "free");
    if (!CHECK(second_malloc && second_free, "the second libc has no malloc"))
        return;
    void *p = second_malloc(100);
    CHECK(p, "the second libc allocates nothing");
    second_free(p);
    if (!check_salvage())
        return;
    second_round(NULL);
    for (int i = 0; i < 2; i++) {
        pthread_t t;
        pthread_create(&t, NULL, second_round, NULL);
        pthread_join(t, NULL);
    }
    // A library in a namespace of its own, with what its libc's strdup gives.
    void *lib = dlmopen(LM_ID_NEWLM, path, RTLD_NOW | RTLD_LOCAL);
    char *(*dup)(const char *) = lib ? dlsym(lib, "lib_strdup") : NULL;
    if (!CHECK(dup, "dlmopen of the test's library: %s", dlerror()))
        return;
    char *s = dup("from another namespace");
    uint64_t before = foreign_count();
    char *copy = realloc(s, 1000);
    CHECK(copy && !strcmp(copy, "from another namespace"),
          "realloc of a string of another namespace");
    free(copy);
    free(dup("another"));
    CHECK(foreign_count() >= before + 2, "strings of another namespace aren't counted");
}

// ---- RTLD_DEEPBIND -----------------------------------------------------------------------------

static void deepbind(const char *path)
{
    void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (!CHECK(h, "dlopen with RTLD_DEEPBIND: %s", dlerror()))
        return;
    void *(*lib_malloc)(size_t) = dlsym(h, "lib_malloc"),
         *(*lib_calloc)(size_t) = dlsym(h, "lib_calloc");
    void *(*lib_realloc)(void *, size_t) = dlsym(h, "lib_realloc");
    void (*lib_free)(void *) = dlsym(h, "lib_free");
    char *(*lib_strdup)(const char *) = dlsym(h, "lib_strdup"),
                                   *(*lib_print)(int) = dlsym(h, "lib_print");
    if (!CHECK(lib_malloc && lib_calloc && lib_realloc && lib_free && lib_strdup && lib_print,
               "symbols: %s", dlerror()))
        return;
    uint64_t before = foreign_count();
    for (size_t n = 1; n < 3000000; n = n * 3 + 1) {
        void *p = lib_malloc(n), *q = malloc(n), *r = lib_calloc(n);
        check_fill(p, n, 1), check_fill(q, n, 2);
        p = realloc(check_hide(p), n * 2), q = lib_realloc(check_hide(q), n * 2);
        CHECK(check_pattern(p, n, n, 1), "realloc of the library's %zu bytes loses contents", n);
        CHECK(check_pattern(q, n, n, 2), "the library's realloc of our %zu bytes loses contents",
              n);
        CHECK(malloc_usable_size(r) >= n, "usable size of the library's %zu bytes is %zu", n,
              malloc_usable_size(r));
        free(check_hide(p)), lib_free(check_hide(q)), free(check_hide(r));
    }
    char *s = lib_strdup("theirs"), *t = strdup("ours"), *u = lib_print(50);
    CHECK(!strcmp(s, "theirs") && !strcmp(t, "ours") && strlen(u) == 50, "strings: %s, %s, %s", s,
          t, u);
    free(s), lib_free(t), free(u);
    CHECK(foreign_count() == before,
          "a library bound deep uses another malloc: %llu foreign pointers",
          (unsigned long long)(foreign_count() - before));
    CHECK(dlclose(h) == 0, "dlclose: %s", dlerror());
}

// The same, in a child: on a split heap this would abort.
static char library[128];
static void deepbind_case(void)
{
    deepbind(library);
}
static void second_case(void)
{
    second_libc(library);
}

int main(void)
{
    if (CHECK(library_build(library), "the test's library can't be compiled")) {
        check_case("RTLD_DEEPBIND", deepbind_case, 60);
        check_case("a second libc", second_case, 60);
    }
    // dlopen's answers stay what they were.
    CHECK(!dlopen("/nonexistent/library.so", RTLD_NOW | RTLD_DEEPBIND) && dlerror(),
          "dlopen of nothing succeeds");
    void *self = dlopen(NULL, RTLD_NOW | RTLD_DEEPBIND);
    CHECK(self && dlsym(self, "malloc"), "dlopen(NULL) fails");
    folder_remove();
    return check_done();
}
