// Write tracking: each way in which a page can be written, or stop being the page that was watched,
// and each way in which tracking can be taken away. What is reported is compared page by page.
#include "track.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, COUNT = 64, GUARD_INSTALL = 102, FD_FIRST = 1000 };

static struct sv_track track;

static int track_try(struct sv_track *t, enum sv_track_kind kind)
{
    int procfd = sv_proc_open();
    errno = 77;
    int err = sv_track_open(t, kind, procfd);
    cr_assert_eq(errno, 77);
    close(procfd);
    return err;
}

static void track_start(void)
{
    int err = track_try(&track, SV_TRACK_UFFD);
    if (err == -ENOSYS || err == -EPERM || err == -ENOTSUP)
        cr_skip_test("no userfaultfd with asynchronous write protection here");
    cr_assert_eq(err, 0, "%d", err);
}

TestSuite(track, .init = track_start);

// ---- what is reported ---------------------------------------------------------------------------

struct seen {
    char *base;
    uintptr_t last;
    char page[COUNT + 1]; // 'w': reported
};

static void seen_note(void *arg, uintptr_t lo, uintptr_t hi)
{
    struct seen *s = arg;
    cr_assert(lo < hi && lo >= s->last && lo % PAGE == 0 && hi % PAGE == 0);
    s->last = hi;
    memset(s->page + (lo - (uintptr_t)s->base) / PAGE, 'w', (hi - lo) / PAGE);
}

static const char *ask(struct sv_track *t, void *p, size_t n, bool again)
{
    static struct seen s;
    s.base = p;
    s.last = 0;
    memset(s.page, '.', n);
    s.page[n] = 0;
    errno = 77;
    int err = sv_track_written(t, (uintptr_t)p, (uintptr_t)p + n * PAGE, again, seen_note, &s);
    cr_assert_eq(err, 0, "%d", err);
    cr_assert_eq(errno, 77);
    return s.page;
}

static const char *written(void *p, size_t n)
{
    return ask(&track, p, n, false);
}

static const char *fetch(void *p, size_t n)
{
    return ask(&track, p, n, true);
}

static int watch(void *p, size_t n)
{
    errno = 77;
    int err = sv_track_watch(&track, (uintptr_t)p, (uintptr_t)p + n * PAGE);
    cr_assert_eq(errno, 77);
    return err;
}

static char *anonymous(size_t n)
{
    char *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    cr_assert(p != MAP_FAILED);
    return p;
}

static void touch(volatile char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i * PAGE]++;
}

// n pages that were touched and are watched.
static char *watched(size_t n)
{
    char *p = anonymous(n);
    touch(p, n);
    cr_assert_eq(watch(p, n), 0);
    return p;
}

// ---- writes -------------------------------------------------------------------------------------

// Watched pages, one of which is written: seen until asked for with `again`, then not before the
// next write.
static void one_page(volatile char *p)
{
    cr_assert_str_eq(written((void *)p, 4), "....");
    p[2 * PAGE + 5] = 7;
    cr_assert_str_eq(written((void *)p, 4), "..w.");
    cr_assert_str_eq(fetch((void *)p, 4), "..w.");
    cr_assert_str_eq(fetch((void *)p, 4), "....");
    cr_assert_str_eq(written((void *)p, 4), "....");
    p[2 * PAGE + 6] = 8;
    p[3 * PAGE - 1] = 9;
    p[0] = 1;
    cr_assert_str_eq(fetch((void *)p, 4), "w.w.");
    cr_assert(p[2 * PAGE + 5] == 7 && p[2 * PAGE + 6] == 8 && p[3 * PAGE - 1] == 9 && p[0] == 1);
    cr_assert_str_eq(fetch((void *)p, 4), "....");
}

Test(track, store)
{
    one_page(watched(4));
}

Test(track, reads_are_nothing)
{
    volatile char *p = watched(4);
    for (unsigned i = 0; i < 4; i++)
        (void)p[i * PAGE];
    cr_assert_str_eq(written((void *)p, 4), "....");
}

Test(track, widened_to_pages)
{
    char *p = anonymous(4);
    touch(p, 4);
    cr_assert_eq(sv_track_watch(&track, (uintptr_t)p + PAGE + 9, (uintptr_t)p + 2 * PAGE + 1), 0);
    touch(p, 4);
    struct seen s = {.base = p, .page = "...."};
    cr_assert_eq(sv_track_written(&track, (uintptr_t)p + PAGE + 9, (uintptr_t)p + 2 * PAGE + 1,
                                  true, seen_note, &s),
                 0);
    cr_assert_str_eq(s.page, ".ww.");
    cr_assert_str_eq(fetch(p, 4), "wwww"); // the outer two weren't watched
}

