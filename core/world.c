// The world. Threads register on their first allocation, or when they start; the others (made by
// clone(2), or never allocating) are found in /proc/self/task. A stop asks every known thread: one
// that waits behind its gate (gate.h) has answered already, the others get the signal. Then it
// makes sure that those were all. As a rule the number of links of /proc/self/task says so, which
// is two more than the process has threads; where it doesn't fit, the tasks are listed, and listed
// again until a listing shows nobody new: threads that are stopped make no more. The number is
// believed once a listing has confirmed it, so that a kernel that means something else by it costs
// time only.
//
// The stop word is odd while the world is stopped or stopping, and counts up at each change. A
// handler answers by storing the word's value in its record and sleeps until the word changes. A
// signal that arrives late, after the stop it was sent for was given up, finds an even word and
// returns.
//
// The handler uses no libc function, no TLS but one pointer that it verifies by the thread's id (a
// thread made by clone(2) may share another's TLS), takes no lock, and leaves errno alone.
//
// Who can't be stopped: a thread that blocks even our signal by raw system calls, one in an
// uninterruptible wait (a vfork parent), one that a debugger holds. Then the stop is given up.
//
// A first thread that has ended before the others stays listed, as a zombie, until the process
// ends. It is counted (`leader_dead`) and otherwise not there.
#include "world.h"

#include <fcntl.h>
#include <string.h>
#include <ucontext.h>

#include "arch.h"
#include "assert.h"
#include "cache.h"
#include "chaos.h"
#include "lock.h"
#include "metadata.h"
#include "os.h"
#include "scanners.h"

#define STOP_PATIENCE_NS 50000000u // until a thread that doesn't answer is asked for its state
#define STOP_LIMIT_NS 2000000000u  // the longest wait for one that only lacks a processor
#define WAIT_SLICE_NS 1000000u
#define TABLE_BITS 9

struct table { // of records, chained; the handler may follow a chain while it grows at its head
    struct sv_thread *head[1 << TABLE_BITS];
};

static struct {
    struct sv_lock lock;
    struct sv_thread *threads; // lock
    struct sv_thread *spare;   // lock: records to use again, linked by `spare`
    struct table tids;         // lock: by tid
    struct table tcbs;         // lock: by tcb, those that have one
    int pid;                   // lock: the process all of them belong to
    unsigned linked;           // lock: records on the list
    unsigned live;             // lock: those of them that aren't `gone`
    unsigned starting;         // lock: threads under way that haven't registered
    bool starting_cancelled;   // lock: one of them was cancelled
    bool leader_dead;          // lock: the first thread is a zombie
    bool links_count;          // lock: the links of /proc/self/task count threads
    bool gates;                // const after init: gates count
    bool gates_lost;           // lock: they don't any more
    _Atomic uint32_t answered; // handlers count up; the stopper sleeps on it
} world;

// On a line of its own: every gate reads it.
_Alignas(SV_CACHE_LINE) _Atomic uint32_t sv_world_word = 2; // records start at 0: asked in no stop
uint32_t sv_world_signalled, sv_world_asleep;
__thread struct sv_thread *sv_world_me __attribute__((tls_model("initial-exec")));

static struct sv_thread world_main;
static bool world_main_taken; // world lock

void sv_world_lock(void)
{
    sv_lock_acquire(&world.lock);
}

void sv_world_unlock(void)
{
    sv_lock_release(&world.lock);
}

bool sv_world_locked_here(void)
{
    return sv_lock_held(&world.lock);
}

void sv_world_lock_reset(void)
{
    sv_lock_reset(&world.lock);
}

struct sv_thread *sv_world_threads(void)
{
    return world.threads;
}

unsigned sv_world_count(void)
{
    return world.linked;
}

// ---- records ------------------------------------------------------------------------------------

static struct sv_thread **table_at(struct table *table, uint64_t key)
{
    return &table->head[key * 0x9e3779b97f4a7c15u >> (64 - TABLE_BITS)];
}

