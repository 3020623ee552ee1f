// Remembers the words of the program that only the kernel holds, so that the collector sees them.
//
// A pointer in epoll_data, in a timer's sigev_value, in a queued signal or in an asynchronous
// request may be the only one to its object. Each wrapper makes the real call and puts the word
// where scanners/kernel.c offers it as a root. Between the two the word lies in the wrapper's own
// frame or registers, which are roots too. When a word can't be remembered the call is undone,
// where that can be done, and fails as it does when the kernel is out of memory.
//
// Forgetting is never hurried. A closed epoll descriptor, an expired registration with a message
// queue and a signal long delivered leave their word until its place is used again: that keeps an
// object too long and loses none.
//
// Not covered: what a program gives the kernel without a function of libc (io_uring's user_data,
// libaio's io_submit, rt_sigqueueinfo through syscall(2)), pointers written into pipes, sockets and
// files, and the copy of thread attributes that glibc makes for mq_notify with SIGEV_THREAD.
// Nothing is needed for timers with SIGEV_THREAD: glibc keeps them in a list in its own memory.
#include "export.h"
#include "real.h"
#include "scanners.h"
#include "worker.h"

#include <aio.h>
#include <errno.h>
#include <mqueue.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

static uintptr_t sigval_word(const struct sigevent *sev)
{
    return (uintptr_t)sev->sigev_value.sival_ptr;
}

static int kernel_fail(int error)
{
    errno = error;
    return -1;
}

// ---- operations on one key at the same time -----------------------------------------------------

// Two threads that change one registration at once may reach the kernel in one order and our table
// in the other; the table would end up without the word that the kernel has. So an operation
// announces its key before the call. One that finds, after the call and before it writes to the
// table, the same key announced by another, puts its word into a second place that nothing replaces
// or drops. (Whoever wrote to the table last but came to the kernel first had announced itself by
// then, and still stood there.) Costs a word too many after such a race; the race itself is a
// rarity. A handler may interrupt an operation and do the same: nothing waits here.
#define KERNEL_OPS 32
static _Atomic uint64_t kernel_ops[KERNEL_OPS]; // keys announced; 0: free
static _Atomic uint32_t kernel_ops_over;        // operations that found no room to announce theirs

struct kernel_op {
    enum sv_kernel_kind kind;
    uint64_t key;
    int slot; // KERNEL_OPS: no room
};

// a and b are descriptors, so the top bit is free to tell the kinds apart.
static struct kernel_op op_begin(enum sv_kernel_kind kind, int a, int b)
{
    uint64_t key = (uint64_t)(uint32_t)a << 32 | (uint32_t)b;
    key |= kind == SV_KERNEL_MQ ? (uint64_t)1 << 63 : 0;
    struct kernel_op op = {kind, key, 0};
    for (; op.slot < KERNEL_OPS; op.slot++) {
        uint64_t none = 0;
        if (atomic_load_explicit(&kernel_ops[op.slot], memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&kernel_ops[op.slot], &none, key,
                                                    memory_order_seq_cst, memory_order_relaxed)) {
            return op;
        }
    }
    atomic_fetch_add_explicit(&kernel_ops_over, 1, memory_order_seq_cst);
    return op;
}

// Whether another operation on the same key is, or may be, under way.
static bool op_raced(const struct kernel_op *op)
{
    for (int i = 0; i < KERNEL_OPS; i++) {
        uint64_t key = atomic_load_explicit(&kernel_ops[i], memory_order_seq_cst);
        if (i != op->slot && key == op->key) {
            return true;
        }
    }
    return atomic_load_explicit(&kernel_ops_over, memory_order_seq_cst) != 0;
}

// After a call that gave the kernel `word`. Returns 0 or -ENOMEM.
static int op_hold(const struct kernel_op *op, uintptr_t word)
{
    int error = 0;
    if (op_raced(op)) {
        error = sv_kernel_hold(op->kind, ~(uintptr_t)op->key, word, word);
    }
    int held = sv_kernel_hold(op->kind, op->key, 0, word);
    return error != 0 ? error : held;
}

