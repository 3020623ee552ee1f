// Running processes: facts from /proc, and the reason why one can't be asked. The order of the
// questions is that of a person's: is it there, is it mine, is the library in it, why not.
#include "process.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "image.h"

__attribute__((format(printf, 3, 4))) static bool refuse(char *why, size_t room, const char *format,
                                                         ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, room, format, args);
    va_end(args);
    return false;
}

static int proc_open(int pid, const char *file)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

// Terminated; bytes, or -1.
static ssize_t proc_read(int pid, const char *file, char *out, size_t room)
{
    int fd = proc_open(pid, file);
    if (fd < 0)
        return -1;
    size_t have = 0;
    ssize_t n;
    while (have < room - 1 && (n = read(fd, out + have, room - 1 - have)) > 0)
        have += (size_t)n;
    out[have] = 0;
    close(fd);
    return (ssize_t)have;
}

// What follows "\nNAME:" in the text, or "".
static const char *status_field(const char *text, const char *name)
{
    char key[32];
    snprintf(key, sizeof key, "\n%s:", name);
    const char *at = strstr(text, key);
    return at ? at + strlen(key) + strspn(at + strlen(key), " \t") : "";
}

static const char *user_name(uid_t uid)
{
    static char text[64];
    const struct passwd *user = getpwuid(uid);
    if (user)
        snprintf(text, sizeof text, "%s", user->pw_name);
    else
        snprintf(text, sizeof text, "user %u", (unsigned)uid);
    return text;
}

