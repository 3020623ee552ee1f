// What programs do with gc_cpp.h and gc_allocator.h, as a test: classes of gc and gc_cleanup, new
// with a placement, containers with the three allocators, plain new as libgccpp has it. Compiles
// against bdwgc's headers and ours, in C++98 and later, and runs with either library.
#include <gc/gc_allocator.h>
#include <gc_cpp.h>

#include <cstdio>
#include <cstdlib>
#include <list>
#include <map>
#include <string>
#include <vector>

#ifdef GC_NAMESPACE
using namespace boehmgc;
#endif

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                   \
            std::exit(1);                                                                          \
        }                                                                                          \
    } while (0)

static const int OBJECTS = 2000;
static int destroyed, cleaned;

struct node : public gc {
    node *next;
    int number;
    node(node *after, int n) : next(after), number(n)
    {
    }
};

struct resource : public gc_cleanup {
    int number;
    explicit resource(int n) : number(n)
    {
    }
    ~resource()
    {
        destroyed++;
    }
};

struct part : public resource { // the whole's destructor is called, once
    std::string *name;
    explicit part(int n) : resource(n), name(new std::string("part"))
    {
    }
    ~part()
    {
        delete name;
    }
};

struct plain {
    plain *next;
};

static void clean(void *, void *count)
{
    ++*static_cast<int *>(count);
}

// In steps: C++98 reads >> as a shift.
typedef gc_allocator<node *> collected;
typedef gc_allocator_ignore_off_page<node *> collected_large;
typedef std::pair<const int, node *> node_pair;
typedef traceable_allocator<node_pair> held;
typedef std::list<node *, collected> node_list;
typedef std::vector<node *, collected_large> node_vector;
typedef std::map<int, node *, std::less<int>, held> node_map;

static __attribute__((noinline)) void garbage_make()
{
    for (int i = 0; i < OBJECTS; i++) {
        GC_reachable_here(new part(i));
        GC_reachable_here(new (UseGC, clean, &cleaned) plain);
        GC_reachable_here(new (UseGC) plain);
        GC_reachable_here(new (PointerFreeGC) char[64]);
    }
}

static __attribute__((noinline)) void stack_clear()
{
    volatile char frame[65536];
    for (size_t i = 0; i < sizeof(frame); i++)
        frame[i] = 0;
}

static long containers_sum(node_list *list, node_vector *vector, node_map *map, plain *holder)
{
    long sum = 0;
    for (node_list::iterator i = list->begin(); i != list->end(); ++i)
        sum += (*i)->number;
    for (size_t i = 0; i < vector->size(); i++)
        sum += (*vector)[i]->number;
    for (node_map::iterator i = map->begin(); i != map->end(); ++i)
        sum += i->second->number;
    for (node *n = reinterpret_cast<node *>(holder->next); n; n = n->next)
        sum += n->number;
    return sum;
}

int main()
{
    GC_INIT();
    node_list *list = new (UseGC) node_list;
    node_vector *vector = new (UseGC) node_vector;
    node_map *map = new node_map; // plain: uncollectable, or malloc'ed and a root
    plain *holder = new (NoGC) plain;
    holder->next = 0;
    long expected = 0;
    for (int i = 0; i < OBJECTS; i++) {
        list->push_back(new node(0, i));
        vector->push_back(new node(0, i));
        (*map)[i] = new node(0, i);
        holder->next =
            reinterpret_cast<plain *>(new node(reinterpret_cast<node *>(holder->next), i));
        expected += 4L * i;
    }
    garbage_make();
    stack_clear();
    for (int i = 0; i < 4; i++) {
        GC_gcollect();
        for (int j = 0; j < OBJECTS; j++) // would be given what was still in use
            new (UseGC) char[i * 16 + 24][2]();
        GC_invoke_finalizers();
    }
    CHECK(containers_sum(list, vector, map, holder) == expected);
    CHECK(destroyed > OBJECTS * 9 / 10 && destroyed <= OBJECTS);
    CHECK(cleaned > OBJECTS * 9 / 10 && cleaned <= OBJECTS);

    {
        resource local(1); // not in the heap: the language's
    }
    part *explicitly = new part(2);
    int before = destroyed;
    delete explicitly;
    CHECK(destroyed == before + 1);
    int local_memory[8];
    node *placed = new (local_memory) node(0, 3);
    CHECK(static_cast<void *>(placed) == local_memory);
    typedef gc_allocator<double> atomic;
    std::vector<double, atomic> numbers(100, 1.5);
    typedef traceable_allocator<int> held_int;
    std::vector<int, held_int> many(100, 2);
    CHECK(gc_allocator<int>() == gc_allocator<char>() && numbers[99] + many[99] == 3.5);

    delete map;
    ::operator delete(holder);
    return 0;
}