static void op_end(const struct kernel_op *op)
{
    if (op->slot < KERNEL_OPS) {
        atomic_store_explicit(&kernel_ops[op->slot], 0, memory_order_seq_cst);
    } else {
        atomic_fetch_sub_explicit(&kernel_ops_over, 1, memory_order_seq_cst);
    }
}

// ---- epoll --------------------------------------------------------------------------------------

SV_EXPORT int epoll_ctl(int epfd, int what, int fd, struct epoll_event *event)
{
    struct kernel_op op = op_begin(SV_KERNEL_EPOLL, epfd, fd);
    int result = sv_real(epoll_ctl)(epfd, what, fd, event);
    if (result == 0 && what == EPOLL_CTL_DEL) {
        sv_kernel_drop(SV_KERNEL_EPOLL, op.key, 0);
    } else if (result == 0 && op_hold(&op, event->data.u64) != 0) {
        if (what == EPOLL_CTL_ADD) {
            (void)sv_real(epoll_ctl)(epfd, EPOLL_CTL_DEL, fd, event);
        }
        result = kernel_fail(ENOMEM);
    }
    op_end(&op);
    return result;
}

// ---- timers -------------------------------------------------------------------------------------

SV_EXPORT int timer_create(clockid_t clock, struct sigevent *restrict sev, timer_t *restrict timer)
{
    int result = sv_real(timer_create)(clock, sev, timer);
    if (result == 0 && sev != NULL && sev->sigev_notify != SIGEV_THREAD &&
        sv_kernel_hold(SV_KERNEL_TIMER, (uintptr_t)*timer, 0, sigval_word(sev)) != 0) {
        (void)sv_real(timer_delete)(*timer);
        result = kernel_fail(EAGAIN);
    }
    return result;
}

// The kernel gives timers numbers that rise, so none is used again before it is dropped here.
SV_EXPORT int timer_delete(timer_t timer)
{
    int result = sv_real(timer_delete)(timer);
    if (result == 0) {
        sv_kernel_drop(SV_KERNEL_TIMER, (uintptr_t)timer, 0);
    }
    return result;
}

// ---- asynchronous input and output --------------------------------------------------------------

// glibc's requests run in threads of its own and stand in its memory until they are done; then the
// kernel has the value in a queued signal, and nobody the request, until the program asks for its
// result. So both are held from before the request begins until aio_return. The request's address
// stands under (request, 0), its value under (request, 1).
enum { AIO_REQUEST, AIO_VALUE, AIO_LIST };

static void aio_drop(const struct aiocb *cb)
{
    sv_kernel_drop(SV_KERNEL_AIO, (uintptr_t)cb, AIO_REQUEST);
    sv_kernel_drop(SV_KERNEL_AIO, (uintptr_t)cb, AIO_VALUE);
}

static bool aio_hold(const struct aiocb *cb)
{
    if (sv_kernel_hold(SV_KERNEL_AIO, (uintptr_t)cb, AIO_REQUEST, (uintptr_t)cb) == 0 &&
        sv_kernel_hold(SV_KERNEL_AIO, (uintptr_t)cb, AIO_VALUE, sigval_word(&cb->aio_sigevent)) ==
            0) {
        return true;
    }
    aio_drop(cb);
    return false;
}

// What the real function said of a request that was held for it.
static int aio_started(const struct aiocb *cb, int result)
{
    if (result != 0) {
        aio_drop(cb);
    }
    return result;
}

SV_EXPORT int aio_read(struct aiocb *cb)
{
    return aio_hold(cb) ? aio_started(cb, sv_real(aio_read)(cb)) : kernel_fail(EAGAIN);
}

SV_EXPORT int aio_write(struct aiocb *cb)
{
    return aio_hold(cb) ? aio_started(cb, sv_real(aio_write)(cb)) : kernel_fail(EAGAIN);
}

SV_EXPORT int aio_fsync(int operation, struct aiocb *cb)
{
    return aio_hold(cb) ? aio_started(cb, sv_real(aio_fsync)(operation, cb)) : kernel_fail(EAGAIN);
}

