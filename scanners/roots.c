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
//
// While the program runs, all of this may be unmapped, protected or truncated at any instruction.
// Then everything is read as a copy, and what can't be read is told to the caller, who asks again
// with the world stopped. Only /proc/self/mem serves: for process_vm_readv, memory that was made
// unreadable looks like memory that is gone.
//
// Questions cost more than answers: a system call for each of a thousand mappings is a long stop.
// So the parts of mappings that count, the windows, are gathered in groups, and the kernel is asked
// about a whole group, with what lies between its members. Stacks are no members of one group: a
// page table that holds little takes the kernel longer to look through than to be asked again.
// Pages written come from the caller's
// function, by group; then pages.c is asked about them, as far as they lie close together.
#include "kernel.h"
#include "pages.h"
#include "proc.h"
#include "scanners.h"

#include <errno.h>

// A word that begins in one piece and ends in the next is seen whole in the first, by this much
// more.
enum { PIECE = 64 << 10, OVERLAP = sizeof(uintptr_t) - 1, BOUNCE_SIZE = PIECE + 4096 };

// Members of a group, and how many bytes between two of them may be in memory for nothing: looking
// at their page table entries takes as long as another system call.
enum { GROUP_MAX = 32, GROUP_GAP = 256 << 10 };

// A range inside one mapping that counts.
struct window {
    uintptr_t lo, hi;
    uintptr_t at;      // how many bytes before it, in this walk, may be in memory
    uintptr_t mapping; // the mapping's first byte
    uint32_t flags;    // the mapping's
};

struct group {
    size_t n;
    struct window v[GROUP_MAX]; // ascending
};

static uintptr_t window_gap(const struct window *before, const struct window *next)
{
    return next->at - (before->at + (before->hi - before->lo));
}

struct walk {
    const struct sv_roots_in *in;
    struct sv_mapping own[SV_KERNEL_SEGMENTS + 1]; // memory of this layer, excluded as well
    size_t nown;
    size_t cursor;        // into in->exclude: what lies before it is behind us
    uintptr_t at;         // bytes so far that may be in memory
    bool many;            // a group may have more than one member
    struct group windows; // waiting to be asked for written pages
    struct group pieces;  // waiting to be read, private unless it is alone
    size_t window;        // into windows: those before it are behind the written pages
    uintptr_t told;       // end of the written pages so far, in this group
    uintptr_t asked;      // end of what was asked about so far, in all groups
    int err;              // of a callback that can't return it
    char *bounce;         // BOUNCE_SIZE bytes, or NULL until needed
    sv_roots_fn *fn;
    void *arg;
};

// ---- copying ------------------------------------------------------------------------------------

// Returns how many bytes from `at` on were copied, at least 1; 0 when the page at `at` holds
// nothing that the program could read; or -errno.
static long bytes_copy(const struct walk *w, void *to, uintptr_t at, size_t n, uint32_t flags)
{
    bool readable = flags & SV_MAP_READ, shared = flags & SV_MAP_SHARED;
    int fd = w->in->pages->mem_fd;
    long fault, got;
    if (fd >= 0) {
        got = sv_proc_pread(fd, to, n, at);
        fault = -EIO;
    } else if (readable && !w->in->running) {
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
static int copy_offer(struct walk *w, uintptr_t lo, uintptr_t hi, uint32_t flags,
                      enum sv_pages_how how)
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
        long got = bytes_copy(w, to, lo, n, flags);
        if (!w->in->running && (got < 0 || (got == 0 && how == SV_PAGES_PRESENT)))
            return -EACCES;
        size_t page = SV_HW_PAGE - lo % SV_HW_PAGE; // a copy ends early at a page that has nothing
        size_t step = got <= 0 ? page : (size_t)got < piece ? (size_t)got : piece;
        step = step < hi - lo ? step : hi - lo;
        if (got > 0)
            w->fn(w->arg, (uintptr_t)to, (uintptr_t)to + (size_t)got, flags);
        else if (w->in->running)
            w->in->missed(w->arg, lo, lo + step);
        lo += step;
    }
    return 0;
}

static int run_offer(struct walk *w, uintptr_t lo, uintptr_t hi, uint32_t flags,
                     enum sv_pages_how how)
{
    if (w->in->running || how != SV_PAGES_PRESENT || !(flags & SV_MAP_READ))
        return copy_offer(w, lo, hi, flags, how);
    w->fn(w->arg, lo, hi, flags);
    return 0;
}

