// GC_malloc and its relatives: what they return, that the memory is zero, what is kept and what
// goes.
#include "check.h"

#define N 2000

struct node {
    struct node *next;
    long value;
};

static const size_t sizes[] = {1,   7,    8,    16,   17,    64,     100,
                               256, 1000, 2048, 4096, 10000, 100000, 3000000};

TEST(zeroed)
{
    bool all = true, aligned = true, apart = true, sized = true;
    char *last = NULL;
    for (int round = 0; round < 30; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            char *p = GC_malloc(sizes[i]);
            all &= zero(p, sizes[i]);
            aligned &= (uintptr_t)p % (sizes[i] < 16 ? 8 : 16) == 0;
            sized &= GC_size(p) >= sizes[i];
            apart &= p != last;
            memset(p, 0xa5, sizes[i]);
            last = p;
        }
    is("zero", all);
    is("aligned", aligned);
    is("sized", sized);
    is("apart", apart);
    is("none_at_all", GC_malloc(0) != NULL);
    is("macro", GC_MALLOC(8) && GC_NEW(struct node) && GC_MALLOC_ATOMIC(8) && GC_NEW_ATOMIC(long));
}

TEST(zeroed_again)
{
    bool all = true;
    for (int i = 0; i < 200000; i++) {
        long *p = GC_malloc(48);
        all &= zero(p, 48);
        memset(p, 0x5a, 48);
    }
    is("zero", all);
    for (int i = 0; i < 20000; i++) {
        long *p = GC_malloc(48);
        all &= zero(p, 48);
        memset(p, 0x5a, 48);
        GC_free(p);
    }
    is("zero_after_free", all);
}

NOINLINE static struct node *list_make(struct herd h)
{
    struct node *head = NULL;
    for (long i = 0; i < h.n; i++) {
        struct node *n = GC_malloc(sizeof *n);
        n->next = head;
        n->value = i;
        head = n;
        herd_put(h, i, n);
    }
    return head;
}

NOINLINE static bool list_whole(struct node *head, long n)
{
    for (; head && n > 0; head = head->next)
        if (head->value != --n)
            return false;
    return !head && n == 0;
}

TEST(list_kept)
{
    struct herd h = herd_new(N);
    struct node *volatile head = list_make(h);
    say("left", "%s", herd_share(h));
    is("whole", list_whole(head, N));
    GC_reachable_here(head);
}

NOINLINE static void list_lose(struct herd h)
{
    if (!list_make(h))
        abort();
}

// Heads of many short lists: one that is kept by chance keeps few.
TEST(lists_lost)
{
    struct herd all[50];
    long left = 0;
    for (int i = 0; i < 50; i++) {
        all[i] = herd_new(40);
        list_lose(all[i]);
    }
    collect();
    for (int i = 0; i < 50; i++)
        left += herd_left(all[i]);
    say("left", "%s", share(left, 2000));
}

NOINLINE static void rings_make(struct herd h)
{
    for (long i = 0; i < h.n; i += 2) {
        struct node *a = GC_malloc(sizeof *a), *b = GC_malloc(sizeof *b);
        a->next = b;
        b->next = a;
        herd_put(h, i, a);
        herd_put(h, i + 1, b);
    }
}

TEST(rings_lost)
{
    struct herd h = herd_new(N);
    rings_make(h);
    say("left", "%s", herd_share(h));
}

void *large[20]; // not static: what is only written would be dropped

NOINLINE static void large_make(struct herd h, struct herd lost)
{
    for (long i = 0; i < h.n; i++) {
        large[i] = (char *)GC_malloc(300000) + (i % 2 ? 100000 : 0);
        herd_put(h, i, large[i]);
        herd_put(lost, i, GC_malloc(300000));
    }
}

TEST(large_kept_and_lost)
{
    struct herd kept = herd_new(20), lost = herd_new(20);
    large_make(kept, lost);
    say("kept", "%s", herd_share(kept));
    say("lost", "%s", herd_share(lost));
}

