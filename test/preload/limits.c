// Resource limits. Each case sets one and runs this program again under it: with 256 MiB of address
// space malloc must give a fair share of it, then NULL with ENOMEM, and again after frees; without
// processes to start, with 16 descriptors, or with an unlimited stack (which turns the layout of
// mappings around) everything works. Limits set later, by the running program, must not crash it.
#include "check.h"

#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/resource.h>

static char self[4096];

static void limit(int resource, rlim_t n)
{
    struct rlimit r = {n, n};
    CHECK(setrlimit(resource, &r) == 0, "setrlimit(%d): %s", resource, strerror(errno));
}

// Allocates blocks of `size` until none is left or `most` bytes are there; every page is written.
// Returns the bytes that were had and frees them all; the failing call must say ENOMEM.
static size_t take(size_t size, size_t most)
{
    void **head = NULL;
    size_t got = 0;
    errno = 0;
    while (got < most) {
        void **p = malloc(size);
        if (!p) {
            CHECK(errno == ENOMEM, "malloc(%zu) is NULL after %zu MiB: errno %d", size, got >> 20,
                  errno);
            break;
        }
        for (size_t i = 0; i < size; i += 4096)
            ((volatile char *)p)[i] = 1;
        *p = head;
        head = p;
        got += size;
    }
    for (size_t n = 0; head; n++) {
        void **next = *head;
        free(head);
        head = next;
    }
    return got;
}

static void case_address_space(void)
{
    static const size_t sizes[] = {1 << 20, 1000, 30000, 64, 5 << 20};
    for (size_t round = 0; round < 2; round++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            size_t got = take(sizes[i], 512u << 20);
            CHECK(got >= (96u << 20), "blocks of %zu bytes: %zu MiB of 256", sizes[i], got >> 20);
            CHECK(got <= (256u << 20), "blocks of %zu bytes: %zu MiB of 256", sizes[i], got >> 20);
        }
    }
    // The other functions fail as politely, and leave what there is alone.
    char *p = malloc(1 << 20);
    check_fill(p, 1 << 20, 4);
    errno = 0;
    CHECK(!realloc(check_hide(p), (size_t)300 << 20) && errno == ENOMEM, "realloc: errno %d",
          errno);
    CHECK(check_pattern(p, 1 << 20, 1 << 20, 4), "a realloc that failed changed the block");
    errno = 0;
    CHECK(!calloc(check_hide((size_t)300), 1 << 20) && errno == ENOMEM, "calloc: errno %d", errno);
    errno = 0;
    CHECK(!memalign(1 << 20, check_hide((size_t)300 << 20)) && errno == ENOMEM,
          "memalign: errno %d", errno);
    void *out = p;
    CHECK(posix_memalign(&out, 4096, check_hide((size_t)300 << 20)) == ENOMEM && out == p,
          "posix_memalign");
    check_collect();
    CHECK(check_pattern(p, 1 << 20, 1 << 20, 4), "a collection short of memory lost a block");
    free(p);
}

static void *thread_run(void *arg)
{
    void *p[100];
    for (size_t i = 0; i < 100; i++)
        p[i] = malloc(i * 100);
    for (size_t i = 0; i < 100; i++)
        free(p[i]);
    return arg;
}

static void case_address_space_threads(void)
{
    for (int i = 0; i < 50; i++) {
        pthread_t t;
        pthread_attr_t attr;
        pthread_attr_init(&attr);
        pthread_attr_setstacksize(&attr, 256 << 10);
        CHECK(pthread_create(&t, &attr, thread_run, NULL) == 0, "thread %d can't be made", i);
        pthread_join(t, NULL);
    }
    check_collect();
}

// Garbage that fills the space: a collector finds room before it gives up.
static void case_address_space_garbage(void)
{
    if (!check_collecting())
        return;
    for (size_t i = 0; i < 2000; i++) {
        void *p = malloc(1 << 20);
        if (!CHECK(p, "NULL after %zu MiB of garbage", i))
            return;
        memset(check_hide(p), 0, 4096);
    }
}

static void churn(void)
{
    for (int i = 0; i < 20; i++) {
        take(777, 4 << 20);
        check_collect();
    }
}

static void case_processes(void)
{
    pthread_t t;
    churn();
    CHECK(pthread_create(&t, NULL, thread_run, NULL) == EAGAIN || geteuid() == 0,
          "the limit isn't in force");
    CHECK(fork() < 0 && errno == EAGAIN, "fork under the limit: errno %d", errno);
    churn();
}

