// Kinds: free lists, descriptors of all four sorts, mark procedures that push by themselves.
#include "check.h"

#define N 400

void *held[N];

// ---- a mark procedure: word 0 is a tag, and only word 2 is a pointer --------------------------

static GC_word seen;
static bool env_wrong;

static struct GC_ms_entry *mark(GC_word *object, struct GC_ms_entry *top, struct GC_ms_entry *limit,
                                GC_word env)
{
    __atomic_add_fetch(&seen, 1, __ATOMIC_RELAXED);
    env_wrong |= env != 5;
    if (object[0] == 0xfeed)
        top = GC_MARK_AND_PUSH((void *)object[2], top, limit, (void **)&object[2]);
    return top;
}

NOINLINE static void tagged_make(unsigned kind, size_t size, struct herd yes, struct herd no)
{
    for (long i = 0; i < yes.n; i++) {
        GC_word *p = GC_generic_malloc(size, (int)kind);
        held[i] = p;
        if (!zero(p, size))
            abort();
        p[0] = 0xfeed;
        herd_put(no, i, (void *)(p[1] = (GC_word)GC_malloc(24)));
        herd_put(yes, i, (void *)(p[2] = (GC_word)GC_malloc(24)));
    }
}

static void tagged(size_t size)
{
    struct herd yes = herd_new(N), no = herd_new(N);
    unsigned proc = GC_new_proc(mark);
    unsigned kind = GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(proc, 5), 0, 1);
    tagged_make(kind, size, yes, no);
    size_t n = 0;
    is("kind", GC_get_kind_and_size(held[0], &n) == (int)kind && n >= size);
    say("pushed", "%s", herd_share(yes));
    say("others", "%s", herd_share(no));
    is("called", seen > 0);
    is("env", !env_wrong);
    memset(held, 0, sizeof held);
    say("later", "%s", herd_share(yes));
}

TEST(mark_proc_small)
{
    tagged(32);
}
TEST(mark_proc_middling)
{
    tagged(800);
}
TEST(mark_proc_large)
{
    tagged(30000);
}

// A long chain by a mark procedure: each object names the next alone.
static struct GC_ms_entry *mark_next(GC_word *object, struct GC_ms_entry *top,
                                     struct GC_ms_entry *limit, GC_word env)
{
    (void)env;
    return GC_MARK_AND_PUSH((void *)object[1], top, limit, (void **)&object[1]);
}

NOINLINE static void *chain_make(unsigned kind, struct herd h)
{
    GC_word *last = NULL;
    for (long i = 0; i < h.n; i++) {
        GC_word *p = GC_generic_malloc(16, (int)kind);
        p[1] = (GC_word)last;
        herd_put(h, i, last = p);
    }
    return last;
}

TEST(mark_proc_chain)
{
    struct herd h = herd_new(20000);
    unsigned kind = GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(GC_new_proc(mark_next), 0), 0, 1);
    held[0] = chain_make(kind, h);
    say("kept", "%s", herd_share(h));
    held[0] = NULL;
    say("lost", "%s", herd_share(h));
}

// An array's elements, all pushed by one call; NULL and values that are no pointers too.
static struct GC_ms_entry *mark_all(GC_word *object, struct GC_ms_entry *top,
                                    struct GC_ms_entry *limit, GC_word env)
{
    (void)env;
    for (GC_word i = 1; i <= object[0]; i++)
        top = GC_MARK_AND_PUSH((void *)object[i], top, limit, (void **)&object[i]);
    return top;
}

NOINLINE static void array_make(unsigned kind, struct herd h)
{
    GC_word *p = GC_generic_malloc(8 * 2002, (int)kind);
    held[0] = p;
    for (long i = 0; i < 1000; i++)
        herd_put(h, i, (void *)(p[1 + 2 * i] = (GC_word)GC_malloc(16)));
    p[2] = 1;
    p[4] = (GC_word)&seen;
    p[6] = ~0ul;
    p[0] = 2000;
}

TEST(mark_proc_array)
{
    struct herd h = herd_new(1000);
    unsigned kind = GC_new_kind(GC_new_free_list(), GC_MAKE_PROC(GC_new_proc(mark_all), 0), 0, 1);
    array_make(kind, h);
    say("kept", "%s", herd_share(h));
    held[0] = NULL;
    say("lost", "%s", herd_share(h));
}

// ---- descriptors without procedures ------------------------------------------------------------

NOINLINE static void words_make(unsigned kind, size_t words, struct herd *h, const size_t *word,
                                size_t n)
{
    for (long i = 0; i < h[0].n; i++) {
        GC_word *p = GC_generic_malloc(words * sizeof *p, (int)kind);
        held[i] = p;
        for (size_t k = 0; k < n; k++)
            herd_put(h[k], i, (void *)(p[word[k]] = (GC_word)GC_malloc(24)));
    }
}

static void words(GC_word template, int adjust, size_t size)
{
    struct herd h[3] = {herd_new(N), herd_new(N), herd_new(N)};
    const size_t word[] = {0, 1, size - 1};
    unsigned kind = GC_new_kind(GC_new_free_list(), template, adjust, 1);
    words_make(kind, size, h, word, 3);
    say("first", "%s", herd_share(h[0]));
    say("second", "%s", herd_share(h[1]));
    say("last", "%s", herd_share(h[2]));
}

TEST(length_of_object)
{
    words(0 | GC_DS_LENGTH, 1, 6);
}
TEST(length_zero)
{
    words(0 | GC_DS_LENGTH, 0, 6);
}
TEST(length_two_words)
{
    words(16 | GC_DS_LENGTH, 0, 6);
}
TEST(bitmap_second)
{
    words((GC_word)1 << 62 | GC_DS_BITMAP, 0, 6);
}
TEST(bitmap_first_and_last)
{
    words((GC_word)1 << 63 | (GC_word)1 << 58 | GC_DS_BITMAP, 0, 6);
}

