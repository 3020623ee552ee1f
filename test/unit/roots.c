// A word is planted in every kind of memory that a program can keep a pointer in, and the walk over
// the roots must offer it exactly once: in place, or as a copy where a load would be fatal. Words
// that are excluded or not the program's must not be offered. The same with what older kernels and
// less privileged processes have.
#include "scanners.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/memfd.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, PLANTS_MAX = 64, GUARD_INSTALL = 102, ALL = 31 };

enum expected { NEVER, IN_PLACE, COPIED };

static const uintptr_t KEY =
    0x5bd1e995a7c3f10b; // words stand in memory xored with it, but planted ones

static struct plant {
    const char *name;
    uintptr_t *at;
    unsigned kinds; // SV_ROOTS_* that offer it
    enum expected expected;
    unsigned in_place, copied; // how often it was offered
} plants[PLANTS_MAX];
static size_t nplants;

static uintptr_t plant_word(size_t i)
{
    return KEY ^ (0x1000 + i);
}

static void plant(const char *name, void *at, unsigned kinds, enum expected expected)
{
    cr_assert_lt(nplants, PLANTS_MAX);
    plants[nplants] = (struct plant){name, at, kinds, expected, 0, 0};
    if (expected != NEVER || kinds)
        *(volatile uintptr_t *)at = plant_word(nplants);
    nplants++;
}

static struct sv_maps maps;
static struct sv_pages pages;
static struct sv_mapping exclude[256];
static size_t nexclude;

static void range_check(void *arg, uintptr_t lo, uintptr_t hi, uint32_t flags)
{
    (void)arg;
    (void)flags;
    cr_assert(lo < hi);
    bool copy = !sv_maps_find(&maps, lo); // the buffer was mapped after the listing was made
    for (size_t i = 0; i < nplants; i++)
        if (!copy && lo <= (uintptr_t)plants[i].at && (uintptr_t)plants[i].at < hi)
            plants[i].in_place++;
    uintptr_t sum = 0;
    for (uintptr_t p = (lo + 7) & ~(uintptr_t)7; p + 8 <= hi; p += 8) {
        uintptr_t w = *(volatile uintptr_t *)p; // must not fault, whatever it is
        if (copy && (w ^ KEY) - 0x1000 < nplants)
            plants[(w ^ KEY) - 0x1000].copied++;
        sum += w;
    }
    __asm__ volatile("" ::"r"(sum));
}

static bool running;
static sv_written_fn *written;
static size_t missed; // bytes

static void range_miss(void *arg, uintptr_t lo, uintptr_t hi)
{
    (void)arg;
    cr_assert(lo < hi);
    missed += hi - lo;
}

static int walk(unsigned which)
{
    for (size_t i = 0; i < nplants; i++)
        plants[i].in_place = plants[i].copied = 0;
    missed = 0;
    struct sv_roots_in in = {.maps = &maps,
                             .pages = &pages,
                             .exclude = exclude,
                             .nexclude = nexclude,
                             .which = which,
                             .running = running,
                             .missed = range_miss,
                             .written = written};
    errno = 99;
    int err = sv_roots_each(&in, range_check, NULL);
    cr_assert_eq(errno, 99);
    return err;
}

static void listing_make(void)
{
    int procfd = sv_proc_open();
    cr_assert_eq(sv_maps_read(&maps, procfd), 0);
    close(procfd);
}

// `copies`: what is expected in place may be offered as a copy instead.
static void check(unsigned which, bool copies)
{
    for (size_t i = 0; i < nplants; i++) {
        const struct plant *p = &plants[i];
        // Anonymous memory that happens to begin where a file mapping ends counts as its bss too.
        if (p->kinds == SV_ROOTS_MMAP && !(which & SV_ROOTS_MMAP) && (which & SV_ROOTS_DATA))
            continue;
        bool wanted = p->expected != NEVER && (p->kinds & which);
        unsigned in_place = wanted && p->expected == IN_PLACE,
                 copied = wanted && p->expected == COPIED;
        if (copies && in_place)
            cr_assert_eq(p->in_place + p->copied, 1, "%s: %u in place, %u copied (which %u)",
                         p->name, p->in_place, p->copied, which);
        else
            cr_assert(p->in_place == in_place && p->copied == copied,
                      "%s: %u in place, %u copied (which %u)", p->name, p->in_place, p->copied,
                      which);
    }
}

