// Threads that wait in the kernel: one row of the table is one call, with what makes it wait and
// what lets it go. For eintr.c and gate.c.
#ifndef WAITS_H
#define WAITS_H

#include "witness.h"

#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/futex.h>
#include <mqueue.h>
#include <poll.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <threads.h>
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
    cnd_t cnd;
    mtx_t mtx;
    _Atomic int word;
    aio_context_t aio;
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
    WITNESS_NEED(mkfifo(w->path, 0600) == 0, "mkfifo %s: %s", w->path, strerror(errno));
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

static void fifo_clean(struct waiter *w)
{
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
    snprintf(a.sun_path + 1, sizeof a.sun_path - 1, "waiter-%d-%d", getpid(), w->fd[0]);
    return a;
}

static void listen_prepare(struct waiter *w)
{
    w->fd[0] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un a = listen_address(w);
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

// ---- polling -----------------------------------------------------------------------------------

static int poll_block(struct waiter *w)
{
    struct pollfd p = {w->fd[0], POLLIN, 0};
    return reply(poll(&p, 1, -1) == 1);
}

static int ppoll_block(struct waiter *w)
{
    struct pollfd p = {w->fd[0], POLLIN, 0};
    struct timespec t = {1000, 0};
    return reply(ppoll(&p, 1, &t, NULL) == 1);
}

static int select_block(struct waiter *w)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(w->fd[0], &set);
    return reply(select(w->fd[0] + 1, &set, NULL, NULL, NULL) == 1);
}

static int pselect_block(struct waiter *w)
{
    fd_set set;
    sigset_t mask;
    sigemptyset(&mask);
    FD_ZERO(&set);
    FD_SET(w->fd[0], &set);
    return reply(pselect(w->fd[0] + 1, &set, NULL, NULL, NULL, &mask) == 1);
}

static int epoll_make(const struct waiter *w)
{
    int fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN};
    epoll_ctl(fd, EPOLL_CTL_ADD, w->fd[0], &e);
    return fd;
}

static int epoll_wait_block(struct waiter *w)
{
    struct epoll_event e;
    return reply(epoll_wait(epoll_make(w), &e, 1, -1) == 1);
}

static int epoll_pwait_block(struct waiter *w)
{
    struct epoll_event e;
    sigset_t mask;
    sigemptyset(&mask);
    return reply(epoll_pwait(epoll_make(w), &e, 1, -1, &mask) == 1);
}

static int epoll_pwait2_block(struct waiter *w)
{
    struct epoll_event e;
    struct timespec t = {1000, 0};
    return reply(epoll_pwait2(epoll_make(w), &e, 1, &t, NULL) == 1);
}

// ---- more of sockets ---------------------------------------------------------------------------

static int waitall_block(struct waiter *w)
{
    char b[8];
    return reply(recv(w->fd[0], b, 8, MSG_WAITALL) == 8);
}

static void half_prepare(struct waiter *w)
{
    socket_prepare(w);
    WITNESS_NEED(write(w->fd[1], "half", 4) == 4, "write");
}

static void timeout_set(int fd, int option)
{
    struct timeval t = {1000, 0};
    WITNESS_NEED(setsockopt(fd, SOL_SOCKET, option, &t, sizeof t) == 0, "setsockopt");
}

static void rcvtimeo_prepare(struct waiter *w)
{
    socket_prepare(w);
    timeout_set(w->fd[0], SO_RCVTIMEO);
}

static void sndtimeo_prepare(struct waiter *w)
{
    socket_full_prepare(w);
    timeout_set(w->fd[1], SO_SNDTIMEO);
}

static void listen_timeo_prepare(struct waiter *w)
{
    listen_prepare(w);
    timeout_set(w->fd[0], SO_RCVTIMEO);
}

static int connect_timeo_block(struct waiter *w)
{
    struct sockaddr_un a = listen_address(w);
    w->fd[1] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    timeout_set(w->fd[1], SO_SNDTIMEO);
    return reply(connect(w->fd[1], (struct sockaddr *)&a, sizeof a) == 0);
}

static int recvmmsg_block(struct waiter *w)
{
    char b[8];
    struct iovec v = {b, 8};
    struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};
    return reply(recvmmsg(w->fd[0], &m, 1, 0, NULL) == 1);
}

