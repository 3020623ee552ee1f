// The pacer: when the next cycle starts. Pure functions of numbers, tested by simulation.
#ifndef SV_PACER_H
#define SV_PACER_H

#include <stdbool.h>
#include <stdint.h>

#define SV_PACER_FIRST ((uint64_t)8 << 20) // bytes live at which the first cycle starts

struct sv_pacer {
    uint32_t gcpercent; // const: UINT32_MAX: never by growth
    uint32_t stretch;   // how many times the ordinary growth the next cycle waits for: 1..3
};

struct sv_pacer_cycle {   // what the cycle that just ended found
    uint64_t live_before; // bytes out of spans when it started
    uint64_t live_after;  // bytes out of spans that it left
    uint64_t roots;       // bytes of roots scanned: stacks and everything else
};

// The bytes of live heap at which the next cycle starts, UINT64_MAX: never. Updates the stretch: a
// cycle that gave back next to nothing shows a program that frees its memory; the next ones wait
// for more growth, up to a heap of four times what is live; the first that does reclaim ends that.
uint64_t sv_pacer_next(struct sv_pacer *pacer, const struct sv_pacer_cycle *cycle);

#endif
