// fork, and what is built on it. The hard part first: forks while one thread is inside getdelim on
// a stream, one in fflush(NULL), one in malloc and free, and at every tenth fork one in a
// collection; that is where mallocs whose locks a forking thread must own hang (they take their
// lock before stdio's, a reader takes stdio's before theirs). Each child allocates, collects,
// frees and exits. A watchdog makes a hang a failure. The number of forks is the first argument
// (150).
#include "check.h"

#include <pthread.h>
#include <semaphore.h>
#include <spawn.h>

// ---- a heap to look at after a fork ------------------------------------------------------------

struct node {
    struct node *next;
    size_t size;
    unsigned char bytes[];
};
static struct node *list;

static void list_build(void)
{
    for (size_t i = 0; i < 300; i++) {
        size_t n = i * i % 5000;
        struct node *k = malloc(sizeof *k + n);
        *k = (struct node){list, n};
        check_fill(k->bytes, n, (unsigned)n);
        list = k;
    }
}

static bool list_whole(void)
{
    size_t n = 0;
    for (struct node *k = list; k; k = k->next, n++)
        if (!check_pattern(k->bytes, k->size, k->size, (unsigned)k->size))
            return false;
    return n == 300;
}

static void *child_thread(void *arg)
{
    free(arg);
    return strdup("from a thread of the child");
}

// What a child does: allocates over all sizes, collects, looks at what it inherited; true when all
// is well.
static bool child_works(bool threads)
{
    void *p[200];
    for (size_t i = 0; i < 200; i++) {
        p[i] = i & 1 ? malloc(i * 70) : calloc(1, i * 400);
        if (!p[i] && i)
            return false;
        memset(p[i], 1, i * 70);
    }
    check_collect();
    for (size_t i = 0; i < 200; i++)
        free(p[i]);
    if (threads) {
        pthread_t t;
        void *out = NULL;
        if (pthread_create(&t, NULL, child_thread, malloc(10)) || pthread_join(t, &out) || !out)
            return false;
        check_collect();
        free(out);
    }
    return list_whole();
}

// ---- forks among busy threads ------------------------------------------------------------------

static _Atomic bool stopping;
static _Atomic unsigned forks;
static sem_t collect_now;
static char lines_path[] = "/tmp/salvage-fork-XXXXXX";

// Keeps some hundred lines, short and very long ones, so that its allocations are not all served
// by a cache of the thread's: the lock that matters is the one behind it.
static void *reader_run(void *arg)
{
    FILE *f = arg;
    char *lines[600] = {0};
    for (size_t i = 0; !atomic_load(&stopping); i = (i + 1) % 600) {
        size_t n = 0;
        free(lines[i]);
        lines[i] = NULL;
        if (getdelim(&lines[i], &n, '\n', f) < 0)
            rewind(f);
    }
    for (int i = 0; i < 600; i++)
        free(lines[i]);
    return NULL;
}

static void *flusher_run(void *arg)
{
    while (!atomic_load(&stopping))
        fflush(NULL);
    return arg;
}

static void *churner_run(void *arg)
{
    uint64_t state = 99;
    void *ring[64] = {0};
    for (size_t i = 0; !atomic_load(&stopping); i++) {
        free(ring[i & 63]);
        ring[i & 63] = malloc(check_random(&state) % (i % 100 ? 2000 : 200000));
    }
    for (int i = 0; i < 64; i++)
        free(ring[i]);
    return arg;
}

static void *collector_run(void *arg)
{
    for (;;) {
        while (sem_wait(&collect_now))
            ;
        if (atomic_load(&stopping))
            return arg;
        check_collect();
    }
}

static void hung(int sig)
{
    char text[80];
    (void)sig;
    int n = snprintf(text, sizeof text, "failed: fork %u hangs\n0 passed, 1 failed\n",
                     atomic_load(&forks));
    _exit(write(STDOUT_FILENO, text, (size_t)n) == n ? 1 : 2);
}

