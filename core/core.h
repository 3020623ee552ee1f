// The data of the core layer: every structure of the heap and the collector, together, so that one
// can see the machine before reading what moves it. Functions are declared in a header for each
// noun.
//
// Terms. A *page* is 8 KiB, whatever the hardware's is. A *span* is a run of pages that serves
// objects of one size class, or one large object. A *slot* is the place of one object in a span. A
// *code* is a size class together with an enum sv_kind, how its objects hold pointers: it is what a
// page is tagged with. Pages are named by number, counted from the region's first; page 0 is never
// handed out, so that 0 can mean "none".
#ifndef SV_CORE_H
#define SV_CORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SV_PAGE_SHIFT 13
#define SV_PAGE_SIZE ((size_t)1 << SV_PAGE_SHIFT)
#define SV_CACHE_LINE 64
#define SV_ALIGN 16                 // of every object: C's max_align_t on x86-64
#define SV_SLOT_MAX 32768           // bytes of the largest slot
#define SV_SMALL_MAX 32767          // bytes of a request; larger ones get pages of their own
#define SV_REGION_ALIGN_PAGES 8192u // the region's address is a multiple of so many pages (64 MiB)
#define SV_NOPAGE UINT32_MAX        // "no such page", from functions that return one

#define SV_NCLASS 67 // 0: none, 1..65: small, 66: large
#define SV_CLASS_LARGE 66
#define SV_NCODE (3 * SV_NCLASS) // code = class + SV_NCLASS * enum sv_kind

#define SV_DENSE_CLASS_MAX 3 // classes 1..3 (16, 32, 48 bytes): more than 128 slots a page

enum sv_kind {
    SV_SCAN,   // every word may be a pointer
    SV_NOSCAN, // none is
    SV_TRACED  // the client knows, by the object's last word (client.h)
};

#define sv_likely(x) __builtin_expect(!!(x), 1)
#define sv_unlikely(x) __builtin_expect(!!(x), 0)

// ---- lock.h -------------------------------------------------------------------------------------

struct sv_lock {
    _Atomic uint32_t word; // 0: free; else whose it is, and whether somebody sleeps (lock.h)
};

struct sv_lock_owner { // its address is what tells a thread from others
    _Alignas(16) char unused;
};

// ---- sizeclass.h --------------------------------------------------------------------------------

struct sv_class {
    uint32_t size;   // const: bytes of a slot
    uint32_t pages;  // const: pages of a span
    uint32_t nslots; // const: slots of a span
    uint32_t magic;  // const: (offset * magic) >> 32 is the slot's index (Go's computeDivMagic)
    uint32_t inv;    // const: inverse of size's odd part modulo 2^32, for the exact test in free()
    uint32_t shift;  // const: trailing zero bits of size
};

// ---- pagemap.h ----------------------------------------------------------------------------------

// One word a page. Bits 5 to 12 are the code, so that masked they are the code times sizeof(struct
// sv_bin), where free() finds the bin in a thread's cache; the low 5 bits are the class's shift,
// where a rotation by the whole word finds it; the bits above are how many pages lie between the
// span's first page and this one, so that (entry & ~0x1fff) is that distance in bytes. 0: no object
// here.
typedef uint32_t sv_pagemap_entry;
#define SV_PAGEMAP_CODE_MASK 0x1fffu
#define SV_PAGEMAP_BIN_MASK 0x1fe0u
#define SV_PAGEMAP_BACK_MAX 0x7ffffu // this far or farther: step back and look again

// ---- span.h -------------------------------------------------------------------------------------

// Alloc and mark bits of the same 64 slots side by side: a lookup while marking touches one line.
struct sv_bits {
    _Atomic uint64_t alloc; // set when a slot leaves the span; written under the central's lock
    _Atomic uint64_t mark;  // set by markers; cleared before a cycle
};