// The descriptor stands in the object, at its word 3: a length of two words.
NOINLINE static void own_make(unsigned kind, struct herd in, struct herd out)
{
    for (long i = 0; i < in.n; i++) {
        GC_word *p = GC_generic_malloc(32, (int)kind);
        held[i] = p;
        p[3] = 16 | GC_DS_LENGTH;
        herd_put(in, i, (void *)(p[1] = (GC_word)GC_malloc(24)));
        herd_put(out, i, (void *)(p[2] = (GC_word)GC_malloc(24)));
    }
}

TEST(per_object)
{
    struct herd in = herd_new(N), out = herd_new(N);
    unsigned kind = GC_new_kind(GC_new_free_list(), 24 | GC_DS_PER_OBJECT, 0, 1);
    own_make(kind, in, out);
    say("within", "%s", herd_share(in)); // of what lies behind ours looks at every word
    (void)herd_share(out);
}

// The first word names a type, whose descriptor stands at its word 1 (as a C++ object's would).
NOINLINE static void type_make(unsigned kind, GC_word *type, struct herd in, struct herd out)
{
    for (long i = 0; i < in.n; i++) {
        GC_word *p = GC_generic_malloc(32, (int)kind);
        held[i] = p;
        herd_put(in, i, (void *)(p[1] = (GC_word)GC_malloc(24)));
        herd_put(out, i, (void *)(p[2] = (GC_word)GC_malloc(24)));
        p[0] = (GC_word)type;
    }
}

TEST(per_type)
{
    struct herd in = herd_new(N), out = herd_new(N);
    GC_word *type = GC_malloc_uncollectable(64);
    type[1] = (GC_word)1 << 62 | GC_DS_BITMAP;
    GC_word template = (GC_word)(-(GC_signed_word)(8 + GC_INDIR_PER_OBJ_BIAS)) | GC_DS_PER_OBJECT;
    unsigned kind = GC_new_kind(GC_new_free_list(), template, 0, 1);
    type_make(kind, type, in, out);
    say("within", "%s", herd_share(in)); // likewise
    (void)herd_share(out);
}

// ---- the rest ----------------------------------------------------------------------------------

TEST(numbers)
{
    unsigned a = GC_new_kind(GC_new_free_list(), 0, 1, 1);
    unsigned b = GC_new_kind(GC_new_free_list(), 0, 0, 0);
    is("kinds_follow", b == a + 1);
    unsigned p = GC_new_proc(mark), q = GC_new_proc(mark_all);
    is("procs_follow", q == p + 1);
    is("procs_reserved", p >= GC_RESERVED_MARK_PROCS);
    number("header", (long)GC_get_debug_header_size());
}

TEST(many_kinds)
{
    bool apart = true;
    for (int i = 0; i < 8; i++) {
        unsigned kind = GC_new_kind(GC_new_free_list(), 0, 1, 1);
        for (int k = 0; k < 300; k++) {
            void *p = GC_generic_malloc(40, (int)kind);
            apart &= GC_get_kind_and_size(p, NULL) == (int)kind && zero(p, 40);
        }
    }
    is("apart", apart);
}

// The plain kinds by number.
TEST(generic)
{
    is("atomic", GC_get_kind_and_size(GC_generic_malloc(50, 0), NULL) == 0);
    is("plain", GC_get_kind_and_size(GC_generic_malloc(50, 1), NULL) == 1);
    is("special", GC_get_kind_and_size(GC_generic_or_special_malloc(50, 0), NULL) == 0);
    is("ignore_off_page",
       GC_get_kind_and_size(GC_generic_malloc_ignore_off_page(50000, 1), NULL) == 1);
    void *p = GC_generic_malloc_uncollectable(50, 1);
    is("uncollectable", p && zero(p, 50));
    is("realloc", GC_get_kind_and_size(GC_realloc(GC_generic_malloc(50, 1), 500), NULL) == 1);
}

// Objects of a kind of one's own by the list, as Guile does it.
extern void GC_generic_malloc_many(size_t, int, void **);

TEST(generic_many)
{
    unsigned kind = GC_new_kind(GC_new_free_list(), 0, 1, 1);
    bool right = true;
    long objects = 0;
    for (int i = 0; i < 50; i++) {
        void *list = NULL, *next = NULL;
        GC_generic_malloc_many(32, (int)kind, &list);
        for (void **p = list; p; p = next) {
            next = *p;
            right &= GC_get_kind_and_size(p, NULL) == (int)kind && zero(p + 1, 24);
            *p = NULL;
            objects++;
        }
    }
    is("right", right);
    is("some", objects >= 50);
}

// Without the clearing flag only the caller clears; memory still comes and goes.
TEST(unclear)
{
    unsigned kind = GC_new_kind(GC_new_free_list(), 0, 0, 0);
    for (int i = 0; i < 100000; i++)
        memset(GC_generic_malloc(200, (int)kind), 0xaa, 200);
    is("bounded", GC_get_heap_size() < 100ul << 20);
}

// Mark bits by hand, under the lock. That one is cleared ours doesn't say.
static void *bits(void *p)
{
    GC_set_mark_bit(p);
    long answer = GC_is_marked(p) != 0;
    GC_clear_mark_bit(p);
    return (void *)answer;
}

TEST(mark_bits)
{
    void *p = GC_malloc(100);
    number("set", (long)GC_call_with_alloc_lock(bits, p));
}