// ---- the memory ---------------------------------------------------------------------------------

static uintptr_t data_word = 1;
static uintptr_t bss_words[8 * PAGE]; // most of it lies behind the file's last page
static _Thread_local uintptr_t tls_word;

static pthread_barrier_t barrier;

static void *thread_run(void *arg)
{
    uintptr_t local = 0;
    plant("thread's stack", (void *)&local, SV_ROOTS_MMAP, IN_PLACE);
    plant("thread's variable", &tls_word, SV_ROOTS_MMAP, IN_PLACE);
    pthread_barrier_wait(&barrier);
    pause();
    return arg;
}

static char *map(size_t n, int protection, int flags, int fd)
{
    char *p = mmap(NULL, n, protection, flags | MAP_NORESERVE, fd, 0);
    cr_assert(p != MAP_FAILED);
    return p;
}

static int memory_file(size_t n)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    cr_assert(ftruncate(fd, (off_t)n) == 0);
    return fd;
}

static const int RW = PROT_READ | PROT_WRITE, ANON = MAP_PRIVATE | MAP_ANONYMOUS;

static void anonymous_plant(void)
{
    char *p = map(4 * PAGE, RW, ANON, -1);
    plant("anonymous", p + PAGE, SV_ROOTS_MMAP, IN_PLACE);
    plant("anonymous, end of a page", p + 2 * PAGE - 8, SV_ROOTS_MMAP, IN_PLACE);
    plant("anonymous, untouched", p + 2 * PAGE, 0, NEVER);
    p = map(4 * PAGE, RW, ANON, -1);
    plant("made read-only", p + PAGE, SV_ROOTS_MMAP, IN_PLACE);
    mprotect(p, 4 * PAGE, PROT_READ);
    plant("brk", (char *)sbrk(2 * PAGE) + 64, SV_ROOTS_MMAP, IN_PLACE);
    plant("private /dev/zero", map(PAGE, RW, MAP_PRIVATE, open("/dev/zero", O_RDWR)), SV_ROOTS_DATA,
          IN_PLACE);
    p = map(4 * PAGE, RW, ANON | MAP_GROWSDOWN, -1);
    plant("grows down", p + 3 * PAGE, SV_ROOTS_MMAP, IN_PLACE);
    p = map(4 * PAGE, RW, ANON, -1);
    plant("beside a guard", p, SV_ROOTS_MMAP, IN_PLACE);
    if (madvise(p + PAGE, 2 * PAGE, GUARD_INSTALL) == 0)
        plant("guard", p + PAGE, 0, NEVER);
    p = map(PAGE, RW, ANON, -1);
    plant("not inherited", p, SV_ROOTS_MMAP, IN_PLACE);
    madvise(p, PAGE, MADV_DONTFORK);
    p = map((size_t)200 << 30, RW, ANON, -1);
    plant("in a huge arena", p + ((size_t)150 << 30), SV_ROOTS_MMAP, IN_PLACE);
}

static void unreadable_plant(void)
{
    char *p = map(40 * PAGE, RW, ANON, -1);
    plant("PROT_NONE, first word", p, SV_ROOTS_MMAP, COPIED);
    plant("PROT_NONE, alone on its page", p + 5 * PAGE + 32, SV_ROOTS_MMAP, COPIED);
    for (int i = 10; i < 40; i++) // longer than the bounce buffer
        p[i * PAGE] = 1;
    plant("PROT_NONE, long run, start", p + 10 * PAGE + 8, SV_ROOTS_MMAP, COPIED);
    plant("PROT_NONE, long run, middle", p + 27 * PAGE - 8, SV_ROOTS_MMAP, COPIED);
    plant("PROT_NONE, long run, end", p + 40 * PAGE - 8, SV_ROOTS_MMAP, COPIED);
    mprotect(p, 40 * PAGE, PROT_NONE);
    map((size_t)300 << 30, PROT_NONE, ANON, -1);
}

