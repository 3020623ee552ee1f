// Makes a leak check's report. The raw record goes to the file that the user named when the format
// is `raw`; else into a file without a name, which the command beside the library renders in a
// process of its own. Where there is no command, or it fails, plain.c does without symbols.
//
// The program must not notice. So nothing here allocates from its heap, uses stdio, or touches
// errno; descriptors are close-on-exec, 1000 and up where the limit allows, and closed before the
// program goes on. The command is started through a child in between that shares our memory but
// neither descriptors nor handlers: it never execs, so it dies without SIGCHLD, and the program's
// wait() doesn't find it (a child that execs gets both back); the command is its child. It runs
// without LD_PRELOAD and SALVAGE, with no descriptor of the program's but those it writes to, and
// with every signal at its default.
//
// Signals of the program's wait during the check, and while descriptors are passed on. Those that
// our own writes would cause (SIGPIPE, SIGXFSZ) are taken out of the queue again.
//
// stderr is the program's descriptor 2 as it is when a report is due. It may have been closed: then
// there is no report. Or 2 may be a file of the program's own by now: what wasn't there at start is
// written to only if it looks like an output, that is, open for writing alone, or a terminal. No
// copy of the first stderr is kept: that would hold a terminal or a pipe open for the life of a
// daemon.
//
// One report at a time. The collector's own threads may make one: they borrow the descriptors.
#include "report.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arch.h"
#include "cycle.h"
#include "lock.h"
#include "options.h"
#include "os.h"
#include "plain.h"
#include "real.h"
#include "text.h"
#include "worker.h"
#include "world.h"

#define PATH_ROOM 4096
#define FD_HIGH 1000  // contract: no descriptors of ours below, in the program's table
#define FD_APART 16   // above all that the command gets
#define FD_RECORD 3   // of the command
#define FD_SUPPRESS 4 // likewise
#define SYSTEM_PAGE 4096u
#define RSS_LOOK_NS 250000000u // between two looks at the process's size
#define STACK_BYTES ((size_t)64 << 10)
#define COMMAND_FOUND 23 // contract: the command's status when there are leaks
#define COMMAND_NONE 127 // it couldn't be started

// A program that is annotated for LeakSanitizer may define it.
extern const char *__lsan_default_suppressions(void) __attribute__((weak));

static struct {
    struct sv_lock lock;         // outermost: a report is being made
    char folder[PATH_ROOM];      // const after init: what relative names are meant from
    char commands[2][PATH_ROOM]; // const after init: where the command may lie
    struct stat err;             // const after init: descriptor 2 at start; st_ino 0: closed
    uint64_t checked;            // driver: when the last report by time was made, ns
    uint64_t rss;                // driver: resident bytes at which the next one by size is due
    int dir;                     // written before chroot: the report's folder, else -1
} report = {.dir = -1};

struct target { // where one report goes
    int fd;     // -1: nowhere
    bool close; // it is ours
};

// ---- system calls that nobody else makes --------------------------------------------------------

static int fd_high(int fd)
{
    int high = fd < 0 ? fd : sv_os_fcntl(fd, F_DUPFD_CLOEXEC, FD_HIGH);
    if (high < 0)
        return fd;
    sv_os_close(fd);
    return high;
}

static int memory_file(void)
{
    return fd_high(
        (int)sv_arch_syscall(SYS_memfd_create, (long)"salvage", MFD_CLOEXEC, 0, 0, 0, 0));
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n) {
        long r = sv_os_write(fd, p, n);
        if (r <= 0 && r != -EINTR)
            return false;
        p += r > 0 ? r : 0;
        n -= r > 0 ? (size_t)r : 0;
    }
    return true;
}

static long child_wait(int pid, int *status)
{
    long r;
    do
        r = sv_arch_syscall(SYS_wait4, pid, (long)status, __WALL, 0, 0, 0);
    while (r == -EINTR);
    return r;
}

#define BIT(sig) ((uint64_t)1 << ((sig)-1))

static uint64_t signals_pending(void)
{
    uint64_t set = 0;
    sv_arch_syscall(SYS_rt_sigpending, (long)&set, sizeof set, 0, 0, 0, 0);
    return set;
}

