// Write tracking by the page table. Of the two ways, the first is the one that serves a collector:
//
// userfaultfd, asynchronous. Mappings are registered with a userfaultfd, which costs nothing by
// itself and puts a bit into no page. A page is watched when its entry has the uffd-wp bit, set by
// the PAGEMAP_SCAN ioctl, which finds pages without that bit, reports them and sets it, under the
// lock of their page table and with the TLB flushed before it returns. The program's first write
// to a watched page costs one fault, in which the kernel clears the bit by itself: no signal, no
// EFAULT from system calls, no change to its mappings. "Written" is the bit's absence, so
// everything new (a page just touched, a mapping just made, grown or moved) reads as written.
//
// Two traps follow from that. The bit means nothing in a mapping that somebody else's userfaultfd
// owns, and PAGEMAP_SCAN silently passes over mappings that nobody registered. Hence the rule: each
// look at a range registers it first, which the kernel refuses unless every mapping in it is ours
// or free; refused, all that the range holds is reported. Nothing has to be remembered about ranges
// for this. A mapping that comes into being between the two calls is passed over by this scan, but
// its pages carry no bit and the next look finds them.
//
// Pages that were never touched are not given the bit (it would take page tables for every reserve)
// and page-table entries of the shared page of zeroes neither: the first write makes a new page.
//
// Slices. The scan holds the mmap lock for reading: BATCH_PAGES found pages take 0.25 ms. Giving
// back rewrites entries under the lock for writing, 0.1 us for each page present, so it goes by
// as many present pages. Measured on Linux 6.18, 1 GiB of 4 KiB pages: watch 16 ms, look at clean
// pages 1.0 ms, at pages all dirty 16 ms, release 30 ms. The vector of found runs is never empty:
// some kernels crash on that together with protecting.
//
// Soft-dirty bits serve older kernels. They are cleared for the whole process at once, and by
// anybody, so looking and watching again is not one step: once watched, a page stays written.
#include "track.h"

#include "pages.h"
#include "proc.h"
#include "scan.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdatomic.h>

// From Linux 6.7's <linux/userfaultfd.h>, which the headers we build with need not have.
#define FEATURE_WP_UNPOPULATED (UINT64_C(1) << 13)
#define FEATURE_WP_ASYNC (UINT64_C(1) << 15)

enum {
    REGIONS = 512,      // of one scan: 12 KiB of the driver's stack
    ENTRIES = 256,      // pagemap entries read at once
    BATCH_PAGES = 4096, // found by one call of the kernel at most
};
#define SPAN ((uintptr_t)1 << 36) // looked at by one call of the kernel at most
#define HUGE ((uintptr_t)1 << 21) // pages are not cut off inside of one

// ---- one call of the kernel ---------------------------------------------------------------------

// Looks for pages that hold something and are all of `also` (SCAN_*), from *at on, and gives those
// found the bit if `flags` say so. Moves *at to where the kernel stopped, hi at last. Returns how
// many runs it put into `runs`, some of them perhaps empty, or -errno; -EPERM with SCAN_REGISTERED:
// not all that is mapped from *at on is registered, and pages may have got the bit all the same.
static long scan_step(const struct sv_track *t, uint64_t also, unsigned flags, uintptr_t *at,
                      uintptr_t hi, struct scan_region runs[static REGIONS])
{
    // asked for nothing but the one bit, the kernel looks at nothing else
    bool dense = also == SCAN_WRITTEN && *at >= t->dense_lo && hi <= t->dense_hi;
    struct scan_arg arg = {.size = sizeof arg,
                           .flags = flags,
                           .start = *at,
                           .end = hi - *at < SPAN ? hi : *at + SPAN,
                           .vec = (uintptr_t)runs,
                           .vec_len = scan_room(*at, hi, REGIONS),
                           .max_pages = BATCH_PAGES,
                           .category_inverted = dense ? 0 : t->empty,
                           .category_mask = dense ? also : t->empty | also,
                           .category_anyof_mask = dense ? 0 : SCAN_PRESENT | SCAN_SWAPPED,
                           .return_mask = SCAN_WRITTEN};
    long got = sv_proc_ioctl(t->pagemap_fd, SCAN_CALL, &arg);
    if (got < 0)
        return got;
    if (arg.walk_end <= *at || arg.walk_end > hi || got > REGIONS)
        return -EIO;
    *at = arg.walk_end;
    return got;
}

