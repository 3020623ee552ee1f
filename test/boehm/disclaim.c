// Disclaim procedures and GC_finalized_malloc.
#include "check.h"

#include <gc/gc_disclaim.h>

#define N 400

static long called, wrong;

static void closed(void *object, void *data)
{
    called++;
    wrong += data != &called || *(long *)object != 42;
}

static const struct GC_finalizer_closure closure = {closed, &called};
void *held[N];

NOINLINE static void make(size_t size)
{
    for (int i = 0; i < N; i++) {
        long *p = GC_finalized_malloc(size, &closure);
        if (!zero(p, size))
            abort();
        *p = 42;
    }
}

NOINLINE static void make_held(void)
{
    for (int i = 0; i < N; i++) {
        held[i] = GC_finalized_malloc(40, &closure);
        *(long *)held[i] = 42;
    }
}

// Objects are disclaimed when their memory is swept, which may be by later allocation.
static void churn(size_t size)
{
    for (int i = 0; i < 20 * N; i++)
        if (!GC_malloc(size))
            abort();
    collect();
}

TEST(finalized_small)
{
    GC_init_finalized_malloc();
    make(40);
    collect();
    churn(40);
    say("called", "%s", share(called, N));
    number("wrong", wrong);
}

TEST(finalized_large)
{
    GC_init_finalized_malloc();
    make(10000);
    collect();
    churn(1000);
    say("called", "%s", share(called, N));
    number("wrong", wrong);
}

TEST(finalized_kept)
{
    GC_init_finalized_malloc();
    make_held();
    collect();
    churn(40);
    number("called", called);
    memset(held, 0, sizeof held);
    collect();
    churn(40);
    say("called_later", "%s", share(called, N));
    number("wrong", wrong);
}

// What it points to is there when it is called.
struct linked {
    long number;
    struct linked *to;
};

static void follow(void *object, void *data)
{
    struct linked *p = object;
    called++;
    wrong += !p->to || p->to->number != p->number + 1;
    (void)data;
}

static const struct GC_finalizer_closure following = {follow, NULL};

NOINLINE static void follow_make(void)
{
    for (int i = 0; i < N; i++) {
        struct linked *p = GC_finalized_malloc(sizeof *p, &following);
        p->number = i;
        p->to = GC_malloc(sizeof *p);
        p->to->number = i + 1;
    }
}

TEST(finalized_contents)
{
    GC_init_finalized_malloc();
    follow_make();
    collect();
    churn(24);
    say("called", "%s", share(called, N));
    number("wrong", wrong);
}

// What they point to moves between them while collections run, also into those that are dropped
// already.
struct box {
    GC_word *inner;
    GC_word number;
};

enum { BOXES = 64, MOVES = 100000, VALUE = 0xfeed };

static struct box *boxes[BOXES];

static void box_end(void *object, void *data)
{
    struct box *b = object;
    (void)data;
    called++;
    wrong += !b->inner || *b->inner != VALUE;
}

static const struct GC_finalizer_closure box_closure = {box_end, NULL};

static void box_make(unsigned i)
{
    struct box *b = GC_finalized_malloc(sizeof *b, &box_closure);
    GC_word *inner = GC_malloc(3 * sizeof *inner);
    *inner = VALUE;
    b->inner = inner;
    boxes[i] = b;
}

static void box_swap(struct box *a, struct box *b)
{
    GC_word *inner = a->inner;
    a->inner = b->inner;
    b->inner = inner;
}

NOINLINE static long boxes_move(void)
{
    GC_word state = 88172645463325252u;
    long dropped = 0;
    for (long k = 0; k < MOVES; k++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        unsigned i = state >> 20 & (BOXES - 1), j = state >> 30 & (BOXES - 1);
        if (!boxes[i] || !boxes[j]) {
            box_make(boxes[i] ? j : i);
            continue;
        }
        struct box *b = boxes[i];
        if (state >> 40 & 1) {
            boxes[i] = NULL;
            dropped++;
        }
        if (b != boxes[j] && boxes[j])
            box_swap(b, boxes[j]);
    }
    return dropped;
}

TEST(finalized_moves)
{
    GC_init_finalized_malloc();
    long dropped = boxes_move();
    collect();
    churn(16);
    say("called", "%s", share(called, dropped));
    number("wrong", wrong);
}

// A kind of one's own, whose objects are refused once.
static int refuse(void *object)
{
    GC_word *p = object;
    if (p[0] != 0xbeef && p[0] != 0xbef0)
        return 0; // on a free list
    called++;
    return p[0]++ == 0xbeef;
}

NOINLINE static void refuse_make(unsigned kind, struct herd inner)
{
    for (long i = 0; i < inner.n; i++) {
        GC_word *p = GC_generic_malloc(48, (int)kind);
        p[1] = (GC_word)GC_malloc(24);
        herd_put(inner, i, (void *)p[1]);
        p[0] = 0xbeef;
    }
}

TEST(refused)
{
    struct herd inner = herd_new(N);
    unsigned kind = GC_new_kind(GC_new_free_list(), 0, 1, 1);
    GC_register_disclaim_proc((int)kind, refuse, 1);
    refuse_make(kind, inner);
    for (int i = 0; i < 6; i++) {
        collect();
        churn(48);
    }
    say("called", "%s", share(called, 2 * N));
    say("inner", "%s", herd_share(inner));
}

// GC_free asks nobody.
TEST(freed)
{
    unsigned kind = GC_new_kind(GC_new_free_list(), 0, 1, 1);
    GC_register_disclaim_proc((int)kind, refuse, 0);
    for (int i = 0; i < N; i++) {
        GC_word *p = GC_generic_malloc(48, (int)kind);
        p[0] = 0xbeef;
        GC_free(p);
    }
    number("called", called);
}
