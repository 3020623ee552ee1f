// GC_do_blocking, GC_call_with_gc_active, GC_call_with_stack_base, stack bottoms.
#include "check.h"

#define N 100

static int step;

static void *inside(void *data)
{
    step++;
    return (char *)data + 1;
}

TEST(values)
{
    char text[4];
    is("blocking", GC_do_blocking(inside, text) == text + 1);
    is("active", GC_call_with_gc_active(inside, text) == text + 1);
    is("locked", GC_call_with_alloc_lock(inside, text) == text + 1);
    number("steps", step);
}

static void *allocate(void *data)
{
    for (int i = 0; i < 20000; i++)
        if (!GC_malloc(100))
            abort();
    GC_gcollect();
    return data;
}

static void *nested(void *data)
{
    return GC_call_with_gc_active(allocate, data);
}

static void *twice(void *data)
{
    return GC_do_blocking(nested, data);
}

// What the stack held before the thread blocked is kept while it is active again and collects.
TEST(nested_active)
{
    struct herd h = herd_new(N);
    void *volatile local[N];
    for (int i = 0; i < N; i++)
        herd_put(h, i, local[i] = GC_malloc(40));
    for (int i = 0; i < 5; i++)
        GC_do_blocking(nested, NULL);
    say("kept", "%s", share(herd_left(h), N));
    GC_do_blocking(nested, twice(NULL));
    GC_call_with_gc_active(twice, NULL);
    say("kept_deeper", "%s", share(herd_left(h), N));
    for (int i = 0; i < N; i++)
        local[i] = NULL;
}

// A thread in a blocking region holds nobody up, and what it had is kept.
static int pipes[2][2];
static struct herd far;

static void *wait_for_word(void *data)
{
    char c = 0;
    if (write(pipes[0][1], "x", 1) != 1 || read(pipes[1][0], &c, 1) != 1)
        abort();
    return data;
}

static void *sleeper(void *data)
{
    void *volatile local[N];
    for (int i = 0; i < N; i++)
        herd_put(far, i, local[i] = GC_malloc(40));
    GC_do_blocking(wait_for_word, NULL);
    for (int i = 0; i < N; i++)
        memset(local[i], 7, 40);
    return data;
}

TEST(other_thread)
{
    pthread_t t;
    char c = 0;
    far = herd_new(N);
    if (pipe(pipes[0]) || pipe(pipes[1]))
        abort();
    number("create", GC_pthread_create(&t, NULL, sleeper, &step));
    if (read(pipes[0][0], &c, 1) != 1)
        abort();
    say("kept", "%s", herd_share(far));
    if (write(pipes[1][1], "x", 1) != 1)
        abort();
    void *value = NULL;
    number("join", GC_pthread_join(t, &value));
    is("value", value == &step);
    say("later", "%s", herd_share(far));
}

static void *based(struct GC_stack_base *base, void *data)
{
    long here = 0;
    is("below", (uintptr_t)base->mem_base > (uintptr_t)&here);
    return data;
}

TEST(stack_base)
{
    struct GC_stack_base base = {0};
    long here = 0;
    is("call_value", GC_call_with_stack_base(based, &here) == &here);
    number("get", GC_get_stack_base(&base));
    is("above", (uintptr_t)base.mem_base > (uintptr_t)&here);
    struct GC_stack_base mine = {0};
    is("handle", GC_get_my_stackbottom(&mine) != NULL);
    is("bottom", (uintptr_t)mine.mem_base > (uintptr_t)&here);
    is("variable", (uintptr_t)GC_stackbottom > (uintptr_t)&here);
}

TEST(set_stackbottom)
{
    struct GC_stack_base mine = {0};
    void *handle = GC_get_my_stackbottom(&mine);
    struct herd h = herd_new(N);
    void *volatile local[N];
    for (int i = 0; i < N; i++)
        herd_put(h, i, local[i] = GC_malloc(40));
    GC_set_stackbottom(handle, &mine);
    GC_set_stackbottom(NULL, &mine);
    GC_gcollect();
    say("kept", "%s", share(herd_left(h), N));
    for (int i = 0; i < N; i++)
        local[i] = NULL;
}
