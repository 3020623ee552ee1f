// Numbers, and the heap's state as text.
//
// Heap size is what the collector holds of the kernel's memory for objects: pages in use and free
// ones that were not given back. What was, counts as unmapped, measured from the most that there
// ever was. GC_expand_hp's bytes count as if they were there and free. Numbers that are counted up
// are those of core/stats.h; a cycle's end takes down what they were (sv_info_commit), and the rest
// is differences.
#define GC_BUILD
#include <string.h>

#include "boehm.h"
#include "heap.h"
#include "metadata.h"
#include "pagemap.h"
#include "sizeclass.h"
#include "span.h"
#include "stats.h"
#include "unlisted.h"

#define SIZE_MAP_MAX 2048 // bdwgc's largest small object

void *GC_least_plausible_heap_addr = (void *)~(uintptr_t)0;
void *GC_greatest_plausible_heap_addr;

__thread size_t sv_info_freed_here;

static struct {
    _Atomic uint64_t freed;  // anyone: bytes that GC_free gave back
    _Atomic uint64_t peak;   // anyone: bytes of the heap, the most that was seen
    uint64_t allocated_then; // held: when the last cycle ended; likewise the next two
    uint64_t freed_then;     //
    uint64_t reclaimed_then; //
    _Atomic bool measured;   // GC_start_performance_measurement
    uint64_t measured_from;  // by whoever called it last
} info;

struct sizes { // bytes
    size_t heap, free, unmapped, since, total;
};

