// The page allocator against a plain model: one byte a page, searched page by page. Every answer
// must be the model's, which is to say the lowest address that fits, and the tree must agree with
// the bits.
#include "pagealloc.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { USED, DIRTY, CLEAN };

// A part of the region that the model knows; pages outside of all windows are never given.
struct window {
    uint32_t base, n;
    unsigned char *state;
};

struct model {
    struct window *windows; // by address, with at least one page between two
    uint32_t nwindows;
    uint32_t nfree, ndirty;
};

static uint64_t rng = 1;

static uint32_t random_below(uint32_t n)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)((rng >> 20) % n);
}

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

// Small numbers often, numbers up to n sometimes.
static uint32_t random_length(uint32_t n)
{
    static const uint32_t limits[] = {1, 16, 16, 70, 600, 5000, UINT32_MAX};
    return 1 + random_below(smaller(n, limits[random_below(7)]));
}

static void *tables_map(size_t bytes)
{
    void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    cr_assert(mem != MAP_FAILED);
    return mem;
}

// ---- the model ----------------------------------------------------------------------------------

static uint32_t model_find(const struct model *m, uint32_t n, uint32_t align)
{
    for (uint32_t k = 0; k < m->nwindows; k++) {
        const struct window *w = &m->windows[k];
        uint32_t run = 0; // free pages before i, counted from an aligned one
        for (uint32_t i = 0; i < w->n; i++) {
            if (w->state[i] == USED)
                run = 0;
            else if (run > 0 || (w->base + i) % align == 0)
                run++;
            if (run == n)
                return w->base + i + 1 - n;
            // A run that began at an aligned page only grows until it is long enough or broken, and
            // if it is broken so is every later start before the break.
        }
    }
    return SV_NOPAGE;
}

static unsigned char *model_state(const struct model *m, uint32_t page)
{
    for (uint32_t k = 0; k < m->nwindows; k++)
        if (page >= m->windows[k].base && page - m->windows[k].base < m->windows[k].n)
            return &m->windows[k].state[page - m->windows[k].base];
    return NULL;
}

static bool model_free(const struct model *m, uint32_t page, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const unsigned char *state = model_state(m, page + i);
        if (state == NULL || *state == USED)
            return false;
    }
    return true;
}

static bool model_clean(const struct model *m, uint32_t page, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (*model_state(m, page + i) != CLEAN)
            return false;
    return true;
}

static void model_set(struct model *m, uint32_t page, uint32_t n, unsigned char to)
{
    for (uint32_t i = 0; i < n; i++) {
        unsigned char *state = model_state(m, page + i);
        m->nfree += (to != USED) - (*state != USED);
        m->ndirty += (to == DIRTY) - (*state == DIRTY);
        *state = to;
    }
}

static uint32_t model_find_dirty(const struct model *m, uint32_t below, uint32_t max, uint32_t *n)
{
    for (uint32_t k = m->nwindows; k-- > 0;) {
        const struct window *w = &m->windows[k];
        if (below <= w->base)
            continue;
        for (uint32_t top = smaller(w->n, below - w->base); top > 0; top--) {
            *n = 0;
            while (*n < max && *n < top && w->state[top - 1 - *n] == DIRTY)
                ++*n;
            if (*n == 0)
                continue;
            uint32_t first = w->base + top - *n, huge = first / SV_HUGE_PAGES * SV_HUGE_PAGES;
            bool whole = *n == max && huge >= w->base && huge + SV_HUGE_PAGES <= w->base + top;
            for (uint32_t i = huge; whole && i < first; i++)
                whole = w->state[i - w->base] == DIRTY;
            *n += whole ? first - huge : 0;
            return w->base + top - *n;
        }
    }
    return SV_NOPAGE;
}

// ---- random steps -------------------------------------------------------------------------------

static uint32_t page_choose(const struct model *m, const struct window **in)
{
    const struct window *w = &m->windows[random_below(m->nwindows)];
    *in = w;
    return w->base + random_below(w->n);
}

