// A hundred collections against threads that wait in the kernel: no call may come back early, none
// with EINTR, and each gets its answer when it is due. One row of the table is one call.
//
// A row is a call that the kernel restarts after a handler installed with SA_RESTART, or that libc
// repeats itself. Calls that a handler always interrupts, or cuts short (recv with MSG_WAITALL),
// need another way of stopping threads; they become rows of this table when it is there.
//
// SALVAGE: mode=collect
// SALVAGE: checkmark=1

#include "lib/witness.h"

#include <fcntl.h>
#include <mqueue.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>

struct waiter {
    int fd[2];
    pid_t child;
    pthread_t other;
    pthread_mutex_t mutex;
    pthread_cond_t cond;
    pthread_rwlock_t rwlock;
    pthread_barrier_t barrier;
    sem_t sem;
    bool go;
    char path[64];
    pthread_t thread;
    _Atomic pid_t tid;
    _Atomic int result; // -1: waits still; else 0 or errno
};

static int reply(bool ok)
{
    return ok ? 0 : errno ? errno : EPROTO;
}

// ---- pipes -------------------------------------------------------------------------------------

static void pipe_prepare(struct waiter *w)
{
    WITNESS_NEED(pipe2(w->fd, O_CLOEXEC) == 0, "pipe2");
}

static void pipe_feed(struct waiter *w)
{
    WITNESS_NEED(write(w->fd[1], "answer!!", 8) == 8, "write");
}

static int read_block(struct waiter *w)
{
    char b[8];
    return reply(read(w->fd[0], b, 8) == 8 && memcmp(b, "answer!!", 8) == 0);
}

static int readv_block(struct waiter *w)
{
    char b[8];
    struct iovec v[2] = {{b, 3}, {b + 3, 5}};
    return reply(readv(w->fd[0], v, 2) == 8 && memcmp(b, "answer!!", 8) == 0);
}

static int stdio_block(struct waiter *w)
{
    FILE *f = fdopen(w->fd[0], "r");
    char b[9];
    bool ok = f && fread(b, 1, 8, f) == 8 && memcmp(b, "answer!!", 8) == 0;
    return reply(ok && fclose(f) == 0);
}

static void full_prepare(struct waiter *w)
{
    pipe_prepare(w);
    fcntl(w->fd[1], F_SETFL, O_NONBLOCK);
    static const char block[4096];
    while (write(w->fd[1], block, sizeof block) > 0)
        ;
    fcntl(w->fd[1], F_SETFL, 0);
}

static void full_drain(struct waiter *w)
{
    char b[65536];
    WITNESS_NEED(read(w->fd[0], b, sizeof b) > 0, "read");
}

static int write_block(struct waiter *w)
{
    return reply(write(w->fd[1], "x", 1) == 1);
}

static int writev_block(struct waiter *w)
{
    struct iovec v = {w->path, 1};
    return reply(writev(w->fd[1], &v, 1) == 1);
}

static int splice_block(struct waiter *w)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    ssize_t n = splice(w->fd[0], NULL, null, NULL, 8, 0);
    close(null);
    return reply(n == 8);
}

static void fifo_prepare(struct waiter *w)
{
    static int n;
    snprintf(w->path, sizeof w->path, "/tmp/waiter-%d-%d", getpid(), n++);
    WITNESS_NEED(mkfifo(w->path, 0600) == 0, "mkfifo");
}

static int fifo_block(struct waiter *w)
{
    return reply(open(w->path, O_RDONLY | O_CLOEXEC) >= 0);
}

static void fifo_release(struct waiter *w)
{
    w->fd[1] = open(w->path, O_WRONLY | O_CLOEXEC);
    unlink(w->path);
}

// ---- sockets -----------------------------------------------------------------------------------

static void socket_prepare(struct waiter *w)
{
    WITNESS_NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->fd) == 0, "socketpair");
}

static int recv_block(struct waiter *w)
{
    char b[8];
    return reply(recv(w->fd[0], b, 8, 0) == 8);
}

