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

struct salvage_stats {
    uint64_t cycles;           // collections finished
    uint64_t cycles_abandoned; // collections given up without reclaiming anything
    uint64_t heap_live;        // bytes out of the heap: held by the program or in threads' caches
    uint64_t heap_goal;        // bytes at which the next collection starts
    uint64_t heap_mapped;      // bytes of pages that serve objects
    uint64_t heap_reserved;    // bytes of address space reserved for the heap
    uint64_t allocated;        // bytes that malloc took from the heap since the start
    uint64_t freed;            // bytes that free() brought back
    uint64_t reclaimed;        // bytes that the collector alone brought back
    uint64_t released;         // bytes given back to the kernel since the start
    uint64_t metadata;         // bytes of the collector's own memory
    uint64_t foreign;          // pointers freed or resized that Salvage had not handed out
    uint64_t pause_ns_last;    // the last collection's stop, nanoseconds
    uint64_t pause_ns_max;     // the longest stop so far
    uint64_t pause_ns_total;   // all stops
};

int salvage_enabled(void) SALVAGE_WEAK;    // 1 under the library
size_t salvage_collect(void) SALVAGE_WEAK; // a whole collection now; bytes reclaimed by it
void salvage_stats(struct salvage_stats *) SALVAGE_WEAK;
void *salvage_malloc_noscan(size_t) SALVAGE_WEAK; // memory that holds no pointers; free() as usual
void salvage_add_root(const void *, size_t) SALVAGE_WEAK;    // a range to look for pointers in
void salvage_remove_root(const void *, size_t) SALVAGE_WEAK; // the same range, no longer

#ifdef __cplusplus
}
#endif

#endif
