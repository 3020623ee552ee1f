// Workers are threads of the process like any other, made by pthread_create: only so does setuid
// reach them, and only so does glibc count them. They must not be noticed all the same:
//
// - They block every signal (the stop's own only when they are known for what they are), so the
//   kernel never picks one of them for a signal to the process.
// - They have a descriptor table and a file system context of their own (close_range with
//   CLOSE_RANGE_UNSHARE): what a cycle opens stands nowhere among the program's descriptors,
//   closefrom doesn't reach it, and chroot doesn't hide /proc from it. Leaving the program's table
//   counts as closing its first descriptors, which takes a message queue's notification away, as
//   any close does: who asks for one gets workers without a table of their own from then on. The
//   log is written through a copy of the program's descriptor, taken for one line and closed again.
// - They don't keep a process alive. When the first thread has left by pthread_exit, the driver is
//   told of each thread's end, and leaves when only workers are left; glibc then exits.
// - They go when asked: unshare and setns refuse a process with more than one thread, and after
//   capset and parts of prctl they would have other credentials than their makers.
//
// Their stacks are the collector's own memory, and no roots: what marking leaves on them looks like
// pointers. So a worker never allocates from the program's heap; what libc allocated for it (its
// DTV) is held by the thread block above its frames, which stays a root.
//
// Never done here: anything with the program's locks or heap.
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "arch.h"
#include "leaks.h"
#include "lock.h"
#include "os.h"
#include "scanners.h"
#include "world.h"

#define STACK_MIN ((size_t)256 << 10)
#define STACK_MAX ((size_t)16 << 20)
#define SETTLE_NS 1000000000u // one that gets no processor at all is not waited for
#define LOCK_NAP_NS 50000u
#define GLIBC_SIGNALS ((uint64_t)3 << 31) // 32 and 33: cancellation and setuid, glibc's own
#define STOP_BIT ((uint64_t)1 << (SV_STOP_SIGNAL - 1))
#define LAST_NAP_MIN_NS 1000000u    // with the first thread gone, looks whether the others are, too
#define LAST_NAP_MAX_NS 1000000000u // follow so fast, and slower until another thread ends

const struct sv_worker_hooks *sv_worker_hooks;

struct thread {
    unsigned long handle; // worker lock
    void *stack;          // worker lock: its memory, from sv_os_map
    size_t bytes;         // worker lock: of it
    uintptr_t frames;     // itself, once: its frames lie below this, on whole pages
};

static struct {
    struct sv_lock lock;       // leaf: starting and ending
    sv_worker_body *body;      // lock
    _Atomic unsigned n;        // lock to write: started and not joined
    _Atomic int pid;           // lock to write: whose they are
    bool private_table;        // workers: descriptors are their own
    _Atomic bool shared;       // anyone: no table of their own any more
    _Atomic bool link;         // lock to write: started and not joined
    _Atomic uint32_t starting; // threads made that haven't registered; futex
    _Atomic bool quit;         // anyone: workers shall end; lock: not so any more
    _Atomic bool main_ended;   // the first thread, at its end
    _Atomic uint64_t last_nap; // threads at their end reset it: ns until the next look
    _Atomic uint32_t calls;    // anyone counts up; workers sleep on it
    struct thread thread[SV_WORKER_MAX + 1]; // lock; the last one: SV_WORKER_LINK
} worker;

static __thread bool worker_here __attribute__((tls_model("initial-exec")));
static __thread bool worker_link_here __attribute__((tls_model("initial-exec")));

bool sv_worker_here(void)
{
    return worker_here;
}

bool sv_worker_link_here(void)
{
    return worker_link_here;
}

static void starting_add(int n)
{
    atomic_fetch_add_explicit(&worker.starting, (uint32_t)n, memory_order_release);
    sv_os_futex_wake(&worker.starting, INT32_MAX);
}

static void *worker_begin(void *arg)
{
    worker_here = true;
    worker_link_here = arg == &worker.thread[SV_WORKER_LINK];
    if (arg == worker.thread) // the others are made by the first, and share with it
        worker.private_table = !atomic_load_explicit(&worker.shared, memory_order_seq_cst) &&
                               sv_os_descriptors_unshare() == 0;
    // until it is known for a worker, a stop takes it for a thread of the program's and asks it
    sv_world_self_worker();
    sv_os_signal_mask(SIG_SETMASK, ~GLIBC_SIGNALS, NULL);
    struct thread *t = arg;
    t->frames = (uintptr_t)__builtin_frame_address(0) & ~(uintptr_t)4095;
    sv_world_self_stack((uintptr_t)t->stack, (uintptr_t)__builtin_frame_address(0),
                        (uintptr_t)t->stack + t->bytes, 0, false);
    starting_add(-1);
    worker.body((unsigned)(t - worker.thread));
    return NULL;
}

