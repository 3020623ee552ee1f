// Toggle references: the callback says of each object whether it is held.
#include "check.h"

#define N 300

struct peer {
    long state; // 0: drop, 1: strong, 2: weak
    long number;
};

static long asked;

static GC_ToggleRefStatus decide(void *object)
{
    struct peer *p = object;
    asked++;
    return p->state == 0   ? GC_TOGGLE_REF_DROP
           : p->state == 1 ? GC_TOGGLE_REF_STRONG
                           : GC_TOGGLE_REF_WEAK;
}

NOINLINE static void make(struct herd h, long state, int strong)
{
    for (long i = 0; i < h.n; i++) {
        struct peer *p = GC_malloc(sizeof *p);
        p->state = state;
        p->number = i;
        if (GC_toggleref_add(p, strong) != GC_SUCCESS)
            abort();
        herd_put(h, i, p);
    }
}

NOINLINE static void change(struct herd h, long state)
{
    for (long i = 0; i < h.n; i++)
        if (h.slot[i])
            ((struct peer *)h.slot[i])->state = state;
}

TEST(strong)
{
    struct herd h = herd_new(N);
    is("none", GC_get_toggleref_func() == NULL);
    GC_set_toggleref_func(decide);
    is("set", GC_get_toggleref_func() == decide);
    make(h, 1, 1);
    say("kept", "%s", herd_share(h));
    is("asked", asked > 0);
    change(h, 2);
    say("weak", "%s", herd_share(h));
}

TEST(dropped)
{
    struct herd h = herd_new(N);
    GC_set_toggleref_func(decide);
    make(h, 0, 1);
    say("left", "%s", herd_share(h));
}

TEST(weak)
{
    struct herd h = herd_new(N);
    GC_set_toggleref_func(decide);
    make(h, 2, 0);
    say("left", "%s", herd_share(h));
}

// Weak, until the callback changes its mind.
TEST(weak_to_strong)
{
    struct herd h = herd_new(N);
    GC_set_toggleref_func(decide);
    make(h, 1, 0);
    say("left", "%s", herd_share(h));
    change(h, 0);
    say("left_later", "%s", herd_share(h));
}
