// Write tracking: which pages of this process were written since one asked last. track.c says how.
//
// A page that isn't tracked counts as written. So a caller may watch what it likes, and ask about
// more than it watched: the worst that a range which can't be watched does is to be reported whole.
//
// Not seen by any tracker: writes that don't go through the page table. That is DMA into pages that
// the kernel had pinned before they were watched (O_DIRECT, buffers registered with io_uring), and
// for shared mappings what comes by way of the file, by another mapping of it, or from another
// process. A page of a shared mapping that left the page table after it was written (MADV_DONTNEED,
// reclaim) is not reported either, though it still has its contents.
#ifndef SV_TRACK_H
#define SV_TRACK_H

#include "scanners.h"

enum sv_track_kind {
    SV_TRACK_UFFD,     // userfaultfd's asynchronous write protection with PAGEMAP_SCAN, Linux 6.7
    SV_TRACK_SOFTDIRTY // the kernel's soft-dirty bits, where it was built with them
};

// One user at a time; opened for a cycle by the thread that drives it, and closed after it.
struct sv_track {
    enum sv_track_kind kind; // const while open
    int pid;                 // const while open: whose memory it watches
    int arm_fd;              // the userfaultfd, or clear_refs; -1: closed
    int pagemap_fd;          // -1: closed
    uint64_t arm_inode;      // by which a descriptor that the program closed and
    uint64_t pagemap_inode;  //   opened as something else is noticed
    uint64_t empty;          // const while open: categories of pages that hold nothing; 0: no scan
    uintptr_t dense_lo;      // driver: see sv_track_dense
    uintptr_t dense_hi;      // driver
    bool armed;              // soft-dirty: the process's bits were cleared since it was opened
    bool private;            // who opened it: nobody else can close its descriptors
};

// 0 or -errno. The first time in a process (again after fork) it proves on a page of its own that
// writes are seen; if they are not, then and ever after -ENOTSUP. `procfd` is sv_proc_open's and is
// not kept. On failure everything is closed. Soft-dirty: clears the bits of the whole process.
int sv_track_open(struct sv_track *t, enum sv_track_kind kind, int procfd);

// Closes what is still ours, and stops watching what is still watched. May be called again.
void sv_track_close(struct sv_track *t);

// From now on writes to [lo, hi), widened to whole pages, are seen; may be called again for ranges
// that are watched. Returns 0, or -errno and the range stays untracked, wholly or in part: the
// caller can go on. -EBUSY: the program watches some of it with a userfaultfd of its own. Holes are
// left out. Threads that fault meanwhile aren't held up; mmap, munmap and the like are, by some
// tenths of a millisecond at a time.
int sv_track_watch(struct sv_track *t, uintptr_t lo, uintptr_t hi);

// [lo, hi) has memory nearly everywhere: it is looked at in the kernel's quickest way, which takes
// pages that hold nothing for pages that do. They are reported once as written, and cost an entry
// of a page table each until they are released. Before the range is watched; one range.
void sv_track_dense(struct sv_track *t, uintptr_t lo, uintptr_t hi);

// Calls fn for every page of [lo, hi), in runs that ascend, that holds something (in memory or
// swapped out) and was written since it was watched, or since the last call with `again`; pages of
// what isn't tracked are reported whether written or not. The range may span mappings and holes.
// With `again` the reported pages are watched again before fn is called for them, at once with
// being found: a write is either seen by a reader that fn starts, or reported by the next call.
// What appears while the call runs may only be reported by the next. Without `again` pages stay
// written. Mappings that are new in [lo, hi) are watched from now on.
// 0 or -errno: then pages may have been watched again without being reported, and the caller has to
// take everything as written. -EBADF: the program closed a descriptor, or this is a forked child.
// Soft-dirty can't do both at once: `again` has no effect there.
int sv_track_written(struct sv_track *t, uintptr_t lo, uintptr_t hi, bool again, sv_range_fn *fn,
                     void *arg);

// Stops watching [lo, hi), so that the program pays no faults for it any more and its mappings can
// merge. What this leaves out (shared with another userfaultfd, moved elsewhere) sv_track_close
// does. Holds up other threads' mmap as sv_track_watch does, and faults in the same mapping too.
void sv_track_release(struct sv_track *t, uintptr_t lo, uintptr_t hi);

// For track.c and its test: calls fn for the runs among n entries of /proc/PID/pagemap that are in
// use and soft-dirty; the first is the page at `at`.
void sv_track_entries(const uint64_t *entries, size_t n, uintptr_t at, sv_range_fn *fn, void *arg);

#endif