static void case_descriptors(void)
{
    int n = 0, fd[16];
    while (n < 16 && (fd[n] = open("/dev/null", O_RDONLY)) >= 0)
        n++;
    CHECK(n == 13 && errno == EMFILE, "%d descriptors can be opened of 13: %s", n, strerror(errno));
    churn(); // with none left
    while (n > 0)
        close(fd[--n]);
    churn();
}

static void case_stack(void)
{
    struct salvage_stats before = {0}, after = {0};
    if (check_salvage())
        salvage_stats(&before);
    churn();
    for (int i = 0; i < 5000; i++)
        memset(check_hide(malloc(400)), 0, 400);
    size_t got = check_collect();
    if (check_collecting()) {
        salvage_stats(&after);
        CHECK(after.cycles_abandoned == before.cycles_abandoned, "cycles are abandoned");
        CHECK(got >= 1000000, "%zu bytes of 2000000 reclaimed", got);
    }
}

static void case_later(void)
{ // the program lowers its own limit
    void *p = malloc(100000);
    check_fill(p, 100000, 2);
    limit(RLIMIT_AS, 64 << 20);
    take(1 << 20, 128 << 20);
    take(100, 32 << 20);
    check_collect();
    take(100, 32 << 20);
    CHECK(check_pattern(p, 100000, 100000, 2), "a block is lost");
    free(p);
}

static void case_data(void)
{
    limit(RLIMIT_DATA, 100 << 20); // counts every private writable mapping, tables included
    size_t got = take(1 << 20, 256 << 20);
    CHECK(got >= (40u << 20) && got <= (100u << 20), "%zu MiB of 100", got >> 20);
    got = take(1000, 256 << 20);
    CHECK(got >= (32u << 20) && got <= (100u << 20), "%zu MiB of 100 in small blocks", got >> 20);
    check_collect();
}

static const struct {
    const char *name;
    void (*fn)(void);
    int resource; // -1: none is set before the program starts
    rlim_t n;
    bool nobody;
} cases[] = {
    {"256 MiB of address space", case_address_space, RLIMIT_AS, 256 << 20, false},
    {"threads in 256 MiB", case_address_space_threads, RLIMIT_AS, 256 << 20, false},
    {"garbage in 256 MiB", case_address_space_garbage, RLIMIT_AS, 256 << 20, false},
    {"churn in 1 GiB", churn, RLIMIT_AS, 1 << 30, false},
    {"no processes", case_processes, RLIMIT_NPROC, 0, true},
    {"16 descriptors", case_descriptors, RLIMIT_NOFILE, 16, false},
    {"unlimited stack", case_stack, RLIMIT_STACK, RLIM_INFINITY, false},
    {"address space limited later", case_later, -1, 0, false},
    {"data limited", case_data, -1, 0, false},
    {"locked memory", churn, RLIMIT_MEMLOCK, 0, false},
    {"no file growth", churn, RLIMIT_FSIZE, 0, false},
};
#define CASES (sizeof cases / sizeof *cases)

static void run(size_t i)
{
    char text[48], out[8192];
    int fd[2];
    if (!CHECK(pipe(fd) == 0, "pipe"))
        return;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fd[1], STDOUT_FILENO);
        dup2(fd[1], STDERR_FILENO);
        closefrom(3);
        alarm(120);
        if (cases[i].nobody && (setgid(65534) || setuid(65534)))
            _exit(124);
        if (cases[i].resource >= 0)
            limit(cases[i].resource, cases[i].n);
        execl(self, self, cases[i].name, (char *)NULL);
        _exit(126);
    }
    close(fd[1]);
    check_slurp(fd[0], out, sizeof out);
    close(fd[0]);
    int status = check_wait(pid);
    CHECK(status == 0 && !*out, "%s: %s: %s", cases[i].name, check_status(status, text), out);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < CASES; i++) {
        if (!strcmp(argv[1], cases[i].name)) {
            cases[i].fn();
            return atomic_load(&check_failed) ? 1 : 0;
        }
    }
    CHECK(readlink("/proc/self/exe", self, sizeof self - 1) > 0, "where am I?");
    for (size_t i = 0; i < CASES; i++)
        if (!cases[i].nobody || geteuid() == 0)
            run(i);
    return check_done();
}