static void step_take(struct sv_pagealloc *pa, struct model *m)
{
    uint32_t n = random_length(pa->npages);
    uint32_t align = random_below(3) == 0 ? 1u << random_below(14) : 1;
    bool clean = false;
    uint32_t want = model_find(m, n, align);
    uint32_t page = sv_pagealloc_take(pa, n, align, &clean);
    cr_assert(page == want, "take %u align %u: %u, not %u", n, align, page, want);
    if (page == SV_NOPAGE)
        return;
    cr_assert(clean == model_clean(m, page, n), "clean of %u + %u", page, n);
    model_set(m, page, n, USED);
}

static void step_take_at(struct sv_pagealloc *pa, struct model *m)
{
    const struct window *w;
    uint32_t page = page_choose(m, &w);
    uint32_t n = random_length(200);
    bool clean = false;
    bool want = model_free(m, page, n);
    cr_assert(sv_pagealloc_take_at(pa, page, n, &clean) == want, "take %u at %u", n, page);
    if (!want)
        return;
    cr_assert(clean == model_clean(m, page, n), "clean of %u + %u", page, n);
    model_set(m, page, n, USED);
}

// Gives up to a random number of the used pages from a random one on.
static void step_give(struct sv_pagealloc *pa, struct model *m)
{
    const struct window *w;
    uint32_t page = page_choose(m, &w);
    uint32_t most = smaller(random_length(w->n), w->base + w->n - page);
    uint32_t n = 0;
    while (n < most && *model_state(m, page + n) == USED)
        n++;
    if (n == 0)
        return;
    bool clean = random_below(3) == 0;
    sv_pagealloc_give(pa, page, n, clean);
    model_set(m, page, n, clean ? CLEAN : DIRTY);
}

static void step_clean(struct sv_pagealloc *pa, struct model *m)
{
    const struct window *w;
    uint32_t below = page_choose(m, &w) + random_below(2);
    uint32_t max = random_length(3000);
    uint32_t n = 0, want_n = 0;
    if (random_below(4) == 0)
        below = UINT32_MAX;
    uint32_t want = model_find_dirty(m, below, max, &want_n);
    uint32_t page = sv_pagealloc_find_dirty(pa, below, max, &n);
    cr_assert(page == want, "dirty below %u: %u, not %u", below, page, want);
    if (page == SV_NOPAGE)
        return;
    cr_assert(n == want_n, "dirty run at %u below %u: %u, not %u", page, below, n, want_n);
    uint32_t part = random_below(2) ? n : 1 + random_below(n);
    bool clean;
    cr_assert(sv_pagealloc_take_at(pa, page, part, &clean) && !clean);
    sv_pagealloc_give(pa, page, part, true);
    model_set(m, page, part, CLEAN);
}

// What the entry of a block of `size` pages must be: the free runs at its start, anywhere in it,
// and at its end, 21 bits each from the lowest; the top bit alone stands for 2^21 in all three.
static uint64_t sum_expect(const struct window *w, uint32_t page, uint32_t size)
{
    uint64_t start = UINT64_MAX, max = 0, run = 0;
    for (uint32_t i = page; i < page + size; i++) {
        bool is_free = i < w->n && w->state[i] != USED;
        if (!is_free && start == UINT64_MAX)
            start = run;
        run = is_free ? run + 1 : 0;
        max = run > max ? run : max;
    }
    if (start == UINT64_MAX)
        start = run;
    return max == 1u << 21 ? (uint64_t)1 << 63 : start | max << 21 | run << 42;
}

// Of a region that one window covers.
static void sums_compare(const struct sv_pagealloc *pa, const struct window *w)
{
    for (uint32_t level = 0; level < SV_PAGEALLOC_LEVELS; level++) {
        uint32_t size = 512u << 3 * (SV_PAGEALLOC_LEVELS - 1 - level);
        cr_assert(pa->nsum[level] == (w->n + size - 1) / size);
        for (uint32_t i = 0; i < pa->nsum[level]; i++)
            cr_assert(pa->sum[level][i] == sum_expect(w, i * size, size), "sum %u of level %u", i,
                      level);
    }
}

