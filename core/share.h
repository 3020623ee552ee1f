// The driver's share of the processors.
#ifndef SV_SHARE_H
#define SV_SHARE_H

#include <stdint.h>

// The driver, before it marks. `share` of one processor is its own even when others want it: Go's
// 25 % of all processors, at most 1.
void sv_share_begin(int procfd, double share);
void sv_share_end(void);

// The driver, between slices of marking: sleeps for as long as it has run beyond its share while
// somebody waited for a processor. Returns at once most of the time.
void sv_share_nap(void);

#endif
