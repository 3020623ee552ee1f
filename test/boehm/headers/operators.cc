// libgccpp's operators, also where they differ from those of bdwgc, which know no new handler: new
// calls it until there is memory or no handler. Built and run by install.sh.
#include <gc/gc.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                   \
            std::exit(1);                                                                          \
        }                                                                                          \
    } while (0)

static volatile size_t too_much = size_t(1) << 60;
static int handled;

static void handle()
{
    if (++handled == 3)
        std::set_new_handler(nullptr);
}

static bool refused(void *(*allocate)(size_t))
{
    try {
        allocate(too_much);
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

int main()
{
    GC_INIT();
    CHECK(refused(operator new) && refused(operator new[]));
    CHECK(!operator new(too_much, std::nothrow) && !operator new[](too_much, std::nothrow));
    std::set_new_handler(handle);
    CHECK(refused(operator new) && handled == 3);

    static GC_hidden_pointer held[1000]; // nothing but new's promise keeps them
    for (size_t i = 0; i < 1000; i++) {
        char *p = static_cast<char *>(i % 2 ? operator new[](i + 1) : operator new(i + 1));
        std::memset(p, int(i), i + 1);
        held[i] = GC_HIDE_POINTER(p);
    }
    for (int i = 0; i < 3; i++)
        GC_gcollect();
    for (size_t i = 0; i < 1000; i++) {
        char *p = static_cast<char *>(GC_REVEAL_POINTER(held[i]));
        CHECK(p[0] == char(i) && p[i] == char(i) && GC_base(p) == p);
        if (i % 4 == 0)
            operator delete(p);
        else if (i % 4 == 1)
            operator delete[](p);
        else if (i % 4 == 2)
            operator delete(p, i + 1);
        else
            operator delete[](p, i + 1);
    }
    operator delete(nullptr);
    void *aligned = operator new(100, std::align_val_t(64));
    operator delete(aligned, std::align_val_t(64));
    void *plain = operator new(100, std::nothrow);
    CHECK(plain && GC_base(plain) == plain);
    operator delete(plain, std::nothrow);
    return 0;
}