static void file_plant(void)
{
    int fd = memory_file(8 * PAGE);
    char *p = map(8 * PAGE, RW, MAP_PRIVATE, fd);
    plant("private file, copied page", p + PAGE, SV_ROOTS_DATA, IN_PLACE);
    plant("private file, its own page", p + 2 * PAGE, 0, NEVER);
    (void)*(volatile char *)(p + 2 * PAGE);
    p = map(8 * PAGE, RW, MAP_PRIVATE, fd);
    plant("private file, made read-only", p + 3 * PAGE, SV_ROOTS_DATA, IN_PLACE);
    mprotect(p, 8 * PAGE, PROT_READ);
    p = map(8 * PAGE, RW, MAP_PRIVATE, fd);
    plant("private file, made PROT_NONE", p + 3 * PAGE, SV_ROOTS_DATA, COPIED);
    mprotect(p, 8 * PAGE, PROT_NONE);
    plant("data", &data_word, SV_ROOTS_DATA, IN_PLACE);
    plant("bss", &bss_words[4 * PAGE], SV_ROOTS_DATA | SV_ROOTS_MMAP, IN_PLACE);
    plant("text", (void *)((uintptr_t)file_plant & ~(uintptr_t)7), 0, NEVER);
}

static void shared_plant(void)
{
    plant("shared anonymous", map(PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1), SV_ROOTS_SHARED,
          IN_PLACE);
    char *p = map(PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1);
    plant("shared anonymous, made read-only", p, SV_ROOTS_SHARED, IN_PLACE);
    mprotect(p, PAGE, PROT_READ);
    p = map(8 * PAGE, RW, MAP_SHARED, memory_file(3 * PAGE)); // five pages behind the end
    plant("shared file", p + PAGE, SV_ROOTS_SHARED, IN_PLACE);
    plant("shared file, behind its end", p + 4 * PAGE, 0, NEVER);
    int id = shmget(IPC_PRIVATE, PAGE, 0600);
    p = shmat(id, NULL, 0);
    shmctl(id, IPC_RMID, NULL);
    plant("System V", p, SV_ROOTS_SHARED, IN_PLACE);
    char path[] = "/tmp/salvage-roots-XXXXXX";
    int fd = mkstemp(path);
    unlink(path);
    cr_assert(ftruncate(fd, PAGE) == 0);
    plant("file in /tmp", map(PAGE, RW, MAP_SHARED, fd), SV_ROOTS_SHARED, IN_PLACE);
    plant("file that is only read", map(PAGE, PROT_READ, MAP_SHARED, fd), 0, NEVER);
}

static void exclude_add(void *lo, size_t n)
{
    uintptr_t at = (uintptr_t)lo;
    size_t i = nexclude++;
    for (; i > 0 && exclude[i - 1].lo > at; i--)
        exclude[i] = exclude[i - 1];
    exclude[i] = (struct sv_mapping){at, at + n, 0};
}

static void excluded_plant(void)
{
    char *p = map(4 * PAGE, RW, ANON, -1);
    exclude_add(p + PAGE + 64, PAGE);
    plant("before what is excluded", p + PAGE + 56, SV_ROOTS_MMAP, IN_PLACE);
    plant("excluded, first", p + PAGE + 64, SV_ROOTS_MMAP, NEVER);
    plant("excluded, last", p + 2 * PAGE + 56, SV_ROOTS_MMAP, NEVER);
    plant("behind what is excluded", p + 2 * PAGE + 64, SV_ROOTS_MMAP, IN_PLACE);
    p = map(3 * PAGE, RW, ANON, -1);
    plant("excluded mapping", p + PAGE, SV_ROOTS_MMAP, NEVER);
    exclude_add(p, 3 * PAGE);
    exclude_add((void *)16, 16); // where nothing is mapped
}

