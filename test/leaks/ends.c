// Ways to end, and ways to go on: exits, forks, exec, threads that end before the program does.
// What was lost before is reported whichever way it ends, and the way stays what it was.
#define _GNU_SOURCE
#include "corpus.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOSS "direct 3x111"

extern char **environ;

static void *volatile root;

static corpus_noinline void lose(int count, size_t size)
{
    for (int i = 0; i < count; i++)
        corpus_use(corpus_make(size));
}

// The text stays in stdio's buffer: an end that flushes must still flush it.
static corpus_noinline void begin(void)
{
    printf("some text");
    lose(3, 111);
}

// ---- exits -------------------------------------------------------------------------------------

static void by_return(void)
{
    begin();
}
static void by_exit(void)
{
    begin();
    exit(3);
}
static corpus_noinline void exit_below(int depth)
{
    char frame[200];
    memset(frame, depth, sizeof frame);
    corpus_use(frame);
    if (depth == 0)
        exit(4);
    if (depth > 0)
        exit_below(depth - 1);
    corpus_use(frame);
}
static void by_exit_deep(void)
{
    begin();
    exit_below(20);
}
static void by_exit_now(void)
{
    begin();
    _exit(5);
}
static void by_quick_exit(void)
{
    begin();
    quick_exit(6);
}
static void by_abort(void)
{
    begin();
    abort();
}
static void by_sigterm(void)
{
    begin();
    raise(SIGTERM);
}
static void by_sigint(void)
{
    begin();
    kill(getpid(), SIGINT);
}
static void by_sighup(void)
{
    begin();
    raise(SIGHUP);
}
static void caught(int signal)
{
    (void)signal;
    _exit(7);
}
static void by_handler(void)
{
    signal(SIGTERM, caught);
    begin();
    raise(SIGTERM);
}
static void by_exec(void)
{
    begin();
    execl("/bin/echo", "echo", "hello", (char *)NULL);
}
static void by_exec_failed(void)
{
    begin();
    execl("/nonexistent", "no", (char *)NULL);
}

static void *exit_thread(void *unused)
{
    exit(8);
    return unused;
}
static void by_exit_thread(void)
{
    pthread_t t;
    begin();
    pthread_create(&t, NULL, exit_thread, NULL);
    pthread_join(t, NULL);
}
static void *end_thread(void *unused)
{
    return unused;
}
static void by_pthread_exit(void)
{
    pthread_t t;
    begin();
    pthread_create(&t, NULL, end_thread, NULL);
    pthread_detach(t);
    pthread_exit(NULL);
}

// ---- handlers ----------------------------------------------------------------------------------

static void root_free(void)
{
    printf("handler");
    free(root);
}
static void root_forget(void)
{
    printf("handler");
    root = NULL;
}
static void handler_frees(void)
{
    root = corpus_make(99);
    atexit(root_free);
    begin();
}
static void handler_forgets(void)
{
    root = corpus_make(99);
    atexit(root_forget);
    begin();
}
static void held_at_exit(void)
{
    root = corpus_make(99);
}

// The frame that calls exit holds it.
static void held_by_frame(void)
{
    void *volatile here[4] = {NULL, corpus_make(99), NULL, NULL};
    corpus_use((void *)here);
    exit(0);
}

// And those that it was called through.
static void held_by_caller(void)
{
    void *volatile here = corpus_make(99);
    exit_below(3);
    corpus_use(here);
}

// ---- processes ---------------------------------------------------------------------------------

static void wait_for(pid_t pid)
{
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        abort();
    printf("child: %d", status);
}

