// CFLAGS: -std=c++17 -Wno-mismatched-new-delete -Wno-sized-deallocation
// A program that replaces new and delete alone, with a header before each block: all other forms
// have to come to its own two, as the C++ standard says, or the wrong side would free a block.
#include <cstdio>
#include <cstdlib>
#include <new>
#include <vector>

static int passed, failed;
static int news, deletes, wrong;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (condition) {                                                                           \
            passed++;                                                                              \
        } else {                                                                                   \
            failed++;                                                                              \
            printf("failed: %s:%d: %s\n", __FILE__, __LINE__, #condition);                         \
        }                                                                                          \
    } while (0)

struct header {
    size_t mark[2];
};

void *operator new(size_t n)
{
    header *h = static_cast<header *>(malloc(sizeof(header) + n));
    if (h == nullptr)
        throw std::bad_alloc();
    h->mark[0] = 0x1234;
    news++;
    return h + 1;
}

void operator delete(void *p) noexcept
{
    if (p == nullptr)
        return;
    header *h = static_cast<header *>(p) - 1;
    wrong += h->mark[0] != 0x1234;
    h->mark[0] = 0;
    deletes++;
    free(h);
}

int main()
{
    int before = news;
    ::operator delete[](::operator new[](10));
    ::operator delete (::operator new(10), size_t{10});
    ::operator delete[](::operator new[](10), size_t{10});
    ::operator delete(::operator new(10, std::nothrow), std::nothrow);
    ::operator delete[](::operator new[](10, std::nothrow), std::nothrow);
    CHECK(news == before + 5 && deletes >= 5);
    {
        std::vector<int *> v;
        for (int i = 0; i < 100; i++)
            v.push_back(new int[100]);
        for (int *p : v)
            delete[] p;
    }
    CHECK(news >= before + 105);
    CHECK(news - before == deletes && wrong == 0);
    // Not replaced, so not the program's: new for larger alignments.
    before = news;
    void *p = ::operator new[](100, std::align_val_t{64});
    ::operator delete[](p, 100, std::align_val_t{64});
    CHECK(news == before);
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}