// Absent pages of such a mapping must not be touched: nobody would ever bring them.
static void userfault_plant(void)
{
    int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    struct uffdio_api api = {.api = UFFD_API};
    if (fd < 0 || ioctl(fd, UFFDIO_API, &api) != 0)
        return;
    char *p = map(4 * PAGE, RW, ANON, -1);
    plant("beside pages that userfaultfd brings", p, SV_ROOTS_MMAP, IN_PLACE);
    struct uffdio_register reg = {.range = {(uintptr_t)p, 4 * PAGE},
                                  .mode = UFFDIO_REGISTER_MODE_MISSING};
    cr_assert_eq(ioctl(fd, UFFDIO_REGISTER, &reg), 0);
}

static void all_plant(void)
{
    pthread_t thread;
    int procfd = sv_proc_open();
    alarm(60);
    cr_assert_eq(sv_pages_open(&pages, procfd), 0);
    close(procfd);
    anonymous_plant();
    unreadable_plant();
    file_plant();
    shared_plant();
    excluded_plant();
    userfault_plant();
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, thread_run, NULL);
    pthread_barrier_wait(&barrier);
}

TestSuite(roots, .init = all_plant);

Test(roots, everything_once)
{
    uintptr_t local = 0;
    plant("main stack", &local, SV_ROOTS_STACKS, IN_PLACE);
    listing_make();
    cr_assert_eq(walk(ALL), 0);
    check(ALL, false);
}

Test(roots, by_kind)
{
    uintptr_t local = 0;
    plant("main stack", &local, SV_ROOTS_STACKS, IN_PLACE);
    listing_make();
    for (unsigned which = 0; which < 16; which++) {
        cr_assert_eq(walk(which), 0);
        check(which, false);
    }
}

Test(roots, forked_child)
{
    pid_t pid = fork(); // without the thread, and without what was not inherited
    if (pid == 0) {
        listing_make();
        if (walk(ALL) != -EBADF) // the parent's descriptors
            _exit(1);
        int procfd = sv_proc_open();
        if (sv_pages_open(&pages, procfd) != 0 || walk(ALL) != 0)
            _exit(2);
        for (size_t i = 0; i < nplants; i++)
            if (plants[i].expected != NEVER && strcmp(plants[i].name, "not inherited") != 0 &&
                plants[i].in_place + plants[i].copied != 1)
                _exit((int)i + 10);
        _exit(0);
    }
    int status;
    waitpid(pid, &status, 0);
    cr_assert_eq(status, 0, "%s",
                 WEXITSTATUS(status) >= 10 ? plants[WEXITSTATUS(status) - 10].name : "");
}

