// peer.h: the one face that the programs of this folder see of the memory they run on.
//
// Each program is one source, compiled twice. With BENCH_GC its blocks come from libgc's GC_MALLOC;
// otherwise from malloc, and LD_PRELOAD decides whose: Salvage's, which collects what is dropped,
// or one without a collector, for which a program is told to free (`-f`) or isn't run at all.
//
// What a collector says of itself comes as one kind of file for all: lines that begin as Go's
// gctrace lines do, `gc N ...: A+B+C ms clock`, in which A and C are stops of the world. Salvage
// and Go write them themselves; for libgc, whose events are recorded here, peer_finish writes them
// to the file that BENCH_LOG names, one line a stop. peer_cycles counts the same N, so a program
// says which lines belong to which of its phases. Without BENCH_LOG libgc is Salvage's.
//
// Everything else on standard output is one line of key=value words, which collect.py reads.
#ifndef PEER_H
#define PEER_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#ifdef BENCH_GC
#define GC_THREADS 1
#include <gc.h>
#else
#include "salvage.h"
#endif
#include <pthread.h> // after gc.h, which replaces pthread_create

static inline _Noreturn void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static inline uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static inline uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

// Marsaglia's xorshift64: a few instructions, the same sequence everywhere.
static inline uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

#ifdef BENCH_GC

enum { STOPS_MAX = 1 << 16 };

static struct {
    uint64_t began;           // ns, the stop that lasts; libgc's lock
    _Atomic uint64_t count;   // stops so far; written under libgc's lock
    uint32_t took[STOPS_MAX]; // ns, libgc's lock
} peer_stops;

static void peer_event(GC_EventType event)
{
    uint64_t count = atomic_load_explicit(&peer_stops.count, memory_order_relaxed);
    if (event == GC_EVENT_PRE_STOP_WORLD)
        peer_stops.began = now_ns();
    if (event != GC_EVENT_POST_START_WORLD)
        return;
    uint64_t took = now_ns() - peer_stops.began;
    if (count < STOPS_MAX)
        peer_stops.took[count] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
    atomic_store_explicit(&peer_stops.count, count + 1, memory_order_relaxed);
}

static inline void peer_start(void)
{
    GC_INIT();
    if (getenv("BENCH_LOG"))
        GC_set_on_collection_event(peer_event);
}

// A block of unknown contents (libgc's are zeroed, which is its price).
static inline void *block_new(size_t size)
{
    void *block = GC_MALLOC(size);
    if (!block)
        fail("out of memory");
    return block;
}

// The same without pointers in it.
static inline void *block_new_noscan(size_t size)
{
    void *block = GC_MALLOC_ATOMIC(size);
    if (!block)
        fail("out of memory");
    return block;
}

static inline void block_free(void *block)
{
    GC_FREE(block);
}

static inline void peer_collect(void)
{
    GC_gcollect();
}

static inline uint64_t peer_cycles(void)
{
    return getenv("BENCH_LOG") ? atomic_load_explicit(&peer_stops.count, memory_order_relaxed)
                               : GC_get_gc_no();
}

// Bytes in use, and the collector's goal for them; 0 when it has none, or is just setting another.
static inline void peer_heap(uint64_t *live, uint64_t *goal)
{
    *live = GC_get_heap_size() - GC_get_free_bytes();
    *goal = 0;
}

static inline void peer_finish(void)
{
    const char *path = getenv("BENCH_LOG");
    FILE *log = path ? fopen(path, "w") : NULL;
    uint64_t count = peer_cycles();
    for (uint64_t i = 0; log && i < count && i < STOPS_MAX; i++)
        fprintf(log, "gc %llu: 0+0+%.4f ms clock\n", (unsigned long long)i + 1,
                (double)peer_stops.took[i] / 1e6);
    if (log)
        fclose(log);
}

#else

static inline void peer_start(void)
{
}

static inline void *block_new(size_t size)
{
    void *block = malloc(size);
    if (!block)
        fail("out of memory");
    return block;
}

static inline void *block_new_noscan(size_t size)
{
    void *block = salvage_malloc_noscan ? salvage_malloc_noscan(size) : malloc(size);
    if (!block)
        fail("out of memory");
    return block;
}

static inline void block_free(void *block)
{
    free(block);
}

static inline void peer_collect(void)
{
    if (salvage_collect)
        salvage_collect();
}

static inline struct salvage_stats peer_stats(void)
{
    struct salvage_stats stats = {0};
    if (salvage_stats)
        salvage_stats(&stats);
    return stats;
}

static inline uint64_t peer_cycles(void)
{
    return peer_stats().cycles;
}

static inline void peer_heap(uint64_t *live, uint64_t *goal)
{
    struct salvage_stats stats = peer_stats();
    *live = stats.heap_live;
    *goal = peer_cycles() == stats.cycles ? stats.heap_end : 0;
}

static inline void peer_finish(void)
{
}

#endif

// ---- times, counted by size ----

enum { TIMES_FINE = 16, TIMES_BUCKETS = 64 * TIMES_FINE };

// Sixteen buckets to each doubling, so a percentile is right to 6 %; the longest is exact.
struct times {
    uint64_t max;
    uint64_t count;
    uint64_t bucket[TIMES_BUCKETS];
};

static inline void times_add(struct times *times, uint64_t ns)
{
    uint64_t at = ns;
    if (ns >= TIMES_FINE) {
        unsigned top = 63 - (unsigned)__builtin_clzll(ns);
        at = (uint64_t)(top - 3) * TIMES_FINE + (ns >> (top - 4)) % TIMES_FINE;
    }
    times->bucket[at]++;
    times->count++;
    if (ns > times->max)
        times->max = ns;
}

static inline void times_join(struct times *times, const struct times *other)
{
    for (int i = 0; i < TIMES_BUCKETS; i++)
        times->bucket[i] += other->bucket[i];
    times->count += other->count;
    if (other->max > times->max)
        times->max = other->max;
}

// The lower end, in ns, of the bucket below which `part` (0..1) of all times lie.
static inline uint64_t times_part(const struct times *times, double part)
{
    double left = part * (double)times->count;
    uint64_t at = 0;
    while (at < TIMES_BUCKETS - 1 && (left -= (double)times->bucket[at]) > 0)
        at++;
    if (at < TIMES_FINE)
        return at;
    return (TIMES_FINE + at % TIMES_FINE) << (at / TIMES_FINE - 1);
}

// ---- the process as the kernel sees it ----

static inline unsigned long proc_read(const char *path, const char *key)
{
    char line[256];
    unsigned long value = 0;
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, key, strlen(key)) == 0)
            value = strtoul(line + strlen(key) + 1, NULL, 10);
    if (file)
        fclose(file);
    return value;
}

// A value in KiB by its name, 0 when the kernel doesn't give it.
static inline unsigned long peer_memory(const char *key)
{
    return proc_read("/proc/self/status", key);
}

// KiB of this process on huge pages.
static inline unsigned long peer_huge(void)
{
    return proc_read("/proc/self/smaps_rollup", "AnonHugePages");
}

// From here on VmHWM is the peak of what follows.
static inline void peer_memory_forget(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file) {
        fputs("5", file);
        fclose(file);
    }
}

#endif