// All but the collector's and the C library's own.
static uint64_t signals_block(void)
{
    uint64_t old = 0;
    sv_os_signal_mask(SIG_BLOCK, ~(BIT(SV_STOP_SIGNAL) | BIT(32) | BIT(33)), &old);
    return old;
}

static void signals_unblock(uint64_t old, uint64_t pending)
{
    uint64_t ours = (BIT(SIGPIPE) | BIT(SIGXFSZ)) & ~pending & signals_pending();
    struct timespec now = {0, 0};
    if (ours)
        sv_arch_syscall(SYS_rt_sigtimedwait, (long)&ours, 0, (long)&now, sizeof ours, 0, 0);
    sv_os_signal_mask(SIG_SETMASK, old, NULL);
}

// ---- at start -----------------------------------------------------------------------------------

static bool path_join(char out[PATH_ROOM], const char *folder, size_t n, const char *rest)
{
    if (n + strlen(rest) >= PATH_ROOM)
        return false;
    memcpy(out, folder, n);
    strcpy(out + n, rest);
    return true;
}

// The folder of this library, as far as it can be known: with its slash.
static void commands_find(void)
{
    Dl_info info;
    char own[PATH_ROOM];
    if (!dladdr(&report, &info) || !info.dli_fname)
        return;
    const char *slash = strrchr(info.dli_fname, '/');
    if (!slash)
        return;
    size_t n = (size_t)(slash + 1 - info.dli_fname), before = 0;
    if (info.dli_fname[0] != '/')
        before = strlen(report.folder);
    if (before + n + 1 >= PATH_ROOM)
        return;
    memcpy(own, report.folder, before);
    memcpy(own + before, info.dli_fname, n);
    if (!path_join(report.commands[0], own, before + n, "salvage") ||
        !path_join(report.commands[1], own, before + n, "../bin/salvage"))
        report.commands[0][0] = report.commands[1][0] = 0;
}

static bool fd_stat(int fd, struct stat *out)
{
    return sv_arch_syscall(SYS_newfstatat, fd, (long)"", (long)out, AT_EMPTY_PATH, 0, 0) == 0;
}

void sv_report_init(void)
{
    long n = sv_os_cwd(report.folder, PATH_ROOM - 1);
    if (n > 1 && report.folder[0] == '/')
        strcpy(report.folder + n - 1, n > 2 ? "/" : "");
    else
        report.folder[0] = 0;
    commands_find();
    if (!fd_stat(2, &report.err))
        report.err.st_ino = 0;
    sv_real(clone); // looks it up
    sv_report_fork_child();
    if (sv_options.every || sv_options.rss)
        sv_cycle_on_time = sv_report_time;
}

// ---- where it goes ------------------------------------------------------------------------------

static bool format_is(const char *name)
{
    return strcmp(sv_options.format, name) == 0;
}

// Where the option's name leads, whatever the current directory is by now.
static void target_path(char out[2 * PATH_ROOM])
{
    struct sv_text t = sv_text_start(out, 2 * PATH_ROOM - 1);
    if (sv_options.report[0] != '/')
        sv_text_put(&t, "%s", report.folder);
    sv_text_path(&t, sv_options.report);
    *t.p = 0;
}

// Text and raw records follow one another; of the other formats the last one stands.
static int target_open(void)
{
    char path[2 * PATH_ROOM];
    target_path(path);
    bool more = format_is("text") || format_is("raw");
    int flags = O_WRONLY | O_CREAT | O_NOCTTY | O_CLOEXEC | (more ? O_APPEND : O_TRUNC);
    int fd = -ENOENT;
    if (report.dir >= 0 && !sv_worker_here())
        fd = (int)sv_arch_syscall(SYS_openat, report.dir, (long)(strrchr(path, '/') + 1), flags,
                                  0644, 0, 0);
    if (fd < 0)
        fd = sv_os_open(path, flags, 0644);
    if (fd < 0)
        sv_log("salvage: can't write the leak report to '%s' (error %d)", path, -fd);
    return fd_high(fd);
}