static int sendto_block(struct waiter *w)
{
    return reply(sendto(w->fd[1], "x", 1, 0, NULL, 0) == 1);
}

static int sendmmsg_block(struct waiter *w)
{
    struct iovec v = {w->path, 1};
    struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};
    return reply(sendmmsg(w->fd[1], &m, 1, 0) == 1);
}

// ---- locks of processes ------------------------------------------------------------------------

static void child_lock_prepare(struct waiter *w)
{
    int ready[2], lock;
    char c;
    lock_prepare(w);
    lock = w->fd[1];
    pipe_prepare(w);
    WITNESS_NEED(pipe2(ready, O_CLOEXEC) == 0, "pipe2");
    w->child = fork();
    if (w->child == 0) {
        close(w->fd[1]);
        _exit(lockf(lock, F_LOCK, 0) == 0 && write(ready[1], "l", 1) == 1 &&
                      read(w->fd[0], &c, 1) == 1
                  ? 0
                  : 1);
    }
    WITNESS_NEED(read(ready[0], &c, 1) == 1, "read");
    w->fd[0] = lock;
}

static int posix_lock_block(struct waiter *w)
{
    struct flock l = {.l_type = F_WRLCK};
    return reply(fcntl(w->fd[0], F_SETLKW, &l) == 0);
}

static int lockf_block(struct waiter *w)
{
    return reply(lockf(w->fd[0], F_LOCK, 0) == 0);
}

// ---- System V ----------------------------------------------------------------------------------

static void msg_prepare(struct waiter *w)
{
    w->fd[0] = msgget(IPC_PRIVATE, 0600);
    WITNESS_NEED(w->fd[0] >= 0, "msgget: %s", strerror(errno));
}

static int msgrcv_block(struct waiter *w)
{
    struct {
        long type;
        char text[8];
    } m;
    return reply(msgrcv(w->fd[0], &m, 8, 0, 0) == 8);
}

static void msg_feed(struct waiter *w)
{
    struct {
        long type;
        char text[8];
    } m = {1, "answer!"};
    msgsnd(w->fd[0], &m, 8, 0);
}

static void msg_fill_prepare(struct waiter *w)
{
    static struct {
        long type;
        char text[1024];
    } m = {1, ""};
    msg_prepare(w);
    while (msgsnd(w->fd[0], &m, sizeof m.text, IPC_NOWAIT) == 0)
        ;
}

static int msgsnd_block(struct waiter *w)
{
    static struct {
        long type;
        char text[1024];
    } m = {1, ""};
    return reply(msgsnd(w->fd[0], &m, sizeof m.text, 0) == 0);
}

static void msg_drain(struct waiter *w)
{
    static struct {
        long type;
        char text[1024];
    } m;
    msgrcv(w->fd[0], &m, sizeof m.text, 0, 0);
}

static void msg_remove(struct waiter *w)
{
    msgctl(w->fd[0], IPC_RMID, NULL);
}

static void semset_prepare(struct waiter *w)
{
    w->fd[0] = semget(IPC_PRIVATE, 1, 0600);
    WITNESS_NEED(w->fd[0] >= 0, "semget: %s", strerror(errno));
}

static int semop_block(struct waiter *w)
{
    struct sembuf b = {0, -1, 0};
    return reply(semop(w->fd[0], &b, 1) == 0);
}

static int semtimedop_block(struct waiter *w)
{
    struct sembuf b = {0, -1, 0};
    struct timespec t = {1000, 0};
    return reply(semtimedop(w->fd[0], &b, 1, &t) == 0);
}

static void semset_feed(struct waiter *w)
{
    struct sembuf b = {0, 1, 0};
    semop(w->fd[0], &b, 1);
}

static void semset_remove(struct waiter *w)
{
    semctl(w->fd[0], 0, IPC_RMID);
}

static int queue_timedreceive(struct waiter *w)
{
    char b[8];
    struct timespec t = far_time();
    return reply(mq_timedreceive(w->fd[0], b, 8, NULL, &t) == 1);
}

static int queue_timedsend(struct waiter *w)
{
    struct timespec t = far_time();
    return reply(mq_timedsend(w->fd[0], "y", 1, 0, &t) == 0);
}

