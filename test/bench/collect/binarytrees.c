// binarytrees: many perfect trees of two-word nodes, as the Benchmarks Game shapes it.
//
// `binarytrees [-f] DEPTH`: one tree of DEPTH + 1 levels, made and dropped; one of DEPTH, kept to
// the end; between, for every second depth from 4 on, as many trees as together have about as many
// nodes at each depth, each counted and dropped. `-f` frees them instead. The sum of all counts is
// printed, and is the same under every collector, or one has taken something away.
#include "peer.h"

enum { DEPTH_MIN = 4, DEPTH_STEP = 2 };

struct tree {
    struct tree *left;
    struct tree *right;
};

static int freeing;

static struct tree *tree_make(int depth)
{
    struct tree *tree = block_new(sizeof *tree);
    tree->left = depth ? tree_make(depth - 1) : NULL;
    tree->right = depth ? tree_make(depth - 1) : NULL;
    return tree;
}

static uint64_t tree_count(const struct tree *tree)
{
    return tree->left ? 1 + tree_count(tree->left) + tree_count(tree->right) : 1;
}

static void tree_drop(struct tree *tree)
{
    if (!freeing)
        return;
    if (tree->left) {
        tree_drop(tree->left);
        tree_drop(tree->right);
    }
    block_free(tree);
}

static uint64_t tree_run(int depth)
{
    struct tree *tree = tree_make(depth);
    uint64_t count = tree_count(tree);
    tree_drop(tree);
    return count;
}

int main(int argc, char **argv)
{
    freeing = argc == 3 && strcmp(argv[1], "-f") == 0;
    int depth = argc == 2 + freeing ? atoi(argv[1 + freeing]) : 0;
    if (depth < DEPTH_MIN || depth > 30) {
        fprintf(stderr, "usage: binarytrees [-f] DEPTH\n");
        return 2;
    }
    peer_start();
    uint64_t start = now_ns();
    uint64_t sum = tree_run(depth + 1);
    struct tree *kept = tree_make(depth);
    for (int d = DEPTH_MIN; d <= depth; d += DEPTH_STEP)
        for (uint64_t i = 0; i < 1ull << (depth - d + DEPTH_MIN); i++)
            sum += tree_run(d);
    sum += tree_count(kept);
    printf("ms=%.1f cpu_ms=%.1f peak_kib=%lu cycles=%llu check=%llu\n",
           (double)(now_ns() - start) / 1e6, (double)clock_ns(CLOCK_PROCESS_CPUTIME_ID) / 1e6,
           peer_memory("VmHWM"), (unsigned long long)peer_cycles(), (unsigned long long)sum);
    peer_finish();
    return 0;
}
