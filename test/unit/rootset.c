// The roots of a cycle that runs beside the program: words stand in memory, on stacks and where
// stacks were, and each of the visits must offer those that it is to answer for. The thread waits
// and tells its stack pointer itself, as a stop would have it; the pages that were written are what
// the test says.
#include "rootset.h"

#include "heap.h"
#include "metadata.h"
#include "scanners.h"
#include "world.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { PAGE = 4096, PLANTS = 8, RANGES = 4096 };

static const uintptr_t KEY = 0x5bd1e995a7c3f10b; // no such word stands anywhere but where planted

static uintptr_t *planted[PLANTS];
static unsigned seen[PLANTS];
static bool running;
static int procfd;

static void plant(unsigned i, void *at)
{
    planted[i] = at;
    *(volatile uintptr_t *)at = KEY ^ (0x1000 + i);
}

// In place, a word counts by where it stands: what it is may be on the test's own stack as well.
static void range_look(void *arg, uintptr_t lo, uintptr_t hi, bool code)
{
    (void)arg;
    (void)code;
    for (unsigned i = 0; i < PLANTS; i++)
        seen[i] += !running && lo <= (uintptr_t)planted[i] && (uintptr_t)planted[i] < hi;
    for (uintptr_t p = (lo + 7) & ~(uintptr_t)7; p + 8 <= hi; p += 8) {
        uintptr_t w = *(volatile uintptr_t *)p ^ KEY;
        if (running && w - 0x1000 < PLANTS)
            seen[w - 0x1000]++;
    }
}

static struct sv_rootset_visitor visitor = {range_look, NULL, 0, 0};

static void all_stop(void)
{
    sv_world_lock();
    sv_heap_lock_all();
    sv_metadata_lock();
    for (struct sv_thread *t = sv_world_threads(); t; t = t->next)
        t->seen = !t->gone;
}

static void stop(void)
{
    all_stop();
    const char *reason = sv_rootset_begin(procfd, (uintptr_t)__builtin_frame_address(0));
    cr_assert_null(reason, "%s", reason);
}

static void resume(void)
{
    sv_metadata_unlock();
    sv_heap_unlock_all();
    sv_world_unlock();
    sv_rootset_end();
}

static struct sv_mapping written[RANGES];
static size_t nwritten;

static int sleeper_tell(void *arg, uintptr_t lo, uintptr_t hi, sv_range_fn *fn, void *fn_arg)
{
    (void)arg;
    for (size_t i = 0; i < nwritten; i++) {
        uintptr_t from = written[i].lo > lo ? written[i].lo : lo;
        uintptr_t to = written[i].hi < hi ? written[i].hi : hi;
        if (from < to)
            fn(fn_arg, from, to);
    }
    return 0;
}

static int written_tell(void *arg, uintptr_t lo, uintptr_t hi, sv_range_fn *fn, void *fn_arg)
{
    cr_assert_eq(arg, &nwritten);
    return sleeper_tell(arg, lo, hi, fn, fn_arg);
}

static void write_note(void *p, size_t n)
{
    uintptr_t lo = (uintptr_t)p & ~(uintptr_t)(PAGE - 1);
    written[nwritten++] = (struct sv_mapping){lo, (uintptr_t)p + n, 0};
}

static void look_running(void)
{
    memset(seen, 0, sizeof seen);
    running = true;
    const char *reason = sv_rootset_visit_running(&visitor, NULL);
    cr_assert_null(reason, "%s", reason);
    running = false;
}

static void look_stacks(bool again)
{
    memset(seen, 0, sizeof seen);
    sv_rootset_visit_stacks(&visitor, again);
}

static void look_written(void)
{
    memset(seen, 0, sizeof seen);
    const char *reason = sv_rootset_visit(&visitor, written_tell, &nwritten);
    cr_assert_null(reason, "%s", reason);
}

static char *map(size_t n)
{
    char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(p != MAP_FAILED);
    return p;
}

// ---- a thread that waits ------------------------------------------------------------------------

static pthread_barrier_t barrier;
static struct sv_thread *record;
static ucontext_t home, away;
static bool elsewhere;

static void sp_tell(void)
{
    record->sp = (uintptr_t)__builtin_frame_address(0);
}

static void away_run(void)
{
    sp_tell();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
}

