// The limiter against a plain account of the same times: what is limited, and when that ends.
#include "limiter.h"

#include <criterion/criterion.h>

#define MS ((uint64_t)1000000)

static struct sv_limiter limiter_make(uint32_t procs, enum sv_limiter_state state)
{
    struct sv_limiter l;
    sv_limiter_init(&l, procs, 0);
    sv_limiter_update(&l, 0, state, 0, 0);
    return l;
}

Test(limiter, background_marking_alone_never_limits)
{
    struct sv_limiter l = limiter_make(4, SV_LIMITER_MARKING);
    for (uint64_t now = 0; now < 100000 * MS; now += 10 * MS)
        sv_limiter_update(&l, now, SV_LIMITER_MARKING, 0, 0);
    cr_assert(l.fill == 0 && !sv_limiter_limiting(&l));
}

// A quarter in the background and a quarter of assists: just half. A little more fills it.
Test(limiter, more_than_half_limits)
{
    for (uint32_t procs = 1; procs <= 64; procs *= 2) {
        struct sv_limiter l = limiter_make(procs, SV_LIMITER_MARKING);
        uint64_t now = 0;
        for (; now < 10000 * MS; now += 10 * MS)
            sv_limiter_update(&l, now, SV_LIMITER_MARKING, now ? 10 * MS * procs / 4 : 0, 0);
        cr_assert(l.fill == 0 && !sv_limiter_limiting(&l));
        now = l.last;
        uint64_t start = now;
        while (!sv_limiter_limiting(&l)) {
            now += 10 * MS;
            sv_limiter_update(&l, now, SV_LIMITER_MARKING, 10 * MS * procs / 2, 0);
        }
        // three quarters against one: a second's worth comes to rest in two
        cr_assert(now - start == 2000 * MS, "%u processors: after %lu ms", procs,
                  (now - start) / MS);
    }
}

Test(limiter, stopped_world_counts_on_all_processors)
{
    struct sv_limiter l = limiter_make(8, SV_LIMITER_STOPPED);
    sv_limiter_update(&l, 999 * MS, SV_LIMITER_STOPPED, 0, 0);
    cr_assert(l.fill == 8 * 999 * MS && !sv_limiter_limiting(&l));
    sv_limiter_update(&l, 1000 * MS, SV_LIMITER_OFF, 0, 0);
    cr_assert(sv_limiter_limiting(&l) && l.overflow == 0);
    sv_limiter_update(&l, 1001 * MS, SV_LIMITER_OFF, 0, 0);
    cr_assert(!sv_limiter_limiting(&l), "ends with the first of the program's time");
    sv_limiter_update(&l, 1500 * MS, SV_LIMITER_OFF, 0, 0);
    cr_assert(l.fill == 8 * 500 * MS);
    sv_limiter_update(&l, 9000 * MS, SV_LIMITER_OFF, 0, 0);
    cr_assert(l.fill == 0);
}

// What doesn't fit has to drain first, up to a tenth; the rest is forgotten.
Test(limiter, overflow_is_kept_within_bounds)
{
    struct sv_limiter l = limiter_make(2, SV_LIMITER_STOPPED);
    sv_limiter_update(&l, 5000 * MS, SV_LIMITER_OFF, 0, 0);
    cr_assert(l.fill == 2 * 1100 * MS && l.overflow == 2 * 3900 * MS);
    sv_limiter_update(&l, 5100 * MS, SV_LIMITER_OFF, 0, 0);
    cr_assert(sv_limiter_limiting(&l));
    sv_limiter_update(&l, 5101 * MS, SV_LIMITER_OFF, 0, 0);
    cr_assert(!sv_limiter_limiting(&l));
}

Test(limiter, idle_time_is_nobodys)
{
    struct sv_limiter l = limiter_make(2, SV_LIMITER_MARKING);
    sv_limiter_update(&l, 100 * MS, SV_LIMITER_MARKING, 0, 150 * MS); // 200: 50 ours, 150 idle
    cr_assert(l.fill == 50 * MS);
    sv_limiter_update(&l, 200 * MS, SV_LIMITER_MARKING, 0, 1000 * MS);
    cr_assert(l.fill == 100 * MS, "more idle than there was");
    sv_limiter_update(&l, 300 * MS, SV_LIMITER_OFF, 0, 100 * MS);
    cr_assert(l.fill == 100 * MS, "50 each");
    sv_limiter_update(&l, 310 * MS, SV_LIMITER_OFF, 0, 20 * MS);
    cr_assert(l.fill == 100 * MS, "an idle process doesn't drain");
}

Test(limiter, odd_times_are_cut)
{
    struct sv_limiter l = limiter_make(1, SV_LIMITER_OFF);
    sv_limiter_update(&l, 10 * MS, SV_LIMITER_OFF, 1000 * MS, 0);
    cr_assert(l.fill == 10 * MS, "more assists than there was time");
    sv_limiter_update(&l, 5 * MS, SV_LIMITER_MARKING, 5 * MS, 0);
    cr_assert(l.fill == 10 * MS && l.last == 10 * MS, "a clock that went back");
}

// Random times against a plain account; the level stays within its bounds.
Test(limiter, agrees_with_a_plain_account)
{
    uint64_t random = 7;
    for (uint32_t procs = 1; procs <= 32; procs += 3) {
        struct sv_limiter l = limiter_make(procs, SV_LIMITER_OFF);
        double level = 0, full = 1e9 * procs;
        enum sv_limiter_state state = SV_LIMITER_OFF;
        uint64_t now = 0;
        for (int i = 0; i < 20000; i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            uint64_t step = (random >> 33) % (20 * MS), total = step * procs;
            uint64_t assists = (random >> 20) % (total + 1), idle = (random >> 13) % (total + 1);
            enum sv_limiter_state next = (random >> 60) % 3;
            now += step;
            sv_limiter_update(&l, now, next, assists, idle);
            double ours = (double)assists + (state == SV_LIMITER_MARKING ? 0.25 * total : 0);
            if (state == SV_LIMITER_STOPPED || ours > total)
                ours = total;
            double others = total - ours - (double)idle;
            level += ours - (others > 0 ? others : 0);
            level = level < 0 ? 0 : level > 1.1 * full ? 1.1 * full : level;
            state = next;
            cr_assert(level - l.fill < 1e5 && l.fill - level < 1e5, "%f, not %lu", level, l.fill);
            cr_assert(sv_limiter_limiting(&l) == (l.fill >= l.capacity));
        }
    }
}
