// The link from the command's side. The socket is found by its name in the list of the process's
// network namespace; anybody could have made one of that name, so the kernel is asked whose it is
// (SO_PEERCRED gives the process that listens) before a word is said.
//
// Root becomes the process's user for the moment in which it connects: in a user namespace root
// outside has no number, and would be nobody. It enters the process's network namespace as well,
// and comes back; without root that can't be done, and the reason says so.
//
// The answer is copied to a temporary file at once: rendering takes its time, and the process
// doesn't wait long for a slow reader.
#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "command.h"

#define TICK_MS 100
#define LOOK_SECONDS 0.5 // between two looks whether the process runs
#define TRIES 5 // TICK_MS apart, of processes that broke off (forked, say) or have no link yet
#define BUSY_TRIES 50 // of sockets with too many waiting, TICK_MS apart

enum outcome {
    LINK_OK,
    LINK_NONE,    // nobody there to ask
    LINK_CUT,     // ended before it was whole
    LINK_REFUSED, // for good; the reason is told
};

__attribute__((format(printf, 2, 3))) static enum outcome refuse(char *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, LINK_WHY, format, args);
    va_end(args);
    return LINK_REFUSED;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

// ---- the socket ---------------------------------------------------------------------------------

// In the process's network namespace from here on; *home: the descriptor of the old one, -1: it was
// the same.
static enum outcome namespace_enter(const struct process *p, int *home, char *why)
{
    char path[64];
    struct stat here, there;
    *home = -1;
    snprintf(path, sizeof path, "/proc/%d/ns/net", p->pid);
    if (stat("/proc/self/ns/net", &here) != 0 || stat(path, &there) != 0 ||
        (here.st_dev == there.st_dev && here.st_ino == there.st_ino))
        return LINK_OK;
    int old = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int net = open(path, O_RDONLY | O_CLOEXEC);
    int error = net < 0 || old < 0 || setns(net, CLONE_NEWNET) != 0 ? errno : 0;
    if (net >= 0)
        close(net);
    if (!error) {
        *home = old;
        return LINK_OK;
    }
    if (old >= 0)
        close(old);
    return refuse(
        why, "process %d (%s) lives in another network namespace, which can't be entered (%s)%s",
        p->pid, p->name, strerror(error), geteuid() ? ": try as root" : "");
}

static void namespace_leave(int home)
{
    if (home < 0)
        return;
    if (setns(home, CLONE_NEWNET) != 0)
        exit(complain("can't come back to this network namespace: %s", strerror(errno)));
    close(home);
}

// Connected, and the process's own; -1: not.
static int socket_try(const struct process *p, const char *name, bool *busy)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer = {0};
    socklen_t size = sizeof peer;
    size_t n = strlen(name);
    if (n > sizeof address.sun_path - 1)
        return -1;
    memcpy(address.sun_path + 1, name, n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    uid_t me = geteuid();
    bool other = me == 0 && p->effective != 0 && seteuid(p->effective) == 0;
    int error = connect(fd, (struct sockaddr *)&address,
                        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + n)) != 0
                    ? errno
                    : 0;
    if (other && seteuid(me) != 0)
        exit(complain("can't be root again: %s", strerror(errno)));
    *busy |= error == EAGAIN;
    if (!error && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid == p->pid)
        return fd;
    close(fd);
    return -1;
}

// Whoever of this name is listed; -1: nobody. *busy: somebody has too many waiting.
static int socket_find(const struct process *p, bool *busy)
{
    char path[64], prefix[64], line[512];
    int fd = -1;
    snprintf(path, sizeof path, "/proc/%d/net/unix", p->pid);
    snprintf(prefix, sizeof prefix, " @salvage/%d/", p->inner);
    FILE *list = fopen(path, "re");
    while (list && fd < 0 && fgets(line, sizeof line, list)) {
        char *name = strstr(line, prefix);
        line[strcspn(line, "\n")] = 0;
        if (name)
            fd = socket_try(p, name + 2, busy);
    }
    if (list)
        fclose(list);
    return fd;
}

static enum outcome socket_open(const struct process *p, int *fd, char *why)
{
    for (int try = 0; try < BUSY_TRIES; try++) {
        bool busy = false;
        *fd = socket_find(p, &busy);
        if (*fd >= 0)
            return LINK_OK;
        if (!busy)
            return LINK_NONE;
        poll(NULL, 0, TICK_MS);
    }
    return refuse(why, "process %d (%s) has too many to answer: try later", p->pid, p->name);
}

// Its threads stand still, the one that answers as well.
static bool stopped(int pid, char *why)
{
    struct process p;
    if (!process_read(pid, &p, why, LINK_WHY) || (p.state != 'T' && p.state != 't'))
        return false;
    refuse(why, "process %d (%s) is stopped: continue it first (kill -CONT %d)", pid, p.name, pid);
    return true;
}

// ---- the answer ---------------------------------------------------------------------------------