static struct sv_thread *thread_find(int tid)
{
    // acquire pairs with thread_link: a handler may follow the chain while a stopper adds to it
    struct sv_thread *t = __atomic_load_n(table_at(&world.tids, (uint32_t)tid), __ATOMIC_ACQUIRE);
    while (t && (t->tid != tid || t->gone))
        t = t->same_tid;
    return t;
}

static struct sv_thread *thread_find_tcb(uintptr_t tcb)
{
    struct sv_thread *t = *table_at(&world.tcbs, tcb);
    while (t && (t->tcb != tcb || t->gone))
        t = t->same_tcb;
    return t;
}

static void thread_link(struct sv_thread *t)
{
    struct sv_thread **tids = table_at(&world.tids, (uint32_t)t->tid);
    t->next = world.threads;
    t->prev = NULL;
    if (t->next)
        t->next->prev = t;
    world.threads = t;
    world.linked++;
    world.live++;
    if (t->tcb) {
        struct sv_thread **tcbs = table_at(&world.tcbs, t->tcb);
        t->same_tcb = *tcbs;
        *tcbs = t;
    }
    t->same_tid = *tids;
    __atomic_store_n(tids, t, __ATOMIC_RELEASE);
}

static void thread_unlink(struct sv_thread *t)
{
    world.linked--;
    struct sv_thread **at = table_at(&world.tids, (uint32_t)t->tid);
    while (*at != t)
        at = &(*at)->same_tid;
    __atomic_store_n(at, t->same_tid, __ATOMIC_RELEASE);
    if (t->tcb) {
        at = table_at(&world.tcbs, t->tcb);
        while (*at != t)
            at = &(*at)->same_tcb;
        *at = t->same_tcb;
    }
    if (t->next)
        t->next->prev = t->prev;
    if (t->prev)
        t->prev->next = t->next;
    else
        world.threads = t->next;
}

// It has ended. Its record stays, for its stack.
static void thread_retire(struct sv_thread *t)
{
    world.live -= !t->gone;
    t->gone = true;
}

// Records are used again, never given back: the handler of a stop that was given up may still be
// following a chain.
void sv_world_forget(struct sv_thread *thread)
{
    thread_unlink(thread);
    thread_retire(thread);
    thread->spare = world.spare;
    world.spare = thread;
}

// A record in which all is zero; NULL: none is spare.
static struct sv_thread *thread_reuse(void)
{
    struct sv_thread *t = world.spare;
    if (!t)
        return NULL;
    world.spare = t->spare;
    memset(t, 0, sizeof *t);
    return t;
}

// ---- the handler --------------------------------------------------------------------------------

static void stop_handler(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    (void)info;
    uint32_t epoch = atomic_load_explicit(&sv_world_word, memory_order_acquire);
    if (!(epoch & 1))
        return;
    int tid = sv_os_gettid();
    struct sv_thread *me = sv_world_me;
    if (!me || me->tid != tid || me->gone)
        me = thread_find(tid);
    if (!me)
        return;
    const ucontext_t *uc = context;
    me->sp = sv_arch_context_sp(uc);
    me->frame = (uintptr_t)__builtin_frame_address(0);
    uintptr_t alt = (uintptr_t)uc->uc_stack.ss_sp;
    size_t alt_size = uc->uc_stack.ss_size;
    bool on_alt = alt && me->frame - alt < alt_size && me->sp - alt >= alt_size;
    me->frame_end = on_alt ? alt + alt_size : 0;
    // release pairs with the stopper's acquire: what this thread wrote, its record included, is
    // visible
    atomic_store_explicit(&me->epoch, epoch, memory_order_release);
    atomic_fetch_add_explicit(&world.answered, 1, memory_order_release);
    sv_os_futex_wake(&world.answered, 1);
    while (atomic_load_explicit(&sv_world_word, memory_order_acquire) == epoch)
        sv_os_futex_wait(&sv_world_word, epoch, 0);
}

