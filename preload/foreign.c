// Says whose a pointer is that was given to free or realloc and isn't in the heap.
//
// Blocks of glibc's own malloc come here from a dlmopen'ed library; they are valid, and the caller
// leaves them alone. Everything else is a mistake of the program's that deserves a line which names
// the kind of memory. The listing of mappings decides; only then is memory read, and only inside
// them.
//
// glibc's blocks (2.26 to 2.40, 64-bit) are told by their header: the word before the block is its
// size, a multiple of 16, with three flags below. The main arena grows by brk, or by mapping where
// brk isn't its to move; other arenas lie in heaps aligned to 64 MiB that start with a record;
// blocks from 128 KiB up can be a mapping of their own. For each of the three the header has to
// agree with what surrounds it, so that a number that happens to stand before a pointer doesn't
// pass.
//
// ld.so allocates before there is a malloc: from the end of its data page, then from mappings, of
// which one right after its own can be told.
#include "foreign.h"

#include "scanners.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#define CHUNK_PREV_INUSE 1u
#define CHUNK_MMAPPED 2u
#define CHUNK_NON_MAIN 4u
#define CHUNK_FLAGS 7u
#define CHUNK_MIN 32u                    // MINSIZE
#define CHUNK_ALIGN 16u                  // MALLOC_ALIGNMENT
#define HEAP_ALIGN ((uintptr_t)64 << 20) // HEAP_MAX_SIZE: twice DEFAULT_MMAP_THRESHOLD_MAX

// What precedes a block.
struct chunk {
    size_t prev_size;
    size_t size; // with CHUNK_FLAGS
};

// The start of each heap of an arena that isn't the main one (glibc's heap_info).
struct heap_record {
    uintptr_t arena;
    uintptr_t prev;
    size_t size;
    size_t mprotect_size;
};

static const struct chunk *chunk_of(uintptr_t p)
{
    return (const struct chunk *)(p - sizeof(struct chunk));
}

static size_t chunk_size(const struct chunk *chunk)
{
    return chunk->size & ~(size_t)CHUNK_FLAGS;
}

static bool chunk_plausible(const struct chunk *chunk, uintptr_t hi)
{
    size_t size = chunk_size(chunk);
    return size >= CHUNK_MIN && size % CHUNK_ALIGN == 0 && size <= hi - (uintptr_t)chunk;
}

// What ends a piece of memory that an arena has left: a header of 16 bytes or of none.
static bool chunk_fencepost(const struct chunk *chunk)
{
    return (chunk->size & CHUNK_MMAPPED) == 0 && chunk_size(chunk) <= sizeof(struct chunk);
}

// Whether the chunks from here on follow one another to the end of a page, at which they stop: the
// last one is the arena's top, or fenceposts follow it. The first has its arena's flag
// (CHUNK_NON_MAIN or 0); of the others only those that are in use have it.
static bool chunk_chain(const struct chunk *chunk, uintptr_t end, size_t flag)
{
    uintptr_t at = (uintptr_t)chunk;
    if ((chunk->size & CHUNK_NON_MAIN) != flag || !chunk_plausible(chunk, end)) {
        return false;
    }
    while (end - at >= sizeof(struct chunk)) {
        const struct chunk *c = (const struct chunk *)at;
        if (chunk_plausible(c, end) && (c->size & (CHUNK_MMAPPED | CHUNK_NON_MAIN) & ~flag) == 0) {
            at += chunk_size(c);
        } else if (c != chunk && chunk_fencepost(c) && at % (uintptr_t)getpagesize() != 0) {
            at += sizeof(struct chunk);
        } else {
            break;
        }
    }
    return at % (uintptr_t)getpagesize() == 0;
}

// A block that is a mapping of its own, whose neighbours may have been merged with it.
static bool glibc_mmapped(const struct chunk *chunk, const struct sv_mapping *map)
{
    uintptr_t page = (uintptr_t)getpagesize();
    uintptr_t at = (uintptr_t)chunk;
    size_t size = chunk_size(chunk);
    return (chunk->size & CHUNK_FLAGS) == CHUNK_MMAPPED && chunk_plausible(chunk, map->hi) &&
           chunk->prev_size <= at - map->lo && (at - chunk->prev_size) % page == 0 &&
           (at + size) % page == 0;
}

static bool mapping_private(const struct sv_mapping *map)
{
    uint32_t want = SV_MAP_READ | SV_MAP_WRITE;
    uint32_t never = SV_MAP_SHARED | SV_MAP_FILE | SV_MAP_STACK | SV_MAP_KERNEL;
    return (map->flags & (want | never)) == want;
}

// The record of the heap that holds `at`, or NULL when there is none that can be read.
static const struct heap_record *heap_find(const struct sv_maps *maps, uintptr_t at)
{
    uintptr_t lo = at & ~(HEAP_ALIGN - 1);
    const struct sv_mapping *map = sv_maps_find(maps, lo);
    if (map == NULL || !mapping_private(map) || map->hi - lo < sizeof(struct heap_record)) {
        return NULL;
    }
    const struct heap_record *heap = (const struct heap_record *)lo;
    uintptr_t page = (uintptr_t)getpagesize();
    bool ok = heap->size <= HEAP_ALIGN && heap->size % page == 0 && at - lo < heap->size &&
              heap->size <= heap->mprotect_size && heap->mprotect_size <= map->hi - lo &&
              heap->prev % HEAP_ALIGN == 0 && heap->arena % 8 == 0;
    return ok ? heap : NULL;
}