// The record of a span stands at its first page's place in the table of spans: one cache line.
struct sv_span {
    uint32_t magic;    // const while in use: the class's, 0 for a large object
    uint32_t npages;   // heap lock: pages of this span
    uint32_t next;     // central's lock: the list it is on, by page
    uint32_t prev;     // central's lock
    uint32_t sweepgen; // central's lock: the cycle after which it was swept last
    uint16_t nslots;   // const while in use
    uint16_t nused;    // central's lock: slots whose alloc bit is set
    uint8_t code;      // const while in use
    uint8_t list;      // central's lock: enum sv_span_list
    uint8_t dirty;     // central's lock: slots may hold something else than zeroes
    union {
        uint8_t moved;    // large, heap lock: its mapping was moved by mremap and needs mending
        uint8_t suspects; // small, central's lock: some object's word has a state (leaks.c)
    };
    uint32_t hint;          // central's lock: no free slot lies before this word of bits
    struct sv_bits bits[2]; // the slots of classes with at most 128 of them
};
_Static_assert(sizeof(struct sv_span) == SV_CACHE_LINE, "a span's record is one cache line");

enum sv_span_list {
    SV_LIST_NONE,
    SV_LIST_PARTIAL, // of large ones: the deferred
    SV_LIST_FULL,    // of large ones: those with an object
    SV_LIST_UNSWEPT,
    SV_LIST_LIMBO // of large ones only: large.c
};

// The bits of a dense page (16-, 32- and 48-byte objects), in a table of their own.
struct sv_dense {
    struct sv_bits bits[8];
};

struct sv_span_head {
    uint32_t first; // page, 0: empty
    uint32_t last;
};

// ---- central.h ----------------------------------------------------------------------------------

struct sv_central {
    _Alignas(SV_CACHE_LINE) struct sv_lock lock;
    uint32_t code;               // const
    struct sv_span_head partial; // lock: swept, some slot free
    struct sv_span_head full;    // lock: swept, no slot free
    struct sv_span_head unswept; // lock: not looked at since the last cycle
    uint32_t nspans;             // lock
    bool gave;                   // lock: pages went back since the lock was taken
    uint64_t nused;              // lock: slots out (in caches or with the program)
    uint64_t allocated;          // lock: slots ever taken
    uint64_t freed;              // lock: slots ever returned by free()
    uint64_t reclaimed;          // lock: slots ever taken back by sweep
};

// ---- cache.h ------------------------------------------------------------------------------------

// A thread's stack of free slots of one code. Only its thread moves `top`; the collector reads
// [base, top) while that thread is stopped, wherever it was stopped: a slot in flight is in a
// register.
struct sv_bin {
    void **top;      // owner: one past the slot that malloc takes next
    void **base;     // const: empty when top == base
    void **end;      // owner: full when top == end (below the array's end while the bin is young)
    uint32_t inv;    // const: struct sv_class.inv
    uint32_t nslots; // stopper: struct sv_class.nslots, or 0, which sends free() the slow way
};
_Static_assert(sizeof(struct sv_bin) == 32, "pagemap entries and the bin table count on it");
_Static_assert(SV_NCODE * sizeof(struct sv_bin) <= SV_PAGEMAP_CODE_MASK, "a bin's offset fits");

#define SV_CACHE_LUT (1024 / 16)
#define SV_NOUT 33 // classes 0 to 32: slots of up to 1024 bytes
#define SV_NBIN                                                                                    \
    (SV_NCODE + SV_NOUT) // bins of a cache: one a code, and under `sample` those to take from

struct sv_cache {
    struct sv_bin bins[SV_NBIN];   // owner
    uintptr_t key;                 // const: the process's mark of a freed slot
    uint16_t lut[SV_CACHE_LUT];    // const: size / 16 -> byte offset of the bin
    uint8_t young[SV_NCODE];       // owner: fills of a bin so far, saturating: batches grow with it
    uint32_t gaps[SV_CLASS_LARGE]; // owner: slots until one is recorded (profile.h)
    uint32_t state;                // owner: enum sv_cache_state
    struct sv_cache *next;         // world's list lock: all caches
    struct sv_thread *thread;      // const: owner, NULL for an orphan
};

enum sv_cache_state {
    SV_CACHE_NONE, // the constant cache of a thread that has not allocated yet
    SV_CACHE_LIVE,
    SV_CACHE_DEAD // the constant cache of a thread whose destructors have run: no bins
};

// ---- pagealloc.h --------------------------------------------------------------------------------

#define SV_PAGEALLOC_LEVELS 5

