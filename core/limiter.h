// The limiter: says when the collector has taken more than half of the CPU for too long. Pure
// functions of numbers, as the pacer's; the caller passes the clock and keeps calls apart.
#ifndef SV_LIMITER_H
#define SV_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

enum sv_limiter_state {
    SV_LIMITER_OFF,     // no cycle
    SV_LIMITER_MARKING, // workers have a quarter of the processors
    SV_LIMITER_STOPPED  // the world is stopped: all processors are the collector's
};

struct sv_limiter {
    uint32_t procs;              // const
    uint64_t capacity;           // const: ns of CPU: a second for each processor
    uint64_t fill;               // update: ns, up to a tenth above capacity
    uint64_t overflow;           // update: ns that didn't fit, ever
    uint64_t last;               // update: ns, when it was brought up to date
    enum sv_limiter_state state; // update: since then
};

// Empty at `now`, in state OFF. procs: at least 1.
void sv_limiter_init(struct sv_limiter *l, uint32_t procs, uint64_t now);

// Counts the time since the last update in the state that held, then goes on in `state`. `assists`:
// ns of CPU that assists (of marking, sweeping, giving back) took meanwhile; `idle`: ns of
// processors that nobody of this process used. Both may be more than there was: they are cut. A
// `now` from before the last update counts nothing. Due at each change of state.
void sv_limiter_update(struct sv_limiter *l, uint64_t now, enum sv_limiter_state state,
                       uint64_t assists, uint64_t idle);

// Threads don't assist, and cycles that stop the world don't start by growth, while this holds: the
// heap may then pass its goal and the memory limit, but the program gets half of its processors.
static inline bool sv_limiter_limiting(const struct sv_limiter *l)
{
    return l->fill >= l->capacity;
}

#endif