static void system_calls_fill(char *p)
{
    int pair[2], in[2];
    struct iovec two[2] = {{p + 2 * PAGE, 3}, {p + 4 * PAGE, 3}};
    struct iovec one = {p + 6 * PAGE + 1, 6};
    struct msghdr message = {.msg_iov = &one, .msg_iovlen = 1};
    cr_assert(pipe(in) == 0 && socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
    cr_assert_eq(write(in[1], "abcdefghi", 9), 9);
    cr_assert_eq(write(pair[1], "sockets", 6), 6);
    cr_assert_eq(read(in[0], p, 3), 3);
    cr_assert_eq(readv(in[0], two, 2), 6);
    cr_assert_eq(recvmsg(pair[0], &message, 0), 6);
    cr_assert_eq(getrandom(p + 8 * PAGE, 8, 0), 8);
    uint32_t op = FUTEX_OP(FUTEX_OP_SET, 5, FUTEX_OP_CMP_EQ, 1);
    cr_assert_geq(syscall(SYS_futex, p, FUTEX_WAKE_OP_PRIVATE, 1, 1, p + 10 * PAGE, op), 0);
    cr_assert(memcmp(p, "abc", 3) == 0 && memcmp(p + 2 * PAGE, "def", 3) == 0);
    cr_assert(memcmp(p + 4 * PAGE, "ghi", 3) == 0 && memcmp(p + 6 * PAGE + 1, "socket", 6) == 0);
    cr_assert_eq(p[10 * PAGE], 5);
}

// No EFAULT, the bytes arrive, and the pages count as written.
Test(track, system_calls_that_write)
{
    char *p = watched(12);
    system_calls_fill(p);
    cr_assert_str_eq(fetch(p, 12), "w.w.w.w.w.w.");
    cr_assert_str_eq(fetch(p, 12), "............");
    system_calls_fill(p);
    cr_assert_str_eq(fetch(p, 12), "w.w.w.w.w.w.");
}

Test(track, other_ways_of_the_kernel)
{
    char *p = watched(6);
    int mem = open("/proc/self/mem", O_RDWR);
    cr_assert_eq(pwrite(mem, "mem", 3, (off_t)(uintptr_t)(p + PAGE)), 3);
    cr_assert_str_eq(fetch(p, 6), ".w....");
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
    int parent = getpid(), pid = fork(), status;
    if (pid == 0) {
        struct iovec from = {"child", 5}, to = {p + 4 * PAGE, 5};
        _exit(process_vm_writev(parent, &from, 1, &to, 1, 0) == 5 ? 0 : 1);
    }
    waitpid(pid, &status, 0);
    if (status != 0)
        cr_skip_test("a child may not write to its parent here");
    cr_assert_str_eq(fetch(p, 6), "....w.");
    cr_assert(memcmp(p + PAGE, "mem", 3) == 0 && memcmp(p + 4 * PAGE, "child", 5) == 0);
}

// One read by io_uring, which may come from a thread of the kernel's. False: there is none here.
static bool uring_read(int fd, void *to, unsigned n)
{
    struct io_uring_params params = {0};
    int ring = (int)syscall(SYS_io_uring_setup, 2, &params);
    if (ring < 0)
        return false;
    char *sq = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
    char *cq = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
    struct io_uring_sqe *sqe =
        mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQES);
    cr_assert(sq != MAP_FAILED && cq != MAP_FAILED && (void *)sqe != MAP_FAILED);
    *sqe = (struct io_uring_sqe){
        .opcode = IORING_OP_READ, .flags = IOSQE_ASYNC, .fd = fd, .addr = (uintptr_t)to, .len = n};
    *(uint32_t *)(sq + params.sq_off.array) = 0;
    atomic_fetch_add((_Atomic uint32_t *)(sq + params.sq_off.tail), 1);
    cr_assert_eq(syscall(SYS_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0), 1);
    struct io_uring_cqe *cqe = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
    cr_assert_eq(cqe->res, (int)n, "%d", cqe->res);
    close(ring);
    return true;
}

Test(track, io_uring)
{
    char *p = watched(4);
    int in[2];
    cr_assert(pipe(in) == 0 && write(in[1], "ring", 4) == 4);
    if (!uring_read(in[0], p + 2 * PAGE, 4))
        cr_skip_test("no io_uring here");
    cr_assert_str_eq(fetch(p, 4), "..w.");
    cr_assert_eq(memcmp(p + 2 * PAGE, "ring", 4), 0);
}