static void state_compare(const struct sv_pagealloc *pa, const struct model *m)
{
    sv_pagealloc_check(pa);
    cr_assert(pa->nfree == m->nfree, "free: %u, not %u", pa->nfree, m->nfree);
    cr_assert(pa->ndirty == m->ndirty, "dirty: %u, not %u", pa->ndirty, m->ndirty);
    if (m->nwindows == 1)
        sums_compare(pa, &m->windows[0]);
    for (uint32_t k = 0; k < m->nwindows; k++) {
        const struct window *w = &m->windows[k];
        for (uint32_t i = 0; i < w->n; i++) {
            uint32_t page = w->base + i;
            bool is_free = pa->free[page / 64] >> page % 64 & 1;
            bool is_clean = pa->clean[page / 64] >> page % 64 & 1;
            cr_assert(is_free == (w->state[i] != USED), "free bit of %u", page);
            cr_assert(is_clean == (w->state[i] == CLEAN), "clean bit of %u", page);
        }
    }
}

static void steps_run(struct sv_pagealloc *pa, struct model *m, int steps)
{
    for (int i = 0; i < steps; i++) {
        // Phases of mostly taking and mostly giving, so that the region is now full, now empty.
        uint32_t takes = i / 250 % 2 ? 12 : 5;
        uint32_t what = random_below(20);
        if (what < takes)
            step_take(pa, m);
        else if (what < 14)
            step_give(pa, m);
        else if (what < 16)
            step_take_at(pa, m);
        else
            step_clean(pa, m);
        if (i % 16 == 0)
            sv_pagealloc_check(pa);
        if (i % 128 == 0)
            state_compare(pa, m);
    }
    state_compare(pa, m);
}

// ---- tests --------------------------------------------------------------------------------------

static void region_run(uint32_t npages, int steps)
{
    size_t bytes = sv_pagealloc_bytes(npages);
    void *mem = tables_map(bytes);
    struct sv_pagealloc pa;
    struct window window = {0, npages, calloc(npages, 1)};
    struct model m = {&window, 1, 0, 0};
    rng = 0x9e3779b97f4a7c15u + npages;
    sv_pagealloc_init(&pa, mem, npages);
    cr_assert(pa.npages == npages);
    steps_run(&pa, &m, steps);
    free(window.state);
    munmap(mem, bytes);
}

Test(pagealloc, follows_model_in_small_regions)
{
    static const uint32_t sizes[] = {1, 2, 63, 64, 65, 511, 512, 513, 1000, 4095, 4096, 4097};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        region_run(sizes[i], 3000);
}

Test(pagealloc, follows_model_in_larger_regions)
{
    region_run(32768, 2000);
    region_run(40001, 2000);
    region_run(300007, 500);
    region_run((1u << 21) + 4099, 150);
}

// Pages resident of a mapping, in pages of the kernel.
static size_t resident_count(void *mem, size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t n = (bytes + page - 1) / page, count = 0;
    unsigned char *seen = malloc(n);
    cr_assert(mincore(mem, bytes, seen) == 0);
    for (size_t i = 0; i < n; i++)
        count += seen[i] & 1;
    free(seen);
    return count;
}

#define WINDOWS 7
#define WINDOW_PAGES 3000