static FILE *lines_open(void)
{
    int fd = mkstemp(lines_path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w+");
    for (int i = 0; f && i < 200; i++) {
        for (int k = 0; k < (i % 5 ? i * 5 : i * 400); k++)
            fputc('a' + k % 26, f);
        fputc('\n', f);
    }
    if (f)
        rewind(f);
    unlink(lines_path);
    return f;
}

static void busy(unsigned count)
{
    FILE *f = lines_open();
    if (!CHECK(f, "no temporary file: %s", strerror(errno)))
        return;
    pthread_t t[4];
    atomic_store(&stopping, false);
    sem_init(&collect_now, 0, 0);
    pthread_create(&t[0], NULL, reader_run, f);
    pthread_create(&t[1], NULL, flusher_run, NULL);
    pthread_create(&t[2], NULL, churner_run, NULL);
    pthread_create(&t[3], NULL, collector_run, NULL);
    unsigned bad = 0;
    for (unsigned i = 0; i < count; i++) {
        alarm(60);
        atomic_store(&forks, i);
        if (i % 10 == 0)
            sem_post(&collect_now);
        pid_t pid = fork();
        if (pid == 0) {
            signal(SIGALRM, SIG_DFL);
            alarm(30);
            bool well = child_works(i % 50 == 0);
            if (i & 1)
                _exit(well ? 0 : 1);
            exit(well ? 0 : 1); // runs handlers and flushes streams
        }
        char text[48];
        int status = pid < 0 ? -1 : check_wait(pid);
        if (!CHECK(status == 0, "fork %u: %s", i,
                   pid < 0 ? strerror(errno) : check_status(status, text)) &&
            ++bad > 5)
            break;
        CHECK(list_whole(), "fork %u: the parent's list is damaged", i);
    }
    alarm(60);
    atomic_store(&stopping, true);
    sem_post(&collect_now);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    fclose(f);
}

// ---- the rest of the family --------------------------------------------------------------------

static __attribute__((noinline)) void vfork_once(void)
{
    pid_t pid = vfork();
    if (pid == 0) {
        execl("/bin/true", "true", (char *)NULL);
        _exit(9);
    }
    CHECK(pid > 0 && check_wait(pid) == 0, "vfork and exec");
    pid = vfork();
    if (pid == 0)
        _exit(7);
    CHECK(WEXITSTATUS(check_wait(pid)) == 7, "vfork and _exit");
}

static void vforks(void)
{
    for (int i = 0; i < 50; i++) {
        void *p = malloc(1000);
        vfork_once();
        free(p);
    }
    check_collect();
    CHECK(list_whole(), "vfork damages the parent's list");
}

static void spawns(void)
{
    for (int i = 0; i < 50; i++) {
        pid_t pid;
        char *argv[] = {(char *)"true", NULL};
        int rc = posix_spawnp(&pid, "true", NULL, NULL, argv, environ);
        CHECK(rc == 0 && check_wait(pid) == 0, "posix_spawnp: %s", strerror(rc));
        rc = posix_spawn(&pid, "/nonexistent/program", NULL, NULL, argv, environ);
        CHECK(rc == ENOENT, "posix_spawn of nothing: %d", rc);
    }
    for (int i = 0; i < 10; i++) {
        CHECK(WEXITSTATUS(system("exit 3")) == 3, "system");
        FILE *f = popen("echo hello; exit 5", "r");
        char text[32] = "";
        CHECK(f && fgets(text, sizeof text, f) && !strcmp(text, "hello\n"), "popen: %s", text);
        CHECK(f && WEXITSTATUS(pclose(f)) == 5, "pclose");
    }
    CHECK(list_whole(), "posix_spawn damages the parent's list");
}

// The daemon is a grandchild: it reports through a pipe.
static void daemons(void)
{
    int fd[2];
    char text[32];
    CHECK(pipe(fd) == 0, "pipe");
    pid_t pid = fork();
    if (pid == 0) {
        close(fd[0]);
        alarm(60);
        if (daemon(1, 0))
            _exit(4);
        alarm(60);
        bool well = child_works(true);
        dprintf(fd[1], "%s", well ? "well" : "ill");
        _exit(0);
    }
    close(fd[1]);
    CHECK(check_wait(pid) == 0, "daemon's parent");
    check_slurp(fd[0], text, sizeof text);
    close(fd[0]);
    CHECK(!strcmp(text, "well"), "daemon: \"%s\"", text);
}

static void *thread_fork(void *arg)
{
    void *own = malloc(100); // held by this stack, which is the child's only one
    memset(check_hide(own), 0x77, 100);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        bool well = child_works(true);
        for (int i = 0; i < 100; i++)
            well = well && ((unsigned char *)own)[i] == 0x77;
        _exit(well ? 0 : 1);
    }
    char text[48];
    int status = check_wait(pid);
    CHECK(status == 0, "fork in a thread: %s", check_status(status, text));
    free(own);
    return arg;
}

static void threads(void)
{
    for (int i = 0; i < 20; i++) {
        pthread_t t[4];
        for (int k = 0; k < 4; k++)
            pthread_create(&t[k], NULL, thread_fork, NULL);
        for (int k = 0; k < 4; k++)
            pthread_join(t[k], NULL);
    }
}

static void nested(int depth)
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        if (!child_works(depth & 1))
            _exit(1);
        if (depth)
            nested(depth - 1);
        _exit(atomic_load(&check_failed) ? 1 : 0);
    }
    char text[48];
    int status = check_wait(pid);
    CHECK(status == 0, "nested fork, %d below: %s", depth, check_status(status, text));
    CHECK(child_works(false), "after a nested fork, %d below", depth);
}

static void *late; // freed by the handler
static void late_fork(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(child_works(false) ? 0 : 1);
    if (check_wait(pid) != 0 || !child_works(false))
        _exit(8);
    free(late);
}

static void handler(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        late = malloc(100);
        atexit(late_fork);
        exit(0);
    }
    char text[48];
    int status = check_wait(pid);
    CHECK(status == 0, "fork in an exit handler: %s", check_status(status, text));
}

// Handlers of the program's own, which allocate, collect and free on all three sides.
static unsigned around[3];
static void around_work(unsigned which)
{
    void *p = malloc(5000);
    memset(check_hide(p), 1, 5000);
    free(p);
    around[which]++;
}
static void around_prepare(void)
{
    around_work(0);
}
static void around_parent(void)
{
    around_work(1);
}
static void around_child(void)
{
    around_work(2);
}

static void handlers(void)
{
    pthread_atfork(around_prepare, around_parent, around_child);
    for (int i = 0; i < 10; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(around[2] == 1 && child_works(false) ? 0 : 1);
        CHECK(check_wait(pid) == 0, "a child of a program with fork handlers");
    }
    CHECK(around[0] >= 10 && around[1] == around[0], "fork handlers: %u before, %u after",
          around[0], around[1]);
}

int main(int argc, char **argv)
{
    unsigned count = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 150;
    signal(SIGALRM, hung);
    list_build();
    busy(count);
    alarm(240);
    vforks();
    spawns();
    daemons();
    threads();
    nested(5);
    handler();
    handlers();
    return check_done();
}
