// A bit for each hardware page of the heap says that it is shut: read-only, and not written since.
// Bit and protection change together, under one lock, so a page without the bit can be written by
// everybody, the kernel included. That is the invariant; "written" is the bit's absence.
//
// Shut are pages of spans with pointers whose slots are smaller than SLOT_MIN, and no others. The
// kernel can't write to a page that is shut, and not every call that makes it write can be
// wrapped: inside the C library stdio reads into buffers of 1024 bytes and more, opendir into
// 32 KiB. Everything else counts as written: large objects, roots, what became a span after the
// watch (unless it is shut by a look that watches again). Pages that stop being a span's are opened
// before anybody else can have them.
//
// Lending. A wrapper publishes the pointers it gives to the kernel, then looks whether shutting is
// under way or a page of theirs is shut; who shuts says so first and then looks at what is
// published. One of the two sees the other (sequentially consistent). No size is needed: a page
// that can be shut holds slots of less than SLOT_MIN bytes, so no object on it reaches farther.
// What is lent counts as written until it is given back. A thread keeps a list of what it has lent,
// by frames; what was left by a jump is dropped when a frame above it lends or ends. Who lends too
// much for the table lends all of the heap.
//
// Mappings. Each run of shut pages splits one, and a process may only have 65530. `edges` counts
// the borders between shut and open; with too many of them, an opening opens BLOCK pages.
//
// The lock is held with all signals blocked, so a stop, or a handler that writes to the heap, never
// comes to a thread inside. It is taken by handlers, under whatever lock the interrupted code
// holds; under it none is taken. It lies on a page that a forked child finds zeroed: a child whose
// parent's other threads were inside can write at once.
//
// Never done here: a protection other than the two; a page opened that wasn't shut by us.
#include "protect.h"

#include <errno.h>

#include "heap.h"
#include "lock.h"
#include "os.h"
#include "pagemap.h"
#include "rootset.h"

#define HW_SHIFT 12
#define HW_PAGE ((uintptr_t)1 << HW_SHIFT)
#define PER_PAGE (1u << (SV_PAGE_SHIFT - HW_SHIFT)) // hardware pages of a page
#define SLOT_MIN 1024u                              // slots from here on are never shut
#define CHUNK 1024u                                 // hardware pages looked at under one lock
#define WORDS (CHUNK / 64)
#define EDGES_MAX 32768u  // half of what Linux lets a process have of mappings, by default
#define EDGES_SHUT 16384u // with more of them, nothing more is shut
#define BLOCK 512u        // hardware pages opened at once then: 2 MiB
#define STALE_MAX 64u     // times that a thread may fault at one address on an open page
#define LENT_MAX 4096u    // pointers lent at a time, by all threads
#define LENT_ONE 20u      // by one
#define LENT_MINE 24u     // with calls to which all of the heap is lent

struct gate { // zeroed in a forked child
    struct sv_lock lock;
    _Atomic uint32_t shutting; // lock: pages are being shut
};

static struct {
    struct gate *gate;       // const after the first open
    _Atomic uint64_t *bits;  // const after the first open
    _Atomic size_t covered;  // driver: hardware pages that have a bit
    _Atomic uint32_t active; // driver: between open and close
    _Atomic uint32_t whole;  // anyone: calls to which all of the heap is lent
    size_t shut;             // gate's lock: bits that are set
    size_t edges;            // gate's lock: borders between shut and open
} protect;

static _Atomic uintptr_t lent_slots[LENT_MAX]; // by exchange from 0, by who took it back to 0
static _Atomic uint32_t lent_high;             // anyone: no slot from here on was ever used

// Small, because static TLS is scarce.
struct lent_mine {
    uint32_t n;                 // its thread
    uint16_t slot[LENT_MINE];   // its thread; LENT_MAX: all of the heap
    uintptr_t frame[LENT_MINE]; // its thread
};

