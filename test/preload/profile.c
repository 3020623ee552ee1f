// Programs whose allocations are recorded notice nothing of it: on every kind of stack, in handlers
// that interrupt anything, in threads that come and go, after fork, through every function of the
// family. What the stacks say is a matter of test/unit/stacks.c.
//
// SALVAGE: mode=leaks
// SALVAGE: mode=leaks,depth=1
// SALVAGE: mode=leaks,depth=256
// SALVAGE: mode=leaks,sample=1K
// SALVAGE: sample=512
// SALVAGE: sample=512,stress=200
#include "check.h"

#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/time.h>
#include <ucontext.h>

enum { STACK = 65536, BLOCKS = 64, THREADS = 60 };

// Every function of the family, sizes of every kind; contents are looked at.
static void family(unsigned seed)
{
    struct {
        unsigned char *p;
        size_t n;
    } block[BLOCKS] = {0};
    uint64_t state = seed * 2654435761u + 1;
    for (unsigned i = 0; i < 600; i++) {
        unsigned at = (unsigned)(check_random(&state) % BLOCKS);
        size_t n = check_random(&state) % (i % 13 == 0 ? 100000 : i % 3 ? 300 : 5000);
        unsigned char *p = block[at].p;
        if (p && !CHECK(check_pattern(p, block[at].n, block[at].n, at),
                        "block of %zu bytes changed", block[at].n))
            return;
        switch (check_random(&state) % 6) {
        case 0:
            free(p);
            p = calloc(1, n);
            CHECK(check_zero(p, n), "calloc(%zu) isn't zero", n);
            break;
        case 1:
            free(p);
            p = memalign((size_t)16 << check_random(&state) % 9, n);
            break;
        case 2:
            free(p);
            p = salvage_malloc_noscan ? salvage_malloc_noscan(n) : malloc(n);
            break;
        case 3: {
            size_t kept = block[at].n < n ? block[at].n : n;
            n += n == 0;
            unsigned char *to = realloc(p, n);
            CHECK(!p || check_pattern(to, kept, block[at].n, at), "realloc to %zu", n);
            p = to;
            break;
        }
        default:
            free(p);
            p = malloc(n);
        }
        if (!CHECK(p && malloc_usable_size(p) >= n, "%zu bytes", n))
            return;
        block[at].p = p;
        block[at].n = n;
        check_fill(p, n, at);
    }
    for (unsigned i = 0; i < BLOCKS; i++)
        free(block[i].p);
}

static void plain(void)
{
    for (unsigned i = 0; i < 20; i++)
        family(i);
}

// ---- stacks -------------------------------------------------------------------------------------

static unsigned deep(unsigned depth)
{
    volatile char room[100];
    void *p = malloc(depth % 500);
    room[0] = (char)depth;
    unsigned below = depth ? deep(depth - 1) : 0;
    free(p);
    return below + (unsigned)room[0] % 2;
}

static ucontext_t outside, inside;

static void coroutine(void)
{
    for (;;) {
        family(7);
        deep(20);
        swapcontext(&inside, &outside);
    }
}

static void coroutine_run(void *stack)
{
    getcontext(&inside);
    inside.uc_stack.ss_sp = stack;
    inside.uc_stack.ss_size = STACK;
    inside.uc_link = NULL;
    makecontext(&inside, coroutine, 0);
    for (int i = 0; i < 4; i++) {
        swapcontext(&outside, &inside);
        family(8);
    }
}

static void stacks(void)
{
    long page = sysconf(_SC_PAGESIZE);
    deep(5000);
    char *mapped = mmap(NULL, STACK + (size_t)page, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(mapped + STACK, (size_t)page, PROT_NONE);
    coroutine_run(mapped);
    coroutine_run(malloc(STACK));
    static char global[STACK] __attribute__((aligned(16)));
    coroutine_run(global);
}

// ---- handlers -----------------------------------------------------------------------------------

static volatile sig_atomic_t handled;

static void handler(int sig)
{
    (void)sig;
    handled++;
    free(malloc(100 + (size_t)handled % 1000));
}

static volatile unsigned long spin;

// The program is interrupted outside of malloc, in its own code and on its own time.
static void handlers_with(int flags)
{
    struct sigaction sa = {.sa_handler = handler, .sa_flags = flags};
    sigaction(SIGALRM, &sa, NULL);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 300}, {0, 300}}, NULL);
    for (unsigned i = 0; i < 40; i++) {
        sigprocmask(SIG_BLOCK, &set, NULL);
        family(i);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        for (int k = 0; k < 20000; k++)
            spin++;
    }
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    CHECK(handled > 0, "no signal came");
}

static void handlers(void)
{
    stack_t ss = {.ss_sp = malloc(STACK), .ss_size = STACK};
    sigaltstack(&ss, NULL);
    handlers_with(0);
    handlers_with(SA_ONSTACK);
}

// ---- threads and processes ----------------------------------------------------------------------

static void *thread(void *arg)
{
    family((unsigned)(uintptr_t)arg);
    deep(50);
    return NULL;
}

static void threads(void)
{
    pthread_t t[4];
    for (uintptr_t i = 0; i < THREADS; i += 4) {
        for (uintptr_t k = 0; k < 4; k++)
            pthread_create(&t[k], NULL, thread, (void *)(i + k));
        for (unsigned k = 0; k < 4; k++)
            pthread_join(t[k], NULL);
    }
}

static void forks(void)
{
    pthread_t t[2];
    for (uintptr_t k = 0; k < 2; k++)
        pthread_create(&t[k], NULL, thread, (void *)k);
    for (int i = 0; i < 10; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            family(3);
            _exit(0);
        }
        int status = check_wait(pid);
        CHECK(status == 0, "child: %d", status);
    }
    for (unsigned k = 0; k < 2; k++)
        pthread_join(t[k], NULL);
}

// Code that goes, and other code that comes to its place.
static void libraries(void)
{
    static const char *const names[] = {"libm.so.6", "libcrypt.so.1", "libresolv.so.2",
                                        "libnss_files.so.2", "libutil.so.1"};
    for (int round = 0; round < 20; round++) {
        void *lib = dlopen(names[round % 5], RTLD_NOW);
        family(2);
        if (lib)
            dlclose(lib);
    }
}

int main(void)
{
    check_case("plain", plain, 60);
    check_case("stacks", stacks, 60);
    check_case("handlers", handlers, 60);
    check_case("threads", threads, 60);
    check_case("forks", forks, 60);
    check_case("libraries", libraries, 60);
    return check_done();
}
