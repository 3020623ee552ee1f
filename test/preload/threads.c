// SALVAGE: mode=collect
// SALVAGE: stress=256,checkmark=1,clobber=1
// SALVAGE: chaos=9
// Threads as a malloc meets them: thousands of short ones, blocks that cross from one to another,
// allocation after a thread's destructors have run, cancellation, detached threads, a main thread
// that ends before the others, and collections while others allocate. Progress is by joins,
// semaphores and barriers, never by time.
#include "../../preload/include/salvage.h"
#include "check.h"

#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>

extern int __cxa_thread_atexit_impl(void (*)(void *), void *, void *);
extern void *__dso_handle;

static void thread_make(pthread_t *t, void *(*fn)(void *), void *arg)
{
    int rc = pthread_create(t, NULL, fn, arg);
    if (rc) {
        CHECK(false, "pthread_create: %s", strerror(rc));
        _exit(1);
    }
}

// ---- many, short -------------------------------------------------------------------------------

static void *short_run(void *arg)
{
    void *p[100], *out = NULL;
    uint64_t state = (uintptr_t)arg * 77 + 1;
    for (int i = 0; i < 100; i++) {
        size_t n = check_random(&state) % (i == 50 ? 40000 : 800);
        p[i] = malloc(n);
        check_fill(p[i], n < 32 ? n : 32, (unsigned)i);
    }
    for (int i = 0; i < 99; i++)
        free(p[i]);
    out = p[99]; // main frees the last one
    return out;
}

static void shorts(void)
{
    size_t warm = 0, count = check_stressed() ? 800 : 4000;
    for (size_t i = 0; i < count; i += 4) {
        pthread_t t[4];
        for (size_t k = 0; k < 4; k++)
            thread_make(&t[k], short_run, (void *)(i + k));
        for (size_t k = 0; k < 4; k++) {
            void *p = NULL;
            pthread_join(t[k], &p);
            free(p);
        }
        if (i == 200)
            warm = check_rss();
    }
    size_t end = check_rss();
    CHECK(end < warm + (8u << 20), "%zu short threads: %zu KiB more resident", count,
          (end - warm) >> 10);
}

// ---- after the destructors ---------------------------------------------------------------------

static pthread_key_t keys[40];
static _Atomic unsigned destroyed;

struct held {
    int rounds;
    char *text;
};

static struct held *held_make(int rounds)
{
    struct held *h = malloc(sizeof *h);
    h->rounds = rounds;
    h->text = strdup("held by a key");
    return h;
}

// Arms its key again until three rounds are done, with blocks that the earlier rounds allocated.
static void held_end(void *arg)
{
    struct held *h = arg;
    CHECK(!strcmp(h->text, "held by a key"), "a key's block changed: %.20s", h->text);
    atomic_fetch_add(&destroyed, 1);
    void *p = malloc(300), *q = calloc(7, 70000);
    memset(check_hide(p), 1, 300);
    q = realloc(check_hide(q), 100);
    free(p), free(q);
    if (h->rounds > 1)
        pthread_setspecific(keys[36], held_make(h->rounds - 1));
    free(h->text);
    free(h);
}

static void late_end(void *arg)
{
    char **p = arg;
    CHECK(!strcmp(*p, "late"), "a thread_local's block changed: %.20s", *p);
    free(*p);
    free(p);
    free(strdup("allocated while the thread ends"));
    atomic_fetch_add(&destroyed, 1);
}

static void *held_run(void *arg)
{
    (void)arg;
    pthread_setspecific(keys[36], held_make(3));
    char **p = malloc(sizeof *p);
    *p = strdup("late");
    __cxa_thread_atexit_impl(late_end, p, &__dso_handle);
    return NULL;
}

static void destructors(void)
{
    enum { THREADS = 200 };
    for (int i = 0; i < 40; i++)
        pthread_key_create(&keys[i], i == 36 ? held_end : NULL);
    atomic_store(&destroyed, 0);
    for (int i = 0; i < THREADS; i += 8) {
        pthread_t t[8];
        for (int k = 0; k < 8; k++)
            thread_make(&t[k], held_run, NULL);
        check_collect();
        for (int k = 0; k < 8; k++)
            pthread_join(t[k], NULL);
    }
    CHECK(atomic_load(&destroyed) == THREADS * 4, "%u destructors of %d ran",
          atomic_load(&destroyed), THREADS * 4);
    for (int i = 0; i < 40; i++)
        pthread_key_delete(keys[i]);
}

// A key made after the library's own is destroyed after it: the thread has no cache any more.
static pthread_key_t churn_key;

static void churn_end(void *arg)
{
    size_t rounds = (size_t)arg;
    void *p[64];
    for (int i = 0; i < 64; i++)
        p[i] = malloc((size_t)i * 100), check_fill(p[i], (size_t)i * 100, 1);
    for (int i = 0; i < 64; i++) {
        CHECK(check_pattern(p[i], (size_t)i * 100, (size_t)i * 100, 1),
              "allocation in a destructor is shared");
        free(p[i]);
    }
    if (rounds > 1)
        pthread_setspecific(churn_key, (void *)(rounds - 1));
}