// A region of 1 TiB of which a few windows are used: at both ends, and across the borders of blocks
// of every level. The tables elsewhere must stay untouched.
Test(pagealloc, follows_model_in_sparse_region)
{
    uint32_t npages = 1u << 27;
    size_t bytes = sv_pagealloc_bytes(npages);
    void *mem = tables_map(bytes);
    struct sv_pagealloc pa;
    sv_pagealloc_init(&pa, mem, npages);
    cr_assert(resident_count(mem, bytes) == 0, "init touches the tables");

    static const uint32_t borders[WINDOWS - 2] = {1u << 12, 1u << 15, 1u << 18, 1u << 21, 5u << 21};
    static unsigned char state[WINDOWS][WINDOW_PAGES];
    struct window windows[WINDOWS];
    for (uint32_t k = 0; k < WINDOWS; k++)
        windows[k] = (struct window){0, WINDOW_PAGES, state[k]};
    for (uint32_t k = 0; k < WINDOWS - 2; k++)
        windows[k + 1].base = borders[k] - WINDOW_PAGES / 3;
    windows[WINDOWS - 1].base = npages - WINDOW_PAGES;
    struct model m = {windows, WINDOWS, 0, 0};
    rng = 88172645463325252u;
    steps_run(&pa, &m, 4000);
    // A window's part of a bitmap or a level is less than a page of it, so in two pages at most.
    // Reading counts as well.
    cr_assert(resident_count(mem, bytes) <= WINDOWS * 2 * (2 + SV_PAGEALLOC_LEVELS));
    munmap(mem, bytes);
}

// Runs longer than a root entry, and root entries that are wholly free, which have a code of their
// own.
Test(pagealloc, joins_root_entries)
{
    uint32_t block = 1u << 21;
    uint32_t npages = 6 * block + 77;
    size_t bytes = sv_pagealloc_bytes(npages);
    void *mem = tables_map(bytes);
    struct sv_pagealloc pa;
    bool clean = false;
    sv_pagealloc_init(&pa, mem, npages);
    sv_pagealloc_give(&pa, 1, npages - 1, true);
    sv_pagealloc_check(&pa);
    cr_assert(sv_pagealloc_take(&pa, npages, 1, &clean) == SV_NOPAGE);
    cr_assert(sv_pagealloc_take(&pa, npages - 1, 1, &clean) == 1 && clean);
    sv_pagealloc_check(&pa);
    cr_assert(pa.nfree == 0);
    sv_pagealloc_give(&pa, 1, npages - 1, true);

    cr_assert(sv_pagealloc_take_at(&pa, block - 2, 1, &clean));
    cr_assert(sv_pagealloc_take(&pa, 3 * block + 1, 1, &clean) == block - 1);
    cr_assert(sv_pagealloc_take(&pa, block, block, &clean) == 4 * block);
    cr_assert(sv_pagealloc_take(&pa, block, 1, &clean) == 5 * block);
    cr_assert(sv_pagealloc_take(&pa, 1, block, &clean) == 6 * block);
    cr_assert(sv_pagealloc_take(&pa, 1, block, &clean) == SV_NOPAGE);
    cr_assert(sv_pagealloc_take(&pa, block - 3, 1, &clean) == 1);
    cr_assert(sv_pagealloc_take(&pa, block - 1, 1, &clean) == SV_NOPAGE);
    sv_pagealloc_check(&pa);
    munmap(mem, bytes);
}

// First fit with an alignment must not pass over a run too short for n + align - 1 that still fits.
Test(pagealloc, aligned_take_uses_exact_fit)
{
    uint32_t npages = 4096;
    size_t bytes = sv_pagealloc_bytes(npages);
    void *mem = tables_map(bytes);
    struct sv_pagealloc pa;
    bool clean = true;
    sv_pagealloc_init(&pa, mem, npages);
    sv_pagealloc_give(&pa, 1, 127, false);
    sv_pagealloc_give(&pa, 1024, 64, false);
    sv_pagealloc_give(&pa, 2000, 2000, false);
    cr_assert(sv_pagealloc_take(&pa, 64, 64, &clean) == 64 && !clean);
    cr_assert(sv_pagealloc_take(&pa, 64, 64, &clean) == 1024);
    cr_assert(sv_pagealloc_take(&pa, 64, 64, &clean) == 2048);
    cr_assert(sv_pagealloc_take(&pa, 63, 1, &clean) == 1);
    cr_assert(pa.nfree == 2000 - 64 && pa.ndirty == 2000 - 64);
    sv_pagealloc_check(&pa);
    munmap(mem, bytes);
}