static void fork_exit_now(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        lose(5, 77);
        _exit(9);
    }
    wait_for(pid);
    lose(3, 111);
}
static void fork_exit(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        lose(5, 77);
        exit(9);
    }
    wait_for(pid);
}
// What the parent had lost before is lost in the child's copy as well.
static void fork_inherited(void)
{
    lose(2, 333);
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    wait_for(pid);
}
static void fork_held(void)
{
    root = corpus_make(99);
    pid_t pid = fork();
    if (pid == 0) {
        void *again = realloc(root, 5000);
        root = again;
        _exit(0);
    }
    wait_for(pid);
}
static void fork_child_drops(void)
{
    root = corpus_make(99);
    pid_t pid = fork();
    if (pid == 0) {
        root = NULL;
        _exit(0);
    }
    wait_for(pid);
}
static void fork_twice(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        pid_t grandchild = fork();
        if (grandchild == 0) {
            lose(4, 55);
            _exit(0);
        }
        waitpid(grandchild, NULL, 0);
        _exit(0);
    }
    wait_for(pid);
}
static void *fork_thread(void *unused)
{
    fork_exit_now();
    return unused;
}
static void fork_in_thread(void)
{
    pthread_t t;
    pthread_create(&t, NULL, fork_thread, NULL);
    pthread_join(t, NULL);
}
static void by_vfork(void)
{
    lose(3, 111);
    pid_t pid = vfork();
    if (pid == 0)
        _exit(2);
    wait_for(pid);
}
static void by_spawn(void)
{
    char *args[] = {"true", NULL};
    pid_t pid;
    if (posix_spawnp(&pid, "true", NULL, NULL, args, environ))
        abort();
    wait_for(pid);
    lose(3, 111);
}
static void by_system(void)
{
    lose(3, 111);
    printf("%d", system("exit 3"));
}
static void by_popen(void)
{
    char line[64] = "";
    FILE *in = popen("echo hello", "r");
    if (!in || !fgets(line, sizeof line, in))
        abort();
    printf("%s%d", line, pclose(in));
    lose(3, 111);
}

// ---- threads -----------------------------------------------------------------------------------

static void *lose_thread(void *unused)
{
    lose(10, 88);
    return unused;
}
static void thread_lost(void)
{
    pthread_t t;
    pthread_create(&t, NULL, lose_thread, NULL);
    pthread_join(t, NULL);
}
static void threads_lost(void)
{
    pthread_t t[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&t[i], NULL, lose_thread, NULL);
    for (int i = 0; i < 8; i++)
        pthread_join(t[i], NULL);
}

static sem_t done;

static void *lose_detached(void *unused)
{
    lose(10, 88);
    sem_post(&done);
    pause();
    return unused;
}
static void thread_waiting(void)
{
    pthread_t t;
    sem_init(&done, 0, 0);
    pthread_create(&t, NULL, lose_detached, NULL);
    pthread_detach(t);
    while (sem_wait(&done))
        ;
}

static void *result_thread(void *unused)
{
    (void)unused;
    return corpus_make(66);
}
static void result_ignored(void)
{
    for (int i = 0; i < 5; i++) {
        pthread_t t;
        pthread_create(&t, NULL, result_thread, NULL);
        pthread_join(t, NULL);
    }
}
static void result_freed(void)
{
    for (int i = 0; i < 5; i++) {
        pthread_t t;
        void *p;
        pthread_create(&t, NULL, result_thread, NULL);
        pthread_join(t, &p);
        free(p);
    }
}

// A thread that nobody joins: what it returned, its block holds for the join that may come.
static void *posting_thread(void *unused)
{
    void *p = result_thread(unused);
    sem_post(&done);
    return p;
}
static void not_joined(void)
{
    pthread_t t;
    sem_init(&done, 0, 0);
    pthread_create(&t, NULL, posting_thread, NULL);
    while (sem_wait(&done))
        ;
}

static pthread_key_t key;

static void *key_thread(void *unused)
{
    pthread_setspecific(key, corpus_make(66));
    return unused;
}
static void key_destructor(void)
{
    pthread_t t;
    pthread_key_create(&key, free);
    pthread_create(&t, NULL, key_thread, NULL);
    pthread_join(t, NULL);
}