static __thread struct lent_mine lent_mine __attribute__((tls_model("initial-exec")));
static __thread struct {
    uintptr_t not_at; // complemented: a thread's storage is a root
    uint32_t times;
} stale __attribute__((tls_model("initial-exec")));

bool sv_protect_on;
bool (*sv_protect_ready)(void);

// ---- bits and the lock --------------------------------------------------------------------------

static void gate_take(uint64_t *mask)
{
    if (mask)
        sv_os_signal_mask(SIG_BLOCK, ~(uint64_t)0, mask);
    sv_lock_acquire(&protect.gate->lock);
}

static void gate_drop(const uint64_t *mask)
{
    sv_lock_release(&protect.gate->lock);
    if (mask)
        sv_os_signal_mask(SIG_SETMASK, *mask, NULL);
}

static size_t covered(void)
{
    return atomic_load_explicit(&protect.covered, memory_order_acquire); // pairs with bits_cover
}

static bool bit_get(size_t i)
{
    // acquire pairs with bits_set: who sees the bit gone may write, and have the kernel write
    uint64_t word = atomic_load_explicit(&protect.bits[i / 64], memory_order_acquire);
    return word >> (i % 64) & 1;
}

static bool bit_near(size_t i)
{
    return i < covered() && bit_get(i); // i may have wrapped around
}

static void bits_set(size_t lo, size_t hi, bool to)
{
    for (size_t i = lo; i < hi; i++) {
        uint64_t bit = (uint64_t)1 << (i % 64);
        if (to)
            atomic_fetch_or_explicit(&protect.bits[i / 64], bit, memory_order_release);
        else
            atomic_fetch_and_explicit(&protect.bits[i / 64], ~bit, memory_order_release);
    }
}

static void *hw_addr(size_t i)
{
    return (void *)(sv_heap.base + (i << HW_SHIFT));
}

// [lo, hi) has changed from open to shut, or back.
static void edges_count(size_t lo, size_t hi, bool to)
{
    int same = bit_near(lo - 1) == to, other = bit_near(hi) == to;
    protect.edges += (size_t)(2 - 2 * same - 2 * other);
    protect.shut = to ? protect.shut + (hi - lo) : protect.shut - (hi - lo);
}

static size_t run_end(size_t lo, size_t hi, bool shut)
{
    while (lo < hi && bit_get(lo) == shut)
        lo++;
    return lo;
}

// ---- opening, the lock held ---------------------------------------------------------------------

static bool run_open(size_t lo, size_t hi)
{
    if (sv_os_commit(hw_addr(lo), (hi - lo) << HW_SHIFT) != 0)
        return false;
    bits_set(lo, hi, false);
    edges_count(lo, hi, false);
    return true;
}

// Opens a run of shut pages. Where the kernel won't split a mapping, all of it that is shut.
static bool run_open_sure(size_t lo, size_t hi)
{
    if (run_open(lo, hi))
        return true;
    while (bit_near(lo - 1))
        lo--;
    return run_open(lo, run_end(hi, covered(), true));
}

static bool pages_open(size_t lo, size_t hi)
{
    bool ok = true;
    hi = hi < covered() ? hi : covered();
    for (size_t end; lo < hi; lo = end) {
        lo = run_end(lo, hi, false);
        end = run_end(lo, hi, true);
        if (lo < end)
            ok &= run_open_sure(lo, end);
    }
    return ok;
}

// ---- shutting, the lock held --------------------------------------------------------------------

static bool page_watchable(uint32_t page)
{
    sv_pagemap_entry e = sv_pagemap_get(page);
    unsigned code = sv_pagemap_code(e);
    return e && !sv_code_noscan(code) && sv_code_class(code) != SV_CLASS_LARGE &&
           sv_classes[sv_code_class(code)].size < SLOT_MIN;
}

