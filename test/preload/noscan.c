// salvage_malloc_noscan: what stands in such memory keeps nothing alive, while ordinary memory
// does; and the two kinds never mix, however they are freed, resized and used again.
//
// SALVAGE: mode=collect
// SALVAGE: clobber=1,checkmark=1
// SALVAGE: stress=64,clobber=1

#include "lib/witness.h"

#define MANY 200

static void *volatile holder;
static struct witness targets[MANY];

static witness_noinline void holder_make(void *(*make)(size_t), size_t size)
{
    holder = make(size);
    WITNESS_NEED(holder != NULL, "no memory");
    memset(holder, 0, size);
}

static void targets_make(void)
{
    for (size_t i = 0; i < MANY; i++)
        witness_make(&targets[i], 320);
}

static void targets_put(void)
{
    for (size_t i = 0; i < MANY; i++)
        witness_put_of(&targets[i], (uintptr_t *)holder + i, 0);
    for (size_t i = 0; i < MANY; i++)
        witness_weigh(&targets[i]);
}

static int targets_alive(void)
{
    int n = 0;
    for (size_t i = 0; i < MANY; i++)
        n += witness_survives(&targets[i]);
    return n;
}

static void targets_kept(void)
{
    witness_collect(320);
    int n = targets_alive();
    WITNESS_NEED(n == MANY, "%d of %d objects left", n, MANY);
}

static void targets_lost(void)
{
    witness_collect(320);
    int n = targets_alive();
    WITNESS_NEED(n <= MANY / 20, "%d of %d objects kept by memory that holds no pointers", n, MANY);
}

static void scanned_case(size_t size)
{
    holder_make(malloc, size);
    targets_make();
    targets_put();
    targets_kept();
}

static void noscan_case(size_t size)
{
    holder_make(salvage_malloc_noscan, size);
    targets_make();
    targets_put();
    targets_lost();
}

static void scanned_small(void)
{
    scanned_case(2000);
}
static void noscan_small(void)
{
    noscan_case(2000);
}
static void scanned_large(void)
{
    scanned_case(1 << 20);
}
static void noscan_large(void)
{
    noscan_case(1 << 20);
}

// The memory itself lives as long as something points to it, and holds what was stored.
static void noscan_itself(void)
{
    static const size_t sizes[] = {1, 16, 100, 4000, 32768, 50000, 3 << 20};
    static unsigned char *held[sizeof sizes / sizeof sizes[0]];
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        held[i] = salvage_malloc_noscan(sizes[i]);
        WITNESS_NEED(held[i] && (uintptr_t)held[i] % 16 == 0, "noscan(%zu)", sizes[i]);
        witness_fill(held[i], sizes[i], i);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        witness_collect(sizes[i]);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        WITNESS_NEED(witness_compare(held[i], sizes[i], i) == sizes[i], "noscan(%zu) lost",
                     sizes[i]);
        free(held[i]);
        held[i] = NULL;
    }
}

static witness_noinline void noscan_drop(void)
{
    for (int i = 0; i < 2000; i++) {
        void *volatile p = salvage_malloc_noscan(512);
        memset(p, 1, 512);
    }
}

static void noscan_reclaimed(void)
{
    struct salvage_stats a, b;
    salvage_collect();
    salvage_stats(&a);
    noscan_drop();
    for (int i = 0; i < 2; i++) {
        witness_wipe();
        salvage_collect();
    }
    salvage_stats(&b);
    WITNESS_NEED(b.reclaimed - a.reclaimed >= 2000 * 512 * 95 / 100, "%lu bytes came back",
                 (unsigned long)(b.reclaimed - a.reclaimed));
}

// realloc keeps the kind: grown memory that holds no pointers holds none still.
static witness_noinline void holder_grow(size_t size)
{
    holder = realloc(holder, size);
    WITNESS_NEED(holder != NULL, "realloc");
    memset(holder, 0, size);
}

static void noscan_realloc(void)
{
    holder_make(salvage_malloc_noscan, 100);
    holder_grow(3000);
    targets_make();
    targets_put();
    targets_lost();
}

static void noscan_realloc_large(void)
{
    holder_make(salvage_malloc_noscan, 100);
    holder_grow(200000);
    holder_grow(2000000);
    targets_make();
    targets_put();
    targets_lost();
}

// Freed slots of one kind are never handed out as the other: churn both, then rely on each.
static void churned(size_t size)
{
    static void *p[1000];
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 1000; i++)
            p[i] = i & 1 ? salvage_malloc_noscan(size) : malloc(size);
        for (int i = 0; i < 1000; i++)
            free(p[(i * 7) % 1000]);
        memset(p, 0, sizeof p);
        salvage_collect();
    }
}

static void noscan_freed_then_malloc(void)
{
    static void *p[1000];
    for (int i = 0; i < 1000; i++)
        p[i] = salvage_malloc_noscan(2000);
    for (int i = 0; i < 1000; i++)
        free(p[i]);
    memset(p, 0, sizeof p);
    for (int i = 0; i < 20; i++) {
        holder_make(malloc, 2000);
        targets_make();
        targets_put();
        targets_kept();
        holder = NULL;
    }
}

static void scanned_churned(void)
{
    churned(2000);
    scanned_case(2000);
}

static void noscan_churned(void)
{
    churned(2000);
    noscan_case(2000);
}

static void large_churned(void)
{
    churned(100000);
    scanned_case(100000);
}

static void calloc_churned(void)
{
    churned(2000);
    holder = calloc(1, 2000);
    targets_make();
    targets_put();
    targets_kept();
}

#define TRIAL(name)                                                                                \
    {                                                                                              \
#name, name, NULL, WITNESS_NONE                                                            \
    }

static const struct place places[] = {
    TRIAL(scanned_small),   TRIAL(noscan_small),         TRIAL(scanned_large),
    TRIAL(noscan_large),    TRIAL(noscan_itself),        TRIAL(noscan_reclaimed),
    TRIAL(noscan_realloc),  TRIAL(noscan_realloc_large), TRIAL(noscan_freed_then_malloc),
    TRIAL(scanned_churned), TRIAL(noscan_churned),       TRIAL(large_churned),
    TRIAL(calloc_churned),
};

int main(int argc, char **argv)
{
    return place_main(argc, argv, places, sizeof places / sizeof places[0], 0);
}
