// Random pauses: mostly none, often a yield, sometimes as long as a scheduler's slice. The sequence
// is one for the process, stepped by whoever comes, so a seed doesn't repeat a run; it only makes
// two runs differ.
#include "chaos.h"

#include <stdatomic.h>
#include <stdint.h>

#include "os.h"

static _Atomic uint32_t chaos_state;
static _Atomic uint32_t chaos_never; // nobody wakes who sleeps on it

void sv_chaos_pause(void)
{
    uint32_t x = atomic_load_explicit(&chaos_state, memory_order_relaxed);
    x = x ? x : sv_options.chaos;
    x ^= x << 13; // Marsaglia's xorshift
    x ^= x >> 17;
    x ^= x << 5;
    atomic_store_explicit(&chaos_state, x, memory_order_relaxed);
    if (x % 4 == 0)
        sv_os_futex_wait(&chaos_never, 0, 1);
    else if (x % 64 == 1)
        sv_os_futex_wait(&chaos_never, 0, 100000 + x % 3000000);
}