// *at is where it ended: hi, or where it failed; before that all was reported.
static int scan_each(const struct sv_track *t, uint64_t also, unsigned flags, uintptr_t *at,
                     uintptr_t hi, sv_range_fn *fn, void *arg)
{
    struct scan_region runs[REGIONS];
    while (*at < hi) {
        long got = scan_step(t, also, flags, at, hi, runs);
        if (got < 0)
            return (int)got;
        for (long i = 0; fn && i < got; i++)
            if (runs[i].start < runs[i].end)
                fn(arg, runs[i].start, runs[i].end);
    }
    return 0;
}

static int range_register(const struct sv_track *t, uintptr_t lo, uintptr_t hi)
{
    struct uffdio_register arg = {.range = {lo, hi - lo}, .mode = UFFDIO_REGISTER_MODE_WP};
    return (int)sv_proc_ioctl(t->arm_fd, UFFDIO_REGISTER, &arg);
}

// Every page of the range counts as written again.
static int range_open(const struct sv_track *t, uintptr_t lo, uintptr_t hi)
{
    struct uffdio_writeprotect arg = {.range = {lo, hi - lo}};
    return (int)sv_proc_ioctl(t->arm_fd, UFFDIO_WRITEPROTECT, &arg);
}

static int range_unregister(const struct sv_track *t, uintptr_t lo, uintptr_t hi)
{
    struct uffdio_range arg = {lo, hi - lo};
    return (int)sv_proc_ioctl(t->arm_fd, UFFDIO_UNREGISTER, &arg);
}

// ---- soft-dirty ---------------------------------------------------------------------------------

static int softdirty_clear(struct sv_track *t)
{
    long put = sv_proc_write(t->arm_fd, "4", 1);
    t->armed = put == 1;
    return put < 0 ? (int)put : 0;
}

void sv_track_entries(const uint64_t *entries, size_t n, uintptr_t at, sv_range_fn *fn, void *arg)
{
    for (size_t i = 0; i < n; i++) {
        size_t first = i;
        while (i < n && (entries[i] & ENTRY_USED) && (entries[i] & ENTRY_SOFTDIRTY) &&
               !(entries[i] & ENTRY_GUARD))
            i++;
        if (first < i)
            fn(arg, at + first * SV_HW_PAGE, at + i * SV_HW_PAGE);
    }
}

static int softdirty_each(const struct sv_track *t, uintptr_t lo, uintptr_t hi, sv_range_fn *fn,
                          void *arg)
{
    uint64_t entries[ENTRIES];
    if (t->empty)
        return scan_each(t, SCAN_SOFTDIRTY, 0, &lo, hi, fn, arg);
    while (lo < hi) {
        size_t n = (hi - lo) / SV_HW_PAGE < ENTRIES ? (hi - lo) / SV_HW_PAGE : ENTRIES;
        long got = sv_proc_pread(t->pagemap_fd, entries, n * sizeof *entries,
                                 (uint64_t)(lo / SV_HW_PAGE * sizeof *entries));
        if (got < (long)sizeof *entries)
            return got < 0 ? (int)got : -EIO;
        n = (size_t)got / sizeof *entries;
        sv_track_entries(entries, n, lo, fn, arg);
        lo += n * SV_HW_PAGE;
    }
    return 0;
}

// ---- watching -----------------------------------------------------------------------------------

static uint64_t arm_identity(const struct sv_track *t)
{
    return t->kind == SV_TRACK_UFFD ? sv_proc_userfaultfd_identity(t->arm_fd)
                                    : sv_proc_identity(t->arm_fd);
}

static bool arm_ours(const struct sv_track *t)
{
    return t->arm_fd >= 0 && t->arm_inode != 0 && arm_identity(t) == t->arm_inode;
}

static bool pagemap_ours(const struct sv_track *t)
{
    return t->pagemap_fd >= 0 && t->pagemap_inode != 0 &&
           sv_proc_identity(t->pagemap_fd) == t->pagemap_inode;
}

// The descriptors of a forked child are its parent's: what they do, they do to the parent's memory.
static bool track_valid(const struct sv_track *t)
{
    return t->pid == sv_proc_pid() && (t->private || (arm_ours(t) && pagemap_ours(t)));
}

static void pages_widen(uintptr_t *lo, uintptr_t *hi)
{
    *lo &= ~(SV_HW_PAGE - 1);
    *hi = (*hi + SV_HW_PAGE - 1) & ~(SV_HW_PAGE - 1);
}

static bool range_dense(const struct sv_track *t, uintptr_t lo, uintptr_t hi)
{
    return lo >= t->dense_lo && hi <= t->dense_hi;
}

