// The world. Threads register on their first allocation; the others (made by clone(2), or never
// allocating) are found in /proc/self/task at each stop. A stop signals every thread that isn't
// stopped yet and lists the tasks again, until a listing shows nobody new: threads that are stopped
// make no more.
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
#include "world.h"

#include <fcntl.h>
#include <string.h>
#include <ucontext.h>

#include "arch.h"
#include "cache.h"
#include "lock.h"
#include "metadata.h"
#include "os.h"
#include "scanners.h"

#define STOP_PATIENCE_NS 50000000u // until a thread that doesn't answer is asked for its state
#define STOP_LIMIT_NS 2000000000u  // the longest wait for one that only lacks a processor
#define WAIT_SLICE_NS 1000000u

static struct {
    struct sv_lock lock;
    struct sv_thread *threads; // lock
    struct sv_thread *spare;   // lock: records to use again, linked by `spare`
    int pid;                   // lock: the process all of them belong to
    _Atomic uint32_t word;     // stopper: odd: stopped or stopping
    _Atomic uint32_t answered; // handlers count up; the stopper sleeps on it
} world = {.word = 2};         // records start at 0: asked in no stop

static struct sv_thread world_main;
static bool world_main_taken; // world lock
static __thread struct sv_thread *world_me __attribute__((tls_model("initial-exec")));

void sv_world_lock(void)
{
    sv_lock_acquire(&world.lock);
}

void sv_world_unlock(void)
{
    sv_lock_release(&world.lock);
}

struct sv_thread *sv_world_threads(void)
{
    return world.threads;
}

static struct sv_thread *thread_find(int tid)
{
    // acquire pairs with thread_link: a handler may walk the list while a stopper adds to it
    struct sv_thread *t = __atomic_load_n(&world.threads, __ATOMIC_ACQUIRE);
    while (t && (t->tid != tid || t->gone))
        t = t->next;
    return t;
}

static void thread_link(struct sv_thread *t)
{
    t->next = world.threads;
    __atomic_store_n(&world.threads, t, __ATOMIC_RELEASE);
}

// Records are used again, never given back: the handler of a stop that was given up may still be
// walking the list.
void sv_world_forget(struct sv_thread *thread)
{
    struct sv_thread **at = &world.threads;
    while (*at && *at != thread)
        at = &(*at)->next;
    if (*at)
        __atomic_store_n(at, thread->next, __ATOMIC_RELEASE);
    thread->gone = true;
    thread->spare = world.spare;
    world.spare = thread;
}

// A record in which all is zero but where it stands in the list of spare ones; NULL: none is spare.
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
    uint32_t epoch = atomic_load_explicit(&world.word, memory_order_acquire);
    if (!(epoch & 1))
        return;
    int tid = sv_os_gettid();
    struct sv_thread *me = world_me;
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
    while (atomic_load_explicit(&world.word, memory_order_acquire) == epoch)
        sv_os_futex_wait(&world.word, epoch, 0);
}

bool sv_world_init(void)
{
    uint64_t set = (uint64_t)1 << (SV_STOP_SIGNAL - 1);
    // whoever started this program may have left it blocked
    sv_os_signal_mask(SIG_UNBLOCK, set, NULL);
    return sv_os_signal_set(SV_STOP_SIGNAL, stop_handler) == 0;
}

// ---- registration -------------------------------------------------------------------------------

__attribute__((noinline)) static struct sv_thread *thread_register(void)
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
    if (old && old->stack_lo)
        old->gone = true; // glibc may have its stack in a cache
    else if (old)
        sv_world_forget(old);
    t->tid = tid;
    t->tcb = sv_arch_tcb();
    thread_link(t);
    world_me = t;
    sv_lock_release(&world.lock);
    return t;
}

struct sv_thread *sv_world_self(void)
{
    return sv_likely(world_me != NULL) ? world_me : thread_register();
}

void sv_world_self_stack(uintptr_t lo, uintptr_t hi, uintptr_t end, bool user_stack)
{
    struct sv_thread *t = sv_world_self();
    if (!t)
        return;
    sv_lock_acquire(&world.lock);
    struct sv_thread
        *next; // whoever had this stack has ended: threads that come and go leave nothing
    for (struct sv_thread *old = world.threads; old; old = next) {
        next = old->next;
        if (old != t && old->stack_lo == lo && !old->cache)
            sv_world_forget(old);
    }
    t->stack_lo = lo;
    t->stack_hi = hi;
    t->stack_end = end;
    t->user_stack = user_stack;
    sv_lock_release(&world.lock);
}

bool sv_world_self_valid(void)
{
    return world_me && world_me->tid == sv_os_gettid() && world.pid == sv_os_getpid();
}

