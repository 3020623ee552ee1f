// The roots of a cycle: what the scanners find in the process, without what must not count.
#ifndef SV_ROOTSET_H
#define SV_ROOTSET_H

#include "core.h"

// Who looks at ranges: marking, or checkmark after it.
struct sv_rootset_visitor {
    void (*range)(void *arg, uintptr_t lo, uintptr_t hi, bool code); // code: see sv_mark_range
    void *arg;
    uint64_t stacks; // bytes offered so far
    uint64_t others;
};

// Reads the mappings and works out what is dead or ours. World stopped, all locks held by the
// caller, whose own stack counts from `sp` up. NULL, or why roots can't be had (a constant string).
const char *sv_rootset_begin(int procfd, uintptr_t sp);
const struct sv_pages *sv_rootset_pages(void);

// Offers every root. NULL, or why some could not be read: the cycle must be given up.
const char *sv_rootset_visit(struct sv_rootset_visitor *visitor);
void sv_rootset_end(void);

// The library's own data: never a root. At start, a few times.
void sv_rootset_exclude(uintptr_t lo, uintptr_t hi);

// Ranges that the program names as roots. World lock held. False: too many.
bool sv_rootset_add(uintptr_t lo, uintptr_t hi);
void sv_rootset_remove(uintptr_t lo, uintptr_t hi);

#endif