// Can what stands there hold pointers? What can't need not be reported.
static bool page_scanned(uint32_t page)
{
    sv_pagemap_entry e = sv_pagemap_get(page);
    return e && !sv_code_noscan(sv_pagemap_code(e));
}

static void run_shut(size_t lo, size_t hi)
{
    if (protect.edges >= EDGES_SHUT)
        return;
    bits_set(lo, hi, true);
    edges_count(lo, hi, true);
    if (sv_os_protect(hw_addr(lo), (hi - lo) << HW_SHIFT) != 0)
        run_open_sure(lo, hi); // some of it may be shut
}

static bool chunk_bit(const uint64_t *set, size_t i)
{
    return set[i / 64] >> (i % 64) & 1;
}

// Takes out of `set`, the bits of pages from `first` on, what is lent.
static void lent_except(uint64_t set[static WORDS], size_t first)
{
    uint32_t high = atomic_load_explicit(&lent_high, memory_order_seq_cst);
    for (uint32_t s = 0; s < high; s++) {
        // seq_cst pairs with slot_take: published before `shutting` was seen to be 0
        uintptr_t p = atomic_load_explicit(&lent_slots[s], memory_order_seq_cst);
        if (!p)
            continue;
        size_t at = (p - sv_heap.base) >> HW_SHIFT;
        size_t end = ((p - sv_heap.base + SLOT_MIN - 1) >> HW_SHIFT) + 1;
        for (; at < end; at++)
            if (at - first < CHUNK)
                set[(at - first) / 64] &= ~((uint64_t)1 << ((at - first) % 64));
    }
}

// Shuts those pages of `set` that can be watched.
static void chunk_shut(const uint64_t written[static WORDS], size_t first, size_t n)
{
    uint64_t set[WORDS];
    atomic_store_explicit(&protect.gate->shutting, 1, memory_order_seq_cst);
    for (size_t w = 0; w < WORDS; w++)
        set[w] = written[w];
    for (size_t i = 0; i < n; i += PER_PAGE)
        if (!page_watchable((uint32_t)((first + i) / PER_PAGE)))
            for (size_t j = i; j < i + PER_PAGE; j++)
                set[j / 64] &= ~((uint64_t)1 << (j % 64));
    lent_except(set, first);
    for (size_t i = 0, end; i < n; i = end) {
        end = i + 1;
        if (!chunk_bit(set, i))
            continue;
        while (end < n && chunk_bit(set, end))
            end++;
        run_shut(first + i, first + end);
    }
    atomic_store_explicit(&protect.gate->shutting, 0, memory_order_seq_cst);
}

// ---- the barrier's operations -------------------------------------------------------------------

// One bit for each page that the heap can ever have: reserved at once, backed as the heap grows.
static int tables_make(void)
{
    size_t bytes = (size_t)sv_heap.npages * PER_PAGE / 8 + HW_PAGE;
    struct gate *gate = sv_os_map(HW_PAGE);
    uint64_t *bits = gate ? sv_os_reserve(0, bytes, false) : NULL;
    if (!bits || sv_os_wipe_on_fork(gate, HW_PAGE) != 0) {
        if (gate)
            sv_os_unmap(gate, HW_PAGE);
        if (bits)
            sv_os_unmap(bits, bytes);
        return bits ? -ENOTSUP : -ENOMEM;
    }
    sv_rootset_exclude((uintptr_t)bits, (uintptr_t)bits + bytes);
    sv_rootset_exclude((uintptr_t)gate, (uintptr_t)gate + HW_PAGE);
    protect.bits = (_Atomic uint64_t *)bits;
    protect.gate = gate;
    return 0;
}

// What can't be had a bit for stays untracked.
static void bits_cover(size_t pages)
{
    size_t have = covered();
    if (pages <= have)
        return;
    uintptr_t lo = ((uintptr_t)protect.bits + have / 8) & ~(HW_PAGE - 1);
    uintptr_t hi = ((uintptr_t)protect.bits + pages / 8 + HW_PAGE) & ~(HW_PAGE - 1);
    if (sv_os_commit((void *)lo, hi - lo) == 0)
        atomic_store_explicit(&protect.covered, pages, memory_order_release);
}

