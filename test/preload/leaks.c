// What is lost is found, counted exactly and told apart: shapes of lost and of held objects, each
// in a forked child that ends by exit, whose raw record the parent reads; and objects that come
// back, which only checks while the program runs can see.
//
// Shapes that valgrind's manual names ("Memory leak detection") are here by their numbers; what it
// calls possibly lost is `possible` here, too.
// SALVAGE: mode=leaks,format=raw,report=fd:99
// SALVAGE: mode=leaks,format=raw,report=fd:99,barrier=stw
// SALVAGE: mode=leaks,format=raw,report=fd:99,checkmark=1,stress=8
#include "check.h"

#include <pthread.h>

#define REPORT_FD 99
#define NOINLINE __attribute__((noinline, noclone))

enum class { DIRECT, INDIRECT, POSSIBLE, ABANDONED, HIDDEN, LIVE, NCLASS };
static const char *const class_names[NCLASS] = {"direct",    "indirect", "possible",
                                                "abandoned", "hidden",   "live"};

struct count {
    unsigned long objects, bytes;
};

struct record {
    char reason[16];
    struct count of[NCLASS];
    unsigned sites, modules, stacks, objects;
    char held[256]; // of the last object line that has a place
    bool failed, ended;
};

static struct record records[8];
static unsigned nrecords;

// ---- reading records ----------------------------------------------------------------------------

static void site_read(struct record *r, const char *line)
{
    char class[16];
    unsigned long objects, bytes;
    if (!CHECK(sscanf(line, "site %*u %15s %lu %lu %*f %*f %*u %*f %*d", class, &objects, &bytes) ==
                   3,
               "a site: %s", line))
        return;
    for (unsigned i = 0; i < NCLASS; i++)
        if (strcmp(class, class_names[i]) == 0) {
            r->of[i].objects += objects;
            r->of[i].bytes += bytes;
            r->sites++;
            return;
        }
    CHECK(false, "an unknown class: %s", line);
}

static void line_read(const char *line)
{
    struct record *r = &records[nrecords ? nrecords - 1 : 0];
    if (strncmp(line, "salvage-raw 1 ", 14) == 0) {
        if (!CHECK(nrecords < 8, "no more than eight records"))
            exit(1);
        records[nrecords++] = (struct record){0};
    } else if (strncmp(line, "check ", 6) == 0) {
        CHECK(sscanf(line, "check %15s %*f %*f %*u", r->reason) == 1, "a check: %s", line);
    } else if (strncmp(line, "site ", 5) == 0) {
        site_read(r, line);
    } else if (strncmp(line, "object ", 7) == 0) {
        sscanf(line, "object %*s %*u %*u %*s %*f %255s", r->held);
        r->objects++;
    } else if (strcmp(line, "end") == 0) {
        r->ended = true;
    }
    r->failed |= strncmp(line, "failed", 6) == 0;
    r->modules += strncmp(line, "module ", 7) == 0;
    r->stacks += strncmp(line, "stack ", 6) == 0;
}

// What has been reported since the last time.
static void records_read(void)
{
    static char text[1 << 20];
    nrecords = 0;
    lseek(REPORT_FD, 0, SEEK_SET);
    check_slurp(REPORT_FD, text, sizeof text);
    CHECK(ftruncate(REPORT_FD, 0) == 0, "ftruncate");
    lseek(REPORT_FD, 0, SEEK_SET);
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        line_read(line);
    for (unsigned i = 0; i < nrecords; i++)
        CHECK(records[i].ended && !records[i].failed && records[i].modules > 2,
              "record %u is whole", i);
}

static const struct record *record_last(void)
{
    static const struct record none;
    return nrecords ? &records[nrecords - 1] : &none;
}

static void count_check(const char *name, enum class class, unsigned long objects,
                        unsigned long bytes)
{
    const struct count *c = &record_last()->of[class];
    CHECK(c->objects == objects && c->bytes == bytes,
          "%s, %s: %lu objects, %lu bytes, not %lu, %lu", name, class_names[class], c->objects,
          c->bytes, objects, bytes);
}

// ---- shapes -------------------------------------------------------------------------------------

struct node {
    struct node *volatile to[2];
    char rest[24];
};
#define NODE sizeof(struct node)

static void *volatile root;
static void *volatile root_second;
static volatile uintptr_t secret;

static struct node *node(struct node *a, struct node *b)
{
    struct node *n = check_hide((struct node *)malloc(NODE));
    n->to[0] = a;
    n->to[1] = b;
    return n;
}

static struct node *interior(struct node *n)
{
    return (struct node *)((char *)n + 8);
}

// Overwrites what earlier calls left on the stack.
static NOINLINE void wipe(void)
{
    volatile char dead[16384];
    for (size_t i = 0; i < sizeof dead; i++)
        dead[i] = 0;
}

