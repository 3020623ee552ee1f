// gcbench: the shape of Ellis, Kovac and Boehm's GCBench, trees that live for long and briefly.
//
// `gcbench [-f] DEPTH` drops one tree of DEPTH + 2 levels to stretch the heap, keeps one of DEPTH
// and an array of numbers to the end, and for every second depth from 4 to DEPTH builds and drops
// as many trees as make up twice the stretched one: half of them from the root down, half from the
// leaves up. `-f` frees each tree instead of dropping it. Exit status 1 when what was kept has
// changed.
#include "peer.h"

enum { DEPTH_MIN = 4, DEPTH_STEP = 2, NUMBERS = 500000 };

struct tree {
    struct tree *left;
    struct tree *right;
    int64_t depth, serial;
};

static int freeing;
static int64_t serial;

static struct tree *node_new(int depth, struct tree *left, struct tree *right)
{
    struct tree *node = block_new(sizeof *node);
    *node = (struct tree){left, right, depth, serial++};
    return node;
}

// From the root down: every store makes an older object point to a younger one.
static void tree_grow(struct tree *tree, int depth)
{
    if (depth == 0)
        return;
    tree->left = node_new(depth - 1, NULL, NULL);
    tree->right = node_new(depth - 1, NULL, NULL);
    tree_grow(tree->left, depth - 1);
    tree_grow(tree->right, depth - 1);
}

// From the leaves up: only registers and the stack hold the parts.
static struct tree *tree_make(int depth)
{
    if (depth == 0)
        return node_new(0, NULL, NULL);
    struct tree *left = tree_make(depth - 1);
    struct tree *right = tree_make(depth - 1);
    return node_new(depth, left, right);
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

static uint64_t tree_size(int depth)
{
    return (2ull << depth) - 1;
}

static void trees_run(int depth, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        struct tree *tree = node_new(depth, NULL, NULL);
        tree_grow(tree, depth);
        tree_drop(tree);
    }
    for (uint64_t i = 0; i < count; i++)
        tree_drop(tree_make(depth));
}

int main(int argc, char **argv)
{
    freeing = argc == 3 && strcmp(argv[1], "-f") == 0;
    int depth = argc == 2 + freeing ? atoi(argv[1 + freeing]) : 0;
    if (depth < DEPTH_MIN || depth > 30) {
        fprintf(stderr, "usage: gcbench [-f] DEPTH\n");
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
    for (int d = DEPTH_MIN; d <= depth; d += DEPTH_STEP)
        trees_run(d, tree_size(depth + 2) / tree_size(d));
    if (tree_count(kept) != tree_size(depth) || numbers[999] != 1.0 / 1000)
        fail("gcbench: what was kept has changed");
    printf("ms=%.1f cpu_ms=%.1f peak_kib=%lu cycles=%llu check=%llu\n",
           (double)(now_ns() - start) / 1e6, (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e6,
           peer_memory("VmHWM"), (unsigned long long)peer_cycles(), (unsigned long long)serial);
    peer_finish();
    return 0;
}
