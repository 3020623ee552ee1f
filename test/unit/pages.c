// Which pages are reported, for every kind of mapping, each way that pages.c can find out. A model
// says which pages must be reported and which must not; in between the source may report more.
#include "pages.h"
#include "scanners.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/memfd.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, COUNT = 64, GUARD_INSTALL = 102 };

static struct sv_pages pages;

static void pages_open(void)
{
    int procfd = sv_proc_open();
    cr_assert_eq(sv_pages_open(&pages, procfd), 0);
    cr_assert_eq(sv_pages_check(&pages), 0);
    close(procfd);
}

// From here on the kernel answers PAGEMAP_SCAN as one before 6.7 does.
static void scan_forbid(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, _IOWR('f', 16, char[96]), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    cr_assert(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    cr_assert(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void pages_open_without_scan(void)
{
    pages_open();
    scan_forbid();
}

TestSuite(pages, .init = pages_open);
TestSuite(pages_entries, .init = pages_open_without_scan);

struct seen {
    char *base;
    uintptr_t last;
    char page[COUNT + 1]; // '.', 'p' present, 'd' doubtful
};

static int run_note(void *arg, uintptr_t lo, uintptr_t hi, enum sv_pages_how how)
{
    struct seen *s = arg;
    cr_assert(lo < hi && lo >= s->last && lo % PAGE == 0 && hi % PAGE == 0);
    s->last = hi;
    for (uintptr_t p = lo; p < hi; p += PAGE)
        s->page[(p - (uintptr_t)s->base) / PAGE] = how == SV_PAGES_PRESENT ? 'p' : 'd';
    return 0;
}

static const char *report(const struct sv_pages *from, void *p, size_t n, uint32_t flags)
{
    static struct seen s;
    s.base = p;
    s.last = 0;
    memset(s.page, '.', n);
    s.page[n] = 0;
    errno = 77;
    int err = sv_pages_runs(from, (uintptr_t)p, (uintptr_t)p + n * PAGE, flags, run_note, &s);
    cr_assert_eq(err, 0, "%d", err);
    cr_assert_eq(errno, 77);
    return s.page;
}

static char *anonymous(size_t n, int protection)
{
    char *p = mmap(NULL, n * PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    cr_assert(p != MAP_FAILED);
    return p;
}

static void anonymous_private(void)
{
    char *p = anonymous(8, PROT_READ | PROT_WRITE);
    cr_assert_str_eq(report(&pages, p, 8, 3), "........");
    p[3 * PAGE] = 1;
    p[4 * PAGE] = 1;
    p[7 * PAGE + PAGE - 1] = 1;
    cr_assert_str_eq(report(&pages, p, 8, 3), "...pp..p");
    mprotect(p, 8 * PAGE, PROT_NONE);
    cr_assert_str_eq(report(&pages, p, 8, 0), "...pp..p");
    cr_assert_str_eq(report(&pages, p + 4 * PAGE, 4, 0), "p..p");
}

Test(pages, anonymous_private)
{
    anonymous_private();
}

Test(pages_entries, anonymous_private)
{
    anonymous_private();
}

Test(pages, page_of_zeroes_is_nothing)
{
    char *p = anonymous(2, PROT_READ | PROT_WRITE);
    (void)*(volatile char *)p;
    cr_assert_str_eq(report(&pages, p, 2, 3), "..");
}

Test(pages, widened_to_pages)
{
    char *p = anonymous(4, PROT_READ | PROT_WRITE);
    p[PAGE] = p[2 * PAGE] = 1;
    struct seen s = {.base = p, .page = "...."};
    cr_assert_eq(sv_pages_runs(&pages, (uintptr_t)p + PAGE + 100, (uintptr_t)p + 2 * PAGE + 1, 3,
                               run_note, &s),
                 0);
    cr_assert_str_eq(s.page, ".pp.");
}

static void file_private(void)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    char buf[6 * PAGE];
    memset(buf, 1, sizeof buf);
    cr_assert_eq(write(fd, buf, sizeof buf), (ssize_t)sizeof buf);
    char *p = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    (void)*(volatile char *)p;
    p[PAGE] = 2;
    p[4 * PAGE] = 2;
    mprotect(p, 8 * PAGE, PROT_READ); // as RELRO
    cr_assert_str_eq(report(&pages, p, 8, SV_MAP_READ | SV_MAP_FILE), ".p..p...");
    cr_assert(ftruncate(fd, 0) == 0); // drops the copies with the file's pages
    cr_assert_str_eq(report(&pages, p, 8, SV_MAP_READ | SV_MAP_FILE), "........");
}

Test(pages, file_private)
{
    file_private();
}

Test(pages_entries, file_private)
{
    file_private();
}

static const uint32_t SHARED = SV_MAP_READ | SV_MAP_WRITE | SV_MAP_SHARED | SV_MAP_FILE;

static void shared_in_parent_and_child(void)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    cr_assert(ftruncate(fd, 5 * PAGE) == 0);
    char *p =
        mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0); // 3 pages past the end
    p[PAGE] = 1;
    cr_assert_eq(pwrite(fd, "x", 1, 3 * PAGE), 1);
    cr_assert_str_eq(report(&pages, p, 8, SHARED), ".p.d....");
    pid_t pid = fork();
    if (pid == 0) {
        if (sv_pages_check(&pages) != -EBADF)
            _exit(1);
        int procfd = sv_proc_open();
        if (sv_pages_open(&pages, procfd) != 0 || sv_pages_check(&pages) != 0)
            _exit(2);
        _exit(strcmp(report(&pages, p, 8, SHARED), ".d.d....") ? 3 : 0);
    }
    int status;
    waitpid(pid, &status, 0);
    cr_assert_eq(status, 0, "%x", status);
}

Test(pages, shared_in_parent_and_child)
{
    shared_in_parent_and_child();
}

Test(pages_entries, shared_in_parent_and_child)
{
    shared_in_parent_and_child();
}

static void guards(void)
{
    char *p = anonymous(8, PROT_READ | PROT_WRITE);
    p[0] = p[PAGE] = p[3 * PAGE] = 1;
    if (madvise(p + PAGE, 2 * PAGE, GUARD_INSTALL) != 0)
        cr_skip_test("no guard regions");
    cr_assert_str_eq(report(&pages, p, 8, 3), "p..p....");
}

Test(pages, guards)
{
    guards();
}

Test(pages_entries, guards)
{
    guards();
}

static void write_protection_before_first_use(void)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    struct uffdio_api api = {.api = UFFD_API, .features = 1 << 13 | 1 << 15}; // unpopulated, async
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) != 0)
        cr_skip_test("no asynchronous userfaultfd");
    char *p = anonymous(8, PROT_READ | PROT_WRITE);
    p[0] = p[PAGE] = 1;
    struct uffdio_register reg = {.range = {(uintptr_t)p, 8 * PAGE}, .mode = 2};
    struct uffdio_writeprotect wp = {.range = reg.range, .mode = 1};
    cr_assert_eq(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
    cr_assert_eq(ioctl(fd, UFFDIO_WRITEPROTECT, &wp), 0);
    p[PAGE] = p[6 * PAGE] = 2;
    cr_assert_str_eq(report(&pages, p, 8, 3), "pp....p.");
}

