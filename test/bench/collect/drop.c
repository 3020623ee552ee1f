// drop: what an allocation costs when its block is dropped for the collector, and when it is freed.
//
// `drop free|drop|both` runs loops over four sizes, in one thread and in two at once; each writes
// the first word of each block. Prints KIND.SIZE.THREADS=ns, wall time an operation of one thread.
// The loops allocate the same number of bytes for every collector, enough for many collections.
#include "peer.h"

enum { SIZES = 4, THREADS_MAX = 2, STEPS_MAX = 8000000, BYTES_MAX = 1 << 30 };

static const size_t sizes[SIZES] = {16, 64, 200, 2000};

struct loop {
    size_t size;
    uint64_t steps;
    int freeing;
};

static void *loop_main(void *argument)
{
    const struct loop *loop = argument;
    for (uint64_t i = 0; i < loop->steps; i++) {
        uint64_t *block = block_new(loop->size);
        *block = i;
        __asm__ volatile("" : : "r"(block) : "memory"); // the block isn't optimised away
        if (loop->freeing)
            block_free(block);
    }
    return NULL;
}

static double loop_time(struct loop *loop, int threads)
{
    pthread_t thread[THREADS_MAX];
    uint64_t start = now_ns();
    for (int t = 0; t < threads; t++)
        if (pthread_create(&thread[t], NULL, loop_main, loop) != 0)
            fail("drop: no thread");
    for (int t = 0; t < threads; t++)
        pthread_join(thread[t], NULL);
    return (double)(now_ns() - start) / (double)loop->steps;
}

static void loops_run(int freeing)
{
    for (int s = 0; s < SIZES; s++) {
        uint64_t steps = BYTES_MAX / sizes[s];
        struct loop loop = {sizes[s], steps < STEPS_MAX ? steps : STEPS_MAX, freeing};
        for (int threads = 1; threads <= THREADS_MAX; threads++)
            printf("%s.%zu.%d=%.2f ", freeing ? "free" : "drop", sizes[s], threads,
                   loop_time(&loop, threads));
    }
}

int main(int argc, char **argv)
{
    const char *kind = argc == 2 ? argv[1] : "";
    int both = strcmp(kind, "both") == 0;
    if (!both && strcmp(kind, "free") != 0 && strcmp(kind, "drop") != 0) {
        fprintf(stderr, "usage: drop free|drop|both\n");
        return 2;
    }
    peer_start();
    if (both || strcmp(kind, "drop") == 0)
        loops_run(0);
    if (both || strcmp(kind, "free") == 0)
        loops_run(1);
    printf("peak_kib=%lu cycles=%llu\n", peer_memory("VmHWM"), (unsigned long long)peer_cycles());
    peer_finish();
    return 0;
}