bool sv_world_init(void)
{
    uint64_t set = (uint64_t)1 << (SV_STOP_SIGNAL - 1);
    // whoever started this program may have left it blocked
    sv_os_signal_mask(SIG_UNBLOCK, set, NULL);
    world.gates = sv_os_signal_set(SV_STOP_SIGNAL, stop_handler) == 0;
    return world.gates;
}

void sv_world_altstack_avoid(void)
{
    if (world.gates)
        sv_os_signal_set_as(SV_STOP_SIGNAL, stop_handler, SA_RESTART);
}

bool sv_world_gates(void)
{
    return world.gates;
}

// ---- registration -------------------------------------------------------------------------------

__attribute__((noinline)) static struct sv_thread *thread_register(bool worker)
{
    int tid = sv_os_gettid();
    sv_lock_acquire(&world.lock);
    struct sv_thread *t = thread_reuse();
    if (!t && !world_main_taken)
        t = &world_main;
    world_main_taken = true;
    if (!t)
        t = sv_metadata_alloc(sizeof *t);
    if (!t) {
        sv_lock_release(&world.lock);
        return NULL;
    }
    if (!world.pid)
        world.pid = sv_os_getpid();
    struct sv_thread *old = thread_find(tid); // found by a stop, or a thread of that id that ended
    if (old && old->cache)                    // without its destructors
        sv_cache_disown(old->cache);
    if (old && old->stack_lo)
        thread_retire(old); // glibc may have its stack in a cache
    else if (old)
        sv_world_forget(old);
    t->tid = tid;
    t->tcb = sv_arch_tcb();
    t->worker = worker;
    uint32_t why = (world.gates && !worker ? 0 : SV_DISTRUST_OFF) |
                   (world.starting_cancelled ? SV_DISTRUST_CANCELLED : 0);
    atomic_store_explicit(&t->distrusted, why, memory_order_relaxed);
    thread_link(t);
    sv_world_me = t;
    sv_lock_release(&world.lock);
    return t;
}

struct sv_thread *sv_world_self(void)
{
    return sv_likely(sv_world_me != NULL) ? sv_world_me : thread_register(false);
}

struct sv_thread *sv_world_self_worker(void)
{
    return thread_register(true);
}

void sv_world_self_stack(uintptr_t lo, uintptr_t hi, uintptr_t end, size_t guard, bool user_stack)
{
    struct sv_thread *t = sv_world_self();
    if (!t)
        return;
    sv_lock_acquire(&world.lock);
    // Whoever had this thread block has ended: threads that come and go leave nothing.
    struct sv_thread *next;
    for (struct sv_thread *old = *table_at(&world.tcbs, t->tcb); old; old = next) {
        next = old->same_tcb;
        if (old != t && old->tcb == t->tcb && !old->cache)
            sv_world_forget(old);
    }
    t->guard_lo = lo - guard;
    t->stack_lo = t->bottom = lo;
    t->stack_hi = hi;
    t->stack_end = end;
    t->user_stack = user_stack;
    sv_lock_release(&world.lock);
}

bool sv_world_self_valid(void)
{
    return sv_world_me && sv_world_me->tid == sv_os_gettid() && world.pid == sv_os_getpid();
}

void sv_world_fork_child(void)
{
    world.pid = sv_os_getpid();
    world.starting = 0;
    world.starting_cancelled = world.leader_dead = false;
    atomic_store_explicit(&sv_world_word, 2, memory_order_relaxed);
    for (struct sv_thread *t = world.threads; t; t = t->next) {
        // The child may still read what stands in the stacks of threads that didn't follow it.
        if (t != sv_world_me) {
            thread_retire(t);
            t->stack_lo = 0;
        }
        atomic_store_explicit(&t->epoch, 0, memory_order_relaxed);
    }
    struct sv_thread *me = sv_world_me;
    if (me) {
        thread_unlink(me); // its place in the table was its old id's
        world.live = 0;
        me->tid = sv_os_gettid();
        thread_link(me);
    }
}

// ---- whose gate counts --------------------------------------------------------------------------

void sv_world_starting_begin(void)
{
    sv_lock_acquire(&world.lock);
    world.starting++;
    sv_lock_release(&world.lock);
}

