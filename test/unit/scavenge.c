// The scavenger: its controller by simulation, what it may keep, and what it releases of a heap
// with holes, by whom.
#include "scavenge.h"

#include <stdlib.h>
#include <string.h>

#include "large.h"
#include "os.h"
#include "spans.h"

TestSuite(scavenge, .init = spans_setup, .timeout = 60);

enum { MIB = 1 << 20 };

// ---- pure functions -----------------------------------------------------------------------------

Test(scavenge, retain_follows_the_goal)
{
    cr_assert(sv_scavenge_retain(100 * MIB, 200 * MIB, 0) / MIB == 110, "no goal before");
    cr_assert(sv_scavenge_retain(100 * MIB, 200 * MIB, 200 * MIB) / MIB == 110);
    cr_assert(sv_scavenge_retain(100 * MIB, 100 * MIB, 200 * MIB) / MIB == 55);
    cr_assert(sv_scavenge_retain(100 * MIB, 400 * MIB, 200 * MIB) / MIB == 220);
    cr_assert(sv_scavenge_retain(100 * MIB, UINT64_MAX, UINT64_MAX) / MIB == 110, "goals are off");
    cr_assert(sv_scavenge_retain(100 * MIB, UINT64_MAX, 200 * MIB) / MIB == 110);
    cr_assert(sv_scavenge_retain((uint64_t)1 << 45, (uint64_t)1 << 46, 1) == UINT64_MAX);
}

// A worker whose steps take `worked` ns give or take a half, and whose sleeps are `late` times as
// long as it asked for. Returns its share of the processor after it settled.
static double share(double worked, double late)
{
    struct sv_scavenge_pi pi = SV_SCAVENGE_PI_START;
    double busy = 0, all = 0;
    for (unsigned i = 0; i < 20000; i++) {
        double w = worked * (0.5 + spans_random(1000) / 1000.0), slept = w / pi.ratio * late;
        sv_scavenge_pi_next(&pi, (uint64_t)w, (uint64_t)slept);
        cr_assert(pi.ratio >= 0.001 && pi.ratio <= 1000);
        if (i >= 2000) {
            cr_assert(pi.ratio > 0.005 * late && pi.ratio < 0.02 * late, "it swings: %g", pi.ratio);
            busy += w;
            all += w + slept;
        }
    }
    return busy / all;
}

Test(scavenge, pace_is_one_percent)
{
    static const double worked[] = {2e5, 1e6, 3e6}, late[] = {1, 1.2, 3, 0.5};
    for (unsigned i = 0; i < 12; i++) {
        double got = share(worked[i / 4], late[i % 4]);
        cr_assert(got > 0.008 && got < 0.0125, "%g ns, sleeps %g: %g", worked[i / 4], late[i % 4],
                  got);
    }
}

// A machine that slept for days doesn't stop it for ever.
Test(scavenge, controller_recovers)
{
    struct sv_scavenge_pi pi = SV_SCAVENGE_PI_START;
    for (unsigned i = 0; i < 100; i++)
        sv_scavenge_pi_next(&pi, 1000000, UINT64_MAX / 4);
    for (unsigned i = 0; i < 3000; i++) {
        double slept = 1e6 / pi.ratio;
        sv_scavenge_pi_next(&pi, 1000000, (uint64_t)slept);
    }
    cr_assert(pi.ratio > 0.008 && pi.ratio < 0.0125, "%g", pi.ratio);
}

// ---- releasing ----------------------------------------------------------------------------------

static struct sv_span *span_of(const void *p)
{
    return sv_span_at((uint32_t)sv_page_of((uintptr_t)p));
}

// n blocks of a mebibyte, written, side by side.
static char **blocks_make(unsigned n)
{
    char **p = malloc(n * sizeof *p);
    for (unsigned i = 0; i < n; i++) {
        p[i] = sv_large_alloc(MIB - 1, 1, false, false);
        memset(p[i], 1, MIB);
    }
    return p;
}

static void blocks_free(char **p, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        cr_assert(sv_large_free(span_of(p[i])));
}

static unsigned waked;

static void wake(void)
{
    waked++;
}

static unsigned steps_until_idle(void)
{
    unsigned n = 0;
    for (uint64_t wait; (wait = sv_scavenge_step()) != UINT64_MAX; n++)
        cr_assert(wait > 0);
    return n;
}

static void released_check(uint64_t before)
{
    sv_pagealloc_check(&sv_heap.pages);
    cr_assert(sv_heap_free_unreleased() == (uint64_t)sv_heap.pages.ndirty << SV_PAGE_SHIFT);
    cr_assert(sv_heap_inuse() + sv_heap_free_unreleased() == sv_heap_mapped_unreleased());
    cr_assert((sv_heap.released_pages << SV_PAGE_SHIFT) + sv_heap_mapped_unreleased() == before,
              "%lu released, %lu left, %lu before", sv_heap.released_pages << SV_PAGE_SHIFT,
              sv_heap_mapped_unreleased(), before);
}