Test(roots, no_pagemap_scan)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    listing_make();
    cr_assert(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    cr_assert(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
    cr_assert_eq(walk(ALL), 0);
    check(ALL, false);
}

// What was made unreadable can't be seen: the walk must say so.
Test(roots, no_mem)
{
    listing_make();
    close(pages.mem_fd);
    pages.mem_fd = -1;
    cr_assert_eq(walk(ALL), -EACCES);
    cr_assert_eq(walk(SV_ROOTS_SHARED), 0);
    check(SV_ROOTS_SHARED, false);
}

Test(roots, stolen_descriptor)
{
    listing_make();
    cr_assert_geq(dup2(open("/dev/null", O_RDONLY), pages.pagemap_fd), 0);
    cr_assert_eq(walk(ALL), -EBADF);
}

// ---- while the program runs, and what was written meanwhile -------------------------------------

static void check_copied(void)
{
    for (size_t i = 0; i < nplants; i++) {
        const struct plant *p = &plants[i];
        cr_assert(p->in_place == 0 && p->copied == (p->expected != NEVER),
                  "%s: %u in place, %u copied", p->name, p->in_place, p->copied);
    }
}

Test(roots, running)
{
    listing_make();
    running = true;
    cr_assert_eq(walk(ALL & ~SV_ROOTS_STACKS), 0);
    check_copied();
    close(pages.mem_fd); // without, what was made unreadable would look like what is gone
    pages.mem_fd = -1;
    cr_assert_eq(walk(ALL), -EACCES);
}

// Unmapped, protected, truncated and replaced behind the listing's back: told as missed, or found.
Test(roots, running_behind_its_back)
{
    char *gone = map(8 * PAGE, RW, ANON, -1), *none = map(PAGE, RW, ANON, -1);
    char *new = map(PAGE, RW, ANON, -1);
    char *cut = map(6 * PAGE, RW, MAP_SHARED, memory_file(6 * PAGE));
    memset(gone, 1, 8 * PAGE);
    plant("before the hole", gone + PAGE, SV_ROOTS_MMAP, COPIED);
    plant("behind the hole", gone + 7 * PAGE - 8, SV_ROOTS_MMAP, COPIED);
    plant("shared, before the hole", cut, SV_ROOTS_SHARED, COPIED);
    plant("shared, behind the hole", cut + 5 * PAGE, SV_ROOTS_SHARED, COPIED);
    plant("made unreadable since", none, SV_ROOTS_MMAP, COPIED);
    listing_make();
    munmap(gone + 2 * PAGE, 3 * PAGE);
    munmap(cut + 2 * PAGE, PAGE);
    mprotect(none, PAGE, PROT_NONE);
    cr_assert(mmap(new, PAGE, RW, ANON | MAP_FIXED, -1, 0) == new);
    plant("replaced since", new, SV_ROOTS_MMAP, COPIED);
    running = true;
    cr_assert_eq(walk(ALL & ~SV_ROOTS_STACKS), 0);
    check_copied();
    cr_assert_eq(missed, PAGE, "%zu",
                 missed / PAGE); // the shared hole, which nobody could rule out
}

static uintptr_t written_lo, written_hi;

static int written_tell(void *arg, uintptr_t lo, uintptr_t hi, sv_range_fn *fn, void *fn_arg)
{
    (void)arg;
    lo = lo > written_lo ? lo : written_lo;
    hi = hi < written_hi ? hi : written_hi;
    if (lo < hi)
        fn(fn_arg, lo, hi);
    return 0;
}

// When everything was written, everything is found, as it is without that question; the file's own
// pages and what isn't there don't come in by it.
Test(roots, all_written)
{
    listing_make();
    written = written_tell;
    written_hi = UINTPTR_MAX;
    cr_assert_eq(walk(ALL & ~SV_ROOTS_STACKS), 0);
    check(ALL & ~SV_ROOTS_STACKS, false);
    written_hi = 0; // what is shared counts as written always
    cr_assert_eq(walk(ALL & ~SV_ROOTS_SHARED), 0);
    for (size_t i = 0; i < nplants; i++)
        cr_assert_eq(plants[i].in_place + plants[i].copied, 0, "%s", plants[i].name);
}

static int written_fail(void *arg, uintptr_t lo, uintptr_t hi, sv_range_fn *fn, void *fn_arg)
{
    (void)arg;
    fn(fn_arg, hi - PAGE, hi);
    fn(fn_arg, lo, lo + PAGE); // back
    return 0;
}

Test(roots, written_out_of_order)
{
    listing_make();
    written = written_fail;
    cr_assert_eq(walk(ALL), -EBADMSG);
}

// A process that may open neither: everything that it can read is found all the same, by copies,
// and guard pages that nobody ever wrote do not count against it.
Test(roots_poor, neither_pagemap_nor_mem)
{
    pthread_t thread;
    alarm(60);
    pages = (struct sv_pages){.pagemap_fd = -1, .mem_fd = -1};
    char *p = map(4 * PAGE, RW, ANON, -1);
    plant("anonymous", p + PAGE, SV_ROOTS_MMAP, IN_PLACE);
    plant("beside a guard", p + 2 * PAGE, SV_ROOTS_MMAP, IN_PLACE);
    madvise(p + 3 * PAGE, PAGE, GUARD_INSTALL);
    plant("data", &data_word, SV_ROOTS_DATA, IN_PLACE);
    plant("bss", &bss_words[4 * PAGE], SV_ROOTS_DATA | SV_ROOTS_MMAP, IN_PLACE);
    plant("shared", map(PAGE, RW, MAP_SHARED | MAP_ANONYMOUS, -1), SV_ROOTS_SHARED, IN_PLACE);
    int fd = memory_file(4 * PAGE);
    p = map(4 * PAGE, RW, MAP_PRIVATE, fd);
    plant("private file, copied page", p, SV_ROOTS_DATA, IN_PLACE);
    cr_assert(ftruncate(fd, PAGE) == 0); // the rest would be SIGBUS
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, thread_run, NULL);
    pthread_barrier_wait(&barrier);
    listing_make();
    cr_assert_eq(walk(ALL), 0);
    check(ALL, true);
    p = map(4 * PAGE, RW, ANON, -1);
    p[0] = 1;
    mprotect(p, 4 * PAGE, PROT_NONE);
    listing_make();
    cr_assert_eq(walk(ALL), -EACCES);
}

