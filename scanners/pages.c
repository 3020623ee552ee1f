// Which pages of a mapping can hold something that the program stored. Programs reserve hundreds of
// gigabytes and touch little of it; reading the rest would take minutes and, worse, make it exist.
//
// Private mappings are asked for with the PAGEMAP_SCAN ioctl: 40 us for an untouched reserve of
// 500 GiB, 1 us for a small one. Left out are the shared page of zeroes and, in file mappings, the
// pages that are still the file's: only a page that was copied on write can hold a pointer. Before
// Linux 6.7 the entries of /proc/self/pagemap tell the same (0.35 ms a GiB). Where the pagemap
// cannot be opened (a process that became undumpable), mincore(2) does for anonymous memory while
// no swap is in use, and otherwise the range is reported whole.
//
// Shared mappings are asked for with mincore(2), which looks into the page cache: a page that
// another process of the family wrote, or that the parent wrote before fork, is memory that this
// one can read without a fault, though its page table does not know yet. That costs 13 ms a GiB
// where the file has holes. What of a shared mapping was swapped out or written back to its file is
// not found.
//
// "Not in memory but not empty" has many causes: swapped out, in migration, a guard
// (MADV_GUARD_INSTALL, Linux 6.13), a poisoned page, a page that userfaultfd's write protection
// marked before its first use. A load could then be fatal, so these runs are told apart as
// doubtful; where no swap is in use, mincore tells those in migration from those that hold nothing.
//
// Invariant: a page that holds a stored word is in some run. Never is a page touched here.
#include "pages.h"

#include "proc.h"
#include "scan.h"
#include "scanners.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>

enum { REGIONS = 64, ENTRIES = 256, RESIDENT_BYTES = 1024 }; // buffers; the stack may be small

// ---- the descriptors ----------------------------------------------------------------------------

// To be called early: a process that changes its user id can no longer open them. Any context.
int sv_pages_open(struct sv_pages *pages, int procfd)
{
    pages->pid = sv_proc_pid();
    pages->pagemap_fd = sv_proc_file(procfd, "thread-self/pagemap", O_RDONLY);
    pages->mem_fd = sv_proc_file(procfd, "thread-self/mem", O_RDONLY);
    pages->pagemap_inode = sv_proc_identity(pages->pagemap_fd);
    pages->mem_inode = sv_proc_identity(pages->mem_fd);
    int err = pages->pagemap_fd < 0 ? pages->pagemap_fd : pages->mem_fd < 0 ? pages->mem_fd : 0;
    if (pages->pagemap_fd < 0)
        pages->pagemap_fd = -1;
    if (pages->mem_fd < 0)
        pages->mem_fd = -1;
    return err;
}

static bool descriptor_check(int fd, uint64_t inode)
{
    return fd < 0 || (inode != 0 && sv_proc_identity(fd) == inode);
}

int sv_pages_check(const struct sv_pages *pages)
{
    if (pages->pagemap_fd < 0 && pages->mem_fd < 0)
        return 0;
    bool ours = pages->pid == sv_proc_pid() &&
                descriptor_check(pages->pagemap_fd, pages->pagemap_inode) &&
                descriptor_check(pages->mem_fd, pages->mem_inode);
    return ours ? 0 : -EBADF;
}

// Leaves alone what the program has opened in our place.
void sv_pages_close(struct sv_pages *pages)
{
    if (pages->pagemap_fd >= 0 && descriptor_check(pages->pagemap_fd, pages->pagemap_inode))
        sv_proc_close(pages->pagemap_fd);
    if (pages->mem_fd >= 0 && descriptor_check(pages->mem_fd, pages->mem_inode))
        sv_proc_close(pages->mem_fd);
    pages->pagemap_fd = pages->mem_fd = -1;
}

// ---- runs, joined -------------------------------------------------------------------------------

// Joins touching runs of one kind, since the sources below deliver in batches.
struct joiner {
    uintptr_t lo, hi; // the run not yet delivered; lo == hi: none
    enum sv_pages_how how;
    bool stale; // const: SV_PAGES_STALE
    sv_pages_fn *fn;
    void *arg;
};

static int joiner_flush(struct joiner *j)
{
    uintptr_t lo = j->lo, hi = j->hi;
    j->lo = j->hi = 0;
    return lo < hi ? j->fn(j->arg, lo, hi, j->how) : 0;
}

static int joiner_add(struct joiner *j, uintptr_t lo, uintptr_t hi, enum sv_pages_how how)
{
    if (lo == j->hi && how == j->how && j->lo < j->hi) {
        j->hi = hi;
        return 0;
    }
    int err = joiner_flush(j);
    j->lo = lo;
    j->hi = hi;
    j->how = how;
    return err;
}