SV_EXPORT ssize_t aio_return(struct aiocb *cb)
{
    ssize_t result = sv_real(aio_return)(cb);
    aio_drop(cb);
    return result;
}

// After a failure some of the requests may be under way all the same: they stay held. The list's
// own value is in glibc's memory until all are done and in the kernel for the moment after: the
// last 64 such values are kept.
SV_EXPORT int lio_listio(int mode, struct aiocb *const list[restrict], int n,
                         struct sigevent *restrict sev)
{
    static _Atomic uint32_t count;
    if (mode != LIO_WAIT && mode != LIO_NOWAIT) {
        return kernel_fail(EINVAL);
    }
    for (int i = 0; i < n; i++) {
        if (list[i] != NULL && list[i]->aio_lio_opcode != LIO_NOP && !aio_hold(list[i])) {
            return kernel_fail(EAGAIN);
        }
    }
    if (mode == LIO_NOWAIT && sev != NULL) {
        uint32_t place = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed) % 64;
        if (sv_kernel_hold(SV_KERNEL_AIO, place, AIO_LIST, sigval_word(sev)) != 0) {
            return kernel_fail(EAGAIN);
        }
    }
    return sv_real(lio_listio)(mode, list, n, sev);
}

// The 64-bit types are the plain ones on every 64-bit system.
_Static_assert(sizeof(struct aiocb64) == sizeof(struct aiocb), "one layout for both names");

SV_EXPORT int aio_read64(struct aiocb64 *cb)
{
    return aio_read((struct aiocb *)cb);
}

SV_EXPORT int aio_write64(struct aiocb64 *cb)
{
    return aio_write((struct aiocb *)cb);
}

SV_EXPORT int aio_fsync64(int operation, struct aiocb64 *cb)
{
    return aio_fsync(operation, (struct aiocb *)cb);
}

SV_EXPORT ssize_t aio_return64(struct aiocb64 *cb)
{
    return aio_return((struct aiocb *)cb);
}

SV_EXPORT int lio_listio64(int mode, struct aiocb64 *const list[restrict], int n,
                           struct sigevent *restrict sev)
{
    return lio_listio(mode, (struct aiocb *const *)list, n, sev);
}

// ---- message queues and queued signals ----------------------------------------------------------

// A registration ends by itself with the first message, so what was held stays until the next one.
SV_EXPORT int mq_notify(mqd_t queue, const struct sigevent *sev)
{
    sv_worker_table_share(); // whose leaving it would end the notification
    struct kernel_op op = op_begin(SV_KERNEL_MQ, 0, queue);
    int result = sv_real(mq_notify)(queue, sev);
    if (result == 0 && sev != NULL && op_hold(&op, sigval_word(sev)) != 0) {
        (void)sv_real(mq_notify)(queue, NULL);
        result = kernel_fail(ENOMEM);
    }
    op_end(&op);
    return result;
}

// The kernel tells nobody when a signal has been taken; the last 64 values are kept. More than that
// pending at once, each the only pointer to its object, would be lost.
static int sigqueue_hold(union sigval value)
{
    static _Atomic uint32_t count;
    uint32_t place = atomic_fetch_add_explicit(&count, 1, memory_order_relaxed) % 64;
    return sv_kernel_hold(SV_KERNEL_SIGQUEUE, place, 0, (uintptr_t)value.sival_ptr);
}

// A value means something in this process alone: one for another takes no place.
SV_EXPORT int sigqueue(pid_t pid, int sig, const union sigval value)
{
    if (pid == getpid() && sigqueue_hold(value) != 0) {
        return kernel_fail(EAGAIN);
    }
    return sv_real(sigqueue)(pid, sig, value);
}

SV_EXPORT int pthread_sigqueue(pthread_t thread, int sig, const union sigval value)
{
    return sigqueue_hold(value) != 0 ? EAGAIN : sv_real(pthread_sigqueue)(thread, sig, value);
}
