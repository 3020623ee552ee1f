// The collector's own threads: starting, waking and ending them.
//
// The first drives cycles, the others only mark. They start when the first cycle is due, so that
// small programs keep a single thread, and end when nobody but them is left.
#ifndef SV_WORKER_H
#define SV_WORKER_H

#include "core.h"

#define SV_WORKER_MAX 65             // the driver and 64 that help it
#define SV_WORKER_LINK SV_WORKER_MAX // the index of the thread that answers the command

// What a worker runs: returns when it is told to end. index 0: the driver.
typedef void sv_worker_body(unsigned index);

// How a thread is made and joined: the preload layer sets them, since pthread_create is one of the
// names it wraps. spawn: 0 or an errno; the thread starts with every signal but the stop's blocked,
// on the stack given. EINVAL: that is too small.
struct sv_worker_hooks {
    int (*spawn)(void *(*start)(void *), void *arg, void *stack, size_t bytes,
                 unsigned long *handle);
    void (*join)(unsigned long handle);
};
extern const struct sv_worker_hooks *sv_worker_hooks; // NULL: there are no workers

enum sv_worker_state {
    SV_WORKER_NONE,     // not to be had here, now
    SV_WORKER_STARTING, // being started, perhaps by this very thread, which allocates in doing so
    SV_WORKER_THERE
};

// Workers [0, n) run, or are made to. The driver starts the others, since they share descriptors
// with who makes them. Any thread, outside of signal handlers, no lock of ours held.
enum sv_worker_state sv_worker_start(sv_worker_body *body, unsigned n);

// Makes the thread that answers the command, with SV_WORKER_LINK for its index. The driver alone,
// whose descriptors it shares; false: it can't be had.
bool sv_worker_link_start(void);

// Do the workers, once there are any, have a descriptor table of their own? The driver.
bool sv_worker_table_private(void);

// Workers run, or are being ended.
bool sv_worker_there(void);

// Wakes the driver (sv_worker_wake) or whoever sleeps; sleeping ends early for no reason too.
void sv_worker_wake(void);
void sv_worker_sleep(uint32_t seen, uint64_t ns); // a worker; `seen`: of sv_worker_seen before
uint32_t sv_worker_seen(void);

// Is the calling thread a worker? Must it end now, or should it because only workers are left?
bool sv_worker_here(void);

// Is it one with a descriptor table that the program can't reach?
bool sv_worker_private(void);
bool sv_worker_link_here(void); // is it the one that answers the command?
bool sv_worker_ending(void);

// There is a second worker, which can help the driver.
bool sv_worker_helper(void);

// From now on new workers share the program's descriptor table. Any thread.
void sv_worker_table_share(void);

// Ends all workers and waits until they are gone: before calls that only a process with a single
// thread may make. The next cycle starts them again. Not from a worker.
void sv_worker_quit(void);

// Workers exist, and of the program there is one thread.
bool sv_worker_only(void);

// A thread of the program's has run its destructors (`main`: it is the first one). Is it the last
// of them? No lock of ours held.
bool sv_worker_last(bool main);

// Waits until the workers that were made have registered: a stop before that takes them for threads
// of the program's, and everything that lies above their stacks for roots.
void sv_worker_await(void);

// Between the two each worker has registered, and none is made: for a check of the end, by the
// thread that ends the process. No lock of ours held.
void sv_worker_settle(void);
void sv_worker_unsettle(void);

// Is the calling thread inside of this file's lock?
bool sv_worker_locked_here(void);

// A thread of the program's has run its destructors; `main`: it was the first one.
void sv_worker_thread_ended(bool main);

// A worker has descriptors of its own, so the program's aren't there: a copy of the program's `fd`,
// to be closed, or -errno. In any other thread, fd itself: see sv_worker_here.
int sv_worker_borrow(int fd);

// In a forked child: there are none.
void sv_worker_fork_child(void);

#endif