// ---- writers that don't wait --------------------------------------------------------------------

enum { RACE_PAGES = 1 << 14, WRITERS = 2, PASSES = 3 };

static struct {
    char *base;
    _Atomic unsigned done;              // writers
    uint64_t read[RACE_PAGES][WRITERS]; // what stood there when the page was reported last
} race;

static _Atomic uint64_t *race_word(size_t page, size_t writer)
{
    return (_Atomic uint64_t *)(race.base + page * PAGE) + writer;
}

// Every page once in each pass, in an order that jumps about: the last write to a page is followed
// by no other that would have it reported again.
static void *race_write(void *arg)
{
    size_t writer = (size_t)arg;
    for (uint64_t pass = 1; pass <= PASSES; pass++)
        for (size_t i = 0; i < RACE_PAGES; i++) {
            size_t page = (i * 5 + writer * 77) & (RACE_PAGES - 1);
            atomic_store_explicit(race_word(page, writer), pass, memory_order_relaxed);
        }
    atomic_fetch_add(&race.done, 1);
    return NULL;
}

static void race_note(void *arg, uintptr_t lo, uintptr_t hi)
{
    (void)arg;
    for (size_t page = (lo - (uintptr_t)race.base) / PAGE;
         page < (hi - (uintptr_t)race.base) / PAGE; page++)
        for (size_t w = 0; w < WRITERS; w++)
            race.read[page][w] = atomic_load_explicit(race_word(page, w), memory_order_relaxed);
}

// Whatever was written last to a page has been read when the page was reported last.
Test(track, no_write_is_lost)
{
    pthread_t writers[WRITERS];
    race.base = watched(RACE_PAGES);
    uintptr_t lo = (uintptr_t)race.base, hi = lo + (size_t)RACE_PAGES * PAGE;
    for (size_t w = 0; w < WRITERS; w++)
        pthread_create(&writers[w], NULL, race_write, (void *)w);
    while (atomic_load(&race.done) < WRITERS)
        cr_assert_eq(sv_track_written(&track, lo, hi, true, race_note, NULL), 0);
    for (size_t w = 0; w < WRITERS; w++)
        pthread_join(writers[w], NULL);
    cr_assert_eq(sv_track_written(&track, lo, hi, false, race_note, NULL), 0);
    size_t lost = 0;
    for (size_t page = 0; page < RACE_PAGES; page++)
        for (size_t w = 0; w < WRITERS; w++)
            lost += race.read[page][w] != PASSES;
    cr_assert_eq(lost, 0, "%zu", lost);
}

// ---- pages that are no longer what was watched --------------------------------------------------

Test(track, never_touched)
{
    char *p = anonymous(8);
    cr_assert_eq(watch(p, 8), 0);
    cr_assert_str_eq(fetch(p, 8), "........");
    p[3 * PAGE] = 1;
    (void)*(volatile char *)(p + 5 * PAGE); // the shared page of zeroes
    cr_assert_str_eq(fetch(p, 8), "...w....");
    p[5 * PAGE] = 1;
    cr_assert_str_eq(fetch(p, 8), ".....w..");
    cr_assert_str_eq(fetch(p, 8), "........");
}

Test(track, dropped)
{
    char *p = watched(6);
    cr_assert_eq(madvise(p + PAGE, 3 * PAGE, MADV_DONTNEED), 0);
    cr_assert_str_eq(written(p, 6), "......");
    p[2 * PAGE] = 1;
    cr_assert_str_eq(fetch(p, 6), "..w...");
    touch(p, 6);
    cr_assert_str_eq(fetch(p, 6), "wwwwww");
}

Test(track, guards_hold_nothing)
{
    char *p = watched(6);
    if (madvise(p + PAGE, 2 * PAGE, GUARD_INSTALL) != 0)
        cr_skip_test("no guards here");
    p[4 * PAGE] = 1;
    cr_assert_str_eq(fetch(p, 6), "....w.");
}

Test(track, moved)
{
    char *p = watched(8), *place = anonymous(8);
    char *q = mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
    cr_assert_eq(q, place);
    q[PAGE] = 1;
    cr_assert_str_eq(written(place, 8), "wwww....");
    one_page(p + 4 * PAGE);
    q[2 * PAGE] = 1;
    cr_assert_str_eq(fetch(place, 8), "wwww....");
    one_page(q); // watched by having been asked for
}

Test(track, moved_without_unmapping)
{
    char *p = watched(4), *place = anonymous(4);
    if (mremap(p, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, place) !=
        place)
        cr_skip_test("no MREMAP_DONTUNMAP here");
    place[PAGE] = 3;
    cr_assert_str_eq(fetch(place, 4), "wwww");
    p[2 * PAGE] = 1;
    cr_assert_str_eq(fetch(p, 4), "..w.");
    one_page(place);
}

