// A child goes on with the heap, and collects, whatever the parent's other threads did.
#include "check.h"

#define N 2000

struct node {
    struct node *next;
    long value;
};

struct node *root;
static volatile bool stop;

NOINLINE static struct node *make(long n)
{
    struct node *head = NULL;
    for (long i = 0; i < n; i++) {
        struct node *p = GC_malloc(sizeof *p);
        p->next = head;
        p->value = i;
        head = p;
    }
    return head;
}

static bool whole(const struct node *p, long n)
{
    for (; p; p = p->next)
        if (p->value != --n)
            return false;
    return n == 0;
}

static int child(void)
{
    bool right = whole(root, N);
    GC_gcollect();
    for (int i = 0; i < 20; i++)
        right &= whole(make(N), N);
    GC_gcollect();
    return right && whole(root, N) ? 42 : 1;
}

static int outcome(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void forks(int times)
{
    int right = 0;
    for (int i = 0; i < times; i++) {
        fflush(NULL);
        pid_t pid = fork();
        if (pid == 0) {
            alarm(30);
            _exit(child());
        }
        right += outcome(pid) == 42;
    }
    number("right", right);
}

TEST_RAW(alone)
{
    GC_set_handle_fork(1);
    GC_INIT();
    root = make(N);
    forks(5);
    GC_gcollect();
    is("parent", whole(root, N));
}

static void *busy(void *arg)
{
    while (!stop)
        if (!whole(make(200), 200))
            abort();
    return arg;
}

TEST_RAW(with_threads)
{
    GC_set_handle_fork(1);
    GC_INIT();
    pthread_t t[2];
    root = make(N);
    for (int i = 0; i < 2; i++)
        GC_pthread_create(&t[i], NULL, busy, NULL);
    forks(10);
    stop = true;
    for (int i = 0; i < 2; i++)
        GC_pthread_join(t[i], NULL);
    GC_gcollect();
    is("parent", whole(root, N));
}

// The child makes threads of its own.
TEST_RAW(thread_in_child)
{
    GC_set_handle_fork(1);
    GC_INIT();
    root = make(N);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(30);
        pthread_t t;
        stop = false;
        GC_pthread_create(&t, NULL, busy, NULL);
        GC_gcollect();
        stop = true;
        GC_pthread_join(t, NULL);
        _exit(child());
    }
    number("outcome", outcome(pid));
}

// By hand, as a program does that knows of it.
TEST_RAW(by_hand)
{
    GC_set_handle_fork(-1);
    GC_INIT();
    root = make(N);
    GC_atfork_prepare();
    pid_t pid = fork();
    if (pid == 0) {
        GC_atfork_child();
        alarm(30);
        _exit(child());
    }
    GC_atfork_parent();
    number("outcome", outcome(pid));
    GC_gcollect();
    is("parent", whole(root, N));
}