// Runs fn with frames that no later call but wipe reaches down to.
static NOINLINE void deep(void (*fn)(void))
{
    volatile char pad[8192];
    pad[0] = 0;
    fn();
    pad[1] = 0;
}

static NOINLINE void held(void)
{
    root = node(NULL, NULL);
}

static NOINLINE void held_by_held(void)
{
    root = node(node(NULL, NULL), NULL);
}

static NOINLINE void lost_one(void)
{
    node(NULL, NULL);
}

static NOINLINE void lost_chain(void)
{
    node(node(NULL, NULL), NULL);
}

static NOINLINE void held_inside(void)
{
    root = interior(node(NULL, NULL));
}

static NOINLINE void held_inside_by_held(void)
{
    root = node(interior(node(NULL, NULL)), NULL);
}

static NOINLINE void held_by_inside(void)
{
    root = interior(node(node(NULL, NULL), NULL));
}

static NOINLINE void held_inside_twice(void)
{
    root = interior(node(interior(node(NULL, NULL)), NULL));
}

static NOINLINE void lost_inside(void)
{
    node(interior(node(NULL, NULL)), NULL);
}

static NOINLINE void held_tagged(void)
{
    root = (char *)node(NULL, NULL) + 1;
}

static NOINLINE void lost_many(void)
{
    for (int i = 0; i < 1000; i++)
        check_hide(malloc(21));
}

static NOINLINE void lost_tree(void)
{
    node(node(node(NULL, NULL), node(NULL, NULL)), node(node(NULL, NULL), node(NULL, NULL)));
}

static NOINLINE struct node *ring(unsigned n)
{
    struct node *first = node(NULL, NULL), *last = first;
    while (--n)
        last = last->to[0] = node(NULL, NULL);
    last->to[0] = first;
    return first;
}

static NOINLINE void lost_ring(void)
{
    ring(5);
}

static NOINLINE void lost_self(void)
{
    ring(1);
}

static NOINLINE void lost_rings(void)
{
    for (int i = 0; i < 7; i++)
        ring(3);
}

// The first ring leads to the second: in whichever order they lie in memory, one object is direct.
static NOINLINE void lost_rings_up(void)
{
    struct node *a = ring(4), *b = ring(4);
    a->to[0]->to[1] = b;
}

static NOINLINE void lost_rings_down(void)
{
    struct node *a = ring(4), *b = ring(4);
    b->to[0]->to[1] = a->to[0];
}

// A leader that something allocated later turns out to lead to.
static NOINLINE void lost_diamond(void)
{
    struct node *low = node(node(NULL, NULL), NULL);
    node(low, node(low, NULL));
}

static NOINLINE void lost_list(void)
{
    struct node *n = NULL;
    for (int i = 0; i < 20000; i++)
        n = node(n, NULL);
}

static NOINLINE void lost_large(void)
{
    char *volatile *a = check_hide((char *volatile *)malloc(300000));
    a[30000] = check_hide((char *)malloc(5000000));
}

static NOINLINE void lost_calloc(void)
{
    char *volatile *a = check_hide((char *volatile *)calloc(3, 100));
    a[7] = check_hide((char *)aligned_alloc(256, 1000));
}

static NOINLINE void lost_realloc(void)
{
    void *p = check_hide(malloc(10));
    p = check_hide(realloc(p, 5000));
    check_hide(realloc(p, 100000));
}

// What stands behind the bytes that were asked for is no pointer.
static NOINLINE void lost_slack(void)
{
    struct node *a = check_hide((struct node *)malloc(64 - 1));
    a->to[0] = a->to[1] = NULL;
    struct node **old = check_hide((struct node **)malloc(64 - 1));
    memset(old, 0, 63);
    old[6] = a;
    free(old);
    old = check_hide((struct node **)malloc(40));
    memset(old, 0, 40);
}

// exit in a frame that has the pointer below it, on what was its stack.
static NOINLINE void stack_dirty(void)
{
    void *volatile dead[64];
    for (int i = 0; i < 64; i++)
        dead[i] = NULL;
    void *p = malloc(77);
    for (int i = 0; i < 64; i++)
        dead[i] = p;
    check_hide(p);
}

static void *thread_run(void *arg)
{
    for (int i = 0; i < 200; i++) {
        void *p = check_hide(malloc(100 + (size_t)i));
        if (i % 4)
            free(p);
    }
    root_second = arg;
    return NULL;
}

static NOINLINE void lost_threads(void)
{
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&t[i], NULL, thread_run, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
}

struct shape {
    const char *name;
    void (*make)(void);
    struct count direct, indirect, possible;
};

