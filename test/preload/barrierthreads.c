// The barrier and threads: the only pointer to an object is handed over by threads that begin and
// end, by their thread-local storage, by libraries that come and go, by a forked process's heap,
// while collections run (lib/trap.h).
//
// SALVAGE: barrier=uffd,checkmark=1,clobber=1
// SALVAGE: barrier=stw,clobber=1
// SALVAGE: chaos=7,clobber=1

#include "lib/trap.h"

#include <dlfcn.h>
#include <libgen.h>

static witness_noinline void thread_run(void *(*fn)(void *), void *arg, void **result)
{
    pthread_t t;
    WITNESS_NEED(pthread_create(&t, NULL, fn, arg) == 0, "pthread_create");
    arg = NULL;
    WITNESS_NEED(pthread_join(t, result) == 0, "pthread_join");
}

// ---- what a thread is given and gives -----------------------------------------------------------

static uintptr_t *hand_cell;

// The pointer that came as an argument, now in a register alone, goes to a cell.
static witness_noinline void *hand_store(void *arg)
{
    *(void *volatile *)hand_cell = arg;
    return NULL;
}

static witness_noinline void hand_begin(pthread_t *t)
{
    void *arg = (void *)*(volatile uintptr_t *)trap->at;
    WITNESS_NEED(pthread_create(t, NULL, hand_store, arg) == 0, "pthread_create");
}

TRAP(thread_argument)
{
    while (trap_on()) {
        pthread_t t;
        hand_cell = trap_cell();
        hand_begin(&t);
        *(volatile uintptr_t *)trap->at = 0;
        witness_wipe();
        WITNESS_NEED(pthread_join(t, NULL) == 0, "pthread_join");
        trap_moved(hand_cell);
    }
}

static witness_noinline void *result_take(void *arg)
{
    uintptr_t *at = arg;
    void *p = (void *)*(volatile uintptr_t *)at;
    *(volatile uintptr_t *)at = 0;
    return p;
}

// It lies with the thread that has ended, until somebody joins that.
TRAP(thread_result)
{
    while (trap_on()) {
        pthread_t t;
        uintptr_t *cell = trap_cell();
        WITNESS_NEED(pthread_create(&t, NULL, result_take, trap->at) == 0, "pthread_create");
        while (*(volatile uintptr_t *)trap->at != 0)
            sched_yield();
        trap_litter();
        WITNESS_NEED(pthread_join(t, (void **)cell) == 0, "pthread_join");
        trap_moved(cell);
    }
}

// ---- thread-local storage -----------------------------------------------------------------------

static pthread_key_t local_key;
static _Thread_local uintptr_t local_word[64];

static void local_destroy(void *p)
{
    *(void *volatile *)hand_cell = p;
}

static witness_noinline void *local_set(void *arg)
{
    pthread_setspecific(local_key, (void *)*(volatile uintptr_t *)arg);
    *(volatile uintptr_t *)arg = 0;
    witness_wipe();
    trap_litter();
    return NULL;
}

TRAP(key_destructor)
{
    WITNESS_NEED(pthread_key_create(&local_key, local_destroy) == 0, "pthread_key_create");
    while (trap_on()) {
        hand_cell = trap_cell();
        thread_run(local_set, trap->at, NULL);
        trap_moved(hand_cell);
    }
}

static void *local_hold(void *arg)
{
    trap_store(&local_word[trap_number % 64]);
    witness_wipe();
    trap_litter();
    trap_to_heap();
    return arg;
}

TRAP(thread_local)
{
    while (trap_on())
        thread_run(local_hold, NULL, NULL);
}

static void *frame_hold(void *arg)
{
    volatile uintptr_t word[700] = {0};
    trap_store((uintptr_t *)&word[trap_number % 700]);
    witness_wipe();
    trap_litter();
    trap_to_heap();
    return arg;
}

TRAP(thread_frame)
{
    while (trap_on())
        thread_run(frame_hold, NULL, NULL);
}

// ---- threads that sleep -------------------------------------------------------------------------

static int sleep_pipe[2];
static uintptr_t *_Atomic sleep_word[TRAP_OBJECTS];

static void *sleep_long(void *arg)
{
    char c;
    volatile uintptr_t words[600] = {0};
    sleep_word[(struct trap *)arg - traps] = (uintptr_t *)&words[500];
    WITNESS_NEED(read(sleep_pipe[0], &c, 1) == 0, "read: %s", strerror(errno));
    __asm__ volatile("" ::"r"(words) : "memory");
    return NULL;
}

