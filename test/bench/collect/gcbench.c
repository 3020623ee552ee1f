// gcbench: the shape of Ellis, Kovac and Boehm's GCBench, trees that live for long and briefly.
//
// `gcbench [-f] DEPTH [THREADS]` drops one tree of DEPTH + 2 levels to stretch the heap, keeps one
// of DEPTH and an array of numbers to the end, and for every second depth from 4 to DEPTH builds
// and drops as many trees as make up twice the stretched one: half of them from the root down, half
// from the leaves up; with THREADS each of so many does so. `-f` frees each tree instead of
// dropping it. Exit status 1 when what was kept has changed.
#include "peer.h"

enum { DEPTH_MIN = 4, DEPTH_STEP = 2, NUMBERS = 500000, THREADS_MAX = 64 };

struct tree {
    struct tree *left;
    struct tree *right;
    int64_t depth, serial;
};

static int freeing, depth;
static _Thread_local int64_t serial;

static struct tree *node_new(int levels, struct tree *left, struct tree *right)
{
    struct tree *node = block_new(sizeof *node);
    *node = (struct tree){left, right, levels, serial++};
    return node;
}

// From the root down: every store makes an older object point to a younger one.
static void tree_grow(struct tree *tree, int levels)
{
    if (levels == 0)
        return;
    tree->left = node_new(levels - 1, NULL, NULL);
    tree->right = node_new(levels - 1, NULL, NULL);
    tree_grow(tree->left, levels - 1);
    tree_grow(tree->right, levels - 1);
}

// From the leaves up: only registers and the stack hold the parts.
static struct tree *tree_make(int levels)
{
    if (levels == 0)
        return node_new(0, NULL, NULL);
    struct tree *left = tree_make(levels - 1);
    struct tree *right = tree_make(levels - 1);
    return node_new(levels, left, right);
}

static void tree_drop(struct tree *tree)
{
    if (!freeing || !tree)
        return;
    tree_drop(tree->left);
    tree_drop(tree->right);
    block_free(tree);
}

static uint64_t tree_count(const struct tree *tree)
{
    return tree ? 1 + tree_count(tree->left) + tree_count(tree->right) : 0;
}

static uint64_t tree_size(int levels)
{
    return (2ull << levels) - 1;
}

static void trees_make(int levels, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        struct tree *tree = node_new(levels, NULL, NULL);
        tree_grow(tree, levels);
        tree_drop(tree);
    }
    for (uint64_t i = 0; i < count; i++)
        tree_drop(tree_make(levels));
}

// Returns how many nodes this thread has made.
static void *trees_run(void *unused)
{
    (void)unused;
    for (int d = DEPTH_MIN; d <= depth; d += DEPTH_STEP)
        trees_make(d, tree_size(depth + 2) / tree_size(d));
    return (void *)(intptr_t)serial;
}

static int64_t threads_run(int count)
{
    pthread_t threads[THREADS_MAX];
    int64_t nodes = 0;
    for (int i = 1; i < count; i++)
        if (pthread_create(&threads[i], NULL, trees_run, NULL) != 0)
            fail("gcbench: no thread");
    trees_run(NULL);
    for (int i = 1; i < count; i++) {
        void *made;
        pthread_join(threads[i], &made);
        nodes += (intptr_t)made;
    }
    return nodes + serial;
}

int main(int argc, char **argv)
{
    freeing = argc > 1 && strcmp(argv[1], "-f") == 0;
    depth = argc > 1 + freeing ? atoi(argv[1 + freeing]) : 0;
    int threads = argc == 3 + freeing ? atoi(argv[2 + freeing]) : argc == 2 + freeing;
    if (depth < DEPTH_MIN || depth > 30 || threads < 1 || threads > THREADS_MAX) {
        fprintf(stderr, "usage: gcbench [-f] DEPTH [THREADS]\n");
        return 2;
    }
    peer_start();
    uint64_t start = now_ns();
    tree_drop(tree_make(depth + 2));
    struct tree *kept = node_new(depth, NULL, NULL);
    tree_grow(kept, depth);
    double *numbers = block_new_noscan(NUMBERS * sizeof *numbers);
    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = 1.0 / (i + 1);
    int64_t nodes = threads_run(threads);
    if (tree_count(kept) != tree_size(depth) || numbers[999] != 1.0 / 1000)
        fail("gcbench: what was kept has changed");
    printf("ms=%.1f cpu_ms=%.1f peak_kib=%lu cycles=%llu check=%llu\n",
           (double)(now_ns() - start) / 1e6, (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e6,
           peer_memory("VmHWM"), (unsigned long long)peer_cycles(), (unsigned long long)nodes);
    peer_finish();
    return 0;
}