static void *thread_run(void *arg)
{
    uintptr_t word, *deep = (uintptr_t *)__builtin_frame_address(0) - 8 * PAGE / 8;
    pthread_attr_t attr;
    void *lo;
    size_t size;
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &lo, &size);
    pthread_attr_destroy(&attr);
    sv_world_self_stack((uintptr_t)lo, (uintptr_t)__builtin_frame_address(0), (uintptr_t)lo + size,
                        0, false);
    record = sv_world_self();
    plant(0, &word);
    plant(1, deep); // dead
    sp_tell();
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    if (elsewhere)
        swapcontext(&home, &away);
    return arg;
}

static pthread_t thread;

static void thread_make(void)
{
    procfd = sv_proc_open();
    cr_assert(sv_world_self());
    pthread_barrier_init(&barrier, NULL, 2);
    cr_assert_eq(pthread_create(&thread, NULL, thread_run, NULL), 0);
    pthread_barrier_wait(&barrier);
}

TestSuite(rootset, .init = thread_make, .timeout = 60);

// ---- the visits ---------------------------------------------------------------------------------

Test(rootset, running_then_written)
{
    char *p = map(8 * PAGE);
    plant(2, p);
    plant(3, p + 2 * PAGE);
    cr_assert_null(sv_rootset_open(procfd));
    look_running();
    cr_assert(seen[2] == 1 && seen[3] == 1, "%u %u", seen[2], seen[3]);
    cr_assert(seen[0] == 0 && seen[1] == 0, "%u %u", seen[0], seen[1]);
    plant(4, p + 5 * PAGE);
    write_note(p + 2 * PAGE, PAGE);
    write_note(p + 5 * PAGE, PAGE);
    stop();
    look_stacks(true);
    cr_assert(seen[0] == 1 && seen[1] == 0, "%u %u", seen[0], seen[1]);
    look_written();
    cr_assert(seen[2] == 0 && seen[3] == 1 && seen[4] == 1, "%u %u %u", seen[2], seen[3], seen[4]);
    cr_assert(seen[0] == 0 && seen[1] == 0, "%u %u", seen[0], seen[1]);
    sv_rootset_visit_stacks(&visitor, false); // all of it, as a cycle that stops the world does
    memset(seen, 0, sizeof seen);
    cr_assert_null(sv_rootset_visit(&visitor, NULL, NULL));
    cr_assert(seen[2] == 1 && seen[3] == 1 && seen[4] == 1, "%u %u %u", seen[2], seen[3], seen[4]);
    cr_assert(seen[0] == 0 && seen[1] == 0, "%u %u", seen[0], seen[1]);
    resume();
}

static void range_ignore(uintptr_t lo, uintptr_t hi)
{
    (void)lo;
    (void)hi;
}

// What couldn't be read while the program ran is visited at the stop, written or not. Pages that a
// file lost and got back are neither unmapped nor written.
Test(rootset, missed)
{
    char *p = map(4 * PAGE);
    plant(2, p + PAGE);
    int file = memfd_create("file", MFD_CLOEXEC);
    cr_assert_eq(ftruncate(file, 4 * PAGE), 0);
    char *cut = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    plant(3, cut + PAGE);
    cr_assert_null(sv_rootset_open(procfd));
    munmap(cut + 3 * PAGE, PAGE); // so that each page is tried
    cr_assert_eq(ftruncate(file, 0), 0);
    look_running();
    cr_assert(seen[2] == 1 && seen[3] == 0, "%u %u", seen[2], seen[3]);
    cr_assert_eq(ftruncate(file, 4 * PAGE), 0);
    plant(3, cut + PAGE);
    stop();
    look_stacks(true);
    look_written();
    cr_assert(seen[2] == 0 && seen[3] == 2, "%u %u", seen[2], seen[3]); // as missed, and as shared
    resume();
    sv_rootset_release(range_ignore);
    stop(); // and is forgotten with the cycle
    look_stacks(true);
    look_written();
    cr_assert_eq(seen[3], 1);
    resume();
}