static const struct shape shapes[] = {
    {"1", held, {0, 0}, {0, 0}, {0, 0}},
    {"2", held_by_held, {0, 0}, {0, 0}, {0, 0}},
    {"3", lost_one, {1, NODE}, {0, 0}, {0, 0}},
    {"4", lost_chain, {1, NODE}, {1, NODE}, {0, 0}},
    {"5", held_inside, {0, 0}, {0, 0}, {1, NODE}},
    {"6", held_inside_by_held, {0, 0}, {0, 0}, {1, NODE}},
    {"7", held_by_inside, {0, 0}, {0, 0}, {2, 2 * NODE}},
    {"8", held_inside_twice, {0, 0}, {0, 0}, {2, 2 * NODE}},
    {"9", lost_inside, {1, NODE}, {1, NODE}, {0, 0}},
    {"tagged", held_tagged, {0, 0}, {0, 0}, {1, NODE}},
    {"many", lost_many, {1000, 21000}, {0, 0}, {0, 0}},
    {"tree", lost_tree, {1, NODE}, {6, 6 * NODE}, {0, 0}},
    {"ring", lost_ring, {1, NODE}, {4, 4 * NODE}, {0, 0}},
    {"self", lost_self, {1, NODE}, {0, 0}, {0, 0}},
    {"rings", lost_rings, {7, 7 * NODE}, {14, 14 * NODE}, {0, 0}},
    {"rings up", lost_rings_up, {1, NODE}, {7, 7 * NODE}, {0, 0}},
    {"rings down", lost_rings_down, {1, NODE}, {7, 7 * NODE}, {0, 0}},
    {"diamond", lost_diamond, {1, NODE}, {3, 3 * NODE}, {0, 0}},
    {"list", lost_list, {1, NODE}, {19999, 19999 * NODE}, {0, 0}},
    {"large", lost_large, {1, 300000}, {1, 5000000}, {0, 0}},
    {"calloc", lost_calloc, {1, 300}, {1, 1000}, {0, 0}},
    {"realloc", lost_realloc, {1, 100000}, {0, 0}, {0, 0}},
    {"slack", lost_slack, {2, 103}, {0, 0}, {0, 0}},
    {"threads", lost_threads, {200, 4 * 9900}, {0, 0}, {0, 0}},
};

static void shape_check(const struct shape *s)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(60);
        s->make();
        wipe();
        exit(7);
    }
    int status = check_wait(pid);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7, "%s: status %x", s->name, status);
    records_read();
    CHECK(nrecords == 1 && strcmp(record_last()->reason, "exit") == 0, "%s: %u records, %s",
          s->name, nrecords, record_last()->reason);
    count_check(s->name, DIRECT, s->direct.objects, s->direct.bytes);
    count_check(s->name, INDIRECT, s->indirect.objects, s->indirect.bytes);
    count_check(s->name, POSSIBLE, s->possible.objects, s->possible.bytes);
    count_check(s->name, HIDDEN, 0, 0);
    CHECK(!s->possible.objects || record_last()->held[0], "%s: the place of the word", s->name);
    CHECK(record_last()->sites >= record_last()->stacks, "%s: sites and their stacks", s->name);
}

// ---- objects that come back ---------------------------------------------------------------------

// A check now; what it says is counted from `before` on, so that cases don't disturb each other.
static void check_now(const char *name, unsigned long direct, unsigned long hidden)
{
    wipe();
    int n = salvage_leak_check();
    records_read();
    CHECK(nrecords == 1 && strcmp(record_last()->reason, "api") == 0, "%s: an api record", name);
    const struct record *r = record_last();
    CHECK(r->of[DIRECT].objects == direct, "%s: %lu direct, not %lu", name, r->of[DIRECT].objects,
          direct);
    CHECK((unsigned long)n == r->of[DIRECT].objects + r->of[INDIRECT].objects,
          "%s: salvage_leak_check returned %d", name, n);
    CHECK(r->of[HIDDEN].objects == hidden, "%s: %lu hidden, not %lu", name, r->of[HIDDEN].objects,
          hidden);
}

#define MASK ((uintptr_t)0x5a5a5a5a5a5a5a5a)

static NOINLINE void secret_make(size_t bytes)
{
    secret = (uintptr_t)malloc(bytes) ^ MASK;
}

static NOINLINE void secret_free(void)
{
    free((void *)(secret ^ MASK));
    secret = 0;
}

static NOINLINE void secret_realloc(size_t bytes)
{
    root = realloc((void *)(secret ^ MASK), bytes);
    secret = 0;
}

static NOINLINE void root_free(void)
{
    free(root);
    root = NULL;
}

static NOINLINE void secret_show(void)
{
    root = (void *)(secret ^ MASK);
}

