// The pages of a mapping, as roots.c needs them: with how each can be read. pages.c says how they
// are found.
#ifndef SV_PAGES_H
#define SV_PAGES_H

#include "scanners.h"

#define SV_HW_PAGE ((uintptr_t)4096) // x86-64's smallest page: what the pagemap counts in

enum sv_pages_how {
    SV_PAGES_PRESENT, // in the page table: a load from a readable mapping gives the value
    SV_PAGES_DOUBTFUL // perhaps swapped out, perhaps a guard, perhaps nothing: copy, never load
};

// Returns 0 to go on, else what sv_pages_runs shall return.
typedef int sv_pages_fn(void *arg, uintptr_t lo, uintptr_t hi, enum sv_pages_how how);

// In the flags of sv_pages_runs: the program runs, and may have unmapped some of the range since it
// was listed. Of such parts pages may be reported that aren't there, as doubtful.
#define SV_PAGES_STALE (UINT32_C(1) << 31)

// As sv_pages_each. [lo, hi) is widened to whole pages. Runs ascend, do not overlap, and two runs
// of the same kind never touch.
int sv_pages_runs(const struct sv_pages *pages, uintptr_t lo, uintptr_t hi, uint32_t flags,
                  sv_pages_fn *fn, void *arg);

// May one question cover many private mappings and what lies between them, mapped or not? Then
// `flags` has SV_MAP_FILE if any of them does: pages of anonymous memory are never a file's.
bool sv_pages_many(const struct sv_pages *pages);

#endif