Test(pages, write_protection_before_first_use)
{
    write_protection_before_first_use();
}

Test(pages_entries, write_protection_before_first_use)
{
    write_protection_before_first_use();
}

static size_t reported, runs;

static void range_count(void *arg, uintptr_t lo, uintptr_t hi)
{
    (void)arg;
    reported += hi - lo;
    runs++;
}

static double milliseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void batches_join(void)
{ // more runs than one call delivers, and one run longer than a batch
    enum { N = 3000 };
    char *p = anonymous(N, PROT_READ | PROT_WRITE);
    for (size_t i = 0; i < N; i++)
        if (i % 3 || i > 2000)
            p[i * PAGE] = 1;
    cr_assert_eq(sv_pages_each(&pages, (uintptr_t)p, (uintptr_t)p + N * PAGE, 3, range_count, NULL),
                 0);
    cr_assert_eq(reported, (size_t)(N - 667) * PAGE, "%zu", reported / PAGE);
    cr_assert_eq(runs, 667, "%zu", runs);
}

Test(pages, batches_join)
{
    batches_join();
}

Test(pages_entries, batches_join)
{
    batches_join();
}

Test(pages, huge_reserve_is_quick)
{
    size_t size = (size_t)500 << 30;
    char *p = anonymous(size / PAGE, PROT_NONE);
    double before = milliseconds();
    cr_assert_eq(sv_pages_each(&pages, (uintptr_t)p, (uintptr_t)p + size, 0, range_count, NULL), 0);
    double took = milliseconds() - before;
    cr_assert_eq(reported, 0);
    // 0.04 ms by the ioctl and 200 by the pagemap's entries; touching the pages would take minutes.
    cr_assert_lt(took, 3000.0);
    mprotect(p + size - PAGE, PAGE, PROT_READ | PROT_WRITE);
    p[size - 1] = 1;
    cr_assert_eq(sv_pages_each(&pages, (uintptr_t)p, (uintptr_t)p + size, 0, range_count, NULL), 0);
    cr_assert_eq(reported, PAGE);
}