// The arena's record lies in the first heap of the arena, just behind that heap's own record.
static bool glibc_arena(const struct sv_maps *maps, const struct chunk *chunk)
{
    const struct heap_record *heap = heap_find(maps, (uintptr_t)chunk);
    if (heap == NULL) {
        return false;
    }
    const struct heap_record *first = heap_find(maps, heap->arena);
    return first != NULL && first->arena == heap->arena && first->prev == 0 &&
           heap->arena - (uintptr_t)first <= 2 * sizeof(struct heap_record) &&
           chunk_chain(chunk, (uintptr_t)heap + heap->size, CHUNK_NON_MAIN);
}

static bool glibc_owns(const struct sv_maps *maps, const struct sv_mapping *map, uintptr_t p)
{
    if (p % CHUNK_ALIGN != 0 || !mapping_private(map) || p - map->lo < sizeof(struct chunk)) {
        return false;
    }
    const struct chunk *chunk = chunk_of(p);
    if ((chunk->size & CHUNK_MMAPPED) != 0) {
        return glibc_mmapped(chunk, map);
    }
    if ((chunk->size & CHUNK_NON_MAIN) != 0) {
        return glibc_arena(maps, chunk);
    }
    return chunk_plausible(chunk, map->hi) && chunk_chain(chunk, map->hi, 0);
}

// ---- ld.so and the other objects ----------------------------------------------------------------

// The bytes of an object whose ELF header lies at `base`, up to the end of its last page.
static uintptr_t object_end(uintptr_t base)
{
    const ElfW(Ehdr) *header = (const ElfW(Ehdr) *)base;
    const ElfW(Phdr) *phdr = (const ElfW(Phdr) *)(base + header->e_phoff);
    uintptr_t page = (uintptr_t)getpagesize();
    uintptr_t end = base;
    for (int i = 0; i < header->e_phnum; i++) {
        uintptr_t hi = base + phdr[i].p_vaddr + phdr[i].p_memsz;
        if (phdr[i].p_type == PT_LOAD && hi > end) {
            end = hi;
        }
    }
    return (end + page - 1) & ~(page - 1);
}

static bool ldso_owns(const struct sv_mapping *map)
{
    uintptr_t base = _r_debug.r_ldbase;
    if (base == 0 || (map->flags & SV_MAP_WRITE) == 0) {
        return false;
    }
    uintptr_t end = object_end(base);
    return map->lo >= base && map->lo <= end;
}

// bss is an anonymous mapping right behind the pages of its object's file.
static bool mapping_bss(const struct sv_maps *maps, const struct sv_mapping *map)
{
    return map > maps->v && map[-1].hi == map->lo && (map[-1].flags & SV_MAP_FILE) != 0 &&
           (map->flags & (SV_MAP_SHARED | SV_MAP_BRK)) == 0;
}

static bool mapping_stack(const struct sv_mapping *map)
{
    uintptr_t sp = (uintptr_t)__builtin_frame_address(0);
    return (map->flags & SV_MAP_STACK) != 0 || (sp >= map->lo && sp < map->hi);
}

static enum sv_foreign foreign_classify_in(const struct sv_maps *maps, uintptr_t p)
{
    const struct sv_mapping *map = sv_maps_find(maps, p);
    if (map == NULL) {
        return SV_FOREIGN_UNMAPPED;
    }
    if (ldso_owns(map)) {
        return SV_FOREIGN_LDSO;
    }
    if (mapping_stack(map)) {
        return SV_FOREIGN_STACK;
    }
    if ((map->flags & SV_MAP_FILE) != 0) {
        return SV_FOREIGN_GLOBAL;
    }
    if (glibc_owns(maps, map, p)) {
        return SV_FOREIGN_GLIBC;
    }
    return mapping_bss(maps, map) ? SV_FOREIGN_GLOBAL : SV_FOREIGN_MAPPING;
}

enum sv_foreign sv_foreign_classify(const void *p)
{
    int saved = errno;
    enum sv_foreign result = SV_FOREIGN_UNMAPPED;
    struct sv_maps maps = {0};
    int procfd = sv_proc_open();
    if (procfd >= 0) {
        if (sv_maps_read(&maps, procfd) == 0) {
            result = foreign_classify_in(&maps, (uintptr_t)p);
        }
        sv_maps_free(&maps);
        close(procfd);
    }
    errno = saved;
    return result;
}

size_t sv_foreign_usable(const void *p)
{
    const struct chunk *chunk = chunk_of((uintptr_t)p);
    bool mmapped = (chunk->size & CHUNK_MMAPPED) != 0;
    return chunk_size(chunk) - (mmapped ? sizeof(struct chunk) : sizeof(size_t));
}
