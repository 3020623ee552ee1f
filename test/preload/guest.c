// Manners of a guest: what the program finds at its start is what it would find without the
// library (descriptors, environment, errno, signal mask, one thread, silent streams); what it does
// to itself later (closes every descriptor, changes its root or its user, becomes undumpable)
// leaves malloc working and a collection safe; calls that come early, late or from signal handlers
// work; bad options cost a line each and nothing else. Cases that need a fresh process run this
// program again with the case's name; the plain run to compare with is the same program without
// the library.
#include "check.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>

static char self[4096];
static int errno_first; // as the first constructor of the program finds it

// ---- early and late ----------------------------------------------------------------------------

static char *early; // allocated before main, looked at in it, freed after it

__attribute__((constructor(101))) static void first(void)
{
    errno_first = errno;
    early = strdup("before main");
    free(malloc(100000));
}

__attribute__((destructor(101))) static void last(void)
{
    free(strdup("after main"));
    free(realloc(early, 100000));
}

static void handler_exit(void)
{
    char *p = malloc(10);
    check_collect();
    free(realloc(p, 50000));
}

// ---- a heap to keep, and garbage ---------------------------------------------------------------

struct node {
    struct node *next;
    unsigned char bytes[200];
};
static struct node *list;

static void list_build(void)
{
    for (unsigned i = list ? 500 : 0; i < 500; i++) {
        struct node *k = malloc(sizeof *k);
        k->next = list;
        check_fill(k->bytes, sizeof k->bytes, i);
        list = k;
    }
}

static bool list_whole(void)
{
    unsigned i = 500;
    for (struct node *k = list; k; k = k->next)
        if (!check_pattern(k->bytes, sizeof k->bytes, sizeof k->bytes, --i))
            return false;
    return i == 0;
}

static __attribute__((noinline)) void garbage_make(void)
{
    for (int i = 0; i < 3000; i++)
        memset(check_hide(malloc(300)), 0, 300);
}

// Collects over garbage and a live list: whatever the circumstances, the list stays whole and the
// cycle either ends or is given up and says so; `must` where nothing excuses giving up.
static void collect_safely(const char *where, bool must)
{
    struct salvage_stats before = {0}, after = {0};
    list_build();
    garbage_make();
    if (check_collecting() && salvage_stats) {
        salvage_stats(&before);
        size_t got = check_collect();
        check_collect();
        salvage_stats(&after);
        CHECK(after.cycles + after.cycles_abandoned >= before.cycles + before.cycles_abandoned + 2,
              "%s: two collections, of which %llu are counted", where,
              (unsigned long long)(after.cycles + after.cycles_abandoned - before.cycles -
                                   before.cycles_abandoned));
        CHECK(!must || (after.cycles >= before.cycles + 2 && got >= 3000 * 300 / 2),
              "%s: %zu bytes reclaimed, %llu cycles abandoned", where, got,
              (unsigned long long)(after.cycles_abandoned - before.cycles_abandoned));
        CHECK(after.cycles > before.cycles || after.reclaimed == before.reclaimed,
              "%s: an abandoned cycle reclaims", where);
    }
    garbage_make();
    CHECK(list_whole(), "%s: a live list is damaged", where);
    for (int i = 0; i < 2000; i++)
        free(check_hide(malloc((size_t)i * 50)));
}

// ---- cases in a process of their own -----------------------------------------------------------

static void case_plain(void)
{
    collect_safely("nothing special", true);
}

static void case_closed(void)
{
    closefrom(3);
    collect_safely("descriptors closed", false);
}

static void case_closed_later(void)
{
    collect_safely("before descriptors are closed", true);
    closefrom(3);
    collect_safely("descriptors closed after a collection", false);
    closefrom(0);
    collect_safely("all descriptors closed", false);
}

// Other files under every number the library may hold: it must notice, and never close or use them.
static void case_replaced(void)
{
    struct stat null, now;
    static bool mine[4096];
    int fd = open("/dev/null", O_RDWR);
    fstat(fd, &null);
    for (int i = 3; i < 4096; i++)
        mine[i] = i == fd || dup2(fd, i) == i;
    collect_safely("descriptors replaced", false);
    int lost = 0;
    for (int i = 3; i < 4096; i++)
        lost += mine[i] && (fstat(i, &now) || now.st_rdev != null.st_rdev);
    CHECK(lost == 0, "%d of the program's descriptors are gone or changed", lost);
}