static void *churn_run(void *arg)
{
    pthread_setspecific(churn_key, (void *)4);
    return arg; // no allocation of its own before
}

static void destructors_bare(void)
{
    pthread_key_create(&churn_key, churn_end);
    size_t warm = 0;
    for (int i = 0; i < 1000; i++) {
        pthread_t t;
        thread_make(&t, churn_run, NULL);
        pthread_join(t, NULL);
        if (i == 100)
            warm = check_rss();
    }
    CHECK(check_rss() < warm + (8u << 20), "blocks of ending threads stay: %zu KiB",
          (check_rss() - warm) >> 10);
    pthread_key_delete(churn_key);
}

// ---- across threads ----------------------------------------------------------------------------

#define RING 1024
static struct {
    void *_Atomic slot[RING];
    sem_t full, empty;
} ring;

static size_t ring_size(size_t i)
{
    return i % 97 ? (i * 37) % 700 : 50000;
}

static void *ring_take(void *arg)
{
    size_t count = (size_t)arg;
    for (size_t i = 0; i < count; i++) {
        sem_wait(&ring.full);
        void *p = atomic_load_explicit(&ring.slot[i % RING], memory_order_acquire);
        CHECK(check_pattern(p, ring_size(i), ring_size(i), (unsigned)i),
              "block %zu changed on its way", i);
        free(p);
        sem_post(&ring.empty);
    }
    return NULL;
}

static void across(void)
{
    size_t count = check_stressed() ? 30000 : 600000, warm = 0;
    pthread_t t;
    sem_init(&ring.full, 0, 0), sem_init(&ring.empty, 0, RING);
    thread_make(&t, ring_take, (void *)count);
    for (size_t i = 0; i < count; i++) {
        void *p = malloc(ring_size(i));
        check_fill(p, ring_size(i), (unsigned)i);
        while (sem_wait(&ring.empty))
            ;
        atomic_store_explicit(&ring.slot[i % RING], p, memory_order_release);
        sem_post(&ring.full);
        if (i == count / 10)
            warm = check_rss();
    }
    pthread_join(t, NULL);
    CHECK(check_rss() < warm + (32u << 20), "producer and consumer: %zu MiB more",
          (check_rss() - warm) >> 20);
}

// ---- detached, cancelled, without main ---------------------------------------------------------

static sem_t ended;

static void *detached_run(void *arg)
{
    free(strdup("detached"));
    free(arg);
    sem_post(&ended);
    return NULL;
}

static void detached(void)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, 65536);
    sem_init(&ended, 0, 0);
    for (int i = 0; i < 500; i++) {
        pthread_t t;
        int rc;
        while ((rc = pthread_create(&t, &attr, detached_run, malloc(100))) == EAGAIN)
            while (sem_wait(&ended))
                ;
        CHECK(rc == 0, "pthread_create: %s", strerror(rc));
        if (i % 16 == 15)
            check_collect();
    }
    pthread_attr_destroy(&attr);
    for (int i = 0; i < 500; i++)
        while (sem_wait(&ended))
            ;
}

static _Atomic unsigned cleaned;
static void cleanup(void *p)
{
    free(p);
    free(malloc(1000));
    atomic_fetch_add(&cleaned, 1);
}

static void *cancel_run(void *arg)
{
    sem_t *ready = arg;
    void *p = malloc(500);
    pthread_cleanup_push(cleanup, p);
    sem_post(ready);
    for (;;) {
        void *q = malloc(64);
        q = realloc(check_hide(q), 3000);
        free(q);
        pthread_testcancel();
    }
    pthread_cleanup_pop(0);
    return NULL;
}

static void cancelled(void)
{
    enum { THREADS = 100 };
    for (int i = 0; i < THREADS; i++) {
        pthread_t t;
        sem_t ready;
        void *out = NULL;
        sem_init(&ready, 0, 0);
        thread_make(&t, cancel_run, &ready);
        while (sem_wait(&ready))
            ;
        if (i % 10 == 0)
            check_collect();
        pthread_cancel(t);
        pthread_join(t, &out);
        CHECK(out == PTHREAD_CANCELED, "a cancelled thread returned %p", out);
    }
    CHECK(atomic_load(&cleaned) == THREADS, "%u clean-ups of %d ran", atomic_load(&cleaned),
          THREADS);
}

static pthread_t main_thread;

static void *last_run(void *arg)
{
    char *text = arg;
    pthread_join(main_thread, NULL);
    for (int i = 0; i < 20000; i++)
        free(check_hide(malloc((size_t)i)));
    check_collect();
    CHECK(!strcmp(text, "main's own block"), "the ended main thread's block changed: %.20s", text);
    free(text);
    fflush(NULL);
    _exit(atomic_load(&check_failed) ? 1 : 0);
}

