// What the scanners layer offers: the places of a process where pointers can be found, as ranges of
// memory and candidate words. This layer knows nothing of spans, classes or marks; core decides
// what a word means. Nothing here allocates from the collected heap, takes a lock that a stopped
// thread may hold, or touches errno: all of it may be called with the world stopped.
#ifndef SV_SCANNERS_H
#define SV_SCANNERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- words.c: which words of a range look like pointers into the heap -------------------------

// Writes to `out` every word w of words[0..n) with (w - base) < size, in order, and returns how
// many. `out` has room for n words. Words are read as aligned machine words with plain loads.
typedef size_t sv_words_fn(const uintptr_t *words, size_t n, uintptr_t base, size_t size,
                           uintptr_t *out);
sv_words_fn sv_words_filter_scalar;
sv_words_fn sv_words_filter_avx2;   // caller has checked sv_words_have_avx2()
sv_words_fn sv_words_filter_avx512; // caller has checked sv_words_have_avx512()
bool sv_words_have_avx2(void);
bool sv_words_have_avx512(void);
sv_words_fn *sv_words_best(void); // the fastest kernel this processor and its kernel (XCR0) support

// The same for words that start at every fourth byte: writes every word of [lo, hi) that starts at
// a multiple of 4, ends at hi or before and passes; each once, in any order. lo <= hi are multiples
// of 4. Reads other bytes of the 64-byte lines that the range lies in, too. `out` has room for
// (hi - lo) / 4 + SV_HALVES_SLACK words, all of which may be written to.
#define SV_HALVES_SLACK 8
typedef size_t sv_halves_fn(uintptr_t lo, uintptr_t hi, uintptr_t base, size_t size,
                            uintptr_t *out);
sv_halves_fn sv_halves_filter_scalar;
sv_halves_fn sv_halves_filter_avx2;   // caller has checked sv_words_have_avx2()
sv_halves_fn sv_halves_filter_avx512; // caller has checked sv_words_have_avx512()
sv_halves_fn *sv_halves_best(void);

// The same for words with their top `tagbits` bits ignored (0..16), and for words that start at
// every byte (lo, hi any addresses; only words wholly inside). Plain loops; `out` has room for
// hi - lo words. What is written is the address that a word stands for, its ignored bits as base's.
size_t sv_words_filter_loose(uintptr_t lo, uintptr_t hi, unsigned tagbits, bool unaligned,
                             uintptr_t base, size_t size, uintptr_t *out);

// ---- proc.c: the layer's only system calls ---------------------------------------------------

// Every function returns -errno on failure and never touches errno.
int sv_proc_open(void); // an O_PATH descriptor of /proc, close-on-exec, >= 1000 if allowed
int sv_proc_file(int procfd, const char *path, int flags); // openat, checked to lie on procfs

// ---- maps.c: the mappings of this process -----------------------------------------------------

enum {
    SV_MAP_READ = 1,
    SV_MAP_WRITE = 2,
    SV_MAP_EXEC = 4,
    SV_MAP_SHARED = 8,
    SV_MAP_FILE = 16,    // backed by a file (inode != 0), /dev/zero and memfd included
    SV_MAP_STACK = 32,   // [stack]
    SV_MAP_BRK = 64,     // [heap]
    SV_MAP_KERNEL = 128, // [vvar], [vdso], [vsyscall], [uprobes]: never roots
    SV_MAP_DEVICE = 256, // may be hardware, where reading has effects: never touched
    SV_MAP_ANON = 512 // shared, but of no file that has a name: nobody but this family of processes
};

struct sv_mapping {
    uintptr_t lo;   // first byte
    uintptr_t hi;   // first byte after
    uint32_t flags; // SV_MAP_*
};

struct sv_maps {
    struct sv_mapping *v; // ascending, never overlapping
    size_t n;             // entries in use
    size_t cap;           // entries that fit
    size_t nfiles;        // of those in use, how many have SV_MAP_FILE
};

// Reads /proc/self/maps into `maps` (zeroed at first, reused from then on), growing maps->v by
// mmap, never malloc. Returns 0 or -errno. A partial listing is an error, never a result. What is
// listed is what was mapped when the call returns, if nobody else maps: sv_maps_own is in it. About
// 0.5 us a mapping.
int sv_maps_read(struct sv_maps *maps, int procfd);

// The same, but that what lies in [skip, skip + nskip), ascending and disjoint, need not be listed:
// it is left out where that is quicker. The caller's own stack and code are none of it.
int sv_maps_read_but(struct sv_maps *maps, int procfd, const struct sv_mapping *skip, size_t nskip);
struct sv_mapping sv_maps_own(const struct sv_maps *maps); // the memory of the listing itself
void sv_maps_free(struct sv_maps *maps);
const struct sv_mapping *sv_maps_find(const struct sv_maps *maps, uintptr_t addr); // or NULL

// ---- pages.c: which pages of a mapping can hold something that the program wrote ---------------

