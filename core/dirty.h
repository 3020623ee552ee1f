// Written pages of the heap, from the barrier's answer until they are scanned again. There are two
// lists, halves: each of the two who fetch and scan inside a stop has its own to fill.
#ifndef SV_DIRTY_H
#define SV_DIRTY_H

#include <stdbool.h>
#include <stdint.h>

#include "barrier.h"
#include "mark.h"

// Room for all that a heap of today's size can hold; false: memory is short. Before a cycle, by its
// driver, as are the next two.
bool sv_dirty_ready(void);

// Forgets what was fetched and not scanned.
void sv_dirty_clear(void);

// Which parts of the heap are to be fetched next: those in which something is marked.
void sv_dirty_windows(void);

// Fetches what was written in this half's parts, and watches it again if `again`, unless that would
// only cost. Until `deadline` (ns, 0: none), then to be called again. Two threads, each for a half.
void sv_dirty_fetch(unsigned half, const struct sv_barrier *barrier, bool again, uint64_t deadline);

// By the driver, after both: *pages (of the hardware's) that the last two calls have brought.
// False: the barrier failed.
bool sv_dirty_fetched(uint64_t *pages);
bool sv_dirty_windows_done(void); // is all of all parts fetched?

// Scans ranges of both lists, its own first, until none is left or it is `deadline` (ns, 0: none).
// Two threads at the same time.
void sv_dirty_scan(unsigned half, struct sv_marker *m, uint64_t deadline);
uint32_t sv_dirty_left(void); // ranges that nobody has taken

#endif
