// What the program lost: found by cycles in mode=leaks, told as a raw record (docs/raw-record.md).
#ifndef SV_LEAKS_H
#define SV_LEAKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "profile.h"
#include "sizeclass.h"

struct sv_span;

enum sv_leaks_reason { // why a check is made, as the record names it
    SV_LEAKS_REQUEST,  // request: salvage leaks PID
    SV_LEAKS_API,      // api: salvage_leak_check, __lsan_do_*
    SV_LEAKS_PERIOD,   // period
    SV_LEAKS_RSS,      // rss
    SV_LEAKS_EXIT,     // exit: main returned, or exit was called; before exit handlers
    SV_LEAKS_HANDLERS, // after-exit: after exit handlers and destructors
    SV_LEAKS_EXIT_NOW, // _exit
    SV_LEAKS_QUICK,    // quick_exit
    SV_LEAKS_ABORT,    // abort
    SV_LEAKS_SIGNAL,   // signal: SIGTERM and the like, by default action
    SV_LEAKS_EXEC      // exec
};

struct sv_leaks_ask {
    enum sv_leaks_reason reason;
    int fd;         // where the raw record goes, in the caller's descriptor table; -1: only counted
    uintptr_t sp;   // words of the calling thread's stack below this are no roots; 0: from its sp
    bool objects;   // a line for each object
    bool abandoned; // what the check at SV_LEAKS_EXIT found reachable and this one doesn't counts
    bool live;      // sites of what is reachable as well
    bool possible;  // what only interior pointers hold, whatever that costs: one long stop
};

struct sv_leaks_sums {
    size_t objects, bytes; // direct and indirect leaks
    size_t abandoned;      // objects
    size_t possible;       // objects
    size_t hidden;         // objects that came back: the program hides pointers
};

// Runs the cycles that it takes and writes the record. 0, or -errno: no verdict could be reached
// (the world didn't stop, say), and nothing is written but that; or the record could not be
// written. No lock held; not in a handler that interrupted malloc (-EDEADLK where that can be
// told); other threads go on but for the stops. Checks from SV_LEAKS_EXIT on, and those of
// processes without a worker, stop the world for their marks, in the calling thread.
// mode=collect with sample=: `live` only, the rest is empty.
int sv_leaks_check(const struct sv_leaks_ask *ask, struct sv_leaks_sums *out);

// The object that holds p is never reported, nor what only it leads to. Any thread, no lock held.
// False: p points into no object, or memory is short.
bool sv_leaks_ignore(const void *p);

// While not 0, sv_leaks_ignore is done to each object that the thread allocates (profile.c).
extern __thread unsigned sv_leaks_ignoring __attribute__((tls_model("initial-exec")));

// ---- for the collector --------------------------------------------------------------------------

// Nothing is taken back: const after init.
extern bool sv_leaks_on;

// The top bits of an object's word.
enum sv_leaks_state {
    SV_LEAKS_NONE,
    SV_LEAKS_CANDIDATE, // the last cycle didn't reach it
    SV_LEAKS_LOST,      // the last two didn't
    SV_LEAKS_IGNORED,   // by the program's wish
    SV_LEAKS_ABANDONED  // lost after the check at exit
};

static inline unsigned sv_leaks_state(uint64_t word)
{
    return (unsigned)(word >> SV_PROFILE_STATE_SHIFT);
}

#define SV_LEAKS_CLEAN_MAX 1023u // bytes of a request

// In mode=leaks small objects begin as zeroes: one that the program doesn't fill would else show
// the pointers of the one before it, and hide what is lost.
static inline void sv_leaks_clean(void *p, size_t size)
{
    if (sv_leaks_on && size <= SV_LEAKS_CLEAN_MAX)
        __builtin_memset(p, 0, sv_classes[sv_sizeclass(size)].size);
}

// At start, after the options were read.
void sv_leaks_init(void);

// In mode=leaks, when a cycle has flipped, world stopped. `missed`: it didn't reach everything.
void sv_leaks_flip(bool missed);

// In mode=leaks, from sweeping: looks at the objects of an unswept span, before its marks go. The
// code's lock is held; that of the heap instead for a large one.
void sv_leaks_span(struct sv_span *span);
void sv_leaks_large(struct sv_span *span, bool marked);

// For a check, cycle lock held. Did the last cycle find candidates?
bool sv_leaks_fresh(void);

// A candidate with this word, in a slot of so many bytes, is lost; heap lock held.
void sv_leaks_settle(sv_profile_word *word, uint64_t old, size_t size);

// What is lost from now on is abandoned.
void sv_leaks_exited(void);

// In a forked child: a check that another thread was making is none.
void sv_leaks_fork_child(void);

// Words that are roots: objects that are never to be reported. World stopped, all locks held.
size_t sv_leaks_roots(const uintptr_t **words);

#endif
