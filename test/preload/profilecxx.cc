// Exceptions that fly through frames which allocate, and operators new and delete, while everything
// is recorded.
//
// SALVAGE: mode=leaks
// SALVAGE: sample=256
#include <cstdio>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

struct Guard { // allocates while an exception is in flight
    explicit Guard(int n) : text(std::string(static_cast<size_t>(n) + 50, 'g'))
    {
    }
    ~Guard()
    {
        counter += std::vector<int>(text.size()).size();
    }
    std::string text;
    static unsigned long counter;
};
unsigned long Guard::counter;

__attribute__((noinline)) static int thrower(int depth)
{
    Guard guard(depth);
    if (depth == 0)
        throw std::runtime_error(std::string(300, 'x'));
    return thrower(depth - 1) + static_cast<int>(guard.text.size());
}

struct alignas(64) Wide {
    char bytes[192];
};

int main()
{
    unsigned long passed = 0, failed = 0;
    for (int i = 0; i < 2000; i++) {
        try {
            thrower(i % 30);
            failed++;
        } catch (const std::exception &e) {
            std::string(e.what()).size() == 300 ? passed++ : failed++;
        }
    }
    for (int i = 0; i < 20000; i++) {
        Wide *wide = new Wide[static_cast<size_t>(i % 7) + 1];
        char *plain = new (std::nothrow) char[static_cast<size_t>(i)];
        (reinterpret_cast<unsigned long>(wide) % 64 == 0 && plain) ? passed++ : failed++;
        delete[] wide;
        delete[] plain;
    }
    std::printf("%lu passed, %lu failed\n", passed, failed);
    return failed != 0;
}
