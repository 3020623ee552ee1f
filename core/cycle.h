// The cycle: one whole collection, from the decision to the sweep's start.
#ifndef SV_CYCLE_H
#define SV_CYCLE_H

#include "core.h"
#include "heap.h"

// Called once, after the options were read: sets the first trigger.
void sv_cycle_init(void);

// Has a whole collection done that begins after the call, whatever the pacer thinks, sweeps to the
// end, and returns the bytes that came back meanwhile; 0 also when it was abandoned. No lock held.
size_t sv_cycle_collect(void);

// The slow half of sv_cycle_poll.
void sv_cycle_check(size_t bytes);

// Slow-path allocations left until something else is checked.
extern _Atomic uint32_t sv_cycle_ticks;

// Called on the slow path of allocation, before `bytes` leave the heap. May run a cycle. No lock
// held.
static inline void sv_cycle_poll(size_t bytes)
{
    uint64_t live = atomic_load_explicit(&sv_heap.live, memory_order_relaxed);
    if (sv_unlikely(live + bytes >= atomic_load_explicit(&sv_heap.trigger, memory_order_relaxed)) ||
        sv_unlikely(atomic_fetch_sub_explicit(&sv_cycle_ticks, 1, memory_order_relaxed) == 1))
        sv_cycle_check(bytes);
}

// Ends the collector's threads, for calls that only a process with a single thread may make; the
// next cycle starts them again. Any thread, no lock held.
void sv_cycle_single(void);

// The program is about to watch its own memory by a userfaultfd, and a mapping has one watcher:
// from here on cycles stop the world. Returns when none that watches is under way. Any thread, no
// lock held.
void sv_cycle_unwatch(void);

// For a call of the program's that fails where the memory that it names lies in pieces, and that can
// be made again: a cycle registers mappings with the kernel one after the other, and a part of one
// when the program has changed it meanwhile. Before the call, with how many cycles have ended; after
// it failed, and while that answers true, once more. Waits for the end of a cycle. Any thread, no
// lock held, also in a handler.
uint32_t sv_cycle_count(void);
bool sv_cycle_passed(uint32_t *count);

// No stop is under way, and none begins, between these two: for exec (a stop signal that arrives
// after the new program has started would kill it). Not recursive. In a vfork child, whose memory
// is the parent's, block does nothing and says so with false: then don't call unblock.
bool sv_cycle_block(void);
void sv_cycle_unblock(void);

// The program is about to change its root directory: keeps /proc open from now on, above the
// numbers that programs use.
void sv_cycle_proc_keep(void);

// Around fork; what prepare answers goes to the other two. LOCKED: every lock of the core is the
// forking thread's, outermost first. ALONE: there was no thread but the collector's idle worker,
// and that is gone. INSIDE: a signal handler forks while its thread is inside one of the locks, so
// none is taken; what other threads were doing is cut off in the child.
enum sv_fork { SV_FORK_ALONE, SV_FORK_LOCKED, SV_FORK_INSIDE };
enum sv_fork sv_cycle_fork_prepare(void);
void sv_cycle_fork_parent(enum sv_fork how);
void sv_cycle_fork_child(enum sv_fork how);

// A range that is never a root: the library's own data. At start, a few times.
void sv_cycle_exclude(uintptr_t lo, uintptr_t hi);

// Ranges of the program's that count as roots wherever they lie. False: memory is short.
bool sv_cycle_root_add(uintptr_t lo, uintptr_t hi);
void sv_cycle_root_remove(uintptr_t lo, uintptr_t hi);

#endif
