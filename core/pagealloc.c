// The page allocator: owns the bitmap of free pages, the bitmap of clean ones, and the tree over
// the first that makes address-ordered first fit quick.
//
// A set bit means free (or clean), so that memory that reads as zeroes is an allocator without free
// pages and the tables of an unused region need never be touched. Clean is a subset of free: what
// is taken loses both bits, which leaves one count, free and not clean, to say what still costs
// memory.
//
// A leaf of the tree sums up a chunk of 512 pages, that is eight words or one cache line of bits;
// an entry above sums up eight entries of the level below, again one cache line; the root is as
// long as it has to be. A sum is three numbers of 21 bits in one word: the free run at the block's
// start, the longest one in it, and the one at its end (the scheme of Go's runtime/mpagealloc.go,
// described in golang.org/design/35112-scaling-the-page-allocator). A wholly free root entry is
// 2^21 pages, one more than 21 bits hold, and has the top bit instead. Every level is padded to
// whole groups of eight; bits and entries past the region's end stay zero, hence never free, so
// that no loop over a group has to know where the region ends.
//
// Invariants, all of them tested by sv_pagealloc_check: an entry equals the merger of its children
// and a leaf the runs of its words; clean is a subset of free; nfree and ndirty are the bits'
// counts; no free page lies before `search`.
//
// Never done here: a system call, a lock, a look at the pages themselves.
#include "pagealloc.h"

#define LEAF (SV_PAGEALLOC_LEVELS - 1)
#define CHUNK_SHIFT 9 // log2 of the pages of a leaf
#define CHUNK_WORDS 8
#define FAN_SHIFT 3 // log2 of an entry's children
#define FAN 8
#define RUN_BITS 21
#define RUN_MASK ((1u << RUN_BITS) - 1)
#define SUM_FULL_ROOT ((uint64_t)1 << 63)
#define NPAGES_MAX ((uint32_t)1 << 31) // positions one root entry past the end still fit 32 bits

// The free runs of a block, in pages; all three are the block's size when all of it is free.
struct runs {
    uint32_t start, max, end;
};

static inline void require(bool holds)
{
    if (sv_unlikely(!holds))
        __builtin_trap();
}

