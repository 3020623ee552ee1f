// Every end of a process has its leak check, once, and the program doesn't notice: the same output,
// the same status, its handlers run. Each case is this program again, in mode=leaks with raw
// records in a folder, and loses one object of 111 bytes before it ends; what the records say is
// compared with what is true. Then the ways out of a report: descriptors, a command beside the
// library, `exitcode`.
// SALVAGE: mode=collect
#include "check.h"

#include <assert.h>
#include <dirent.h>
#include <err.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/time.h>

#define LOST 111

// The header of a program that is annotated for LeakSanitizer.
void __lsan_do_leak_check(void) __attribute__((weak));
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));
void __lsan_ignore_object(const void *) __attribute__((weak));
void __lsan_disable(void) __attribute__((weak));
void __lsan_enable(void) __attribute__((weak));

static char self[4096], folder[] = "/tmp/salvage-exits-XXXXXX";
static const char *preload;

// ---- what the cases do --------------------------------------------------------------------------

static void *volatile held[16];

__attribute__((noinline)) static void stack_clear(void)
{
    volatile char below[4096];
    for (size_t i = 0; i < sizeof below; i++)
        below[i] = 0;
}

__attribute__((noinline)) static void lose_bytes(size_t bytes)
{
    held[0] = memset(malloc(bytes), 1, bytes);
    held[0] = NULL;
}

static void lose(void)
{
    lose_bytes(LOST);
    stack_clear();
}

static void handler_says(void)
{
    printf(" handler");
}

static void on_exit_says(int status, void *arg)
{
    printf(" on_exit %d %s", status, (char *)arg);
}

// What every ordinary case says first, into a buffer: it must come out after the check.
static void begin(void)
{
    atexit(handler_says);
    on_exit(on_exit_says, "arg");
    printf("text");
    lose();
}

static int do_return(void)
{
    begin();
    return 3;
}

static int do_exit(void)
{
    begin();
    exit(3);
}

static int do_exit_now(void)
{
    lose();
    _exit(3);
}

static int do_exit_now2(void)
{
    lose();
    _Exit(3);
}

static void quick_says(void)
{
    check_that(write(1, "quick", 5) == 5, __FILE__, __LINE__, "write");
}

static int do_quick(void)
{
    check_that(at_quick_exit(quick_says) == 0, __FILE__, __LINE__, "at_quick_exit");
    lose();
    quick_exit(3);
}

static int do_abort(void)
{
    lose();
    abort();
}

static int do_assert(void)
{
    lose();
    fclose(stderr);
    assert(!"never");
    return 0;
}

static int do_err(void)
{
    begin();
    fclose(stderr);
    errx(3, "said into nothing");
}

static int do_term(void)
{
    lose();
    kill(getpid(), SIGTERM);
    pause();
    return 0;
}

static int do_pipe(void)
{
    int fd[2];
    lose();
    if (pipe(fd) || close(fd[0]))
        return 1;
    return write(fd[1], "x", 1) < 0 ? 2 : 3;
}

static void *term_later(void *arg)
{
    (void)arg;
    kill(getpid(), SIGTERM);
    return NULL;
}

static int do_term_poll(void)
{
    pthread_t t;
    lose();
    pthread_create(&t, NULL, term_later, NULL);
    return poll(NULL, 0, -1) + 20;
}

static int do_term_blocked(void)
{
    sigset_t set, got;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    lose();
    sigprocmask(SIG_BLOCK, &set, NULL);
    kill(getpid(), SIGTERM);
    sigpending(&got);
    if (!sigismember(&got, SIGTERM))
        return 1;
    check_that(write(1, "pending", 7) == 7, __FILE__, __LINE__, "write");
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    return 2;
}

static void term_exits(int sig)
{
    (void)sig;
    exit(3);
}

static int do_term_handler(void)
{
    begin();
    signal(SIGTERM, term_exits);
    raise(SIGTERM);
    return 4;
}

