// CFLAGS: -std=c++17 -Wno-unused-result -Wno-mismatched-new-delete -Wno-alloc-size-larger-than
// SALVAGE: mode=collect
// SALVAGE: stress=64
// The C++ operators: every form allocates, aligns and frees; failure throws, or returns null, after
// the new-handler was asked. What a program with operators of its own sees is newreplaced.cc's.
// check.h is C, so the counting stands here.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <malloc.h>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

static int passed, failed;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (condition) {                                                                           \
            passed++;                                                                              \
        } else {                                                                                   \
            failed++;                                                                              \
            printf("failed: %s:%d: %s\n", __FILE__, __LINE__, #condition);                         \
        }                                                                                          \
    } while (0)

// Out of the compiler's sight: it may drop a new with its delete.
template <class T> static T *hide(T *p)
{
    asm volatile("" : "+r"(p)::"memory");
    return p;
}

static size_t hide(size_t n)
{
    asm volatile("" : "+r"(n));
    return n;
}

static bool usable(void *p, size_t size, size_t align)
{
    if (p == nullptr || reinterpret_cast<uintptr_t>(p) % align != 0)
        return false;
    memset(p, 0x5a, size);
    return malloc_usable_size(p) >= size;
}

static void plain(size_t n)
{
    void *p = ::operator new(n);
    CHECK(usable(p, n, 16));
    ::operator delete(p);
    p = ::operator new[](n);
    CHECK(usable(p, n, 16));
    ::operator delete[](p);
    p = ::operator new(n, std::nothrow);
    CHECK(usable(p, n, 16));
    ::operator delete(p, std::nothrow);
    p = ::operator new[](n, std::nothrow);
    CHECK(usable(p, n, 16));
    ::operator delete[](p, std::nothrow);
    p = ::operator new(n);
    CHECK(usable(p, n, 16));
    ::operator delete(p, n);
    p = ::operator new[](n);
    CHECK(usable(p, n, 16));
    ::operator delete[](p, n);
}

static void aligned(size_t n, size_t align)
{
    std::align_val_t a{align};
    void *p = ::operator new(n, a);
    CHECK(usable(p, n, align));
    ::operator delete(p, a);
    p = ::operator new[](n, a);
    CHECK(usable(p, n, align));
    ::operator delete[](p, a);
    p = ::operator new(n, a, std::nothrow);
    CHECK(usable(p, n, align));
    ::operator delete(p, a, std::nothrow);
    p = ::operator new[](n, a, std::nothrow);
    CHECK(usable(p, n, align));
    ::operator delete[](p, a, std::nothrow);
    p = ::operator new(n, a);
    CHECK(usable(p, n, align));
    ::operator delete(p, n, a);
    p = ::operator new[](n, a);
    CHECK(usable(p, n, align));
    ::operator delete[](p, n, a);
}

template <class F> static bool throws(F f)
{
    try {
        f();
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

static void failing()
{
    size_t huge = hide(static_cast<size_t>(PTRDIFF_MAX) - 4096);
    std::align_val_t a{64};
    CHECK(throws([&] { hide(::operator new(huge)); }));
    CHECK(throws([&] { hide(::operator new[](huge)); }));
    CHECK(throws([&] { hide(::operator new(huge, a)); }));
    CHECK(throws([&] { hide(::operator new[](huge, a)); }));
    CHECK(::operator new(huge, std::nothrow) == nullptr);
    CHECK(::operator new[](huge, std::nothrow) == nullptr);
    CHECK(::operator new(huge, a, std::nothrow) == nullptr);
    CHECK(::operator new[](huge, a, std::nothrow) == nullptr);
    ::operator delete(nullptr);
    ::operator delete[](nullptr);
    ::operator delete(nullptr, a);
}

static int handler_calls;

static void handler()
{
    if (++handler_calls % 3 == 0)
        std::set_new_handler(nullptr);
}

static void throwing_handler()
{
    handler_calls++;
    throw std::bad_alloc();
}

// A handler that throws something else: it passes through every throwing form, and ends the program
// in a nothrow one, which is why only the former are asked.
static void other_handler()
{
    throw std::runtime_error("handler");
}

static void handled()
{
    size_t huge = hide(static_cast<size_t>(PTRDIFF_MAX) - 4096);
    std::set_new_handler(handler);
    CHECK(throws([&] { hide(::operator new(huge)); }) && handler_calls == 3);
    std::set_new_handler(handler);
    CHECK(::operator new(huge, std::nothrow) == nullptr &&handler_calls == 6);
    std::set_new_handler(throwing_handler);
    CHECK(throws([&] { hide(::operator new[](huge)); }) && handler_calls == 7);
    CHECK(::operator new[](huge, std::nothrow) == nullptr &&handler_calls == 8);
    CHECK(::operator new (huge, std::align_val_t{64}, std::nothrow) == nullptr);
    CHECK(handler_calls == 9);
    std::set_new_handler(other_handler);
    std::string what;
    try {
        hide(::operator new(huge));
    } catch (const std::runtime_error &e) {
        what = e.what();
    }
    CHECK(what == "handler");
    std::set_new_handler(nullptr);
}

struct alignas(256) wide {
    char bytes[300];
};

static void used()
{
    std::vector<std::string> words;
    for (int i = 0; i < 10000; i++)
        words.push_back(std::string(static_cast<size_t>(i % 100), static_cast<char>('a' + i % 26)));
    bool same = true;
    for (int i = 0; i < 10000; i++)
        same = same && words[static_cast<size_t>(i)].size() == static_cast<size_t>(i % 100);
    CHECK(same);
    wide *w = hide(new wide[3]);
    CHECK(reinterpret_cast<uintptr_t>(w) % 256 == 0);
    delete[] w;
    bool length = false;
    try {
        words.reserve(words.max_size() + hide(size_t{1}));
    } catch (const std::length_error &) {
        length = true;
    }
    CHECK(length);
}

int main()
{
    for (size_t n : {0u, 1u, 24u, 100u, 4096u, 40000u, 3000000u}) {
        plain(n);
        for (size_t align = 8; align <= 65536; align *= 8)
            aligned(n, align);
    }
    failing();
    handled();
    used();
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
