// Watching writes by mprotect: pages of the heap are made read-only, the first write to one faults,
// and the handler of SIGSEGV takes note and opens the page. And lending: memory that the program
// has given to the kernel to be written is not made read-only meanwhile, because the kernel would
// answer EFAULT.
#ifndef SV_PROTECT_H
#define SV_PROTECT_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core.h"
#include "scanners.h"

// True from the start on in a process with barrier=mprotect, and in no other. Const after init: it
// is what lending costs everybody else.
extern bool sv_protect_on;

// Set at start by who handles SIGSEGV: does it lead to sv_protect_fault still? NULL: it does not.
extern bool (*sv_protect_ready)(void);

// ---- the barrier's operations, as barrier.h and scanners/track.h say ----------------------------
// For ranges outside of the heap watch answers -ENOTSUP, and all of them counts as written.

int sv_protect_open(int procfd);
int sv_protect_watch(uintptr_t lo, uintptr_t hi);
int sv_protect_written(uintptr_t lo, uintptr_t hi, bool again, sv_range_fn *fn, void *arg);
void sv_protect_release(uintptr_t lo, uintptr_t hi);
void sv_protect_close(void);

// ---- from a handler of SIGSEGV ------------------------------------------------------------------

// Was it a write to a page that is watched? Then the page is open, and the instruction may be tried
// again. Every signal must be blocked. Any thread, whichever locks it holds.
bool sv_protect_fault(const siginfo_t *info);

// ---- the heap -----------------------------------------------------------------------------------

void sv_protect_leave_slow(uint32_t page, uint32_t npages);

// These pages are no span's any more, and the page map says so: they serve for anything next.
static inline void sv_protect_leave(uint32_t page, uint32_t npages)
{
    if (sv_unlikely(sv_protect_on))
        sv_protect_leave_slow(page, npages);
}

// ---- lending ------------------------------------------------------------------------------------

// Lives in the frame of the function that makes the call.
struct sv_protect_lent {
    bool on;     // something was lent
    uint32_t at; // what the thread had lent before
};

// From here to `end` the kernel may write to the objects in which the n pointers lie, from them up.
// Pointers to elsewhere, and NULL, cost a comparison. A frame that is left by a jump, or by
// cancellation, costs precision, not correctness. Any thread, signal handlers included; errno
// stays.
void sv_protect_lend(struct sv_protect_lent *lent, const volatile void *const *v, size_t n);

// The same for any pointer into the heap, where they are many.
void sv_protect_lend_whole(struct sv_protect_lent *lent);

void sv_protect_lend_end_slow(const struct sv_protect_lent *lent);

static inline void sv_protect_lend_end(const struct sv_protect_lent *lent)
{
    if (sv_unlikely(lent->on))
        sv_protect_lend_end_slow(lent);
}

// The calling thread ends: nothing of it is lent any more.
void sv_protect_thread_end(void);

// In a forked child, before any other thread: every page is open, and only the calling thread
// lends.
void sv_protect_fork_child(void);

// Pages that are read-only, and mappings more than there would be otherwise. For tests.
size_t sv_protect_shut(void);
size_t sv_protect_edges(void);

#endif
