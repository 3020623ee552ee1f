// The link: how the salvage command gets at a running process. It owns a listening socket, and the
// thread that waits on it.
//
// The socket's name is abstract, "\0salvage/PID/RANDOM": it lies in no directory, so neither chroot
// nor a file's permissions nor a full disk come in its way, and it is gone with the process. PID is
// the process's id as it sees it itself. Nobody can take the name before, since nobody knows it;
// the command finds it in /proc/PID/net/unix and asks the kernel whose it is.
//
// The thread is a worker (core/worker.c): its descriptors stand in the workers' own table, so the
// program sees none of them and can't close them; every signal is blocked; it goes when the workers
// go, and comes back with them. Where workers share the program's table there is no link. The
// driver tells it to end by an eventfd, which every wait here watches: nothing else could end a
// wait.
//
// One client at a time, with time limits: it is nobody's fault but the client's if it is slow. What
// may be long is written to memory first (a memfd), so that a slow reader never holds a lock of the
// collector's. It is answered if its user is root or whom the process is in every respect; in a
// user namespace a user without a number there counts as nobody at all.
//
// The protocol: one line of words; then text until the end of the stream. The first line of it is
// "salvage 1 ok mode=MODE uptime=SECONDS" or "salvage 1 error REASON"; the last line of an answer
// is "end" or "# EOF", without which it was cut off.
//
//   stat                   the statistics, OpenMetrics
//   gc                     a collection; "reclaimed BYTES", "cycles N", "abandoned N", "pause NS"
//   leaks [objects] [live] a leak check; the raw record (docs/raw-record.md)
//
// A program that has confined itself by seccomp may be killed for a call that it doesn't know: from
// then on nothing here calls the kernel any more but to wait.
//
// Never done here: allocating from the program's heap, a lock of the program's, a wait of libc's.
#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>

#include "arch.h"
#include "cycle.h"
#include "leaks.h"
#include "metrics.h"
#include "options.h"
#include "os.h"
#include "profile.h"
#include "stats.h"
#include "text.h"
#include "worker.h"

#define BACKLOG 8
#define REQUEST_NS 2000000000u // for the whole request
#define ANSWER_NS 60000000000u // for the whole answer, once it is known
#define NAP_NS 100000000u      // after a connection that couldn't be taken
#define REQUEST_ROOM 128       // bytes of a request, its newline included
#define PIECE 16384u           // bytes of a record that are sent at a time
#define OVERFLOW_UID 65534u    // what the kernel calls users without a number here

