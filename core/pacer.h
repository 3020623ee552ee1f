// The pacer: when a cycle starts, how fast it marks, who marks. Pure functions of numbers, without
// a clock or a lock: the caller passes times and counters, and keeps calls on one pacer apart. The
// assist ratio is what other threads need while a cycle runs; whoever shares it copies it into an
// atomic after each sv_pacer_revise.
//
// A cycle: sv_pacer_due, sv_pacer_start, sv_pacer_revise as often as one likes, sv_pacer_end,
// sv_pacer_commit; or sv_pacer_abandon instead of the last two. Bytes of *work* are bytes looked at
// for pointers: of objects, roots, and what is looked at again because it was written.
#ifndef SV_PACER_H
#define SV_PACER_H

#include <stdbool.h>
#include <stdint.h>

#define SV_PACER_OFF UINT32_MAX            // gcpercent: never by growth
#define SV_PACER_NOLIMIT UINT64_MAX        // memlimit: none
#define SV_PACER_FIRST ((uint64_t)8 << 20) // least goal, at gcpercent 100
#define SV_PACER_HISTORY 4u

struct sv_pacer_memory { // bytes, for the memory limit
    uint64_t mapped;     // mapped and not given back to the kernel: free pages, metadata included
    uint64_t free;       // free pages among them
    uint64_t inuse;      // objects in use, garbage that isn't swept yet included
};

struct sv_pacer_found {            // what a cycle found
    uint64_t live;                 // bytes out of spans just before the flip
    uint64_t marked;               // bytes of them that were marked
    uint64_t heap_work;            // work on objects, looking again included
    uint64_t stacks;               // bytes of stacks
    uint64_t others;               // bytes of other roots
    uint64_t cpu;                  // ns of CPU that the cycle took; 0: not known
    uint64_t released;             // bytes ever given back to the kernel
    struct sv_pacer_memory memory; // as the cycle left it
};

struct sv_pacer {
    uint32_t gcpercent;  // const: growth in percent, SV_PACER_OFF
    uint32_t procs;      // const: processors that the process may use
    uint64_t memlimit;   // const: bytes, SV_PACER_NOLIMIT
    uint64_t floor;      // between cycles: bytes that the program wants to use; 0: no such
    bool stw;            // const: cycles stop the world, so the trigger is the goal
    bool marking;        // start, end: a cycle runs
    bool sweeping;       // commit, swept: the last cycle's garbage isn't all swept
    bool yielded;        // commit: some cycle gave something back
    uint32_t stretch;    // commit: times the ordinary growth that the goal allows: 1..3
    uint64_t kept;       // commit: bytes that earlier goals allowed, less those released
    uint64_t released;   // commit: bytes ever given back to the kernel
    uint64_t marked;     // commit: bytes that the last cycle marked
    uint64_t work_heap;  // commit: its work on objects ...
    uint64_t work_live;  // commit: ... of so many bytes that were live when it started
    uint64_t work_roots; // commit: its work on roots
    uint64_t postponed;  // abandon, due: not before so many bytes are live; 0: no such
    uint64_t triggered;  // start: bytes live when the cycle started
    uint64_t cpu;        // commit: ns that all cycles took
    uint64_t cpu_bytes;  // commit: bytes that they marked in this time
    struct sv_pacer_memory memory; // commit, memory
    double cons[SV_PACER_HISTORY]; // end: bytes of growth for a byte of work, last cycles
    uint32_t cons_next;            // end: the oldest of them
    double assist_work;            // revise: work that goes with a byte of growth
};

// `stw` may be set afterwards, before the first cycle. gcpercent 0 counts as 1.
void sv_pacer_init(struct sv_pacer *p, uint32_t gcpercent, uint64_t memlimit, uint32_t procs);

// Bytes live: where the next cycle should end, and where it has to start for that. UINT64_MAX:
// never. The goal is at least the trigger; both are at least what was marked, unless a memory limit
// leaves less room (then trigger and goal are equal, and cycles follow one another).
uint64_t sv_pacer_goal(const struct sv_pacer *p);
uint64_t sv_pacer_trigger(const struct sv_pacer *p);

// The goal without memory of earlier highs: what the scavenger works toward.
uint64_t sv_pacer_retain(const struct sv_pacer *p);

// Bytes that a cycle is expected to look at when it starts with so many live.
double sv_pacer_work(const struct sv_pacer *p, uint64_t live);

// The trigger is passed: does a cycle start? No for a program that has lost nothing so far and for
// which the cycle would be dear; then the trigger has moved up. `cpu`: ns that the process used so
// far, 0: not known (then yes).
bool sv_pacer_due(struct sv_pacer *p, uint64_t live, uint64_t cpu);

// A cycle starts, by its trigger or because somebody asked for it.
void sv_pacer_start(struct sv_pacer *p, uint64_t live);

// While it marks: sets the assist ratio. `done`: work so far, roots included.
void sv_pacer_revise(struct sv_pacer *p, uint64_t live, uint64_t done);

// Marking is over: `live` before the flip, all work done, ns that marking lasted, ns of assists and
// of marking beyond the workers' share (on processors that nobody used), summed over threads.
void sv_pacer_end(struct sv_pacer *p, uint64_t live, uint64_t work, uint64_t duration,
                  uint64_t assists, uint64_t idle);

// After the flip: sets the next goal and trigger. What was marked is not swept yet, which keeps the
// trigger a mebibyte away, until sv_pacer_swept.
void sv_pacer_commit(struct sv_pacer *p, const struct sv_pacer_found *found);

// The cycle found nothing out: the next one by growth waits until the heap has grown by half.
void sv_pacer_abandon(struct sv_pacer *p, uint64_t live);

// The last cycle's garbage is swept: the trigger may come as near as it likes.
void sv_pacer_swept(struct sv_pacer *p);

// Between cycles, as often as one likes: moves the goal of the memory limit.
void sv_pacer_memory(struct sv_pacer *p, const struct sv_pacer_memory *memory);

// Who marks in the background: a quarter of the processors. `dedicated` workers mark all the time;
// one more uses `share` of one processor, over time, if that isn't 0.
struct sv_pacer_workers {
    uint32_t dedicated;
    double share; // 0..1
};
struct sv_pacer_workers sv_pacer_workers(uint32_t procs);

#endif
