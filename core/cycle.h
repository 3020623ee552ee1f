// The cycle: one whole collection, from the decision to the sweep's start.
#ifndef SV_CYCLE_H
#define SV_CYCLE_H

#include "core.h"
#include "heap.h"

// Called once, after the options were read: chooses the barrier and sets the first trigger.
void sv_cycle_init(void);

// Runs a whole collection now, by the calling thread, whatever the pacer thinks, and sweeps to the
// end. Returns the bytes that it brought back; 0 also when the cycle was abandoned. No lock held.
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

// No stop is under way, and none begins, between these two: for exec (a stop signal that arrives
// after the new program has started would kill it). Not recursive. In a vfork child, whose memory
// is the parent's, block does nothing and says so with false: then don't call unblock.
bool sv_cycle_block(void);
void sv_cycle_unblock(void);

// The program is about to change its root directory: keeps /proc open from now on, above the
// numbers that programs use.
void sv_cycle_proc_keep(void);

// Around fork: every lock of the core, outermost first; the child starts with the calling thread
// alone.
void sv_cycle_fork_prepare(void);
void sv_cycle_fork_parent(void);
void sv_cycle_fork_child(void);

// In the child of a process that had a single thread, without prepare: nobody else can have held a
// lock, and the thread itself may: a signal handler that forks while its thread is inside malloc.
void sv_cycle_fork_child_alone(void);

// A range that is never a root: the library's own data. At start, a few times.
void sv_cycle_exclude(uintptr_t lo, uintptr_t hi);

// Ranges of the program's that count as roots wherever they lie. False: memory is short.
bool sv_cycle_root_add(uintptr_t lo, uintptr_t hi);
void sv_cycle_root_remove(uintptr_t lo, uintptr_t hi);

#endif