#define call(n, a, b, c, d, e, f)                                                                  \
    sv_arch_syscall(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static struct {
    int wake;         // driver, before the thread is made: readable when the thread must end
    uint64_t started; // const after init: ns, monotonic
    _Atomic int busy; // the thread: the process in which somebody is being answered
    char request[REQUEST_ROOM]; // the thread
    char text[SV_METRICS_ROOM]; // the thread
} lk;

// ---- waiting ------------------------------------------------------------------------------------

enum wait { WAIT_END, WAIT_LATE, WAIT_READY };

// Until fd is ready for `events` (or broken), the time is `until` (0: never), or the thread must
// end. fd -1: for the time alone.
static enum wait link_wait(int fd, short events, uint64_t until)
{
    for (;;) {
        struct pollfd at[2] = {{.fd = lk.wake, .events = POLLIN}, {.fd = fd, .events = events}};
        uint64_t now = sv_os_now();
        uint64_t left = until > now ? until - now : 0;
        struct timespec t = {(time_t)(left / 1000000000u), (long)(left % 1000000000u)};
        long n = call(SYS_ppoll, at, 2, until ? &t : NULL, NULL, 0, 0);
        if (n < 0 && n != -EINTR) // glibc's own signals do interrupt
            return WAIT_END;
        if (n > 0 && at[0].revents)
            return WAIT_END;
        if (n > 0 && at[1].revents)
            return WAIT_READY;
        if (until && sv_os_now() >= until)
            return WAIT_LATE;
    }
}

static bool send_all(int fd, const char *p, size_t bytes, uint64_t until)
{
    while (bytes > 0) {
        long n = call(SYS_sendto, fd, p, bytes, MSG_NOSIGNAL | MSG_DONTWAIT, NULL, 0);
        if (n == -EAGAIN && link_wait(fd, POLLOUT, until) == WAIT_READY)
            continue;
        if (n < 0 && n != -EINTR)
            return false;
        p += n > 0 ? n : 0;
        bytes -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

// ---- who may ask --------------------------------------------------------------------------------

// What a file of /proc says, terminated; false: can't be read. Its own open: see sv_proc_file.
static bool file_read(const char *path, char *text, size_t room)
{
    int fd = sv_os_open(path, O_RDONLY, 0);
    if (fd < 0)
        return false;
    long n = sv_os_read(fd, text, room - 1);
    sv_os_close(fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0;
}

// Has a filter been put on this thread? Opening and reading files is what a cycle does anyway.
static bool confined(void)
{
    char text[2048];
    const char *line = file_read("/proc/thread-self/status", text, sizeof text)
                           ? strstr(text, "\nSeccomp:")
                           : NULL;
    if (!line)
        return false;
    line += strlen("\nSeccomp:");
    while (*line == '\t' || *line == ' ')
        line++;
    return *line != '0';
}

// Does each user have a number of its own here? Not in most user namespaces.
static bool users_all(void)
{
    char text[128], *p = text;
    static const char *const all[] = {"0", "0", "4294967295"};
    if (!file_read("/proc/thread-self/uid_map", text, sizeof text))
        return false;
    for (unsigned i = 0; i < 3; i++) {
        p += strspn(p, " ");
        size_t n = strcspn(p, " \n");
        if (n != strlen(all[i]) || memcmp(p, all[i], n) != 0)
            return false;
        p += n;
    }
    return true;
}

// Root, or whom the process is: really, effectively and by what it saved.
static bool peer_allowed(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    uint32_t real, effective, saved;
    if (call(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &size, 0) != 0)
        return false;
    if (peer.uid == 0)
        return true;
    call(SYS_getresuid, &real, &effective, &saved, 0, 0, 0);
    if (peer.uid != real || peer.uid != effective || peer.uid != saved)
        return false;
    return peer.uid != OVERFLOW_UID || users_all();
}

// ---- what can be asked --------------------------------------------------------------------------

static bool send_text(int fd, const struct sv_text *t)
{
    return send_all(fd, t->start, (size_t)(t->p - t->start), sv_os_now() + ANSWER_NS);
}

static struct sv_text text_start(void)
{
    return sv_text_start(lk.text, sizeof lk.text);
}

static void put_ok(struct sv_text *t)
{
    static const char *const modes[] = {
        [SV_MODE_COLLECT] = "collect", [SV_MODE_LEAKS] = "leaks", [SV_MODE_OFF] = "off"};
    sv_text_put(t, "salvage 1 ok mode=%s uptime=", modes[sv_options.mode]);
    sv_text_fixed(t, (sv_os_now() - lk.started) / 1000000u, 3);
    sv_text_put(t, "\n");
}

static void answer_error(int fd, const char *reason)
{
    struct sv_text t = text_start();
    sv_text_put(&t, "salvage 1 error %s\n", reason);
    send_text(fd, &t);
}

static void answer_stat(int fd)
{
    struct sv_text t = text_start();
    put_ok(&t);
    sv_metrics_put(&t);
    send_text(fd, &t);
}

static void answer_gc(int fd)
{
    struct sv_stats_read before, after;
    sv_stats_read(&before);
    size_t reclaimed = sv_cycle_collect();
    sv_stats_read(&after);
    struct sv_text t = text_start();
    put_ok(&t);
    sv_text_put(&t, "reclaimed %z\ncycles %U\nabandoned %U\npause %U\nlive %U\nend\n", reclaimed,
                after.cycles - before.cycles, after.cycles_abandoned - before.cycles_abandoned,
                after.pause_last, after.heap_live);
    send_text(fd, &t);
}

// The record, from where it was written.
static void send_record(int fd, int memory)
{
    uint64_t until = sv_os_now() + ANSWER_NS;
    long n;
    sv_os_seek(memory, 0);
    while ((n = sv_os_read(memory, lk.text, PIECE)) > 0)
        if (!send_all(fd, lk.text, (size_t)n, until))
            return;
}

static void answer_leaks(int fd, const char *words)
{
    bool live = sv_profile_on && strstr(words, " live") != NULL; // with sample=, in any mode
    if (sv_options.mode != SV_MODE_LEAKS && !live) {
        answer_error(fd, "it doesn't run in mode=leaks, so nothing of what it lost was recorded");
        return;
    }
    int memory = (int)call(SYS_memfd_create, "salvage", 1 /* MFD_CLOEXEC */, 0, 0, 0, 0);
    if (memory < 0) {
        answer_error(fd, "no memory for the record");
        return;
    }
    struct sv_leaks_ask ask = {.reason = SV_LEAKS_REQUEST,
                               .fd = memory,
                               .objects = strstr(words, " objects") != NULL,
                               .live = strstr(words, " live") != NULL};
    struct sv_leaks_sums sums;
    struct sv_text t = text_start();
    int error = sv_leaks_check(&ask, &sums);
    if (error) {
        sv_text_put(&t, "salvage 1 error no verdict could be reached (error %d)\n", -error);
        send_text(fd, &t);
    } else {
        put_ok(&t);
        if (send_text(fd, &t))
            send_record(fd, memory);
    }
    sv_os_close(memory);
}

// ---- a client -----------------------------------------------------------------------------------

// Its line, without the newline; false: it didn't come.
static bool request_read(int fd)
{
    uint64_t until = sv_os_now() + REQUEST_NS;
    size_t have = 0;
    while (link_wait(fd, POLLIN, until) == WAIT_READY) {
        long n = call(SYS_recvfrom, fd, lk.request + have, REQUEST_ROOM - have, MSG_DONTWAIT, 0, 0);
        if (n == -EAGAIN || n == -EINTR)
            continue;
        if (n <= 0)
            return false;
        have += (size_t)n;
        if (lk.request[have - 1] == '\n') {
            lk.request[have - 1] = 0;
            return true;
        }
        if (have == REQUEST_ROOM)
            return false;
    }
    return false;
}

static bool request_is(const char *verb)
{
    size_t n = strlen(verb);
    return strncmp(lk.request, verb, n) == 0 && (lk.request[n] == 0 || lk.request[n] == ' ');
}

static void client_serve(int fd)
{
    if (!peer_allowed(fd))
        answer_error(fd, "not yours: only its user and root may ask");
    else if (!request_read(fd))
        return;
    else if (request_is("stat"))
        answer_stat(fd);
    else if (request_is("gc"))
        answer_gc(fd);
    else if (request_is("leaks"))
        answer_leaks(fd, lk.request);
    else
        answer_error(fd, "this version doesn't know the request");
}

// ---- for the cycle ------------------------------------------------------------------------------

// The listening socket, or -errno.
static int listener_make(void)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct sv_text t = sv_text_start(name.sun_path + 1, sizeof name.sun_path - 1);
    sv_text_put(&t, "salvage/%d/%x", sv_os_getpid(), sv_os_random());
    size_t bytes = offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)(t.p - t.start);
    int fd = (int)call(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, 0, 0, 0);
    if (fd < 0)
        return fd;
    long error = call(SYS_bind, fd, &name, bytes, 0, 0, 0);
    if (!error)
        error = call(SYS_listen, fd, BACKLOG, 0, 0, 0, 0);
    if (error)
        sv_os_close(fd);
    return error ? (int)error : fd;
}

static void client_accept(int listener)
{
    int fd = (int)call(SYS_accept4, listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK, 0, 0);
    if (fd >= 0) {
        client_serve(fd);
        sv_os_close(fd);
    } else if (fd != -EAGAIN && fd != -EINTR && fd != -ECONNABORTED) {
        link_wait(-1, 0, sv_os_now() + NAP_NS);
    }
}

static void link_serve(void)
{
    int listener = confined() ? -1 : listener_make();
    while (listener >= 0 && link_wait(listener, POLLIN, 0) == WAIT_READY && !confined()) {
        atomic_store_explicit(&lk.busy, sv_os_getpid(), memory_order_relaxed);
        client_accept(listener);
        atomic_store_explicit(&lk.busy, 0, memory_order_relaxed);
    }
    if (listener >= 0)
        sv_os_close(listener);
    link_wait(-1, 0, 0);
}

static bool link_open(void)
{
    lk.wake = (int)call(SYS_eventfd2, 0, EFD_CLOEXEC, 0, 0, 0, 0);
    return lk.wake >= 0;
}

// The descriptor goes with the workers' table: the thread may be looking at it.
static void link_close(void)
{
    uint64_t one = 1;
    sv_os_write(lk.wake, &one, sizeof one);
}

// A forked child has inherited the number, and not the client.
static bool link_busy(void)
{
    int pid = atomic_load_explicit(&lk.busy, memory_order_relaxed);
    return pid && pid == sv_os_getpid();
}

static const struct sv_cycle_link link_face = {link_open, link_serve, link_close, link_busy};

void sv_link_init(void)
{
    lk.started = sv_os_now();
    sv_cycle_link = &link_face;
}
