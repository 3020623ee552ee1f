// glibc's functions that describe or tune malloc, answered for this heap.
//
// Programs read them to log their memory, to decide when to give some back, and in tests; glibc's
// own answers would describe its empty arena. What has no counterpart here reads as 0: there are no
// fast bins, and large objects are part of the heap and not mappings of their own. arena counts the
// pages that serve objects; free pages that are kept for reuse belong to nobody and aren't counted.
#include "export.h"
#include "scavenge.h"
#include "stats.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>

// mallinfo is marked deprecated for its int fields, but programs call it.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

SV_EXPORT struct mallinfo2 mallinfo2(void)
{
    struct sv_stats_read stats;
    sv_stats_read(&stats);
    // Counters are read one after the other while other threads allocate.
    size_t live = stats.heap_live < stats.heap_mapped ? stats.heap_live : stats.heap_mapped;
    return (struct mallinfo2){
        .arena = stats.heap_mapped,
        .uordblks = live,
        .fordblks = stats.heap_mapped - live,
    };
}

// glibc lets the fields wrap; the largest int is nearer to the truth.
static int clip(size_t n)
{
    return n < INT_MAX ? (int)n : INT_MAX;
}

SV_EXPORT struct mallinfo mallinfo(void)
{
    struct mallinfo2 info = mallinfo2();
    return (struct mallinfo){
        .arena = clip(info.arena),
        .uordblks = clip(info.uordblks),
        .fordblks = clip(info.fordblks),
    };
}

static void info_sizes(FILE *file, const struct mallinfo2 *info)
{
    fprintf(file,
            "<total type=\"fast\" count=\"0\" size=\"0\"/>\n"
            "<total type=\"rest\" count=\"%d\" size=\"%zu\"/>\n",
            info->fordblks != 0, info->fordblks);
}

static void info_system(FILE *file, const struct mallinfo2 *info)
{
    fprintf(file,
            "<system type=\"current\" size=\"%zu\"/>\n"
            "<system type=\"max\" size=\"%zu\"/>\n"
            "<aspace type=\"total\" size=\"%zu\"/>\n"
            "<aspace type=\"mprotect\" size=\"%zu\"/>\n",
            info->arena, info->arena, info->arena, info->arena);
}

// One heap, in glibc's format. The free memory is reported as one block, for its parts aren't
// counted.
SV_EXPORT int malloc_info(int options, FILE *file)
{
    if (options != 0) {
        return EINVAL;
    }
    struct mallinfo2 info = mallinfo2();
    fputs("<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n</sizes>\n", file);
    info_sizes(file, &info);
    info_system(file, &info);
    fputs("</heap>\n", file);
    info_sizes(file, &info);
    fputs("<total type=\"mmap\" count=\"0\" size=\"0\"/>\n", file);
    info_system(file, &info);
    fputs("</malloc>\n", file);
    return 0;
}

SV_EXPORT void malloc_stats(void)
{
    struct mallinfo2 info = mallinfo2();
    flockfile(stderr);
    fprintf(stderr,
            "Arena 0:\n"
            "system bytes     = %10zu\n"
            "in use bytes     = %10zu\n"
            "Total (incl. mmap):\n"
            "system bytes     = %10zu\n"
            "in use bytes     = %10zu\n"
            "max mmap regions = %10u\n"
            "max mmap bytes   = %10lu\n",
            info.arena, info.uordblks, info.arena, info.uordblks, 0u, 0ul);
    funlockfile(stderr);
}

// Gives back every free page; there is no top of the heap of which `pad` could be kept. Returns 1
// when memory went to the kernel, else 0.
SV_EXPORT int malloc_trim(size_t pad)
{
    (void)pad;
    return sv_scavenge_all() != 0;
}

// Every setting of glibc's is accepted and has no effect: thresholds, arenas and fast bins don't
// exist here, and what replaces them adapts by itself. Returns what glibc does: 1, also for a
// parameter that it doesn't know, and 0 for a largest fast size beyond glibc's limit.
SV_EXPORT int mallopt(int param, int value)
{
    const int mxfast_max = 80 * sizeof(size_t) / 4;
    return param != M_MXFAST || (value >= 0 && value <= mxfast_max);
}

// The C library's other name for it, which its headers don't declare.
SV_EXPORT int __libc_mallopt(int param, int value);

int __libc_mallopt(int param, int value)
{
    return mallopt(param, value);
}