// ---- signals -----------------------------------------------------------------------------------

#define WAITS_SIGNAL SIGRTMIN // what ends them; blocked everywhere

static sigset_t signal_set(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, WAITS_SIGNAL);
    return set;
}

static void signal_prepare(struct waiter *w)
{
    (void)w;
    sigset_t set = signal_set();
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static int sigwait_block(struct waiter *w)
{
    (void)w;
    sigset_t set = signal_set();
    int sig = 0, rc = sigwait(&set, &sig);
    return rc ? rc : sig == WAITS_SIGNAL ? 0 : EPROTO;
}

static int sigwaitinfo_block(struct waiter *w)
{
    (void)w;
    sigset_t set = signal_set();
    return reply(sigwaitinfo(&set, NULL) == WAITS_SIGNAL);
}

static int sigtimedwait_block(struct waiter *w)
{
    (void)w;
    sigset_t set = signal_set();
    struct timespec t = {1000, 0};
    return reply(sigtimedwait(&set, NULL, &t) == WAITS_SIGNAL);
}

static void signal_feed(struct waiter *w)
{
    pthread_kill(w->thread, WAITS_SIGNAL);
}

// ---- what only a signal ends, or nothing -------------------------------------------------------

static void waits_handler(int sig)
{
    (void)sig;
}

static void pause_prepare(struct waiter *w)
{
    (void)w;
    struct sigaction sa = {.sa_handler = waits_handler};
    sigaction(SIGUSR2, &sa, NULL);
}

static int pause_block(struct waiter *w)
{
    (void)w;
    return reply(pause() == -1 && errno == EINTR);
}

static int sigsuspend_block(struct waiter *w)
{
    (void)w;
    sigset_t set;
    sigemptyset(&set);
    return reply(sigsuspend(&set) == -1 && errno == EINTR);
}

// Once isn't enough: it may come before the thread is in the call.
static void pause_end(struct waiter *w)
{
    while (atomic_load(&w->result) == -1) {
        pthread_kill(w->thread, SIGUSR2);
        sched_yield();
    }
}

// ---- children again: these take any ------------------------------------------------------------

static int wait_block(struct waiter *w)
{
    int status = 0;
    return reply(wait(&status) == w->child && WEXITSTATUS(status) == 5);
}

static int wait3_block(struct waiter *w)
{
    int status = 0;
    return reply(wait3(&status, 0, NULL) == w->child && WEXITSTATUS(status) == 5);
}

static int wait4_block(struct waiter *w)
{
    int status = 0;
    return reply(wait4(w->child, &status, 0, NULL) == w->child && WEXITSTATUS(status) == 5);
}

// ---- by number, and C11's ----------------------------------------------------------------------

static void word_prepare(struct waiter *w)
{
    atomic_store(&w->word, 1);
}

static int futex_block(struct waiter *w)
{
    return reply(syscall(SYS_futex, &w->word, FUTEX_WAIT, 1, NULL, NULL, 0) == 0);
}

static void futex_feed(struct waiter *w)
{
    syscall(SYS_futex, &w->word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

// A request that waits until the pipe can be read.
static void aio_prepare(struct waiter *w)
{
    pipe_prepare(w);
    WITNESS_NEED(syscall(SYS_io_setup, 1, &w->aio) == 0, "io_setup: %s", strerror(errno));
    struct iocb cb = {.aio_fildes = (uint32_t)w->fd[0], .aio_lio_opcode = IOCB_CMD_POLL};
    cb.aio_buf = POLLIN;
    struct iocb *v[] = {&cb};
    WITNESS_NEED(syscall(SYS_io_submit, w->aio, 1, v) == 1, "io_submit: %s", strerror(errno));
}

static int aio_block(struct waiter *w)
{
    struct io_event e;
    return reply(syscall(SYS_io_getevents, w->aio, 1, 1, &e, NULL) == 1);
}

static void cnd_prepare(struct waiter *w)
{
    mtx_init(&w->mtx, mtx_plain);
    cnd_init(&w->cnd);
}

static int cnd_block(struct waiter *w)
{
    mtx_lock(&w->mtx);
    while (!w->go && cnd_wait(&w->cnd, &w->mtx) == thrd_success)
        ;
    mtx_unlock(&w->mtx);
    return w->go ? 0 : EPROTO;
}

static void cnd_release(struct waiter *w)
{
    mtx_lock(&w->mtx);
    w->go = true;
    cnd_signal(&w->cnd);
    mtx_unlock(&w->mtx);
}

static int sem_timed_block(struct waiter *w)
{
    struct timespec t = far_time();
    return reply(sem_timedwait(&w->sem, &t) == 0);
}

static int sem_clock_block(struct waiter *w)
{
    struct timespec t = far_time();
    return reply(sem_clockwait(&w->sem, CLOCK_REALTIME, &t) == 0);
}

// ---- the table ---------------------------------------------------------------------------------

enum {
    WAITS_EINTR = 1,  // a handler without SA_RESTART ends it with EINTR
    WAITS_ALONE = 2,  // not beside others: it would take their children
    WAITS_CANCEL = 4, // a cancellation point
};

static const struct row {
    const char *name;
    void (*prepare)(struct waiter *w);
    int (*block)(struct waiter *w);    // in a thread of its own; 0 or errno
    void (*release)(struct waiter *w); // lets the call end well
    void (*clean)(struct waiter *w);   // or NULL: what outlives the process
    int flags;
} rows[] = {
    {"read", pipe_prepare, read_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"readv", pipe_prepare, readv_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"fread", pipe_prepare, stdio_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"splice", pipe_prepare, splice_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"write", full_prepare, write_block, full_drain, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"writev", full_prepare, writev_block, full_drain, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"open of a FIFO", fifo_prepare, fifo_block, fifo_release, fifo_clean,
     WAITS_EINTR | WAITS_CANCEL},
    {"poll", pipe_prepare, poll_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"ppoll", pipe_prepare, ppoll_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"select", pipe_prepare, select_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"pselect", pipe_prepare, pselect_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"epoll_wait", pipe_prepare, epoll_wait_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"epoll_pwait", pipe_prepare, epoll_pwait_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"epoll_pwait2", pipe_prepare, epoll_pwait2_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"recv", socket_prepare, recv_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"recvfrom", socket_prepare, recvfrom_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"recvmsg", socket_prepare, recvmsg_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"recvmmsg", socket_prepare, recvmmsg_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"recv, MSG_WAITALL", half_prepare, waitall_block, pipe_feed, NULL, WAITS_CANCEL},
    {"recv, SO_RCVTIMEO", rcvtimeo_prepare, recv_block, pipe_feed, NULL,
     WAITS_EINTR | WAITS_CANCEL},
    {"send", socket_full_prepare, send_block, socket_drain, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"sendto", socket_full_prepare, sendto_block, socket_drain, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"sendmsg", socket_full_prepare, sendmsg_block, socket_drain, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"sendmmsg", socket_full_prepare, sendmmsg_block, socket_drain, NULL,
     WAITS_EINTR | WAITS_CANCEL},
    {"send, SO_SNDTIMEO", sndtimeo_prepare, send_block, socket_drain, NULL,
     WAITS_EINTR | WAITS_CANCEL},
    {"accept", listen_prepare, accept_block, accept_release, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"accept4", listen_prepare, accept4_block, accept_release, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"accept, SO_RCVTIMEO", listen_timeo_prepare, accept_block, accept_release, NULL,
     WAITS_EINTR | WAITS_CANCEL},
    {"connect", connect_prepare, connect_block, connect_release, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"connect, SO_SNDTIMEO", connect_prepare, connect_timeo_block, connect_release, NULL,
     WAITS_EINTR | WAITS_CANCEL},
    {"read of an eventfd", event_prepare, event_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"read of a timerfd", timer_prepare, event_block, timer_release, NULL,
     WAITS_EINTR | WAITS_CANCEL},
    {"read of an inotify", inotify_prepare, inotify_block, inotify_release, inotify_release,
     WAITS_EINTR | WAITS_CANCEL},
    {"flock", flock_prepare, flock_block, flock_release, NULL, WAITS_EINTR},
    {"fcntl F_OFD_SETLKW", setlk_prepare, setlk_block, setlk_release, NULL,
     WAITS_EINTR | WAITS_CANCEL},
    {"fcntl F_SETLKW", child_lock_prepare, posix_lock_block, pipe_feed, NULL,
     WAITS_EINTR | WAITS_CANCEL},
    {"lockf", child_lock_prepare, lockf_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"mq_receive", queue_open, queue_receive, queue_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"mq_timedreceive", queue_open, queue_timedreceive, queue_feed, NULL,
     WAITS_EINTR | WAITS_CANCEL},
    {"mq_send", queue_fill, queue_send, queue_drain, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"mq_timedsend", queue_fill, queue_timedsend, queue_drain, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"msgrcv", msg_prepare, msgrcv_block, msg_feed, msg_remove, WAITS_EINTR | WAITS_CANCEL},
    {"msgsnd", msg_fill_prepare, msgsnd_block, msg_drain, msg_remove, WAITS_EINTR | WAITS_CANCEL},
    {"semop", semset_prepare, semop_block, semset_feed, semset_remove, WAITS_EINTR},
    {"semtimedop", semset_prepare, semtimedop_block, semset_feed, semset_remove, WAITS_EINTR},
    {"sigwait", signal_prepare, sigwait_block, signal_feed, NULL, WAITS_CANCEL},
    {"sigwaitinfo", signal_prepare, sigwaitinfo_block, signal_feed, NULL,
     WAITS_EINTR | WAITS_CANCEL},
    {"sigtimedwait", signal_prepare, sigtimedwait_block, signal_feed, NULL,
     WAITS_EINTR | WAITS_CANCEL},
    {"pause", pause_prepare, pause_block, pause_end, NULL, WAITS_CANCEL},
    {"sigsuspend", pause_prepare, sigsuspend_block, pause_end, NULL, WAITS_CANCEL},
    {"waitpid", child_prepare, waitpid_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"wait4", child_prepare, wait4_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"waitid", child_prepare, waitid_block, pipe_feed, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"wait", child_prepare, wait_block, pipe_feed, NULL, WAITS_EINTR | WAITS_ALONE | WAITS_CANCEL},
    {"wait3", child_prepare, wait3_block, pipe_feed, NULL,
     WAITS_EINTR | WAITS_ALONE | WAITS_CANCEL},
    {"pthread_mutex_lock", mutex_prepare, mutex_block, mutex_release, NULL, 0},
    {"pthread_mutex_timedlock", mutex_prepare, mutex_timed_block, mutex_release, NULL, 0},
    {"pthread_mutex_lock, PI", pi_prepare, mutex_block, mutex_release, NULL, 0},
    {"pthread_cond_wait", cond_prepare, cond_block, cond_release, NULL, WAITS_CANCEL},
    {"pthread_cond_timedwait", cond_prepare, cond_timed_block, cond_release, NULL, WAITS_CANCEL},
    {"cnd_wait", cnd_prepare, cnd_block, cnd_release, NULL, WAITS_CANCEL},
    {"sem_wait", sem_prepare, sem_block, sem_release, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"sem_timedwait", sem_prepare, sem_timed_block, sem_release, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"sem_clockwait", sem_prepare, sem_clock_block, sem_release, NULL, WAITS_EINTR | WAITS_CANCEL},
    {"pthread_rwlock_rdlock", rwlock_prepare, rdlock_block, rwlock_release, NULL, 0},
    {"pthread_rwlock_wrlock", rwlock_prepare, wrlock_block, rwlock_release, NULL, 0},
    {"pthread_barrier_wait", barrier_prepare, barrier_block, barrier_release, NULL, 0},
    {"pthread_join", join_prepare, join_block, sem_release, NULL, WAITS_CANCEL},
    {"futex by number", word_prepare, futex_block, futex_feed, NULL, WAITS_EINTR},
    {"io_getevents by number", aio_prepare, aio_block, pipe_feed, NULL, WAITS_EINTR},
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

// Waits until the thread or process sleeps in the kernel, or until *result says that it is through
// with its call already.
static __attribute__((unused)) void task_await(pid_t tid, const _Atomic int *result)
{
    char path[64], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", tid); // threads are there too, though not listed
    while (!result || atomic_load_explicit(result, memory_order_seq_cst) == -1) {
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

static __attribute__((unused)) void row_await(struct waiter *w)
{
    while (atomic_load_explicit(&w->tid, memory_order_seq_cst) == 0)
        sched_yield();
    task_await(w->tid, &w->result);
}

#endif