static int recvfrom_block(struct waiter *w)
{
    char b[8];
    return reply(recvfrom(w->fd[0], b, 8, 0, NULL, NULL) == 8);
}

static int recvmsg_block(struct waiter *w)
{
    char b[8];
    struct iovec v = {b, 8};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    return reply(recvmsg(w->fd[0], &m, 0) == 8);
}

static void socket_full_prepare(struct waiter *w)
{
    socket_prepare(w);
    static const char block[4096];
    while (send(w->fd[1], block, sizeof block, MSG_DONTWAIT) > 0)
        ;
}

static void socket_drain(struct waiter *w)
{
    char b[65536];
    while (recv(w->fd[0], b, sizeof b, MSG_DONTWAIT) > 0)
        ;
}

static int send_block(struct waiter *w)
{
    return reply(send(w->fd[1], "x", 1, 0) == 1);
}

static int sendmsg_block(struct waiter *w)
{
    struct iovec v = {w->path, 1};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    return reply(sendmsg(w->fd[1], &m, 0) == 1);
}

static struct sockaddr_un listen_address(const struct waiter *w)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "waiter-%d-%p", getpid(), (const void *)w);
    return a;
}

static void listen_prepare(struct waiter *w)
{
    struct sockaddr_un a = listen_address(w);
    w->fd[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    WITNESS_NEED(bind(w->fd[0], (struct sockaddr *)&a, sizeof a) == 0 && listen(w->fd[0], 0) == 0,
                 "listen: %s", strerror(errno));
}

static int accept_block(struct waiter *w)
{
    return reply(accept(w->fd[0], NULL, NULL) >= 0);
}

static int accept4_block(struct waiter *w)
{
    return reply(accept4(w->fd[0], NULL, NULL, SOCK_CLOEXEC) >= 0);
}

static void accept_release(struct waiter *w)
{
    struct sockaddr_un a = listen_address(w);
    w->fd[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    WITNESS_NEED(connect(w->fd[1], (struct sockaddr *)&a, sizeof a) == 0, "connect");
}

// The backlog is full: connect waits.
static void connect_prepare(struct waiter *w)
{
    listen_prepare(w);
    struct sockaddr_un a = listen_address(w);
    for (int i = 0; i < 16; i++) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&a, sizeof a) != 0)
            return;
    }
    WITNESS_NEED(false, "the backlog never fills");
}

