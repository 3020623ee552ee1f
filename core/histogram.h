// Histogram: how often a duration of which order came, in a fixed number of counters.
#ifndef SV_HISTOGRAM_H
#define SV_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

#define SV_HISTOGRAM_LOW 10u  // the first bucket ends at 2^LOW ns: about 1 us
#define SV_HISTOGRAM_HIGH 34u // the last one that has an end ends at 2^HIGH ns: about 17 s
#define SV_HISTOGRAM_SUB 2u   // each doubling is divided by four, evenly
#define SV_HISTOGRAM_N (2 + ((SV_HISTOGRAM_HIGH - SV_HISTOGRAM_LOW) << SV_HISTOGRAM_SUB))

// All zero: empty. One thread adds at a time; anybody reads at any time, so a reader may see a
// count without its sum.
struct sv_histogram {
    _Atomic uint64_t count[SV_HISTOGRAM_N]; // relaxed: values in each bucket
    _Atomic uint64_t sum;                   // relaxed: of all values, ns
    _Atomic uint64_t max;                   // relaxed: the greatest value, ns
};

// Counts a duration of `ns`.
void sv_histogram_add(struct sv_histogram *h, uint64_t ns);

// The bucket of a duration; and the greatest duration in a bucket, UINT64_MAX for the last one.
unsigned sv_histogram_bucket(uint64_t ns);
uint64_t sv_histogram_end(unsigned bucket);

// How many values were counted.
uint64_t sv_histogram_total(const struct sv_histogram *h);

// A duration, in ns, that `permille` of the counted ones (1..1000) don't exceed, and at most one
// bucket above the smallest such; never above the greatest value. 0 when empty.
uint64_t sv_histogram_quantile(const struct sv_histogram *h, unsigned permille);

#endif