static void stat_fields(struct process *out)
{
    char text[2048];
    long pages = 0;
    if (proc_read(out->pid, "stat", text, sizeof text) <= 0)
        return;
    const char *at = strrchr(text, ')'); // the name may hold anything
    if (!at || at[1] == 0)
        return;
    out->state = at[2];
    // the third field is the state; the 22nd the start, the 24th the resident pages
    sscanf(at + 2,
           "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu %*u "
           "%ld",
           &out->started, &pages);
    out->resident = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

bool process_read(int pid, struct process *out, char *why, size_t room)
{
    char text[4096];
    unsigned real = 0, effective = 0;
    memset(out, 0, sizeof *out);
    out->pid = pid;
    if (proc_read(pid, "status", text, sizeof text) <= 0)
        return refuse(why, room, "there is no process %d", pid);
    int group = atoi(status_field(text, "Tgid"));
    if (group != pid)
        return refuse(why, room, "%d is a thread of process %d: ask that", pid, group);
    sscanf(status_field(text, "Uid"), "%u %u", &real, &effective);
    out->real = real;
    out->effective = effective;
    out->inner = pid;
    const char *inner = status_field(text, "NSpid");
    for (size_t n = strcspn(inner, "\n"), at = 0; at < n;) {
        out->inner = atoi(inner + at);
        at += strcspn(inner + at, " \t\n");
        at += strspn(inner + at, " \t");
    }
    if (sscanf(text, "Name:\t%63[^\n]", out->name) != 1)
        out->name[0] = 0;
    stat_fields(out);
    if (out->state == 'Z' || out->state == 'X')
        return refuse(why, room, "process %d (%s) has ended", pid, out->name);
    if (!*status_field(text, "VmSize"))
        return refuse(why, room, "%d (%s) is a thread of the kernel", pid, out->name);
    return true;
}

bool process_mine(const struct process *p, char *why, size_t room)
{
    uid_t me = geteuid();
    if (me == 0 || (me == p->real && me == p->effective))
        return true;
    uid_t whose = p->effective != me ? p->effective : p->real;
    return refuse(why, room, "process %d (%s) isn't yours: only %s%sroot may ask it", p->pid,
                  p->name, whose ? user_name(whose) : "", whose ? " and " : "");
}

void process_command(const struct process *p, char *out, size_t room)
{
    ssize_t n = proc_read(p->pid, "cmdline", out, room);
    if (n <= 0) {
        snprintf(out, room, "[%s]", p->name);
        return;
    }
    while (n > 0 && out[n - 1] == 0)
        n--;
    for (ssize_t i = 0; i < n; i++)
        if (out[i] == 0)
            out[i] = ' ';
        else if ((unsigned char)out[i] < ' ' || out[i] == 0x7f)
            out[i] = '?';
}

int process_preloaded(int pid)
{
    int fd = proc_open(pid, "maps");
    FILE *maps = fd < 0 ? NULL : fdopen(fd, "r");
    char line[4500];
    int found = 0;
    if (!maps)
        return -1;
    errno = 0;
    while (!found && fgets(line, sizeof line, maps)) {
        const char *slash = strrchr(line, '/');
        found = slash && strncmp(slash, "/libsalvage.so", 14) == 0;
    }
    int error = errno;
    fclose(maps);
    errno = error;
    return found ? 1 : error ? -1 : 0;
}

// ---- why not ------------------------------------------------------------------------------------

static bool started_securely(int pid)
{
    Elf64_auxv_t aux[64];
    ssize_t n = proc_read(pid, "auxv", (char *)aux, sizeof aux);
    for (ssize_t i = 0; i < n / (ssize_t)sizeof *aux; i++)
        if (aux[i].a_type == AT_SECURE)
            return aux[i].a_un.a_val != 0;
    return false;
}

// Does SALVAGE in the environment it was started with say so?
static bool option_says(int pid, const char *item)
{
    static char text[256 << 10];
    bool says = false;
    ssize_t n = proc_read(pid, "environ", text, sizeof text);
    for (const char *at = text; at < text + n; at += strlen(at) + 1) {
        if (strncmp(at, "SALVAGE=", 8) != 0)
            continue;
        size_t key = (size_t)(strchr(item, '=') - item) + 1;
        for (const char *word = at + 8; *word;) {
            size_t bytes = strcspn(word, ",");
            if (strncmp(word, item, key) == 0) // the last one counts
                says = bytes == strlen(item) && strncmp(word, item, bytes) == 0;
            word += bytes + (word[bytes] == ',');
        }
    }
    return says;
}

static void explain_absent(const struct process *p, char *why, size_t room)
{
    char path[64], *name = text_take("process %d (%s)", p->pid, p->name);
    struct image image;
    snprintf(path, sizeof path, "/proc/%d/exe", p->pid);
    const char *unfit = image_read(path, &image) ? image_unfit(&image, name) : NULL;
    if (unfit)
        refuse(why, room, "%s", unfit);
    else if (started_securely(p->pid))
        refuse(why, room,
               "%s was started set-user-ID, set-group-ID or with capabilities: the dynamic linker "
               "ignores LD_PRELOAD for it",
               name);
    else
        refuse(why, room,
               "%s doesn't run under Salvage: no libsalvage.so is in it (start it by: salvage run)",
               name);
    free(name);
}

void process_explain(const struct process *p, char *why, size_t room)
{
    static const char *const silent[] = {"mode=off", "workers=0", "barrier=stw"};
    int there = process_preloaded(p->pid);
    if (there < 0) {
        refuse(why, room, "process %d (%s) doesn't let you look at it (%s)%s", p->pid, p->name,
               strerror(errno), geteuid() ? ": try as root" : "");
        return;
    }
    if (!there) {
        explain_absent(p, why, room);
        return;
    }
    for (size_t i = 0; i < sizeof silent / sizeof *silent; i++)
        if (option_says(p->pid, silent[i])) {
            refuse(why, room,
                   "process %d (%s) runs with %s, so no thread of Salvage's is there to answer",
                   p->pid, p->name, silent[i]);
            return;
        }
    refuse(why, room,
           "process %d (%s) has no link: it comes with the first collection (in mode=leaks at "
           "once), after a fork or a change of namespaces with the next allocation, and not after "
           "seccomp",
           p->pid, p->name);
}