// Dispositions look as they would without us, whatever sets and reads them.
static int do_dispositions(void)
{
    static const int sigs[] = {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGABRT, SIGUSR1, SIGALRM};
    struct sigaction now, mine = {.sa_handler = term_exits, .sa_flags = SA_RESTART};
    int bad = 0;
    for (size_t i = 0; i < sizeof sigs / sizeof *sigs; i++) {
        bad += sigaction(sigs[i], NULL, &now) || now.sa_handler != SIG_DFL || now.sa_flags;
        bad += sigaction(sigs[i], &mine, &now) || now.sa_handler != SIG_DFL;
        bad += signal(sigs[i], SIG_DFL) != term_exits;
        bad += signal(sigs[i], SIG_IGN) != SIG_DFL;
        raise(sigs[i]);
        bad += signal(sigs[i], SIG_DFL) != SIG_IGN;
        mine.sa_handler = SIG_DFL;
        bad += sigaction(sigs[i], &mine, &now) || now.sa_handler != SIG_DFL;
        mine.sa_handler = term_exits;
    }
    lose();
    return bad;
}

static int do_exec(void)
{
    lose();
    unsetenv("LD_PRELOAD");
    execlp("sh", "sh", "-c", "echo new; exit 3", NULL);
    return 1;
}

// No end: not there, may not be run, no program.
static int do_exec_fails(void)
{
    begin();
    execl("/nowhere/at/all", "x", NULL);
    execlp("no-such-program-anywhere", "x", NULL);
    execl("/etc/passwd", "x", NULL);
    execl("/tmp", "x", NULL);
    return 3;
}

static int do_pthread_exit(void)
{
    begin();
    pthread_exit(NULL);
}

static void *wait_for_main(void *arg)
{
    // main's pthread_exit can be seen in its state only
    char text[1024];
    for (;;) {
        int fd = open("/proc/self/stat", O_RDONLY);
        check_slurp(fd, text, sizeof text);
        close(fd);
        if (strstr(text, ") Z"))
            return arg;
        usleep(1000);
    }
}

static int do_last_thread(void)
{
    pthread_t t;
    begin();
    pthread_create(&t, NULL, wait_for_main, NULL);
    pthread_exit(NULL);
}

static void *thread_exits(void *arg)
{
    (void)arg;
    exit(3);
}

static int do_thread_exits(void)
{
    pthread_t t;
    begin();
    pthread_create(&t, NULL, thread_exits, NULL);
    pthread_join(t, NULL);
    for (;;)
        pause();
}

static int do_threads_exit(void)
{
    pthread_t t[4];
    begin();
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, thread_exits, NULL);
    for (;;)
        pause();
}

static void handler_exits(void)
{
    exit(3);
}

static int do_exit_twice(void)
{
    begin();
    atexit(handler_exits);
    return 4;
}

static sem_t lock_taken;

static void *stdio_holds(void *arg)
{
    flockfile(stderr);
    sem_post(&lock_taken);
    for (;;)
        pause();
    return arg;
}

static int do_stdio_lock(void)
{
    pthread_t t;
    begin();
    sem_init(&lock_taken, 0, 0);
    pthread_create(&t, NULL, stdio_holds, NULL);
    sem_wait(&lock_taken);
    exit(3);
}

static int do_fork(void)
{
    lose();
    pid_t pid = fork();
    if (pid == 0) {
        lose_bytes(2 * LOST);
        stack_clear();
        exit(4);
    }
    return check_wait(pid) == 4 << 8 ? 3 : 1;
}

static int do_vfork(void)
{
    lose();
    pid_t pid = vfork();
    if (pid == 0)
        _exit(4);
    return check_wait(pid) == 4 << 8 ? 3 : 1;
}

// A child that only execs is its parent's business.
static int do_fork_exec(void)
{
    lose();
    unsetenv("LD_PRELOAD");
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", "exit 4", NULL);
        _exit(5);
    }
    return check_wait(pid) == 4 << 8 ? 3 : 1;
}

// One that loses something itself is not.
static int do_fork_lose_exec(void)
{
    lose();
    unsetenv("LD_PRELOAD");
    pid_t pid = fork();
    if (pid == 0) {
        lose_bytes(2 * LOST);
        stack_clear();
        execl("/bin/sh", "sh", "-c", "exit 4", NULL);
        _exit(5);
    }
    return check_wait(pid) == 4 << 8 ? 3 : 1;
}

static int do_daemon(void)
{
    int fd[2];
    char c;
    if (pipe(fd))
        return 1;
    if (fork() == 0) {
        setsid();
        if (fork() == 0) {
            close(0), close(1), close(2);
            lose_bytes(2 * LOST);
            stack_clear();
            exit(0);
        }
        _exit(0);
    }
    wait(NULL);
    close(fd[1]);
    return read(fd[0], &c, 1) == 0 ? 3 : 2; // ends when the daemon has
}