static void chroot_empty(void)
{
    char path[] = "/tmp/salvage-guest-XXXXXX";
    // removed as soon as it is the root: nothing can be in it, and nothing is left behind
    CHECK(mkdtemp(path) && !chdir(path) && !rmdir(path) && !chroot("."), "chroot: %s",
          strerror(errno));
}

static void case_chroot(void)
{
    chroot_empty();
    collect_safely("in an empty root", false);
}

static void case_chroot_later(void)
{
    collect_safely("before chroot", true);
    chroot_empty();
    collect_safely("in an empty root after a collection", false);
}

static void case_setuid(void)
{
    CHECK(setgid(65534) == 0 && setuid(65534) == 0, "setuid: %s", strerror(errno));
    collect_safely("as nobody", false);
}

static void case_setuid_later(void)
{
    collect_safely("before setuid", true);
    CHECK(setgid(65534) == 0 && setuid(65534) == 0, "setuid: %s", strerror(errno));
    collect_safely("as nobody after a collection", false);
}

static void case_undumpable(void)
{
    CHECK(setgid(65534) == 0 && setuid(65534) == 0 && prctl(PR_SET_DUMPABLE, 0) == 0, "prctl: %s",
          strerror(errno));
    collect_safely("undumpable", false);
}

static void *thread_run(void *arg)
{
    collect_safely("in a thread", true);
    return arg;
}

static void case_daemon(void)
{ // what daemons do, one after the other
    chroot_empty();
    closefrom(3);
    CHECK(setgid(65534) == 0 && setuid(65534) == 0, "setuid: %s", strerror(errno));
    collect_safely("chroot, closefrom and setuid", false);
    pid_t pid = fork();
    if (pid == 0) {
        collect_safely("a child of that", false);
        _exit(atomic_load(&check_failed) ? 1 : 0);
    }
    CHECK(check_wait(pid) == 0, "a child after chroot, closefrom and setuid");
}

static void case_thread(void)
{
    pthread_t t;
    pthread_create(&t, NULL, thread_run, NULL);
    pthread_join(t, NULL);
}

static volatile sig_atomic_t ticks, tick_bad;

static void tick(int sig)
{
    int saved = errno;
    (void)sig;
    for (size_t n = 16; n < 100000; n *= 3) {
        char *p = malloc(n);
        if (!p || (memset(p, 1, n), malloc_usable_size(p) < n))
            tick_bad = 1;
        free(p);
    }
    errno = saved;
    ticks++;
}

// Handlers that allocate while main computes, in its own code; glibc's malloc allows as much.
static void case_signal(void)
{
    struct itimerval every = {{0, 500}, {0, 500}}, never = {{0, 0}, {0, 0}};
    struct sigaction sa = {.sa_handler = tick};
    sigaction(SIGALRM, &sa, NULL);
    list_build();
    setitimer(ITIMER_REAL, &every, NULL);
    uint64_t state = 3, sum = 0;
    while (ticks < 300)
        sum += check_random(&state);
    setitimer(ITIMER_REAL, &never, NULL);
    CHECK(!tick_bad && sum, "malloc in a signal handler");
    check_collect();
    CHECK(list_whole(), "malloc in a signal handler damages a list");
}

static void case_exit(void)
{
    CHECK(early && !strcmp(early, "before main"), "a block from a constructor is lost");
    atexit(handler_exit);
    check_collect();
    CHECK(!strcmp(early, "before main"), "a block from a constructor is lost by a collection");
    exit(atomic_load(&check_failed) ? 1 : 0);
}

static const struct {
    const char *name;
    void (*fn)(void);
    bool root;
} cases[] = {
    {"plain", case_plain, false},
    {"closed", case_closed, false},
    {"closed-later", case_closed_later, false},
    {"replaced", case_replaced, false},
    {"chroot", case_chroot, true},
    {"chroot-later", case_chroot_later, true},
    {"setuid", case_setuid, true},
    {"setuid-later", case_setuid_later, true},
    {"undumpable", case_undumpable, true},
    {"daemon", case_daemon, true},
    {"thread", case_thread, false},
    {"signal", case_signal, false},
    {"exit", case_exit, false},
};
#define CASES (sizeof cases / sizeof *cases)

// ---- what the program finds at its start -------------------------------------------------------

