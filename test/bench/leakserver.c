// leakserver: a server that forgets one block in three, for the collector to keep up with.
//
// `leakserver SECONDS [MIB_PER_SECOND]` allocates at that rate in all (200), in four threads,
// blocks of 16 bytes to 1 MiB (log-uniform: as many between 16 and 32 bytes as between 512 KiB and
// 1 MiB), and keeps 64 MiB of them live. A block hangs on a small session object, the session on
// its thread's table; both lie in the heap. When a session makes room, its block is compared with
// the pattern that was written into it; then two of three are freed, and every third is only
// forgotten, session and block.
//
// At the end every block that is still live is compared too. Prints one line of key=value: the peak
// and the last RSS (VmHWM, VmRSS), live, lost and allocated bytes, seconds, MiB a second. Exit
// status 1 when a live block wasn't what had been written, 2 for a wrong command line.
//
// The pace comes from the clock and only from it; a thread that is late doesn't wait. No word of
// the pattern is an address, so that a lost block can't be held by another one's contents.

#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS = 4, TABLE = 8192, LOSE = 3, SIZE_MIN = 16, SIZE_MAX_LOG2 = 20 };

static const uint64_t mib = 1 << 20;
static const uint64_t live_bytes = 64 << 20;

struct session {
    uint64_t *block;
    size_t size; // bytes, a multiple of 8
    uint64_t seed;
    struct session **slot; // back into the table, as servers do
};

struct worker {
    pthread_t thread;
    uint64_t random;
    uint64_t bytes_per_second;
    uint64_t live, lost, allocated;
    unsigned count, gone;
    struct session **table; // of TABLE slots, in the heap; the first `count` are in use
};

static struct worker workers[THREADS];
static double deadline; // seconds since the start
static struct timespec start;

static double seconds_since_start(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9;
}

static uint64_t random_next(uint64_t *state)
{
    uint64_t x = *state;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

// The top bit is set: no user address has it.
static uint64_t pattern_word(uint64_t seed, size_t at)
{
    return (seed + at * 0x9e3779b97f4a7c15u) | 1ull << 63;
}

static void session_check(const struct session *session)
{
    for (size_t i = 0; i < session->size / 8; i++) {
        if (session->block[i] == pattern_word(session->seed, i))
            continue;
        fprintf(stderr, "leakserver: live block %p of %zu bytes changed at byte %zu: %016llx\n",
                (void *)session->block, session->size, i * 8,
                (unsigned long long)session->block[i]);
        exit(1);
    }
}

static size_t size_next(struct worker *worker)
{
    double part = (double)(random_next(&worker->random) >> 11) / 9007199254740992.0;
    return (size_t)(SIZE_MIN * exp2(part * (SIZE_MAX_LOG2 - 4))) & ~(size_t)7;
}

static void session_add(struct worker *worker, size_t size)
{
    struct session *session = malloc(sizeof *session);
    uint64_t *block = malloc(size);
    if (!session || !block) {
        fprintf(stderr, "leakserver: out of memory\n");
        exit(1);
    }
    struct session **slot = &worker->table[worker->count++];
    *session = (struct session){block, size, random_next(&worker->random), slot};
    for (size_t i = 0; i < size / 8; i++)
        block[i] = pattern_word(session->seed, i);
    *slot = session;
    worker->live += size;
    worker->allocated += size;
}

// Takes a session at random out of the table; the last one moves to its place.
static void session_drop(struct worker *worker)
{
    struct session **slot = &worker->table[random_next(&worker->random) % worker->count];
    struct session *session = *slot;
    session_check(session);
    *slot = worker->table[--worker->count];
    (*slot)->slot = slot;
    worker->table[worker->count] = NULL;
    worker->live -= session->size;
    if (++worker->gone % LOSE == 0) {
        worker->lost += session->size;
        return;
    }
    free(session->block);
    free(session);
}

// Sleeps until the clock says that the next block is due.
static void pace(const struct worker *worker)
{
    double due = (double)worker->allocated / (double)worker->bytes_per_second;
    struct timespec until = start;
    if (due <= seconds_since_start())
        return;
    until.tv_sec += (time_t)due;
    until.tv_nsec += (long)((due - floor(due)) * 1e9);
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    worker->table = calloc(TABLE, sizeof *worker->table);
    if (!worker->table)
        exit(1);
    while (seconds_since_start() < deadline) {
        size_t size = size_next(worker);
        while (worker->count == TABLE ||
               (worker->count > 0 && worker->live + size > live_bytes / THREADS))
            session_drop(worker);
        session_add(worker, size);
        pace(worker);
    }
    for (unsigned i = 0; i < worker->count; i++)
        session_check(worker->table[i]);
    return NULL;
}

// A value in KiB from /proc/self/status, 0 when the kernel doesn't give it.
static unsigned long status_read(const char *key)
{
    char line[256];
    unsigned long value = 0;
    FILE *status = fopen("/proc/self/status", "r");
    if (!status)
        return 0;
    while (fgets(line, sizeof line, status))
        if (strncmp(line, key, strlen(key)) == 0)
            value = strtoul(line + strlen(key) + 1, NULL, 10);
    fclose(status);
    return value;
}

int main(int argc, char **argv)
{
    uint64_t rate = argc == 3 ? strtoull(argv[2], NULL, 10) : 200;
    uint64_t live = 0, lost = 0, allocated = 0;
    if (argc < 2 || argc > 3 || rate == 0 || (deadline = strtod(argv[1], NULL)) <= 0) {
        fprintf(stderr, "usage: leakserver SECONDS [MIB_PER_SECOND]\n");
        return 2;
    }
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (int i = 0; i < THREADS; i++) {
        workers[i].random = 88172645463325252u + (uint64_t)i * 7919;
        workers[i].bytes_per_second = rate * mib / THREADS;
        if (pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]) != 0)
            return 1;
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        live += workers[i].live;
        lost += workers[i].lost;
        allocated += workers[i].allocated;
    }
    double took = seconds_since_start();
    printf("peak_rss_kib=%lu rss_kib=%lu live_kib=%llu lost_bytes=%llu allocated_bytes=%llu "
           "seconds=%.1f mib_per_second=%.0f\n",
           status_read("VmHWM"), status_read("VmRSS"), (unsigned long long)(live >> 10),
           (unsigned long long)lost, (unsigned long long)allocated, took,
           (double)allocated / (double)mib / took);
    return 0;
}
