// Roots: static data, added segments, the callbacks that push more.
#include "check.h"

#include <sys/mman.h>

#define N 200

void *data[N] = {&data}; // initialised
void *zeroes[N];         // not
static void **segment;

TEST(initialised)
{
    herd_hold(data, N);
}
TEST(uninitialised)
{
    herd_hold(zeroes, N);
}

static void *map(void)
{
    return mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

TEST(added)
{
    segment = map();
    GC_add_roots(segment, segment + N);
    herd_hold(segment, N);
}

TEST(added_twice)
{
    segment = map();
    GC_add_roots(segment, segment + N / 2);
    GC_add_roots(segment, segment + N);
    GC_add_roots(segment + N / 4, segment + N / 3);
    herd_hold(segment, N);
}

// Removed before the mapping goes; other roots stay.
TEST(removed)
{
    segment = map();
    GC_add_roots(segment, segment + N);
    herd_fill(herd_new(N), segment);
    GC_remove_roots(segment, segment + N);
    munmap(segment, 1 << 16);
    GC_gcollect();
    herd_hold(zeroes, N);
}

TEST(many_added)
{
    bool all = true;
    char *base = mmap(NULL, 200 << 12, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    struct herd h = herd_new(100);
    for (long i = 0; i < 100; i++) {
        void **p = (void **)(base + (i * 2 << 12));
        GC_add_roots(p, p + 4);
        herd_put(h, i, p[3] = GC_malloc(40));
    }
    collect();
    for (long i = 0; i < 100; i++)
        all &= h.slot[i] != NULL;
    is("kept", all);
}

// ---- callbacks ---------------------------------------------------------------------------------

static long pushed;
static GC_push_other_roots_proc before;

static void push(void)
{
    if (segment)
        GC_push_all(segment, segment + N);
    pushed++;
    if (before)
        before();
}

static void push_eager(void)
{
    if (segment)
        GC_push_all_eager(segment, segment + N);
    pushed++;
    if (before)
        before();
}

static void push_conditional(void)
{
    if (segment)
        GC_push_conditional(segment, segment + N, 1);
    pushed++;
    if (before)
        before();
}

static void push_by(GC_push_other_roots_proc proc)
{
    before = GC_get_push_other_roots();
    GC_set_push_other_roots(proc);
    is("set", GC_get_push_other_roots() == proc);
    segment = map();
    herd_hold(segment, N);
    is("called", pushed > 0);
}

TEST(push_all)
{
    push_by(push);
}
TEST(push_all_eager)
{
    push_by(push_eager);
}
TEST(push_all_or_dirty)
{
    push_by(push_conditional);
}

extern GC_push_other_roots_proc GC_push_other_roots;

// By the variable, as ECL does it.
TEST(push_variable)
{
    before = GC_push_other_roots;
    GC_push_other_roots = push;
    segment = map();
    herd_hold(segment, N);
    is("called", pushed > 0);
}

static long asked;

static int has_roots(const char *name, void *section, size_t size)
{
    asked++;
    (void)name;
    (void)section;
    (void)size;
    return 1;
}

TEST_RAW(static_callback)
{
    GC_register_has_static_roots_callback(has_roots);
    GC_INIT();
    GC_gcollect();
    is("asked", asked > 0);
    herd_hold(zeroes, N);
}

// Accepted, and nothing that stays in use is lost by it.
TEST(excluded)
{
    segment = map();
    GC_exclude_static_roots(segment, segment + N);
    GC_gcollect();
    herd_hold(zeroes, N);
}

TEST_RAW(no_dls)
{
    GC_set_no_dls(1);
    GC_INIT();
    number("getter", GC_get_no_dls());
    struct herd h = herd_new(N);
    segment = map();
    GC_add_roots(segment, segment + N);
    herd_fill(h, segment);
    say("kept", "%s", herd_share(h));
}

TEST(tmp_root)
{
    number("null", GC_is_tmp_root(NULL));
}

static long counted;
static size_t bytes;

static void count_one(void *object, size_t size, void *cookie)
{
    counted += GC_base(object) == object && cookie == &counted;
    bytes += size;
}

static void *count(void *arg)
{
    GC_enumerate_reachable_objects_inner(count_one, &counted);
    return arg;
}

TEST(enumerate)
{
    herd_fill(herd_new(N), zeroes);
    collect();
    GC_call_with_alloc_lock(count, NULL);
    is("objects", counted >= N);
    is("bytes", bytes >= N * 40);
}
