// Threads: made by GC_pthread_create, or registered; their stacks hold, and they allocate at once.
#include "check.h"

#define THREADS 4
#define N 20000

struct node {
    struct node *next;
    long value;
};

static void *work(void *data)
{
    struct node *head = NULL;
    long sum = 0;
    for (long i = 0; i < N; i++) {
        struct node *n = GC_malloc(sizeof *n);
        n->value = i;
        n->next = i % 100 ? head : NULL;
        head = n;
        if (i % 100 == 99)
            for (struct node *p = head; p; p = p->next)
                sum += p->value;
        if (i % 5000 == 0)
            GC_gcollect();
    }
    return (void *)(sum == (long)N * (N - 1) / 2 ? (long)data : -1);
}

TEST(made)
{
    pthread_t t[THREADS];
    bool right = true;
    for (long i = 0; i < THREADS; i++)
        right &= GC_pthread_create(&t[i], NULL, work, (void *)i) == 0;
    for (long i = 0; i < THREADS; i++) {
        void *value = NULL;
        right &= GC_pthread_join(t[i], &value) == 0 && value == (void *)i;
    }
    is("right", right);
}

// What a thread returns is kept until it is joined.
static struct herd returned;

static void *give(void *data)
{
    long *p = GC_malloc(40);
    p[1] = (long)data;
    herd_put(returned, (long)data, p);
    return p;
}

TEST(return_value)
{
    pthread_t t[40];
    bool right = true;
    returned = herd_new(40);
    for (long i = 0; i < 40; i++)
        GC_pthread_create(&t[i], NULL, give, (void *)i);
    for (long i = 0; i < 40; i++) {
        stack_clear();
        if (i % 10 == 0)
            GC_gcollect();
        long *p = NULL;
        GC_pthread_join(t[i], (void **)&p);
        right &= p && p[1] == i;
    }
    is("right", right);
}

static void *leave(void *data)
{
    GC_pthread_exit(data);
}

TEST(exited)
{
    pthread_t t;
    void *value = NULL;
    GC_pthread_create(&t, NULL, leave, &returned);
    GC_pthread_join(t, &value);
    is("value", value == &returned);
}

static int ready[2], go[2];

static void meet(void)
{
    char c = 0;
    if (write(ready[1], "r", 1) != 1 || read(go[0], &c, 1) != 1)
        abort();
}

static void await(void)
{
    char c = 0;
    if (read(ready[0], &c, 1) != 1)
        abort();
}

static void release(void)
{
    if (write(go[1], "g", 1) != 1)
        abort();
}

static struct herd stacked;

static void *hold(void *data)
{
    void *volatile local[100];
    for (int i = 0; i < 100; i++)
        herd_put(stacked, i, local[i] = GC_malloc(40));
    meet();
    for (int i = 0; i < 100; i++)
        memset(local[i], 1, 40);
    return data;
}

static void hold_by(int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *),
                    void *(*run)(void *))
{
    pthread_t t;
    if (pipe(ready) || pipe(go))
        abort();
    stacked = herd_new(100);
    create(&t, NULL, run, NULL);
    await();
    say("kept", "%s", herd_share(stacked));
    release();
    pthread_join(t, NULL);
    say("lost", "%s", herd_share(stacked));
}

TEST(stack_kept)
{
    hold_by(GC_pthread_create, hold);
}

static void *hold_registered(void *data)
{
    struct GC_stack_base base;
    GC_get_stack_base(&base);
    number("before", GC_thread_is_registered());
    number("register", GC_register_my_thread(&base));
    number("again", GC_register_my_thread(&base));
    number("during", GC_thread_is_registered());
    hold(data);
    number("unregister", GC_unregister_my_thread());
    number("after", GC_thread_is_registered());
    return data;
}

TEST(registered)
{
    GC_allow_register_threads();
    number("main", GC_thread_is_registered());
    hold_by(pthread_create, hold_registered);
}

static void *work_registered(void *data)
{
    struct GC_stack_base base;
    GC_get_stack_base(&base);
    GC_register_my_thread(&base);
    void *value = work(data);
    GC_unregister_my_thread();
    return value;
}