static int connect_block(struct waiter *w)
{
    struct sockaddr_un a = listen_address(w);
    w->fd[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return reply(connect(w->fd[1], (struct sockaddr *)&a, sizeof a) == 0);
}

static void connect_release(struct waiter *w)
{
    WITNESS_NEED(accept(w->fd[0], NULL, NULL) >= 0, "accept");
}

// ---- other descriptors -------------------------------------------------------------------------

static void event_prepare(struct waiter *w)
{
    w->fd[0] = w->fd[1] = eventfd(0, EFD_CLOEXEC);
}

static int event_block(struct waiter *w)
{
    uint64_t n;
    return reply(read(w->fd[0], &n, 8) == 8);
}

static void timer_prepare(struct waiter *w)
{
    w->fd[0] = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
}

static void timer_release(struct waiter *w)
{
    struct itimerspec soon = {.it_value = {.tv_nsec = 1}};
    timerfd_settime(w->fd[0], 0, &soon, NULL);
}

static void inotify_prepare(struct waiter *w)
{
    w->fd[0] = inotify_init1(IN_CLOEXEC);
    snprintf(w->path, sizeof w->path, "/tmp/waiter-%d", getpid());
    WITNESS_NEED(mkdir(w->path, 0700) == 0 &&
                     inotify_add_watch(w->fd[0], w->path, IN_DELETE_SELF) > 0,
                 "inotify");
}

static int inotify_block(struct waiter *w)
{
    char b[512];
    return reply(read(w->fd[0], b, sizeof b) > 0);
}

static void inotify_release(struct waiter *w)
{
    rmdir(w->path);
}

static void lock_prepare(struct waiter *w)
{
    snprintf(w->path, sizeof w->path, "/tmp/waiter-lock-%d", getpid());
    w->fd[0] = open(w->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    w->fd[1] = open(w->path, O_RDWR | O_CLOEXEC);
    unlink(w->path);
    WITNESS_NEED(w->fd[1] >= 0, "open");
}

static void flock_prepare(struct waiter *w)
{
    lock_prepare(w);
    flock(w->fd[0], LOCK_EX);
}

static int flock_block(struct waiter *w)
{
    return reply(flock(w->fd[1], LOCK_EX) == 0);
}
static void flock_release(struct waiter *w)
{
    flock(w->fd[0], LOCK_UN);
}

static void setlk_prepare(struct waiter *w)
{
    lock_prepare(w);
    struct flock l = {.l_type = F_WRLCK};
    fcntl(w->fd[0], F_OFD_SETLK, &l);
}

static int setlk_block(struct waiter *w)
{
    struct flock l = {.l_type = F_WRLCK};
    return reply(fcntl(w->fd[1], F_OFD_SETLKW, &l) == 0);
}

static void setlk_release(struct waiter *w)
{
    struct flock l = {.l_type = F_UNLCK};
    fcntl(w->fd[0], F_OFD_SETLK, &l);
}

static void queue_open(struct waiter *w)
{
    static int n;
    char name[64];
    struct mq_attr attr = {.mq_maxmsg = 1, .mq_msgsize = 8};
    snprintf(name, sizeof name, "/waiter-%d-%d", getpid(), n++);
    w->fd[0] = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
    mq_unlink(name);
    WITNESS_NEED(w->fd[0] >= 0, "mq_open: %s", strerror(errno));
}

static int queue_receive(struct waiter *w)
{
    char b[8];
    return reply(mq_receive(w->fd[0], b, 8, NULL) == 1);
}

static void queue_feed(struct waiter *w)
{
    mq_send(w->fd[0], "x", 1, 0);
}

static void queue_fill(struct waiter *w)
{
    queue_open(w);
    queue_feed(w);
}

static int queue_send(struct waiter *w)
{
    return reply(mq_send(w->fd[0], "y", 1, 0) == 0);
}

static void queue_drain(struct waiter *w)
{
    char b[8];
    mq_receive(w->fd[0], b, 8, NULL);
}

// ---- children ----------------------------------------------------------------------------------

static void child_prepare(struct waiter *w)
{
    pipe_prepare(w);
    w->child = fork();
    if (w->child == 0) {
        char c;
        close(w->fd[1]);
        _exit(read(w->fd[0], &c, 1) == 1 ? 5 : 6);
    }
}

static int waitpid_block(struct waiter *w)
{
    int status = 0;
    return reply(waitpid(w->child, &status, 0) == w->child && WEXITSTATUS(status) == 5);
}

static int waitid_block(struct waiter *w)
{
    siginfo_t si;
    return reply(waitid(P_PID, (id_t)w->child, &si, WEXITED) == 0 && si.si_status == 5);
}

// ---- locks and conditions ----------------------------------------------------------------------

static struct timespec far_time(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    t.tv_sec += 1000;
    return t;
}

static void mutex_prepare(struct waiter *w)
{
    pthread_mutex_init(&w->mutex, NULL);
    pthread_mutex_lock(&w->mutex);
}

static int mutex_block(struct waiter *w)
{
    return pthread_mutex_lock(&w->mutex);
}

static int mutex_timed_block(struct waiter *w)
{
    struct timespec t = far_time();
    return pthread_mutex_timedlock(&w->mutex, &t);
}

static void mutex_release(struct waiter *w)
{
    pthread_mutex_unlock(&w->mutex);
}

static void pi_prepare(struct waiter *w)
{
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setprotocol(&a, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&w->mutex, &a);
    pthread_mutex_lock(&w->mutex);
}

static void cond_prepare(struct waiter *w)
{
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->cond, NULL);
}

static int cond_block(struct waiter *w)
{
    int rc = 0;
    pthread_mutex_lock(&w->mutex);
    while (!w->go && rc == 0)
        rc = pthread_cond_wait(&w->cond, &w->mutex);
    pthread_mutex_unlock(&w->mutex);
    return rc;
}

static int cond_timed_block(struct waiter *w)
{
    int rc = 0;
    struct timespec t = far_time();
    pthread_mutex_lock(&w->mutex);
    while (!w->go && rc == 0)
        rc = pthread_cond_timedwait(&w->cond, &w->mutex, &t);
    pthread_mutex_unlock(&w->mutex);
    return rc;
}

static void cond_release(struct waiter *w)
{
    pthread_mutex_lock(&w->mutex);
    w->go = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mutex);
}