// What comes back to where it was merges with what stayed there, and the kernel then forgets that
// any of it is watched, but leaves the bits.
static void moved_back(int flags)
{
    char *p = watched(12), *place = anonymous(4);
    flags |= MREMAP_MAYMOVE | MREMAP_FIXED;
    if (mremap(p + 4 * PAGE, 4 * PAGE, 4 * PAGE, flags, place) != place)
        cr_skip_test("can't be moved so here");
    cr_assert_eq(watch(place, 4), 0);
    cr_assert_eq(mremap(place, 4 * PAGE, 4 * PAGE, flags, p + 4 * PAGE), p + 4 * PAGE);
    p[2 * PAGE] = 1;
    p[9 * PAGE] = 1;
    const char *found = fetch(p, 12);
    cr_expect(found[2] == 'w' && found[9] == 'w', "written: %s", found);
    p[2 * PAGE] = 2;
    p[9 * PAGE] = 2;
    found = fetch(p, 12);
    cr_expect(found[2] == 'w' && found[9] == 'w', "written again: %s", found);
}

Test(track, moved_back_to_its_neighbours)
{
    moved_back(0);
}

Test(track, moved_back_without_unmapping)
{
    moved_back(MREMAP_DONTUNMAP);
}

Test(track, grown)
{
    char *place = anonymous(8);
    munmap(place + 4 * PAGE, 4 * PAGE);
    touch(place, 4);
    cr_assert_eq(watch(place, 4), 0);
    char *p = mremap(place, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
    cr_assert(p != MAP_FAILED);
    p[6 * PAGE] = 1;
    cr_assert_eq(fetch(p, 8)[6], 'w');
    cr_assert_str_eq(fetch(p, 8), "........");
    one_page(p + 4 * PAGE);
    cr_assert_eq(mremap(p, 8 * PAGE, 4 * PAGE, 0), p);
    one_page(p);
}

Test(track, protection_changed)
{
    char *p = watched(4);
    p[PAGE] = 1;
    mprotect(p, 4 * PAGE, PROT_NONE);
    cr_assert_str_eq(fetch(p, 4), ".w..");
    mprotect(p, 2 * PAGE, PROT_READ);
    cr_assert_str_eq(fetch(p, 4), "....");
    mprotect(p, 4 * PAGE, PROT_READ | PROT_WRITE);
    one_page(p);
}

Test(track, watched_while_unwritable)
{
    char *p = anonymous(4);
    touch(p, 4);
    mprotect(p, 4 * PAGE, PROT_NONE);
    cr_assert_eq(watch(p, 4), 0);
    mprotect(p, 4 * PAGE, PROT_READ | PROT_WRITE);
    one_page(p);
}

Test(track, mapped_anew)
{
    char *p = watched(6);
    munmap(p + PAGE, 3 * PAGE);
    cr_assert_str_eq(written(p, 6), "......");
    char *q = mmap(p + PAGE, 2 * PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    cr_assert_eq(q, p + PAGE);
    // something isn't registered: all that is there is told
    cr_assert_str_eq(written(p, 6), "w...ww");
    touch(q, 2);
    cr_assert_str_eq(written(p, 6), "www.ww");
    cr_assert_str_eq(fetch(p, 6), "www.ww");
    cr_assert_str_eq(fetch(p, 6), "......");
    touch(q + PAGE, 1);
    cr_assert_str_eq(fetch(p, 6), "..w...");
}

Test(track, never_watched)
{
    char *p = anonymous(4);
    touch(p + PAGE, 2);
    cr_assert_str_eq(written(p, 4), ".ww.");
    cr_assert_str_eq(fetch(p, 4), ".ww.");
    cr_assert_str_eq(fetch(p, 4), "....");
    munmap(p, 4 * PAGE);
    cr_assert_str_eq(fetch(p, 4), "....");
}

// ---- kinds of mappings --------------------------------------------------------------------------

_Alignas(PAGE) static char data[4 * PAGE] = {1};
_Alignas(PAGE) static char bss[4 * PAGE];

Test(track, data_and_bss)
{
    touch(data, 4);
    touch(bss, 4);
    cr_assert_eq(watch(data, 4), 0);
    cr_assert_eq(watch(bss, 4), 0);
    one_page(data);
    one_page(bss);
}

static int file_make(void)
{
    int fd = memfd_create("file", MFD_CLOEXEC);
    char buf[4 * PAGE];
    memset(buf, 1, sizeof buf);
    cr_assert_eq(write(fd, buf, sizeof buf), (ssize_t)sizeof buf);
    return fd;
}

Test(track, shared_memory)
{
    int fd = file_make();
    char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *q = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    touch(p, 4);
    touch(q, 4);
    cr_assert_eq(watch(p, 4), 0);
    cr_assert_eq(watch(q, 4), 0);
    one_page(p);
    one_page(q);
}

Test(track, file_private)
{
    char path[] = "/tmp/salvage-track-XXXXXX", buf[4 * PAGE] = {1};
    int fd = mkstemp(path);
    cr_assert_eq(write(fd, buf, sizeof buf), (ssize_t)sizeof buf);
    unlink(path);
    char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    char *q = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    cr_assert_eq(watch(p, 4), 0); // with none of its pages touched
    p[PAGE] = 2;
    cr_assert_eq(fetch(p, 4)[1], 'w');
    fetch(p, 4);
    one_page(p);
    touch(q, 4);
    cr_assert_eq(watch(q, 4), 0);
    one_page(q);
}

Test(track, huge_pages)
{
    size_t huge = (size_t)1 << 21;
    char *raw = anonymous(3 * huge / PAGE);
    char *p = (char *)(((uintptr_t)raw + huge - 1) & ~(huge - 1));
    madvise(p, 2 * huge, MADV_HUGEPAGE);
    memset(p, 5, 2 * huge);
    cr_assert_eq(sv_track_watch(&track, (uintptr_t)p, (uintptr_t)p + 2 * huge), 0);
    cr_assert_str_eq(fetch(p + huge - 4 * PAGE, 8), "........");
    p[huge + PAGE] = 6;
    cr_assert_eq(written(p + huge, 4)[1], 'w');
    fetch(p + huge, 4);
    one_page(p + huge);
    cr_assert_str_eq(fetch(p, 8), "........");
    for (size_t i = 0; i < 2 * huge; i++)
        cr_assert(p[i] == 5 || i == huge + PAGE || (i >= huge && i < huge + 4 * PAGE && p[i] != 0));
}

// A range over many mappings and holes.
Test(track, many_mappings)
{
    char *p = anonymous(16);
    touch(p, 16);
    mprotect(p + 2 * PAGE, PAGE, PROT_READ);
    munmap(p + 5 * PAGE, 2 * PAGE);
    char *shared = mmap(p + 8 * PAGE, 2 * PAGE, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    cr_assert_eq(shared, p + 8 * PAGE);
    cr_assert_eq(watch(p, 16), 0);
    p[PAGE] = p[8 * PAGE] = p[15 * PAGE] = 1;
    cr_assert_str_eq(fetch(p, 16), ".w......w......w");
    cr_assert_str_eq(fetch(p, 16), "................");
}

// ---- large ranges -------------------------------------------------------------------------------

enum { LARGE = 20011 };

struct model {
    char *base;
    bool *got;
    size_t next; // no page before it may come any more
};

static void model_note(void *arg, uintptr_t lo, uintptr_t hi)
{
    struct model *m = arg;
    size_t first = (lo - (uintptr_t)m->base) / PAGE, end = (hi - (uintptr_t)m->base) / PAGE;
    cr_assert(first >= m->next && first < end && end <= LARGE);
    m->next = end;
    for (size_t i = first; i < end; i++)
        m->got[i] = true;
}

// More pages, and more runs, than one call of the kernel takes.
Test(track, large_against_model)
{
    static bool want[LARGE], got[LARGE];
    char *p = anonymous(LARGE);
    touch(p, LARGE);
    uintptr_t lo = (uintptr_t)p, hi = lo + (size_t)LARGE * PAGE;
    cr_assert_eq(sv_track_watch(&track, lo, hi), 0);
    srandom(1);
    for (unsigned round = 0; round < 24; round++) {
        memset(want, 0, sizeof want);
        memset(got, 0, sizeof got);
        for (size_t i = 0; i < LARGE;) { // runs and gaps of any length, most of them short
            size_t gap = (size_t)random() % (2u << round / 2),
                   run = (size_t)random() % (2u << (11 - round / 2));
            for (i += gap; run > 0 && i < LARGE; run--, i++) {
                p[i * PAGE] = 1;
                want[i] = true;
            }
        }
        struct model m = {p, got, 0};
        cr_assert_eq(sv_track_written(&track, lo, hi, true, model_note, &m), 0);
        cr_assert_eq(memcmp(want, got, sizeof want), 0, "round %u", round);
    }
}

static uint64_t page_table_bytes(void)
{
    char buf[8192];
    int fd = open("/proc/self/status", O_RDONLY);
    ssize_t n = read(fd, buf, sizeof buf - 1);
    close(fd);
    buf[n > 0 ? n : 0] = 0;
    const char *line = strstr(buf, "VmPTE:");
    cr_assert(line);
    return strtoull(line + 6, NULL, 10) * 1024;
}

// A reserve is neither filled with page tables nor walked for seconds.
Test(track, huge_reserve)
{
    size_t n = (size_t)300 << 18; // 300 GiB
    char *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        cr_skip_test("no such reserve here");
    uint64_t before = page_table_bytes();
    cr_assert_eq(watch(p, n), 0);
    char *far = p + (n - 9) * PAGE;
    far[2 * PAGE] = 1;
    struct seen s = {.base = far, .page = "........"};
    cr_assert_eq(
        sv_track_written(&track, (uintptr_t)p, (uintptr_t)(p + n * PAGE), true, seen_note, &s), 0);
    cr_assert_str_eq(s.page, "..w.....");
    sv_track_release(&track, (uintptr_t)p, (uintptr_t)(p + n * PAGE));
    cr_assert_leq(page_table_bytes(), before + (1 << 20));
}

// ---- giving back --------------------------------------------------------------------------------

static size_t mappings_within(const char *p, size_t n)
{
    struct sv_maps maps = {0};
    int procfd = sv_proc_open();
    size_t count = 0;
    cr_assert_eq(sv_maps_read(&maps, procfd), 0);
    for (size_t i = 0; i < maps.n; i++)
        count += maps.v[i].hi > (uintptr_t)p && maps.v[i].lo < (uintptr_t)p + n * PAGE;
    sv_maps_free(&maps);
    close(procfd);
    return count;
}

// What another userfaultfd can watch isn't watched by the first.
static void other_can_watch(char *p, size_t n)
{
    struct sv_track other;
    cr_assert_eq(track_try(&other, SV_TRACK_UFFD), 0);
    cr_assert_eq(sv_track_watch(&other, (uintptr_t)p, (uintptr_t)p + n * PAGE), 0);
    cr_assert_str_eq(ask(&other, p, 4, false), "....");
    p[PAGE] = 1;
    cr_assert_str_eq(ask(&other, p, 4, false), ".w..");
    sv_track_close(&other);
}

Test(track, released)
{
    char *p = anonymous(LARGE);
    munmap(p + 10000 * PAGE, 5 * PAGE);
    for (size_t i = 0; i < LARGE; i++)
        if (i < 10000 || i >= 10005)
            p[i * PAGE] = 1;
    size_t before = mappings_within(p, LARGE);
    cr_assert_eq(watch(p, LARGE), 0);
    sv_track_release(&track, (uintptr_t)p, (uintptr_t)p + (size_t)LARGE * PAGE);
    cr_assert_eq(mappings_within(p, LARGE), before);
    cr_assert_str_eq(written(p, 4), "wwww");
    sv_track_release(&track, (uintptr_t)p, (uintptr_t)p + (size_t)LARGE * PAGE);
    other_can_watch(p, LARGE);
    sv_track_close(&track);
    sv_track_close(&track);
}

Test(track, closed)
{
    char *p = watched(8);
    p[PAGE] = 1;
    sv_track_close(&track);
    cr_assert_eq(watch(p, 8), -EBADF);
    other_can_watch(p, 8);
    track_start();
    cr_assert_str_eq(fetch(p, 8), "wwwwwwww");
    one_page(p);
}

// ---- others -------------------------------------------------------------------------------------

Test(track, other_owner)
{
    struct sv_track theirs;
    cr_assert_eq(track_try(&theirs, SV_TRACK_UFFD), 0);
    char *p = anonymous(8);
    touch(p, 8);
    cr_assert_eq(sv_track_watch(&theirs, (uintptr_t)(p + 2 * PAGE), (uintptr_t)(p + 4 * PAGE)), 0);
    cr_assert_eq(watch(p, 8), -EBUSY);
    cr_assert_eq(watch(p + 4 * PAGE, 4), 0);
    p[3 * PAGE] = 2;
    cr_assert_str_eq(written(p, 4), "wwww");
    cr_assert_str_eq(fetch(p, 4), "wwww");
    cr_assert_str_eq(fetch(p, 4), "wwww");
    one_page(p + 4 * PAGE);
    sv_track_release(&track, (uintptr_t)p, (uintptr_t)(p + 8 * PAGE));
    cr_assert_str_eq(ask(&theirs, p + 2 * PAGE, 2, true), ".w"); // nobody took it from them
    p[2 * PAGE] = 2;
    cr_assert_str_eq(ask(&theirs, p + 2 * PAGE, 2, true), "w.");
    sv_track_close(&theirs);
}

static void refuses(void *p)
{
    struct seen s = {.base = p, .page = "...."};
    cr_assert_eq(watch(p, 4), -EBADF);
    cr_assert_eq(
        sv_track_written(&track, (uintptr_t)p, (uintptr_t)p + 4 * PAGE, true, seen_note, &s),
        -EBADF);
    cr_assert_eq(
        sv_track_written(&track, (uintptr_t)p, (uintptr_t)p + 4 * PAGE, false, seen_note, &s),
        -EBADF);
    sv_track_release(&track, (uintptr_t)p, (uintptr_t)p + 4 * PAGE);
    cr_assert_str_eq(s.page, "....");
}

Test(track, userfaultfd_closed_by_the_program)
{
    char *p = watched(4);
    int fd = track.arm_fd;
    close(fd);
    refuses(p);
    cr_assert_eq(dup2(track.pagemap_fd, fd), fd);
    refuses(p);
    struct sv_track theirs;
    cr_assert_eq(track_try(&theirs, SV_TRACK_UFFD), 0);
    cr_assert_eq(dup2(theirs.arm_fd, fd), fd);
    refuses(p);
    cr_assert_eq(sv_track_watch(&theirs, (uintptr_t)p, (uintptr_t)p + 4 * PAGE), 0);
    sv_track_close(&track);
    cr_assert_eq(fcntl(fd, F_GETFD), 0); // theirs now
}

Test(track, pagemap_closed_by_the_program)
{
    char *p = watched(4);
    int fd = track.pagemap_fd;
    close(fd);
    refuses(p);
    cr_assert_eq(dup2(track.arm_fd, fd), fd);
    refuses(p);
    sv_track_close(&track);
    cr_assert_eq(fcntl(fd, F_GETFD), 0);
}

static int child_wait(int pid)
{
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return status;
}

// The child's own view: nothing of it is watched; and asking by what it inherited is refused, so
// that the parent's pages stay as they are.
static int child_look(char *p)
{
    struct seen s = {.base = p, .page = "...."};
    uintptr_t lo = (uintptr_t)p, hi = lo + 4 * PAGE;
    if (sv_track_watch(&track, lo, hi) != -EBADF ||
        sv_track_written(&track, lo, hi, true, seen_note, &s) != -EBADF || s.page[0] != '.')
        return 1;
    sv_track_release(&track, lo, hi);
    touch(p, 2);
    sv_track_close(&track);
    if (track_try(&track, SV_TRACK_UFFD) != 0)
        return 2;
    if (strcmp(fetch(p, 4), "wwww") != 0)
        return 3;
    one_page(p);
    return 0;
}

Test(track, fork)
{
    char *p = watched(4);
    p[3 * PAGE] = 1;
    int pid = fork();
    if (pid == 0)
        _exit(child_look(p));
    cr_assert_eq(child_wait(pid), 0);
    cr_assert_str_eq(fetch(p, 4), "...w");
    one_page(p);
}

static void *orphan_run(void *arg)
{
    struct sv_track here;
    pthread_join(*(pthread_t *)arg, NULL);
    _exit(-track_try(&here, SV_TRACK_UFFD));
}

// A thread that outlives the first one: /proc/self shows nothing then.
Test(track, first_thread_ended)
{
    sv_track_close(&track);
    int pid = fork();
    if (pid == 0) {
        static pthread_t first, other;
        first = pthread_self();
        pthread_create(&other, NULL, orphan_run, &first);
        pthread_exit(NULL);
    }
    cr_assert_eq(child_wait(pid), 0);
}

// ---- descriptors --------------------------------------------------------------------------------

static unsigned descriptors_open(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 2 * FD_FIRST; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

Test(track, descriptors_high_and_closed_on_exec)
{
    cr_assert(track.arm_fd >= FD_FIRST && track.pagemap_fd >= FD_FIRST);
    cr_assert(fcntl(track.arm_fd, F_GETFD) & FD_CLOEXEC);
    cr_assert(fcntl(track.pagemap_fd, F_GETFD) & FD_CLOEXEC);
    unsigned with = descriptors_open();
    sv_track_close(&track);
    cr_assert_eq(descriptors_open(), with - 2);
}

Test(track, few_descriptors_allowed)
{
    sv_track_close(&track);
    struct rlimit limit = {20, 20};
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    unsigned before = descriptors_open();
    cr_assert_eq(track_try(&track, SV_TRACK_UFFD), 0);
    cr_assert(track.arm_fd > 9 && track.pagemap_fd > 9);
    one_page(watched(4));
    sv_track_close(&track);
    while (dup(0) >= 0)
        continue;
    int procfd = 19;
    close(procfd);
    procfd = sv_proc_open();
    cr_assert_geq(procfd, 0);
    cr_assert_eq(sv_track_open(&track, SV_TRACK_UFFD, procfd), -EMFILE);
    close(18); // room for one of the two
    cr_assert_eq(sv_track_open(&track, SV_TRACK_UFFD, procfd), -EMFILE);
    cr_assert_leq(before, 20);
    cr_assert_eq(dup(0), 18); // nothing was left open
    cr_assert_eq(sv_track_open(&track, SV_TRACK_UFFD, -1), -EMFILE);
}

Test(track, no_proc)
{
    sv_track_close(&track);
    unsigned before = descriptors_open();
    cr_assert_eq(sv_track_open(&track, SV_TRACK_UFFD, -1), -EBADF);
    cr_assert_eq(sv_track_open(&track, SV_TRACK_UFFD, open("/", O_PATH)), -ENOENT);
    cr_assert_eq(descriptors_open(), before + 1);
}

static void filter_load(struct sock_filter *code, unsigned short n)
{
    struct sock_fprog program = {n, code};
    cr_assert(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    cr_assert(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void userfaultfd_forbid(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_userfaultfd, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    filter_load(code, sizeof code / sizeof *code);
}

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
    filter_load(code, sizeof code / sizeof *code);
}

Test(track, sandbox_without_userfaultfd)
{
    sv_track_close(&track);
    userfaultfd_forbid();
    unsigned before = descriptors_open();
    cr_assert_eq(track_try(&track, SV_TRACK_UFFD), -EPERM);
    cr_assert_eq(descriptors_open(), before);
}

// The verdict of the first self-test is remembered: a later refusal is an error of each call.
Test(track, sandbox_without_scan)
{
    char *p = watched(4);
    scan_forbid();
    struct seen s = {.base = p, .page = "...."};
    cr_assert_eq(
        sv_track_written(&track, (uintptr_t)p, (uintptr_t)p + 4 * PAGE, true, seen_note, &s),
        -ENOTTY);
    int pid = fork();
    if (pid == 0) {
        unsigned before = descriptors_open();
        sv_track_close(&track);
        int first = track_try(&track, SV_TRACK_UFFD), second = track_try(&track, SV_TRACK_UFFD);
        _exit(first != -ENOTSUP || second != -ENOTSUP || descriptors_open() != before - 2);
    }
    cr_assert_eq(child_wait(pid), 0);
}

// ---- soft-dirty ---------------------------------------------------------------------------------

Test(softdirty, store_or_refusal)
{
    unsigned before = descriptors_open();
    int err = track_try(&track, SV_TRACK_SOFTDIRTY);
    if (err != 0) {
        cr_assert_eq(err, -ENOTSUP, "%d", err);
        cr_assert_eq(descriptors_open(), before);
        cr_assert_eq(track_try(&track, SV_TRACK_SOFTDIRTY), -ENOTSUP);
        return;
    }
    char *p = watched(4);
    cr_assert_str_eq(fetch(p, 4), "....");
    p[PAGE] = 1;
    cr_assert_str_eq(fetch(p, 4), ".w..");
    p[3 * PAGE] = 1;
    cr_assert_eq(watch(p, 4), 0); // doesn't forget what was written
    cr_assert_str_eq(fetch(p, 4), ".w.w");
    sv_track_close(&track);
}

Test(softdirty, entries)
{
    const uint64_t present = UINT64_C(1) << 63, swapped = UINT64_C(1) << 62,
                   file = UINT64_C(1) << 61, guard = UINT64_C(1) << 58, dirty = UINT64_C(1) << 55;
    const uint64_t entries[] = {present | dirty | 0x1234,
                                present | 0x1234,
                                dirty, // a mapping's own bit: nothing there yet
                                swapped | dirty,
                                present | dirty | file,
                                0,
                                present | dirty | guard,
                                ~UINT64_C(0) & ~dirty,
                                present | dirty};
    struct seen s = {.base = (char *)(16 * PAGE), .page = "........."};
    sv_track_entries(entries, 9, 16 * PAGE, seen_note, &s);
    cr_assert_str_eq(s.page, "w..ww...w");
    memset(s.page, '.', 9);
    s.last = 0;
    sv_track_entries(entries, 0, 16 * PAGE, seen_note, &s);
    cr_assert_str_eq(s.page, ".........");
}