void *paged[40];

NOINLINE static void paged_make(struct herd h)
{
    for (long i = 0; i < h.n; i++) {
        char *p =
            i % 2 ? GC_malloc_ignore_off_page(200000) : GC_malloc_atomic_ignore_off_page(200000);
        if (i % 2 && !zero(p, 200000))
            abort();
        p[199999] = 1;
        paged[i] = p + 8 * (i % 20);
        herd_put(h, i, p);
    }
}

TEST(ignore_off_page)
{
    struct herd h = herd_new(40);
    paged_make(h);
    say("kept", "%s", herd_share(h));
    memset(paged, 0, sizeof paged);
    say("lost", "%s", herd_share(h));
    is("macro", GC_MALLOC_IGNORE_OFF_PAGE(9) && GC_MALLOC_ATOMIC_IGNORE_OFF_PAGE(9));
}

TEST(strings)
{
    say("strdup", "%s", GC_strdup("a string"));
    say("strndup", "%s", GC_strndup("a string", 4));
    say("strndup_short", "%s", GC_strndup("ab", 40));
    say("macro", "%s %s", GC_STRDUP("x"), GC_STRNDUP("xyz", 2));
}

TEST(aligned)
{
    bool ok = true;
    for (size_t align = 8; align <= 4096; align *= 2) {
        char *p = GC_memalign(align, 100), *q = NULL;
        ok &= p && (uintptr_t)p % align == 0 && zero(p, 100);
        ok &= GC_posix_memalign((void **)&q, align, 5000) == 0 && (uintptr_t)q % align == 0;
        q[4999] = 1;
    }
    is("aligned", ok);
    void *p = NULL;
    number("odd", GC_posix_memalign(&p, 24, 10) == EINVAL);
    number("small", GC_posix_memalign(&p, 2, 10) == EINVAL);
}

// A list through the first words, to its end in NULL; the rest is zero.
TEST(many)
{
    long lists = 0, objects = 0;
    bool clean = true;
    for (; lists < 100; lists++) {
        void *next = NULL;
        for (void **p = GC_malloc_many(48); p; p = next) {
            next = *p;
            clean &= zero(p + 1, 40) && GC_size(p) >= 48;
            *p = NULL;
            objects++;
        }
    }
    is("some", objects >= lists);
    is("clean", clean);
    void *end = GC_NEXT(GC_malloc_many(16));
    is("linked", end == NULL || GC_base(end) == end);
}

TEST(freed)
{
    GC_free(NULL);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        GC_free(GC_malloc(sizes[i]));
        GC_free(GC_malloc_atomic(sizes[i]));
        GC_FREE(GC_MALLOC(sizes[i]));
    }
    is("done", true);
    void *first = GC_malloc(200000);
    size_t before = GC_get_heap_size();
    GC_free(first);
    for (int i = 0; i < 10000; i++)
        GC_free(GC_malloc(200000));
    is("reused", GC_get_heap_size() < before + 500 * 200000ul);
}

TEST(too_much)
{
    GC_set_warn_proc(GC_ignore_warn_proc);
    is("huge", GC_malloc(hide((size_t)1 << 62)) == NULL);
    is("most_of_all", GC_malloc(hide(SIZE_MAX - 100)) == NULL);
    is("all", GC_malloc_atomic(hide(SIZE_MAX)) == NULL);
    is("uncollectable", GC_malloc_uncollectable(hide(SIZE_MAX / 2)) == NULL);
    is("goes_on", GC_malloc(100) != NULL);
}

// More than is ever live: the heap stays small.
TEST(garbage)
{
    for (long i = 0; i < 4000000; i++)
        if (!GC_malloc(48))
            abort();
    is("bounded", GC_get_heap_size() < 150ul << 20);
    is("collected", GC_get_gc_no() > 0);
}