// Static TLS lies on the stack, too, and some programs have a lot.
static bool thread_start(struct thread *t)
{
    int r = EINVAL;
    for (size_t bytes = STACK_MIN; r == EINVAL && bytes <= STACK_MAX; bytes *= 4) {
        t->bytes = bytes;
        t->stack = sv_os_map(bytes);
        if (!t->stack)
            return false;
        starting_add(1);
        sv_leaks_ignoring++; // what libc allocates for it
        r = sv_worker_hooks->spawn(worker_begin, t, t->stack, bytes, &t->handle);
        sv_leaks_ignoring--;
        if (r != 0) {
            starting_add(-1);
            sv_os_unmap(t->stack, bytes);
        }
    }
    return r == 0;
}

static void thread_join(struct thread *t)
{
    sv_worker_hooks->join(t->handle);
    sv_os_unmap(t->stack, t->bytes);
    t->stack = NULL;
}

// A handler of the program's that came inside of the lock might fork or end the process, and would
// wait for the thread that it interrupted. The stop may come.
static uint64_t signals_block(void)
{
    uint64_t mask = 0;
    sv_os_signal_mask(SIG_BLOCK, ~(GLIBC_SIGNALS | STOP_BIT), &mask);
    return mask;
}

static uint64_t lock_acquire(void)
{
    uint64_t mask = signals_block();
    sv_lock_acquire(&worker.lock);
    return mask;
}

static void lock_release(uint64_t mask)
{
    sv_lock_release(&worker.lock);
    sv_os_signal_mask(SIG_SETMASK, mask, NULL);
}

// Who starts or ends workers holds the lock meanwhile: whoever ends them waits for the driver,
// whoever starts them is about to let go. Others only try: starting a thread allocates.
static bool lock_try(uint64_t *mask)
{
    *mask = signals_block();
    bool locked = sv_lock_try(&worker.lock);
    while (!locked && worker_here && !sv_worker_ending()) {
        sv_worker_sleep(sv_worker_seen(), LOCK_NAP_NS);
        locked = sv_lock_try(&worker.lock);
    }
    if (!locked)
        sv_os_signal_mask(SIG_SETMASK, *mask, NULL);
    return locked;
}

enum sv_worker_state sv_worker_start(sv_worker_body *body, unsigned n)
{
    int pid = sv_os_getpid();
    if (!sv_worker_hooks)
        return SV_WORKER_NONE;
    if (atomic_load_explicit(&worker.n, memory_order_acquire) >= n &&
        atomic_load_explicit(&worker.pid, memory_order_relaxed) == pid)
        return SV_WORKER_THERE;
    uint64_t mask;
    if (!lock_try(&mask))
        return SV_WORKER_STARTING;
    if (worker.pid != pid) {
        worker.n = 0;
        worker.link = false;
        worker.pid = pid;
    }
    worker.body = body;
    atomic_store_explicit(&worker.quit, false, memory_order_relaxed);
    for (unsigned at; (at = worker.n) < n && at < SV_WORKER_MAX; worker.n = at + 1)
        if (!thread_start(&worker.thread[at]))
            break;
    bool there = worker.n > 0;
    lock_release(mask);
    return there ? SV_WORKER_THERE : SV_WORKER_NONE;
}

bool sv_worker_link_start(void)
{
    uint64_t mask;
    if (!lock_try(&mask))
        return false;
    bool there = !worker.link && thread_start(&worker.thread[SV_WORKER_LINK]);
    worker.link |= there;
    lock_release(mask);
    return there;
}

bool sv_worker_table_private(void)
{
    return worker.private_table;
}

bool sv_worker_there(void)
{
    return atomic_load_explicit(&worker.n, memory_order_relaxed) > 0;
}

bool sv_worker_helper(void)
{
    return atomic_load_explicit(&worker.n, memory_order_relaxed) > 1;
}

void sv_worker_wake(void)
{
    atomic_fetch_add_explicit(&worker.calls, 1, memory_order_release);
    sv_os_futex_wake(&worker.calls, INT32_MAX);
}

uint32_t sv_worker_seen(void)
{
    return atomic_load_explicit(&worker.calls, memory_order_acquire);
}

// A thread tells of its end before it is gone, so one that looks at once may still see it.
static uint64_t last_nap(uint64_t ns)
{
    uint64_t nap = atomic_load_explicit(&worker.last_nap, memory_order_relaxed);
    uint64_t next = 2 * nap < LAST_NAP_MAX_NS ? 2 * nap : LAST_NAP_MAX_NS;
    atomic_compare_exchange_strong_explicit(&worker.last_nap, &nap, next, memory_order_relaxed,
                                            memory_order_relaxed);
    return ns && ns < nap ? ns : nap;
}

void sv_worker_sleep(uint32_t seen, uint64_t ns)
{
    if (atomic_load_explicit(&worker.main_ended, memory_order_relaxed))
        ns = last_nap(ns);
    sv_os_futex_wait(&worker.calls, seen, ns);
}

