// Typed allocation: only the words that the descriptor names are pointers.
#include "check.h"

#include <stddef.h>

#define N 400

struct mixed {
    void *first;
    void *hidden;
    void *third;
    long number;
};

void *held[N];

NOINLINE static GC_descr descriptor(size_t words, const size_t *set, size_t n)
{
    GC_word bits[64] = {0};
    for (size_t i = 0; i < n; i++)
        GC_set_bit(bits, set[i]);
    return GC_make_descriptor(bits, words);
}

NOINLINE static void mixed_make(GC_descr d, struct herd a, struct herd b, struct herd c, bool array)
{
    for (long i = 0; i < a.n; i++) {
        struct mixed *m = array ? GC_calloc_explicitly_typed(10, sizeof *m, d)
                                : GC_malloc_explicitly_typed(sizeof *m, d);
        if (!zero(m, sizeof *m))
            abort();
        held[i] = m;
        m += array ? i % 10 : 0;
        herd_put(a, i, m->first = GC_malloc(24));
        herd_put(b, i, m->hidden = GC_malloc(24));
        herd_put(c, i, m->third = GC_malloc(24));
    }
}

static void mixed(bool array)
{
    struct herd a = herd_new(N), b = herd_new(N), c = herd_new(N);
    size_t set[] = {GC_WORD_OFFSET(struct mixed, first), GC_WORD_OFFSET(struct mixed, third)};
    mixed_make(descriptor(GC_WORD_LEN(struct mixed), set, 2), a, b, c, array);
    say("first", "%s", herd_share(a));
    say("hidden", "%s", herd_share(b));
    say("third", "%s", herd_share(c));
    memset(held, 0, sizeof held);
    say("first_later", "%s", herd_share(a));
}

TEST(one)
{
    mixed(false);
}
TEST(array)
{
    mixed(true);
}

// All words, no words.
NOINLINE static void plain_make(GC_descr d, struct herd a, size_t words)
{
    for (long i = 0; i < a.n; i++) {
        void **p = held[i] = GC_malloc_explicitly_typed(words * sizeof *p, d);
        herd_put(a, i, p[i % (long)words] = GC_malloc(24));
    }
}

static void uniform(size_t words, bool all)
{
    struct herd a = herd_new(N);
    size_t set[2000];
    for (size_t i = 0; i < words; i++)
        set[i] = i;
    plain_make(descriptor(words, set, all ? words : 0), a, words);
    say("left", "%s", herd_share(a));
}

TEST(all_pointers)
{
    uniform(8, true);
}
TEST(no_pointers)
{
    uniform(8, false);
}
TEST(all_pointers_long)
{
    uniform(1500, true);
}
TEST(no_pointers_long)
{
    uniform(1500, false);
}

// A bitmap longer than a word: bits 3, 70 and 199 of 200.
NOINLINE static void long_make(GC_descr d, struct herd yes, struct herd no)
{
    static const int in[] = {3, 70, 199}, out[] = {4, 71, 150};
    for (long i = 0; i < yes.n; i++) {
        void **p = held[i] = GC_malloc_explicitly_typed(200 * sizeof *p, d);
        herd_put(yes, i, p[in[i % 3]] = GC_malloc(24));
        herd_put(no, i, p[out[i % 3]] = GC_malloc(24));
    }
}

TEST(long_bitmap)
{
    struct herd yes = herd_new(N), no = herd_new(N);
    size_t set[] = {3, 70, 199};
    long_make(descriptor(200, set, 3), yes, no);
    say("named", "%s", herd_share(yes));
    say("others", "%s", herd_share(no));
}

// Words behind the descriptor's length hold no pointers.
NOINLINE static void behind_make(GC_descr d, struct herd in, struct herd behind)
{
    for (long i = 0; i < in.n; i++) {
        void **p = held[i] = GC_malloc_explicitly_typed(10 * sizeof *p, d);
        herd_put(in, i, p[1] = GC_malloc(24));
        herd_put(behind, i, p[8] = GC_malloc(24));
    }
}

TEST(behind)
{
    struct herd in = herd_new(N), behind = herd_new(N);
    size_t set[] = {0, 1};
    behind_make(descriptor(2, set, 2), in, behind);
    say("within", "%s", herd_share(in));
    say("behind", "%s", herd_share(behind));
}

// Arrays of many elements, of an element longer than a bitmap word, of one element, of none.
NOINLINE static void arrays_make(GC_descr d, struct herd in, struct herd out, size_t n,
                                 size_t words, size_t yes, size_t no)
{
    for (long i = 0; i < in.n; i++) {
        void **p = held[i] = GC_calloc_explicitly_typed(n, words * sizeof *p, d);
        void **element = p + ((size_t)i * 31 % n) * words;
        herd_put(in, i, element[yes] = GC_malloc(24));
        herd_put(out, i, element[no] = GC_malloc(24));
    }
}

static void arrays(size_t n, size_t words, size_t yes, size_t no)
{
    struct herd in = herd_new(100), out = herd_new(100);
    arrays_make(descriptor(words, &yes, 1), in, out, n, words, yes, no);
    say("named", "%s", herd_share(in));
    say("others", "%s", herd_share(out));
}

TEST(array_of_many)
{
    arrays(3000, 3, 1, 2);
}
TEST(array_of_two)
{
    arrays(2, 3, 2, 1);
}
TEST(array_of_one)
{
    arrays(1, 4, 0, 3);
}
TEST(array_of_wide)
{
    arrays(20, 100, 99, 50);
}
TEST(array_of_odd)
{
    arrays(37, 5, 4, 3);
}

TEST(array_empty)
{
    size_t set[] = {0};
    is("none", GC_calloc_explicitly_typed(0, 8, descriptor(1, set, 1)) != NULL);
    is("overflow",
       GC_calloc_explicitly_typed(hide(SIZE_MAX / 8), 64, descriptor(1, set, 1)) == NULL);
}

TEST(large)
{
    size_t set[] = {1};
    struct herd in = herd_new(50), out = herd_new(50);
    GC_descr d = descriptor(2, set, 1);
    arrays_make(d, in, out, 20000, 2, 1, 0);
    say("named", "%s", herd_share(in));
    say("others", "%s", herd_share(out));
    is("macro", GC_MALLOC_EXPLICITLY_TYPED(16, d) && GC_CALLOC_EXPLICITLY_TYPED(4, 16, d));
    is("ignore_off_page", GC_malloc_explicitly_typed_ignore_off_page(100000, d) != NULL);
}