// ---- pieces: what is to be read -----------------------------------------------------------------

struct pieces_read {
    struct walk *w;
    size_t at; // the first piece that does not lie before the run
};

static int pieces_run(void *arg, uintptr_t lo, uintptr_t hi, enum sv_pages_how how)
{
    struct pieces_read *r = arg;
    const struct group *g = &r->w->pieces;
    while (r->at < g->n && g->v[r->at].hi <= lo)
        r->at++;
    for (size_t i = r->at; i < g->n && g->v[i].lo < hi; i++) {
        const struct window *p = &g->v[i];
        int err = run_offer(r->w, p->lo > lo ? p->lo : lo, p->hi < hi ? p->hi : hi, p->flags, how);
        if (err != 0)
            return err;
    }
    return 0;
}

static int pieces_flush(struct walk *w)
{
    struct group *g = &w->pieces;
    if (g->n == 0)
        return 0;
    struct pieces_read r = {w, 0};
    uint32_t flags = g->n > 1 ? SV_MAP_FILE : g->v[0].flags;
    int err = sv_pages_runs(w->in->pages, g->v[0].lo, g->v[g->n - 1].hi,
                            flags | (w->in->running ? SV_PAGES_STALE : 0), pieces_run, &r);
    g->n = 0;
    return err;
}

static int piece_add(struct walk *w, const struct window *piece)
{
    struct group *g = &w->pieces;
    bool joins = w->many && g->n && g->n < GROUP_MAX && !(piece->flags & SV_MAP_SHARED) &&
                 !(g->v[0].flags & SV_MAP_SHARED) &&
                 window_gap(&g->v[g->n - 1], piece) <= GROUP_GAP;
    int err = joins ? 0 : pieces_flush(w);
    g->v[g->n++] = *piece;
    return err;
}

// ---- windows, asked for written pages -----------------------------------------------------------

// [lo, hi) of a window was written. Words that begin before it or end behind it were changed too.
static int written_add(struct walk *w, const struct window *window, uintptr_t lo, uintptr_t hi)
{
    struct group *g = &w->pieces;
    struct window piece = {lo - window->lo > OVERLAP ? lo - OVERLAP : window->lo,
                           window->hi - hi > OVERLAP ? hi + OVERLAP : window->hi, 0,
                           window->mapping, window->flags};
    piece.at = window->at + (piece.lo - window->lo);
    struct window *last = g->n ? &g->v[g->n - 1] : NULL;
    if (last && last->hi >= piece.lo && last->hi > window->lo) {
        last->hi = piece.hi > last->hi ? piece.hi : last->hi;
        return 0;
    }
    return piece_add(w, &piece);
}

static void written_run(void *arg, uintptr_t lo, uintptr_t hi)
{
    struct walk *w = arg;
    const struct group *g = &w->windows;
    if (lo < w->told && w->err == 0)
        w->err = -EBADMSG; // they have to ascend
    w->told = hi;
    while (w->window < g->n && g->v[w->window].hi <= lo)
        w->window++;
    for (size_t i = w->window; i < g->n && g->v[i].lo < hi && w->err == 0; i++) {
        const struct window *v = &g->v[i];
        w->err = written_add(w, v, v->lo > lo ? v->lo : lo, v->hi < hi ? v->hi : hi);
    }
}

static int windows_flush(struct walk *w)
{
    struct group *g = &w->windows;
    if (g->n == 0)
        return 0;
    bool last_told = w->told >= w->asked;
    w->window = 0;
    w->told = 0;
    uintptr_t lo = g->v[0].lo & ~(SV_HW_PAGE - 1);
    uintptr_t hi = (g->v[g->n - 1].hi + SV_HW_PAGE - 1) & ~(SV_HW_PAGE - 1);
    if (lo < w->asked) { // a page of the last group's too: that has had the answer
        if (last_told)
            written_run(w, lo, w->asked);
        lo = w->asked;
    }
    int err = lo < hi ? w->in->written(w->in->written_arg, lo, hi, written_run, w) : 0;
    w->asked = hi;
    g->n = 0;
    return err != 0 ? err : w->err;
}