static void *cancelled_thread(void *unused)
{
    // what the collector reads; NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores)
    void *volatile buffer = corpus_make(1234);
    sem_post(&done);
    for (;;)
        pause();
    corpus_use(buffer);
    return unused;
}
static void cancelled(void)
{
    pthread_t t;
    sem_init(&done, 0, 0);
    pthread_create(&t, NULL, cancelled_thread, NULL);
    while (sem_wait(&done))
        ;
    pthread_cancel(t);
    pthread_join(t, NULL);
}

static _Atomic bool stop;

static void *busy_thread(void *unused)
{
    void *mine[64] = {NULL};
    for (unsigned i = 0; !stop; i++) {
        free(mine[i % 64]);
        mine[i % 64] = corpus_make(16 + i % 999);
    }
    for (int i = 0; i < 64; i++)
        free(mine[i]);
    return unused;
}
static void threads_busy(void)
{
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, busy_thread, NULL);
    lose(10, 88);
    exit(0);
}

// Handed from thread to thread, and freed by the last.
static void *freeing_thread(void *p)
{
    free(p);
    return NULL;
}
static void handed_over(void)
{
    for (int i = 0; i < 20; i++) {
        pthread_t t;
        pthread_create(&t, NULL, freeing_thread, corpus_make(500));
        pthread_join(t, NULL);
    }
}

static const struct corpus_case cases[] = {
    {"return", by_return, LOSS, NULL},
    {"exit", by_exit, LOSS, NULL},
    {"exit-deep", by_exit_deep, LOSS, NULL},
    {"_exit", by_exit_now, LOSS, NULL},
    {"quick_exit", by_quick_exit, LOSS, NULL},
    {"abort", by_abort, LOSS, NULL},
    {"sigterm", by_sigterm, LOSS, NULL},
    {"sigint", by_sigint, LOSS, NULL},
    {"sighup", by_sighup, LOSS, NULL},
    {"handler", by_handler, LOSS, NULL},
    {"exec", by_exec, LOSS, NULL},
    {"exec-failed", by_exec_failed, LOSS, NULL},
    {"exit-thread", by_exit_thread, LOSS, NULL},
    {"pthread_exit", by_pthread_exit, LOSS, NULL},
    {"atexit-frees", handler_frees, LOSS, NULL},
    {"atexit-forgets", handler_forgets, LOSS, NULL},
    {"held-at-exit", held_at_exit, "none", NULL},
    {"held-by-frame", held_by_frame, "none", NULL},
    {"held-by-caller", held_by_caller, "none", NULL},
    {"fork-_exit", fork_exit_now, LOSS ", child: direct 5x77", NULL},
    {"fork-exit", fork_exit, "none, child: direct 5x77", NULL},
    {"fork-inherited", fork_inherited, "direct 2x333, child: direct 2x333", NULL},
    {"fork-held", fork_held, "none, child: none", NULL},
    {"fork-child-drops", fork_child_drops, "none, child: direct 1x99", NULL},
    {"fork-twice", fork_twice, "none, child: direct 4x55", NULL},
    {"fork-in-thread", fork_in_thread, LOSS ", child: direct 5x77", NULL},
    {"vfork", by_vfork, LOSS, NULL},
    {"posix_spawn", by_spawn, LOSS, NULL},
    {"system", by_system, LOSS, NULL},
    {"popen", by_popen, LOSS, NULL},
    {"thread-lost", thread_lost, "direct 10x88", NULL},
    {"threads-lost", threads_lost, "direct 80x88", NULL},
    {"thread-waiting", thread_waiting, "direct 10x88", NULL},
    {"result-ignored", result_ignored, "direct 4x66, missed 1x66", NULL},
    {"result-freed", result_freed, "none", NULL},
    {"not-joined", not_joined, "none", NULL},
    {"key-destructor", key_destructor, "none", NULL},
    {"cancelled", cancelled, "direct 1x1234", NULL},
    {"threads-busy", threads_busy, "direct 10x88", NULL},
    {"handed-over", handed_over, "none", NULL},
};
CORPUS_MAIN(cases)