struct sv_pagealloc {
    uint64_t *free;  // heap lock: a bit a page: may be taken
    uint64_t *clean; // heap lock: a bit a page: reads as zeroes without being written
    uint64_t *sum[SV_PAGEALLOC_LEVELS]; // heap lock: packed runs (start, max, end), root first
    uint32_t nsum[SV_PAGEALLOC_LEVELS]; // const: entries of each level
    uint32_t npages;                    // const: pages of the region
    uint32_t search;                    // heap lock: no free page lies before this one
    uint32_t nfree;                     // heap lock: pages free
    uint32_t ndirty; // heap lock: pages free and not clean (they still cost memory)
};

// ---- heap.h -------------------------------------------------------------------------------------

// Written with every lock of the heap held. While it isn't OFF the page map only grows: no span is
// unmade or changes its class, no memory of the region is unmapped, and slots that leave a span are
// marked as they go.
enum sv_phase {
    SV_PHASE_OFF,        // no cycle, or the program runs while it is swept
    SV_PHASE_MARK,       // objects are marked while the program runs
    SV_PHASE_TERMINATION // world stopped: the rest is marked
};

// The sweep that follows a flip, see sweep.h. All relaxed: a stale value costs a span swept sooner
// or later than need be.
struct sv_sweep {
    _Atomic uint32_t gen;      // the sweepgen being swept in proportion to allocation, 0: none
    _Atomic uint32_t code;     // where the next step begins to look
    _Atomic uint64_t pages;    // in use when it began
    _Atomic uint64_t basis;    // sv_heap.allocated when it began
    _Atomic uint64_t distance; // bytes that may be allocated until it must be done
    _Atomic uint64_t swept;    // pages of spans swept since it began
};

#define SV_STRETCH_PAGES_SHIFT 7 // pages of a stretch (stretch.h), as a power of two: 1 MiB

struct sv_heap {
    // read by malloc and free
    uintptr_t base_page;       // const after init: the region's address >> SV_PAGE_SHIFT
    uint64_t npages;           // const after init: pages reserved; 0 before init: all is foreign
    sv_pagemap_entry *pagemap; // const after init
    struct sv_span *spans;     // const after init
    struct sv_dense *dense;    // const after init
    uintptr_t base;            // const after init: the region's address
    size_t size;               // const after init: the region's bytes
    uintptr_t key;             // const after init: see struct sv_cache
    // the page heap
    _Alignas(SV_CACHE_LINE) struct sv_lock lock;
    struct sv_pagealloc pages; // lock
    uint32_t grown;            // lock: pages before this one are mapped readable and writable
    uint32_t large_first;      // lock: list of large objects, by page
    uint32_t large_deferred;   // lock: freed while objects were marked: unmade when phase is OFF
    uint64_t pages_inuse;      // lock: pages of spans
    uint64_t released_pages;   // lock: pages ever given back to the kernel
    uint64_t moved_spans;      // lock: large objects whose mapping was moved
    // what the heap may do: see enum sv_phase
    _Atomic uint32_t phase; // all of the heap's locks to write, any one of them to read exactly
    // Bytes of the slots whose mark is set; `live` after the flip. A marker reads an object's size,
    // then sets the mark, then adds, so that a large object may grow under it (large.c). Relaxed,
    // and for moments below zero: whoever frees an object may subtract before its marker has added.
    _Atomic uint64_t marked;
    _Atomic uint8_t *stretches; // const after init; what it points to: stretch.h
    bool watched;               // lock: the barrier is armed: no page moves by page tables
    // statistics and pacing, written with relaxed atomics
    _Alignas(SV_CACHE_LINE) _Atomic uint64_t live; // bytes out of spans (caches included)
    _Atomic uint64_t trigger;    // bytes of live at which a cycle starts; UINT64_MAX: never
    _Atomic uint64_t allocated;  // bytes that left spans since the start
    _Atomic uint64_t freed;      // bytes that free() brought back
    _Atomic uint64_t reclaimed;  // bytes that sweep brought back
    _Atomic uint64_t large_live; // bytes in large objects
    _Atomic uint64_t foreign;    // frees and reallocs of pointers that were not ours
    _Atomic uint32_t sweepgen;   // cycles flipped so far; a span with another number is unswept
    struct sv_sweep sweep;
    struct sv_central central[SV_NCODE];
};