// Does descriptor 2 look like the stderr that it was, or like another one?
static bool err_writable(void)
{
    struct stat st;
    int fd = sv_worker_here() ? sv_worker_borrow(2) : 2;
    bool ok = fd >= 0 && fd_stat(fd, &st);
    if (ok &&
        !(report.err.st_ino && st.st_dev == report.err.st_dev && st.st_ino == report.err.st_ino)) {
        long flags = sv_os_fcntl(fd, F_GETFL, 0);
        ok = S_ISCHR(st.st_mode) || (flags >= 0 && (flags & O_ACCMODE) == O_WRONLY);
    }
    if (fd != 2 && fd >= 0)
        sv_os_close(fd);
    return ok;
}

static struct target target_fd(int fd)
{
    if (!sv_worker_here())
        return (struct target){fd, false};
    int copy = sv_worker_borrow(fd);
    return (struct target){copy, copy >= 0 && copy != fd};
}

static struct target target_find(void)
{
    const char *where = sv_options.report;
    if (strcmp(where, "stderr") == 0)
        return err_writable() ? target_fd(2) : (struct target){-1, false};
    if (strncmp(where, "fd:", 3) == 0) {
        int fd = 0;
        for (const char *c = where + 3; *c >= '0' && *c <= '9' && fd < 1 << 24; c++)
            fd = fd * 10 + (*c - '0');
        return target_fd(fd);
    }
    int fd = target_open();
    if (fd >= 0)
        return (struct target){fd, true};
    return err_writable() ? target_fd(2) : (struct target){-1, false};
}

static void target_close(struct target *t)
{
    if (t->close)
        sv_os_close(t->fd);
}

void sv_report_chroot(void)
{
    char path[2 * PATH_ROOM];
    const char *where = sv_options.report;
    if (sv_options.mode != SV_MODE_LEAKS || report.dir >= 0 || strcmp(where, "stderr") == 0 ||
        strncmp(where, "fd:", 3) == 0)
        return;
    target_path(path);
    char *slash = strrchr(path, '/');
    if (!slash)
        return;
    slash[slash == path] = 0;
    int fd = fd_high(sv_os_open(path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0));
    if (fd >= FD_HIGH)
        report.dir = fd;
    else if (fd >= 0)
        sv_os_close(fd);
}

// ---- the command --------------------------------------------------------------------------------

struct command { // what the two children need; in memory that they share with us
    const char *path;
    char *argv[11];
    char **envp;
    int record, out, err, suppress; // descriptors; -1: none
    char *stack;                    // of the command, before it execs
};

static void fd_place(int fd, int to)
{
    if (fd < 0)
        sv_os_close(to);
    else
        sv_arch_syscall(SYS_dup3, fd, to, 0, 0, 0, 0); // without O_CLOEXEC
}

// In a process that shares our memory: no errno, nothing of libc's.
static int command_exec(void *arg)
{
    const struct command *c = arg;
    int null = sv_os_open("/dev/null", O_RDWR, 0);
    int from[5] = {null, c->out, c->err >= 0 ? c->err : null, c->record, c->suppress};
    for (int i = 0; i < 5; i++)
        from[i] = from[i] < 0 ? -1 : sv_os_fcntl(from[i], F_DUPFD_CLOEXEC, FD_APART);
    for (int i = 0; i < 5; i++)
        fd_place(from[i], i);
    sv_arch_syscall(SYS_close_range, FD_SUPPRESS + 1, ~0u, 0, 0, 0, 0);
    for (int sig = 1; sig <= 64; sig++)
        sv_os_signal_default(sig);
    sv_os_signal_mask(SIG_SETMASK, 0, NULL);
    sv_arch_syscall(SYS_execve, (long)c->path, (long)c->argv, (long)c->envp, 0, 0, 0);
    return COMMAND_NONE;
}

// The child in between. Ends by the status of the command.
static int command_mind(void *arg)
{
    struct command *c = arg;
    int status = 0;
    sv_os_signal_default(SIGCHLD); // ignored, its child would leave no status
    int pid = sv_real(clone)(command_exec, c->stack + STACK_BYTES, CLONE_VM | SIGCHLD, c);
    if (pid < 0 || child_wait(pid, &status) != pid || !WIFEXITED(status))
        return COMMAND_NONE;
    return WEXITSTATUS(status);
}