void sv_world_fork_child(void)
{
    world.pid = sv_os_getpid();
    atomic_store_explicit(&world.word, 2, memory_order_relaxed);
    for (struct sv_thread *t = world.threads; t; t = t->next) {
        t->gone = t != world_me;
        // The child may still read what stands in the stacks of threads that didn't follow it.
        if (t->gone)
            t->stack_lo = 0;
        atomic_store_explicit(&t->epoch, 0, memory_order_relaxed);
    }
    if (world_me)
        world_me->tid = sv_os_gettid();
}

// ---- stopping -----------------------------------------------------------------------------------

// The letter of a task's state in /proc/self/task/TID/stat, 0 when it has ended.
static char task_state(int procfd, int tid)
{
    char path[64], text[512];
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
        return 0;
    long got = sv_os_read(fd, text, sizeof text - 1);
    sv_os_close(fd);
    // The name stands in parentheses and may hold anything; the state follows the last.
    long paren = 0;
    for (long i = 0; i < got; i++)
        if (text[i] == ')')
            paren = i;
    return paren && paren + 2 < got ? text[paren + 2] : 0;
}

// Lists the tasks: marks records as seen, makes records for new ones, signals who was not asked in
// this stop yet. Returns how many were asked now, or -1.
static int tasks_ask(int dirfd, uint32_t epoch, int self)
{
    char buffer[4096] __attribute__((aligned(8)));
    int asked = 0;
    long n;
    for (struct sv_thread *t = world.threads; t; t = t->next)
        t->seen = t->tid == self && !t->gone;
    if (sv_os_seek(dirfd, 0) < 0)
        return -1;
    while ((n = sv_os_getdents(dirfd, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < n;) {
            const char *entry = buffer + at; // struct linux_dirent64: ino, off, reclen, type, name
            uint16_t length;
            __builtin_memcpy(&length, entry + 16, sizeof length);
            at += length;
            int tid = 0;
            for (const char *c = entry + 19; *c >= '0' && *c <= '9'; c++)
                tid = tid * 10 + (*c - '0');
            if (tid == 0 || tid == self)
                continue;
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
            if (atomic_load_explicit(&t->epoch, memory_order_relaxed) / 2 != epoch / 2) {
                // the upper half of the pair: asked; the handler stores the odd value: answered
                atomic_store_explicit(&t->epoch, epoch - 1, memory_order_relaxed);
                if (sv_os_tgkill(world.pid, tid, SV_STOP_SIGNAL) == 0)
                    asked++;
            }
        }
    }
    return n < 0 ? -1 : asked;
}

// Waits until every seen thread has answered. NULL, or why not.
static const char *answers_wait(int procfd, uint32_t epoch)
{
    uint64_t start = sv_os_now();
    for (struct sv_thread *t = world.threads; t; t = t->next) {
        if (!t->seen || t->gone)
            continue;
        for (;;) {
            uint32_t answered = atomic_load_explicit(&world.answered, memory_order_acquire);
            // acquire pairs with the handler's release
            if (t->tid == sv_os_gettid() ||
                atomic_load_explicit(&t->epoch, memory_order_acquire) == epoch)
                break;
            uint64_t waited = sv_os_now() - start;
            if (waited > WAIT_SLICE_NS) {
                char state = task_state(procfd, t->tid);
                if (state == 0 || state == 'Z' || state == 'X') {
                    t->seen = false; // ended since it was listed
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

// Threads that are no longer listed have ended.
static void threads_bury(void)
{
    struct sv_thread *next;
    for (struct sv_thread *t = world.threads; t; t = next) {
        next = t->next;
        if (t->seen)
            continue;
        t->gone = true;
        if (t->cache)
            sv_cache_disown(t->cache);
        bool cached = t->stack_lo && !t->user_stack;
        if (!cached)
            sv_world_forget(t);
    }
}

const char *sv_world_stop(int procfd)
{
    if (!sv_world_self_valid())
        return "unknown thread or process";
    int self = sv_os_gettid();
    int dirfd = sv_proc_file(procfd, "self/task", O_RDONLY | O_DIRECTORY);
    if (dirfd < 0)
        return "no /proc/self/task";
    const char *reason = NULL;
    uint32_t epoch = atomic_load_explicit(&world.word, memory_order_relaxed) + 1;
    atomic_store_explicit(&world.word, epoch, memory_order_seq_cst);
    for (int asked = 1; asked > 0 && !reason;) {
        asked = tasks_ask(dirfd, epoch, self);
        reason = asked < 0 ? "can't list threads" : answers_wait(procfd, epoch);
    }
    sv_os_close(dirfd);
    if (reason)
        sv_world_resume();
    else
        threads_bury();
    return reason;
}

void sv_world_resume(void)
{
    atomic_fetch_add_explicit(&world.word, 1, memory_order_release);
    sv_os_futex_wake(&world.word, INT32_MAX);
}