int sv_protect_open(int procfd)
{
    (void)procfd;
    if (!sv_protect_ready || !sv_protect_ready())
        return -EBUSY;
    int err = protect.gate ? 0 : tables_make();
    if (err == 0)
        // seq_cst pairs with lending and with sv_protect_leave_slow
        atomic_store_explicit(&protect.active, 1, memory_order_seq_cst);
    return err;
}

// Looks at what lies in [lo, hi) piece by piece: tells fn what is written, shuts it if `shut`.
static void heap_each(uintptr_t lo, uintptr_t hi, bool shut, sv_range_fn *fn, void *arg)
{
    size_t first = (lo - sv_heap.base) >> SV_PAGE_SHIFT << (SV_PAGE_SHIFT - HW_SHIFT);
    size_t last = (hi - sv_heap.base + SV_PAGE_SIZE - 1) >> SV_PAGE_SHIFT
                                                                << (SV_PAGE_SHIFT - HW_SHIFT);
    last = last < covered() ? last : covered();
    for (; first < last; first += CHUNK) {
        uint64_t set[WORDS] = {0}, mask;
        size_t n = last - first < CHUNK ? last - first : CHUNK;
        gate_take(&mask);
        for (size_t i = 0; i < n; i++)
            if (!bit_get(first + i) && page_scanned((uint32_t)((first + i) / PER_PAGE)))
                set[i / 64] |= (uint64_t)1 << (i % 64);
        if (shut && atomic_load_explicit(&protect.whole, memory_order_seq_cst) == 0)
            chunk_shut(set, first, n);
        gate_drop(&mask);
        for (size_t i = 0, end; fn && i < n; i = end) {
            end = i + 1;
            if (!chunk_bit(set, i))
                continue;
            while (end < n && chunk_bit(set, end))
                end++;
            fn(arg, (uintptr_t)hw_addr(first + i), (uintptr_t)hw_addr(first + end));
        }
    }
}

static bool range_ours(uintptr_t lo, uintptr_t hi)
{
    return lo - sv_heap.base < sv_heap.size && hi - sv_heap.base <= sv_heap.size;
}

int sv_protect_watch(uintptr_t lo, uintptr_t hi)
{
    if (!atomic_load_explicit(&protect.active, memory_order_relaxed))
        return -EBADF;
    if (!range_ours(lo, hi))
        return -ENOTSUP;
    uintptr_t end = sv_heap.base + ((uintptr_t)sv_heap.grown << SV_PAGE_SHIFT);
    hi = hi < end ? hi : end; // beyond it there is no page map
    if (lo >= hi)
        return 0;
    if (!sv_protect_ready())
        return -EBUSY;
    bits_cover((hi - sv_heap.base) >> HW_SHIFT);
    heap_each(lo, hi, true, NULL, NULL);
    return 0;
}

int sv_protect_written(uintptr_t lo, uintptr_t hi, bool again, sv_range_fn *fn, void *arg)
{
    if (!atomic_load_explicit(&protect.active, memory_order_relaxed))
        return -EBADF;
    uintptr_t tracked = sv_heap.base + (covered() << HW_SHIFT);
    if (!range_ours(lo, hi)) {
        fn(arg, lo, hi);
        return 0;
    }
    heap_each(lo, hi, again && sv_protect_ready(), fn, arg);
    lo = lo > tracked ? lo : tracked;
    if (lo < hi)
        fn(arg, lo, hi);
    return 0;
}

