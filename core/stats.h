// The statistics: what the collector did, as numbers, and as a line for each cycle.
//
// A cycle has a struct sv_stats_cycle of its own, which the thread that drives it fills: stops by
// sv_stats_stop, everything else by assignment. At the end it goes to sv_stats_cycle, or with the
// reason to sv_stats_abandoned; either adds it to the totals.
#ifndef SV_STATS_H
#define SV_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "histogram.h"

enum sv_stats_stop {
    SV_STOP_PREPARE,     // before the mark
    SV_STOP_TERMINATION, // after it; the only one of a cycle that marks with the world stopped
    SV_NSTOP
};

// What processor time was spent on.
enum sv_stats_cpu {
    SV_CPU_ASSIST,     // marking by threads that allocate
    SV_CPU_BACKGROUND, // marking by workers
    SV_CPU_IDLE,       // marking by workers on processors that had nothing to do
    SV_CPU_PAUSE,      // the world stood still: counts once for each processor
    SV_CPU_SWEEP,
    SV_NCPU
};

struct sv_stats_pause {
    uint64_t stopping; // ns until the world stood still
    uint64_t total;    // ns until it ran again
};

struct sv_stats_cycle {
    const char *barrier; // struct sv_barrier.name
    bool forced;         // by the program or by an option
    uint32_t workers;    // background markers that took part
    // sv_stats_stop fills these
    uint64_t began;                       // ns, monotonic: the first stop's first signal
    uint64_t marking;                     // ns, monotonic: when the preparing stop ended, 0: none
    uint64_t ended;                       // ns, monotonic: when the last stop ended
    uint64_t mark;                        // ns from the first stop's end to the last one's begin
    struct sv_stats_pause stop[SV_NSTOP]; // the last one of each kind
    struct sv_stats_pause all[SV_NSTOP];  // sums over all of each kind
    uint32_t attempts;                    // stops to end the mark; all but the last went back to it
    // processor time, ns
    uint64_t assist;
    uint64_t background; // outside of the stops, idle left out
    uint64_t idle;
    // the heap, bytes
    uint64_t live_start;  // out of spans when the cycle began
    uint64_t live_end;    // out of spans when the mark ended
    uint64_t live_marked; // what of it was marked
    uint64_t goal;        // what this cycle was to end below; UINT64_MAX: none
    // work
    uint64_t stacks;      // bytes of stacks scanned
    uint64_t roots;       // bytes of other roots scanned
    uint64_t objects;     // marked
    uint64_t scanned;     // bytes looked at, roots included
    uint64_t assists;     // times that an allocating thread marked
    uint64_t dirty;       // pages that were found written, each time counted
    uint64_t dirty_final; // those of them that were found by the last stop
    uint32_t rounds;      // of pre-cleaning
    uint32_t threads;     // signalled by the last stop
    uint32_t asleep;      // left asleep by it
};

// Everything at one time. What is counted is counted since the start.
struct sv_stats_read {
    uint64_t cycles;           // finished
    uint64_t cycles_abandoned; // given up
    uint64_t heap_live;        // bytes out of spans
    uint64_t heap_trigger;     // bytes at which the next cycle starts; UINT64_MAX: never
    uint64_t heap_goal;        // bytes that it is to end below; UINT64_MAX: none
    uint64_t heap_mapped;      // bytes of spans
    uint64_t heap_reserved;    // bytes of the region
    uint64_t fragmentation;    // bytes of spans that are not out
    uint64_t allocated;        // bytes
    uint64_t freed;            // bytes, by free()
    uint64_t reclaimed;        // bytes, by sweep
    uint64_t released;         // bytes, to the kernel
    uint64_t metadata;         // bytes
    uint64_t foreign;          // pointers
    uint64_t pause_last;       // ns: the longest stop of the last cycle
    uint64_t pause_max;        // ns
    uint64_t pause_total;      // ns
    uint64_t cpu[SV_NCPU];     // ns
    uint64_t dirty;            // struct sv_stats_cycle.dirty of the last cycle
    uint32_t workers;          // of the last cycle
    const char *barrier;       // of the last cycle; NULL before the first
    struct {
        uint64_t p50; // ns; see sv_histogram_quantile
        uint64_t p99; // ns
        uint64_t max; // ns, exact
    } pause[SV_NSTOP];
};

// The clock starts; once, at start. now: sv_os_now().
void sv_stats_start(uint64_t now);

// A stop is over, and the world runs again: began when the first signal was sent, stood when the
// last thread had answered, ended now. Cycle lock held.
void sv_stats_stop(struct sv_stats_cycle *c, enum sv_stats_stop which, uint64_t began,
                   uint64_t stood, uint64_t ended);

// A cycle is over. Cycle lock held, world running. `reason` is a constant string.
void sv_stats_cycle(const struct sv_stats_cycle *c);
void sv_stats_abandoned(const struct sv_stats_cycle *c, const char *reason);

// What the next cycle, or the one under way, is to end below; UINT64_MAX: none. When that moves.
void sv_stats_goal(uint64_t bytes);

// Processor time that was spent outside of a cycle: sweeping. Any thread, any lock.
void sv_stats_cpu_add(enum sv_stats_cpu what, uint64_t ns);

// Everything now. Any thread, no lock of ours held.
void sv_stats_read(struct sv_stats_read *out);

// All stops of one kind.
const struct sv_histogram *sv_stats_pauses(enum sv_stats_stop which);

// The reasons for which cycles were abandoned: calls fn for each with its count. Any thread.
void sv_stats_reasons(void (*fn)(void *arg, const char *reason, uint64_t count), void *arg);

#endif
