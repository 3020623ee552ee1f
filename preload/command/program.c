// Programs that are to be started: whether the library can work in them, and the environment in
// which it does. A program in which it can't work is not started: whoever asked for a leak check
// would take silence for an answer.
//
// The kernel starts some programs "securely" (AT_SECURE), and the dynamic linker then ignores
// LD_PRELOAD: when a set-user-ID or set-group-ID file changes who one is, or when a file gives
// capabilities. That is foreseen here as the kernel decides it, nosuid mounts and no_new_privs
// included.
#include "program.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "command.h"
#include "image.h"

#define LIBRARY "libsalvage.so"
#define SCRIPTS_MAX 4 // interpreters of interpreters: the kernel follows no more

// ---- options ------------------------------------------------------------------------------------

static bool item_valid(const char *item, size_t n)
{
    const char *eq = memchr(item, '=', n);
    if (!eq || eq == item || eq + 1 == item + n)
        return false;
    for (const char *c = item; c < eq; c++)
        if (*c < 'a' || *c > 'z')
            return false;
    return true;
}

bool program_option(struct program_options *options, const char *item)
{
    for (const char *at = item; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL)
        if (!item_valid(at, strcspn(at, ","))) {
            complain("-o '%.*s': it isn't key=value", (int)strcspn(at, ","), at);
            return false;
        }
    char *text = options->text && options->text[0] ? text_take("%s,%s", options->text, item)
                                                   : text_take("%s", item);
    free(options->text);
    options->text = text;
    return true;
}

static char *value_last(const char *text, const char *key, char *old)
{
    size_t n = strlen(key);
    while (text && *text) {
        size_t bytes = strcspn(text, ",");
        if (bytes > n && strncmp(text, key, n) == 0 && text[n] == '=') {
            free(old);
            old = text_take("%.*s", (int)(bytes - n - 1), text + n + 1);
        }
        text += bytes + (text[bytes] == ',');
    }
    return old;
}

char *program_value(const struct program_options *options, const char *key)
{
    return value_last(options->text, key, value_last(getenv("SALVAGE"), key, NULL));
}

// ---- the program --------------------------------------------------------------------------------

// As execvp looks for it. 0: path is it; else the exit status.
static int path_find(const char *name, char path[PATH_MAX])
{
    struct stat st;
    if (strchr(name, '/')) {
        snprintf(path, PATH_MAX, "%s", name);
    } else {
        const char *folders = getenv("PATH");
        bool denied = false, found = false;
        for (const char *at = folders ? folders : "/bin:/usr/bin"; at && !found;) {
            size_t n = strcspn(at, ":");
            snprintf(path, PATH_MAX, "%.*s%s%s", (int)n, at, n ? "/" : "", name);
            bool there = stat(path, &st) == 0 && !S_ISDIR(st.st_mode);
            found = there && access(path, X_OK) == 0;
            denied |= there && !found;
            at = at[n] ? at + n + 1 : NULL;
        }
        if (!found) {
            complain("%s: %s", name, denied ? "permission denied" : "command not found");
            return denied ? COMMAND_DENIED : COMMAND_MISSING;
        }
    }
    if (stat(path, &st) != 0) {
        complain("%s: %s", name, strerror(errno));
        return errno == ENOENT || errno == ENOTDIR ? COMMAND_MISSING : COMMAND_DENIED;
    }
    if (S_ISDIR(st.st_mode) || access(path, X_OK) != 0) {
        complain("%s: %s", name, S_ISDIR(st.st_mode) ? "is a folder" : "permission denied");
        return COMMAND_DENIED;
    }
    return 0;
}

// Why the kernel would start it securely, or NULL.
static const char *secure_reason(const char *path)
{
    struct stat st;
    struct statvfs fs;
    if (stat(path, &st) != 0 || (statvfs(path, &fs) == 0 && (fs.f_flag & ST_NOSUID)) ||
        prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        return NULL;
    if ((st.st_mode & S_ISUID) && st.st_uid != getuid())
        return "is set-user-ID";
    if ((st.st_mode & S_ISGID) && (st.st_mode & S_IXGRP) && st.st_gid != getgid())
        return "is set-group-ID";
    if (getuid() != 0 && getxattr(path, "security.capability", NULL, 0) > 0)
        return "has file capabilities";
    return NULL;
}

int program_check(const char *name)
{
    char path[PATH_MAX];
    struct image image;
    int status = path_find(name, path);
    if (status)
        return status;
    for (int depth = 0; depth <= SCRIPTS_MAX; depth++) {
        char *shown = depth ? text_take("%s's interpreter %s", name, path) : text_take("%s", path);
        if (!image_read(path, &image)) // may be run without being read
            image.kind = IMAGE_OTHER;
        const char *why = image_unfit(&image, shown);
        const char *secure = image.kind == IMAGE_SCRIPT ? NULL : secure_reason(path);
        if (why)
            return complain("%s", why);
        if (secure)
            return complain("%s %s: for such a program the dynamic linker ignores LD_PRELOAD",
                            shown, secure);
        free(shown);
        if (image.kind != IMAGE_SCRIPT || !image.interp[0])
            return 0;
        snprintf(path, sizeof path, "%s", image.interp);
    }
    return 0;
}

// ---- the library --------------------------------------------------------------------------------

// Beside the command, or where `make install` puts it. To be freed; NULL after a line.
static char *library_find(void)
{
    static const char *const places[] = {"", "../lib/"};
    char exe[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0) {
        complain("can't tell where this command lies: /proc/self/exe: %s", strerror(errno));
        return NULL;
    }
    exe[n] = 0;
    const char *folder = dirname(exe);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char *path = text_take("%s/%s" LIBRARY, folder, places[i]);
        char *real = realpath(path, NULL);
        free(path);
        if (real)
            return real;
    }
    complain(LIBRARY " is neither in %s nor in %s/../lib", folder, folder);
    return NULL;
}

static bool preload_set(const char *library)
{
    const char *old = getenv("LD_PRELOAD");
    if (strpbrk(library, ": ")) {
        complain("%s: a library whose path has a space or a colon can't be preloaded", library);
        return false;
    }
    char *all = old && *old ? text_take("%s:%s", library, old) : text_take("%s", library);
    setenv("LD_PRELOAD", all, 1);
    free(all);
    return true;
}

int program_prepare(const struct program_options *options, const char *last)
{
    const char *parts[] = {getenv("SALVAGE"), options->text, last};
    char *salvage = text_take("%s", "");
    char *library = library_find();
    if (!library || !preload_set(library))
        return COMMAND_FAILED;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (parts[i] && *parts[i]) {
            char *joined = text_take("%s%s%s", salvage, *salvage ? "," : "", parts[i]);
            free(salvage);
            salvage = joined;
        }
    if (*salvage)
        setenv("SALVAGE", salvage, 1);
    free(salvage);
    free(library);
    return 0;
}

int program_exec(char **argv)
{
    execvp(argv[0], argv);
    int error = errno;
    complain("%s: %s", argv[0], strerror(error));
    return error == ENOENT ? COMMAND_MISSING : COMMAND_DENIED;
}
