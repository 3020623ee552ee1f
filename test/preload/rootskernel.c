// Pointers that only the kernel holds: a program gives them away in an epoll_event, a sigval or a
// request, forgets them, and gets them back with the event. The object must be there still.
//
// The library can't see each delivery, and may go on holding a word after it: up to 60 in a hundred
// witnesses may stay here.
//
// SALVAGE: mode=collect
// SALVAGE: clobber=1,checkmark=1
// SALVAGE: stress=64,clobber=1

#include "lib/witness.h"

#include <aio.h>
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <time.h>

static int fds[2]; // a pipe
static int epfd = -1;

// What came back must be the witness, whole.
static witness_noinline void returned_check(const void *p, const char *from)
{
    WITNESS_NEED((uintptr_t)p == ~witness.inverted, "%s gave %p back", from, p);
    WITNESS_NEED(witness_intact(&witness), "lost in %s", from);
}

// ---- epoll -------------------------------------------------------------------------------------

static witness_noinline void epoll_put(int ep, int op, int fd, const struct witness *w)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = w ? (void *)~w->inverted : NULL};
    WITNESS_NEED(epoll_ctl(ep, op, fd, &e) == 0, "epoll_ctl: %s", strerror(errno));
    memset(&e, 0, sizeof e);
}

static void epoll_take(int ep)
{
    struct epoll_event e;
    WITNESS_NEED(write(fds[1], "x", 1) == 1, "write");
    WITNESS_NEED(epoll_wait(ep, &e, 1, -1) == 1, "epoll_wait");
    returned_check(e.data.ptr, "epoll");
    memset(&e, 0, sizeof e);
}

static void epoll_hold(void)
{
    epfd = epoll_create1(EPOLL_CLOEXEC);
    WITNESS_NEED(epfd >= 0 && pipe(fds) == 0, "epoll_create1");
    epoll_put(epfd, EPOLL_CTL_ADD, fds[0], &witness);
}

static void epoll_drop(void)
{
    epoll_take(epfd);
    epoll_put(epfd, EPOLL_CTL_DEL, fds[0], NULL);
}

static void epoll_mod_hold(void)
{
    epfd = epoll_create(1);
    WITNESS_NEED(epfd >= 0 && pipe(fds) == 0, "epoll_create");
    epoll_put(epfd, EPOLL_CTL_ADD, fds[0], NULL);
    epoll_put(epfd, EPOLL_CTL_MOD, fds[0], &witness);
}

static void epoll_mod_drop(void)
{
    epoll_take(epfd);
    epoll_put(epfd, EPOLL_CTL_MOD, fds[0], NULL);
}

// The registration belongs to the open file: it outlives a dup of the watched descriptor's closing.
static void epoll_dup_hold(void)
{
    epoll_hold();
    int copy = dup(fds[0]);
    WITNESS_NEED(copy >= 0 && close(fds[0]) == 0, "dup");
    fds[0] = copy;
}

static void epoll_dup_drop(void)
{
    epoll_take(epfd);
    close(fds[0]);
    close(epfd);
}

// The epoll descriptor itself was duplicated and the first number closed.
static void epoll_dup_self_hold(void)
{
    epoll_hold();
    int copy = dup(epfd);
    WITNESS_NEED(copy >= 0 && close(epfd) == 0, "dup");
    epfd = copy;
}

// Two epolls watch the same descriptor with different values.
static void epoll_two_hold(void)
{
    epoll_hold();
    int second = epoll_create1(0);
    WITNESS_NEED(second >= 0, "epoll_create1");
    epoll_put(second, EPOLL_CTL_ADD, fds[0], NULL);
    epoll_put(second, EPOLL_CTL_DEL, fds[0], NULL);
}

static void epoll_failed_hold(void)
{
    epoll_hold();
    struct epoll_event e = {.events = EPOLLIN};
    WITNESS_NEED(epoll_ctl(epfd, EPOLL_CTL_ADD, fds[0], &e) == -1 && errno == EEXIST,
                 "a second EPOLL_CTL_ADD succeeded");
}

