// Memory for the collector itself: a private jemalloc whose only face is these functions. It never
// serves the program, is never a root, and its size is a statistic.
#ifndef SV_METADATA_H
#define SV_METADATA_H

#include <stdbool.h>
#include <stddef.h>

// One lock of ours stands around every call, so that jemalloc's own locks are always free when it
// is: who stops the world, or forks, takes it first, and neither a stopped thread nor a forked
// child is then ever inside jemalloc. Not from signal handlers.
void sv_metadata_lock(void);
void sv_metadata_unlock(void);

// In a forked child whose parent forked with the lock held, instead of sv_metadata_unlock: jemalloc
// forgets the threads that were left behind, and the lock is free. Not in a vfork child.
void sv_metadata_fork_child(void);

// In a forked child of which no handler took the lock: free, unless the caller is inside.
void sv_metadata_lock_reset(void);
bool sv_metadata_locked_here(void); // by the calling thread

// Zeroed, 16-byte aligned; NULL when memory is short. Takes the lock.
void *sv_metadata_alloc(size_t bytes);
void sv_metadata_free(void *p, size_t bytes); // bytes as asked for; p may be NULL

// The same with the lock held by the caller (the collector while the world is stopped), or for the
// caller by whoever stopped the world.
void *sv_metadata_alloc_held(size_t bytes);
void sv_metadata_free_held(void *p, size_t bytes);

// Resident bytes, jemalloc's own included; 0 before the first allocation. Any context, lock or not;
// exact with the lock held. About 5 us for the first MiB mapped.
size_t sv_metadata_bytes(void);

// Whether [lo, hi) holds jemalloc's memory is known by name: calls fn for each of its mappings.
// (They are never roots; world stopped or lock held.)
void sv_metadata_each(void (*fn)(void *arg, unsigned long lo, unsigned long hi), void *arg);

#endif