void sv_protect_release(uintptr_t lo, uintptr_t hi)
{
    if (!atomic_load_explicit(&protect.active, memory_order_relaxed) || !range_ours(lo, hi))
        return;
    size_t at = (lo - sv_heap.base) >> HW_SHIFT;
    size_t last = (hi - sv_heap.base + HW_PAGE - 1) >> HW_SHIFT;
    for (; at < last; at += CHUNK) {
        uint64_t mask;
        gate_take(&mask);
        pages_open(at, at + CHUNK < last ? at + CHUNK : last);
        gate_drop(&mask);
    }
}

void sv_protect_close(void)
{
    if (!atomic_load_explicit(&protect.active, memory_order_relaxed))
        return;
    sv_protect_release(sv_heap.base, sv_heap.base + (covered() << HW_SHIFT));
    atomic_store_explicit(&protect.active, 0, memory_order_seq_cst);
}

// ---- faults -------------------------------------------------------------------------------------

// On a page that is open: as a rule another thread has opened it since. A fault that stays is the
// program's, which has protected the page itself.
static bool fault_stale(uintptr_t addr, size_t page)
{
    if (!page_watchable((uint32_t)(page / PER_PAGE)))
        return false;
    stale.times = stale.not_at == ~addr ? stale.times + 1 : 1;
    stale.not_at = ~addr;
    return stale.times < STALE_MAX;
}

bool sv_protect_fault(const siginfo_t *info)
{
    uintptr_t addr = (uintptr_t)info->si_addr;
    size_t page = (addr - sv_heap.base) >> HW_SHIFT;
    if (info->si_code != SEGV_ACCERR || !sv_protect_on || page >= covered())
        return false;
    gate_take(NULL);
    bool ours = bit_get(page);
    if (ours) {
        size_t block = page & ~(size_t)(BLOCK - 1);
        ours = run_open_sure(page, page + 1);
        if (protect.edges > EDGES_MAX)
            pages_open(block, block + BLOCK);
        stale.times = 0;
    } else {
        ours = fault_stale(addr, page);
    }
    gate_drop(NULL);
    return ours;
}

void sv_protect_leave_slow(uint32_t page, uint32_t npages)
{
    // Either this sees that pages are watched, or who watches sees the page map without them.
    atomic_thread_fence(memory_order_seq_cst);
    if (!atomic_load_explicit(&protect.active, memory_order_seq_cst))
        return;
    uint64_t mask;
    gate_take(&mask);
    pages_open((size_t)page * PER_PAGE, (size_t)(page + npages) * PER_PAGE);
    gate_drop(&mask);
}

// ---- lending ------------------------------------------------------------------------------------

// A slot that holds p from now on, or LENT_MAX.
static uint32_t slot_take(uintptr_t p)
{
    for (uint32_t s = 0; s < LENT_MAX; s++) {
        uintptr_t expected = 0;
        if (atomic_load_explicit(&lent_slots[s], memory_order_relaxed) != 0)
            continue;
        uint32_t high = atomic_load_explicit(&lent_high, memory_order_relaxed);
        while (high <= s &&
               !atomic_compare_exchange_weak_explicit(&lent_high, &high, s + 1,
                                                      memory_order_seq_cst, memory_order_relaxed))
            ;
        // seq_cst pairs with lent_except
        if (atomic_compare_exchange_strong_explicit(&lent_slots[s], &expected, p,
                                                    memory_order_seq_cst, memory_order_relaxed))
            return s;
    }
    return LENT_MAX;
}

static void mine_drop(uint32_t to)
{
    while (lent_mine.n > to) {
        uint32_t slot = lent_mine.slot[lent_mine.n - 1];
        lent_mine.n--;
        // release: the kernel's writes come before the next shutting
        if (slot < LENT_MAX)
            atomic_store_explicit(&lent_slots[slot], 0, memory_order_release);
        else
            atomic_fetch_sub_explicit(&protect.whole, 1, memory_order_release);
    }
}