// Many registrations, of which the witness's is one.
static void epoll_many_hold(void)
{
    epoll_hold();
    for (int i = 0; i < 300; i++) {
        int more[2];
        WITNESS_NEED(pipe(more) == 0, "pipe");
        epoll_put(epfd, EPOLL_CTL_ADD, more[0], NULL);
    }
}

// After fork the child's epoll still answers with the parent's pointer, and the child's copy of the
// object must be there.
static void epoll_fork_hold(void)
{
    epoll_hold();
    witness_wipe();
    pid_t pid = fork();
    if (pid == 0) {
        alarm(WITNESS_HANG / 2);
        witness_collect(witness.size);
        epoll_take(epfd);
        _exit(0);
    }
    int status = -1;
    WITNESS_NEED(waitpid(pid, &status, 0) == pid && status == 0, "lost in a child: %d", status);
    char c;
    WITNESS_NEED(read(fds[0], &c, 1) == 1, "read");
}

// ---- timers ------------------------------------------------------------------------------------

static timer_t timer;
static sigset_t usr;

static void usr_block(void)
{
    sigemptyset(&usr);
    sigaddset(&usr, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr, NULL);
}

static void usr_take(const char *from)
{
    siginfo_t si;
    int sig = sigwaitinfo(&usr, &si);
    WITNESS_NEED(sig == SIGUSR1, "sigwaitinfo: %s", strerror(errno));
    returned_check(si.si_value.sival_ptr, from);
    memset(&si, 0, sizeof si);
}

static witness_noinline void timer_make(int notify, void (*fn)(union sigval))
{
    struct sigevent e;
    memset(&e, 0, sizeof e);
    e.sigev_notify = notify;
    e.sigev_signo = SIGUSR1;
    e.sigev_notify_function = fn;
    e.sigev_value.sival_ptr = (void *)~witness.inverted;
    WITNESS_NEED(timer_create(CLOCK_MONOTONIC, &e, &timer) == 0, "timer_create");
    memset(&e, 0, sizeof e);
}

static void timer_fire(void)
{
    struct itimerspec soon = {.it_value = {.tv_nsec = 1000}};
    WITNESS_NEED(timer_settime(timer, 0, &soon, NULL) == 0, "timer_settime");
}

static void timer_hold(void)
{
    usr_block();
    timer_make(SIGEV_SIGNAL, NULL);
}

static void timer_drop(void)
{
    timer_fire();
    usr_take("timer_create, SIGEV_SIGNAL");
    timer_delete(timer);
}

static _Atomic(uintptr_t) notified;

static void notify(union sigval v)
{
    atomic_store_explicit(&notified, ~(uintptr_t)v.sival_ptr, memory_order_seq_cst);
}

static void notify_await(const char *from)
{
    uintptr_t inverted;
    while ((inverted = atomic_load_explicit(&notified, memory_order_seq_cst)) == 0)
        sched_yield();
    returned_check((const void *)~inverted, from);
}

static void timer_thread_hold(void)
{
    timer_make(SIGEV_THREAD, notify);
}

static void timer_thread_drop(void)
{
    timer_fire();
    notify_await("timer_create, SIGEV_THREAD");
    timer_delete(timer);
}

// With a null sigevent the value is the timer's own id: nothing to hold, nothing to break.
static void timer_null_hold(void)
{
    usr_block();
    timer_t plain;
    WITNESS_NEED(timer_create(CLOCK_MONOTONIC, NULL, &plain) == 0, "timer_create");
    timer_make(SIGEV_SIGNAL, NULL);
    timer_delete(plain);
}

// ---- asynchronous I/O --------------------------------------------------------------------------

// The request itself, which nobody but libc's queue points to while its read waits.
static char aio_byte;

