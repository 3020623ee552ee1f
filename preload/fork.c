// fork. The child has one thread and a copy of every lock; so the forking thread owns all of ours
// when it happens. glibc's list of streams comes first: a thread inside stdio may hold it, or a
// stream, while it waits for one of our locks, and fork itself takes the list after the prepare
// handlers; taken here, first, the order is the same for everybody. In the child glibc has already
// reset the list's lock.
//
// Handlers registered first are run last before the fork and first after it: the program's own
// handlers may allocate. A process with a single thread takes nothing: that thread may be inside
// malloc, when a signal handler forks, and there is nobody to keep away. vfork and posix_spawn run
// no handlers and copy nothing; nothing is to be done for them.
#include "fork.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/single_threaded.h>

#include "cycle.h"

extern void _IO_list_lock(void);
extern void _IO_list_unlock(void);

static bool fork_locked; // the forking thread: the list of streams and our locks are its own

static void fork_prepare(void)
{
    if (__libc_single_threaded)
        return;
    _IO_list_lock();
    sv_cycle_fork_prepare();
    fork_locked = true;
}

static void fork_parent(void)
{
    if (!fork_locked)
        return;
    fork_locked = false;
    sv_cycle_fork_parent();
    _IO_list_unlock();
}

static void fork_child(void)
{
    bool locked = fork_locked;
    fork_locked = false;
    if (locked)
        sv_cycle_fork_child();
    else
        sv_cycle_fork_child_alone();
}

void sv_fork_init(void)
{
    pthread_atfork(fork_prepare, fork_parent, fork_child);
}