Test(pages, huge_pages)
{
    char *p = anonymous(2048, PROT_READ | PROT_WRITE);
    char *huge = (char *)(((uintptr_t)p + (2 << 20) - 1) & ~(((uintptr_t)2 << 20) - 1));
    madvise(huge, 2 << 20, MADV_HUGEPAGE);
    huge[5 * PAGE] = 1;
    cr_assert_eq(report(&pages, huge, COUNT, 3)[5], 'p');
}

// Without the pagemap: nothing that was written may be missing, and what is reported is doubtful.
Test(pages, without_pagemap)
{
    struct sv_pages none = {.pagemap_fd = -1, .mem_fd = -1};
    cr_assert_eq(sv_pages_check(&none), 0);
    char *p = anonymous(8, PROT_READ | PROT_WRITE);
    p[3 * PAGE] = p[6 * PAGE] = 1;
    const char *got = report(&none, p, 8, 3);
    cr_assert(got[3] == 'd' && got[6] == 'd', "%s", got);
    cr_assert_str_eq(report(&none, p, 8, SV_MAP_READ | SV_MAP_FILE), "dddddddd");
}

// One question about a private file, a hole and anonymous memory.
static void many(void)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    cr_assert(ftruncate(fd, 3 * PAGE) == 0);
    char *p = anonymous(9, PROT_READ | PROT_WRITE);
    cr_assert(mmap(p, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) == p);
    munmap(p + 4 * PAGE, 2 * PAGE);
    p[PAGE] = p[3 * PAGE] = p[7 * PAGE] = 1;
    (void)*(volatile char *)p;
    cr_assert_str_eq(report(&pages, p, 9, 3 | SV_MAP_FILE), ".p.p...p.");
}

Test(pages, many)
{
    cr_assert(sv_pages_many(&pages));
    many();
}

Test(pages_entries, many)
{
    cr_assert_not(sv_pages_many(&pages));
    many();
}

// What was unmapped since it was listed: an error, unless the program runs.
Test(pages, holes)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    cr_assert(ftruncate(fd, 6 * PAGE) == 0);
    char *p = mmap(NULL, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    p[0] = p[5 * PAGE] = 1;
    munmap(p + 2 * PAGE, PAGE);
    struct seen s = {.base = p, .page = "......"};
    uintptr_t lo = (uintptr_t)p, hi = lo + 6 * PAGE;
    cr_assert_eq(sv_pages_runs(&pages, lo, hi, SHARED, run_note, &s), -ENOMEM);
    cr_assert_eq(sv_pages_runs(&pages, lo, hi, SHARED | SV_PAGES_STALE, run_note, &s), 0);
    cr_assert_str_eq(s.page, "pddddp");
}

Test(pages, stolen_descriptor_is_noticed)
{
    int other = open("/proc/self/maps", O_RDONLY);
    cr_assert_geq(dup2(other, pages.pagemap_fd), 0);
    cr_assert_eq(sv_pages_check(&pages), -EBADF);
    int fd = pages.pagemap_fd;
    sv_pages_close(&pages);
    cr_assert_geq(fcntl(fd, F_GETFD), 0); // it is the program's now
    cr_assert_eq(pages.pagemap_fd, -1);
}