TEST(registered_work)
{
    pthread_t t[THREADS];
    bool right = true;
    GC_allow_register_threads();
    for (long i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, work_registered, (void *)i);
    for (long i = 0; i < THREADS; i++) {
        void *value = NULL;
        pthread_join(t[i], &value);
        right &= value == (void *)i;
    }
    is("right", right);
}

// The structure that stands above a plain thread's frames is the argument of a call.
static void *based(struct GC_stack_base *base, void *data)
{
    number("register", GC_register_my_thread(base));
    hold(data);
    number("unregister", GC_unregister_my_thread());
    return data;
}

static void *hold_based(void *data)
{
    return GC_call_with_stack_base(based, data);
}

TEST(with_stack_base)
{
    GC_allow_register_threads();
    hold_by(pthread_create, hold_based);
}

static void *ended(void *data)
{
    for (int i = 0; i < 100; i++)
        if (!GC_malloc(100))
            abort();
    meet();
    return data;
}

TEST(detached)
{
    pthread_t t;
    if (pipe(ready) || pipe(go))
        abort();
    for (int i = 0; i < 20; i++) {
        GC_pthread_create(&t, NULL, ended, NULL);
        await();
        if (i == 0)
            number("detach", GC_pthread_detach(t));
        else
            GC_pthread_detach(t);
        GC_gcollect();
        release();
    }
    is("done", true);
}

TEST(signal_mask)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    number("block", GC_pthread_sigmask(SIG_BLOCK, &set, &old));
    number("was", sigismember(&old, SIGUSR1));
    pthread_sigmask(SIG_SETMASK, NULL, &old);
    number("is", sigismember(&old, SIGUSR1));
    number("unblock", GC_pthread_sigmask(SIG_UNBLOCK, &set, NULL));
}

static void *cancelled(void *data)
{
    for (;;) {
        if (!GC_malloc(50))
            abort();
        pthread_testcancel();
    }
    return data;
}

TEST(cancel)
{
    pthread_t t;
    void *value = NULL;
    GC_pthread_create(&t, NULL, cancelled, NULL);
    for (int i = 0; i < 10; i++)
        GC_gcollect();
    number("cancel", GC_pthread_cancel(t));
    number("join", GC_pthread_join(t, &value));
    is("value", value == PTHREAD_CANCELED);
}

// Many threads, that come and go.
static void *brief(void *data)
{
    struct node *n = NULL;
    for (int i = 0; i < 100; i++) {
        struct node *m = GC_malloc(sizeof *m);
        m->next = n;
        n = m;
    }
    return data;
}

TEST(many)
{
    for (int round = 0; round < 30; round++) {
        pthread_t t[10];
        for (int i = 0; i < 10; i++)
            if (GC_pthread_create(&t[i], NULL, brief, NULL))
                abort();
        if (round % 10 == 0)
            GC_gcollect();
        for (int i = 0; i < 10; i++)
            GC_pthread_join(t[i], NULL);
    }
    is("done", true);
}

// A collection asked for isn't lost because another thread disables them for a moment: it waits.
static _Atomic bool asked_enough;

static void *disable_often(void *data)
{
    while (!asked_enough) {
        GC_word before = GC_get_gc_no();
        GC_disable();
        GC_enable();
        while (!asked_enough && GC_get_gc_no() == before)
            sched_yield();
    }
    return data;
}

TEST(disabled_elsewhere)
{
    pthread_t t;
    unsigned had = 0;
    if (GC_pthread_create(&t, NULL, disable_often, NULL))
        abort();
    for (int i = 0; i < 200; i++) {
        GC_word before = GC_get_gc_no();
        GC_gcollect();
        had += GC_get_gc_no() != before;
    }
    asked_enough = true;
    GC_pthread_join(t, NULL);
    is("had", had > 100); // who comes in between has it refused, on either library
    GC_word before = GC_get_gc_no();
    GC_gcollect();
    is("after", GC_get_gc_no() != before);
}

TEST(library)
{
    is("opened", GC_dlopen("libm.so.6", 2) != NULL);
    is("missing", GC_dlopen("no-such-library.so", 2) == NULL);
}

TEST(signals)
{
    number("suspend", GC_get_suspend_signal());
    number("restart", GC_get_thr_restart_signal());
    GC_start_mark_threads();
    is("parallel", GC_get_parallel() >= 0);
    GC_stop_world_external();
    GC_start_world_external();
    is("goes_on", GC_malloc(10) != NULL);
}
