// The second thread is woken when the world stands still, and spins from then on, so that giving it
// a job costs nothing; not before, because the threads that are to stop need the processors. A job
// for which it isn't there in time the driver does, and one that it was given and hasn't begun when
// the driver has nothing else to do. It never spins for longer than a stop lasts. On a machine with
// one processor there is no such thread.
//
// Who spins offers its processor to others now and then: the kernel may have put both threads on
// the same one, where each would spin through a time slice while the other has the work.
//
// The states: asleep, called (spinning), a job given, begun, done (spinning again). Only the driver
// goes to called and to given, and back to asleep; both may go from given to begun; who did the job
// goes to done.
#include "crew.h"

#include <stdatomic.h>
#include <stddef.h>

#include "arch.h"
#include "os.h"
#include "worker.h"

#define SPINS 256u // pauses (some 40 ns each) between two offers of the processor

enum crew_state { CREW_ASLEEP, CREW_CALLED, CREW_GIVEN, CREW_BEGUN, CREW_DONE };

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

void sv_crew_run(sv_crew_job *job, void *arg, bool wait)
{
    if (!wait) {
        job(arg);
        return;
    }
    crew.job = job;
    crew.arg = arg;
    crew_set(CREW_GIVEN);
}

void sv_crew_spin(unsigned *spins)
{
    if (++*spins % SPINS == 0)
        sv_os_yield();
    else
        sv_arch_pause();
}

// Does the job, if the other hasn't begun it.
static void crew_work(void)
{
    uint32_t given = CREW_GIVEN;
    if (!atomic_compare_exchange_strong_explicit(&crew.state, &given, CREW_BEGUN,
                                                 memory_order_acquire, memory_order_relaxed))
        return;
    crew.job(crew.arg);
    crew_set(CREW_DONE);
}

void sv_crew_join(void)
{
    crew_work();
    for (unsigned spins = 0; crew_state() == CREW_BEGUN;)
        sv_crew_spin(&spins);
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
    for (unsigned spins = 0; state != CREW_ASLEEP; state = crew_state()) {
        if (state == CREW_GIVEN)
            crew_work();
        else
            sv_crew_spin(&spins);
    }
    return true;
}

void sv_crew_fork_child(void)
{
    crew_set(CREW_ASLEEP);
}
