// The statistics: what the collector did, as numbers, and as a line for each cycle.
#ifndef SV_STATS_H
#define SV_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct salvage_stats;

struct sv_stats_cycle {   // one finished cycle
    uint64_t began;       // ns, monotonic
    uint64_t stopping;    // ns until the world stood still
    uint64_t pause;       // ns from the first signal until the world ran again
    uint64_t live_before; // bytes
    uint64_t live_marked; // bytes
    uint64_t stacks;      // bytes of stacks scanned
    uint64_t roots;       // bytes of other roots scanned
    uint64_t goal;        // bytes at which the next one starts
    uint64_t objects;     // marked
    uint64_t scanned;     // bytes looked at, roots included
    unsigned threads;     // in the world
    bool forced;          // by the program or by an option
    const char *barrier;
};

// The world lock or the cycle lock is held by the callers of these two.
void sv_stats_cycle(const struct sv_stats_cycle *c);
void sv_stats_abandoned(const char *reason);

// Everything now. Any thread, no lock of ours held.
void sv_stats_read(struct salvage_stats *out);

#endif