static int do_closefrom(void)
{
    lose();
    closefrom(0);
    return 3;
}

static int do_chroot(void)
{
    lose();
    return chroot("/proc/self/fdinfo") || chdir("/") ? 1 : 3;
}

static int do_setuid(void)
{
    lose();
    return setgid(65534) || setuid(65534) ? 1 : 3;
}

static int do_nothing(void)
{
    return 3;
}

// The signal comes inside malloc, as likely as not with one of the heap's locks held.
static void *storm(void *arg)
{
    for (uint64_t i = 0, seed = (uintptr_t)arg;; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t at = seed >> 61;
        free(arg == NULL ? held[8 + at] : held[at]);
        *(arg == NULL ? &held[8 + at] : &held[at]) = malloc((seed >> 33) % 40000);
    }
    return NULL;
}

static int do_storm(void)
{
    struct itimerval soon = {.it_value = {0, 20000}};
    lose();
    setitimer(ITIMER_REAL, &soon, NULL);
    storm(NULL);
    return 1;
}

static int do_storms(void)
{
    pthread_t t;
    struct itimerval soon = {.it_value = {0, 20000}};
    lose();
    pthread_create(&t, NULL, storm, (void *)1);
    setitimer(ITIMER_REAL, &soon, NULL);
    storm(NULL);
    return 1;
}

static void *volatile dropped;

static void drops(void)
{
    dropped = NULL;
    stack_clear();
}

static int do_abandon(void)
{
    dropped = malloc(5 * LOST);
    atexit(drops);
    lose();
    return 3;
}

// ---- and on request -----------------------------------------------------------------------------

static int do_api(void)
{
    int bad = salvage_leak_check() != 0;
    lose();
    bad += salvage_leak_check() != 1;
    bad += __lsan_do_recoverable_leak_check() != 1;
    return bad ? 1 : 3;
}

static int do_ignore(void)
{
    __lsan_disable();
    __lsan_disable();
    __lsan_enable();
    lose();
    __lsan_enable();
    held[1] = malloc(LOST);
    salvage_ignore(held[1]);
    held[1] = NULL;
    stack_clear();
    int bad = __lsan_do_recoverable_leak_check();
    lose();
    return bad + salvage_leak_check() == 1 ? 3 : 1;
}

static int do_now(void)
{
    lose();
    __lsan_do_leak_check();
    lose();
    __lsan_do_leak_check();
    printf("went on");
    return 3;
}

// ---- running one --------------------------------------------------------------------------------

struct record {
    char reason[32];
    int pid;
    size_t objects, bytes;
    bool whole;
};

static struct result {
    int status;
    char text[65536];
    struct record record[16];
    size_t n;
} now;

static void records_read(FILE *f)
{
    char line[8192], class[32];
    size_t objects, bytes;
    struct record *r = NULL;
    while (fgets(line, sizeof line, f)) {
        if (!strncmp(line, "salvage-raw ", 12) && now.n < 16)
            r = &now.record[now.n++];
        if (!r)
            continue;
        sscanf(line, "process %d", &r->pid);
        sscanf(line, "check %31s", r->reason);
        if (sscanf(line, "site %*s %31s %zu %zu", class, &objects, &bytes) == 3 &&
            (!strcmp(class, "direct") || !strcmp(class, "indirect") ||
             !strcmp(class, "abandoned"))) {
            r->objects += objects;
            r->bytes += bytes;
        }
        r->whole |= !strcmp(line, "end\n");
    }
}

// Reads what lies in the folder and removes it.
static void records_take(void)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[512];
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        FILE *f = strstr(e->d_name, ".raw") ? fopen(path, "r") : NULL;
        if (!f)
            continue;
        records_read(f);
        fclose(f);
        unlink(path);
    }
    if (d)
        closedir(d);
}

static void run(const char *name, const char *library, const char *options)
{
    char load[5000], salvage[1024];
    char *argv[] = {self, "--case", (char *)(uintptr_t)name, NULL};
    char *environment[] = {load, salvage, "PATH=/usr/bin:/bin", NULL};
    snprintf(load, sizeof load, "LD_PRELOAD=%s", library);
    snprintf(salvage, sizeof salvage, "SALVAGE=%s", options);
    memset(&now, 0, sizeof now);
    now.status = check_spawn(argv, environment, now.text, sizeof now.text);
    records_take();
}

