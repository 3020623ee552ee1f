// Histograms of durations with fixed buckets, as Go's runtime/histogram.go has them: four to each
// doubling, from a microsecond to some seconds, one below and one above. The place of a value is
// its leading bits, so that adding costs a few instructions and no search, and any two histograms
// can be added or subtracted bucket by bucket. A quantile is off by at most a bucket's width: a
// quarter of the value.
//
// A bucket includes its end and not its beginning, which is what "le" means in OpenMetrics; that is
// why a value goes by the bits of its predecessor.
#include "histogram.h"

#define SUBS (1u << SV_HISTOGRAM_SUB)

unsigned sv_histogram_bucket(uint64_t ns)
{
    uint64_t below = ns ? ns - 1 : 0;
    if (below >> SV_HISTOGRAM_LOW == 0)
        return 0;
    unsigned top = 63u - (unsigned)__builtin_clzll(below);
    if (top >= SV_HISTOGRAM_HIGH)
        return SV_HISTOGRAM_N - 1;
    unsigned sub = (unsigned)(below >> (top - SV_HISTOGRAM_SUB)) & (SUBS - 1);
    return 1 + (top - SV_HISTOGRAM_LOW) * SUBS + sub;
}

uint64_t sv_histogram_end(unsigned bucket)
{
    if (bucket == 0)
        return (uint64_t)1 << SV_HISTOGRAM_LOW;
    if (bucket >= SV_HISTOGRAM_N - 1)
        return UINT64_MAX;
    unsigned top = SV_HISTOGRAM_LOW + (bucket - 1) / SUBS;
    uint64_t sub = (bucket - 1) % SUBS;
    return ((uint64_t)1 << top) + ((sub + 1) << (top - SV_HISTOGRAM_SUB));
}

void sv_histogram_add(struct sv_histogram *h, uint64_t ns)
{
    atomic_fetch_add_explicit(&h->count[sv_histogram_bucket(ns)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum, ns, memory_order_relaxed);
    if (ns > atomic_load_explicit(&h->max, memory_order_relaxed))
        atomic_store_explicit(&h->max, ns, memory_order_relaxed);
}

uint64_t sv_histogram_total(const struct sv_histogram *h)
{
    uint64_t total = 0;
    for (unsigned i = 0; i < SV_HISTOGRAM_N; i++)
        total += atomic_load_explicit(&h->count[i], memory_order_relaxed);
    return total;
}

uint64_t sv_histogram_quantile(const struct sv_histogram *h, unsigned permille)
{
    uint64_t total = sv_histogram_total(h);
    uint64_t max = atomic_load_explicit(&h->max, memory_order_relaxed);
    // the rank is total * permille / 1000, rounded up, without an overflow
    uint64_t rank = total / 1000 * permille + (total % 1000 * permille + 999) / 1000;
    uint64_t seen = 0;
    for (unsigned i = 0; total && i < SV_HISTOGRAM_N; i++) {
        seen += atomic_load_explicit(&h->count[i], memory_order_relaxed);
        if (seen >= rank)
            return sv_histogram_end(i) < max ? sv_histogram_end(i) : max;
    }
    return max;
}
