// Finalizers: four orders, data, replacement, resurrection, cycles, on demand, the notifier.
#include "check.h"

#define N 500

struct pair {
    struct pair *to, *self;
    long number;
};

static long count, again;
static long ran[2 * N]; // by number: how often
static struct pair *saved[2 * N];

static void note(void *object, void *data)
{
    struct pair *p = object;
    count++;
    ran[p->number]++;
    (void)data;
}

static void keep(void *object, void *data)
{
    struct pair *p = object;
    saved[p->number] = p;
    note(object, data);
}

typedef void (*registrar)(void *, GC_finalization_proc, void *, GC_finalization_proc *, void **);

static long ran_from(long first, long n)
{
    long sum = 0;
    for (long i = first; i < first + n; i++)
        sum += ran[i] != 0;
    return sum;
}

static bool ran_once(void)
{
    for (int i = 0; i < 2 * N; i++)
        if (ran[i] > 1)
            return false;
    return true;
}

// Without other finalizable objects all four do the same.
NOINLINE static void lone_make(registrar add)
{
    for (int i = 0; i < N; i++) {
        struct pair *p = GC_malloc(sizeof *p);
        p->number = i;
        add(p, note, NULL, NULL, NULL);
    }
}

static void lone(registrar add)
{
    lone_make(add);
    collect();
    say("ran", "%s", share(ran_from(0, N), N));
    is("once", ran_once());
}

TEST(lone_ordered)
{
    lone(GC_register_finalizer);
}
TEST(lone_ignore_self)
{
    lone(GC_register_finalizer_ignore_self);
}
TEST(lone_no_order)
{
    lone(GC_register_finalizer_no_order);
}
TEST(lone_unreachable)
{
    lone(GC_register_finalizer_unreachable);
}

// An object that points to itself.
NOINLINE static void self_make(registrar add)
{
    for (int i = 0; i < N; i++) {
        struct pair *p = GC_malloc(sizeof *p);
        p->self = p;
        p->number = i;
        add(p, note, NULL, NULL, NULL);
    }
}

static void self(registrar add)
{
    GC_set_warn_proc(GC_ignore_warn_proc);
    self_make(add);
    collect();
    say("ran", "%s", share(ran_from(0, N), N));
}

TEST(self_ordered)
{
    self(GC_register_finalizer);
}
TEST(self_ignore_self)
{
    self(GC_register_finalizer_ignore_self);
}
TEST(self_no_order)
{
    self(GC_register_finalizer_no_order);
}
TEST(self_unreachable)
{
    self(GC_register_finalizer_unreachable);
}

// Two that point to each other.
NOINLINE static void ring_make(registrar add)
{
    for (int i = 0; i < N; i++) {
        struct pair *p = GC_malloc(sizeof *p), *q = GC_malloc(sizeof *q);
        p->to = q;
        q->to = p;
        p->number = i;
        q->number = N + i;
        add(p, note, NULL, NULL, NULL);
        add(q, note, NULL, NULL, NULL);
    }
}

static void ring(registrar add)
{
    GC_set_warn_proc(GC_ignore_warn_proc);
    ring_make(add);
    collect();
    say("ran", "%s", share(ran_from(0, 2 * N), 2 * N));
}

TEST(ring_ordered)
{
    ring(GC_register_finalizer);
}
TEST(ring_ignore_self)
{
    ring(GC_register_finalizer_ignore_self);
}
TEST(ring_no_order)
{
    ring(GC_register_finalizer_no_order);
}
TEST(ring_unreachable)
{
    ring(GC_register_finalizer_unreachable);
}

// p points to q: p first, and q by a later collection; in no_order both at once. In batches, as one
// forgotten word can hold what was queued together.
#define BATCH 25

NOINLINE static void chain_make(registrar add_p, registrar add_q, int first)
{
    for (int i = first; i < first + BATCH; i++) {
        struct pair *p = GC_malloc(sizeof *p), *q = GC_malloc(sizeof *q);
        p->to = q;
        p->number = i;
        q->number = N + i;
        add_p(p, note, NULL, NULL, NULL);
        add_q(q, note, NULL, NULL, NULL);
    }
}

static void chain(registrar add_p, registrar add_q)
{
    long p = 0, q = 0;
    GC_set_finalize_on_demand(1);
    for (int first = 0; first < N; first += BATCH) {
        chain_make(add_p, add_q, first);
        stack_clear();
        GC_gcollect();
        GC_invoke_finalizers();
        p += ran_from(first, BATCH);
        q += ran_from(N + first, BATCH);
        collect();
        GC_invoke_finalizers();
    }
    collect();
    GC_invoke_finalizers();
    say("first_of_p", "%s", share(p, N));
    say("first_of_q", "%s", share(q, N));
    say("later_of_q", "%s", share(ran_from(N, N), N));
    is("once", ran_once());
}