// ---- exactness ----------------------------------------------------------------------------------

enum { FIELD = 64 };
static unsigned char offered[FIELD * PAGE], expected_bytes[FIELD * PAGE];
static char *field;

static void range_mark(void *arg, uintptr_t lo, uintptr_t hi, uint32_t flags)
{
    (void)arg;
    (void)flags;
    for (uintptr_t p = lo; p < hi; p++)
        if (p - (uintptr_t)field < sizeof offered)
            offered[p - (uintptr_t)field]++;
}

// Random pages written, random bytes excluded, random protections: each byte once or not at all.
Test(roots_exact, random_exclusions)
{
    int procfd = sv_proc_open();
    cr_assert_eq(sv_pages_open(&pages, procfd), 0);
    srand(3);
    for (int round = 0; round < 300; round++) {
        field = map(FIELD * PAGE, RW, ANON, -1);
        memset(offered, 0, sizeof offered);
        memset(expected_bytes, 0, sizeof expected_bytes);
        for (int i = 0; i < FIELD; i++) {
            if (rand() % 3 == 0)
                continue;
            field[i * PAGE] = 1;
            memset(expected_bytes + i * PAGE, 1, PAGE);
        }
        for (int i = 0; i < 6; i++) // many mappings
            mprotect(field + rand() % FIELD * PAGE, PAGE, PROT_READ);
        nexclude = 0;
        for (size_t at = (size_t)rand() % (8 * PAGE); at < FIELD * PAGE;) {
            size_t n = 1 + (size_t)rand() % (rand() % 2 ? 64 : 6 * PAGE);
            n = n < FIELD * PAGE - at ? n : FIELD * PAGE - at;
            exclude[nexclude++] =
                (struct sv_mapping){(uintptr_t)field + at, (uintptr_t)field + at + n, 0};
            memset(expected_bytes + at, 0, n);
            at += n + (rand() % 4 ? (size_t)rand() % (8 * PAGE) : 0); // some touch
        }
        cr_assert_eq(sv_maps_read(&maps, procfd), 0);
        struct sv_roots_in in = {.maps = &maps,
                                 .pages = &pages,
                                 .exclude = exclude,
                                 .nexclude = nexclude,
                                 .which = SV_ROOTS_MMAP};
        cr_assert_eq(sv_roots_each(&in, range_mark, NULL), 0);
        cr_assert(memcmp(offered, expected_bytes, sizeof offered) == 0, "round %d", round);
        munmap(field, FIELD * PAGE);
    }
}

static bool field_written[FIELD];
static unsigned questions;

static int field_tell(void *arg, uintptr_t lo, uintptr_t hi, sv_range_fn *fn, void *fn_arg)
{
    (void)arg;
    questions++;
    cr_assert(lo % PAGE == 0 && hi % PAGE == 0);
    for (size_t i = 0; i < FIELD; i++) {
        uintptr_t at = (uintptr_t)field + i * PAGE, end = at + PAGE;
        at = at > lo ? at : lo;
        end = end < hi ? end : hi;
        if (field_written[i] && at < end)
            fn(fn_arg, at, end);
    }
    return 0;
}

