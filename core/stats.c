// Statistics. Totals are written under the cycle lock and by relaxed atomics, because readers take
// them as they are, at any time: each number is true, two of them may be a moment apart.
//
// With gctrace each cycle writes a line in Go's fields and Go's way of writing numbers
// (runtime/extern.go), so that what reads Go's reads ours: the first of the three clock times is
// the stop that prepares (0 where the world stands still for the whole mark), the second the mark
// beside the program, the third the last stop. Times of processors are what was used, but for
// stops: nobody else could use the processors meanwhile, so each one counts.
#include "stats.h"

#include <string.h>

#include "heap.h"
#include "metadata.h"
#include "options.h"
#include "os.h"
#include "text.h"

#define REASONS 16 // different ones; the last place takes all that come later

static struct {
    uint64_t started;                     // const: when the clock started, ns
    uint64_t processors;                  // const
    _Atomic uint64_t cycles;              // cycle lock
    _Atomic uint64_t abandoned;           // cycle lock
    _Atomic uint64_t pause_last;          // cycle lock, ns
    _Atomic uint64_t dirty;               // cycle lock
    _Atomic uint64_t goal;                // cycle lock; bytes, 0: no cycle yet
    _Atomic uint32_t workers;             // cycle lock
    _Atomic(const char *) barrier;        // cycle lock
    _Atomic uint64_t cpu[SV_NCPU];        // any thread, ns
    struct sv_histogram pauses[SV_NSTOP]; // cycle lock
    struct {
        _Atomic(const char *) text; // cycle lock; set once, NULL: this place and the rest are free
        _Atomic uint64_t count;     // cycle lock
    } reasons[REASONS];
} stats = {.processors = 1};