static void mine_add(uint32_t slot, uintptr_t frame)
{
    uint32_t n = lent_mine.n;
    if (n == LENT_MINE) // as much as that was left by jumps: for good
        return;
    lent_mine.frame[n] = frame;
    lent_mine.slot[n] = (uint16_t)slot;
    lent_mine.n = n + 1;
}

// What a frame below this one, or one that stood here, has lent was left by a jump, unless this is
// a handler on a stack of its own.
static void mine_tidy(uintptr_t frame)
{
    if (lent_mine.n == 0 || sv_os_altstack_inside())
        return;
    uint32_t n = lent_mine.n;
    while (n && lent_mine.frame[n - 1] <= frame)
        n--;
    mine_drop(n);
}

// Opens what is shut of an object that was lent.
static void pointer_open(uintptr_t p)
{
    size_t at = (p - sv_heap.base) >> HW_SHIFT;
    size_t end = ((p - sv_heap.base + SLOT_MIN - 1) >> HW_SHIFT) + 1;
    if (!atomic_load_explicit(&protect.active, memory_order_seq_cst))
        return;
    // seq_cst pairs with chunk_shut; 0 there means that the bits are as they will be
    bool wait = atomic_load_explicit(&protect.gate->shutting, memory_order_seq_cst);
    for (size_t i = at; i < end && !wait; i++)
        wait = bit_near(i);
    if (!wait)
        return;
    uint64_t mask;
    gate_take(&mask);
    pages_open(at, end);
    gate_drop(&mask);
}

static void lent_begin(struct sv_protect_lent *lent)
{
    if (lent->on)
        return;
    mine_tidy((uintptr_t)lent);
    lent->at = lent_mine.n;
    lent->on = true;
}

void sv_protect_lend_whole(struct sv_protect_lent *lent)
{
    uint64_t mask;
    lent_begin(lent);
    // seq_cst: who shuts next sees it; who is at it is waited for
    atomic_fetch_add_explicit(&protect.whole, 1, memory_order_seq_cst);
    mine_add(LENT_MAX, (uintptr_t)lent);
    if (!atomic_load_explicit(&protect.active, memory_order_seq_cst))
        return;
    gate_take(&mask);
    pages_open(0, covered());
    gate_drop(&mask);
}

void sv_protect_lend(struct sv_protect_lent *lent, const volatile void *const *v, size_t n)
{
    lent_begin(lent);
    for (size_t i = 0; i < n; i++) {
        uintptr_t p = (uintptr_t)v[i];
        if (p - sv_heap.base >= sv_heap.size)
            continue;
        uint32_t slot = lent_mine.n < LENT_ONE ? slot_take(p) : LENT_MAX;
        if (slot == LENT_MAX) {
            sv_protect_lend_whole(lent);
            return;
        }
        mine_add(slot, (uintptr_t)lent);
        pointer_open(p);
    }
}

void sv_protect_lend_end_slow(const struct sv_protect_lent *lent)
{
    mine_drop(lent->at);
}

void sv_protect_thread_end(void)
{
    mine_drop(0);
}

static bool slot_mine(uint32_t slot)
{
    for (uint32_t i = 0; i < lent_mine.n; i++)
        if (lent_mine.slot[i] == slot)
            return true;
    return false;
}

void sv_protect_fork_child(void)
{
    if (!protect.gate)
        return;
    uint32_t whole = 0;
    for (uint32_t i = 0; i < lent_mine.n; i++)
        whole += lent_mine.slot[i] == LENT_MAX;
    atomic_store_explicit(&protect.whole, whole, memory_order_relaxed);
    for (uint32_t s = 0; s < LENT_MAX; s++)
        if (!slot_mine(s))
            atomic_store_explicit(&lent_slots[s], 0, memory_order_relaxed);
    sv_protect_close();
    protect.shut = protect.edges = 0; // another thread may have been counting
}

size_t sv_protect_shut(void)
{
    return protect.shut;
}

size_t sv_protect_edges(void)
{
    return protect.edges;
}
