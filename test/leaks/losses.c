// Ways to lose memory: by each function that hands it out, by overwriting, by freeing what leads to
// it; and the shapes of what is lost: chains, trees, cycles, valgrind's nine.
#define _GNU_SOURCE
#include "corpus.h"

#include <dirent.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdint.h>
#include <wchar.h>

struct node {
    struct node *left, *right;
    char payload[24];
};
#define NODE "40"

static void *volatile root; // a reference of the program's: never optimised away

static corpus_noinline struct node *node_make(struct node *left, struct node *right)
{
    struct node *n = corpus_make(sizeof *n);
    n->left = left;
    n->right = right;
    return n;
}

// ---- one function each -------------------------------------------------------------------------

static void by_malloc(void)
{
    for (int i = 0; i < 10; i++)
        corpus_use(malloc(111));
}

static void by_malloc_one(void)
{
    corpus_use(malloc(4242));
}

static void by_malloc_tiny(void)
{
    for (int i = 0; i < 10; i++)
        corpus_use(malloc(1));
}

static void by_malloc_zero(void)
{
    for (int i = 0; i < 10; i++)
        corpus_use(malloc(0));
}

static void by_malloc_large(void)
{
    for (int i = 0; i < 3; i++)
        corpus_use(malloc(5000001));
}

static void by_malloc_sizes(void)
{
    for (size_t n = 1; n <= 1 << 20; n *= 2)
        corpus_use(malloc(n));
}

static void by_calloc(void)
{
    for (int i = 0; i < 10; i++)
        corpus_use(calloc(3, 37));
}

static void by_realloc_null(void)
{
    for (int i = 0; i < 10; i++)
        corpus_use(realloc(NULL, 111));
}

static void by_realloc_grown(void)
{
    for (int i = 0; i < 10; i++) {
        char *p = corpus_make(20);
        for (size_t n = 100; n < 60000; n *= 3)
            p = realloc(p, n);
        corpus_use(p);
    }
}

static void by_realloc_shrunk(void)
{
    for (int i = 0; i < 10; i++)
        corpus_use(realloc(corpus_make(90000), 33));
}

static void by_reallocarray(void)
{
    for (int i = 0; i < 10; i++)
        corpus_use(reallocarray(NULL, 7, 11));
}

static void by_posix_memalign(void)
{
    for (int i = 0; i < 10; i++) {
        void *p = NULL;
        if (posix_memalign(&p, 256, 333))
            abort();
        corpus_use(p);
    }
}

static void by_aligned_alloc(void)
{
    for (int i = 0; i < 10; i++)
        corpus_use(aligned_alloc(4096, 8192));
}

static void by_memalign(void)
{
    for (int i = 0; i < 10; i++)
        corpus_use(memalign(64, 100));
}

static void by_valloc(void)
{
    for (int i = 0; i < 10; i++)
        corpus_use(valloc(100));
}

static void by_strdup(void)
{
    for (int i = 0; i < 10; i++)
        corpus_use(strdup("nine char"));
}

static void by_asprintf(void)
{
    for (int i = 0; i < 10; i++) {
        char *text = NULL;
        if (asprintf(&text, "%d of %d", i, 10) < 0)
            abort();
        corpus_use(text);
    }
}

static void by_getline(void)
{
    char *line = NULL;
    size_t room = 0;
    FILE *in = fopen("/proc/self/status", "r");
    if (!in || getline(&line, &room, in) < 0)
        abort();
    corpus_use(line);
    fclose(in);
}

static void by_wcsdup(void)
{
    for (int i = 0; i < 10; i++)
        corpus_use(wcsdup(L"four"));
}

static void by_opendir(void)
{
    corpus_use(opendir("/"));
}

static void by_scandir(void)
{
    struct dirent **names = NULL;
    if (scandir("/proc/self/fdinfo/..", &names, NULL, alphasort) < 3)
        abort();
    corpus_use(names);
}