// Its exit status, or COMMAND_NONE. The calling thread's signals are blocked.
static int command_run(struct command *c)
{
    int saved = errno, status = COMMAND_NONE << 8;
    char *stacks = sv_os_map(2 * STACK_BYTES);
    if (!stacks)
        return COMMAND_NONE;
    c->stack = stacks + STACK_BYTES;
    int pid = sv_real(clone)(command_mind, stacks + STACK_BYTES, CLONE_VM, c);
    errno = saved;
    bool gone = pid < 0 || child_wait(pid, &status) == pid;
    if (gone) // else somebody else has waited for it, and it may be running still
        sv_os_unmap(stacks, 2 * STACK_BYTES);
    return pid >= 0 && gone && WIFEXITED(status) ? WEXITSTATUS(status) : COMMAND_NONE;
}

static const char *command_path(void)
{
    for (unsigned i = 0; i < 2; i++)
        if (report.commands[i][0] &&
            sv_arch_syscall(SYS_faccessat, AT_FDCWD, (long)report.commands[i], X_OK, 0, 0, 0) == 0)
            return report.commands[i];
    return NULL;
}

static bool variable_is(const char *entry, const char *name)
{
    size_t n = strlen(name);
    return strncmp(entry, name, n) == 0 && entry[n] == '=';
}

// The program's environment without what would bring us in there; in mapped memory of *bytes.
static char **environment_make(size_t *bytes)
{
    extern char **__environ;
    size_t n = 0, at = 0;
    while (__environ && __environ[n])
        n++;
    *bytes = (n + 1) * sizeof(char *);
    char **v = sv_os_map(*bytes);
    for (size_t i = 0; v && i < n && __environ[i]; i++)
        if (!variable_is(__environ[i], "LD_PRELOAD") && !variable_is(__environ[i], "SALVAGE"))
            v[at++] = __environ[i];
    return v;
}

// What the program itself wants suppressed, in a file without a name; -1: nothing.
static int suppressions_make(void)
{
    const char *text = __lsan_default_suppressions ? __lsan_default_suppressions() : NULL;
    if (!text || !*text)
        return -1;
    int fd = memory_file();
    if (fd >= 0)
        write_all(fd, text, strlen(text));
    return fd < 0 ? -1 : fd;
}

// 0 or 23, as the command says; -1: it didn't do it.
static int command_render(int record, int out, bool abandoned)
{
    size_t env_bytes = 0, n = 0;
    struct command c = {.path = command_path(), .record = record, .out = out, .err = -1};
    if (!c.path || !(c.envp = environment_make(&env_bytes)))
        return -1;
    c.suppress = suppressions_make();
    struct target err = {-1, false};
    if (err_writable())
        err = target_fd(2);
    c.err = err.fd;
    const char *args[] = {"salvage",
                          "report",
                          "--format",
                          sv_options.format,
                          abandoned ? "--abandoned" : NULL,
                          sv_options.live ? "--live" : NULL,
                          c.suppress >= 0 ? "--suppressions" : NULL,
                          c.suppress >= 0 ? "/proc/self/fd/4" : NULL,
                          sv_options.suppressions[0] ? "--suppressions" : NULL,
                          sv_options.suppressions[0] ? sv_options.suppressions : NULL,
                          "/proc/self/fd/3"};
    for (size_t i = 0; i < sizeof args / sizeof *args; i++)
        if (args[i])
            c.argv[n++] = (char *)(uintptr_t)args[i];
    int status = command_run(&c);
    sv_os_unmap(c.envp, env_bytes);
    target_close(&err);
    if (c.suppress >= 0)
        sv_os_close(c.suppress);
    return status == 0 || status == COMMAND_FOUND ? status : -1;
}

// ---- a report -----------------------------------------------------------------------------------

