// stops: what this machine adds to stops of the world, with no collector in the process.
//
// `stops THREADS COUNT`: so many threads write to memory of their own by chance, and are stopped so
// many times as a collector does it: each gets a signal, its handler answers and waits. When all
// have answered, who stops them computes for half a millisecond, resumes them, and computes for
// another. Prints how much longer than the half millisecond the stops took, in microseconds: in the
// middle, the 99th of 100, the longest, and how many took 3 ms or more in all. Whatever else wants
// the processors shows here: other programs, the kernel's threads, the machine's other tenants.
#include "peer.h"

#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { THREADS_MAX = 4, MEMORY = 256 << 20, WORK_NS = 500000, LONG_NS = 3000000 };

static _Atomic uint32_t word = 2, answered; // the word is odd while the threads are to stand still
static _Atomic int over;
static _Atomic int tids[THREADS_MAX];

static long futex(_Atomic uint32_t *at, int op, uint32_t value)
{
    return syscall(SYS_futex, at, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static void handler(int sig)
{
    uint32_t epoch = atomic_load(&word);
    (void)sig;
    if (!(epoch & 1))
        return;
    atomic_fetch_add(&answered, 1);
    futex(&answered, FUTEX_WAKE, 1);
    while (atomic_load(&word) == epoch)
        futex(&word, FUTEX_WAIT, epoch);
}

static void *worker_run(void *arg)
{
    uint64_t state = 88172645463325252u + (uintptr_t)arg;
    char *memory = malloc(MEMORY);
    if (!memory)
        fail("stops: out of memory");
    memset(memory, 1, MEMORY);
    atomic_store(&tids[(uintptr_t)arg], (int)syscall(SYS_gettid));
    while (!atomic_load_explicit(&over, memory_order_relaxed))
        memory[(random_next(&state) >> 8) % MEMORY]++;
    free(memory);
    return NULL;
}

static void compute(void)
{
    for (uint64_t start = now_ns(); now_ns() - start < WORK_NS;)
        continue;
}

static uint64_t stop_once(uint32_t threads)
{
    uint64_t start = now_ns();
    atomic_store(&answered, 0);
    atomic_fetch_add(&word, 1);
    for (uint32_t i = 0; i < threads; i++)
        syscall(SYS_tgkill, getpid(), atomic_load(&tids[i]), SIGRTMAX);
    for (uint32_t n; (n = atomic_load(&answered)) < threads;)
        futex(&answered, FUTEX_WAIT, n);
    compute();
    uint64_t took = now_ns() - start;
    atomic_fetch_add(&word, 1);
    futex(&word, FUTEX_WAKE, INT_MAX);
    return took;
}

static int length_compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int threads = argc == 3 ? atoi(argv[1]) : 0, count = argc == 3 ? atoi(argv[2]) : 0, late = 0;
    pthread_t thread[THREADS_MAX];
    if (threads < 1 || threads > THREADS_MAX || count < 1) {
        fprintf(stderr, "usage: stops THREADS COUNT\n");
        return 2;
    }
    uint64_t *took = calloc((size_t)count, sizeof *took);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    if (!took || sigaction(SIGRTMAX, &action, NULL) != 0)
        fail("stops: out of memory, or no signal");
    for (int i = 0; i < threads; i++)
        pthread_create(&thread[i], NULL, worker_run, (void *)(uintptr_t)i);
    for (int i = 0; i < threads; i++)
        while (atomic_load(&tids[i]) == 0)
            usleep(1000);
    for (int i = 0; i < count; i++) {
        took[i] = stop_once((uint32_t)threads);
        late += took[i] >= LONG_NS;
        compute();
    }
    atomic_store(&over, 1);
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    qsort(took, (size_t)count, sizeof *took, length_compare);
    int places[3] = {count / 2, count / 100 * 99, count - 1};
    double added[3];
    for (int i = 0; i < 3; i++)
        added[i] = (double)(took[places[i]] - WORK_NS) / 1e3;
    printf("p50_us=%.1f p99_us=%.1f max_us=%.1f late=%d\n", added[0], added[1], added[2], late);
    return 0;
}
