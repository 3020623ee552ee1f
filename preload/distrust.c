// Whose gate can't be trusted (gate.h): where code of the program's would run behind it, or where
// another task would pass it in a thread's name. Those threads are signalled at each stop, like
// ones without a gate.
//
// A cancelled thread unwinds from inside the call, through its clean-up handlers and destructors,
// which may do anything. So its record is marked before the cancellation is asked for, under the
// world's lock: the next stop knows. One that hasn't registered yet is born marked.
//
// A vfork child runs on its parent's stack and with its thread-local storage, while the parent is
// suspended. Killed inside a gate, it would leave its parent inside for good. So the record is
// marked while there is such a child, and unmarked when the parent runs again. (The child of a
// child is counted: its parent is no thread of its own.) What a stop finds
// meanwhile is a thread that doesn't answer; it waits until the child is gone or gives up. clone
// with CLONE_VFORK is the same, and without it, if the memory is shared and the thread-local
// storage is too, the mark stays for good: both tasks would pass the same gate at the same time.
#include "distrust.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

#include "export.h"
#include "real.h"
#include "world.h"

SV_EXPORT int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...);

SV_EXPORT int pthread_cancel(pthread_t thread)
{
    sv_world_distrust((uintptr_t)thread,
                      SV_DISTRUST_CANCELLED); // glibc's id is the block's address
    return sv_real(pthread_cancel)(thread);
}

// ---- children in our memory ---------------------------------------------------------------------

static _Thread_local unsigned vforks; // children that run in this thread's place

bool sv_distrust_vforked(void)
{
    return vforks != 0;
}

// Called by vfork_x86_64.S: before the system call, and after it in the parent with its result.
void sv_distrust_vfork_begin(void);
int sv_distrust_vfork_end(int result);

void sv_distrust_vfork_begin(void)
{
    struct sv_thread *me = sv_world_me;
    vforks++;
    if (me)
        atomic_fetch_or_explicit(&me->distrusted, SV_DISTRUST_VFORK, memory_order_relaxed);
}

int sv_distrust_vfork_end(int result)
{
    struct sv_thread *me = sv_world_me;
    if (--vforks == 0 && me)
        atomic_fetch_and_explicit(&me->distrusted, ~(uint32_t)SV_DISTRUST_VFORK,
                                  memory_order_relaxed);
    if (result >= 0)
        return result;
    errno = -result;
    return -1;
}

int clone(int (*fn)(void *), void *stack, int flags, void *arg, ...)
{
    va_list ap; // as glibc does: what wasn't given isn't looked at
    va_start(ap, arg);
    void *parent_tid = va_arg(ap, void *), *tls = va_arg(ap, void *);
    void *child_tid = va_arg(ap, void *);
    va_end(ap);
    struct sv_thread *me = sv_world_me;
    bool shared = (flags & CLONE_VM) && !(flags & CLONE_SETTLS);
    if (shared && (flags & CLONE_VFORK))
        sv_distrust_vfork_begin();
    else if (shared && me)
        atomic_fetch_or_explicit(&me->distrusted, SV_DISTRUST_SHARED, memory_order_relaxed);
    int result = sv_real(clone)(fn, stack, flags, arg, parent_tid, tls, child_tid);
    if (shared && (flags & CLONE_VFORK))
        sv_distrust_vfork_end(0);
    return result;
}

SV_EXPORT_ALIAS(int __clone(int (*)(void *), void *, int, void *, ...), clone);