static void main_ends(void)
{
    pthread_t t;
    main_thread = pthread_self();
    thread_make(&t, last_run, strdup("main's own block"));
    pthread_exit(NULL);
}

static void *last_exit(void *arg)
{
    (void)arg;
    pthread_join(main_thread, NULL);
    check_collect();
    exit(0);
}

static void main_ends_exit(void)
{
    pthread_t t;
    main_thread = pthread_self();
    thread_make(&t, last_exit, NULL);
    pthread_exit(NULL);
}

// ---- stacks of the program's own ---------------------------------------------------------------

static void *stack_run(void *arg)
{
    char *own = strdup("held by this stack alone");
    pthread_barrier_t *b = arg;
    __asm__ volatile("" : "+m"(own));
    pthread_barrier_wait(b); // main collects between the two
    pthread_barrier_wait(b);
    CHECK(!strcmp(own, "held by this stack alone"), "a block on a given stack is lost: %.20s", own);
    free(own);
    return NULL;
}

static void stacks_given(void)
{
    enum { SIZE = 128 << 10 };
    for (int i = 0; i < 20; i++) {
        bool mapped = i & 1;
        void *stack =
            mapped ? mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
                   : aligned_alloc(4096, SIZE);
        pthread_attr_t attr;
        pthread_barrier_t b;
        pthread_t t;
        pthread_barrier_init(&b, NULL, 2);
        pthread_attr_init(&attr);
        CHECK(pthread_attr_setstack(&attr, stack, SIZE) == 0, "pthread_attr_setstack");
        CHECK(pthread_create(&t, &attr, stack_run, &b) == 0, "pthread_create on a given stack");
        pthread_barrier_wait(&b);
        check_collect();
        pthread_barrier_wait(&b);
        pthread_join(t, NULL);
        pthread_attr_destroy(&attr);
        if (mapped)
            munmap(stack, SIZE);
        else
            free(stack);
    }
}

// ---- collections while others allocate ---------------------------------------------------------

struct node {
    struct node *next;
    size_t value, size;
    unsigned char pad[];
};

static _Atomic bool stopping;

// A list that is rebuilt all the time and must always be whole; half of what is unlinked is freed,
// the other half dropped for the collector.
static void *mutator_run(void *arg)
{
    struct node *head = NULL;
    size_t length = 0, made = 0, rounds = (size_t)arg;
    uint64_t state = (uintptr_t)&state;
    for (size_t i = 0; i < rounds || !atomic_load(&stopping); i++) {
        size_t n = check_random(&state) % 300;
        struct node *node = malloc(sizeof *node + n);
        *node = (struct node){head, made++, n};
        check_fill(node->pad, n, (unsigned)node->value);
        head = node;
        if (++length < 200)
            continue;
        size_t expected = made;
        for (struct node *k = head; k; k = k->next) {
            expected--;
            if (!CHECK(k->value == expected &&
                           check_pattern(k->pad, k->size, k->size, (unsigned)k->value),
                       "node %zu of a live list is lost", expected))
                return NULL;
        }
        for (; length > 20; length--) {
            struct node *next = head->next;
            if (head->value & 1)
                free(head);
            head = next;
        }
        made = head->value + 1;
    }
    while (head) {
        struct node *next = head->next;
        free(head);
        head = next;
    }
    return NULL;
}

static void collections(void)
{
    enum { THREADS = 6 };
    pthread_t t[THREADS];
    size_t cycles = check_stressed() ? 20 : 60;
    atomic_store(&stopping, false);
    for (int i = 0; i < THREADS; i++)
        thread_make(&t[i], mutator_run, (void *)(size_t)(check_stressed() ? 2000 : 20000));
    for (size_t i = 0; i < cycles; i++)
        check_collect();
    atomic_store(&stopping, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
}

// Threads that come and go leave nothing behind in the collector's own memory.
static void *brief_run(void *arg)
{
    free(malloc(100));
    return arg;
}

static void brief(int threads)
{
    for (int i = 0; i < threads; i += 3) {
        pthread_t t[3];
        for (int k = 0; k < 3; k++)
            CHECK(pthread_create(&t[k], NULL, brief_run, NULL) == 0, "pthread_create");
        for (int k = 0; k < 3; k++)
            CHECK(pthread_join(t[k], NULL) == 0, "pthread_join");
    }
}

static void records(void)
{
    struct salvage_stats before, after;
    if (!salvage_stats)
        return;
    brief(300);
    salvage_stats(&before);
    brief(3000);
    salvage_stats(&after);
    CHECK(after.metadata <= before.metadata + 65536, "metadata grew from %llu to %llu bytes",
          (unsigned long long)before.metadata, (unsigned long long)after.metadata);
}

int main(void)
{
    records(); // first: what others leave to be used again would hide it
    shorts();
    destructors();
    destructors_bare();
    across();
    detached();
    cancelled();
    stacks_given();
    collections();
    check_case("main ends before the others", main_ends, 60);
    check_case("a thread exits after main has ended", main_ends_exit, 60);
    return check_done();
}
