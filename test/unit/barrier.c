// The choice of a barrier by option and by what this system allows, what is said about it, and the
// tables' operations. What tracking itself does is tested in track.c.
#include "barrier.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "options.h"
#include "track.h"

enum { PAGE = 4096 };

static int procfd;
static bool uffd_here;

static void setup(void)
{
    struct sv_track t;
    procfd = sv_proc_open();
    uffd_here = sv_track_open(&t, SV_TRACK_UFFD, procfd) == 0;
    if (uffd_here)
        sv_track_close(&t);
}

TestSuite(barrier, .init = setup);

static char said[4096];

// The choice, and into `said` what it wrote to stderr.
static const struct sv_barrier *choose(void)
{
    FILE *file = tmpfile();
    int saved = dup(2);
    cr_assert(file && saved >= 0);
    dup2(fileno(file), 2);
    const struct sv_barrier *barrier = sv_barrier_choose(procfd);
    dup2(saved, 2);
    close(saved);
    rewind(file);
    said[fread(said, 1, sizeof said - 1, file)] = 0;
    fclose(file);
    return barrier;
}

static void range_count(void *arg, uintptr_t lo, uintptr_t hi)
{
    *(size_t *)arg += (hi - lo) / PAGE;
}

static size_t written(const struct sv_barrier *b, const char *p, size_t n, bool again)
{
    size_t pages = 0;
    cr_assert_eq(b->written((uintptr_t)p, (uintptr_t)p + n * PAGE, again, range_count, &pages), 0);
    return pages;
}

static char *touched(size_t n)
{
    char *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(p != MAP_FAILED);
    memset(p, 1, n * PAGE);
    return p;
}

Test(barrier, stw_has_nothing_to_say)
{
    sv_options.barrier = SV_BARRIER_STW;
    const struct sv_barrier *b = choose();
    cr_assert(b == &sv_barrier_stw && !b->concurrent && !b->rounds);
    cr_assert_str_eq(b->name, "stw");
    cr_assert_str_eq(said, "");
    char *p = touched(2);
    cr_assert_eq(b->open(-1), 0);
    cr_assert_eq(b->watch((uintptr_t)p, (uintptr_t)p + 2 * PAGE), 0);
    p[0] = 2;
    cr_assert_eq(written(b, p, 2, true), 0);
    b->release((uintptr_t)p, (uintptr_t)p + 2 * PAGE);
    b->close();
}

static void uffd_cycle(const struct sv_barrier *b)
{
    char *p = touched(4);
    uintptr_t lo = (uintptr_t)p, hi = lo + 4 * PAGE;
    cr_assert_eq(b->open(procfd), 0);
    cr_assert_eq(b->watch(lo, hi), 0);
    cr_assert_eq(written(b, p, 4, true), 0);
    p[PAGE] = 2;
    cr_assert_eq(written(b, p, 4, false), 1);
    cr_assert_eq(written(b, p, 4, true), 1);
    cr_assert_eq(written(b, p, 4, true), 0);
    b->release(lo, hi);
    b->close();
    cr_assert_eq(b->watch(lo, hi), -EBADF);
    b->close();
}

Test(barrier, auto_takes_the_best)
{
    const struct sv_barrier *b = choose();
    cr_assert_str_eq(said, "");
    if (!uffd_here)
        cr_skip_test("no userfaultfd with asynchronous write protection here");
    cr_assert_str_eq(b->name, "uffd");
    cr_assert(b->concurrent && b->rounds);
    b->close(); // nothing is open
    uffd_cycle(b);
    uffd_cycle(b);
    sv_options.barrier = SV_BARRIER_STW; // remembered: the options don't change
    cr_assert_eq(choose(), b);
}

static void userfaultfd_forbid(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    cr_assert(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    cr_assert(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

Test(barrier, after_fork_it_is_chosen_again)
{
    if (!uffd_here)
        cr_skip_test("no userfaultfd with asynchronous write protection here");
    const struct sv_barrier *b = choose();
    char *p = touched(4);
    cr_assert_eq(b->open(procfd), 0);
    cr_assert_eq(b->watch((uintptr_t)p, (uintptr_t)p + 4 * PAGE), 0);
    int pid = fork(), status;
    if (pid == 0) {
        p[0] = p[PAGE] = 3;
        b->close();
        uffd_cycle(sv_barrier_choose(procfd));
        _exit(0);
    }
    cr_assert(waitpid(pid, &status, 0) == pid && status == 0);
    cr_assert_eq(written(b, p, 4, true), 0);
    b->close();
    pid = fork();
    if (pid == 0) {
        userfaultfd_forbid();
        _exit(sv_barrier_choose(procfd) == b);
    }
    cr_assert(waitpid(pid, &status, 0) == pid && status == 0);
    cr_assert_eq(choose(), b);
}

// One line that names the barrier and the reason, once; and the world is stopped.
static void refused(const char *name, const char *reason)
{
    char line[256];
    snprintf(line, sizeof line,
             "salvage: barrier=%s can't be had here (%s); the world is stopped for the mark\n",
             name, reason);
    cr_assert_eq(choose(), &sv_barrier_stw);
    cr_assert_str_eq(said, line);
    cr_assert_eq(choose(), &sv_barrier_stw);
    cr_assert_str_eq(said, "");
}

Test(barrier, forbidden)
{
    sv_options.barrier = SV_BARRIER_UFFD;
    userfaultfd_forbid();
    refused("uffd", "not permitted");
}

// Nobody here leads SIGSEGV to it; what it does is tested in protect.c.
Test(barrier, mprotect_without_a_handler)
{
    sv_options.barrier = SV_BARRIER_MPROTECT;
    refused("mprotect", "SIGSEGV has another handler");
}

Test(barrier, softdirty_on_request)
{
    struct sv_track t;
    sv_options.barrier = SV_BARRIER_SOFTDIRTY;
    int err = sv_track_open(&t, SV_TRACK_SOFTDIRTY, procfd);
    if (err == 0) {
        sv_track_close(&t);
        const struct sv_barrier *b = choose();
        cr_assert_str_eq(b->name, "softdirty");
        cr_assert(b->concurrent && !b->rounds);
        return;
    }
    refused("softdirty", "the kernel can't do it");
}

// What may pass is not held against the barrier.
Test(barrier, out_of_descriptors)
{
    if (!uffd_here)
        cr_skip_test("no userfaultfd with asynchronous write protection here");
    struct rlimit limit, none = {0, 0};
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none.rlim_max = limit.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    cr_assert_eq(sv_barrier_choose(procfd), &sv_barrier_stw);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    cr_assert_str_eq(choose()->name, "uffd");
}