// Others write to the frames of a thread that sleeps in the kernel all the time.
TRAP(sleeper_frame)
{
    pthread_t t[TRAP_OBJECTS];
    WITNESS_NEED(pipe(sleep_pipe) == 0, "pipe");
    for (unsigned i = 0; i < TRAP_OBJECTS; i++) {
        WITNESS_NEED(pthread_create(&t[i], NULL, sleep_long, &traps[i]) == 0, "pthread_create");
        while (!sleep_word[i])
            sched_yield();
    }
    while (trap_on()) {
        trap_store(sleep_word[trap - traps]);
        if (trap_number / TRAP_OBJECTS % 3 == 0)
            trap_to_heap();
    }
    for (unsigned i = 0; i < TRAP_OBJECTS; i++)
        if (traps[i].at == sleep_word[i])
            traps[i].at = NULL;
    close(sleep_pipe[1]);
    for (unsigned i = 0; i < TRAP_OBJECTS; i++)
        pthread_join(t[i], NULL);
}

static int reads_pipe[2];
static uintptr_t *_Atomic reads_word;

static void *reads_all(void *arg)
{
    volatile uintptr_t words[1200];
    for (unsigned at = 0;; at = (at + 513) % 1200) {
        words[at] = 0;
        reads_word = (uintptr_t *)&words[at];
        if (read(reads_pipe[0], (void *)&words[at], sizeof *words) <= 0) {
            reads_word = NULL;
            return arg;
        }
        while (words[at])
            sched_yield();
    }
}

// The kernel writes to the frames of a thread that sleeps in a call.
TRAP(sleeper_reads)
{
    pthread_t t;
    WITNESS_NEED(pipe(reads_pipe) == 0, "pipe");
    WITNESS_NEED(pthread_create(&t, NULL, reads_all, NULL) == 0, "pthread_create");
    while (trap_on()) {
        uintptr_t *word;
        while ((word = atomic_exchange(&reads_word, NULL)) == NULL)
            sched_yield();
        WITNESS_NEED(write(reads_pipe[1], trap->at, sizeof *word) == sizeof *word, "write");
        while (*(volatile uintptr_t *)word == 0)
            sched_yield();
        trap_moved(word);
        witness_wipe();
        trap_to_heap();
    }
    close(reads_pipe[1]);
    pthread_join(t, NULL);
}

// ---- libraries ----------------------------------------------------------------------------------

static char library_path[256];

static void library_build(void)
{
    char here[] = __FILE__, command[1024];
    snprintf(library_path, sizeof library_path, "/tmp/trap.%d.so", (int)getpid());
    snprintf(command, sizeof command,
             "cc -shared -fPIC -O1 -ftls-model=global-dynamic -o %s %s/lib/holder.c 2>/dev/null",
             library_path, dirname(here));
    if (system(command) != 0)
        witness_skip("no compiler, or not run from the repository's top");
}

// In data, bss and thread-local storage of a library that is opened and closed all the time.
TRAP(library)
{
    library_build();
    while (trap_on()) {
        void *library = dlopen(library_path, RTLD_NOW);
        WITNESS_NEED(library != NULL, "%s", dlerror());
        void *(*place)(int) = (void *(*)(int))dlsym(library, "holder_place");
        trap_store(place((int)(trap_number % 7)));
        witness_wipe();
        trap_litter();
        trap_to_heap();
        dlclose(library);
    }
    unlink(library_path);
}

// ---- processes ----------------------------------------------------------------------------------

// In the child: what the parent's collection had come to is nothing, and all is still there.
static witness_noinline _Noreturn void child_look(void)
{
    alarm(WITNESS_HANG);
    for (int i = 0; i < 2; i++) {
        salvage_collect();
        for (unsigned k = 0; k < TRAP_OBJECTS; k++)
            if (traps[k].at && !witness_intact(&traps[k].witness))
                _exit(1);
        trap_litter();
    }
    _exit(0);
}

TRAP(forks)
{
    while (trap_on()) {
        trap_to_heap();
        if (trap_number % 40 != 0)
            continue;
        int status;
        pid_t pid = fork();
        if (pid == 0)
            child_look();
        WITNESS_NEED(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0,
                     "the child's objects: %d", status);
    }
}

static const struct place places[] = {
    TRAP_PLACE(thread_argument), TRAP_PLACE(thread_result), TRAP_PLACE(key_destructor),
    TRAP_PLACE(thread_local),    TRAP_PLACE(thread_frame),  TRAP_PLACE(sleeper_frame),
    TRAP_PLACE(sleeper_reads),   TRAP_PLACE(library),       TRAP_PLACE(forks),
};

int main(int argc, char **argv)
{
    return place_main(argc, argv, places, sizeof places / sizeof *places, 0);
}