void sv_worker_thread_ended(bool main)
{
    atomic_store_explicit(&worker.last_nap, LAST_NAP_MIN_NS, memory_order_relaxed);
    if (main)
        atomic_store_explicit(&worker.main_ended, true, memory_order_relaxed);
    if (atomic_load_explicit(&worker.main_ended, memory_order_relaxed))
        sv_worker_wake();
}

// Threads of the process, workers included, as the links of their folder count them; -1: unknown.
static long threads_count(void)
{
    int fd = sv_os_open("/proc/self/task", O_RDONLY | O_DIRECTORY, 0);
    long links = fd < 0 ? fd : sv_os_links(fd);
    if (fd >= 0)
        sv_os_close(fd);
    return links > 2 ? links - 2 : -1;
}

// How many there would be if of the program there were one.
static long threads_fewest(void)
{
    return 1 + (long)atomic_load_explicit(&worker.n, memory_order_relaxed) +
           atomic_load_explicit(&worker.link, memory_order_relaxed);
}

bool sv_worker_only(void)
{
    return sv_worker_there() && threads_count() == threads_fewest();
}

// The lock: no thread is being made, so that what is counted is what is known.
bool sv_worker_last(bool main)
{
    if (main)
        atomic_store_explicit(&worker.main_ended, true, memory_order_relaxed);
    if (worker_here)
        return false;
    // either the first thread's count, under the same lock, knows that this one ends, or this one
    // sees here that the first has ended
    sv_world_ending();
    if (!atomic_load_explicit(&worker.main_ended, memory_order_relaxed))
        return false;
    uint64_t mask = lock_acquire();
    bool last = sv_world_end_self() <= (unsigned)threads_fewest() - 1;
    lock_release(mask);
    return last;
}

void sv_worker_await(void)
{
    uint64_t until = sv_os_now() + SETTLE_NS;
    uint32_t starting;
    // acquire pairs with the release in starting_add
    while ((starting = atomic_load_explicit(&worker.starting, memory_order_acquire)) != 0 &&
           sv_os_now() < until)
        sv_os_futex_wait(&worker.starting, starting, SETTLE_NS);
}

void sv_worker_settle(void)
{
    sv_lock_acquire(&worker.lock);
    sv_worker_await();
}

void sv_worker_unsettle(void)
{
    sv_lock_release(&worker.lock);
}

bool sv_worker_locked_here(void)
{
    return sv_lock_held(&worker.lock);
}

// The first thread stays listed after its end, as long as the process lives.
bool sv_worker_ending(void)
{
    if (atomic_load_explicit(&worker.quit, memory_order_relaxed))
        return true;
    if (!atomic_load_explicit(&worker.main_ended, memory_order_relaxed))
        return false;
    long threads = threads_count();
    if (threads <= 0 || threads > threads_fewest())
        return false;
    // for good; and the others could not count any more when one of them has gone
    atomic_store_explicit(&worker.quit, true, memory_order_relaxed);
    sv_worker_wake();
    return true;
}

void sv_worker_quit(void)
{
    uint64_t mask = lock_acquire();
    if (worker.n && worker.pid == sv_os_getpid()) {
        atomic_store_explicit(&worker.quit, true, memory_order_relaxed);
        sv_worker_wake();
        if (worker.link) {
            thread_join(&worker.thread[SV_WORKER_LINK]);
            worker.link = false;
        }
        for (unsigned at = worker.n; at > 0; worker.n = --at)
            thread_join(&worker.thread[at - 1]);
    }
    lock_release(mask);
}

bool sv_worker_private(void)
{
    return worker_here && worker.private_table;
}

void sv_worker_table_share(void)
{
    atomic_store_explicit(&worker.shared, true, memory_order_seq_cst);
}

int sv_worker_borrow(int fd)
{
    if (!worker.private_table)
        return fd;
    int process = sv_os_pidfd(worker.pid);
    if (process < 0)
        return process;
    int copy = sv_os_pidfd_get(process, fd);
    sv_os_close(process);
    return copy;
}

void sv_worker_fork_child(void)
{
    sv_lock_reset(&worker.lock);
    // The stacks of those that were left behind are memory like any other now, and what marking has
    // left there looks like pointers. (Their thread blocks stay: glibc may look at them.)
    for (unsigned i = 0; i < sizeof worker.thread / sizeof *worker.thread; i++) {
        struct thread *t = &worker.thread[i];
        if (t->stack && t->frames > (uintptr_t)t->stack)
            sv_os_release(t->stack, t->frames - (uintptr_t)t->stack);
        *t = (struct thread){0};
    }
    worker.n = 0;
    worker.link = false;
    worker.pid = 0;
    atomic_store_explicit(&worker.starting, 0, memory_order_relaxed);
    atomic_store_explicit(&worker.quit, false, memory_order_relaxed);
    atomic_store_explicit(&worker.main_ended, false, memory_order_relaxed);
}
