// The second thread is woken when the world stands still, and spins from then on, so that giving it
// a job costs nothing; not before, because the threads that are to stop need the processors. A job
// for which it isn't there in time the driver does. It never spins for longer than a stop lasts. On
// a machine with one processor there is no such thread.
//
// The states: asleep, called (spinning), a job given, the job done (spinning again). Only the
// driver goes to called and to given, and back to asleep; only the second thread goes to done.
#include "crew.h"

#include <stdatomic.h>
#include <stddef.h>

#include "arch.h"
#include "worker.h"

enum crew_state { CREW_ASLEEP, CREW_CALLED, CREW_GIVEN, CREW_DONE };

static struct {
    _Atomic uint32_t state; // enum crew_state
    _Atomic bool there;     // second thread: it has answered a call
    sv_crew_job *job;       // driver, before GIVEN
    void *arg;              // likewise
} crew;

static uint32_t crew_state(void)
{
    return atomic_load_explicit(&crew.state, memory_order_acquire);
}

static void crew_set(uint32_t state)
{
    // release pairs with the acquire in crew_state: the job, or what it did, is visible
    atomic_store_explicit(&crew.state, state, memory_order_release);
}

void sv_crew_call(void)
{
    if (!sv_worker_helper())
        return;
    atomic_store_explicit(&crew.there, false, memory_order_relaxed);
    crew_set(CREW_CALLED);
    sv_worker_wake();
}

bool sv_crew_there(void)
{
    return crew_state() != CREW_ASLEEP && atomic_load_explicit(&crew.there, memory_order_relaxed);
}

void sv_crew_run(sv_crew_job *job, void *arg, bool there)
{
    if (!there) { // not called, or it has no processor yet: nobody waits for it
        job(arg);
        return;
    }
    crew.job = job;
    crew.arg = arg;
    crew_set(CREW_GIVEN);
}

void sv_crew_join(void)
{
    while (crew_state() == CREW_GIVEN)
        sv_arch_pause();
}

void sv_crew_dismiss(void)
{
    crew_set(CREW_ASLEEP);
}

bool sv_crew_serve(void)
{
    uint32_t state = crew_state();
    if (state == CREW_ASLEEP)
        return false;
    atomic_store_explicit(&crew.there, true, memory_order_relaxed);
    for (; state != CREW_ASLEEP; state = crew_state()) {
        if (state == CREW_GIVEN) {
            crew.job(crew.arg);
            crew_set(CREW_DONE);
        } else {
            sv_arch_pause();
        }
    }
    return true;
}

void sv_crew_fork_child(void)
{
    crew_set(CREW_ASLEEP);
}