static void print_start(void)
{
    sigset_t set;
    char text[4096], *line;
    sigprocmask(SIG_BLOCK, NULL, &set);
    dprintf(STDOUT_FILENO, "errno %d\ndescriptors", errno_first);
    for (int i = 0; i < 1000; i++)
        if (fcntl(i, F_GETFD) >= 0)
            dprintf(STDOUT_FILENO, " %d", i);
    dprintf(STDOUT_FILENO, "\nblocked");
    for (int i = 1; i < 65; i++)
        if (sigismember(&set, i) == 1)
            dprintf(STDOUT_FILENO, " %d", i);
    dprintf(STDOUT_FILENO, "\nhandled");
    for (int i = 1; i < 65; i++) {
        struct sigaction sa;
        if (sigaction(i, NULL, &sa) == 0 && sa.sa_handler != SIG_DFL)
            dprintf(STDOUT_FILENO, " %d", i);
    }
    int fd = open("/proc/self/status", O_RDONLY);
    check_slurp(fd, text, sizeof text);
    close(fd);
    if ((line = strstr(text, "Threads:")))
        dprintf(STDOUT_FILENO, "\n%.10s", line);
    dprintf(STDOUT_FILENO, "\nalarm %u umask %o dumpable %d\n", alarm(0), umask(0),
            prctl(PR_GET_DUMPABLE));
    for (char **e = environ; *e; e++)
        if (strncmp(*e, "LD_PRELOAD=", 11) != 0 && strncmp(*e, "SALVAGE=", 8) != 0)
            dprintf(STDOUT_FILENO, "%s\n", *e);
}

// The environment with entries put in front and LD_PRELOAD and SALVAGE as told (NULL: without).
static char **environment(const char *preload, const char *options)
{
    static char *v[1000], a[4200], b[4200];
    size_t n = 0;
    if (preload)
        snprintf(a, sizeof a, "LD_PRELOAD=%s", preload), v[n++] = a;
    if (options)
        snprintf(b, sizeof b, "SALVAGE=%s", options), v[n++] = b;
    for (char **e = environ; *e && n < 999; e++)
        if (strncmp(*e, "LD_PRELOAD=", 11) != 0 && strncmp(*e, "SALVAGE=", 8) != 0)
            v[n++] = *e;
    v[n] = NULL;
    return v;
}

static int again(const char *mode, const char *preload, const char *options, char *text,
                 size_t size)
{
    char *argv[] = {self, (char *)(uintptr_t)mode, NULL};
    return check_spawn(argv, environment(preload, options), text, size);
}

static char with[32768], without[32768];

static void starts(const char *preload)
{
    CHECK(again("--start", NULL, NULL, without, sizeof without) == 0, "the plain run");
    CHECK(again("--start", preload, NULL, with, sizeof with) == 0, "the run with the library");
    CHECK(!strcmp(with, without), "the program starts with\n%s\nwithout the library with\n%s", with,
          without);
}

static void silent(const char *preload)
{
    static const char *const good[] = {"",
                                       "mode=collect",
                                       "mode=off",
                                       "gcpercent=10",
                                       "gcpercent=off",
                                       "gcpercent=10000",
                                       "gctrace=0",
                                       "barrier=stw",
                                       "barrier=auto",
                                       "stress=0",
                                       "checkmark=1",
                                       "clobber=1",
                                       "align=1",
                                       "align=8",
                                       "tagbits=16",
                                       "period=0",
                                       "period=120",
                                       "roots=all",
                                       "roots=data+stacks+mmap",
                                       "mode=collect,gcpercent=200,checkmark=0"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int status = again("--work", preload, good[i], with, sizeof with);
        CHECK(status == 0 && !*with, "SALVAGE=%s isn't silent: %s", good[i], with);
    }
}

static unsigned lines_count(const char *text, const char *word)
{
    unsigned n = 0;
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line += line ? 1 : 0) {
        const char *end = strchr(line, '\n'), *hit = strstr(line, word);
        n += hit && (!end || hit < end);
    }
    return n;
}