static void by_memstream(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        abort();
    fputs("some text", out);
    fclose(out);
    corpus_use(text);
}

static void none_freed(void)
{
    for (size_t n = 1; n < 200000; n += n / 3 + 1)
        free(corpus_make(n));
}

static void none_half(void)
{
    static void *kept[50];
    for (int i = 0; i < 100; i++) {
        void *p = corpus_make(64);
        if (i % 2)
            free(p);
        else
            kept[i / 2] = p;
    }
    corpus_use(kept);
}

// Every second of a span's slots: its neighbours are in use.
static void half_lost(void)
{
    static void *kept[50];
    for (int i = 0; i < 100; i++) {
        void *p = corpus_make(64);
        if (i % 2)
            kept[i / 2] = p;
    }
    corpus_use(kept);
}

// ---- ways --------------------------------------------------------------------------------------

static void overwritten(void)
{
    for (int i = 0; i < 11; i++)
        root = corpus_make(77);
}

static void parent_freed(void)
{
    struct node *parent = node_make(node_make(NULL, NULL), node_make(NULL, NULL));
    free(parent);
}

static void parent_cleared(void)
{
    struct node *parent = node_make(node_make(NULL, NULL), node_make(NULL, NULL));
    root = parent;
    parent->left = NULL;
}

static void realloc_cut(void)
{
    void **table = corpus_make(64 * sizeof *table);
    for (int i = 0; i < 64; i++)
        table[i] = corpus_make(30);
    root = realloc(table, 4 * sizeof *table);
}

// The old block is given back, and what it held counts from the new one.
static void realloc_moved(void)
{
    void **table = corpus_make(4 * sizeof *table);
    for (int i = 0; i < 4; i++)
        table[i] = corpus_make(30);
    root = realloc(table, 100000);
}

// The program still has the address of a block that it freed: what was in it counts no more.
static void freed_still_pointed_at(void)
{
    for (size_t n = 16; n <= 1024; n *= 4) {
        void **block = corpus_make(n * sizeof *block);
        for (size_t i = 0; i < n; i++)
            block[i] = corpus_make(36);
        root = block;
        free(block);
    }
}

static void union_reused(void)
{
    static union {
        void *pointer;
        uint64_t number;
    } word;
    word.pointer = corpus_make(50);
    corpus_use(&word);
    word.number = 17;
    corpus_use(&word);
}

static jmp_buf back;

static corpus_noinline void jump_past(void)
{
    void *p = corpus_make(222);
    corpus_use(p);
    longjmp(back, 1);
}

static void by_longjmp(void)
{
    if (setjmp(back) == 0)
        jump_past();
}

// Every level keeps a pointer in its frame; all of them have returned at the end.
static corpus_noinline int recurse(int depth)
{
    void *volatile mine = corpus_make(48);
    if (depth > 0 && recurse(depth - 1) < 0)
        return -1;
    corpus_use(mine);
    return depth;
}

static void frames_returned(void)
{
    recurse(99);
}

static corpus_noinline void error_path(int fail)
{
    char *buffer = corpus_make(500), *name = strdup("a name");
    if (!fail) {
        free(name);
        free(buffer);
        return;
    }
    free(name);
    fputs("", stderr);
}

static void by_error_path(void)
{
    for (int i = 0; i < 20; i++)
        error_path(i % 4 == 0);
}

static corpus_noinline char *name_make(int i)
{
    char text[32];
    snprintf(text, sizeof text, "name %02d", i);
    return strdup(text);
}

// A local array of pointers, of which the function forgets all but one.
static corpus_noinline void *choose(void)
{
    char *names[8];
    for (int i = 0; i < 8; i++)
        names[i] = name_make(i);
    corpus_use(names);
    return names[3];
}

static void array_forgotten(void)
{
    root = choose();
}

// ---- shapes ------------------------------------------------------------------------------------

static corpus_noinline struct node *list_make(int n)
{
    struct node *head = NULL;
    for (int i = 0; i < n; i++)
        head = node_make(head, NULL);
    return head;
}

