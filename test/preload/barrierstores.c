// The barrier and the program's own stores: the only pointer to an object is put onto memory
// already scanned by every kind of instruction, and travels inside large objects that are resized,
// moved and freed, while collections run (lib/trap.h).
//
// SALVAGE: barrier=uffd,checkmark=1,clobber=1
// SALVAGE: barrier=stw,clobber=1
// SALVAGE: chaos=7,clobber=1

#include "lib/trap.h"

#define WORD sizeof(uintptr_t)
#define LARGE ((size_t)200 << 10)

TRAP(plain)
{
    while (trap_on())
        trap_to_heap();
}

// All pointers move on as fast as stores go, so that some are always ahead of who looks at written
// pages; each passes through one register.
static witness_noinline void frenzy_moves(unsigned moves)
{
    uintptr_t *to[TRAP_CELLS];
    for (unsigned i = 0; i < TRAP_CELLS; i++)
        to[i] = trap_cell() + 8 + i % 8;
    for (unsigned n = 0, at = 0; n < moves; n++) {
        struct trap *t = &traps[n % TRAP_OBJECTS];
        if (!t->at)
            continue;
        while (*(volatile uintptr_t *)to[at] != 0)
            at = (at + 1) % TRAP_CELLS;
        *(volatile uintptr_t *)to[at] = *(volatile uintptr_t *)t->at;
        *(volatile uintptr_t *)t->at = 0;
        t->at = to[at];
        at = (at + 5) % TRAP_CELLS;
    }
}

TRAP(frenzy)
{
    while (trap_on()) {
        frenzy_moves(20000);
        witness_wipe();
    }
}

// At a multiple of 4 only, so that it stands across two words.
TRAP(halfway)
{
    while (trap_on()) {
        trap_store((uintptr_t *)((char *)trap_cell() + 4));
        trap_to_heap();
    }
}

// The last word of one page and the first of the next.
TRAP(across_pages)
{
    trap_maps(MAP_PRIVATE);
    while (trap_on()) {
        uintptr_t page = ((uintptr_t)trap->map + (trap_number / TRAP_OBJECTS % 14 + 1) * 4096);
        trap_store((uintptr_t *)(page - 4));
        if (trap_number % 3 == 0)
            trap_to_heap();
    }
}

// A block of some cache lines, of which the pointer is a word.
static witness_noinline void block_copy(char *to, const char *from, size_t n)
{
    memcpy(to, from, n);
}

static witness_noinline void block_move(char *to, const char *from, size_t n)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n)::"memory");
}

static witness_noinline void block_vectors(char *to, const char *from, size_t n)
{
    for (size_t i = 0; i < n; i += 16)
        __asm__ volatile("movdqu (%1), %%xmm3\n\tmovdqu %%xmm3, (%0)\n\tpxor %%xmm3, %%xmm3"
                         :
                         : "r"(to + i), "r"(from + i)
                         : "xmm3", "memory");
}

static witness_noinline void block_streams(char *to, const char *from, size_t n)
{
    for (size_t i = 0; i < n; i += WORD)
        __asm__ volatile("movq (%1), %%r9\n\tmovnti %%r9, (%0)\n\tsfence\n\txorl %%r9d, %%r9d"
                         :
                         : "r"(to + i), "r"(from + i)
                         : "r9", "memory");
}

static witness_noinline void block_wide(char *to, const char *from, size_t n)
{
    for (size_t i = 0; i < n; i += 32)
        __asm__ volatile("vmovdqu (%1), %%ymm5\n\tvmovdqu %%ymm5, (%0)\n\t"
                         "vpxor %%ymm5, %%ymm5, %%ymm5"
                         :
                         : "r"(to + i), "r"(from + i)
                         : "xmm5", "memory");
}

static witness_noinline void block_exchange(char *to, const char *from, size_t n)
{
    for (size_t i = 0; i < n; i += WORD)
        __atomic_exchange_n((uintptr_t *)(to + i), *(const uintptr_t *)(from + i),
                            __ATOMIC_SEQ_CST);
}

// 128 bytes around the cell, which lies on 8 only.
static void block_trap(void (*copy)(char *, const char *, size_t))
{
    while (trap_on()) {
        trap_to_heap();
        uintptr_t *cell = trap_cell();
        copy((char *)(cell - 8), (const char *)(trap->at - 8), 16 * WORD);
        trap_moved(cell);
    }
}