// ---- mincore ------------------------------------------------------------------------------------

typedef int piece_fn(void *arg, uintptr_t lo, uintptr_t hi);

// Calls fn for the runs of [lo, hi) that mincore reports. It refuses a range with a hole: where one
// may have come while the program runs, all of the range counts.
static int resident_each(uintptr_t lo, uintptr_t hi, bool stale, piece_fn *fn, void *arg)
{
    unsigned char vec[RESIDENT_BYTES];
    while (lo < hi) {
        size_t n = (hi - lo) / SV_HW_PAGE < sizeof vec ? (hi - lo) / SV_HW_PAGE : sizeof vec;
        long err = sv_proc_mincore(lo, n * SV_HW_PAGE, vec);
        if (err == -ENOMEM && stale) {
            for (size_t i = 0; i < n; i++)
                vec[i] = 1;
            err = 0;
        }
        for (size_t i = 0; err == 0 && i < n; i++) {
            size_t first = i;
            while (i < n && (vec[i] & 1))
                i++;
            if (first < i)
                err = fn(arg, lo + first * SV_HW_PAGE, lo + i * SV_HW_PAGE);
        }
        if (err != 0)
            return (int)err;
        lo += n * SV_HW_PAGE;
    }
    return 0;
}

static int doubtful_piece(void *arg, uintptr_t lo, uintptr_t hi)
{
    return joiner_add(arg, lo, hi, SV_PAGES_DOUBTFUL);
}

// Pages of a private mapping that are not in memory but are not empty either. mincore knows those
// in migration and those in the swap cache; with no swap in use, nothing else can hold a value.
static int absent_add(struct joiner *j, uintptr_t lo, uintptr_t hi)
{
    if (sv_proc_swap_used())
        return joiner_add(j, lo, hi, SV_PAGES_DOUBTFUL);
    return resident_each(lo, hi, j->stale, doubtful_piece, j);
}

// ---- PAGEMAP_SCAN -------------------------------------------------------------------------------

static _Atomic bool guard_unknown; // the kernel is older than SCAN_GUARD; set once, never cleared

static int scan_batch(int fd, struct scan_arg *arg, bool file)
{
    bool guard = !atomic_load_explicit(&guard_unknown, memory_order_relaxed);
    uint64_t without = SCAN_ZERO | (file ? SCAN_FILE : 0) | (guard ? SCAN_GUARD : 0);
    arg->category_inverted = without;
    arg->category_mask = without;
    long got = sv_proc_ioctl(fd, SCAN_CALL, arg);
    if (got != -EINVAL || !guard)
        return (int)got;
    arg->category_inverted = arg->category_mask = without & ~(uint64_t)SCAN_GUARD;
    got = sv_proc_ioctl(fd, SCAN_CALL, arg);
    if (got >= 0)
        atomic_store_explicit(&guard_unknown, true, memory_order_relaxed);
    return (int)got;
}

// Returns 1 when the kernel has no such call, before any run was delivered.
static int scan_each(struct joiner *j, int fd, uintptr_t lo, uintptr_t hi, bool file)
{
    struct scan_region regions[REGIONS];
    struct scan_arg arg = {.size = sizeof arg,
                           .start = lo,
                           .end = hi,
                           .vec = (uintptr_t)regions,
                           .vec_len = scan_room(lo, hi, REGIONS),
                           .category_anyof_mask = SCAN_PRESENT | SCAN_SWAPPED,
                           .return_mask = SCAN_PRESENT};
    while (arg.start < hi) {
        int got = scan_batch(fd, &arg, file);
        if (got < 0)
            return arg.start == lo ? 1 : got;
        if (arg.walk_end <= arg.start)
            return -EIO;
        for (int i = 0; i < got; i++) {
            const struct scan_region *r = &regions[i];
            int err = r->categories & SCAN_PRESENT
                          ? joiner_add(j, r->start, r->end, SV_PAGES_PRESENT)
                          : absent_add(j, r->start, r->end);
            if (err != 0)
                return err;
        }
        arg.start = arg.walk_end;
    }
    return 0;
}

// ---- the pagemap's entries ----------------------------------------------------------------------

static int entry_add(struct joiner *j, uintptr_t at, uint64_t entry, bool file)
{
    if (!(entry & ENTRY_USED) || (entry & ENTRY_GUARD))
        return 0;
    if (file && (entry & ENTRY_FILE))
        return 0;
    if (entry & ENTRY_PRESENT)
        return joiner_add(j, at, at + SV_HW_PAGE, SV_PAGES_PRESENT);
    return absent_add(j, at, at + SV_HW_PAGE);
}

