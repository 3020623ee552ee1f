// The options: SALVAGE=key=value,key=value, read once at start, then constant.
#ifndef SV_OPTIONS_H
#define SV_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#define SV_WORKERS_AUTO UINT32_MAX
#define SV_CLOBBER 0xdb // what reclaimed and freed memory is filled with, when asked

enum sv_mode { SV_MODE_COLLECT, SV_MODE_LEAKS, SV_MODE_OFF };
enum sv_barrier_kind {
    SV_BARRIER_AUTO,
    SV_BARRIER_UFFD,
    SV_BARRIER_SOFTDIRTY,
    SV_BARRIER_MPROTECT,
    SV_BARRIER_STW
};

struct sv_options {
    enum sv_mode mode;
    uint32_t gcpercent; // UINT32_MAX: off
    uint64_t memlimit;  // bytes that the heap should not exceed; UINT64_MAX: off
    uint32_t gctrace;   // 0, 1, 2
    enum sv_barrier_kind barrier;
    uint32_t workers; // background markers; SV_WORKERS_AUTO: by the number of processors
    uint32_t stress;  // a cycle every so many slow-path allocations; 0: none
    uint32_t chaos;   // seed: pauses at random points in the protocol to widen races; 0: none
    bool checkmark;
    bool clobber;
    uint32_t align;   // bytes between the places where a pointer may stand: 8, 4 or 1
    uint32_t tagbits; // top bits of a word to ignore
    uint32_t period;  // seconds; 0: never by time
    uint32_t roots;   // SV_ROOTS_*
    char log[256];    // path, fd:N or stderr; %p is the process id
    char stats[256];  // path of the OpenMetrics text, %p likewise; "": none
    uint64_t
        sample; // mean bytes between recorded allocation stacks; 0: all in leaks mode, else none
    uint32_t depth;         // frames kept of a stack
    char report[256];       // leaks mode: where reports go: path, fd:N or stderr, %p likewise
    char format[12];        // leaks mode: of reports; raw: as they are, no command is started
    char suppressions[256]; // leaks mode: path, "": none
    uint32_t exitcode;      // leaks mode: exit status when there are leaks; 0: the program's own
    bool abandoned;         // leaks mode: a second check after exit handlers
    bool live;              // leaks mode: reports tell what is reachable, too
    uint32_t every;         // leaks mode: seconds between reports; 0: none by time
    uint64_t rss;           // leaks mode: a report when so many bytes are resident; 0: none
};

extern struct sv_options sv_options;

// Parses text in the form above over the defaults; a bad item costs one line on stderr and leaves
// its default. NULL and "" are the defaults.
void sv_options_parse(const char *text);

#endif