static inline uint32_t max_u32(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static inline uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

// log2 of the pages that an entry of `level` covers.
static inline uint32_t level_shift(uint32_t level)
{
    return CHUNK_SHIFT + FAN_SHIFT * (LEAF - level);
}

static inline bool level_aligned(uint32_t level, uint32_t page)
{
    return (page & ((1u << level_shift(level)) - 1)) == 0;
}

// ---- words of bits ------------------------------------------------------------------------------

static inline uint32_t word_first(uint64_t x)
{
    return (uint32_t)__builtin_ctzll(x);
}

static inline uint32_t word_count(uint64_t x)
{
    return (uint32_t)__builtin_popcountll(x);
}

// The set bits at the low end of x, which is not all ones.
static inline uint32_t word_low_run(uint64_t x)
{
    return (uint32_t)__builtin_ctzll(~x);
}

// The set bits at the high end of x, which is not all ones.
static inline uint32_t word_high_run(uint64_t x)
{
    return (uint32_t)__builtin_clzll(~x);
}

// The bits from which n (1..64) bits upward are set. Each step joins runs to twice their length.
static inline uint64_t word_runs(uint64_t x, uint32_t n)
{
    uint32_t left = n - 1;
    for (uint32_t step = 1; left > step; step *= 2) {
        x &= x >> step;
        left -= step;
    }
    return x & (x >> left);
}

// The longest run of x, which is not all ones, if longer than `floor`; else floor.
static inline uint32_t word_longest(uint64_t x, uint32_t floor)
{
    if (floor >= 63)
        return floor;
    for (x = word_runs(x, floor + 1); x != 0; x &= x >> 1)
        floor++;
    return floor;
}

// The bits of word w that stand for pages of [page, end); there is at least one.
static inline uint64_t word_mask(uint32_t w, uint32_t page, uint32_t end)
{
    uint32_t base = w * 64;
    uint64_t mask = ~(uint64_t)0;
    if (base < page)
        mask <<= page - base;
    if (end - base < 64)
        mask &= ~(~(uint64_t)0 << (end - base));
    return mask;
}

// ---- sums ---------------------------------------------------------------------------------------

static inline uint64_t sum_pack(struct runs r)
{
    if (r.max > RUN_MASK)
        return SUM_FULL_ROOT;
    return r.start | (uint64_t)r.max << RUN_BITS | (uint64_t)r.end << 2 * RUN_BITS;
}

// Of any level but the root, where no block is too large for its bits.
static inline struct runs sum_unpack_inner(uint64_t sum)
{
    return (struct runs){(uint32_t)sum & RUN_MASK, (uint32_t)(sum >> RUN_BITS) & RUN_MASK,
                         (uint32_t)(sum >> 2 * RUN_BITS) & RUN_MASK};
}

static inline struct runs sum_unpack(uint64_t sum)
{
    if (sv_unlikely(sum == SUM_FULL_ROOT))
        return (struct runs){RUN_MASK + 1, RUN_MASK + 1, RUN_MASK + 1};
    return sum_unpack_inner(sum);
}

static inline uint64_t sum_full(uint32_t level)
{
    uint32_t size = 1u << level_shift(level);
    return sum_pack((struct runs){size, size, size});
}

// The sum of a chunk's words. Words all used or all free, which most are, take no bit work.
static uint64_t chunk_measure(const uint64_t *words)
{
    struct runs r = {UINT32_MAX, 0, 0};
    for (uint32_t i = 0; i < CHUNK_WORDS; i++) {
        uint64_t x = words[i];
        if (x == ~(uint64_t)0) {
            r.end += 64;
            continue;
        }
        r.end += word_low_run(x);
        r.max = max_u32(r.max, r.end);
        if (r.start == UINT32_MAX)
            r.start = r.end;
        r.end = 0;
        if (x != 0) {
            r.end = word_high_run(x);
            r.max = word_longest(x, r.max);
        }
    }
    r.max = max_u32(r.max, r.end);
    r.start = min_u32(r.start, r.max);
    return sum_pack(r);
}

// The sum of a group of eight entries of `level`, which is not the root. Entries all used or all
// free are told by their whole word.
static uint64_t group_merge(const uint64_t *sums, uint32_t level)
{
    uint32_t size = 1u << level_shift(level);
    uint64_t full = sum_full(level);
    struct runs r = {UINT32_MAX, 0, 0};
    for (uint32_t i = 0; i < FAN; i++) {
        if (sums[i] == full) {
            r.end += size;
            continue;
        }
        struct runs child = sum_unpack_inner(sums[i]);
        r.end += child.start;
        r.max = max_u32(r.max, max_u32(r.end, child.max));
        if (r.start == UINT32_MAX)
            r.start = r.end;
        r.end = child.end;
    }
    r.max = max_u32(r.max, r.end);
    r.start = min_u32(r.start, r.max);
    return sum_pack(r);
}

static uint64_t sum_compute(const struct sv_pagealloc *pa, uint32_t level, uint32_t i)
{
    if (level == LEAF)
        return chunk_measure(pa->free + (size_t)i * CHUNK_WORDS);
    return group_merge(pa->sum[level + 1] + (size_t)i * FAN, level + 1);
}

static inline bool sum_refresh(struct sv_pagealloc *pa, uint32_t level, uint32_t i)
{
    uint64_t sum = sum_compute(pa, level, i);
    bool changed = pa->sum[level][i] != sum;
    pa->sum[level][i] = sum;
    return changed;
}

// Brings the tree up to date after all bits of [page, page + n) now are free, or are not. Only the
// first and the last entry of a level need a look at their children; those between are all free or
// all used, and were not before. Stops above a level that did not change; the first entry tells,
// for where there are others the range reaches its end and so changes its last run.
static void sums_update(struct sv_pagealloc *pa, uint32_t page, uint32_t n, bool now_free)
{
    for (uint32_t level = LEAF;; level--) {
        uint32_t first = page >> level_shift(level);
        uint32_t last = (page + n - 1) >> level_shift(level);
        bool changed = sum_refresh(pa, level, first);
        if (last != first) {
            uint64_t between = now_free ? sum_full(level) : 0;
            for (uint32_t i = first + 1; i < last; i++)
                pa->sum[level][i] = between;
            sum_refresh(pa, level, last);
        }
        if (!changed || level == 0)
            return;
    }
}

// ---- ranges of pages ----------------------------------------------------------------------------

// The first page of [page, end) that is not free, else end.
static uint32_t range_find_used(const struct sv_pagealloc *pa, uint32_t page, uint32_t end)
{
    if (page == end)
        return end;
    for (uint32_t w = page / 64; w <= (end - 1) / 64; w++) {
        uint64_t used = ~pa->free[w] & word_mask(w, page, end);
        if (used != 0)
            return w * 64 + word_first(used);
    }
    return end;
}

// Takes pages that are all free. Returns whether all of them were clean.
static bool range_take(struct sv_pagealloc *pa, uint32_t page, uint32_t n)
{
    uint32_t end = page + n;
    uint32_t ndirty = 0;
    for (uint32_t w = page / 64; w <= (end - 1) / 64; w++) {
        uint64_t mask = word_mask(w, page, end);
        uint64_t dirty = mask & ~pa->clean[w];
        pa->free[w] &= ~mask;
        if (dirty != 0)
            ndirty += word_count(dirty);
        if (dirty != mask)
            pa->clean[w] &= ~mask;
    }
    pa->nfree -= n;
    pa->ndirty -= ndirty;
    if (page == pa->search)
        pa->search = end;
    sums_update(pa, page, n, false);
    return ndirty == 0;
}

// ---- search -------------------------------------------------------------------------------------

// A search from low to high addresses.
struct seek {
    uint32_t n;     // pages in a row that are wanted
    uint32_t pos;   // pages before this one have been looked at
    uint32_t run;   // free pages just before pos, fewer than n
    uint32_t first; // no page between the start and this one is free; SV_NOPAGE: none seen so far
};

static inline void seek_note(struct seek *s, uint32_t page)
{
    if (s->first == SV_NOPAGE)
        s->first = page;
}

// Looks through the bits from s->pos to the end of its chunk, where s->pos then stands. Returns the
// first page of the run or SV_NOPAGE.
static uint32_t seek_chunk(const struct sv_pagealloc *pa, struct seek *s)
{
    uint32_t end = (s->pos | ((1u << CHUNK_SHIFT) - 1)) + 1;
    for (uint32_t w = s->pos / 64; w < end / 64; w++) {
        uint64_t x = pa->free[w] & word_mask(w, s->pos, end);
        uint32_t base = w * 64;
        if (x == 0) {
            s->run = 0;
            continue;
        }
        seek_note(s, base + word_first(x));
        if (x == ~(uint64_t)0) {
            if (s->run + 64 >= s->n)
                return base - s->run;
            s->run += 64;
            continue;
        }
        if (s->run + word_low_run(x) >= s->n)
            return base - s->run;
        uint64_t at = s->n < 64 ? word_runs(x, s->n) : 0;
        if (at != 0)
            return base + word_first(at);
        s->run = word_high_run(x);
    }
    s->pos = end;
    return SV_NOPAGE;
}

// The first n free pages in a row at or after `from`, or SV_NOPAGE. Goes up a level wherever a
// block of that level begins, over blocks that cannot hold the run, and down into the block that
// must. *first: no page of [from, *first) is free; SV_NOPAGE: nor any after it.
static uint32_t run_find(const struct sv_pagealloc *pa, uint32_t from, uint32_t n, uint32_t *first)
{
    struct seek s = {n, from, 0, SV_NOPAGE};
    uint32_t level = LEAF;
    uint32_t page = SV_NOPAGE;
    while (s.pos < pa->npages) {
        uint32_t i = s.pos >> level_shift(level);
        struct runs r = sum_unpack(pa->sum[level][i]);
        uint32_t end = (i + 1) << level_shift(level);
        bool whole =
            level_aligned(level, s.pos); // else it is the first chunk, entered in its middle
        if (whole && s.run + r.start >= n) {
            seek_note(&s, s.pos);
            page = s.pos - s.run;
            break;
        }
        if (r.max >= n && level < LEAF) {
            level++;
            continue;
        }
        if (r.max >= n) {
            page = seek_chunk(pa, &s);
            if (page != SV_NOPAGE)
                break;
        } else {
            if (r.max != 0)
                seek_note(&s, s.pos);
            s.run = r.start == 1u << level_shift(level) ? s.run + r.start : r.end;
            s.run = min_u32(s.run, end - from);
            s.pos = end;
        }
        while (level > 0 && level_aligned(level - 1, s.pos))
            level--;
    }
    *first = s.first;
    return page;
}

// The first n free pages in a row of the region, or SV_NOPAGE. Moves `search` up to the first free
// page as far as it came to know it.
static uint32_t first_fit(struct sv_pagealloc *pa, uint32_t n)
{
    uint32_t w = pa->search / 64;
    if (n <= 64 && pa->search < pa->npages) {
        uint64_t at = word_runs(pa->free[w], n);
        if (at != 0) {
            pa->search = w * 64 + word_first(pa->free[w]);
            return w * 64 + word_first(at);
        }
    }
    uint32_t first;
    uint32_t page = run_find(pa, pa->search, n, &first);
    pa->search = first == SV_NOPAGE ? pa->npages : first;
    return page;
}

// The same with an aligned first page, given first_fit's answer `page`. Where a run holds no
// aligned place the search goes on behind it, or at the next aligned page if that is farther: every
// second step thus passes `align` pages.
static uint32_t first_fit_aligned(const struct sv_pagealloc *pa, uint32_t page, uint32_t n,
                                  uint32_t align)
{
    while (page != SV_NOPAGE) {
        uint64_t at = ((uint64_t)page + align - 1) & ~((uint64_t)align - 1);
        if (at + n > pa->npages)
            return SV_NOPAGE;
        uint32_t used = range_find_used(pa, page + n, (uint32_t)at + n);
        if (used == at + n)
            return (uint32_t)at;
        uint32_t first;
        page = run_find(pa, max_u32(used, (uint32_t)at), n, &first);
    }
    return SV_NOPAGE;
}

// ---- public -------------------------------------------------------------------------------------

static uint32_t level_entries(uint32_t npages, uint32_t level)
{
    return (uint32_t)(((uint64_t)npages + (1u << level_shift(level)) - 1) >> level_shift(level));
}

// Words of a level's table: whole groups, so that a group is one cache line and can be read in
// full.
static size_t level_words(uint32_t npages, uint32_t level)
{
    return ((size_t)level_entries(npages, level) + FAN - 1) / FAN * FAN;
}

static size_t bitmap_words(uint32_t npages)
{
    return (size_t)level_entries(npages, LEAF) * CHUNK_WORDS;
}

size_t sv_pagealloc_bytes(uint32_t npages)
{
    size_t words = 2 * bitmap_words(npages);
    for (uint32_t level = 0; level < SV_PAGEALLOC_LEVELS; level++)
        words += level_words(npages, level);
    return words * sizeof(uint64_t);
}

void sv_pagealloc_init(struct sv_pagealloc *pa, void *mem, uint32_t npages)
{
    require(npages <= NPAGES_MAX);
    uint64_t *next = mem;
    pa->free = next;
    next += bitmap_words(npages);
    pa->clean = next;
    next += bitmap_words(npages);
    for (uint32_t level = 0; level < SV_PAGEALLOC_LEVELS; level++) {
        pa->sum[level] = next;
        pa->nsum[level] = level_entries(npages, level);
        next += level_words(npages, level);
    }
    pa->npages = npages;
    pa->search = npages;
    pa->nfree = 0;
    pa->ndirty = 0;
}

uint32_t sv_pagealloc_take(struct sv_pagealloc *pa, uint32_t n, uint32_t align, bool *clean)
{
    require(n != 0 && align != 0 && (align & (align - 1)) == 0);
    if (n > pa->nfree)
        return SV_NOPAGE;
    uint32_t page = first_fit(pa, n);
    if ((page & (align - 1)) != 0)
        page = first_fit_aligned(pa, page, n, align);
    if (page != SV_NOPAGE)
        *clean = range_take(pa, page, n);
    return page;
}

bool sv_pagealloc_take_at(struct sv_pagealloc *pa, uint32_t page, uint32_t n, bool *clean)
{
    require(n != 0);
    if (page >= pa->npages || n > pa->npages - page)
        return false;
    if (range_find_used(pa, page, page + n) != page + n)
        return false;
    *clean = range_take(pa, page, n);
    return true;
}

void sv_pagealloc_give(struct sv_pagealloc *pa, uint32_t page, uint32_t n, bool clean)
{
    require(n != 0 && page < pa->npages && n <= pa->npages - page);
    uint32_t end = page + n;
    for (uint32_t w = page / 64; w <= (end - 1) / 64; w++) {
        uint64_t mask = word_mask(w, page, end);
        require((pa->free[w] & mask) == 0);
        pa->free[w] |= mask;
        if (clean)
            pa->clean[w] |= mask;
    }
    pa->nfree += n;
    pa->ndirty += clean ? 0 : n;
    pa->search = min_u32(pa->search, page);
    sums_update(pa, page, n, true);
}

// ---- dirty runs ---------------------------------------------------------------------------------

static inline uint64_t word_dirty(const struct sv_pagealloc *pa, uint32_t w)
{
    return pa->free[w] & ~pa->clean[w];
}

// The highest dirty page of [page, end), not empty and within one chunk, or SV_NOPAGE.
static uint32_t chunk_find_dirty(const struct sv_pagealloc *pa, uint32_t page, uint32_t end)
{
    for (uint32_t w = (end - 1) / 64 + 1; w-- > page / 64;) {
        uint64_t dirty = word_dirty(pa, w) & word_mask(w, page, end);
        if (dirty != 0)
            return w * 64 + 63 - (uint32_t)__builtin_clzll(dirty);
    }
    return SV_NOPAGE;
}

// The highest dirty page before `below`, or SV_NOPAGE: the mirror of run_find, over blocks that
// have no free page and down into those that have.
static uint32_t page_find_dirty(const struct sv_pagealloc *pa, uint32_t below)
{
    uint32_t level = LEAF;
    for (uint32_t pos = below; pos > 0;) {
        uint32_t i = (pos - 1) >> level_shift(level);
        uint32_t start = i << level_shift(level);
        if (pa->sum[level][i] != 0) {
            if (level < LEAF) {
                level++;
                continue;
            }
            uint32_t page = chunk_find_dirty(pa, start, pos);
            if (page != SV_NOPAGE)
                return page;
        }
        pos = start;
        while (level > 0 && level_aligned(level - 1, pos))
            level--;
    }
    return SV_NOPAGE;
}

// The dirty pages in a row that end with page `top`, counted up to max.
static uint32_t dirty_length(const struct sv_pagealloc *pa, uint32_t top, uint32_t max)
{
    uint32_t length = 0;
    while (length < max && length <= top) {
        uint32_t page = top - length;
        uint64_t x = word_dirty(pa, page / 64) << (63 - page % 64);
        uint32_t run = x == ~(uint64_t)0 ? 64 : word_high_run(x);
        length += run;
        if (run <= page % 64) // ends within this word
            break;
    }
    return min_u32(length, max);
}

uint32_t sv_pagealloc_find_dirty(const struct sv_pagealloc *pa, uint32_t below, uint32_t max,
                                 uint32_t *n)
{
    require(max != 0);
    if (pa->ndirty == 0)
        return SV_NOPAGE;
    uint32_t top = page_find_dirty(pa, min_u32(below, pa->npages));
    if (top == SV_NOPAGE)
        return SV_NOPAGE;
    uint32_t length = dirty_length(pa, top, max);
    uint32_t first = top + 1 - length;
    uint32_t huge = first & ~(SV_HUGE_PAGES - 1);
    if (length == max && first != huge && huge + SV_HUGE_PAGES - 1 <= top &&
        dirty_length(pa, first - 1, first - huge) == first - huge)
        first = huge;
    *n = top + 1 - first;
    return first;
}

// ---- check --------------------------------------------------------------------------------------

struct counts {
    uint32_t nfree, ndirty;
    uint32_t first; // free page, SV_NOPAGE: none
};

static void chunk_check(const struct sv_pagealloc *pa, uint32_t chunk, struct counts *c)
{
    for (uint32_t w = chunk * CHUNK_WORDS; w < (chunk + 1) * CHUNK_WORDS; w++) {
        uint64_t x = pa->free[w];
        require((pa->clean[w] & ~x) == 0);
        if (x == 0)
            continue;
        if (c->first == SV_NOPAGE)
            c->first = w * 64 + word_first(x);
        require(w * 64 + 63 - (uint32_t)__builtin_clzll(x) < pa->npages);
        c->nfree += word_count(x);
        c->ndirty += word_count(word_dirty(pa, w));
    }
}

static void entry_check(const struct sv_pagealloc *pa, uint32_t level, uint32_t i, struct counts *c)
{
    if (i >= pa->nsum[level]) {
        require(pa->sum[level][i] == 0);
        return;
    }
    require(pa->sum[level][i] == sum_compute(pa, level, i));
    if (level == LEAF)
        chunk_check(pa, i, c);
    else if (pa->sum[level][i] != 0)
        for (uint32_t k = 0; k < FAN; k++)
            entry_check(pa, level + 1, i * FAN + k, c);
}

// Does not go below an entry that is zero, as its children are too, lest it touch tables of pages
// that never were there. A free page that hides below them is missing from the count.
void sv_pagealloc_check(const struct sv_pagealloc *pa)
{
    struct counts c = {0, 0, SV_NOPAGE};
    for (uint32_t i = 0; i < pa->nsum[0]; i++)
        entry_check(pa, 0, i, &c);
    require(c.nfree == pa->nfree && c.ndirty == pa->ndirty);
    require(pa->search <= min_u32(c.first, pa->npages));
}
