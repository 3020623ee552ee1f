// fork. The child has one thread and a copy of every lock; so the forking thread owns all of ours
// when it happens. glibc's list of streams comes first: a thread inside stdio may hold it, or a
// stream, while it waits for one of our locks, and fork itself takes the list after the prepare
// handlers; taken here, first, the order is the same for everybody. In the child glibc has already
// reset the list's lock.
//
// Handlers registered first are run last before the fork and first after it: the program's own
// handlers may allocate. A process with a single thread takes nothing: that thread may be inside
// malloc, when a signal handler forks, and there is nobody to keep away. The collector's own thread
// doesn't count, and goes first when it has nothing to do. vfork and posix_spawn run no handlers
// and copy nothing; nothing is to be done for them.
#include "fork.h"

#include <pthread.h>
#include <stdbool.h>
#include <sys/single_threaded.h>

#include "boehm.h"
#include "cycle.h"
#include "exit.h"
#include "report.h"

extern void _IO_list_lock(void);
extern void _IO_list_unlock(void);

static bool fork_listed;      // the forking thread: the list of streams is its own
static enum sv_fork fork_how; // likewise: what prepare answered

static void fork_prepare(void)
{
    fork_how = SV_FORK_ALONE;
    if (__libc_single_threaded)
        return;
    _IO_list_lock();
    fork_listed = true;
    fork_how = sv_cycle_fork_prepare();
}

static void fork_parent(void)
{
    if (!fork_listed)
        return;
    fork_listed = false;
    sv_cycle_fork_parent(fork_how);
    _IO_list_unlock();
}

static void fork_child(void)
{
    fork_listed = false;
    sv_cycle_fork_child(fork_how);
    sv_report_fork_child();
    sv_exit_fork_child();
    sv_control_fork_child();
}

void sv_fork_init(void)
{
    pthread_atfork(fork_prepare, fork_parent, fork_child);
}
