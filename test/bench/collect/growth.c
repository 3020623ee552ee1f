// growth: a heap that only grows, and then a loop that allocates as fast as it can.
//
// `growth MIB` first builds MIB of live memory, blocks of 240 bytes on 65536 lists, and times every
// allocation: a collector that collects on the way up shows here. Then THREADS threads drop blocks
// until GARBAGE times as much was allocated, and every LOOK allocations one compares the bytes in
// use with the collector's goal: how far does the heap get beyond it? Where the collector has no
// goal, the peak of the bytes in use over what lives is what there is. Exit status 1 when what was
// built has changed.
#include "peer.h"

enum { LISTS = 65536, SIZE = 240, THREADS = 2, GARBAGE = 6, LOOK = 1024 };

struct block {
    struct block *next;
    uint64_t serial;
    char rest[SIZE - 16];
};

static struct block **lists;
static uint64_t blocks;

struct worker {
    pthread_t thread;
    uint64_t steps;
    double goal_part;  // the largest part of the goal that was in use
    uint64_t live_max; // bytes
    struct times times;
};

static struct worker workers[THREADS];

static struct block *block_timed(struct times *times)
{
    uint64_t start = now_ns();
    struct block *block = block_new(sizeof *block);
    times_add(times, now_ns() - start);
    memset(block, 0, sizeof *block);
    return block;
}

static void heap_build(struct times *times)
{
    lists = block_new(LISTS * sizeof *lists);
    memset(lists, 0, LISTS * sizeof *lists);
    for (uint64_t i = 0; i < blocks; i++) {
        struct block *block = block_timed(times);
        block->serial = i;
        block->next = lists[i % LISTS];
        lists[i % LISTS] = block;
    }
}

static void heap_check(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < LISTS; i++)
        for (const struct block *block = lists[i]; block; block = block->next)
            sum += block->serial;
    if (sum != blocks * (blocks - 1) / 2)
        fail("growth: what was built has changed");
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;
    for (uint64_t i = 0; i < worker->steps; i++) {
        struct block *block = block_timed(&worker->times);
        __asm__ volatile("" : : "r"(block) : "memory");
        if (i % LOOK)
            continue;
        uint64_t live, goal;
        peer_heap(&live, &goal);
        if (live > worker->live_max)
            worker->live_max = live;
        if (goal && (double)live / (double)goal > worker->goal_part)
            worker->goal_part = (double)live / (double)goal;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    static struct times building;
    double part = 0;
    uint64_t mib = argc == 2 ? strtoull(argv[1], NULL, 10) : 0, live_max = 0;
    if (mib == 0) {
        fprintf(stderr, "usage: growth MIB\n");
        return 2;
    }
    peer_start();
    blocks = (mib << 20) / SIZE;
    uint64_t start = now_ns();
    heap_build(&building);
    uint64_t built = now_ns(), cycles_built = peer_cycles();
    for (int t = 0; t < THREADS; t++) {
        workers[t].steps = blocks * GARBAGE / THREADS;
        if (pthread_create(&workers[t].thread, NULL, worker_main, &workers[t]) != 0)
            fail("growth: no thread");
    }
    for (int t = 0; t < THREADS; t++) {
        pthread_join(workers[t].thread, NULL);
        part = workers[t].goal_part > part ? workers[t].goal_part : part;
        live_max = workers[t].live_max > live_max ? workers[t].live_max : live_max;
        if (t)
            times_join(&workers[0].times, &workers[t].times);
    }
    uint64_t ended = now_ns();
    heap_check();
    printf("build_ms=%.1f build_max_us=%.1f build_p999_ns=%llu build_cycles=%llu ",
           (double)(built - start) / 1e6, (double)building.max / 1e3,
           (unsigned long long)times_part(&building, 0.999), (unsigned long long)cycles_built);
    printf("ms=%.1f max_us=%.1f cycles=%llu goal_part=%.3f live_part=%.3f peak_part=%.3f\n",
           (double)(ended - built) / 1e6, (double)workers[0].times.max / 1e3,
           (unsigned long long)(peer_cycles() - cycles_built), part,
           (double)live_max / (double)(mib << 20),
           (double)peer_memory("VmHWM") / (double)(mib << 10));
    peer_finish();
    return 0;
}
