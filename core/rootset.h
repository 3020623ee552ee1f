// The roots of a cycle: what the scanners find in the process, without what must not count.
//
// A cycle that stops the world for all of it calls, while stopped: begin, visit_stacks, visit, end.
// One that runs beside the program: open, watch; while stopped: visit_awake; then visit_running;
// then, once or more, stopped again: sleepers_find, sleepers_ask, begin, visit_stacks(again),
// visit(written), end; and release. Cycle lock held throughout.
#ifndef SV_ROOTSET_H
#define SV_ROOTSET_H

#include "core.h"
#include "scanners.h"

// Who looks at ranges: marking, or checkmark after it.
struct sv_rootset_visitor {
    void (*range)(void *arg, uintptr_t lo, uintptr_t hi, bool code); // code: see sv_mark_range
    void *arg;
    uint64_t stacks; // bytes offered so far
    uint64_t others;
};

// ---- while the program runs; none of the core's locks held but the cycle's ----------------------

// Lists the mappings and opens their pages, for a cycle that will run beside the program. NULL, or
// why not (a constant string). Release is due in either case.
const char *sv_rootset_open(int procfd);

// Calls `watch` for everything that can be a root, stacks included, in whole hardware pages; what
// it returns 0 for is remembered. The rest stays untracked, and so counts as written.
const char *sv_rootset_watch(int (*watch)(uintptr_t lo, uintptr_t hi));

// Offers every root but the stacks, as copies, and remembers what it could not read and which
// stacks it left out. Between two stops; first without `written`, then with it: what was written
// since. Takes the world's and metadata's lock for a moment; holds none while it visits, so `v` may
// take them. NULL, or why roots can't be read.
const char *sv_rootset_visit_running(struct sv_rootset_visitor *v, sv_written_fn *written);

// The cycle is over, one way or the other: calls `release` for what was watched, and forgets.
void sv_rootset_release(void (*release)(uintptr_t lo, uintptr_t hi));

// ---- world stopped, all locks held --------------------------------------------------------------

// Reads the mappings and works out what is ours. The caller's own stack counts from `sp` up; 0: the
// caller is a worker, whose stack is no root. NULL, or why roots can't be had (a constant string);
// end is due in either case, when the world may run again.
const char *sv_rootset_begin(int procfd, uintptr_t sp);

const struct sv_pages *sv_rootset_pages(void);

// By a worker, in the first stop of a cycle that runs beside the program, without begin and end:
// offers the stacks and registers of threads that are awake. Those of the others are left to
// visit_running. Lists the mappings only if a thread has its stack where neither its record nor the
// listing of sv_rootset_open says for sure. NULL, or why roots can't be had.
const char *sv_rootset_visit_awake(struct sv_rootset_visitor *v, int procfd);

// Finds the threads that have slept in the kernel since their stacks were visited in this cycle,
// and asks what others have written there since. By who stopped the world, before begin; ask after
// it, by that thread and by another at the same time, even while the first one is inside begin: it
// returns when none is left to ask about. `written` is called with no lock but the stopper's.
void sv_rootset_sleepers_find(void);
void sv_rootset_sleepers_ask(sv_written_fn *written);

// Offers stacks and registers, and works out which parts of stacks are dead: visit must follow, not
// precede. `again`: they were visited in this cycle already; of a thread that has slept since, only
// what was written. What sleepers_ask hasn't told of that is left to visit.
void sv_rootset_visit_stacks(struct sv_rootset_visitor *v, bool again);

// Offers every other root. With `written`, after visit_running: only what was written since, what
// that could not read, and what turned out to be no stack. NULL, or why some could not be read: the
// cycle must be given up.
const char *sv_rootset_visit(struct sv_rootset_visitor *v, sv_written_fn *written, void *arg);

// The world runs again, or is about to: metadata's lock isn't held.
void sv_rootset_end(void);

// In a forked child: what a cycle of the parent's was doing here is forgotten; its memory is lost.
void sv_rootset_fork_child(void);

// ---- at any time --------------------------------------------------------------------------------

// The library's own data: never a root. At start, a few times.
void sv_rootset_exclude(uintptr_t lo, uintptr_t hi);

// Ranges that the program names as roots. World lock held. False: too many.
bool sv_rootset_add(uintptr_t lo, uintptr_t hi);
void sv_rootset_remove(uintptr_t lo, uintptr_t hi);

// Ranges that the program wants left out, wherever they lie; and none of them any more. World lock
// held. False: too many.
bool sv_rootset_leave(uintptr_t lo, uintptr_t hi);
void sv_rootset_leave_none(void);

#endif
