// The collector's threads are threads of libc's, which keeps a few heap objects for each: they live
// as long as libc means to use them, beyond the thread's end. A fork without other threads ends the
// collector's; the next thread gets its stack, and libc looks at what hangs on that. And they don't
// keep a process alive whose last thread of its own has ended.
//
// SALVAGE: clobber=1
// SALVAGE: clobber=1,checkmark=1

#include "lib/witness.h"

#include <linux/capability.h>

int capset(void *header, const void *data); // libc's, declared in libcap's header only

static void *thread_nothing(void *arg)
{
    return arg;
}

static witness_noinline void worker_follow(void)
{
    int status;
    pthread_t t;
    for (int i = 0; i < 3; i++) {
        salvage_collect();
        for (size_t size = 16; size < 800; size += 48)
            witness_churn(size);
    }
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    WITNESS_NEED(waitpid(pid, &status, 0) == pid && status == 0, "the child: %d", status);
    WITNESS_NEED(pthread_create(&t, NULL, thread_nothing, NULL) == 0, "pthread_create");
    pthread_join(t, NULL);
}

// Outlives the first thread, and then is the last that the collector's have to wait for.
static void *thread_last(void *arg)
{
    for (int i = 0; i < 20; i++)
        witness_churn(600);
    return arg;
}

// A process whose first thread has left ends with its last one, status 0.
static witness_noinline void last_thread(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        pthread_t t;
        salvage_collect();
        if (pthread_create(&t, NULL, thread_last, NULL) == 0 && pthread_detach(t) == 0)
            pthread_exit(NULL);
        _exit(1);
    }
    WITNESS_NEED(waitpid(pid, &status, 0) == pid && status == 0, "the last thread: %d", status);
}

// What changes the credentials of one thread, then what glibc has all threads do: it aborts when
// that succeeds in one and fails in another. Only root has something to lose.
static witness_noinline void credentials(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct none[2] = {0};
        salvage_collect();
        capset(&header, none);
        int dropped = setuid(65534); // refused now
        _exit(dropped == 0 ? 1 : 0);
    }
    WITNESS_NEED(waitpid(pid, &status, 0) == pid && status == 0, "credentials: %d", status);
}

int main(void)
{
    if (salvage_collect == NULL) {
        printf("0 passed, 0 failed, 1 skipped\n");
        return 0;
    }
    alarm(60);
    for (int i = 0; i < 10; i++)
        worker_follow();
    for (int i = 0; i < 20; i++)
        last_thread();
    if (geteuid() == 0)
        credentials();
    printf("3 passed, 0 failed\n");
    return 0;
}
