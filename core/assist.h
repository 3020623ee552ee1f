// Marking by others than the driver: threads of the program that allocate while a cycle marks pay
// for it with work, and helping workers do nothing else.
#ifndef SV_ASSIST_H
#define SV_ASSIST_H

#include "core.h"
#include "scanners.h"

#define SV_ASSIST_MARKERS 16 // threads that mark at a time, beside the driver

// The driver, once in a cycle: nobody marks yet. `pages` serves workers alone.
void sv_assist_begin(const struct sv_pages *pages);

// The driver: from here on others may mark; until here, and then all that they found is global
// work. Closing waits for who is inside, which is bounded by a slice of work. Both at any time
// within a cycle, with the world running.
void sv_assist_open(void);
void sv_assist_close(void);

// The driver, with the door closed: work that the last ones left behind is global; true when some
// marker ran out of memory.
bool sv_assist_failed(void);

// A helping worker: marks one slice. False: the door is closed, or nothing was there to do.
bool sv_assist_help(void);

// An allocating thread, in the slow path, before `bytes` leave the heap, while a cycle marks: works
// off its debt, for a bounded time. No lock held; not in a handler that interrupted a slow path.
void sv_assist_charge(size_t bytes);

// The driver: bytes of scanning per byte allocated, from the pacer; and work done in the background
// that threads may take instead of doing their own.
void sv_assist_pace(double work_per_byte);
void sv_assist_credit(uint64_t scanned);
void sv_assist_limit(bool limiting); // nobody assists while this holds

struct sv_assist_sums { // of the cycle so far
    uint64_t scanned;   // bytes, by assists and helpers
    uint64_t objects;   // likewise
    uint64_t ns;        // assists alone: time in them
    uint64_t help_ns;   // helping workers
    uint32_t count;     // assists that did some work
};
void sv_assist_sums(struct sv_assist_sums *sums);

// In a forked child, which has no other threads: the door is closed and nobody is inside.
void sv_assist_fork_child(void);

#endif