TRAP(memory_copy)
{
    block_trap(block_copy);
}

TRAP(string_move)
{
    block_trap(block_move);
}

TRAP(vectors)
{
    block_trap(block_vectors);
}

TRAP(wide_vectors)
{
    if (!__builtin_cpu_supports("avx"))
        witness_skip("no AVX");
    block_trap(block_wide);
}

TRAP(streaming)
{
    block_trap(block_streams);
}

TRAP(exchange)
{
    block_trap(block_exchange);
}

// ---- large objects ------------------------------------------------------------------------------

// The array is the object's own, found by its `map` alone.
static uintptr_t *array_make(size_t bytes)
{
    return trap->map = trap_memory(calloc(1, bytes));
}

static void array_drop(void)
{
    trap_to_heap();
    free(trap->map);
    trap->map = NULL;
}

TRAP(array_fresh)
{
    while (trap_on()) {
        uintptr_t *array = array_make(LARGE + trap_number % 5 * 65536);
        for (size_t i = 0; i < LARGE / WORD; i += 512)
            WITNESS_NEED(*(volatile uintptr_t *)&array[i] == 0, "calloc: word %zu isn't 0", i);
        trap_store(array + trap_number * 977 % (LARGE / WORD));
        array_drop();
    }
}

static void array_resize(size_t bytes)
{
    ptrdiff_t offset = trap->at - trap->map;
    trap->map = trap_memory(realloc(trap->map, bytes));
    trap->at = trap->map + offset;
}

// Grown and shrunk, in place or not, with the pointer inside; freed in between.
TRAP(array_resized)
{
    while (trap_on()) {
        if (!trap->map)
            array_make(LARGE);
        trap_store(trap->map + trap_number * 977 % (LARGE / WORD / 2));
        array_resize(LARGE * (2 + trap_number % 3));
        trap_store(trap->map + trap_number * 977 % (LARGE / WORD / 2));
        array_resize(LARGE / 2);
        if (trap_number % 5 == 0)
            array_drop();
        else
            array_resize(LARGE);
    }
}

// So large that realloc moves pages instead of bytes.
TRAP(array_moved)
{
    const size_t bytes = (size_t)3 << 20;
    while (trap_on()) {
        array_make(bytes);
        trap_store(trap->map + trap_number * 977 % (bytes / WORD));
        array_resize(bytes * 2);
        array_resize(bytes * 2 + bytes / 2);
        array_drop();
    }
}

// A small object that becomes a large one, and the other way round.
TRAP(array_changes_kind)
{
    while (trap_on()) {
        if (!trap->map)
            array_make(2000);
        trap_store(trap->map + trap_number % 200);
        array_resize(LARGE);
        trap_store(trap->map + trap_number % 100);
        array_resize(2000);
        if (trap_number % 3 == 0)
            trap_to_heap();
    }
}

// Objects without pointers, held by objects with them; they are taken over by realloc.
TRAP(noscan_objects)
{
    static const size_t sizes[] = {24, 500, 4242, 40000};
    while (trap_on()) {
        struct witness *w = &trap->witness;
        trap_to_heap();
        if (trap_number % 64 != 0)
            continue;
        size_t size = sizes[trap_number / 64 % 4];
        uintptr_t *at = trap->at;
        *(volatile uintptr_t *)at = (uintptr_t)trap_memory(salvage_malloc_noscan(size));
        w->inverted = ~*at;
        w->size = size;
        witness_fill((unsigned char *)*at, size, w->seed);
    }
}

static const struct place places[] = {
    TRAP_PLACE(plain),         TRAP_PLACE(frenzy),         TRAP_PLACE(halfway),
    TRAP_PLACE(across_pages),  TRAP_PLACE(memory_copy),    TRAP_PLACE(string_move),
    TRAP_PLACE(vectors),       TRAP_PLACE(wide_vectors),   TRAP_PLACE(streaming),
    TRAP_PLACE(exchange),      TRAP_PLACE(array_fresh),    TRAP_PLACE(array_moved),
    TRAP_PLACE(array_resized), TRAP_PLACE(noscan_objects), TRAP_PLACE(array_changes_kind),
};

int main(int argc, char **argv)
{
    return place_main(argc, argv, places, sizeof places / sizeof *places, 0);
}
