// A library loaded with RTLD_DEEPBIND shares this program's malloc: what one side allocates the
// other may resize and free. And dlopen's caller stays the caller: $ORIGIN in a name is this
// program's folder, not that of the library that stands before dlopen.
#include "check.h"

#include <dlfcn.h>
#include <link.h>
#include <malloc.h>

#define LIBCRYPT                                                                                   \
    "libcrypt.so.1" // of every Debian: it resizes a block of the caller's, and returns one

static void *library(void)
{
    static void *lib;
    if (!lib)
        lib = dlopen(LIBCRYPT, RTLD_NOW | RTLD_DEEPBIND);
    CHECK(lib, "dlopen: %s", dlerror());
    return lib;
}

// char *crypt_ra(phrase, setting, void **data, int *size): realloc's *data when it is too small.
static void library_resizes(void)
{
    typedef char *crypt_ra_fn(const char *, const char *, void **, int *);
    void *lib = library();
    crypt_ra_fn *crypt_ra = lib ? (crypt_ra_fn *)dlsym(lib, "crypt_ra") : NULL;
    if (!CHECK(crypt_ra, "no crypt_ra"))
        return;
    for (int i = 0; i < 100; i++) {
        int size = 40;
        void *data = malloc((size_t)size);
        char *hash = crypt_ra("phrase", "ab", &data, &size);
        CHECK(hash && strncmp(hash, "ab", 2) == 0 && size > 40, "crypt_ra: %s, %d", hash, size);
        CHECK(malloc_usable_size(data) >= (size_t)size, "usable %zu", malloc_usable_size(data));
        free(data);
    }
}

// char *crypt_gensalt_ra(prefix, count, bytes, n): a block that the caller frees.
static void program_frees(void)
{
    typedef char *gensalt_fn(const char *, unsigned long, const char *, int);
    void *lib = library();
    gensalt_fn *gensalt = lib ? (gensalt_fn *)dlsym(lib, "crypt_gensalt_ra") : NULL;
    if (!CHECK(gensalt, "no crypt_gensalt_ra"))
        return;
    for (int i = 0; i < 100; i++) {
        char *salt = gensalt("$5$", 0, "0123456789abcdef", 16);
        CHECK(salt && strncmp(salt, "$5$", 3) == 0, "gensalt: %s", salt);
        salt = realloc(salt, 100000);
        CHECK(salt && strncmp(salt, "$5$", 3) == 0, "after realloc: %s", salt);
        free(salt);
    }
}

// Foreign blocks are counted: there must be none.
static void none_foreign(void)
{
    struct salvage_stats before, after;
    salvage_stats(&before);
    library_resizes();
    program_frees();
    salvage_stats(&after);
    CHECK(after.foreign == before.foreign, "%llu blocks of another malloc",
          (unsigned long long)(after.foreign - before.foreign));
}

// A link to some library, beside this program for a moment, is found.
static void caller(void)
{
    char path[8192] = {0}, wanted[64];
    struct link_map *map = NULL;
    void *lib = library();
    CHECK(lib && dlinfo(lib, RTLD_DI_LINKMAP, &map) == 0, "dlinfo");
    CHECK(readlink("/proc/self/exe", path, 4096) > 0, "readlink");
    snprintf(wanted, sizeof wanted, "$ORIGIN/deepbind-%d.so", getpid());
    strcpy(strrchr(path, '/'), strchr(wanted, '/'));
    CHECK(map && symlink(map->l_name, path) == 0, "%s: %s", path, strerror(errno));
    for (int i = 0; i < 2; i++)
        CHECK(dlopen(wanted, RTLD_NOW | (i ? RTLD_DEEPBIND : 0)), "dlopen: %s", dlerror());
    unlink(path);
}

static void plain(void)
{
    void *self = dlopen(NULL, RTLD_LAZY);
    CHECK(self && dlsym(self, "malloc"), "dlopen(NULL): %s", dlerror());
    CHECK(!dlopen("libm.so.6", 0) && strstr(dlerror(), "invalid mode"), "mode 0");
    CHECK(!dlopen("libm.so.6", RTLD_DEEPBIND) && strstr(dlerror(), "invalid mode"), "no binding");
    void *lib = dlopen("libm.so.6", RTLD_LAZY | RTLD_GLOBAL);
    CHECK(lib && dlsym(lib, "cos") && dlclose(lib) == 0, "libm");
}

int main(void)
{
    check_case("caller", caller, 30);
    check_case("plain", plain, 30);
    check_case("library_resizes", library_resizes, 30);
    check_case("program_frees", program_frees, 30);
    if (check_salvage() && salvage_stats)
        check_case("none_foreign", none_foreign, 30);
    return check_done();
}
