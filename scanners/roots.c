// The process's own memory as roots: which mappings count, which bytes of them, and how each is
// read.
//
// A mapping is judged by its flags, its pages by pages.c, and what the caller excludes is cut out
// to the byte. What is left is offered in place when a load is harmless: the mapping is readable
// and the page is present. Everything else is copied first, through /proc/self/mem where that is
// open, since it reads PROT_NONE too and fails with an error where a load would be a fatal signal
// (a guard page, a page behind the end of a truncated file). Without it process_vm_readv does for
// readable mappings.
//
// A page that cannot be copied is no root only when that proves that the program cannot read it
// either: a doubtful page of a readable private mapping, refused with the error that stands for a
// fault. Any other failure means that a pointer may have been missed, so the answer is an error,
// and the caller doesn't reclaim. An unreadable mapping with pages present and no /proc/self/mem is
// such a case, guard pages of stacks not excepted when somebody wrote them; those that nobody wrote
// have no page.
//
// A word at a mapping's present page is offered once. Never read: devices, whose registers may act
// on a read, and the kernel's own pages. Not covered: memory behind a protection key that the
// calling thread has disabled, which the listing doesn't show; the caller allows all keys (PKRU)
// for the walk.
#include "kernel.h"
#include "pages.h"
#include "proc.h"
#include "scanners.h"

#include <errno.h>

// A word that begins in one piece and ends in the next is seen whole in the first, by this much
// more.
enum { PIECE = 64 << 10, OVERLAP = sizeof(uintptr_t) - 1, BOUNCE_SIZE = PIECE + 4096 };

struct walk {
    const struct sv_roots_in *in;
    struct sv_mapping own; // the listing's memory, excluded as well
    size_t cursor;         // into in->exclude: what lies before it is behind us
    uint32_t flags;        // of the mapping at hand
    uintptr_t lo, hi;      // the part of it at hand
    char *bounce;          // BOUNCE_SIZE bytes, or NULL until needed
    sv_range_fn *fn;
    void *arg;
};

// ---- copying ------------------------------------------------------------------------------------

// Returns how many bytes from `at` on were copied, at least 1; 0 when the page at `at` holds
// nothing that the program could read; or -errno.
static long bytes_copy(const struct walk *w, void *to, uintptr_t at, size_t n)
{
    bool readable = w->flags & SV_MAP_READ, shared = w->flags & SV_MAP_SHARED;
    int fd = w->in->pages->mem_fd;
    long fault, got;
    if (fd >= 0) {
        got = sv_proc_pread(fd, to, n, at);
        fault = -EIO;
    } else if (readable) {
        got = sv_proc_copy(to, at, n);
        fault = -EFAULT;
    } else {
        return -EACCES;
    }
    if (got > 0)
        return got;
    return got == fault && readable && !shared ? 0 : -EACCES;
}

// Offers a copy of [lo, hi), piece by piece. A piece begins at the same offset from a word's
// boundary as what it is a copy of.
static int copy_offer(struct walk *w, uintptr_t lo, uintptr_t hi, enum sv_pages_how how)
{
    if (!w->bounce)
        w->bounce = sv_proc_map(BOUNCE_SIZE);
    if (!w->bounce)
        return -ENOMEM;
    while (lo < hi) {
        size_t piece = PIECE - lo % PIECE;
        piece = piece < hi - lo ? piece : hi - lo;
        size_t n = hi - lo - piece < OVERLAP ? hi - lo : piece + OVERLAP;
        char *to = w->bounce + lo % sizeof(uintptr_t);
        long got = bytes_copy(w, to, lo, n);
        if (got < 0 || (got == 0 && how == SV_PAGES_PRESENT))
            return -EACCES;
        if (got > 0)
            w->fn(w->arg, (uintptr_t)to, (uintptr_t)to + (size_t)got);
        size_t page = SV_HW_PAGE - lo % SV_HW_PAGE; // a copy ends early at a page that has nothing
        size_t step = got == 0 ? page : (size_t)got < piece ? (size_t)got : piece;
        lo += step < hi - lo ? step : hi - lo;
    }
    return 0;
}