static int window_add(struct walk *w, const struct window *window)
{
    // Shared memory is written in ways that no page table of ours sees: by other processes, by
    // other mappings of it, by write(2); and what leaves the page table takes its note along.
    if (!w->in->written || (window->flags & SV_MAP_SHARED)) {
        int err = windows_flush(w);
        return err != 0 ? err : piece_add(w, window);
    }
    struct group *g = &w->windows;
    // without gaps: what lies between may never have been watched, and then all is told as written
    const struct window *last = g->n ? &g->v[g->n - 1] : NULL;
    bool joins = last && g->n < GROUP_MAX &&
                 (last->hi == window->lo ||
                  (last->mapping == window->mapping && window_gap(last, window) <= GROUP_GAP));
    int err = joins ? 0 : windows_flush(w);
    g->v[g->n++] = *window;
    return err;
}

// ---- windows, found -----------------------------------------------------------------------------

static void own_list(struct walk *w)
{
    struct sv_mapping own = sv_maps_own(w->in->maps);
    for (size_t i = 0; i <= SV_KERNEL_SEGMENTS; i++) {
        if (own.lo < own.hi)
            w->own[w->nown++] = own;
        if (i < SV_KERNEL_SEGMENTS)
            own = sv_kernel_own(i);
    }
}

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
    for (size_t i = 0; i < w->nown; i++)
        if (w->own[i].hi > lo && w->own[i].lo < next.lo)
            next = w->own[i];
    return next;
}

// Calls fn for the windows of a mapping.
static int mapping_windows(struct walk *w, const struct sv_mapping *m,
                           int (*fn)(struct walk *, const struct window *))
{
    uintptr_t lo = m->lo;
    while (lo < m->hi) {
        struct sv_mapping out = exclusion_next(w, lo);
        uintptr_t end = out.lo < m->hi ? out.lo : m->hi;
        if (end > lo) {
            struct window window = {lo, end, w->at, m->lo, m->flags};
            w->at += end - lo;
            int err = fn(w, &window);
            if (err != 0)
                return err;
            lo = end;
        }
        end = out.hi < m->hi ? out.hi : m->hi;
        if (end > lo) {
            w->at += end - lo;
            lo = end;
        }
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

static int windows_each(struct walk *w, int (*fn)(struct walk *, const struct window *))
{
    const struct sv_maps *maps = w->in->maps;
    uintptr_t data_end = 0;
    int err = 0;
    own_list(w);
    for (size_t i = 0; i < maps->n && err == 0; i++) {
        const struct sv_mapping *m = &maps->v[i];
        unsigned kinds = mapping_kinds(m, m->lo == data_end);
        if (kinds & SV_ROOTS_DATA)
            data_end = m->hi;
        if (kinds & w->in->which)
            err = mapping_windows(w, m, fn);
        else
            w->at += m->hi - m->lo;
    }
    return err;
}

// ---- the face -----------------------------------------------------------------------------------

static void kernel_offer(void *arg, uintptr_t lo, uintptr_t hi)
{
    struct walk *w = arg;
    w->fn(w->arg, lo, hi, SV_MAP_READ | SV_MAP_WRITE);
}

// After an error only part of the roots has been offered. The walk keeps all its state on the
// stack.
int sv_roots_each(const struct sv_roots_in *in, sv_roots_fn *fn, void *arg)
{
    struct walk w = {.in = in, .fn = fn, .arg = arg};
    if (sv_pages_check(in->pages) != 0)
        return -EBADF;
    if (in->running && in->pages->mem_fd < 0)
        return -EACCES;
    w.many = sv_pages_many(in->pages);
    int err = windows_each(&w, window_add);
    if (err == 0)
        err = windows_flush(&w);
    if (err == 0)
        err = pieces_flush(&w);
    if (w.bounce)
        sv_proc_unmap(w.bounce, BOUNCE_SIZE);
    if (err == 0 && (in->which & SV_ROOTS_KERNEL))
        sv_kernel_each(kernel_offer, &w);
    return err;
}

static int window_tell(struct walk *w, const struct window *window)
{
    w->fn(w->arg, window->lo, window->hi, window->flags);
    return 0;
}

void sv_roots_windows(const struct sv_roots_in *in, sv_roots_fn *fn, void *arg)
{
    struct walk w = {.in = in, .fn = fn, .arg = arg};
    windows_each(&w, window_tell);
}
