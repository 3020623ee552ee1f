// The scavenger: free pages that the program hasn't needed for a while go back to the kernel.
#ifndef SV_SCAVENGE_H
#define SV_SCAVENGE_H

#include "core.h"

// Called after pages came back, with no lock but perhaps a central's held. Cheap when there is
// nothing to do.
void sv_scavenge_poll(void);

// Everything that is free goes back now; bytes released. For malloc_trim and memory limits.
size_t sv_scavenge_all(void);

// Somebody else released `bytes` (statistics).
void sv_scavenge_count(size_t bytes);

#endif