static witness_noinline void aio_start(int notify_how, bool request_is_witness)
{
    static struct aiocb fixed;
    struct aiocb *cb = request_is_witness ? (struct aiocb *)~witness.inverted : &fixed;
    WITNESS_NEED(pipe(fds) == 0, "pipe");
    memset(cb, 0, sizeof *cb);
    cb->aio_fildes = fds[0];
    cb->aio_buf = &aio_byte;
    cb->aio_nbytes = 1;
    cb->aio_sigevent.sigev_notify = notify_how;
    cb->aio_sigevent.sigev_signo = SIGUSR1;
    cb->aio_sigevent.sigev_notify_function = notify;
    cb->aio_sigevent.sigev_value.sival_ptr = (void *)~witness.inverted;
    WITNESS_NEED(aio_read(cb) == 0, "aio_read: %s", strerror(errno));
}

static witness_noinline void aio_restore(void)
{
    witness_fill((unsigned char *)~witness.inverted, witness.size, witness.seed);
}

static witness_noinline void aio_check(void)
{
    const struct aiocb *cb = (const struct aiocb *)~witness.inverted;
    WITNESS_NEED(cb->aio_fildes == fds[0] && cb->aio_buf == &aio_byte && cb->aio_nbytes == 1,
                 "the request changed");
    WITNESS_NEED(aio_error(cb) == 0 || aio_error(cb) == EINPROGRESS, "aio_error");
}

static void aio_value_hold(void)
{
    usr_block();
    aio_start(SIGEV_SIGNAL, false);
}

static void aio_value_drop(void)
{
    WITNESS_NEED(write(fds[1], "x", 1) == 1, "write");
    usr_take("aio_read, SIGEV_SIGNAL");
}

static void aio_thread_hold(void)
{
    aio_start(SIGEV_THREAD, false);
}

static void aio_thread_drop(void)
{
    WITNESS_NEED(write(fds[1], "x", 1) == 1, "write");
    notify_await("aio_read, SIGEV_THREAD");
}

static void aio_request_hold(void)
{
    usr_block();
    aio_start(SIGEV_SIGNAL, true);
    witness_collect(witness.size);
    aio_check();
    WITNESS_NEED(write(fds[1], "x", 1) == 1, "write");
    siginfo_t si;
    WITNESS_NEED(sigwaitinfo(&usr, &si) == SIGUSR1, "sigwaitinfo");
    WITNESS_NEED((uintptr_t)si.si_value.sival_ptr == ~witness.inverted, "another request");
    aio_check();
    WITNESS_NEED(aio_byte == 'x', "nothing read");
    aio_restore();
}

static uintptr_t found; // holds the witness again, for cases that have got it back already

static void aio_request_put_hold(void)
{
    aio_request_hold();
    witness_put(&found);
}

static void found_drop(void)
{
    found = 0;
}

// ---- message queues ----------------------------------------------------------------------------

static mqd_t queue;

static void queue_open(void)
{
    char name[64];
    snprintf(name, sizeof name, "/witness-%d", getpid());
    struct mq_attr attr = {.mq_maxmsg = 2, .mq_msgsize = 8};
    queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
    if (queue == (mqd_t)-1)
        witness_skip("no message queues here");
    mq_unlink(name);
}

static witness_noinline void queue_notify(int notify_how)
{
    struct sigevent e;
    memset(&e, 0, sizeof e);
    e.sigev_notify = notify_how;
    e.sigev_signo = SIGUSR1;
    e.sigev_notify_function = notify;
    e.sigev_value.sival_ptr = (void *)~witness.inverted;
    WITNESS_NEED(mq_notify(queue, &e) == 0, "mq_notify: %s", strerror(errno));
    memset(&e, 0, sizeof e);
}

static void queue_hold(void)
{
    queue_open();
    usr_block();
    queue_notify(SIGEV_SIGNAL);
}

static void queue_drop(void)
{
    WITNESS_NEED(mq_send(queue, "x", 1, 0) == 0, "mq_send");
    usr_take("mq_notify, SIGEV_SIGNAL");
}