TEST(chain_ordered)
{
    chain(GC_register_finalizer, GC_register_finalizer);
}

TEST(chain_ignore_self)
{
    chain(GC_register_finalizer_ignore_self, GC_register_finalizer_ignore_self);
}

TEST(chain_no_order)
{
    chain(GC_register_finalizer_no_order, GC_register_finalizer_no_order);
}

TEST(chain_unreachable)
{
    chain(GC_register_finalizer_unreachable, GC_register_finalizer_unreachable);
}

// The owner's order against the other's: q waits until p is gone when it asked for an order.
TEST(chain_no_order_unreachable)
{
    chain(GC_register_finalizer_no_order, GC_register_finalizer_unreachable);
}

TEST(chain_no_order_ordered)
{
    chain(GC_register_finalizer_no_order, GC_register_finalizer);
}
TEST(chain_ordered_no_order)
{
    chain(GC_register_finalizer, GC_register_finalizer_no_order);
}

TEST(chain_java_off)
{
    GC_set_java_finalization(0);
    chain(GC_register_finalizer_no_order, GC_register_finalizer_no_order);
}

// What a finalizable object points to is there when its finalizer runs.
static long intact;

static void read_far(void *object, void *data)
{
    struct pair *p = object;
    intact += p->to && p->to->to && p->to->to->number == 77 && (long)data == p->number;
    count++;
}

NOINLINE static void far_make(registrar add)
{
    for (long i = 0; i < N; i++) {
        struct pair *p = GC_malloc(sizeof *p);
        p->to = GC_malloc(sizeof *p);
        p->to->to = GC_malloc(sizeof *p);
        p->to->to->number = 77;
        p->number = i;
        add(p, read_far, (void *)i, NULL, NULL);
    }
}

TEST(contents)
{
    far_make(GC_register_finalizer);
    far_make(GC_register_finalizer_no_order);
    collect();
    say("ran", "%s", share(count, 2 * N));
    is("intact", intact == count);
}

// ---- coming back -------------------------------------------------------------------------------

static bool saved_whole(long n)
{
    for (long i = 0; i < n; i++)
        if (saved[i] && (saved[i]->number != i || !saved[i]->to || saved[i]->to->number != -i))
            return false;
    return true;
}

NOINLINE static void saved_make(void)
{
    for (int i = 0; i < N; i++) {
        struct pair *p = GC_malloc(sizeof *p);
        p->to = GC_malloc(sizeof *p);
        p->to->number = -i;
        p->number = i;
        GC_register_finalizer(p, keep, NULL, NULL, NULL);
    }
}

NOINLINE static void saved_again(void)
{
    for (int i = 0; i < N; i++) {
        if (saved[i])
            GC_register_finalizer(saved[i], note, NULL, NULL, NULL);
        saved[i] = NULL;
    }
}

TEST(resurrected)
{
    saved_make();
    collect();
    collect();
    say("ran", "%s", share(count, N));
    is("once", ran_once());
    is("whole", saved_whole(N));
    saved_again();
    count = 0;
    collect();
    say("ran_again", "%s", share(count, N));
}

// ---- registration ------------------------------------------------------------------------------

static struct pair *held;

TEST(replaced)
{
    GC_finalization_proc old = note;
    void *data = &data;
    held = GC_malloc(sizeof *held);
    GC_register_finalizer(held, note, &count, &old, &data);
    is("none_before", !old && !data);
    GC_register_finalizer_no_order(held, keep, &again, &old, &data);
    is("first_before", old == note && data == &count);
    GC_register_finalizer(held, NULL, NULL, &old, &data);
    is("second_before", old == keep && data == &again);
    old = note;
    data = &data;
    GC_register_finalizer(held, NULL, NULL, &old, &data);
    is("removed", !old && !data);
    long stack = 0;
    old = note;
    data = &data;
    GC_register_finalizer(&stack, note, NULL, &old, &data);
    is("not_heap", !old && !data);
    GC_REGISTER_FINALIZER(held, note, NULL, &old, &data);
    GC_REGISTER_FINALIZER_NO_ORDER(held, keep, NULL, &old, &data);
    is("macro", old == note);
}

NOINLINE static void removed_make(void)
{
    for (int i = 0; i < N; i++) {
        struct pair *p = GC_malloc(sizeof *p);
        GC_register_finalizer(p, note, NULL, NULL, NULL);
        GC_register_finalizer(p, NULL, NULL, NULL, NULL);
    }
}

TEST(removed)
{
    removed_make();
    collect();
    number("ran", count);
}

// What client data names is kept until the finalizer has run.
static void read_data(void *object, void *data)
{
    intact += ((struct pair *)data)->number == 5;
    count++;
    (void)object;
}