static void bad_options(const char *preload)
{
    static const struct {
        const char *options, *key;
    } bad[] = {{"foo=1", "foo"},
               {"gcpercent=abc", "gcpercent"},
               {"gcpercent=9", "gcpercent"},
               {"gcpercent=10001", "gcpercent"},
               {"gcpercent=", "gcpercent"},
               {"gcpercent", "gcpercent"},
               {"mode=everything", "mode"},
               {"memlimit=1X", "memlimit"},
               {"memlimit=99999999999999999999G", "memlimit"},
               {"gctrace=3", "gctrace"},
               {"barrier=wall", "barrier"},
               {"workers=65", "workers"},
               {"workers=-1", "workers"},
               {"stress=often", "stress"},
               {"checkmark=2", "checkmark"},
               {"clobber=y", "clobber"},
               {"align=3", "align"},
               {"tagbits=17", "tagbits"},
               {"period=soon", "period"},
               {"roots=trees", "roots"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int status = again("--work", preload, bad[i].options, with, sizeof with);
        CHECK(status == 0, "SALVAGE=%s: status %#x", bad[i].options, status);
        CHECK(lines_count(with, "") == 1 && lines_count(with, bad[i].key) == 1,
              "SALVAGE=%s: not one line naming %s: %s", bad[i].options, bad[i].key, with);
    }
    int status = again("--work", preload, "foo=1,checkmark=1,gcpercent=abc", with, sizeof with);
    CHECK(status == 0 && lines_count(with, "") == 2 && lines_count(with, "foo") == 1 &&
              lines_count(with, "gcpercent") == 1,
          "two bad options: status %#x: %s", status, with);
    // The key counts as unknown even though it begins, or ends, like a known one.
    again("--work", preload, "gcpercents=100,xmode=off", with, sizeof with);
    CHECK(lines_count(with, "") == 2, "keys that only resemble known ones: %s", with);
}

// ---- libraries that allocate in their constructors ---------------------------------------------

static const char source[] = "#include <stdlib.h>\n"
                             "#include <string.h>\n"
                             "static char *held;\n"
                             "__attribute__((constructor)) static void first(void) {\n"
                             "    held = strdup(\"constructor\");\n"
                             "    free(realloc(malloc(10), 100000));\n"
                             "}\n"
                             "__attribute__((destructor)) static void last(void) {\n"
                             "    if (strcmp(held, \"constructor\"))\n"
                             "        abort();\n"
                             "    free(held);\n"
                             "    free(calloc(1, 100000));\n"
                             "}\n";

static void constructors(const char *preload)
{
    char folder[] = "/tmp/salvage-guest-XXXXXX", file[64], library[64], command[256], both[8400];
    if (!CHECK(mkdtemp(folder), "mkdtemp"))
        return;
    snprintf(file, sizeof file, "%s/early.c", folder);
    snprintf(library, sizeof library, "%s/early.so", folder);
    FILE *f = fopen(file, "w");
    fputs(source, f);
    fclose(f);
    snprintf(command, sizeof command,
             "env -u LD_PRELOAD cc -D_GNU_SOURCE -shared -fPIC -fno-builtin -o %s %s", library,
             file);
    if (CHECK(system(command) == 0, "the test's library can't be compiled")) {
        for (int order = 0; order < 2; order++) {
            snprintf(both, sizeof both, "%s:%s", order ? preload : library,
                     order ? library : preload);
            int status = again("--work", both, NULL, with, sizeof with);
            CHECK(status == 0 && !*with, "LD_PRELOAD=%s: status %#x: %s", both, status, with);
        }
        void *h = dlopen(library, RTLD_NOW);
        CHECK(h, "dlopen: %s", dlerror());
        check_collect();
        CHECK(h && dlclose(h) == 0, "dlclose");
    }
    unlink(file), unlink(library), rmdir(folder);
}

static void work(void)
{
    void *p[1000];
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < 1000; i++)
            p[i] = malloc(i * 8);
        for (size_t i = 0; i < 1000; i++)
            free(p[i]);
        check_collect();
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "--start")) {
        print_start();
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "--work")) {
        work();
        return 0;
    }
    for (size_t i = 0; argc > 1 && i < CASES; i++) {
        if (!strcmp(argv[1], cases[i].name)) {
            cases[i].fn();
            return atomic_load(&check_failed) ? 1 : 0;
        }
    }
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0, "where am I?");
    CHECK(errno_first == 0, "errno is %d in the first constructor", errno_first);
    const char *preload = getenv("LD_PRELOAD");
    char kept[4096];
    snprintf(kept, sizeof kept, "%s", preload ? preload : "");
    for (size_t i = 0; i < CASES; i++) {
        if (cases[i].root && geteuid())
            continue;
        // Once in a process of its own, once in a forked child of this one.
        const char *options = getenv("SALVAGE");
        int status = again(cases[i].name, preload ? kept : NULL, options, with, sizeof with);
        char text[48];
        CHECK(status == 0 && !*with, "case %s: %s: %s", cases[i].name, check_status(status, text),
              with);
        check_case(cases[i].name, cases[i].fn, 60);
    }
    constructors(kept);
    if (check_salvage()) {
        starts(kept);
        silent(kept);
        bad_options(kept);
    }
    return check_done();
}
