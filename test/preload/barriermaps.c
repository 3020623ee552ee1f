// The barrier and the program's private mappings: the only pointer to an object is in one that is
// dropped, moved, replaced or protected while collections run (lib/trap.h).
//
// SALVAGE: barrier=uffd,checkmark=1,clobber=1
// SALVAGE: barrier=stw,clobber=1
// SALVAGE: chaos=7,clobber=1

#include "lib/trap.h"

#define HUGE_BYTES ((size_t)8 << 20)

TRAP(store)
{
    trap_maps(MAP_PRIVATE);
    while (trap_on()) {
        trap_to_map();
        if (trap_number % 3 == 0)
            trap_to_heap();
    }
}

// The page is dropped and written anew.
TRAP(dontneed)
{
    trap_maps(MAP_PRIVATE);
    while (trap_on()) {
        trap_to_heap();
        madvise(trap->map, TRAP_MAP, MADV_DONTNEED);
        trap_to_map();
    }
}

// The pointer goes with the mapping.
TRAP(moved)
{
    trap_maps(MAP_PRIVATE);
    while (trap_on()) {
        trap_to_map();
        void *to = trap_anon(TRAP_MAP, MAP_PRIVATE);
        size_t offset = (size_t)(trap->at - trap->map);
        trap->map =
            trap_memory(mremap(trap->map, TRAP_MAP, TRAP_MAP, MREMAP_MAYMOVE | MREMAP_FIXED, to));
        trap->at = trap->map + offset;
        if (trap_number % 3 == 0)
            trap_to_heap();
    }
}

TRAP(grown)
{
    trap_maps(MAP_PRIVATE);
    while (trap_on()) {
        trap_to_map();
        size_t offset = (size_t)(trap->at - trap->map);
        trap->map = trap_memory(mremap(trap->map, TRAP_MAP, 3 * TRAP_MAP, MREMAP_MAYMOVE));
        trap->at = trap->map + offset;
        trap_store(trap->at + 2 * TRAP_MAP / sizeof(uintptr_t));
        trap_to_heap();
        trap->map = trap_memory(mremap(trap->map, 3 * TRAP_MAP, TRAP_MAP, 0));
        trap_to_map();
    }
}

TRAP(same_place)
{
    trap_maps(MAP_PRIVATE);
    while (trap_on()) {
        trap_to_heap();
        trap_memory(mmap(trap->map, TRAP_MAP, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
        trap_to_map();
    }
}

TRAP(guarded)
{
    static const int kinds[] = {PROT_READ, PROT_NONE, PROT_READ | PROT_EXEC};
    trap_maps(MAP_PRIVATE);
    while (trap_on()) {
        mprotect(trap->map, TRAP_MAP, PROT_READ | PROT_WRITE);
        if (trap_number % 4 == 0)
            trap_to_heap();
        trap_to_map();
        mprotect(trap->map, TRAP_MAP, kinds[trap_number % 3]);
    }
}

TRAP(huge_pages)
{
    uintptr_t *map = trap_anon(HUGE_BYTES, MAP_PRIVATE);
    madvise(map, HUGE_BYTES, MADV_HUGEPAGE);
    while (trap_on()) {
        trap_store(map + trap_number * 1237 % (HUGE_BYTES / sizeof *map));
        if (trap_number % 3 == 0)
            trap_to_heap();
    }
}

TRAP(huge_heap)
{
    uintptr_t *block = trap_memory(malloc(HUGE_BYTES));
    uintptr_t *page = (uintptr_t *)(((uintptr_t)block + 4095) & ~(uintptr_t)4095);
    madvise(page, HUGE_BYTES - 4096, MADV_HUGEPAGE);
    while (trap_on()) {
        trap_store(page + trap_number * 1237 % (HUGE_BYTES / 2 / sizeof *page));
        if (trap_number % 3 == 0)
            trap_to_heap();
    }
    free(block);
}

// Only read until it is written: the kernel's page of zeroes stands there.
TRAP(zero_page)
{
    trap_maps(MAP_PRIVATE);
    while (trap_on()) {
        trap_to_heap();
        madvise(trap->map, TRAP_MAP, MADV_DONTNEED);
        WITNESS_NEED(*(volatile uintptr_t *)trap_word() == 0, "a dropped page isn't zero");
        trap_to_map();
    }
}

TRAP(brk_memory)
{
    for (unsigned i = 0; i < TRAP_OBJECTS; i++)
        traps[i].map = trap_memory(sbrk(TRAP_MAP));
    while (trap_on()) {
        trap_to_map();
        uintptr_t *block = sbrk(65536);
        WITNESS_NEED(block != (void *)-1, "sbrk: %s", strerror(errno));
        trap_store(block + 777);
        trap_to_map();
        WITNESS_NEED(sbrk(-65536) != (void *)-1, "sbrk: %s", strerror(errno));
    }
}

static const struct place places[] = {
    TRAP_PLACE(store),      TRAP_PLACE(dontneed),   TRAP_PLACE(moved),      TRAP_PLACE(grown),
    TRAP_PLACE(same_place), TRAP_PLACE(guarded),    TRAP_PLACE(huge_pages), TRAP_PLACE(huge_heap),
    TRAP_PLACE(zero_page),  TRAP_PLACE(brk_memory),
};

int main(int argc, char **argv)
{
    return place_main(argc, argv, places, sizeof places / sizeof *places, 0);
}