// Too many to remember: everything is visited.
Test(rootset, missed_too_many)
{
    enum { N = 1000 };
    int file = memfd_create("file", MFD_CLOEXEC);
    cr_assert_eq(ftruncate(file, N * PAGE), 0);
    char *p = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), *other = map(PAGE);
    for (int i = 0; i < N; i++)
        p[i * PAGE] = 1;
    plant(2, other);
    cr_assert_null(sv_rootset_open(procfd));
    for (int i = 0; i < N; i += 2)
        munmap(p + i * PAGE, PAGE);
    look_running();
    stop();
    look_stacks(true);
    look_written();
    cr_assert_eq(seen[2], 1);
    resume();
}

// A stack that was left out while the program ran, but whose thread has gone to another since.
Test(rootset, stack_left)
{
    char *stack = map(64 * PAGE);
    elsewhere = true;
    getcontext(&away);
    away.uc_stack.ss_sp = stack;
    away.uc_stack.ss_size = 64 * PAGE;
    makecontext(&away, away_run, 0);
    cr_assert_null(sv_rootset_open(procfd));
    look_running();
    cr_assert(seen[0] == 0 && seen[1] == 0, "%u %u", seen[0], seen[1]);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    stop();
    look_stacks(true);
    cr_assert_eq(seen[0], 0);
    look_written();
    cr_assert(seen[0] == 1 && seen[1] == 1, "%u %u", seen[0], seen[1]); // nobody knows what is dead
    resume();
}

// A thread that has ended since: its stack is cached and dead, but the block on top is a root.
Test(rootset, thread_ended)
{
    cr_assert_null(sv_rootset_open(procfd));
    look_running();
    cr_assert_eq(seen[0], 0);
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    record->gone = true;
    planted[2] = (uintptr_t *)(record->tcb + 16);
    stop();
    look_stacks(true);
    look_written();
    cr_assert(seen[0] == 0 && seen[1] == 0 && seen[2] == 1, "%u %u %u", seen[0], seen[1], seen[2]);
    resume();
}

// A thread that sleeps from one stop to the next: what others wrote to its frames is found.
Test(rootset, slept)
{
    record->distrusted = 0; // as in a process with cycles
    record->gate = 7;
    stop();
    look_stacks(false);
    cr_assert_eq(seen[0], 1);
    resume();
    cr_assert_null(sv_rootset_open(procfd));
    look_running();
    cr_assert_eq(seen[0], 0);
    stop();
    look_stacks(true);
    cr_assert(seen[0] == 0 && seen[1] == 0, "%u %u", seen[0], seen[1]);
    look_written();
    cr_assert(seen[0] == 0 && seen[1] == 0, "%u %u", seen[0], seen[1]);
    write_note(planted[1], (uintptr_t)(planted[0] + 1) - (uintptr_t)planted[1]);
    look_written();
    cr_assert(seen[0] == 1 && seen[1] == 0, "%u %u", seen[0], seen[1]);
    record->distrusted = SV_DISTRUST_CANCELLED;
    look_stacks(true);
    cr_assert_eq(seen[0], 1);
    record->distrusted = 0;
    resume();
    record->gate = 9; // it ran, and sleeps again
    stop();
    look_stacks(true);
    cr_assert_eq(seen[0], 1);
    look_written();
    cr_assert_eq(seen[0], 0);
    resume();
}

static void look_awake(void)
{
    all_stop();
    memset(seen, 0, sizeof seen);
    const char *reason = sv_rootset_visit_awake(&visitor, procfd);
    cr_assert_null(reason, "%s", reason);
    resume();
}

// Again, and all of it; how often a word on the sleeper's stack was offered as a stack's.
static unsigned look_sleeper(unsigned which)
{
    all_stop();
    sv_rootset_sleepers_find();
    sv_rootset_sleepers_ask(sleeper_tell);
    cr_assert_null(sv_rootset_begin(procfd, (uintptr_t)__builtin_frame_address(0)));
    look_stacks(true);
    unsigned stack = seen[which];
    look_written();
    cr_assert(seen[0] == 0 && seen[1] == 0, "%u %u", seen[0], seen[1]);
    resume();
    return stack;
}