#define EXITED(n) ((n) << 8)

static const struct {
    const char *name;
    int (*fn)(void);
    int status;
    const char *text;      // all that is said
    const char *reason[4]; // of the records, in any order
    size_t bytes[4];
    bool root;
} cases[] = {
    {"return", do_return, EXITED(3), "text on_exit 3 arg handler", {"exit"}, {LOST}, false},
    {"exit", do_exit, EXITED(3), "text on_exit 3 arg handler", {"exit"}, {LOST}, false},
    {"_exit", do_exit_now, EXITED(3), "", {"_exit"}, {LOST}, false},
    {"_Exit", do_exit_now2, EXITED(3), "", {"_exit"}, {LOST}, false},
    {"quick_exit", do_quick, EXITED(3), "quick", {"quick_exit"}, {LOST}, false},
    {"abort", do_abort, SIGABRT, "", {"abort"}, {LOST}, false},
    {"assert", do_assert, SIGABRT, "", {"abort"}, {LOST}, false},
    {"err", do_err, EXITED(3), "text on_exit 3 arg handler", {"exit"}, {LOST}, false},
    {"term", do_term, SIGTERM, "", {"signal"}, {LOST}, false},
    {"pipe", do_pipe, SIGPIPE, "", {"signal"}, {LOST}, false},
    {"term in poll", do_term_poll, SIGTERM, "", {"signal"}, {LOST}, false},
    {"term blocked", do_term_blocked, SIGTERM, "pending", {"signal"}, {LOST}, false},
    {"term handled",
     do_term_handler,
     EXITED(3),
     "text on_exit 3 arg handler",
     {"exit"},
     {LOST},
     false},
    {"dispositions", do_dispositions, 0, "", {"exit"}, {LOST}, false},
    {"exec", do_exec, EXITED(3), "new\n", {"exec"}, {LOST}, false},
    {"exec fails", do_exec_fails, EXITED(3), "text on_exit 3 arg handler", {"exit"}, {LOST}, false},
    {"pthread_exit", do_pthread_exit, 0, "text on_exit 0 arg handler", {"exit"}, {LOST}, false},
    {"last thread", do_last_thread, 0, "text on_exit 0 arg handler", {"exit"}, {LOST}, false},
    {"thread exits",
     do_thread_exits,
     EXITED(3),
     "text on_exit 3 arg handler",
     {"exit"},
     {LOST},
     false},
    {"exit twice", do_exit_twice, EXITED(3), "text on_exit 3 arg handler", {"exit"}, {LOST}, false},
    {"stdio lock", do_stdio_lock, EXITED(3), "text on_exit 3 arg handler", {"exit"}, {LOST}, false},
    {"fork", do_fork, EXITED(3), "", {"exit", "exit"}, {LOST, 3 * LOST}, false},
    {"vfork", do_vfork, EXITED(3), "", {"exit"}, {LOST}, false},
    {"fork exec", do_fork_exec, EXITED(3), "", {"exit"}, {LOST}, false},
    {"fork lose exec", do_fork_lose_exec, EXITED(3), "", {"exec", "exit"}, {3 * LOST, LOST}, false},
    {"daemon", do_daemon, EXITED(3), "", {"_exit", "exit", "exit"}, {0, 2 * LOST, 0}, false},
    {"closefrom", do_closefrom, EXITED(3), "", {"exit"}, {LOST}, false},
    {"chroot", do_chroot, EXITED(3), "", {"exit"}, {LOST}, true},
    {"storm", do_storm, SIGALRM, "", {"signal"}, {LOST}, false},
    {"storms", do_storms, SIGALRM, "", {"signal"}, {LOST}, false},
    {"abandon", do_abandon, EXITED(3), "", {"exit"}, {LOST}, false},
    {"nothing", do_nothing, EXITED(3), "", {"exit"}, {0}, false},
    {"api", do_api, EXITED(3), "", {"api", "api", "api", "exit"}, {0, LOST, LOST, LOST}, false},
    {"ignore", do_ignore, EXITED(3), "", {"api", "api", "exit"}, {0, LOST, LOST}, false},
    {"now", do_now, EXITED(3), "went on", {"api"}, {LOST}, false},
};
#define CASES (sizeof cases / sizeof *cases)