void sv_world_starting_end(void)
{
    sv_lock_acquire(&world.lock);
    world.starting -= world.starting != 0; // a fork's child starts at 0
    if (world.starting == 0)
        world.starting_cancelled = false;
    sv_lock_release(&world.lock);
}

// The record may be that of a thread that had the block before, as long as it has no cache: then
// whoever is about to register is taken along.
void sv_world_distrust(uintptr_t tcb, uint32_t why)
{
    sv_lock_acquire(&world.lock);
    struct sv_thread *t = thread_find_tcb(tcb);
    if (t)
        atomic_fetch_or_explicit(&t->distrusted, why, memory_order_relaxed);
    if ((!t || !t->cache) && world.starting)
        world.starting_cancelled = true;
    sv_lock_release(&world.lock);
}

void sv_world_distrust_all(void)
{
    sv_lock_acquire(&world.lock);
    world.gates_lost = true;
    sv_lock_release(&world.lock);
}

// ---- stopping -----------------------------------------------------------------------------------

#define STAT_ROOM 512
#define FLAG_EXITING 4u // the kernel's PF_EXITING

// Reads /proc/self/task/TID/stat: what follows the name, or NULL when the task has ended.
static const char *task_stat(int procfd, int tid, char text[STAT_ROOM])
{
    char path[64];
    char digits[12];
    int n = 0, at = 0;
    for (unsigned v = (unsigned)tid; v || n == 0; v /= 10)
        digits[n++] = (char)('0' + v % 10);
    for (const char *s = "self/task/"; *s; s++)
        path[at++] = *s;
    while (n)
        path[at++] = digits[--n];
    for (const char *s = "/stat"; *s; s++)
        path[at++] = *s;
    path[at] = 0;
    int fd = sv_proc_file(procfd, path, O_RDONLY);
    if (fd < 0)
        return NULL;
    long got = sv_os_read(fd, text, STAT_ROOM - 1);
    sv_os_close(fd);
    text[got > 0 ? got : 0] = 0;
    // The name stands in parentheses and may hold anything; the state follows the last.
    long paren = 0;
    for (long i = 0; i < got; i++)
        if (text[i] == ')')
            paren = i;
    return paren && paren + 2 < got ? text + paren + 2 : NULL;
}

// The letter of a task's state, 0 when it has ended.
static char task_state(int procfd, int tid)
{
    char text[STAT_ROOM];
    const char *state = task_stat(procfd, tid, text);
    return state ? *state : 0;
}

// Has it begun to end, or ended? That is so before whoever joins it can know.
static bool task_exiting(int procfd, int tid)
{
    char text[STAT_ROOM];
    const char *c = task_stat(procfd, tid, text);
    uint64_t flags = 0;
    for (unsigned field = 0; c && field < 6; field++) // state, ppid, pgrp, session, tty, tpgid
        for (c++; *c && c[-1] != ' ';)
            c++;
    for (; c && *c >= '0' && *c <= '9'; c++)
        flags = flags * 10 + (uint64_t)(*c - '0');
    return !c || (flags & FLAG_EXITING);
}

// The thread's id in the entry of a listing at *at, 0: it is none. Moves on to the next one.
static int entry_tid(const char *buffer, long *at)
{
    const char *entry = buffer + *at; // struct linux_dirent64: ino, off, reclen, type, name
    uint16_t length;
    __builtin_memcpy(&length, entry + 16, sizeof length);
    *at += length;
    int tid = 0;
    for (const char *c = entry + 19; *c >= '0' && *c <= '9'; c++)
        tid = tid * 10 + (*c - '0');
    return tid;
}

