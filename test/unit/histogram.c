// The histogram against a plain model: all values in a sorted array.
#include "histogram.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed = 0x2545f4914f6cdd1d;

static uint64_t random_next(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

// Of every order of magnitude, edges of buckets among them.
static uint64_t random_ns(void)
{
    uint64_t v = random_next() >> random_next() % 64;
    if (random_next() % 4 == 0) {
        unsigned bucket = (unsigned)(random_next() % (SV_HISTOGRAM_N - 1));
        v = sv_histogram_end(bucket) + random_next() % 3 - 1;
    }
    return v;
}

Test(histogram, ends_ascend)
{
    cr_assert(sv_histogram_end(0) == 1024 && sv_histogram_end(1) == 1280);
    cr_assert(sv_histogram_end(SV_HISTOGRAM_N - 2) == (uint64_t)1 << 34);
    cr_assert(sv_histogram_end(SV_HISTOGRAM_N - 1) == UINT64_MAX);
    for (unsigned i = 1; i < SV_HISTOGRAM_N - 1; i++) {
        uint64_t before = sv_histogram_end(i - 1), end = sv_histogram_end(i);
        cr_assert(end > before && end - before <= before / 4, "bucket %u", i);
    }
}

// A bucket holds its own end and not the one before.
Test(histogram, every_value_is_in_its_bucket)
{
    for (unsigned i = 0; i < SV_HISTOGRAM_N - 1; i++) {
        cr_assert(sv_histogram_bucket(sv_histogram_end(i)) == i, "bucket %u", i);
        cr_assert(sv_histogram_bucket(sv_histogram_end(i) + 1) == i + 1, "bucket %u", i);
    }
    cr_assert(sv_histogram_bucket(0) == 0 && sv_histogram_bucket(1) == 0);
    cr_assert(sv_histogram_bucket(UINT64_MAX) == SV_HISTOGRAM_N - 1);
    for (int i = 0; i < 200000; i++) {
        uint64_t v = random_ns();
        unsigned bucket = sv_histogram_bucket(v);
        cr_assert(bucket < SV_HISTOGRAM_N && v <= sv_histogram_end(bucket));
        cr_assert(bucket == 0 || v > sv_histogram_end(bucket - 1));
    }
}

Test(histogram, empty)
{
    struct sv_histogram h = {0};
    cr_assert(sv_histogram_total(&h) == 0);
    cr_assert(sv_histogram_quantile(&h, 1) == 0 && sv_histogram_quantile(&h, 1000) == 0);
}

static int order(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

Test(histogram, counts_and_quantiles)
{
    static uint64_t values[3000];
    for (int round = 0; round < 300; round++) {
        struct sv_histogram h = {0};
        size_t n = 1 + random_next() % (round % 2 ? 20 : 3000);
        uint64_t sum = 0, counts[SV_HISTOGRAM_N] = {0};
        for (size_t i = 0; i < n; i++) {
            values[i] = random_ns();
            sum += values[i];
            sv_histogram_add(&h, values[i]);
            unsigned bucket = 0;
            while (values[i] > sv_histogram_end(bucket))
                bucket++;
            counts[bucket]++;
        }
        qsort(values, n, sizeof *values, order);
        cr_assert(sv_histogram_total(&h) == n && h.sum == sum && h.max == values[n - 1]);
        for (unsigned i = 0; i < SV_HISTOGRAM_N; i++)
            cr_assert(h.count[i] == counts[i]);
        for (unsigned permille = 1; permille <= 1000; permille += 1 + random_next() % 40) {
            uint64_t rank = (n * permille + 999) / 1000;
            uint64_t exact = values[rank - 1], got = sv_histogram_quantile(&h, permille);
            cr_assert(got >= exact && got <= values[n - 1], "%u of 1000 of %zu", permille, n);
            cr_assert(got <= sv_histogram_end(sv_histogram_bucket(exact)));
        }
        cr_assert(sv_histogram_quantile(&h, 1000) == values[n - 1]);
    }
}

// More values than a year of cycles has: the rank doesn't overflow.
Test(histogram, many)
{
    struct sv_histogram h = {0};
    sv_histogram_add(&h, 2000);
    sv_histogram_add(&h, 2000000);
    h.count[sv_histogram_bucket(2000)] = UINT64_MAX / 2;
    h.count[sv_histogram_bucket(2000000)] = UINT64_MAX / 200;
    cr_assert(sv_histogram_quantile(&h, 500) == 2048);
    cr_assert(sv_histogram_quantile(&h, 990) == 2048);
    cr_assert(sv_histogram_quantile(&h, 1000) == 2000000);
}