static uint64_t read_relaxed(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static uint64_t allocated(void)
{
    return read_relaxed(&sv_heap.allocated);
}

static uint64_t freed(void)
{
    return read_relaxed(&info.freed) + sv_info_freed_here;
}

static uint64_t peak_note(uint64_t mapped)
{
    uint64_t peak = read_relaxed(&info.peak);
    while (mapped > peak &&
           !atomic_compare_exchange_weak_explicit(&info.peak, &peak, mapped, memory_order_relaxed,
                                                  memory_order_relaxed))
        ;
    return mapped > peak ? mapped : peak;
}

static uint64_t below(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

// Lock held, or not to be exact.
static struct sizes sizes_now(void)
{
    uint64_t mapped = sv_heap_mapped_unreleased(), expanded = sv_control_expanded();
    uint64_t live = below(read_relaxed(&sv_heap.live), mapped);
    struct sizes now = {.heap = mapped, .free = mapped - live, .total = allocated()};
    now.unmapped = peak_note(mapped) - mapped;
    now.since =
        now.total - below(__atomic_load_n(&info.allocated_then, __ATOMIC_RELAXED), now.total);
    if (expanded > mapped) {
        now.heap += expanded - mapped;
        now.free += expanded - mapped;
        now.unmapped -= below(now.unmapped, expanded - mapped);
    }
    return now;
}

void sv_info_commit(void)
{
    peak_note(sv_heap_mapped_unreleased());
    info.allocated_then = allocated();
    info.freed_then = freed();
    info.reclaimed_then = read_relaxed(&sv_heap.reclaimed);
}

void sv_info_freed_tell(void)
{
    atomic_fetch_add_explicit(&info.freed, sv_info_freed_here, memory_order_relaxed);
    sv_info_freed_here = 0;
}

// ---- numbers ------------------------------------------------------------------------------------

GC_word GC_get_gc_no(void)
{
    return __atomic_load_n(&GC_gc_no, __ATOMIC_RELAXED);
}

size_t GC_get_heap_size(void)
{
    return sizes_now().heap;
}

size_t GC_get_free_bytes(void)
{
    return sizes_now().free;
}

size_t GC_get_unmapped_bytes(void)
{
    return sizes_now().unmapped;
}

size_t GC_get_bytes_since_gc(void)
{
    return sizes_now().since;
}

size_t GC_get_expl_freed_bytes_since_gc(void)
{
    uint64_t now = freed();
    return now - below(__atomic_load_n(&info.freed_then, __ATOMIC_RELAXED), now);
}

size_t GC_get_total_bytes(void)
{
    return sizes_now().total;
}

size_t GC_get_memory_use(void)
{
    struct sizes now = sizes_now();
    return now.heap - now.free;
}

size_t GC_get_obtained_from_os_bytes(void)
{
    struct sizes now = sizes_now();
    return now.heap + now.unmapped + sv_metadata_bytes();
}

void GC_get_heap_usage_safe(GC_word *heap, GC_word *free_bytes, GC_word *unmapped, GC_word *since,
                            GC_word *total)
{
    sv_boehm_lock();
    struct sizes now = sizes_now();
    sv_boehm_unlock();
    GC_word *to[5] = {heap, free_bytes, unmapped, since, total};
    GC_word from[5] = {now.heap, now.free, now.unmapped, now.since, now.total};
    for (unsigned i = 0; i < 5; i++)
        if (to[i])
            *to[i] = from[i];
}

size_t GC_get_prof_stats_unsafe(struct GC_prof_stats_s *out, size_t bytes)
{
    struct sizes now = sizes_now();
    uint64_t reclaimed = read_relaxed(&sv_heap.reclaimed);
    struct GC_prof_stats_s known = {
        .heapsize_full = now.heap + now.unmapped,
        .free_bytes_full = now.free + now.unmapped,
        .unmapped_bytes = now.unmapped,
        .bytes_allocd_since_gc = now.since,
        .allocd_bytes_before_gc = now.total - now.since,
        .non_gc_bytes = GC_get_non_gc_bytes(),
        .gc_no = GC_get_gc_no(),
        .markers_m1 = (GC_word)GC_get_parallel(),
        .bytes_reclaimed_since_gc = reclaimed - below(info.reclaimed_then, reclaimed),
        .reclaimed_bytes_before_gc = info.reclaimed_then,
        .expl_freed_bytes_since_gc = GC_get_expl_freed_bytes_since_gc(),
        .obtained_from_os_bytes = GC_get_obtained_from_os_bytes(),
    };
    size_t n = bytes < sizeof known ? bytes : sizeof known;
    memcpy(out, &known, n);
    memset((char *)out + n, 0xff, bytes - n);
    return n;
}

size_t GC_get_prof_stats(struct GC_prof_stats_s *out, size_t bytes)
{
    sv_boehm_lock();
    size_t n = GC_get_prof_stats_unsafe(out, bytes);
    sv_boehm_unlock();
    return n;
}

size_t GC_get_size_map_at(int i)
{
    if (i < 0 || i > SIZE_MAP_MAX)
        return (size_t)-1;
    return sv_classes[sv_sizeclass((size_t)i)].size;
}

// Of all threads: markers, and the program standing still.
static uint64_t collecting_ns(void)
{
    struct sv_stats_read now;
    sv_stats_read(&now);
    return now.cpu[SV_CPU_BACKGROUND] + now.cpu[SV_CPU_IDLE] + now.cpu[SV_CPU_ASSIST] +
           now.pause_total;
}

void GC_start_performance_measurement(void)
{
    info.measured_from = collecting_ns();
    atomic_store_explicit(&info.measured, true, memory_order_release);
}

unsigned long GC_get_full_gc_total_time(void)
{
    // acquire: measured_from is there
    if (!atomic_load_explicit(&info.measured, memory_order_acquire))
        return 0;
    return (collecting_ns() - info.measured_from) / 1000000;
}

// ---- text ---------------------------------------------------------------------------------------

static const char *const kind_name[] = {"normal", "pointer-free", "typed"};

struct use {
    unsigned long spans, objects, pages;
};

// Spans stay where they are while the heap's lock is held.
static void spans_each(void (*fn)(struct sv_span *span, uint32_t page, void *arg), void *arg)
{
    sv_lock_acquire(&sv_heap.lock);
    for (uint32_t page = 1; page < sv_heap.grown;) {
        if (!sv_pagemap_get(page)) {
            page++;
            continue;
        }
        struct sv_span *span = sv_span_at(page);
        fn(span, page, arg);
        page += span->npages;
    }
    sv_lock_release(&sv_heap.lock);
}

static void use_count(struct sv_span *span, uint32_t page, void *arg)
{
    struct use *use = (struct use *)arg + span->code;
    (void)page;
    use->spans++;
    use->pages += span->npages;
    use->objects += sv_span_used(span);
}

void GC_dump_regions(void)
{
    static const struct use none;
    struct use use[SV_NCODE];
    for (unsigned code = 0; code < SV_NCODE; code++)
        use[code] = none;
    sv_boehm_init();
    spans_each(use_count, use);
    GC_printf("From %p to %p\n", (void *)sv_heap.base,
              (void *)sv_page_addr(__atomic_load_n(&sv_heap.grown, __ATOMIC_RELAXED)));
    GC_printf("kind, object size (0: large), spans, objects, KiB\n");
    for (unsigned code = 0; code < SV_NCODE; code++)
        if (use[code].spans)
            GC_printf("%s, %u, %lu, %lu, %lu\n", kind_name[sv_code_kind(code)],
                      (unsigned)sv_classes[sv_code_class(code)].size, use[code].spans,
                      use[code].objects, use[code].pages << (SV_PAGE_SHIFT - 10));
}

void GC_dump_named(const char *name)
{
    struct sv_stats_read now;
    struct sizes sizes = sizes_now();
    sv_stats_read(&now);
    if (name)
        GC_printf("***GC Dump %s\n", name);
    else
        GC_printf("***GC Dump collection #%lu\n", (unsigned long)GC_get_gc_no());
    GC_printf("\n***Heap:\n");
    GC_printf("Total heap size: %zu (%zu unmapped)\n", sizes.heap, sizes.unmapped);
    GC_printf("In use: %zu, free: %zu\n", sizes.heap - sizes.free, sizes.free);
    GC_printf("Allocated: %zu, %zu of it since the last collection\n", sizes.total, sizes.since);
    GC_printf("Collector's own: %lu\n", (unsigned long)now.metadata);
    GC_printf("\n***Heap sections:\n");
    GC_dump_regions();
    GC_printf("\n***Collections: %lu, longest stop %lu us\n", (unsigned long)now.cycles,
              (unsigned long)(now.pause_max / 1000));
}

void GC_dump(void)
{
    GC_dump_named(NULL);
}

// ---- objects ------------------------------------------------------------------------------------

struct walk {
    GC_reachable_object_proc fn;
    void *arg;
};

// What the last cycle left and what was made since, without slots that were freed and wait to be
// used again.
static void objects_walk(struct sv_span *span, uint32_t page, void *arg)
{
    const struct walk *walk = arg;
    size_t size = sv_span_slot_size(span);
    bool swept = __atomic_load_n(&span->sweepgen, __ATOMIC_RELAXED) ==
                 atomic_load_explicit(&sv_heap.sweepgen, memory_order_relaxed);
    for (unsigned w = 0; w < sv_span_words(span); w++) {
        struct sv_bits *bits = &sv_span_bits(span)[w];
        uint64_t left = atomic_load_explicit(&bits->alloc, memory_order_relaxed);
        if (!swept)
            left &= atomic_load_explicit(&bits->mark, memory_order_relaxed);
        for (; left; left &= left - 1) {
            uintptr_t at = sv_page_addr(page) + (w * 64 + (unsigned)__builtin_ctzll(left)) * size;
            if (((uintptr_t *)at)[1] != sv_heap.key)
                walk->fn((void *)at, size, walk->arg);
        }
    }
}

// The caller holds the face's lock; the function is called under the heap's too.
void GC_enumerate_reachable_objects_inner(GC_reachable_object_proc fn, void *arg)
{
    struct walk walk = {fn, arg};
    spans_each(objects_walk, &walk);
}