static void sem_prepare(struct waiter *w)
{
    sem_init(&w->sem, 0, 0);
}
static int sem_block(struct waiter *w)
{
    return reply(sem_wait(&w->sem) == 0);
}
static void sem_release(struct waiter *w)
{
    sem_post(&w->sem);
}

static void rwlock_prepare(struct waiter *w)
{
    pthread_rwlock_init(&w->rwlock, NULL);
    pthread_rwlock_wrlock(&w->rwlock);
}

static int rdlock_block(struct waiter *w)
{
    return pthread_rwlock_rdlock(&w->rwlock);
}
static int wrlock_block(struct waiter *w)
{
    return pthread_rwlock_wrlock(&w->rwlock);
}
static void rwlock_release(struct waiter *w)
{
    pthread_rwlock_unlock(&w->rwlock);
}

static void barrier_prepare(struct waiter *w)
{
    pthread_barrier_init(&w->barrier, NULL, 2);
}

static int barrier_block(struct waiter *w)
{
    int rc = pthread_barrier_wait(&w->barrier);
    return rc == PTHREAD_BARRIER_SERIAL_THREAD ? 0 : rc;
}

static void barrier_release(struct waiter *w)
{
    pthread_barrier_wait(&w->barrier);
}

static void *other_thread(void *arg)
{
    struct waiter *w = arg;
    return sem_wait(&w->sem) == 0 ? arg : NULL;
}

static void join_prepare(struct waiter *w)
{
    sem_prepare(w);
    WITNESS_NEED(pthread_create(&w->other, NULL, other_thread, w) == 0, "pthread_create");
}

static int join_block(struct waiter *w)
{
    void *value = NULL;
    int rc = pthread_join(w->other, &value);
    return rc ? rc : value == w ? 0 : EINTR;
}

// ---- the table ---------------------------------------------------------------------------------

static const struct row {
    const char *name;
    void (*prepare)(struct waiter *w);
    int (*block)(struct waiter *w);    // in a thread of its own; 0 or errno
    void (*release)(struct waiter *w); // lets the call end well
} rows[] = {
    {"read", pipe_prepare, read_block, pipe_feed},
    {"readv", pipe_prepare, readv_block, pipe_feed},
    {"fread", pipe_prepare, stdio_block, pipe_feed},
    {"splice", pipe_prepare, splice_block, pipe_feed},
    {"write", full_prepare, write_block, full_drain},
    {"writev", full_prepare, writev_block, full_drain},
    {"open of a FIFO", fifo_prepare, fifo_block, fifo_release},
    {"recv", socket_prepare, recv_block, pipe_feed},
    {"recvfrom", socket_prepare, recvfrom_block, pipe_feed},
    {"recvmsg", socket_prepare, recvmsg_block, pipe_feed},
    {"send", socket_full_prepare, send_block, socket_drain},
    {"sendmsg", socket_full_prepare, sendmsg_block, socket_drain},
    {"accept", listen_prepare, accept_block, accept_release},
    {"accept4", listen_prepare, accept4_block, accept_release},
    {"connect", connect_prepare, connect_block, connect_release},
    {"read of an eventfd", event_prepare, event_block, pipe_feed},
    {"read of a timerfd", timer_prepare, event_block, timer_release},
    {"read of an inotify", inotify_prepare, inotify_block, inotify_release},
    {"flock", flock_prepare, flock_block, flock_release},
    {"fcntl F_OFD_SETLKW", setlk_prepare, setlk_block, setlk_release},
    {"mq_receive", queue_open, queue_receive, queue_feed},
    {"mq_send", queue_fill, queue_send, queue_drain},
    {"waitpid", child_prepare, waitpid_block, pipe_feed},
    {"waitid", child_prepare, waitid_block, pipe_feed},
    {"pthread_mutex_lock", mutex_prepare, mutex_block, mutex_release},
    {"pthread_mutex_timedlock", mutex_prepare, mutex_timed_block, mutex_release},
    {"pthread_mutex_lock, PI", pi_prepare, mutex_block, mutex_release},
    {"pthread_cond_wait", cond_prepare, cond_block, cond_release},
    {"pthread_cond_timedwait", cond_prepare, cond_timed_block, cond_release},
    {"sem_wait", sem_prepare, sem_block, sem_release},
    {"pthread_rwlock_rdlock", rwlock_prepare, rdlock_block, rwlock_release},
    {"pthread_rwlock_wrlock", rwlock_prepare, wrlock_block, rwlock_release},
    {"pthread_barrier_wait", barrier_prepare, barrier_block, barrier_release},
    {"pthread_join", join_prepare, join_block, sem_release},
};

