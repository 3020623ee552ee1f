// What C++ programs do with memory: operators new, containers, smart pointers, exceptions,
// coroutines, several bases.
#include "corpus.h"

#include <any>
#include <coroutine>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <list>
#include <map>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace
{

struct plain { // cleared: what is in a new object otherwise may be pointers of a freed one
    char c[72] = {};
};
struct counted { // an array of these has its length before it
    char c[72] = {};
    ~counted()
    {
        corpus_use(c);
    }
};
struct alignas(64) aligned {
    char c[128];
};
struct first {
    virtual ~first() = default;
    long a = 1;
};
struct second {
    virtual ~second() = default;
    long b = 2;
};
struct both : first, second {
    char c[40] = {};
};

const char *const long_text = "a text that doesn't fit the string itself, and so is on the heap";
void *volatile root;

// ---- operators ---------------------------------------------------------------------------------

void by_new()
{
    for (int i = 0; i < 10; i++)
        corpus_use(new plain);
}
void by_new_array()
{
    for (int i = 0; i < 10; i++)
        corpus_use(new char[321]);
}
void by_new_counted()
{
    for (int i = 0; i < 10; i++)
        corpus_use(new counted[3]);
}
void by_new_aligned()
{
    for (int i = 0; i < 10; i++)
        corpus_use(new aligned);
}
void by_new_nothrow()
{
    for (int i = 0; i < 10; i++)
        corpus_use(new (std::nothrow) plain);
}
void held_counted()
{
    static counted *volatile array;
    array = new counted[3];
    corpus_use(const_cast<counted **>(&array));
}
void held_base()
{
    static second *base;
    base = new both;
    corpus_use(&base);
}
void lost_base()
{
    second *base = new both;
    corpus_use(base);
}

// ---- containers --------------------------------------------------------------------------------

void lost_string()
{
    corpus_use(new std::string(long_text));
}
void lost_vector()
{
    auto *v = new std::vector<int>(1000);
    corpus_use(v);
}
void lost_list()
{
    auto *l = new std::list<int>;
    for (int i = 0; i < 50; i++)
        l->push_back(i);
    corpus_use(l);
}
void lost_map()
{
    auto *m = new std::map<int, std::string>;
    for (int i = 0; i < 50; i++)
        (*m)[i] = long_text;
    corpus_use(m);
}
void lost_pointers()
{
    std::vector<plain *> v;
    for (int i = 0; i < 40; i++)
        v.push_back(new plain);
    corpus_use(v.data());
}
void lost_erased()
{
    static std::map<int, plain *> m;
    for (int i = 0; i < 20; i++)
        m[i] = new plain;
    for (int i = 0; i < 20; i += 2)
        m.erase(i);
}
void held_vector()
{
    static std::vector<std::unique_ptr<plain>> v;
    for (int i = 0; i < 100; i++)
        v.push_back(std::make_unique<plain>());
}
void held_map()
{
    static auto *m = new std::map<int, std::string>;
    for (int i = 0; i < 100; i++)
        (*m)[i] = long_text;
}
void held_unordered()
{
    static std::unordered_map<std::string, plain *> m;
    for (int i = 0; i < 100; i++)
        m[long_text + std::to_string(i)] = new plain;
}
void held_deque()
{
    static std::deque<plain *> d;
    for (int i = 0; i < 1000; i++)
        d.push_back(new plain);
}
void none_containers()
{
    std::map<int, std::string> m;
    std::vector<std::string> v;
    std::deque<std::any> d;
    for (int i = 0; i < 100; i++) {
        m[i] = long_text;
        v.push_back(long_text);
        d.emplace_back(std::string(long_text));
    }
}

// ---- smart pointers, functions -----------------------------------------------------------------

struct peer {
    std::shared_ptr<peer> other;
    char c[32] = {};
};

void shared_ring()
{
    auto a = std::make_shared<peer>(), b = std::make_shared<peer>();
    a->other = b;
    b->other = a;
}
void shared_ring_three()
{
    for (int i = 0; i < 5; i++) {
        auto a = std::make_shared<peer>(), b = std::make_shared<peer>(),
             c = std::make_shared<peer>();
        a->other = b;
        b->other = c;
        c->other = a;
    }
}
void released()
{
    auto p = std::make_unique<plain>();
    corpus_use(p.release());
}
void none_smart()
{
    auto a = std::make_shared<peer>();
    std::weak_ptr<peer> w = a;
    auto b = a;
    std::unique_ptr<plain> p(new plain);
}
void held_weak() // the block of make_shared stays as long as a weak pointer does
{
    static std::weak_ptr<peer> w;
    w = std::make_shared<peer>();
}
void held_function()
{
    static std::function<void *()> f;
    plain big{};
    void *p = new plain;
    f = [big, p] { return big.c[0] ? p : nullptr; };
}
void lost_function()
{
    auto *f = new std::function<void()>;
    plain big{};
    *f = [big] { corpus_use(const_cast<plain *>(&big)); };
    corpus_use(f);
}

// ---- exceptions --------------------------------------------------------------------------------

corpus_noinline void throwing(int i)
{
    plain *p = new plain;
    corpus_use(p);
    if (i % 2)
        throw std::runtime_error(long_text);
    delete p;
}
void thrown_past()
{
    for (int i = 0; i < 20; i++)
        try {
            throwing(i);
        } catch (const std::runtime_error &e) {
            corpus_use(const_cast<char *>(e.what()));
        }
}
struct unfinished {
    plain *p;
    unfinished() : p(new plain)
    {
        corpus_use(p);
        throw 1;
    }
    ~unfinished()
    {
        delete p;
    }
};
void constructor_throws()
{
    for (int i = 0; i < 10; i++)
        try {
            corpus_use(new unfinished);
        } catch (int) {
        }
}
void held_exception()
{
    static std::exception_ptr kept;
    try {
        throw std::runtime_error(long_text);
    } catch (...) {
        kept = std::current_exception();
    }
}

// ---- coroutines, threads -----------------------------------------------------------------------

struct task {
    struct promise_type {
        task get_return_object()
        {
            return {std::coroutine_handle<promise_type>::from_promise(*this)};
        }
        std::suspend_never initial_suspend()
        {
            return {};
        }
        std::suspend_always final_suspend() noexcept
        {
            return {};
        }
        void return_void()
        {
        }
        void unhandled_exception()
        {
        }
    };
    std::coroutine_handle<promise_type> handle;
};

task work()
{
    plain *p = new plain;
    corpus_use(p);
    co_await std::suspend_always{};
    delete p;
}
void held_coroutine()
{
    static std::coroutine_handle<task::promise_type> handle;
    handle = work().handle;
    corpus_use(&handle);
}
void lost_coroutine()
{
    corpus_use(work().handle.address());
}
void none_coroutine()
{
    auto handle = work().handle;
    handle.resume();
    handle.destroy();
}
void thread_throws()
{
    std::thread([] { thrown_past(); }).join();
}
void none_future()
{
    auto f = std::async(std::launch::async, [] { return std::string(long_text); });
    corpus_use(f.get().data());
}
thread_local std::vector<plain *> mine;
void thread_local_lost()
{
    std::thread([] {
        for (int i = 0; i < 10; i++)
            mine.push_back(new plain);
    }).join();
}
void thread_local_held()
{
    for (int i = 0; i < 10; i++)
        mine.push_back(new plain);
}
void placed()
{
    alignas(plain) static char room[sizeof(plain *) * 4];
    root = ::new (static_cast<void *>(room)) plain *(new plain);
}

const corpus_case cases[] = {
    {"new", by_new, "direct 10x72", nullptr},
    {"new-array", by_new_array, "direct 10x321", nullptr},
    {"new-counted", by_new_counted, "direct 10x224", nullptr},
    {"new-aligned", by_new_aligned, "direct 10x128", nullptr},
    {"new-nothrow", by_new_nothrow, "direct 10x72", nullptr},
    {"held-counted", held_counted, "none", nullptr},
    {"held-base", held_base, "none", nullptr},
    {"lost-base", lost_base, "direct 1x72", nullptr},
    {"lost-string", lost_string, "direct 1x32, indirect 1x65", nullptr},
    {"lost-vector", lost_vector, "direct 1x24, indirect 1x4000", nullptr},
    {"lost-list", lost_list, "direct 1x24, indirect 50x24", nullptr},
    {"lost-map", lost_map, "direct 1x48, indirect 100x?", nullptr},
    {"lost-pointers", lost_pointers, "direct 40x72", nullptr},
    {"lost-erased", lost_erased, "direct 10x72", nullptr},
    {"held-vector", held_vector, "none", nullptr},
    {"held-map", held_map, "none", nullptr},
    {"held-unordered", held_unordered, "none", nullptr},
    {"held-deque", held_deque, "none", nullptr},
    {"none-containers", none_containers, "none", nullptr},
    {"shared-ring", shared_ring, "direct 1x64, indirect 1x64", nullptr},
    {"shared-ring-three", shared_ring_three, "direct 5x64, indirect 10x64", nullptr},
    {"released", released, "direct 1x72", nullptr},
    {"none-smart", none_smart, "none", nullptr},
    {"held-weak", held_weak, "none", nullptr},
    {"held-function", held_function, "none", nullptr},
    {"lost-function", lost_function, "direct 1x32, indirect 1x72", nullptr},
    {"thrown-past", thrown_past, "direct 10x72", nullptr},
    {"constructor-throws", constructor_throws, "direct 10x72", nullptr},
    {"held-exception", held_exception, "none", nullptr},
    {"held-coroutine", held_coroutine, "none", nullptr},
    {"lost-coroutine", lost_coroutine, "direct 1x?, indirect 1x72", nullptr},
    {"none-coroutine", none_coroutine, "none", nullptr},
    {"thread-throws", thread_throws, "direct 10x72", nullptr},
    {"none-future", none_future, "none", nullptr},
    {"thread-local-lost", thread_local_lost, "direct 10x72", nullptr},
    {"thread-local-held", thread_local_held, "none", nullptr},
    {"placed", placed, "none", nullptr},
};

} // namespace

CORPUS_MAIN(cases)