static void plain_render(int record, int out)
{
    struct stat st;
    if (!fd_stat(record, &st) || st.st_size <= 0)
        return;
    size_t bytes = (size_t)st.st_size;
    long p = sv_arch_syscall(SYS_mmap, 0, (long)bytes, PROT_READ, MAP_PRIVATE, record, 0);
    if (p < 0 && p > -4096)
        return;
    sv_plain_write(out, (const char *)p, bytes);
    sv_os_unmap((void *)p, bytes);
}

static void render(int record, bool abandoned, struct sv_report *out)
{
    struct target to = target_find();
    // suppressed or not, they count where nobody can be asked
    out->leaks = out->sums.objects || (abandoned && out->sums.abandoned);
    if (to.fd < 0)
        return;
    int status = command_render(record, to.fd, abandoned);
    if (status >= 0)
        out->leaks = status == COMMAND_FOUND;
    else
        plain_render(record, to.fd);
    target_close(&to);
}

static int check_raw(struct sv_leaks_ask *ask, struct sv_report *out)
{
    struct target to = target_find();
    ask->fd = to.fd;
    int r = sv_leaks_check(ask, &out->sums);
    out->leaks = out->sums.objects || (ask->abandoned && out->sums.abandoned);
    target_close(&to);
    return r;
}

static int check_rendered(struct sv_leaks_ask *ask, struct sv_report *out)
{
    ask->fd = memory_file();
    int r = sv_leaks_check(ask, &out->sums);
    if (ask->fd < 0)
        out->leaks = out->sums.objects != 0;
    else if (r < 0 || out->sums.objects || (ask->abandoned && out->sums.abandoned))
        render(ask->fd, ask->abandoned, out);
    if (ask->fd >= 0)
        sv_os_close(ask->fd);
    return r;
}

bool sv_report_here(void)
{
    return sv_lock_held(&report.lock);
}

int sv_report_make(enum sv_leaks_reason reason, uintptr_t sp, bool abandoned, struct sv_report *out)
{
    *out = (struct sv_report){0};
    if (sv_report_here())
        return -EDEADLK;
    struct sv_leaks_ask ask = {
        .reason = reason, .fd = -1, .sp = sp, .abandoned = abandoned, .live = sv_options.live};
    sv_lock_acquire(&report.lock);
    uint64_t old = signals_block(), pending = signals_pending();
    int r = format_is("raw") ? check_raw(&ask, out) : check_rendered(&ask, out);
    signals_unblock(old, pending);
    sv_lock_release(&report.lock);
    return r;
}

// ---- by time and by size ------------------------------------------------------------------------

// Resident bytes of the process; 0: unknown.
static uint64_t resident(void)
{
    char text[128];
    int fd = sv_os_open("/proc/self/statm", O_RDONLY, 0);
    long n = fd < 0 ? 0 : sv_os_read(fd, text, sizeof text - 1);
    if (fd >= 0)
        sv_os_close(fd);
    text[n > 0 ? n : 0] = 0;
    const char *c = strchr(text, ' ');
    uint64_t pages = 0;
    for (c = c ? c + 1 : ""; *c >= '0' && *c <= '9'; c++)
        pages = pages * 10 + (uint64_t)(*c - '0');
    return pages * SYSTEM_PAGE;
}

static void report_later(enum sv_leaks_reason reason)
{
    struct sv_report made;
    sv_report_make(reason, 0, false, &made);
}

// A check that found the process larger sets the next mark at twice what it was.
uint64_t sv_report_time(void)
{
    uint64_t now = sv_os_now(), every = (uint64_t)sv_options.every * 1000000000u;
    if (every && now - report.checked >= every) {
        report.checked = now;
        report_later(SV_LEAKS_PERIOD);
    }
    uint64_t bytes = sv_options.rss ? resident() : 0;
    if (bytes && bytes >= report.rss) {
        while (report.rss <= bytes)
            report.rss *= 2;
        report_later(SV_LEAKS_RSS);
    }
    uint64_t left = every ? report.checked + every - now : 0;
    return sv_options.rss && (!left || left > RSS_LOOK_NS) ? RSS_LOOK_NS : left;
}

void sv_report_fork_child(void)
{
    report.checked = sv_os_now();
    report.rss = sv_options.rss;
    sv_lock_reset(&report.lock);
}