static void queue_thread_hold(void)
{
    queue_open();
    queue_notify(SIGEV_THREAD);
}

static void queue_thread_drop(void)
{
    WITNESS_NEED(mq_send(queue, "x", 1, 0) == 0, "mq_send");
    notify_await("mq_notify, SIGEV_THREAD");
}

// ---- queued signals ----------------------------------------------------------------------------

static witness_noinline void value_send(bool to_thread)
{
    union sigval v = {.sival_ptr = (void *)~witness.inverted};
    int rc =
        to_thread ? pthread_sigqueue(pthread_self(), SIGUSR1, v) : sigqueue(getpid(), SIGUSR1, v);
    WITNESS_NEED(rc == 0, "sigqueue");
}

static void pending_hold(void)
{
    usr_block();
    value_send(false);
}

static void pending_thread_hold(void)
{
    usr_block();
    value_send(true);
}

static void pending_drop(void)
{
    usr_take("sigqueue");
}

static void pending_fd_drop(void)
{
    int fd = signalfd(-1, &usr, SFD_CLOEXEC);
    struct signalfd_siginfo si;
    WITNESS_NEED(fd >= 0 && read(fd, &si, sizeof si) == (ssize_t)sizeof si, "signalfd");
    returned_check((const void *)(uintptr_t)si.ssi_ptr, "sigqueue to a signalfd");
    memset(&si, 0, sizeof si);
    close(fd);
}

static void pending_handler(int sig, siginfo_t *si, void *uc)
{
    (void)sig, (void)uc;
    atomic_store_explicit(&notified, ~(uintptr_t)si->si_value.sival_ptr, memory_order_seq_cst);
}

static void pending_handler_drop(void)
{
    struct sigaction sa = {.sa_sigaction = pending_handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGUSR1, &sa, NULL);
    pthread_sigmask(SIG_UNBLOCK, &usr, NULL);
    notify_await("sigqueue to a handler");
}

static const struct place places[] = {
    {"epoll", epoll_hold, epoll_drop, 0},
    {"epoll, 64 bytes", epoll_hold, epoll_drop, 64},
    {"epoll, modified", epoll_mod_hold, epoll_mod_drop, 0},
    {"epoll, watched descriptor duplicated", epoll_dup_hold, epoll_dup_drop, 0},
    {"epoll, itself duplicated", epoll_dup_self_hold, epoll_dup_drop, 0},
    {"epoll, two of them", epoll_two_hold, epoll_drop, 0},
    {"epoll, a failed call between", epoll_failed_hold, epoll_drop, 0},
    {"epoll, many", epoll_many_hold, epoll_drop, 0},
    {"epoll, forked", epoll_fork_hold, epoll_drop, 0},
    {"timer, SIGEV_SIGNAL", timer_hold, timer_drop, 0},
    {"timer, SIGEV_THREAD", timer_thread_hold, timer_thread_drop, 0},
    {"timer, beside one without a value", timer_null_hold, timer_drop, 0},
    {"aio, SIGEV_SIGNAL", aio_value_hold, aio_value_drop, 0},
    {"aio, SIGEV_THREAD", aio_thread_hold, aio_thread_drop, 0},
    {"aio, the request", aio_request_put_hold, found_drop, 0},
    {"mq_notify, SIGEV_SIGNAL", queue_hold, queue_drop, 0},
    {"mq_notify, SIGEV_THREAD", queue_thread_hold, queue_thread_drop, 0},
    {"sigqueue", pending_hold, pending_drop, 0},
    {"pthread_sigqueue", pending_thread_hold, pending_drop, 0},
    {"sigqueue, signalfd", pending_hold, pending_fd_drop, 0},
    {"sigqueue, handler", pending_hold, pending_handler_drop, 0},
};

int main(int argc, char **argv)
{
    return place_main(argc, argv, places, sizeof places / sizeof places[0], 60);
}