// One that sleeps in the first stop: its stack is visited while the program runs, and asked about
// by itself at the end.
Test(rootset, slept_beside)
{
    record->distrusted = 0;
    record->gate = 7;
    cr_assert_null(sv_rootset_open(procfd));
    look_awake();
    cr_assert_eq(seen[0], 0);
    look_running();
    cr_assert(seen[0] == 1 && seen[1] == 0, "%u %u", seen[0], seen[1]);
    cr_assert_eq(look_sleeper(0), 0);
    write_note(planted[0], sizeof **planted);
    cr_assert_eq(look_sleeper(0), 1);
    cr_assert_eq(look_sleeper(0), 1);
    nwritten = 0;
    record->gate = 9; // it ran, and sleeps again
    cr_assert_eq(look_sleeper(0), 1);
    cr_assert_eq(look_sleeper(0), 0);
    record->distrusted = SV_DISTRUST_CANCELLED;
    cr_assert_eq(look_sleeper(0), 1);
    sv_rootset_release(range_ignore);
    look_awake(); // who isn't trusted is visited in the first stop
    cr_assert_eq(seen[0], 1);
}

// The visit beside the program couldn't read the sleeper's stack.
Test(rootset, slept_missed)
{
    char *page = (char *)((uintptr_t)planted[1] & ~(uintptr_t)(PAGE - 1));
    int file = memfd_create("file", MFD_CLOEXEC);
    record->distrusted = 0;
    record->gate = 7;
    record->sp = (uintptr_t)page + PAGE / 2; // nothing of the thread's is there
    planted[1] = (uintptr_t *)(page + PAGE);
    cr_assert_eq(ftruncate(file, 2 * PAGE), 0);
    cr_assert_neq(mmap(page, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0),
                  MAP_FAILED);
    plant(1, planted[1]);
    cr_assert_null(sv_rootset_open(procfd));
    look_awake();
    munmap(page, PAGE); // so that each page is tried
    cr_assert_eq(ftruncate(file, 0), 0);
    look_running();
    cr_assert(seen[0] == 1 && seen[1] == 0, "%u %u", seen[0], seen[1]);
    cr_assert_eq(ftruncate(file, 2 * PAGE), 0);
    cr_assert_neq(mmap(page, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0), MAP_FAILED);
    plant(1, planted[1]);
    cr_assert_eq(look_sleeper(1), 1);
}

// ---- watching -----------------------------------------------------------------------------------

static struct sv_mapping watched[RANGES];
static size_t nwatched;
static uintptr_t refused;

static int range_watch(uintptr_t lo, uintptr_t hi)
{
    cr_assert(lo < hi && lo % PAGE == 0 && hi % PAGE == 0);
    if (lo <= refused && refused < hi)
        return -22;
    cr_assert_lt(nwatched, RANGES);
    watched[nwatched++] = (struct sv_mapping){lo, hi, 0};
    return 0;
}

static void range_release(uintptr_t lo, uintptr_t hi)
{
    cr_assert(nwatched > 0 && lo == watched[0].lo && hi == watched[0].hi);
    memmove(watched, watched + 1, --nwatched * sizeof *watched);
}

static bool is_watched(const void *p)
{
    for (size_t i = 0; i < nwatched; i++)
        if (watched[i].lo <= (uintptr_t)p && (uintptr_t)p < watched[i].hi)
            return true;
    return false;
}

static char excluded[3 * PAGE];

Test(rootset, watched_and_released)
{
    static int data = 1;
    char *p = map(PAGE), *heap = sv_heap_alloc(100), here;
    (void)mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); // keeps them apart
    char *q = map(PAGE);
    void *own = sv_metadata_alloc(100);
    uintptr_t odd = (uintptr_t)excluded + 100;
    sv_rootset_exclude(odd, odd + PAGE);
    refused = (uintptr_t)q;
    cr_assert_null(sv_rootset_open(procfd));
    cr_assert_null(sv_rootset_watch(range_watch));
    cr_assert(is_watched(p) && is_watched(&data) && is_watched(&here) && is_watched(planted[0]));
    cr_assert_not(is_watched(q));
    cr_assert_not(is_watched(heap));
    cr_assert_not(is_watched(own));
    cr_assert_not(is_watched((void *)odd)); // nor the rest of those two pages
    cr_assert_not(is_watched((void *)(odd & ~(uintptr_t)(PAGE - 1))));
    cr_assert_not(is_watched((void *)(odd + PAGE)));
    sv_rootset_release(range_release);
    cr_assert_eq(nwatched, 0);
    sv_rootset_release(range_release);
}
