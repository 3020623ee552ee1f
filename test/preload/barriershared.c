// The barrier and shared memory and files: the only pointer to an object is written to them by way
// of another mapping, a descriptor or another process while collections run (lib/trap.h).
//
// SALVAGE: barrier=uffd,checkmark=1,clobber=1
// SALVAGE: barrier=stw,clobber=1
// SALVAGE: chaos=7,clobber=1

#include "lib/trap.h"

#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/shm.h>

static int memfd[TRAP_OBJECTS];

static uintptr_t *memfd_map(unsigned i)
{
    return trap_memory(mmap(NULL, TRAP_MAP, PROT_READ | PROT_WRITE, MAP_SHARED, memfd[i], 0));
}

static void memfds_make(void)
{
    for (unsigned i = 0; i < TRAP_OBJECTS; i++) {
        memfd[i] = memfd_create("trap", MFD_CLOEXEC);
        WITNESS_NEED(memfd[i] >= 0 && ftruncate(memfd[i], (off_t)TRAP_MAP) == 0, "memfd: %s",
                     strerror(errno));
        traps[i].map = memfd_map(i);
    }
}

// The pointer is there, written by somebody else; now and then it goes back to the heap.
static void written_elsewhere(uintptr_t *word)
{
    trap_moved(word);
    if (trap_number % 3 == 0)
        trap_to_heap();
}

// Written by one mapping, which stays, and found by the other.
TRAP(memfd_twice)
{
    uintptr_t *alias[TRAP_OBJECTS];
    memfds_make();
    for (unsigned i = 0; i < TRAP_OBJECTS; i++)
        alias[i] = memfd_map(i);
    while (trap_on()) {
        uintptr_t *word = trap_word();
        witness_put_of(&trap->witness, alias[trap - traps] + (word - trap->map), 0);
        written_elsewhere(word);
    }
}

// Written by a mapping that is gone at once.
TRAP(memfd_window)
{
    memfds_make();
    while (trap_on()) {
        uintptr_t *word = trap_word(), *window = memfd_map((unsigned)(trap - traps));
        witness_put_of(&trap->witness, window + (word - trap->map), 0);
        munmap(window, TRAP_MAP);
        written_elsewhere(word);
    }
}

// Written by way of the descriptor.
TRAP(memfd_write)
{
    memfds_make();
    while (trap_on()) {
        uintptr_t *word = trap_word();
        off_t offset = (off_t)((word - trap->map) * (ptrdiff_t)sizeof *word);
        WITNESS_NEED(pwrite(memfd[trap - traps], trap->at, sizeof *word, offset) == sizeof *word,
                     "pwrite: %s", strerror(errno));
        written_elsewhere(word);
    }
}

// The page leaves the page table, but not the memory.
TRAP(shared_dontneed)
{
    trap_maps(MAP_SHARED);
    while (trap_on()) {
        trap_to_map();
        madvise(trap->map, TRAP_MAP, MADV_DONTNEED);
        if (trap_number % 3 == 0)
            trap_to_heap();
    }
}

struct order {
    uintptr_t *_Atomic place;
    _Atomic uintptr_t inverted;
};

static witness_noinline _Noreturn void orders_serve(struct order *order)
{
    alarm(WITNESS_HANG);
    for (;;) {
        uintptr_t *place;
        while ((place = atomic_load(&order->place)) == NULL)
            sched_yield();
        if (place == (uintptr_t *)order)
            _exit(0);
        *place = ~atomic_load(&order->inverted);
        atomic_store(&order->place, NULL);
    }
}

// A forked child writes the pointer to memory that it shares with its parent.
TRAP(shared_child)
{
    struct order *order = (struct order *)trap_anon(4096, MAP_SHARED);
    trap_maps(MAP_SHARED);
    pid_t child = fork();
    if (child == 0)
        orders_serve(order);
    while (trap_on()) {
        uintptr_t *word = trap_word();
        atomic_store(&order->inverted, trap->witness.inverted);
        atomic_store(&order->place, word);
        while (atomic_load(&order->place) != NULL)
            sched_yield();
        written_elsewhere(word);
    }
    atomic_store(&order->place, (uintptr_t *)order);
    int status;
    WITNESS_NEED(waitpid(child, &status, 0) == child && status == 0, "the child: %d", status);
}

TRAP(system_v)
{
    for (unsigned i = 0; i < TRAP_OBJECTS; i++) {
        int id = shmget(IPC_PRIVATE, TRAP_MAP, IPC_CREAT | 0600);
        if (id < 0)
            witness_skip("no System V memory");
        traps[i].map = trap_memory(shmat(id, NULL, 0));
        shmctl(id, IPC_RMID, NULL);
    }
    while (trap_on()) {
        trap_to_map();
        if (trap_number % 3 == 0)
            trap_to_heap();
    }
}

static void files_map(int flags)
{
    for (unsigned i = 0; i < TRAP_OBJECTS; i++) {
        int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        WITNESS_NEED(fd >= 0 && ftruncate(fd, (off_t)TRAP_MAP) == 0, "file: %s", strerror(errno));
        traps[i].map = trap_memory(mmap(NULL, TRAP_MAP, PROT_READ | PROT_WRITE, flags, fd, 0));
        close(fd);
    }
}

TRAP(file_private)
{
    files_map(MAP_PRIVATE);
    while (trap_on()) {
        trap_to_map();
        if (trap_number % 3 == 0) {
            trap_to_heap();
            madvise(trap->map, TRAP_MAP, MADV_DONTNEED);
        }
    }
}

TRAP(file_shared)
{
    files_map(MAP_SHARED);
    while (trap_on()) {
        trap_to_map();
        if (trap_number % 32 == 0)
            msync(trap->map, TRAP_MAP, MS_SYNC);
        if (trap_number % 3 == 0)
            trap_to_heap();
    }
}

static const struct place places[] = {
    TRAP_PLACE(memfd_twice),     TRAP_PLACE(memfd_window), TRAP_PLACE(memfd_write),
    TRAP_PLACE(shared_dontneed), TRAP_PLACE(shared_child), TRAP_PLACE(system_v),
    TRAP_PLACE(file_private),    TRAP_PLACE(file_shared),
};

int main(int argc, char **argv)
{
    return place_main(argc, argv, places, sizeof places / sizeof *places, 0);
}
