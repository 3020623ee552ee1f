// What the collector says about an address: its object, the size, whether it is in the heap.
#include "check.h"

static long datum;
long *root;

TEST(base)
{
    static const size_t sizes[] = {16, 40, 200, 1000, 3000, 10000, 1000000};
    bool start = true, inside = true, end = true;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *p = GC_malloc(sizes[i]), *q = GC_malloc_atomic(sizes[i]);
        start &= GC_base(p) == p && GC_base(q) == q;
        inside &= GC_base(p + 1) == p && GC_base(p + sizes[i] / 2) == p;
        end &= GC_base(p + sizes[i] - 1) == p && GC_base(q + sizes[i] - 1) == q;
    }
    is("start", start);
    is("inside", inside);
    is("end", end);
    long here = 0;
    is("null", GC_base(NULL) == NULL);
    is("stack", GC_base(&here) == NULL);
    is("data", GC_base(&datum) == NULL);
    is("code", GC_base((void *)(uintptr_t)&GC_base) == NULL);
    is("wild", GC_base((void *)16) == NULL && GC_base((void *)UINTPTR_MAX) == NULL);
    void *libc = malloc(10);
    is("libc", GC_base(libc) == NULL || getenv("LD_PRELOAD"));
    free(libc);
}

TEST(heap_ptr)
{
    char *p = GC_malloc(100), *q = GC_malloc(500000);
    long here = 0;
    is("start", GC_is_heap_ptr(p) && GC_is_heap_ptr(q));
    is("inside", GC_is_heap_ptr(p + 50) && GC_is_heap_ptr(q + 400000));
    is("stack", GC_is_heap_ptr(&here));
    is("data", GC_is_heap_ptr(&datum));
    is("null", GC_is_heap_ptr(NULL));
}

TEST(plausible)
{
    char *p = GC_malloc(100), *q = GC_malloc(5000000);
    is("least", (uintptr_t)GC_least_plausible_heap_addr <= (uintptr_t)p &&
                    (uintptr_t)GC_least_plausible_heap_addr <= (uintptr_t)q);
    is("greatest", (uintptr_t)GC_greatest_plausible_heap_addr >= (uintptr_t)p &&
                       (uintptr_t)GC_greatest_plausible_heap_addr >= (uintptr_t)q);
    is("ordered", GC_least_plausible_heap_addr < GC_greatest_plausible_heap_addr);
}

TEST(size)
{
    bool enough = true, tight = true;
    for (size_t n = 1; n < 200000; n += n / 3 + 1) {
        void *p = GC_malloc(n);
        enough &= GC_size(p) >= n;
        tight &= GC_size(p) <= 2 * n + 8192;
    }
    is("enough", enough);
    is("tight", tight);
    size_t n = 0;
    void *p = GC_malloc(100);
    int plain = GC_get_kind_and_size(p, &n);
    is("kind_and_size", n == GC_size(p));
    is("kinds_differ", GC_get_kind_and_size(GC_malloc_atomic(100), NULL) != plain &&
                           GC_get_kind_and_size(GC_malloc_uncollectable(100), NULL) != plain);
    number("kind_plain", plain);
    number("kind_atomic", GC_get_kind_and_size(GC_malloc_atomic(100), NULL));
    number("kind_uncollectable", GC_get_kind_and_size(GC_malloc_uncollectable(100), NULL));
    number("kind_both", GC_get_kind_and_size(GC_malloc_atomic_uncollectable(100), NULL));
}

TEST(size_map)
{
    bool enough = true;
    for (int i = 1; i < 100; i++)
        enough &= GC_get_size_map_at(i) >= (size_t)i;
    is("enough", enough);
    is("outside",
       GC_get_size_map_at(1 << 20) == (size_t)-1 && GC_get_size_map_at(-1) == (size_t)-1);
}

static long complaints;

static void complain(void *p)
{
    complaints++;
    (void)p;
}

static void complain_two(void *p, void *q)
{
    complaints++;
    (void)p;
    (void)q;
}

TEST(visible)
{
    long *local = GC_malloc(16);
    root = local;
    long **inner = GC_malloc(32);
    GC_is_visible_print_proc = complain;
    is("static", GC_is_visible(&root) == &root);
    is("stack", GC_is_visible(&local) == &local);
    is("heap", GC_is_visible(inner + 2) == inner + 2);
    number("complaints", complaints);
    void **blind = GC_malloc_atomic(64);
    is("atomic", GC_is_visible(blind + 2) == blind + 2);
    number("complaints_atomic", complaints);
}

TEST(displacement)
{
    char *p = GC_malloc(100);
    GC_is_valid_displacement_print_proc = complain;
    is("start", GC_is_valid_displacement(p) == p);
    is("inside", GC_is_valid_displacement(p + 17) == p + 17);
    is("outside", GC_is_valid_displacement(&datum) == &datum);
    number("complaints", complaints);
}

TEST(same_object)
{
    char *p = GC_malloc(100), *q = GC_malloc(100);
    GC_same_obj_print_proc = complain_two;
    is("same", GC_same_obj(p + 10, p) == p + 10);
    number("complaints", complaints);
    is("other", GC_same_obj(q, p) == q);
    number("complaints_other", complaints);
    void *step = p;
    is("pre", GC_pre_incr(&step, 8) == p + 8 && step == p + 8);
    is("post", GC_post_incr(&step, 8) == p + 8 && step == p + 16);
    number("complaints_steps", complaints);
}