static corpus_noinline struct node *tree_make(int depth)
{
    return depth ? node_make(tree_make(depth - 1), tree_make(depth - 1)) : NULL;
}

// right leads on, left back; the last and the first are joined.
static corpus_noinline struct node *ring_make(int n)
{
    struct node *first = node_make(NULL, NULL), *last = first;
    for (int i = 1; i < n; i++) {
        struct node *next = node_make(last, NULL);
        last->right = next;
        last = next;
    }
    last->right = first;
    first->left = last;
    return first;
}

static void list_lost(void)
{
    corpus_use(list_make(100));
}

static void list_long_lost(void)
{
    corpus_use(list_make(200000));
}

static void list_held(void)
{
    root = list_make(1000);
}

static void tree_lost(void)
{
    corpus_use(tree_make(7));
}

static void tree_held(void)
{
    root = tree_make(7);
}

static void tree_pruned(void)
{
    struct node *tree = tree_make(7);
    root = tree;
    tree->left->right = NULL;
}

static void ring_lost(void)
{
    corpus_use(ring_make(10));
}

static void rings_lost(void)
{
    for (int i = 0; i < 5; i++)
        corpus_use(ring_make(4));
}

static void ring_held(void)
{
    root = &ring_make(10)->right->right->payload;
}

static void self_lost(void)
{
    struct node *n = node_make(NULL, NULL);
    n->left = n;
    corpus_use(n);
}

// A ring with a tail leads to a second ring: one leader for all.
static void ring_to_ring(void)
{
    struct node *first = ring_make(3), *second = ring_make(3), *tail = node_make(second, NULL);
    first->left = tail;
    corpus_use(first);
}

// Two fathers, one child.
static void shared_lost(void)
{
    struct node *child = node_make(NULL, NULL);
    corpus_use(node_make(child, NULL));
    corpus_use(node_make(child, NULL));
}

static void shared_held(void)
{
    struct node *child = node_make(NULL, NULL);
    corpus_use(node_make(child, NULL));
    root = node_make(child, NULL);
}

// What lost objects lead to may be in use: that is no loss.
static void lost_to_live(void)
{
    struct node *live = node_make(NULL, NULL);
    root = live;
    corpus_use(node_make(live, NULL));
}

// ---- valgrind's nine (its manual, "Memory leak detection"): root -> AAA -> BBB -----------------

#define INSIDE(p) ((char *)(p) + 8)

static void shape1(void)
{
    root = corpus_make(50);
}
static void shape2(void)
{
    root = node_make(corpus_make(50), NULL);
}
static void shape3(void)
{
    corpus_use(corpus_make(50));
}
static void shape4(void)
{
    corpus_use(node_make(corpus_make(50), NULL));
}
static void shape5(void)
{
    root = INSIDE(corpus_make(50));
}
static void shape6(void)
{
    root = node_make((struct node *)INSIDE(corpus_make(50)), NULL);
}
static void shape7(void)
{
    root = INSIDE(node_make(corpus_make(50), NULL));
}
static void shape8(void)
{
    root = INSIDE(node_make((struct node *)INSIDE(corpus_make(50)), NULL));
}
static void shape9(void)
{
    corpus_use(node_make((struct node *)INSIDE(corpus_make(50)), NULL));
}