static void hidden_freed(void)
{
    secret_make(100);
    check_now("hidden", 1, 0);
    secret_free();
    check_now("hidden, then freed", 0, 1);
    secret_make(100000);
    check_now("hidden, large", 1, 1);
    secret_free();
    check_now("hidden, large, then freed", 0, 2);
}

static void hidden_realloced(void)
{
    secret_make(100);
    check_now("hidden", 1, 0);
    secret_realloc(101);
    check_now("realloc'ed in place", 0, 1);
    root_free();
    secret_make(100);
    check_now("hidden again", 1, 1);
    secret_realloc(9000);
    check_now("realloc'ed elsewhere", 0, 2);
    root_free();
    secret_make(200000);
    check_now("hidden, large", 1, 2);
    secret_realloc(220000);
    check_now("realloc'ed, large", 0, 3);
    root_free();
}

// What one cycle missed and the program frees before the next one is no leak, and hides nothing.
static void freed_between(void)
{
    secret_make(100);
    wipe();
    check_collect();
    secret_free();
    check_now("freed between two cycles", 0, 0);
    secret_make(100);
    wipe();
    check_collect();
    secret_show();
    check_now("shown between two cycles", 0, 0);
}

static void shown_again(void)
{
    secret_make(100);
    check_now("hidden", 1, 0);
    secret_show();
    check_now("shown again", 0, 0);
    secret_show();
    root = NULL;
    secret = 0;
    check_now("lost for good", 1, 0);
    check_now("still lost", 1, 0);
}

static NOINLINE void ignored_make(void)
{
    struct node *n = node(node(NULL, NULL), node(NULL, NULL));
    salvage_ignore(interior(n));
    secret = (uintptr_t)n ^ MASK;
}

static NOINLINE void ignored_free(void)
{
    struct node *n = (struct node *)(secret ^ MASK);
    n->to[0] = n->to[1] = NULL;
    free(n);
    secret = 0;
}

static void ignored(void)
{
    ignored_make();
    check_now("ignored", 0, 0);
    ignored_free();
    check_now("what an ignored one led to", 2, 0);
}

extern void __lsan_disable(void) __attribute__((weak));
extern void __lsan_enable(void) __attribute__((weak));

static NOINLINE void disabled_make(void)
{
    __lsan_disable();
    struct node *n = node(NULL, NULL);
    check_hide(malloc(500000));
    __lsan_enable();
    n->to[0] = node(NULL, NULL);
    node(NULL, NULL);
}

static void disabled(void)
{
    disabled_make();
    check_now("allocated while disabled", 1, 0);
}

// A thread writes all the while; what another one has lost before is found all the same.
static _Atomic bool stop;

static void *churn(void *arg)
{
    void *keep[64] = {arg};
    for (unsigned i = 0; !stop; i++) {
        void **at = &keep[i % 64];
        free(*at);
        *at = malloc(16 + i % 500);
    }
    for (unsigned i = 0; i < 64; i++)
        free(keep[i]);
    return NULL;
}

static void beside_threads(void)
{
    pthread_t t[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&t[i], NULL, churn, NULL);
    deep(lost_many);
    deep(lost_ring);
    check_now("beside threads", 1001, 0);
    stop = true;
    for (int i = 0; i < 2; i++)
        pthread_join(t[i], NULL);
    check_now("after them", 1001, 0);
    CHECK(record_last()->of[INDIRECT].objects == 4, "the ring beside threads");
}

// Its objects are the same after a fork, and the child finds its own.
static void forked_child(void)
{
    deep(lost_one);
    check_now("before fork", 1, 0);
    if (fork() == 0) {
        deep(lost_one);
        check_now("child", 2, 0);
        _exit(atomic_load(&check_failed) ? 1 : 0);
    }
    int status = -1;
    wait(&status);
    CHECK(status == 0, "the forked child of a case: %x", status);
    records_read();
    check_now("parent", 1, 0);
}

int main(void)
{
    int fd = memfd_create("report", 0);
    if (!check_salvage() ||
        !CHECK(fd >= 0 && dup2(fd, REPORT_FD) == REPORT_FD, "a file for reports"))
        return check_done();
    for (unsigned i = 0; i < sizeof shapes / sizeof *shapes; i++)
        shape_check(&shapes[i]);
    const struct shape below = {"below exit", stack_dirty, {1, 77}, {0, 0}, {0, 0}};
    shape_check(&below);
    static const struct {
        const char *name;
        void (*fn)(void);
    } cases[] = {{"hidden, freed", hidden_freed},
                 {"hidden, realloc'ed", hidden_realloced},
                 {"freed between", freed_between},
                 {"shown again", shown_again},
                 {"ignored", ignored},
                 {"disabled", disabled},
                 {"beside threads", beside_threads},
                 {"forked child", forked_child}};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_case(cases[i].name, cases[i].fn, 60);
        records_read();
    }
    return check_done();
}