int sv_track_watch(struct sv_track *t, uintptr_t lo, uintptr_t hi)
{
    if (!track_valid(t))
        return -EBADF;
    if (t->kind == SV_TRACK_SOFTDIRTY)
        return t->armed ? 0 : softdirty_clear(t);
    pages_widen(&lo, &hi);
    int err = range_register(t, lo, hi);
    if (err == 0 && !range_dense(t, lo, hi))
        err = range_open(t, lo, hi); // see written_afresh
    return err != 0 ? err : scan_each(t, SCAN_WRITTEN, SCAN_PROTECT, &lo, hi, NULL, NULL);
}

void sv_track_dense(struct sv_track *t, uintptr_t lo, uintptr_t hi)
{
    pages_widen(&lo, &hi);
    t->dense_lo = lo;
    t->dense_hi = hi;
}

// Something in the range isn't registered, because it is new, or because it was lost: when a moved
// mapping is merged with a neighbour, the kernel drops the neighbour's registration but not the
// bits of its pages, which it then no longer clears when they are written. So nothing that a bit
// says here counts: all bits are cleared, and all that is there is told.
static int written_afresh(const struct sv_track *t, uintptr_t lo, uintptr_t hi, bool again,
                          sv_range_fn *fn, void *arg)
{
    if (range_register(t, lo, hi) != 0 || range_open(t, lo, hi) != 0)
        return scan_each(t, 0, 0, &lo, hi, fn, arg);
    return scan_each(t, SCAN_WRITTEN, again ? SCAN_PROTECT : 0, &lo, hi, fn, arg);
}

int sv_track_written(struct sv_track *t, uintptr_t lo, uintptr_t hi, bool again, sv_range_fn *fn,
                     void *arg)
{
    if (!track_valid(t))
        return -EBADF;
    pages_widen(&lo, &hi);
    if (t->kind == SV_TRACK_SOFTDIRTY)
        return softdirty_each(t, lo, hi, fn, arg);
    unsigned flags = SCAN_REGISTERED | (again ? SCAN_PROTECT : 0);
    int err = scan_each(t, SCAN_WRITTEN, flags, &lo, hi, fn, arg);
    return err == -EPERM ? written_afresh(t, lo, hi, again, fn, arg) : err;
}

// Registers first, for the refusal: older kernels let one userfaultfd unregister what belongs to
// another. A slice that can't be had, for want of a mapping to split off, is had with the rest.
void sv_track_release(struct sv_track *t, uintptr_t lo, uintptr_t hi)
{
    struct scan_region runs[REGIONS];
    if (!track_valid(t) || t->kind != SV_TRACK_UFFD)
        return;
    pages_widen(&lo, &hi);
    if (range_register(t, lo, hi) != 0)
        return;
    while (lo < hi) {
        uintptr_t end = lo;
        if (scan_step(t, 0, 0, &end, hi, runs) < 0)
            end = hi;
        end = (end + HUGE - 1) & ~(HUGE - 1);
        end = end < hi ? end : hi;
        if (range_unregister(t, lo, end) == -ENOMEM) {
            range_unregister(t, lo, hi);
            return;
        }
        lo = end;
    }
}

// ---- the self-test ------------------------------------------------------------------------------

enum { TEST_PAGES = 4 };

struct test_seen {
    uintptr_t base;
    unsigned pages; // a bit a page
};

static void test_note(void *arg, uintptr_t lo, uintptr_t hi)
{
    struct test_seen *s = arg;
    for (uintptr_t p = lo; p < hi; p += SV_HW_PAGE)
        s->pages |= 1u << ((p - s->base) / SV_HW_PAGE);
}

// The pages of TEST_PAGES at p that were written, a bit each, or ~0.
static unsigned test_ask(struct sv_track *t, const volatile char *p, bool again)
{
    struct test_seen seen = {.base = (uintptr_t)p};
    uintptr_t hi = seen.base + TEST_PAGES * SV_HW_PAGE;
    return sv_track_written(t, seen.base, hi, again, test_note, &seen) == 0 ? seen.pages : ~0u;
}

