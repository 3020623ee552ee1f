// The core's locks, taken together. One place says which they are and in what order; what each
// guards is said where it is.
#include "locks.h"

#include "client.h"
#include "heap.h"
#include "lock.h"
#include "metadata.h"
#include "world.h"

void sv_locks_take(void)
{
    sv_lock_acquire(&sv_client_lock);
    sv_world_lock();
    sv_heap_lock_all();
    sv_metadata_lock();
}

void sv_locks_drop(void)
{
    sv_metadata_unlock();
    sv_heap_unlock_all();
    sv_world_unlock();
    sv_lock_release(&sv_client_lock);
}

bool sv_locks_held_here(void)
{
    return sv_lock_held(&sv_client_lock) || sv_world_locked_here() || sv_heap_locked_here() ||
           sv_metadata_locked_here();
}

void sv_locks_reset(void)
{
    sv_lock_reset(&sv_client_lock);
    sv_heap_lock_reset();
    sv_world_lock_reset();
    sv_metadata_lock_reset();
}