static unsigned others_count(int procfd, int dirfd)
{
    char buffer[2048] __attribute__((aligned(8)));
    unsigned others = 0;
    int me = sv_os_gettid();
    long n;
    while ((n = sv_os_getdents(dirfd, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < n;) {
            int tid = entry_tid(buffer, &at);
            const struct sv_thread *t = thread_find(tid);
            others += tid != 0 && tid != me && !(t && t->ending) && !task_exiting(procfd, tid);
        }
    }
    return others;
}

void sv_world_ending(void)
{
    struct sv_thread *me = sv_world_self();
    sv_lock_acquire(&world.lock);
    if (me)
        me->ending = true;
    sv_lock_release(&world.lock);
}

unsigned sv_world_end_self(void)
{
    struct sv_thread *me = sv_world_self();
    int procfd = sv_proc_open();
    int dirfd = procfd < 0 ? procfd : sv_proc_file(procfd, "self/task", O_RDONLY | O_DIRECTORY);
    sv_lock_acquire(&world.lock);
    if (me)
        me->ending = true;
    unsigned others = dirfd < 0 ? UINT32_MAX : others_count(procfd, dirfd);
    sv_lock_release(&world.lock);
    if (dirfd >= 0)
        sv_os_close(dirfd);
    if (procfd >= 0)
        sv_os_close(procfd);
    return others;
}

// Asks a thread in the stop `epoch`, unless it was asked. False: it is no more.
static bool thread_ask(struct sv_thread *t, uint32_t epoch)
{
    if (atomic_load_explicit(&t->epoch, memory_order_relaxed) / 2 == epoch / 2)
        return true;
    // seq_cst pairs with the gate's store; acquire: what the thread wrote before it went in
    uint32_t gate = atomic_load_explicit(&t->gate, memory_order_seq_cst);
    if ((gate & 1) && !world.gates_lost &&
        !atomic_load_explicit(&t->distrusted, memory_order_relaxed)) {
        t->sp = t->gate_sp;
        t->frame = t->frame_end = 0;
        atomic_store_explicit(&t->epoch, epoch, memory_order_relaxed);
        sv_world_asleep++;
        return true;
    }
    // the upper half of the pair: asked; the handler stores the odd value: answered
    atomic_store_explicit(&t->epoch, epoch - 1, memory_order_relaxed);
    if (sv_os_tgkill(world.pid, t->tid, SV_STOP_SIGNAL) != 0)
        return false;
    sv_world_signalled++;
    return true;
}

// Asks every thread that is known. False: one of them is no more.
static bool threads_ask(uint32_t epoch)
{
    bool all = true;
    for (struct sv_thread *t = world.threads; t; t = t->next) {
        t->seen = !t->gone;
        if (t->seen && !t->worker && t != sv_world_me && !thread_ask(t, epoch)) {
            t->seen = false;
            all = false;
        }
    }
    return all;
}

// Waits until every seen thread has answered. NULL, or why not. *all: no thread has ended instead.
static const char *answers_wait(int procfd, uint32_t epoch, bool *all)
{
    uint64_t start = sv_os_now();
    for (struct sv_thread *t = world.threads; t; t = t->next) {
        if (!t->seen || t->worker || t == sv_world_me)
            continue;
        for (;;) {
            uint32_t answered = atomic_load_explicit(&world.answered, memory_order_acquire);
            // acquire pairs with the handler's release
            if (atomic_load_explicit(&t->epoch, memory_order_acquire) == epoch)
                break;
            uint64_t waited = sv_os_now() - start;
            if (waited > WAIT_SLICE_NS) {
                char state = task_state(procfd, t->tid);
                if (state == 0 || state == 'Z' || state == 'X') {
                    t->seen = *all = false; // ended since it was asked
                    world.leader_dead |= state == 'Z' && t->tid == world.pid;
                    break;
                }
                if (waited > STOP_LIMIT_NS || (waited > STOP_PATIENCE_NS && state != 'R'))
                    return "unstoppable thread";
            }
            sv_os_futex_wait(&world.answered, answered, WAIT_SLICE_NS);
        }
    }
    return NULL;
}

// Is every thread of the process one of `known`?
static bool tasks_counted(int dirfd, unsigned known)
{
    return sv_os_links(dirfd) == (long)known + 2 + world.leader_dead;
}

// Lists the tasks: marks records as seen, makes records for new ones, asks who was not asked in
// this stop yet. Returns how many there are (a dead leader not counted), or -1. *asked: now.
static int tasks_ask(int dirfd, uint32_t epoch, unsigned *asked)
{
    char buffer[4096] __attribute__((aligned(8)));
    int tasks = 0;
    long n;
    *asked = sv_world_signalled + sv_world_asleep;
    for (struct sv_thread *t = world.threads; t; t = t->next)
        t->seen = false;
    if (sv_os_seek(dirfd, 0) < 0)
        return -1;
    while ((n = sv_os_getdents(dirfd, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < n;) {
            int tid = entry_tid(buffer, &at);
            if (tid == 0 || (tid == world.pid && world.leader_dead))
                continue;
            tasks++;
            struct sv_thread *t = thread_find(tid);
            if (!t) {
                t = thread_reuse();
                t = t ? t : sv_metadata_alloc_held(sizeof *t);
                if (!t)
                    return -1;
                t->tid = tid;
                thread_link(t);
            }
            t->seen = true;
            if (!t->worker && t != sv_world_me)
                thread_ask(t, epoch);
        }
    }
    *asked = sv_world_signalled + sv_world_asleep - *asked;
    return n < 0 ? -1 : tasks;
}

// Stops whoever isn't known or has ended meanwhile, by listing.
static const char *tasks_stop(int procfd, int dirfd, uint32_t epoch)
{
    for (unsigned asked = 1; asked > 0;) {
        int tasks = tasks_ask(dirfd, epoch, &asked);
        bool all = true;
        const char *reason = tasks < 0 ? "can't list threads" : answers_wait(procfd, epoch, &all);
        if (reason)
            return reason;
        // By a process of one thread nothing can be told.
        if (asked == 0)
            world.links_count = tasks > 1 && tasks_counted(dirfd, (unsigned)tasks);
    }
    return NULL;
}

// Threads that no longer exist.
static void threads_bury(void)
{
    struct sv_thread *next;
    for (struct sv_thread *t = world.threads; t; t = next) {
        next = t->next;
        if (t->seen)
            continue;
        thread_retire(t);
        if (t->cache)
            sv_cache_disown(t->cache);
        bool cached = t->stack_lo && !t->user_stack;
        if (!cached)
            sv_world_forget(t);
    }
}

// All that exist stand still, for this stop.
__attribute__((unused)) static void answers_check(uint32_t epoch)
{
    for (const struct sv_thread *t = world.threads; t; t = t->next)
        if (!t->gone && t->seen && !t->worker && t != sv_world_me)
            sv_check(atomic_load_explicit(&t->epoch, memory_order_relaxed) == epoch);
}

const char *sv_world_stop(int procfd)
{
    sv_world_signalled = sv_world_asleep = 0;
    if (!sv_world_self_valid())
        return "unknown thread or process";
    int dirfd = sv_proc_file(procfd, "self/task", O_RDONLY | O_DIRECTORY);
    if (dirfd < 0)
        return "no /proc/self/task";
    uint32_t epoch = atomic_load_explicit(&sv_world_word, memory_order_relaxed) + 1;
    sv_check(epoch & 1); // the last stop is over
    // seq_cst pairs with the gates
    atomic_store_explicit(&sv_world_word, epoch, memory_order_seq_cst);
    sv_chaos(); // gates close, nobody is asked yet
    bool all = threads_ask(epoch);
    sv_chaos();
    const char *reason = answers_wait(procfd, epoch, &all);
    if (!reason && (!all || !world.links_count || !tasks_counted(dirfd, world.live)))
        reason = tasks_stop(procfd, dirfd, epoch);
    sv_os_close(dirfd);
    if (reason)
        sv_world_resume();
    else
        threads_bury();
    sv_costly(if (!reason) answers_check(epoch));
    return reason;
}

void sv_world_resume(void)
{
    atomic_fetch_add_explicit(&sv_world_word, 1, memory_order_seq_cst);
    sv_os_futex_wake(&sv_world_word, INT32_MAX);
}