// Threads that exit at once: which one wins, and what handlers say, is anybody's guess.
static void threads_exit_check(const char *options)
{
    run("threads exit", preload, options);
    CHECK(now.status == EXITED(3), "threads exit: status %#x", now.status);
    CHECK(now.n == 1 && now.record[0].whole && now.record[0].bytes == LOST,
          "threads exit: %zu records, %zu bytes", now.n, now.record[0].bytes);
}

static bool record_taken(const char *reason, size_t bytes)
{
    for (size_t i = 0; i < now.n; i++) {
        struct record *r = &now.record[i];
        if (r->whole && !strcmp(r->reason, reason) && r->bytes == bytes) {
            r->whole = false;
            return true;
        }
    }
    return false;
}

static void case_check(size_t at, const char *options)
{
    char text[48];
    size_t n = 0;
    run(cases[at].name, preload, options);
    CHECK(now.status == cases[at].status, "%s: %s", cases[at].name, check_status(now.status, text));
    CHECK(!strcmp(now.text, cases[at].text), "%s: it said \"%s\"", cases[at].name, now.text);
    for (; n < 4 && cases[at].reason[n]; n++)
        CHECK(record_taken(cases[at].reason[n], cases[at].bytes[n]),
              "%s: no record \"%s\" of %zu bytes", cases[at].name, cases[at].reason[n],
              cases[at].bytes[n]);
    CHECK(now.n == n, "%s: %zu records, not %zu", cases[at].name, now.n, n);
    for (size_t i = 0; i < now.n; i++)
        if (now.record[i].whole)
            CHECK(false, "%s: a record \"%s\" of %zu bytes", cases[at].name, now.record[i].reason,
                  now.record[i].bytes);
}

// ---- where reports go ---------------------------------------------------------------------------

static size_t lines_with(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p++)
        n++;
    return n;
}

// Without a command beside the library.
static void plain_check(const char *alone)
{
    run("exit", alone, "mode=leaks");
    CHECK(now.status == EXITED(3), "stderr: status %#x", now.status);
    CHECK(lines_with(now.text, "ERROR: Salvage: detected memory leaks") == 1 &&
              lines_with(now.text, "Direct leak of 111 byte(s) in 1 object(s) allocated from:") ==
                  1,
          "stderr: %s", now.text);
    CHECK(strstr(now.text, "SUMMARY: Salvage: 111 byte(s) leaked in 1 allocation(s).\n"
                           "text on_exit 3 arg handler"),
          "the report comes first: %s", now.text);
    run("nothing", alone, "mode=leaks");
    CHECK(now.status == EXITED(3) && !*now.text, "no leaks: %s", now.text);
    run("closefrom", alone, "mode=leaks");
    CHECK(now.status == EXITED(3) && !*now.text, "closed: %s", now.text);
    run("exit", alone, "mode=leaks,exitcode=9");
    CHECK(now.status == EXITED(9) && strstr(now.text, "text on_exit 3 arg handler"),
          "exitcode: status %#x: %s", now.status, now.text);
    run("return", alone, "mode=leaks,exitcode=9");
    CHECK(now.status == EXITED(9) && strstr(now.text, "text on_exit 3 arg handler"),
          "exitcode, return: status %#x: %s", now.status, now.text);
    run("_exit", alone, "mode=leaks,exitcode=9");
    CHECK(now.status == EXITED(9), "exitcode, _exit: status %#x", now.status);
    run("term", alone, "mode=leaks,exitcode=9");
    CHECK(now.status == SIGTERM, "exitcode, SIGTERM: status %#x", now.status);
    run("now", alone, "mode=leaks,exitcode=9");
    CHECK(now.status == EXITED(9) && !strstr(now.text, "went on"), "exitcode, now: status %#x: %s",
          now.status, now.text);
    run("nothing", alone, "mode=leaks,exitcode=9");
    CHECK(now.status == EXITED(3), "exitcode, no leaks: status %#x", now.status);
    static const char *const off[] = {"mode=collect", "mode=off", ""};
    for (size_t i = 0; i < 3; i++) {
        run("exit", alone, off[i]);
        CHECK(now.status == EXITED(3) && !strcmp(now.text, "text on_exit 3 arg handler"),
              "%s: status %#x: %s", off[i], now.status, now.text);
    }
}

