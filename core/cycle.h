// The cycle: one whole collection, from the decision to the sweep's start.
#ifndef SV_CYCLE_H
#define SV_CYCLE_H

#include "core.h"

// Runs a whole collection now, by the calling thread, whatever the pacer thinks, and sweeps to the end.
// Returns the bytes that it brought back; 0 also when the cycle was abandoned. No lock held.
size_t sv_cycle_collect(void);

// Called on the slow path of allocation when live bytes passed the trigger. No lock held.
void sv_cycle_poll(void);

// No stop is under way, and none begins, between these two: for exec (a stop signal that arrives after
// the new program has started would kill it) and fork. Not recursive. In a vfork child, whose memory
// is the parent's, block does nothing and says so with false: then don't call unblock.
bool sv_cycle_block(void);
void sv_cycle_unblock(void);

#endif