static const struct corpus_case cases[] = {
    {"malloc", by_malloc, "direct 10x111", NULL},
    {"malloc-one", by_malloc_one, "direct 1x4242", NULL},
    {"malloc-tiny", by_malloc_tiny, "direct 10x1", NULL},
    {"malloc-zero", by_malloc_zero, "direct 10x?", NULL},
    {"malloc-large", by_malloc_large, "direct 3x5000001", NULL},
    {"malloc-sizes", by_malloc_sizes, "direct 21x?", NULL},
    {"calloc", by_calloc, "direct 10x111", NULL},
    {"realloc-null", by_realloc_null, "direct 10x111", NULL},
    {"realloc-grown", by_realloc_grown, "direct 10x24300", NULL},
    {"realloc-shrunk", by_realloc_shrunk, "direct 10x33", NULL},
    {"reallocarray", by_reallocarray, "direct 10x77", NULL},
    {"posix_memalign", by_posix_memalign, "direct 10x333", NULL},
    {"aligned_alloc", by_aligned_alloc, "direct 10x8192", NULL},
    {"memalign", by_memalign, "direct 10x100", NULL},
    {"valloc", by_valloc, "direct 10x100", NULL},
    {"strdup", by_strdup, "direct 10x10", NULL},
    {"asprintf", by_asprintf, "direct 10x?", NULL},
    {"getline", by_getline, "direct 1x120", NULL},
    {"wcsdup", by_wcsdup, "direct 10x20", NULL},
    {"opendir", by_opendir, "direct 1x?", NULL},
    {"scandir", by_scandir, "direct 1x?, indirect +x?", NULL},
    {"memstream", by_memstream, "direct 1x?", NULL},
    {"none-freed", none_freed, "none", NULL},
    {"none-half", none_half, "none", NULL},
    {"half-lost", half_lost, "direct 50x64", NULL},
    {"overwritten", overwritten, "direct 10x77", NULL},
    {"parent-freed", parent_freed, "direct 2x" NODE, NULL},
    {"parent-cleared", parent_cleared, "direct 1x" NODE, NULL},
    {"realloc-cut", realloc_cut, "direct 60x30", NULL},
    {"realloc-moved", realloc_moved, "none", NULL},
    {"freed-still-pointed-at", freed_still_pointed_at, "direct 1360x36", NULL},
    {"union-reused", union_reused, "direct 1x50", NULL},
    {"longjmp", by_longjmp, "direct 1x222", NULL},
    {"frames-returned", frames_returned, "direct 100x48", NULL},
    {"error-path", by_error_path, "direct 5x500", NULL},
    {"array-forgotten", array_forgotten, "direct 7x8", NULL},
    {"list-lost", list_lost, "direct 1x" NODE ", indirect 99x" NODE, NULL},
    {"list-long-lost", list_long_lost, "direct 1x" NODE ", indirect 199999x" NODE, NULL},
    {"list-held", list_held, "none", NULL},
    {"tree-lost", tree_lost, "direct 1x" NODE ", indirect 126x" NODE, NULL},
    {"tree-held", tree_held, "none", NULL},
    {"tree-pruned", tree_pruned, "direct 1x" NODE ", indirect 30x" NODE, NULL},
    {"ring-lost", ring_lost, "direct 1x" NODE ", indirect 9x" NODE, NULL},
    {"rings-lost", rings_lost, "direct 5x" NODE ", indirect 15x" NODE, NULL},
    {"ring-held", ring_held, "none", NULL},
    {"self-lost", self_lost, "direct 1x" NODE, NULL},
    {"ring-to-ring", ring_to_ring, "direct 1x" NODE ", indirect 6x" NODE, NULL},
    {"shared-lost", shared_lost, "direct 2x" NODE ", indirect 1x" NODE, NULL},
    {"shared-held", shared_held, "direct 1x" NODE, NULL},
    {"lost-to-live", lost_to_live, "direct 1x" NODE, NULL},
    {"shape1", shape1, "none, possible 0", NULL},
    {"shape2", shape2, "none, possible 0", NULL},
    {"shape3", shape3, "direct 1x50, possible 0", NULL},
    {"shape4", shape4, "direct 1x" NODE ", indirect 1x50, possible 0", NULL},
    {"shape5", shape5, "none, possible 1x50", NULL},
    {"shape6", shape6, "none, possible 1x50", NULL},
    {"shape7", shape7, "none, possible 2x?", NULL},
    {"shape8", shape8, "none, possible 2x?", NULL},
    {"shape9", shape9, "direct 1x" NODE ", indirect 1x50, possible 0", NULL},
};
CORPUS_MAIN(cases)