// After a cycle the worker goes down to a tenth more than was in use, from the top, when that was
// free for a window.
Test(scavenge, worker_reaches_the_goal)
{
    enum { N = 200 };
    sv_scavenge_worker(wake);
    char **p = blocks_make(N);
    blocks_free(p, 100, N - 1); // the last one stays: the top isn't free
    uint64_t before = sv_heap_mapped_unreleased();
    sv_scavenge_pace(100 * MIB);
    cr_assert(sv_heap_inuse() / MIB == 101 && before / MIB == N);
    while (sv_heap_mapped_unreleased() == before)
        cr_assert(sv_scavenge_step() != UINT64_MAX);
    released_check(before);
    uint32_t n, top = sv_pagealloc_find_dirty(&sv_heap.pages, UINT32_MAX, 1, &n);
    cr_assert(top < (uint32_t)sv_page_of((uintptr_t)p[N - 2]) + 127, "not from the top");
    while (sv_heap_mapped_unreleased() > sv_heap_inuse() / 10 * 11 + MIB)
        cr_assert(sv_scavenge_step() != UINT64_MAX);
    released_check(before);
    sv_scavenge_pace(50 * MIB); // half the goal: what is in use is more than may be held
    steps_until_idle();
    cr_assert(sv_heap_free_unreleased() == 0);
    released_check(before);
    free(p);
}

// What the program fills again and again stays, whatever the goal says.
Test(scavenge, what_is_filled_again_stays)
{
    enum { N = 60 };
    sv_scavenge_worker(wake);
    char **p = blocks_make(N);
    for (uint64_t start = sv_os_now(); sv_os_now() - start < 400000000u;) {
        blocks_free(p, N / 2, N);
        sv_scavenge_pace(N / 2 * MIB);
        sv_scavenge_step();
        for (unsigned i = N / 2; i < N; i++) {
            p[i] = sv_large_alloc(MIB - 1, 1, false, false);
            memset(p[i], 1, MIB);
        }
        sv_scavenge_step();
    }
    cr_assert(sv_heap.released_pages == 0);
    free(p);
}

// Without a cycle, what lay unused for a window is handed to the worker; without a worker, whoever
// frees does the work.
static void window_wait(bool worker)
{
    char **p = blocks_make(100);
    sv_scavenge_worker(worker ? wake : NULL);
    blocks_free(p, 10, 100);
    uint64_t before = sv_heap_mapped_unreleased();
    while (worker ? !waked : sv_heap_free_unreleased() > 4 * MIB)
        sv_scavenge_poll();
    cr_assert(worker ? sv_heap.released_pages == 0 : waked == 0);
    if (worker) {
        cr_assert(sv_scavenge_step() != UINT64_MAX);
        steps_until_idle();
    }
    // what may be kept, less what a huge page more takes
    uint64_t left = sv_heap_free_unreleased();
    cr_assert(left <= 4 * MIB && left > 2 * MIB, "%lu", left);
    released_check(before);
    free(p);
}

Test(scavenge, window_hands_over_to_the_worker)
{
    window_wait(true);
}

Test(scavenge, window_without_a_worker)
{
    window_wait(false);
}

Test(scavenge, limit_is_met_at_once)
{
    char **p = blocks_make(100);
    blocks_free(p, 50, 100);
    uint64_t before = sv_heap_mapped_unreleased();
    cr_assert(sv_scavenge_limit(110 * (uint64_t)MIB) == 0 && sv_heap_mapped_unreleased() == before);
    size_t bytes = sv_scavenge_limit(80 * MIB);
    cr_assert(bytes >= 24 * MIB && bytes <= 26 * MIB, "%zu", bytes);
    cr_assert(sv_heap_mapped_unreleased() <= 76 * MIB);
    cr_assert(sv_scavenge_limit(1) == 50 * MIB - bytes);
    cr_assert(sv_heap_free_unreleased() == 0 && sv_scavenge_limit(0) == 0);
    released_check(before);
    free(p);
}

// A huge page that is free as a whole is released as a whole, one that isn't is not waited for.
Test(scavenge, huge_pages_stay_whole)
{
    char **p = blocks_make(40);
    blocks_free(p, 0, 40);
    uint32_t n, whole = 0;
    bool clean;
    for (uint32_t below = UINT32_MAX, max = 8, page; sv_heap.pages.ndirty; max = max * 3 / 2) {
        page = sv_pagealloc_find_dirty(&sv_heap.pages, below, max, &n);
        cr_assert(page != SV_NOPAGE);
        bool top_cut = page / SV_HUGE_PAGES == (page + n) / SV_HUGE_PAGES; // its end was in use
        cr_assert(page % SV_HUGE_PAGES == 0 || page < SV_HUGE_PAGES || top_cut, "%u + %u", page, n);
        whole += page % SV_HUGE_PAGES == 0 && n >= SV_HUGE_PAGES;
        cr_assert(sv_pagealloc_take_at(&sv_heap.pages, page, n, &clean) && !clean);
        sv_pagealloc_give(&sv_heap.pages, page, n, true);
        below = page;
    }
    cr_assert(whole >= 3, "%u", whole);
    free(p);
}