NOINLINE static void data_make(struct herd h)
{
    for (long i = 0; i < h.n; i++) {
        struct pair *d = GC_malloc(sizeof *d);
        d->number = 5;
        herd_put(h, i, d);
        struct pair *p = saved[i] = GC_malloc(sizeof *p);
        GC_register_finalizer(p, read_data, d, NULL, NULL);
    }
}

TEST(client_data)
{
    struct herd h = herd_new(N);
    data_make(h);
    say("kept", "%s", herd_share(h));
    number("none", count);
    memset(saved, 0, sizeof saved);
    collect();
    say("ran", "%s", share(count, N));
    is("intact", intact == count);
    say("left", "%s", herd_share(h));
}

NOINLINE static void reachable_make(void)
{
    for (int i = 0; i < N; i++) {
        saved[i] = GC_malloc(sizeof **saved);
        saved[i]->number = i;
        GC_register_finalizer(saved[i], note, NULL, NULL, NULL);
    }
}

TEST(reachable)
{
    reachable_make();
    collect();
    number("ran", count);
}

// ---- when they run -----------------------------------------------------------------------------

static long notified;

static void notify(void)
{
    notified++;
}

TEST(on_demand)
{
    is("off", GC_get_finalize_on_demand() == 0);
    GC_set_finalize_on_demand(1);
    GC_set_finalizer_notifier(notify);
    is("notifier", GC_get_finalizer_notifier() == notify);
    number("nothing", GC_should_invoke_finalizers());
    number("invoke_nothing", GC_invoke_finalizers());
    lone_make(GC_register_finalizer);
    collect();
    for (int i = 0; i < 20000; i++)
        if (!GC_malloc(100))
            abort();
    number("not_yet", count);
    is("notified", notified > 0);
    is("something", GC_should_invoke_finalizers() != 0);
    int n = GC_invoke_finalizers();
    is("counted", n == count);
    say("ran", "%s", share(count, N));
    number("then_nothing", GC_should_invoke_finalizers());
    number("then_none", GC_invoke_finalizers());
}

// No notifier call without on_demand.
TEST(notifier_alone)
{
    GC_set_finalizer_notifier(notify);
    lone_make(GC_register_finalizer);
    collect();
    say("ran", "%s", share(count, N));
    number("notified", notified);
}

// Finalizers that allocate, register, and collect.
static void busy(void *object, void *data)
{
    struct pair *p = object;
    count++;
    for (int i = 0; i < 20; i++)
        p->to = GC_malloc(200);
    if (p->number > 0) {
        struct pair *next = GC_malloc(sizeof *next);
        next->number = p->number - 1;
        GC_register_finalizer(next, busy, NULL, NULL, NULL);
    }
    if (p->number % 4 == 0)
        GC_gcollect();
    (void)data;
}

NOINLINE static void busy_make(void)
{
    for (int i = 0; i < 50; i++) {
        struct pair *p = GC_malloc(sizeof *p);
        p->number = 3;
        GC_register_finalizer(p, busy, NULL, NULL, NULL);
    }
}

TEST(allocating)
{
    busy_make();
    for (int i = 0; i < 6; i++)
        collect();
    say("ran", "%s", share(count, 200));
}

// They run by themselves while the program allocates.
TEST(by_allocation)
{
    lone_make(GC_register_finalizer);
    stack_clear();
    for (int i = 0; i < 3000000 && count < N / 2; i++)
        if (!GC_malloc(100))
            abort();
    is("ran", count >= N / 2);
}

static pthread_t runner;

static void where(void *object, void *data)
{
    count++;
    intact += pthread_equal(pthread_self(), runner) != 0;
    (void)object;
    (void)data;
}

NOINLINE static void where_make(void)
{
    for (int i = 0; i < N; i++)
        GC_register_finalizer(GC_malloc(16), where, NULL, NULL, NULL);
}

// On the thread that asked for the collection, and with the lock free.
TEST(own_thread)
{
    runner = pthread_self();
    where_make();
    collect();
    say("ran", "%s", share(count, N));
    is("here", intact == count);
}

static long awaited;

static void await(void *object)
{
    awaited++;
    (void)object;
}

TEST(await_proc)
{
    is("none", GC_get_await_finalize_proc() == NULL);
    GC_set_await_finalize_proc(await);
    is("set", GC_get_await_finalize_proc() == await);
    lone_make(GC_register_finalizer);
    collect();
    is("each", awaited == count);
}

// A cycle that can't be finalized is warned about.
static long warned;

static void warn(char *message, GC_word argument)
{
    warned += strstr(message, "cycle") != NULL;
    (void)argument;
}

TEST(cycle_warning)
{
    GC_set_warn_proc(warn);
    is("set", GC_get_warn_proc() == warn);
    ring_make(GC_register_finalizer);
    collect();
    is("warned", warned > 0);
    say("ran", "%s", share(count, 2 * N));
}
