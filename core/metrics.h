// The metrics: the statistics as OpenMetrics text, in the file that the option `stats` names.
#ifndef SV_METRICS_H
#define SV_METRICS_H

#include "text.h"

#define SV_METRICS_ROOM (24u << 10) // bytes that always hold the text

// Once, at start (the first allocation), after the options were read: a relative name is meant from
// where the process is now.
void sv_metrics_start(void);

// Rewrites the file; without the option, does nothing. A failure costs one line in the log, the
// first time. Cycle lock held, world running.
void sv_metrics_write(void);

// The text alone, as of now. No lock of ours but the cycle's held.
void sv_metrics_put(struct sv_text *t);

#endif