#define ROWS (sizeof rows / sizeof rows[0])

static struct waiter waiters[ROWS];

static void *row_thread(void *arg)
{
    struct waiter *w = arg;
    const struct row *r = &rows[w - waiters];
    atomic_store_explicit(&w->tid, gettid(), memory_order_seq_cst);
    errno = 0;
    int rc = r->block(w);
    atomic_store_explicit(&w->result, rc, memory_order_seq_cst);
    return NULL;
}

// Waits until the thread sleeps in the kernel (or is through with its call already).
static void row_await(struct waiter *w)
{
    char path[64], text[512];
    while (atomic_load_explicit(&w->tid, memory_order_seq_cst) == 0)
        sched_yield();
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", w->tid);
    while (atomic_load_explicit(&w->result, memory_order_seq_cst) == -1) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = read(fd, text, sizeof text - 1);
        close(fd);
        text[n > 0 ? n : 0] = '\0';
        const char *state = strrchr(text, ')');
        if (state && state[2] == 'S')
            return;
        sched_yield();
    }
}

static void rows_start(void)
{
    for (size_t i = 0; i < ROWS; i++) {
        struct waiter *w = &waiters[i];
        w->result = -1;
        rows[i].prepare(w);
        WITNESS_NEED(pthread_create(&w->thread, NULL, row_thread, w) == 0, "pthread_create");
        row_await(w);
    }
}

// How many rows came back early or with an error; says which.
static int rows_end(void)
{
    int failed = 0;
    for (size_t i = 0; i < ROWS; i++) {
        struct waiter *w = &waiters[i];
        int early = atomic_load_explicit(&w->result, memory_order_seq_cst);
        if (early == -1) // else there is nobody to release
            rows[i].release(w);
        pthread_join(w->thread, NULL);
        if (early != -1)
            printf("FAIL %s came back early: %s\n", rows[i].name, strerror(early));
        else if (w->result != 0)
            printf("FAIL %s: %s\n", rows[i].name, strerror(w->result));
        failed += early != -1 || w->result != 0;
    }
    return failed;
}

int main(void)
{
    if (salvage_collect == NULL) {
        printf("0 passed, 0 failed, 1 skipped\n");
        return 0;
    }
    struct salvage_stats before, after;
    alarm(WITNESS_HANG);
    rows_start();
    salvage_stats(&before);
    for (int i = 0; i < 100; i++)
        salvage_collect();
    salvage_stats(&after);
    int failed = rows_end();
    if (after.cycles - before.cycles < 100) {
        printf("FAIL %lu collections of 100 were made\n",
               (unsigned long)(after.cycles - before.cycles));
        failed++;
    }
    printf("%zu passed, %d failed\n", ROWS + 1 - (size_t)failed, failed);
    return failed != 0;
}