static enum outcome answer_read(int fd, FILE *to, const struct process *p,
                                const struct link_patience *patience, char *why)
{
    double until = now() + patience->seconds, look = now();
    char piece[16384];
    for (;;) {
        struct pollfd at = {.fd = fd, .events = POLLIN};
        int ready = poll(&at, 1, TICK_MS);
        if (patience->tick && !patience->tick(patience->arg))
            return refuse(why, "given up");
        if (ready == 0 && patience->seconds > 0 && now() > until)
            return refuse(why, "process %d (%s) doesn't answer", p->pid, p->name);
        if (ready == 0 && now() > look) {
            if (stopped(p->pid, why))
                return LINK_REFUSED;
            look = now() + LOOK_SECONDS;
        }
        if (ready <= 0)
            continue;
        ssize_t n = read(fd, piece, sizeof piece);
        if (n == 0 || (n < 0 && errno == ECONNRESET)) // the request was not read
            return LINK_OK;
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return LINK_CUT;
        if (n > 0 && fwrite(piece, 1, (size_t)n, to) != (size_t)n)
            return refuse(why, "can't keep the answer: %s", strerror(errno));
    }
}

// Is the last line one that ends an answer?
static bool answer_ended(FILE *text)
{
    char tail[8] = "";
    if (fseek(text, -7, SEEK_END) != 0 || fread(tail, 1, 7, text) != 7)
        return false;
    return strcmp(tail, "\n# EOF\n") == 0 || strcmp(tail + 2, "\nend\n") == 0;
}

// Takes the first line off.
static enum outcome answer_begin(FILE *text, const struct process *p, struct link_answer *out,
                                 char *why)
{
    char line[LINK_WHY / 2];
    bool ended = answer_ended(text);
    rewind(text);
    if (!fgets(line, sizeof line, text) || !strchr(line, '\n'))
        return LINK_CUT;
    line[strcspn(line, "\n")] = 0;
    if (strncmp(line, "salvage 1 error ", 16) == 0)
        return refuse(why, "process %d (%s): %s", p->pid, p->name, line + 16);
    if (sscanf(line, "salvage 1 ok mode=%15s uptime=%lf", out->mode, &out->uptime) != 2)
        return refuse(why,
                      "process %d (%s) answers in a way that this version of the command doesn't "
                      "know",
                      p->pid, p->name);
    return ended ? LINK_OK : LINK_CUT;
}

static enum outcome ask(const struct process *p, const char *request,
                        const struct link_patience *patience, struct link_answer *out, char *why)
{
    int fd = -1;
    enum outcome done = socket_open(p, &fd, why);
    if (done != LINK_OK)
        return done;
    FILE *text = tmpfile();
    if (!text)
        done = refuse(why, "no temporary file for the answer: %s", strerror(errno));
    else if (send(fd, request, strlen(request), MSG_NOSIGNAL) != (ssize_t)strlen(request) &&
             errno != EPIPE) // who is refused is so before the request was read
        done = LINK_CUT;
    else
        done = answer_read(fd, text, p, patience, why);
    if (done == LINK_OK)
        done = answer_begin(text, p, out, why);
    close(fd);
    if (done != LINK_OK && text)
        fclose(text);
    else
        out->text = text;
    return done;
}

// Why there is nobody, or why what came was not whole.
static void explain(const struct process *p, enum outcome done, char *why)
{
    struct process again;
    char gone[LINK_WHY];
    if (!process_read(p->pid, &again, gone, sizeof gone) || again.started != p->started)
        refuse(why, "process %d (%s) ended meanwhile", p->pid, p->name);
    else if (done == LINK_NONE)
        process_explain(p, why, LINK_WHY);
    else
        refuse(why, "process %d (%s) broke off: try again", p->pid, p->name);
}

bool link_ask(const struct process *p, const char *request, const struct link_patience *patience,
              struct link_answer *out, char *why)
{
    int home;
    if (stopped(p->pid, why))
        return false;
    enum outcome done = namespace_enter(p, &home, why);
    if (done != LINK_OK)
        return false;
    for (int try = 0; try < TRIES; try++) {
        done = ask(p, request, patience, out, why);
        // it may be starting, or coming back after a fork
        bool coming = done == LINK_NONE && patience->seconds == 0 && process_preloaded(p->pid) == 1;
        if (done != LINK_CUT && !coming)
            break;
        poll(NULL, 0, TICK_MS);
    }
    namespace_leave(home);
    if (done == LINK_NONE || done == LINK_CUT)
        explain(p, done, why);
    return done == LINK_OK;
}

static bool tick(void *what)
{
    progress_show(what);
    return true;
}

bool link_ask_pid(int pid, const char *request, const char *what, struct link_answer *out)
{
    struct process p;
    char why[LINK_WHY];
    char *label = text_take("%s", what);
    struct link_patience patience = {.tick = tick, .arg = label};
    bool ok = process_read(pid, &p, why, sizeof why) && process_mine(&p, why, sizeof why) &&
              link_ask(&p, request, &patience, out, why);
    progress_end();
    if (!ok)
        complain("%s", why);
    free(label);
    return ok;
}
