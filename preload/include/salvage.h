// Salvage's public face. A program compiled against this header runs without the library too: every
// function is weak, so test salvage_enabled first (`if (salvage_enabled && salvage_enabled())`).
#ifndef SALVAGE_H
#define SALVAGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SALVAGE_WEAK __attribute__((weak, visibility("default")))

// What the collector did since the start of the process, and the heap as it is now. Fields are only
// ever added at the end. Each number is true; two of them may be a moment apart.
struct salvage_stats {
    uint64_t cycles;           // collections finished
    uint64_t cycles_abandoned; // collections given up without reclaiming anything
    uint64_t heap_live;        // bytes out of the heap: held by the program or in threads' caches
    uint64_t heap_goal;        // bytes at which the next collection starts; UINT64_MAX: never
    uint64_t heap_mapped;      // bytes of pages that serve objects
    uint64_t heap_reserved;    // bytes of address space reserved for the heap
    uint64_t allocated;        // bytes that malloc took from the heap since the start
    uint64_t freed;            // bytes that free() brought back
    uint64_t reclaimed;        // bytes that the collector alone brought back
    uint64_t released;         // bytes given back to the kernel since the start
    uint64_t metadata;         // bytes of the collector's own memory
    uint64_t foreign;          // pointers freed or resized that Salvage had not handed out
    uint64_t pause_ns_last;    // the longer stop of the last collection, nanoseconds
    uint64_t pause_ns_max;     // the longest stop so far
    uint64_t pause_ns_total;   // all stops
    // Up to here: what the plain symbol salvage_stats fills.

    // Stops before the mark and after it, nanoseconds. Half of them, and 99 of 100, were not longer
    // than p50 and p99, which are at most a quarter above the exact value; max is exact.
    uint64_t pause_prepare_ns_p50;
    uint64_t pause_prepare_ns_p99;
    uint64_t pause_prepare_ns_max;
    uint64_t pause_termination_ns_p50;
    uint64_t pause_termination_ns_p99;
    uint64_t pause_termination_ns_max;

    uint64_t cpu_ns_assist;     // processor time of marking in threads that allocate
    uint64_t cpu_ns_background; // processor time of marking in the collector's own threads
    uint64_t cpu_ns_sweep;      // processor time of sweeping
    uint64_t heap_end;          // bytes that the next collection is meant to end below
    uint64_t dirty_pages;       // pages found written while the last collection marked
    uint64_t workers;           // the collector's own threads that took part in it
    uint64_t fragmentation;     // bytes of pages that serve objects but are in none
};

int salvage_enabled(void) SALVAGE_WEAK;    // 1 under the library
size_t salvage_collect(void) SALVAGE_WEAK; // a whole collection now; bytes reclaimed by it

// salvage_stats(&stats) fills the structure as this header knows it, whatever the library's age:
// the size goes along, and fields that the library doesn't know are 0. A call of the plain symbol
// (by pointer, or from a language without this header) has no size to tell, and fills the first 15
// fields only.
void salvage_stats(struct salvage_stats *) SALVAGE_WEAK;
void salvage_stats_sized(struct salvage_stats *, size_t) SALVAGE_WEAK;
#define salvage_stats(stats) salvage_stats_sized((stats), sizeof(struct salvage_stats))

void *salvage_malloc_noscan(size_t) SALVAGE_WEAK; // memory that holds no pointers; free() as usual
void salvage_add_root(const void *, size_t) SALVAGE_WEAK;    // a range to look for pointers in
void salvage_remove_root(const void *, size_t) SALVAGE_WEAK; // the same range, no longer

// In mode=leaks (SALVAGE=mode=leaks); in other modes they do nothing.
int salvage_leak_check(void) SALVAGE_WEAK;      // reports now what was lost; how many objects
void salvage_ignore(const void *) SALVAGE_WEAK; // never report this object, nor what it leads to

#ifdef __cplusplus
}
#endif

#endif