struct sv_pages {
    int pagemap_fd;         // /proc/self/pagemap, or -1: then every page of a mapping is reported
    int mem_fd;             // /proc/self/mem, for what the program made unreadable, or -1
    uint64_t pagemap_inode; // by which a descriptor that the program closed and
    uint64_t mem_inode;     //   opened as something else is noticed
    int pid;                // whose memory they show
};
int sv_pages_open(struct sv_pages *pages, int procfd); // 0, or -errno with what failed set to -1
void sv_pages_close(struct sv_pages *pages);
// 0, or -EBADF if a descriptor that was open is no longer ours. After fork they still show the
// parent's memory, which counts as no longer ours: the child closes them and opens its own.
int sv_pages_check(const struct sv_pages *pages);

typedef void sv_range_fn(void *arg, uintptr_t lo, uintptr_t hi);

// Calls fn for each run of pages of [lo, hi), inside one mapping with `flags`, that can hold a
// value the program stored: present or swapped out; in private file mappings only pages that were
// copied on write; in shared mappings the pages that the kernel has in memory, touched by this
// process or not (a forked child's page table starts empty there). Uses PAGEMAP_SCAN (Linux 6.7),
// else the pagemap's entries, else mincore(2), else reports the range whole. Returns 0 or -errno.
// Not every page reported can be read: see pages.h.
int sv_pages_each(const struct sv_pages *pages, uintptr_t lo, uintptr_t hi, uint32_t flags,
                  sv_range_fn *fn, void *arg);

// ---- roots.c: every range of the process's own memory that counts as a root --------------------

enum {                   // contract.md's `roots` option
    SV_ROOTS_DATA = 1,   // private file mappings: data, bss and relocated pages of loaded objects
    SV_ROOTS_STACKS = 2, // stacks (handled by the caller; here: whether [stack] is offered)
    SV_ROOTS_MMAP = 4,   // the program's anonymous private mappings and brk
    SV_ROOTS_SHARED = 8, // shared writable mappings
    SV_ROOTS_KERNEL = 16 // values that only the kernel holds (kernel.c)
};

// Calls fn for the runs of [lo, hi), ascending, that may have been written since tracking was
// armed. [lo, hi) are whole pages, and may span many mappings and holes. What isn't tracked counts
// as written; nothing
// else need be known of the pages, not even that they can be read. Returns 0 or -errno.
typedef int sv_written_fn(void *arg, uintptr_t lo, uintptr_t hi, sv_range_fn *fn, void *fn_arg);

// As sv_range_fn. `flags`: SV_MAP_* of the mapping that the range lies in or is a copy of.
typedef void sv_roots_fn(void *arg, uintptr_t lo, uintptr_t hi, uint32_t flags);

struct sv_roots_in {
    const struct sv_maps *maps;       // itself never a root
    const struct sv_pages *pages;     // open descriptors
    const struct sv_mapping *exclude; // sorted, disjoint ranges that are never roots: the heap, the
    size_t nexclude;                  //   collector's memory, dead parts of stacks
    unsigned which;                   // SV_ROOTS_*
    bool running;                     // the program runs, and the listing may be stale
    sv_range_fn *missed;              // with `running`: told what couldn't be read (same arg)
    sv_written_fn *written;           // NULL: all pages; else only those that it tells
    void *written_arg;                // its first argument
};

// Calls fn with every range that may hold the program's pointers: in place, or as a copy of it
// (read through /proc/self/mem into a bounce buffer, 64 KiB at a time; fn then sees the buffer's
// addresses). A copy is made where a load might be fatal: the mapping is PROT_NONE, the page isn't
// in memory, or the program runs. bss after a file mapping is an anonymous private mapping;
// read-only private mappings count when the program may have written them before (sv_pages_each
// decides by page). SV_ROOTS_KERNEL includes sv_kernel_each, whole and in place in any case. fn
// must be done with a range when it returns, and must not change mappings.
//
// World stopped: the listing was made since. Returns 0, or -errno when some range that should have
// been offered could not be read: the caller must then not reclaim.
//
// `running`: in->missed tells what couldn't be read, because it is gone or for another reason; of
// ranges that were in the listing nothing else is left out. Must be asked for again, by `written`,
// once the world is stopped. Needs pages->mem_fd; -EACCES without.
int sv_roots_each(const struct sv_roots_in *in, sv_roots_fn *fn, void *arg);

// The parts of the listed mappings that sv_roots_each looks for pages in, exclusions cut out. Reads
// nothing but maps, exclude and which. Any context.
void sv_roots_windows(const struct sv_roots_in *in, sv_roots_fn *fn, void *arg);

// ---- kernel.c: words that only the kernel holds ------------------------------------------------

enum sv_kernel_kind {
    SV_KERNEL_EPOLL,
    SV_KERNEL_TIMER,
    SV_KERNEL_AIO,
    SV_KERNEL_MQ,
    SV_KERNEL_SIGQUEUE
};
// Remembers `word` under (kind, a, b), replacing what stood there; drop forgets it. Called by
// wrappers in any thread, from signal handlers too: lock-free, no allocation but mmap. Returns 0 or
// -ENOMEM.
int sv_kernel_hold(enum sv_kernel_kind kind, uintptr_t a, uintptr_t b, uintptr_t word);
void sv_kernel_drop(enum sv_kernel_kind kind, uintptr_t a, uintptr_t b);
// Calls fn for ranges that hold all remembered words (world stopped).
void sv_kernel_each(sv_range_fn *fn, void *arg);

#endif