// ---- world.h ------------------------------------------------------------------------------------

// Slots in a thread's cache that share a word of their span's bits.
struct sv_held {
    struct sv_span *span;
    struct sv_bits *bits;
    uint64_t slots; // a bit each
};
#define SV_HELD_MAX 8u

// What a stop reads of every thread fills the record's first two cache lines. (Metadata of a whole
// number of lines lies on lines.)
struct sv_thread {
    _Alignas(SV_CACHE_LINE) struct sv_thread *next; // world lock
    int32_t tid;                                    // const: kernel thread id
    _Atomic uint32_t epoch; // its handler, or the stopper for it: the last stop it has answered
    _Atomic uint32_t gate;  // itself: odd while it waits in the kernel (gate.h), counts up
    _Atomic uint32_t distrusted; // see enum sv_distrust: its gate doesn't count unless 0
    uintptr_t gate_sp;           // itself: the stack pointer with which it went in (gate.h)
    uintptr_t sp;            // its handler, or the stopper: the stack pointer while it is stopped
    uintptr_t frame;         // its handler: lowest address of the signal frame (all registers)
    uintptr_t frame_end;     // its handler: end of the stack that the frame lies on, 0: sp's own
    bool worker;             // const: one of the collector's own: never stopped, never a root
    bool seen;               // stopper: known to exist in this stop
    bool gone;               // stopper: ended; kept while glibc may have its stack in a cache
    bool user_stack;         // const: memory that the program gave, never cached by glibc
    uint32_t scanned;        // stopper: value of gate when its stack was visited last
    bool beside;             // stopper: it slept in the first stop, and its stack is visited after
    bool asked;              // stopper: it sleeps, and `written_lo` and `written_hi` are known
    uint8_t nheld;           // stopper: `held` in use; more than SV_HELD_MAX: more than fit
    bool ending;             // world lock: it has run its destructors
    uint32_t cached;         // stopper: value of gate when its cache was looked at last
    uint32_t cached_cycle;   // stopper: the last cycle in which its cache was blackened (phase.c)
    uintptr_t written_lo;    // stopper: between the two lies what of its stack others have written
    uintptr_t written_hi;    // stopper: since it was visited; 0: nothing
    uintptr_t stack_lo;      // const: its pthread stack, 0 when unknown
    uintptr_t stack_end;     // const: end of the stack's memory
    uintptr_t bottom;        // cycle lock: guard_lo if a guard is there, else stack_lo
    struct sv_cache *cache;  // world lock: NULL before the first malloc and after the last
    struct sv_thread *prev;  // world lock
    uintptr_t altstack;      // itself: its alternate signal stack, 0: none that libc was told of
    uintptr_t stack_hi;      // const: above the first frame; static TLS and thread block follow
    uintptr_t guard_lo;      // const: where the guard below its pthread stack is said to begin
    uintptr_t tcb;           // const: address of its thread block, 0: found by a stop
    uint32_t assist_cycle;   // itself: the cycle that its debt belongs to, by sweepgen
    int64_t assist;          // itself: bytes of scanning that it owes for what it allocated
    struct sv_thread *spare; // world lock: the next record to use again
    struct sv_thread *same_tid;       // world lock: the next record in the table by tid
    struct sv_thread *same_tcb;       // world lock: the next record in the table by tcb
    struct sv_held held[SV_HELD_MAX]; // stopper: what lay in its cache, if it slept then
};
_Static_assert(offsetof(struct sv_thread, prev) == 2 * SV_CACHE_LINE, "see above");

// Why a thread's gate doesn't count: bits of sv_thread.distrusted.
enum sv_distrust {
    SV_DISTRUST_OFF = 1,       // no cycles in this process, or a thread of the collector's
    SV_DISTRUST_CANCELLED = 2, // cancellation runs the program's clean-up inside the gate
    SV_DISTRUST_SHARED = 4,    // other tasks use its thread-local storage: clone(2)
    SV_DISTRUST_ASTRAY = 8,    // it ran code of the program's inside the gate
    SV_DISTRUST_VFORK = 16,    // a vfork child is running in its place
    SV_DISTRUST_STOPPER = 32   // it has stopped the world for the program, and may not wait for it
};

#endif