static uint64_t get(const _Atomic uint64_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

static void set(_Atomic uint64_t *p, uint64_t v)
{
    atomic_store_explicit(p, v, memory_order_relaxed);
}

static void add(_Atomic uint64_t *p, uint64_t v)
{
    atomic_fetch_add_explicit(p, v, memory_order_relaxed);
}

void sv_stats_start(uint64_t now)
{
    stats.started = now;
    stats.processors = sv_os_processors();
}

// ---- lines --------------------------------------------------------------------------------------

// Milliseconds as Go prints them: whole ones from 10 on, below two digits that count, never more
// than three decimals.
static void put_ms(struct sv_text *t, uint64_t ns)
{
    uint64_t us = ns / 1000;
    unsigned decimals = 3;
    if (us == 0 || us >= 10000) {
        sv_text_put(t, "%U", us / 1000);
        return;
    }
    for (; us >= 100; us /= 10)
        decimals--;
    sv_text_fixed(t, us, decimals);
}

static uint64_t megabytes(uint64_t bytes)
{
    return bytes >> 20;
}

// The collector's share of all processors' time from the start to `now`. Marking on processors that
// had nothing to do cost nobody anything and is left out, as Go does.
static uint64_t percent(uint64_t now)
{
    uint64_t spent = get(&stats.cpu[SV_CPU_ASSIST]) + get(&stats.cpu[SV_CPU_BACKGROUND]) +
                     get(&stats.cpu[SV_CPU_PAUSE]);
    uint64_t hundredth = now > stats.started ? (now - stats.started) * stats.processors / 100 : 0;
    return hundredth ? spent / hundredth : 0;
}

static void trace_times(struct sv_text *t, const struct sv_stats_cycle *c)
{
    const struct sv_stats_pause *stop = c->stop;
    put_ms(t, stop[SV_STOP_PREPARE].total);
    sv_text_put(t, "+");
    put_ms(t, c->mark);
    sv_text_put(t, "+");
    put_ms(t, stop[SV_STOP_TERMINATION].total);
    sv_text_put(t, " ms clock, ");
    put_ms(t, stop[SV_STOP_PREPARE].total * stats.processors);
    sv_text_put(t, "+");
    put_ms(t, c->assist);
    sv_text_put(t, "/");
    put_ms(t, c->background);
    sv_text_put(t, "/");
    put_ms(t, c->idle);
    sv_text_put(t, "+");
    put_ms(t, stop[SV_STOP_TERMINATION].total * stats.processors);
    sv_text_put(t, " ms cpu, ");
}

static void trace(const struct sv_stats_cycle *c)
{
    char buffer[512];
    struct sv_text t = sv_text_start(buffer, sizeof buffer - 1);
    sv_text_put(&t, "gc %U @", get(&stats.cycles));
    sv_text_fixed(&t, c->began > stats.started ? (c->began - stats.started) / 1000000 : 0, 3);
    sv_text_put(&t, "s %U%%: ", percent(c->ended));
    trace_times(&t, c);
    sv_text_put(&t, "%U->%U->%U MB, %U MB goal, %U MB stacks, %U MB globals, %U P%s",
                megabytes(c->live_start), megabytes(c->live_end), megabytes(c->live_marked),
                megabytes(c->goal), megabytes(c->stacks), megabytes(c->roots), stats.processors,
                c->forced ? " (forced)" : "");
    *t.p = 0;
    sv_log("%s", buffer);
}

static void trace_more(const struct sv_stats_cycle *c)
{
    char buffer[512];
    struct sv_text t = sv_text_start(buffer, sizeof buffer - 1);
    sv_text_put(&t, "gc %U: barrier %s, %U+%U pages written, %u rounds, %u attempts, ",
                get(&stats.cycles), c->barrier, c->dirty - c->dirty_final, c->dirty_final,
                c->rounds, c->attempts);
    sv_text_put(&t, "%U assists, %u workers, %u threads signalled, %u asleep, stopping ",
                c->assists, c->workers, c->threads, c->asleep);
    put_ms(&t, c->stop[SV_STOP_PREPARE].stopping);
    sv_text_put(&t, "+");
    put_ms(&t, c->stop[SV_STOP_TERMINATION].stopping);
    sv_text_put(&t, " ms, %U objects, %U bytes scanned, %U bytes of roots", c->objects, c->scanned,
                c->roots + c->stacks);
    *t.p = 0;
    sv_log("%s", buffer);
}

// ---- counting -----------------------------------------------------------------------------------

void sv_stats_stop(struct sv_stats_cycle *c, enum sv_stats_stop which, uint64_t began,
                   uint64_t stood, uint64_t ended)
{
    struct sv_stats_pause pause = {stood - began, ended - began};
    if (!c->began)
        c->began = began;
    if (which == SV_STOP_PREPARE) {
        c->marking = ended;
    } else {
        c->attempts++;
        c->mark = c->marking ? began - c->marking : 0;
    }
    c->ended = ended;
    c->stop[which] = pause;
    c->all[which].stopping += pause.stopping;
    c->all[which].total += pause.total;
    sv_histogram_add(&stats.pauses[which], pause.total);
    add(&stats.cpu[SV_CPU_PAUSE], pause.total * stats.processors);
}

void sv_stats_goal(uint64_t bytes)
{
    set(&stats.goal, bytes);
}

void sv_stats_cpu_add(enum sv_stats_cpu what, uint64_t ns)
{
    add(&stats.cpu[what], ns);
}

// What a cycle leaves behind whichever way it ends.
static void cycle_count(const struct sv_stats_cycle *c)
{
    add(&stats.cpu[SV_CPU_ASSIST], c->assist);
    add(&stats.cpu[SV_CPU_BACKGROUND], c->background);
    add(&stats.cpu[SV_CPU_IDLE], c->idle);
    atomic_store_explicit(&stats.barrier, c->barrier, memory_order_relaxed);
}

void sv_stats_cycle(const struct sv_stats_cycle *c)
{
    uint64_t prepare = c->stop[SV_STOP_PREPARE].total;
    uint64_t termination = c->stop[SV_STOP_TERMINATION].total;
    cycle_count(c);
    add(&stats.cycles, 1);
    set(&stats.pause_last, prepare > termination ? prepare : termination);
    set(&stats.dirty, c->dirty);
    atomic_store_explicit(&stats.workers, c->workers, memory_order_relaxed);
    if (sv_options.gctrace)
        trace(c);
    if (sv_options.gctrace > 1)
        trace_more(c);
}

static void reason_count(const char *reason)
{
    for (unsigned i = 0; i < REASONS; i++) {
        const char *text = atomic_load_explicit(&stats.reasons[i].text, memory_order_relaxed);
        if (!text) {
            text = i < REASONS - 1 ? reason : "other";
            // release: pairs with the acquire in sv_stats_reasons, which reads the string
            atomic_store_explicit(&stats.reasons[i].text, text, memory_order_release);
        }
        if (i == REASONS - 1 || strcmp(text, reason) == 0) {
            add(&stats.reasons[i].count, 1);
            return;
        }
    }
}

void sv_stats_abandoned(const struct sv_stats_cycle *c, const char *reason)
{
    cycle_count(c);
    add(&stats.abandoned, 1);
    reason_count(reason);
    if (sv_options.gctrace)
        sv_log("gc: cycle abandoned, nothing reclaimed: %s", reason);
}

// ---- reading ------------------------------------------------------------------------------------

void sv_stats_reasons(void (*fn)(void *arg, const char *reason, uint64_t count), void *arg)
{
    for (unsigned i = 0; i < REASONS; i++) {
        const char *text = atomic_load_explicit(&stats.reasons[i].text, memory_order_acquire);
        if (text)
            fn(arg, text, get(&stats.reasons[i].count));
    }
}

const struct sv_histogram *sv_stats_pauses(enum sv_stats_stop which)
{
    return &stats.pauses[which];
}

static void read_heap(struct sv_stats_read *out)
{
    out->heap_live = get(&sv_heap.live);
    out->heap_trigger = get(&sv_heap.trigger);
    out->heap_goal = get(&stats.goal);
    if (out->heap_goal < out->heap_trigger) // none yet, or the next cycle was put off
        out->heap_goal = out->heap_trigger;
    out->heap_mapped = sv_heap.pages_inuse << SV_PAGE_SHIFT;
    out->heap_reserved = sv_heap.size;
    // counters are read one after the other while other threads allocate
    if (out->heap_mapped > out->heap_live)
        out->fragmentation = out->heap_mapped - out->heap_live;
    out->allocated = get(&sv_heap.allocated);
    out->freed = get(&sv_heap.freed);
    out->reclaimed = get(&sv_heap.reclaimed);
    out->released = sv_heap_released();
    out->metadata = sv_metadata_bytes();
    out->foreign = get(&sv_heap.foreign);
}

void sv_stats_read(struct sv_stats_read *out)
{
    *out = (struct sv_stats_read){
        .cycles = get(&stats.cycles),
        .cycles_abandoned = get(&stats.abandoned),
        .pause_last = get(&stats.pause_last),
        .dirty = get(&stats.dirty),
        .workers = atomic_load_explicit(&stats.workers, memory_order_relaxed),
        .barrier = atomic_load_explicit(&stats.barrier, memory_order_relaxed),
    };
    read_heap(out);
    for (unsigned i = 0; i < SV_NCPU; i++)
        out->cpu[i] = get(&stats.cpu[i]);
    for (unsigned i = 0; i < SV_NSTOP; i++) {
        const struct sv_histogram *h = &stats.pauses[i];
        out->pause[i].p50 = sv_histogram_quantile(h, 500);
        out->pause[i].p99 = sv_histogram_quantile(h, 990);
        out->pause[i].max = get(&h->max);
        out->pause_total += get(&h->sum);
        if (out->pause[i].max > out->pause_max)
            out->pause_max = out->pause[i].max;
    }
}