static int run_offer(void *arg, uintptr_t lo, uintptr_t hi, enum sv_pages_how how)
{
    struct walk *w = arg;
    lo = lo > w->lo ? lo : w->lo;
    hi = hi < w->hi ? hi : w->hi;
    if (lo >= hi)
        return 0;
    if (how == SV_PAGES_PRESENT && (w->flags & SV_MAP_READ)) {
        w->fn(w->arg, lo, hi);
        return 0;
    }
    return copy_offer(w, lo, hi, how);
}

// ---- cutting out --------------------------------------------------------------------------------

// The exclusion that begins first of those that end behind `lo`; empty and at the end of memory
// when there is none. `lo` never goes back within a walk.
static struct sv_mapping exclusion_next(struct walk *w, uintptr_t lo)
{
    const struct sv_mapping *v = w->in->exclude;
    struct sv_mapping next = {UINTPTR_MAX, UINTPTR_MAX, 0};
    while (w->cursor < w->in->nexclude && v[w->cursor].hi <= lo)
        w->cursor++;
    if (w->cursor < w->in->nexclude)
        next = v[w->cursor];
    if (w->own.hi > lo && w->own.lo < next.lo)
        next = w->own;
    for (size_t i = 0; i < SV_KERNEL_SEGMENTS; i++) {
        struct sv_mapping own = sv_kernel_own(i);
        if (own.hi > lo && own.lo < next.lo)
            next = own;
    }
    return next;
}

static int mapping_offer(struct walk *w, const struct sv_mapping *m)
{
    uintptr_t lo = m->lo;
    while (lo < m->hi) {
        struct sv_mapping out = exclusion_next(w, lo);
        if (out.lo > lo) {
            w->flags = m->flags;
            w->lo = lo;
            w->hi = out.lo < m->hi ? out.lo : m->hi;
            int err = sv_pages_runs(w->in->pages, w->lo, w->hi, m->flags, run_offer, w);
            if (err != 0)
                return err;
        }
        lo = out.hi;
    }
    return 0;
}

// ---- which mappings -----------------------------------------------------------------------------

// What kinds of root a mapping belongs to (SV_ROOTS_*); it counts when any of them is wanted.
// `after_data`: it begins where a private file mapping, or that mapping's bss, ends.
static unsigned mapping_kinds(const struct sv_mapping *m, bool after_data)
{
    if (m->flags & (SV_MAP_KERNEL | SV_MAP_DEVICE))
        return 0;
    if (m->flags & SV_MAP_SHARED) // of a file that the program only reads, nothing is its own
        return m->flags & (SV_MAP_WRITE | SV_MAP_ANON) ? SV_ROOTS_SHARED : 0;
    if (m->flags & SV_MAP_FILE)
        return SV_ROOTS_DATA;
    if (m->flags & SV_MAP_STACK)
        return SV_ROOTS_STACKS;
    return after_data ? SV_ROOTS_MMAP | SV_ROOTS_DATA : SV_ROOTS_MMAP;
}

static int mappings_walk(struct walk *w)
{
    const struct sv_maps *maps = w->in->maps;
    uintptr_t data_end = 0;
    for (size_t i = 0; i < maps->n; i++) {
        const struct sv_mapping *m = &maps->v[i];
        unsigned kinds = mapping_kinds(m, m->lo == data_end);
        if (kinds & SV_ROOTS_DATA)
            data_end = m->hi;
        int err = kinds & w->in->which ? mapping_offer(w, m) : 0;
        if (err != 0)
            return err;
    }
    return 0;
}

// World stopped; one walk at a time is not needed, the walk keeps all its state on the stack. After
// an error only part of the roots has been offered.
int sv_roots_each(const struct sv_roots_in *in, sv_range_fn *fn, void *arg)
{
    struct walk w = {.in = in, .own = sv_maps_own(in->maps), .fn = fn, .arg = arg};
    int err = sv_pages_check(in->pages);
    if (err == 0)
        err = mappings_walk(&w);
    if (w.bounce)
        sv_proc_unmap(w.bounce, BOUNCE_SIZE);
    if (err == 0 && (in->which & SV_ROOTS_KERNEL))
        sv_kernel_each(fn, arg);
    return err;
}