// Requests at and beyond the end, of a region whose bitmaps lie back to back.
Test(pagealloc, ends_at_region_end)
{
    uint32_t npages = 4096;
    size_t bytes = sv_pagealloc_bytes(npages);
    void *mem = tables_map(bytes);
    struct sv_pagealloc pa;
    bool clean = true;
    sv_pagealloc_init(&pa, mem, npages);
    cr_assert(sv_pagealloc_take(&pa, 1, 1, &clean) == SV_NOPAGE);
    sv_pagealloc_give(&pa, 0, 2, true);
    sv_pagealloc_give(&pa, 4030, 66, false);
    cr_assert(sv_pagealloc_take(&pa, 66, 64, &clean) == SV_NOPAGE);
    cr_assert(sv_pagealloc_take(&pa, 1, 1u << 31, &clean) == 0);
    cr_assert(sv_pagealloc_take(&pa, 1, 1u << 31, &clean) == SV_NOPAGE);
    cr_assert(sv_pagealloc_take(&pa, UINT32_MAX, 1, &clean) == SV_NOPAGE);
    cr_assert(!sv_pagealloc_take_at(&pa, 4095, 2, &clean));
    cr_assert(!sv_pagealloc_take_at(&pa, 4090, UINT32_MAX - 4085, &clean));
    cr_assert(!sv_pagealloc_take_at(&pa, UINT32_MAX, 1, &clean));
    cr_assert(sv_pagealloc_take(&pa, 66, 2, &clean) == 4030 && !clean);
    cr_assert(sv_pagealloc_take(&pa, 1, 1, &clean) == 1 && clean);
    cr_assert(sv_pagealloc_take(&pa, 1, 1, &clean) == SV_NOPAGE);
    sv_pagealloc_check(&pa);
    munmap(mem, bytes);
}

enum fault {
    FAULT_NONE,
    FAULT_LEAF,
    FAULT_ROOT,
    FAULT_BIT,
    FAULT_CLEAN,
    FAULT_NFREE,
    FAULT_NDIRTY,
    FAULT_SEARCH,
    FAULT_GIVE_FREE,
    FAULT_END
};

static void fault_make(struct sv_pagealloc *pa, enum fault fault)
{
    switch (fault) {
    case FAULT_LEAF:
        pa->sum[SV_PAGEALLOC_LEVELS - 1][0] += 1;
        break;
    case FAULT_ROOT:
        pa->sum[0][0] = 0;
        break;
    case FAULT_BIT:
        pa->free[3000 / 64] |= 1;
        break;
    case FAULT_CLEAN:
        pa->clean[0] |= 1;
        break;
    case FAULT_NFREE:
        pa->nfree++;
        break;
    case FAULT_NDIRTY:
        pa->ndirty--;
        break;
    case FAULT_SEARCH:
        pa->search = 11;
        break;
    case FAULT_GIVE_FREE:
        sv_pagealloc_give(pa, 5, 10, false);
        break;
    case FAULT_NONE:
    case FAULT_END:
        break;
    }
}

// The check finds what it is there for, and wrong calls do not pass.
Test(pagealloc, check_dies_of_each_fault)
{
    uint32_t npages = 5000;
    size_t bytes = sv_pagealloc_bytes(npages);
    for (int fault = FAULT_NONE; fault < FAULT_END; fault++) {
        pid_t pid = fork();
        cr_assert(pid >= 0);
        if (pid == 0) {
            struct sv_pagealloc pa;
            sv_pagealloc_init(&pa, tables_map(bytes), npages);
            sv_pagealloc_give(&pa, 10, 100, false);
            fault_make(&pa, (enum fault)fault);
            sv_pagealloc_check(&pa);
            _exit(0);
        }
        int status;
        cr_assert(waitpid(pid, &status, 0) == pid);
        cr_assert(WIFSIGNALED(status) == (fault != FAULT_NONE), "fault %d", fault);
    }
}