// Pages 0 to 2 hold something.
static bool test_pages(struct sv_track *t, volatile char *p)
{
    bool again = t->kind == SV_TRACK_UFFD;
    for (unsigned i = 0; i < 3; i++)
        p[i * SV_HW_PAGE] = 1;
    if (sv_track_watch(t, (uintptr_t)p, (uintptr_t)p + TEST_PAGES * SV_HW_PAGE) != 0 ||
        test_ask(t, p, again) != 0)
        return false;
    p[SV_HW_PAGE] = 2;
    if (test_ask(t, p, false) != 1u << 1 || test_ask(t, p, again) != 1u << 1)
        return false;
    if (again && test_ask(t, p, true) != 0)
        return false;
    p[3 * SV_HW_PAGE] = 2;
    return test_ask(t, p, false) & 1u << 3;
}

// Kernels before 6.13 took the bit along when a mapping was moved, into one that was no longer
// registered, where writes leave the bit as it is.
static bool test_moved(struct sv_track *t, volatile char *p)
{
    p[2 * SV_HW_PAGE] = 2;
    return test_ask(t, p, false) & 1u << 2;
}

static _Atomic int tested[2]; // by kind: the process that passed, or less than 0: that failed

static int self_test(struct sv_track *t)
{
    int verdict = atomic_load_explicit(&tested[t->kind], memory_order_relaxed);
    if (verdict == t->pid || verdict == -t->pid)
        return verdict > 0 ? 0 : -ENOTSUP;
    size_t n = TEST_PAGES * SV_HW_PAGE;
    char *p = sv_proc_map(n), *to = sv_proc_map(n);
    bool moved = false, passed = false;
    if (p && to && test_pages(t, p)) {
        moved = sv_proc_move(p, n, to) == (long)to;
        passed = moved && test_moved(t, to);
    }
    if (p && !moved)
        sv_proc_unmap(p, n);
    if (to)
        sv_proc_unmap(to, n);
    if (!p || !to)
        return -ENOMEM;
    t->armed = false;
    atomic_store_explicit(&tested[t->kind], passed ? t->pid : -t->pid, memory_order_relaxed);
    return passed ? 0 : -ENOTSUP;
}

// ---- opening ------------------------------------------------------------------------------------

static int arm_open(enum sv_track_kind kind, int procfd)
{
    if (kind == SV_TRACK_SOFTDIRTY)
        return sv_proc_file(procfd, "thread-self/clear_refs", O_WRONLY);
    struct uffdio_api api = {.api = UFFD_API,
                             .features = FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED};
    int fd = sv_proc_userfaultfd();
    if (fd >= 0 && sv_proc_ioctl(fd, UFFDIO_API, &api) != 0) {
        sv_proc_close(fd);
        return -ENOTSUP;
    }
    return fd;
}

// Which categories this kernel knows; none without PAGEMAP_SCAN.
static uint64_t empty_probe(struct sv_track *t)
{
    static const uint64_t known[] = {SCAN_ZERO | SCAN_GUARD, SCAN_ZERO, 0};
    struct scan_region runs[REGIONS];
    for (unsigned i = 0;; i++) {
        uintptr_t at = (uintptr_t)runs & ~(SV_HW_PAGE - 1);
        t->empty = known[i];
        if (known[i] == 0 || scan_step(t, 0, 0, &at, at + SV_HW_PAGE, runs) >= 0)
            return known[i];
    }
}

// thread-self, not self: a thread may outlive the first one, which then has no memory to show.
int sv_track_open(struct sv_track *t, enum sv_track_kind kind, int procfd)
{
    *t = (struct sv_track){.kind = kind, .pid = sv_proc_pid(), .arm_fd = -1, .pagemap_fd = -1};
    if (atomic_load_explicit(&tested[kind], memory_order_relaxed) == -t->pid)
        return -ENOTSUP;
    t->arm_fd = arm_open(kind, procfd);
    if (t->arm_fd < 0)
        return t->arm_fd;
    t->arm_inode = arm_identity(t);
    t->pagemap_fd = sv_proc_file(procfd, "thread-self/pagemap", O_RDONLY);
    t->pagemap_inode = sv_proc_identity(t->pagemap_fd);
    int err = t->pagemap_fd < 0 ? t->pagemap_fd : 0;
    if (err == 0) {
        t->empty = empty_probe(t);
        err = self_test(t);
    }
    if (err != 0)
        sv_track_close(t);
    return err;
}

// Closing a userfaultfd unregisters what it still has. Leaves alone what the program has opened in
// our place.
void sv_track_close(struct sv_track *t)
{
    if (arm_ours(t))
        sv_proc_close(t->arm_fd);
    if (pagemap_ours(t))
        sv_proc_close(t->pagemap_fd);
    t->arm_fd = t->pagemap_fd = -1;
}
