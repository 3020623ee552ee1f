// The C++ face: gc, gc_cleanup, placements, the operators of libgccpp, the allocators.
#include "check.h"

#include <gc/gc_allocator.h>
#include <gc/gc_cpp.h>

#include <list>
#include <map>
#include <new>
#include <string>
#include <vector>

#define N 400

namespace
{

struct plain : public gc {
    plain *to = nullptr;
    long number;
    explicit plain(long n) : number(n)
    {
    }
};

long ended, wrong;

struct cleaned : public gc_cleanup {
    long number = 7;
    ~cleaned() override
    {
        ended++;
        wrong += number != 7;
    }
};

void clean(void *object, void *data)
{
    ended++;
    wrong += *(long *)object != 9 || data != &ended;
}

} // namespace

void *roots[N];

NOINLINE static void collectable_make(struct herd h)
{
    for (long i = 0; i < N; i++) {
        plain *p = new plain(i);
        herd_put(h, i, p);
        roots[i] = p;
    }
}

TEST(collectable)
{
    struct herd h = herd_new(N);
    collectable_make(h);
    say("kept", "%s", herd_share(h));
    memset(roots, 0, sizeof roots);
    say("lost", "%s", herd_share(h));
    plain *p = new plain(5);
    delete p;
    plain *array = (plain *)operator new[](10 * sizeof(plain), UseGC);
    is("array", zero(array, 10 * sizeof(plain)));
}

NOINLINE static void cleaned_make()
{
    for (int i = 0; i < N; i++)
        new cleaned;
}

TEST(cleanup)
{
    cleaned_make();
    collect();
    say("ended", "%s", share(ended, N));
    number("wrong", wrong);
    ended = 0;
    delete new cleaned;
    number("deleted", ended);
    stack_clear();
    collect();
}

NOINLINE static void placed_make()
{
    for (int i = 0; i < N; i++) {
        long *p = ::new (UseGC, clean, &ended) long;
        *p = 9;
    }
}

TEST(placed)
{
    placed_make();
    collect();
    say("ended", "%s", share(ended, N));
    number("wrong", wrong);
}

NOINLINE static void inner_make(struct herd h, GCPlacement where)
{
    for (long i = 0; i < N; i++) {
        void **p = (void **)operator new(64, where);
        roots[i] = p;
        herd_put(h, i, p[1] = GC_malloc(24));
    }
}

static void scanned(GCPlacement where)
{
    struct herd h = herd_new(N);
    inner_make(h, where);
    say("inner", "%s", herd_share(h));
}

TEST(placement_gc)
{
    scanned(UseGC);
}
TEST(placement_pointer_free)
{
    scanned(PointerFreeGC);
}
TEST(placement_no_gc)
{
    scanned(NoGC);
}

TEST(too_much)
{
    bool thrown = false;
    GC_set_warn_proc(GC_ignore_warn_proc);
    try {
        roots[0] = new char[hide((size_t)1 << 60)];
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    is("thrown", thrown);
}

typedef std::vector<plain *, gc_allocator<plain *>> vector_of_plain;

vector_of_plain *held;

NOINLINE static void vector_make(struct herd h)
{
    held = new (UseGC) vector_of_plain;
    for (long i = 0; i < N; i++) {
        held->push_back(new plain(i));
        herd_put(h, i, held->back());
    }
}

TEST(allocator)
{
    struct herd h = herd_new(N);
    vector_make(h);
    say("kept", "%s", herd_share(h));
    long sum = 0;
    for (plain *p : *held)
        sum += p->number;
    number("sum", sum);
    held = nullptr;
    say("lost", "%s", herd_share(h));
    std::map<long, long, std::less<long>, gc_allocator<std::pair<const long, long>>> map;
    for (long i = 0; i < 20000; i++)
        map[i * 7919 % 20011] = i;
    collect();
    long good = 0;
    for (long i = 0; i < 20000; i++)
        good += map[i * 7919 % 20011] == i;
    number("map", good);
}

TEST(traceable)
{
    struct herd h = herd_new(N);
    std::list<void *, traceable_allocator<void *>> list;
    for (long i = 0; i < N; i++) {
        list.push_back(GC_malloc(24));
        herd_put(h, i, list.back());
    }
    say("kept", "%s", herd_share(h));
    list.clear();
    say("lost", "%s", herd_share(h));
}
