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

// Asks for a whole collection by the worker and doesn't wait; nothing happens where there is none.
void sv_cycle_ask(void);

// Is one asked for or under way?
bool sv_cycle_running(void);

// For a client that wants no cycles from now on (client.h): waits until none is asked for or under
// way. No lock held.
void sv_cycle_settle(void);

// Growth between cycles in percent of what is live, as the option of that name; waits for the end
// of a cycle. No lock held.
void sv_cycle_gcpercent(uint32_t percent);

// No cycle by growth ends below so many bytes; likewise.
void sv_cycle_floor(uint64_t bytes);

// Between the two all other threads of the program's stand still, and the caller has all locks of
// the core: it may neither allocate nor wait. NULL, or why not: then don't call the other.
const char *sv_cycle_stop(void);
void sv_cycle_start(void);

// How the command gets at this process (preload/link.c): a thread beside the driver, which shares
// the driver's descriptors. NULL: it doesn't. Set at start.
struct sv_cycle_link {
    bool (*open)(void);  // the driver, before the thread is made; false: none is to be made
    void (*serve)(void); // what the thread runs, until it is told to end
    void (*close)(void); // the driver: it must end
    bool (*busy)(void);  // anyone: somebody is being answered
};
extern const struct sv_cycle_link *sv_cycle_link;

// What is to be done by time, between cycles; in nanoseconds, when to be called again, 0: whenever.
// The driver calls it, no lock held. NULL: nothing. Set at start.
extern uint64_t (*sv_cycle_on_time)(void);
// The link is wanted and isn't there: in mode=leaks from the start, else from the first cycle on.
extern _Atomic bool sv_cycle_unlinked;
void sv_cycle_relink(void);

// Called on the slow path of allocation and where an allocation is recorded, no lock held: brings
// the collector's threads back that fork or sv_cycle_single ended.
static inline void sv_cycle_link_poll(void)
{
    if (sv_unlikely(atomic_load_explicit(&sv_cycle_unlinked, memory_order_relaxed)))
        sv_cycle_relink();
}

// The slow half of sv_cycle_poll.
void sv_cycle_check(size_t bytes);

// Slow-path allocations left until something else is checked.
extern _Atomic uint32_t sv_cycle_ticks;

// ---- checks for leaks ---------------------------------------------------------------------------

// A whole collection that begins after the call, by the worker beside the program, swept to the
// end. 0: one has flipped; or -errno: no worker can be had, or its cycles were given up. Waits;
// words of the caller's stack below `sp` are no roots meanwhile (0: all counts). No lock held; any
// thread of the program's or the collector's.
int sv_cycle_beside(uintptr_t sp);

// Keeps cycles away: the caller has the cycle lock until release. 0, or -errno: the process has no
// cycles, here or at all (-ENOTSUP); the caller has interrupted itself inside one of the core's
// locks (-EDEADLK); or whoever has the lock keeps it for too long (-ETIMEDOUT).
int sv_cycle_hold(void);
void sv_cycle_release(void);

// Between the two: a whole collection by the calling thread, with the world stopped, swept to the
// end. `sp`: where the live part of its stack begins, its registers are then no roots; 0: both as
// they are. `look`: see struct sv_phase_in. NULL, or why it was given up.
const char *sv_cycle_here(uintptr_t sp, void (*look)(uint64_t marked));

// After that: there was no other thread of the program's.
bool sv_cycle_alone(void);

// /proc, open for reading what lies in it; close it. Or -errno.
int sv_cycle_proc(void);

// ---- by allocation ------------------------------------------------------------------------------

// Called on the slow path of allocation, before `bytes` leave the heap. May run a cycle. No lock
// held.
static inline void sv_cycle_poll(size_t bytes)
{
    uint64_t live = atomic_load_explicit(&sv_heap.live, memory_order_relaxed);
    sv_cycle_link_poll();
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

// For a call of the program's that fails where the memory that it names lies in pieces, and that
// can be made again: a cycle registers mappings with the kernel one after the other, and a part of
// one when the program has changed it meanwhile. Before the call, with how many cycles have ended;
// after it failed, and while that answers true, once more. Waits for the end of a cycle. Any
// thread, no lock held, also in a handler.
uint32_t sv_cycle_count(void);
bool sv_cycle_passed(uint32_t *count);

// No stop is under way, and none begins, between these two: for exec (a stop signal that arrives
// after the new program has started would kill it). Not recursive. In a vfork child, whose memory
// is the parent's, block does nothing and says so with false: then don't call unblock.
bool sv_cycle_block(void);
void sv_cycle_unblock(void);

// Is the calling thread inside one of the core's locks? Signal handlers included.
bool sv_cycle_locked_here(void);

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

// Ranges that are no roots, wherever they lie; [0, 0) takes back all that was said. False: memory
// is short.
bool sv_cycle_root_leave(uintptr_t lo, uintptr_t hi);

#endif