static int entries_each(struct joiner *j, int fd, uintptr_t lo, uintptr_t hi, bool file)
{
    uint64_t entries[ENTRIES];
    while (lo < hi) {
        size_t n = (hi - lo) / SV_HW_PAGE < ENTRIES ? (hi - lo) / SV_HW_PAGE : ENTRIES;
        long got = sv_proc_pread(fd, entries, n * sizeof *entries,
                                 (uint64_t)(lo / SV_HW_PAGE * sizeof *entries));
        if (got < (long)sizeof *entries)
            return got < 0 ? (int)got : -EIO;
        n = (size_t)got / sizeof *entries;
        for (size_t i = 0; i < n; i++) {
            int err = entry_add(j, lo + i * SV_HW_PAGE, entries[i], file);
            if (err != 0)
                return err;
        }
        lo += n * SV_HW_PAGE;
    }
    return 0;
}

// ---- by mapping ---------------------------------------------------------------------------------

static int private_each(struct joiner *j, const struct sv_pages *pages, uintptr_t lo, uintptr_t hi,
                        bool file)
{
    if (pages->pagemap_fd >= 0) {
        int err = scan_each(j, pages->pagemap_fd, lo, hi, file);
        return err == 1 ? entries_each(j, pages->pagemap_fd, lo, hi, file) : err;
    }
    if (!file)
        return absent_add(j, lo, hi);
    return joiner_add(j, lo, hi, SV_PAGES_DOUBTFUL); // mincore would speak of the file's pages
}

struct shared_walk {
    struct joiner *out;
    int pagemap_fd;
    uintptr_t at; // up to here everything is delivered
};

static int shared_present(void *arg, uintptr_t lo, uintptr_t hi, enum sv_pages_how how)
{
    struct shared_walk *w = arg;
    int err = w->at < lo ? joiner_add(w->out, w->at, lo, SV_PAGES_DOUBTFUL) : 0;
    w->at = hi;
    return err != 0 ? err : joiner_add(w->out, lo, hi, how);
}

// A run that mincore reports as resident. It does so too for files that the process may not write,
// so only what the page table has is certain.
static int shared_piece(void *arg, uintptr_t lo, uintptr_t hi)
{
    struct shared_walk *w = arg;
    struct joiner present = {.stale = w->out->stale, .fn = shared_present, .arg = w};
    w->at = lo;
    if (w->pagemap_fd >= 0) {
        int err = scan_each(&present, w->pagemap_fd, lo, hi, false);
        if (err == 1)
            err = entries_each(&present, w->pagemap_fd, lo, hi, false);
        if (err == 0)
            err = joiner_flush(&present);
        if (err != 0)
            return err;
    }
    return w->at < hi ? joiner_add(w->out, w->at, hi, SV_PAGES_DOUBTFUL) : 0;
}

int sv_pages_runs(const struct sv_pages *pages, uintptr_t lo, uintptr_t hi, uint32_t flags,
                  sv_pages_fn *fn, void *arg)
{
    struct joiner j = {.stale = flags & SV_PAGES_STALE, .fn = fn, .arg = arg};
    lo &= ~(SV_HW_PAGE - 1);
    hi = (hi + SV_HW_PAGE - 1) & ~(SV_HW_PAGE - 1);
    int err;
    if (flags & SV_MAP_SHARED) {
        struct shared_walk w = {.out = &j, .pagemap_fd = pages->pagemap_fd};
        err = resident_each(lo, hi, j.stale, shared_piece, &w);
    } else {
        err = private_each(&j, pages, lo, hi, flags & SV_MAP_FILE);
    }
    return err != 0 ? err : joiner_flush(&j);
}

bool sv_pages_many(const struct sv_pages *pages)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0) & ~(SV_HW_PAGE - 1);
    struct scan_region region;
    struct scan_arg arg = {.size = sizeof arg,
                           .start = here,
                           .end = here + SV_HW_PAGE,
                           .vec = (uintptr_t)&region,
                           .vec_len = 1,
                           .category_anyof_mask = SCAN_PRESENT,
                           .return_mask = SCAN_PRESENT};
    return pages->pagemap_fd >= 0 && scan_batch(pages->pagemap_fd, &arg, false) >= 0;
}

struct each_arg {
    sv_range_fn *fn;
    void *arg;
};

static int each_run(void *arg, uintptr_t lo, uintptr_t hi, enum sv_pages_how how)
{
    const struct each_arg *each = arg;
    (void)how;
    each->fn(each->arg, lo, hi);
    return 0;
}

int sv_pages_each(const struct sv_pages *pages, uintptr_t lo, uintptr_t hi, uint32_t flags,
                  sv_range_fn *fn, void *arg)
{
    struct each_arg each = {fn, arg};
    return sv_pages_runs(pages, lo, hi, flags, each_run, &each);
}
