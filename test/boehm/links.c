// Disappearing links and long links: cleared when their object goes, moved, unregistered, counted.
#include "check.h"

#define N 500

static void *kept[N];

// Every other object is kept.
NOINLINE static void half_make(struct herd h, bool whole)
{
    for (long i = 0; i < h.n; i++) {
        void *p = GC_malloc(24);
        if (i % 2 || whole)
            kept[i] = p;
        herd_put(h, i, p);
    }
}

TEST(cleared)
{
    struct herd h = herd_new(N);
    half_make(h, false);
    collect();
    long odd = 0, even = 0;
    bool same = true;
    for (long i = 0; i < N; i++) {
        odd += i % 2 && h.slot[i];
        even += i % 2 == 0 && h.slot[i];
        same &= i % 2 == 0 || h.slot[i] == kept[i];
    }
    number("kept", odd);
    is("unchanged", same);
    say("lost", "%s", share(even, N / 2));
    memset(kept, 0, sizeof kept);
    say("lost_later", "%s", herd_share(h));
}

TEST(status)
{
    void **link = GC_malloc_atomic(32), *a = kept[0] = GC_malloc(16), *b = kept[1] = GC_malloc(16);
    kept[2] = link;
    memset(link, 0, 32);
    link[0] = a;
    number("new", GC_general_register_disappearing_link(&link[0], a));
    number("again", GC_general_register_disappearing_link(&link[0], a));
    number("other", GC_general_register_disappearing_link(&link[0], b));
    number("unregister", GC_unregister_disappearing_link(&link[0]));
    number("unregister_again", GC_unregister_disappearing_link(&link[0]));
    number("unknown", GC_unregister_disappearing_link(&link[1]));
    link[0] = a;
    link[1] = b;
    GC_general_register_disappearing_link(&link[0], a);
    GC_general_register_disappearing_link(&link[1], b);
    number("move_taken", GC_move_disappearing_link(&link[0], &link[1]));
    number("move_same", GC_move_disappearing_link(&link[0], &link[0]));
    number("move", GC_move_disappearing_link(&link[0], &link[2]));
    number("move_gone", GC_move_disappearing_link(&link[0], &link[3]));
    number("unregister_moved", GC_unregister_disappearing_link(&link[2]));
    number("odd", GC_unregister_disappearing_link((void **)((char *)link + 1)));
    is("unchanged", link[0] == a && link[1] == b && !link[2] && !link[3]);
    is("macro", GC_GENERAL_REGISTER_DISAPPEARING_LINK(&link[0], a) == 0);
}

// The link stands in the object that it goes with; here it is cleared before a finalizer looks.
static long finalized, cleared_first;

static void look(void *object, void *data)
{
    finalized++;
    cleared_first += ((void **)object)[1] == NULL;
    (void)data;
}

NOINLINE static void own_make(void)
{
    for (int i = 0; i < N; i++) {
        void **p = GC_malloc(32), *other = GC_malloc(16);
        p[0] = other;
        p[1] = other;
        GC_register_disappearing_link(&p[1]);
        GC_register_finalizer(p, look, NULL, NULL, NULL);
    }
}

TEST(within)
{
    own_make();
    collect();
    say("finalized", "%s", share(finalized, N));
    is("cleared_first", finalized == cleared_first);
}

NOINLINE static void moved_make(struct herd from, struct herd to)
{
    for (long i = 0; i < from.n; i++) {
        herd_put(from, i, GC_malloc(40));
        to.slot[i] = from.slot[i];
        if (GC_move_disappearing_link(&from.slot[i], &to.slot[i]) != GC_SUCCESS)
            abort();
    }
}

TEST(moved)
{
    struct herd from = herd_new(N), to = herd_new(N);
    moved_make(from, to);
    say("new_place", "%s", herd_share(to));
    say("old_place", "%s", herd_share(from));
}

NOINLINE static void unregistered_make(struct herd h)
{
    for (long i = 0; i < h.n; i++) {
        herd_put(h, i, GC_malloc(40));
        GC_unregister_disappearing_link(&h.slot[i]);
    }
}

TEST(unregistered)
{
    struct herd h = herd_new(N);
    unregistered_make(h);
    say("left", "%s", herd_share(h));
}

// The last object registered counts.
NOINLINE static void replaced_make(struct herd h)
{
    for (long i = 0; i < h.n; i++) {
        herd_put(h, i, GC_malloc(40));
        kept[i] = GC_malloc(40);
        herd_put(h, i, kept[i]);
    }
}

TEST(replaced)
{
    struct herd h = herd_new(N);
    replaced_make(h);
    say("left", "%s", herd_share(h));
    memset(kept, 0, sizeof kept);
    say("left_later", "%s", herd_share(h));
}

// ---- long links --------------------------------------------------------------------------------

static void *saved[N];

static void resurrect(void *object, void *data)
{
    saved[(long)data] = object;
    finalized++;
}

NOINLINE static void long_make(struct herd brief, struct herd lasting)
{
    for (long i = 0; i < brief.n; i++) {
        void *p = GC_malloc(24);
        herd_put(brief, i, p);
        lasting.slot[i] = p;
        if (GC_register_long_link(&lasting.slot[i], p) != GC_SUCCESS)
            abort();
        GC_register_finalizer_no_order(p, resurrect, (void *)i, NULL, NULL);
    }
}

TEST(long_links)
{
    struct herd brief = herd_new(N), lasting = herd_new(N);
    long_make(brief, lasting);
    collect();
    collect();
    say("finalized", "%s", share(finalized, N));
    say("brief", "%s", share(herd_left(brief), N));
    say("lasting", "%s", share(herd_left(lasting), N));
    memset(saved, 0, sizeof saved);
    say("lasting_later", "%s", herd_share(lasting));
}

NOINLINE static void plain_long_make(struct herd h)
{
    for (long i = 0; i < h.n; i++) {
        h.slot[i] = GC_malloc(24);
        GC_register_long_link(&h.slot[i], h.slot[i]);
    }
}

TEST(long_without_finalizer)
{
    struct herd h = herd_new(N);
    plain_long_make(h);
    say("left", "%s", herd_share(h));
}

TEST(long_status)
{
    void **link = GC_malloc_atomic(32), *a = kept[0] = GC_malloc(16);
    kept[1] = link;
    memset(link, 0, 32);
    link[0] = a;
    number("new", GC_register_long_link(&link[0], a));
    number("again", GC_register_long_link(&link[0], a));
    number("short_too", GC_general_register_disappearing_link(&link[0], a));
    number("move", GC_move_long_link(&link[0], &link[1]));
    number("move_gone", GC_move_long_link(&link[0], &link[2]));
    number("unregister", GC_unregister_long_link(&link[1]));
    number("unregister_again", GC_unregister_long_link(&link[1]));
    number("short_still", GC_unregister_disappearing_link(&link[0]));
}

// Many links come and go; the table follows.
TEST(throughput)
{
    void **link = GC_malloc_atomic_uncollectable(100000 * sizeof *link);
    long good = 0;
    for (long i = 0; i < 100000; i++) {
        link[i] = GC_malloc(16);
        good += GC_general_register_disappearing_link(&link[i], link[i]) == GC_SUCCESS;
    }
    number("registered", good);
    good = 0;
    for (long i = 0; i < 100000; i += 2)
        good += link[i] == NULL || GC_unregister_disappearing_link(&link[i]) == 1;
    number("unregistered", good);
    memset(kept, 0, sizeof kept);
    collect();
    long left = 0;
    for (long i = 1; i < 100000; i += 2)
        left += link[i] != NULL;
    say("left", "%s", share(left, 50000));
}
