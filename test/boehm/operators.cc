// ALONE
//
// The operators new and delete of libgccpp: uncollectable memory, scanned, freed by hand. With all
// of the library preloaded its own operators come first, and what nothing points to is collected.
#include "check.h"

#include <new>

#define N 400

NOINLINE static void operators_make(struct herd h, struct herd inner)
{
    for (long i = 0; i < N; i++) {
        void **p = new void *[4]();
        p[2] = GC_malloc(24);
        herd_put(inner, i, p[2]);
        h.slot[i] = p;
    }
}

TEST(operators)
{
    struct herd h = herd_new(N), inner = herd_new(N);
    operators_make(h, inner);
    say("inner", "%s", herd_share(inner));
    is("ours", GC_base(h.slot[0]) == h.slot[0]);
    for (long i = 0; i < N; i++)
        delete[] static_cast<void **>(h.slot[i]);
    say("inner_later", "%s", herd_share(inner));
    delete new long(5);
    delete (long *)nullptr;
}