// With a command beside the library, which tells what it was given.
static const char command[] =
    "#!/bin/sh\n"
    "cat >/dev/null # stdin is empty\n"
    "shift\n"
    "while [ $# -gt 1 ]; do printf '%s ' \"$1\"; shift; done\n"
    "echo \"[$LD_PRELOAD$SALVAGE]\"\n"
    "grep -c '^salvage-raw' $1\n"
    "for fd in 5 6 7 8 9 11 12 50 1000 1001; do [ ! -e /proc/$$/fd/$fd ] || echo $fd; done\n"
    "echo err >&2\n"
    "trap | grep -c . \n"
    "exit $STATUS_WANTED\n";

static volatile sig_atomic_t children;

static void child_counts(int sig)
{
    (void)sig;
    children++;
}

// A child of its own is waited for as ever, and nothing else is found.
static int do_children(void)
{
    signal(SIGCHLD, child_counts);
    lose();
    int found = salvage_leak_check();
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    int bad = found != 1 || children > 1 || wait(NULL) != pid || children != 1;
    return bad + (wait(NULL) != -1) + (errno != ECHILD) + (children != 1);
}

static void command_check(const char *beside)
{
    char script[256], text[8192];
    snprintf(script, sizeof script, "%s/salvage", folder);
    FILE *f = fopen(script, "w");
    for (int status = 0; f && status <= 23; status += 23) {
        f = freopen(script, "w", f);
        fprintf(f, "%s", command);
        fflush(f);
        snprintf(text, sizeof text, "sed -i s/.STATUS_WANTED/%d/ %s; chmod 755 %s", status, script,
                 script);
        CHECK(system(text) == 0, "sed");
        run("exit", beside, "mode=leaks,exitcode=9,format=json,suppressions=/x");
        CHECK(now.status == EXITED(status ? 9 : 3), "command %d: status %#x", status, now.status);
        CHECK(!strcmp(now.text, "--format json --suppressions /x []\n1\nerr\n0\n"
                                "text on_exit 3 arg handler"),
              "command %d: %s", status, now.text);
    }
    run("children", beside, "mode=leaks");
    CHECK(now.status == 0, "children: status %#x: %s", now.status, now.text);
    run("term in poll", beside, "mode=leaks");
    CHECK(now.status == SIGTERM && lines_with(now.text, "--format text") == 1,
          "term with a command: status %#x: %s", now.status, now.text);
    if (f)
        fclose(f);
    unlink(script);
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "--case")) {
        for (size_t i = 0; i < CASES; i++)
            if (!strcmp(argv[2], cases[i].name))
                return cases[i].fn();
        return !strcmp(argv[2], "threads exit") ? do_threads_exit()
               : !strcmp(argv[2], "setuid")     ? do_setuid()
                                                : do_children();
    }
    preload = getenv("LD_PRELOAD");
    if (!CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0 && mkdtemp(folder), "setup") ||
        !preload || !check_salvage())
        return check_done();
    char raw[512];
    snprintf(raw, sizeof raw, "mode=leaks,format=raw,report=%s/%%p.raw", folder);
    for (size_t i = 0; i < CASES; i++)
        if (!cases[i].root || geteuid() == 0)
            case_check(i, raw);
    threads_exit_check(raw);
    char both[600];
    snprintf(both, sizeof both, "%s,abandoned=1", raw);
    run("abandon", preload, both);
    CHECK(now.status == EXITED(3) && now.n == 2 && record_taken("exit", LOST) &&
              record_taken("after-exit", 6 * LOST),
          "abandoned: status %#x, %zu records: %s", now.status, now.n, now.text);
    if (geteuid() == 0) { // the folder isn't the new user's: the report goes to stderr
        run("setuid", preload, raw);
        CHECK(now.status == EXITED(3) && lines_with(now.text, "salvage-raw") == 1,
              "setuid: status %#x: %s", now.status, now.text);
    }
    char library[256], text[8192];
    snprintf(library, sizeof library, "%s/libsalvage.so", folder);
    snprintf(text, sizeof text, "cp %s %s", preload, library);
    if (CHECK(system(text) == 0, "cp")) {
        plain_check(library);
        command_check(library);
    }
    unlink(library);
    rmdir(folder);
    return check_done();
}