// How far each byte of the field is from one that was written, without crossing what is excluded
// or a mapping's end; those nearer than a word are to be offered with it.
static void expected_near(const bool *cut, const bool *edge, int step)
{
    size_t since = PAGE;
    for (size_t n = 0; n < FIELD * PAGE; n++) {
        size_t i = step > 0 ? n : FIELD * PAGE - 1 - n;
        bool border = edge[step > 0 ? i / PAGE : (i + 1) / PAGE];
        if (cut[i] || (border && (step > 0 ? i % PAGE == 0 : i % PAGE == PAGE - 1)))
            since = PAGE;
        since = !cut[i] && field_written[i / PAGE] ? 0 : since + 1;
        if (!cut[i] && since < sizeof(uintptr_t))
            expected_bytes[i] = 1;
    }
}

Test(roots_exact, random_written)
{
    static bool cut[FIELD * PAGE], touched[FIELD], edge[FIELD + 1];
    int procfd = sv_proc_open();
    cr_assert_eq(sv_pages_open(&pages, procfd), 0);
    srand(4);
    for (int round = 0; round < 100; round++) {
        field = map(FIELD * PAGE, RW, ANON, -1);
        memset(offered, 0, sizeof offered);
        memset(expected_bytes, 0, sizeof expected_bytes);
        memset(cut, 0, sizeof cut);
        for (int i = 0; i < FIELD; i++) {
            touched[i] = rand() % 3;
            if (touched[i])
                field[i * PAGE] = 1;
            field_written[i] = rand() % 3 == 0;
            if (rand() % 8 == 0)
                mprotect(field + i * PAGE, PAGE, PROT_READ);
        }
        nexclude = 0;
        for (size_t at = (size_t)rand() % (8 * PAGE); at < FIELD * PAGE;) {
            size_t n = 1 + (size_t)rand() % (rand() % 2 ? 64 : 3 * PAGE);
            n = n < FIELD * PAGE - at ? n : FIELD * PAGE - at;
            exclude[nexclude++] =
                (struct sv_mapping){(uintptr_t)field + at, (uintptr_t)field + at + n, 0};
            memset(cut + at, 1, n);
            at += n + (size_t)rand() % (8 * PAGE);
        }
        cr_assert_eq(sv_maps_read(&maps, procfd), 0);
        for (int i = 0; i <= FIELD; i++) {
            const struct sv_mapping *m = sv_maps_find(&maps, (uintptr_t)field + (size_t)i * PAGE);
            edge[i] = !m || m->lo == (uintptr_t)field + (size_t)i * PAGE;
        }
        expected_near(cut, edge, 1);
        expected_near(cut, edge, -1);
        for (size_t i = 0; i < FIELD * PAGE; i++)
            expected_bytes[i] &= touched[i / PAGE];
        struct sv_roots_in in = {.maps = &maps,
                                 .pages = &pages,
                                 .exclude = exclude,
                                 .nexclude = nexclude,
                                 .which = SV_ROOTS_MMAP,
                                 .written = field_tell};
        questions = 0;
        cr_assert_eq(sv_roots_each(&in, range_mark, NULL), 0);
        cr_assert(memcmp(offered, expected_bytes, sizeof offered) == 0, "round %d", round);
        cr_assert_leq(questions, maps.n + 8); // mappings, not windows
        munmap(field, FIELD * PAGE);
    }
}

