// A second thread for the work inside a stop: while the program stands still its processors are
// free.
#ifndef SV_CREW_H
#define SV_CREW_H

#include <stdbool.h>
#include <stdint.h>

// What the second thread does beside the caller of sv_crew_run.
typedef void sv_crew_job(void *arg);

// The driver, world stopped. `call`: the second thread gets up and waits, awake. `there`: it has a
// processor. `run` gives it a job, for when it is there; without `wait` the job is done here and
// now. `join` does the job if it hasn't been begun, and waits until it is done; `dismiss` lets it
// lie down again.
void sv_crew_call(void);
bool sv_crew_there(void);
void sv_crew_run(sv_crew_job *job, void *arg, bool wait);
void sv_crew_join(void);
void sv_crew_dismiss(void);

// One step of a wait for the other thread, of either's. *spins: 0 before the first.
void sv_crew_spin(unsigned *spins);

// The second thread: serves until it is dismissed; false: nobody had called.
bool sv_crew_serve(void);

// In a forked child, which has no second thread.
void sv_crew_fork_child(void);

#endif