// Asked about together, a file's own pages still don't count, nor do those of a neighbour.
Test(roots_exact, file_behind_anonymous)
{
    int procfd = sv_proc_open();
    cr_assert_eq(sv_pages_open(&pages, procfd), 0);
    int fd = memory_file(4 * PAGE);
    field = map(FIELD * PAGE, RW, ANON, -1);
    memset(field, 1, 8 * PAGE);
    cr_assert(mmap(field + 2 * PAGE, 4 * PAGE, RW, MAP_PRIVATE | MAP_FIXED, fd, 0) != MAP_FAILED);
    field[3 * PAGE] = 1;
    (void)*(volatile char *)(field + 4 * PAGE);
    memset(expected_bytes, 0, sizeof expected_bytes);
    memset(expected_bytes, 1, 8 * PAGE);
    memset(expected_bytes + 2 * PAGE, 0, 4 * PAGE);
    memset(expected_bytes + 3 * PAGE, 1, PAGE);
    cr_assert_eq(sv_maps_read(&maps, procfd), 0);
    struct sv_mapping around[] = {{0, (uintptr_t)field, 0},
                                  {(uintptr_t)field + FIELD * PAGE, UINTPTR_MAX, 0}};
    struct sv_roots_in in = {.maps = &maps,
                             .pages = &pages,
                             .exclude = around,
                             .nexclude = 2,
                             .which = SV_ROOTS_MMAP | SV_ROOTS_DATA};
    cr_assert_eq(sv_roots_each(&in, range_mark, NULL), 0);
    cr_assert(memcmp(offered, expected_bytes, sizeof offered) == 0);
}

static size_t straddling;

static void range_straddle(void *arg, uintptr_t lo, uintptr_t hi, uint32_t flags)
{
    (void)arg;
    (void)flags;
    if (hi - lo > ((size_t)128 << 10))
        return;
    static uintptr_t out[(128 << 10) + 16];
    straddling += sv_words_filter_loose(lo, hi, 0, true, KEY ^ 1, 1, out);
}

// An unaligned word across the boundary of two copied pieces is whole in one of them.
Test(roots_exact, copies_overlap)
{
    int procfd = sv_proc_open();
    cr_assert_eq(sv_pages_open(&pages, procfd), 0);
    char *p = map(64 * PAGE, RW, ANON, -1);
    memset(p, 0, 64 * PAGE);
    uintptr_t boundary = ((uintptr_t)p + (128 << 10)) & ~(((uintptr_t)64 << 10) - 1), w = KEY ^ 1;
    memcpy((char *)boundary - 5, &w, sizeof w);
    mprotect(p, 64 * PAGE, PROT_NONE);
    cr_assert_eq(sv_maps_read(&maps, procfd), 0);
    struct sv_mapping around[] = {{0, (uintptr_t)p + 3, 0},
                                  {(uintptr_t)p + 64 * PAGE, UINTPTR_MAX, 0}};
    struct sv_roots_in in = {
        .maps = &maps, .pages = &pages, .exclude = around, .nexclude = 2, .which = SV_ROOTS_MMAP};
    cr_assert_eq(sv_roots_each(&in, range_straddle, NULL), 0);
    cr_assert_eq(straddling, 1);
}

// The listing holds addresses and the table of kernel.c holds keys; neither may act as a root.
static size_t own_bytes;
static uintptr_t held_once;

static void range_own(void *arg, uintptr_t lo, uintptr_t hi, uint32_t flags)
{
    struct sv_mapping own = sv_maps_own(&maps);
    (void)arg;
    (void)flags;
    if (lo < own.hi && own.lo < hi)
        own_bytes += hi - lo;
    for (uintptr_t p = (lo + 7) & ~(uintptr_t)7; p + 8 <= hi; p += 8) {
        held_once += *(uintptr_t *)p == (KEY ^ 0x77);
        own_bytes += *(uintptr_t *)p == (KEY ^ 0x78);
    }
}

Test(roots_exact, own_memory_is_no_root)
{
    int procfd = sv_proc_open();
    cr_assert_eq(sv_pages_open(&pages, procfd), 0);
    volatile uintptr_t key = KEY;
    cr_assert_eq(sv_kernel_hold(SV_KERNEL_EPOLL, key ^ 0x78, 5, key ^ 0x77), 0);
    cr_assert_eq(sv_maps_read(&maps, procfd), 0);
    struct sv_roots_in in = {
        .maps = &maps, .pages = &pages, .which = SV_ROOTS_MMAP | SV_ROOTS_KERNEL};
    cr_assert_eq(sv_roots_each(&in, range_own, NULL), 0);
    cr_assert_eq(own_bytes, 0);
    cr_assert_eq(held_once, 1, "%zu", held_once);
}
