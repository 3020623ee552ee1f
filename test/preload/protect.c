// What a program must not notice of barrier=mprotect: its own SIGSEGV handler gets all of its own
// faults, with its flags; without one it dies as it would; and the kernel can write to every object
// while cycles make pages read-only back to back.
//
// SALVAGE: barrier=mprotect
// SALVAGE: barrier=mprotect,checkmark=1
// SALVAGE: mode=collect

#include "check.h"

#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <time.h>
#include <ucontext.h>

#define OBJECTS 4096
#define PAGE 4096

static char *objects[OBJECTS]; // of 16 to 512 bytes
static size_t sizes[OBJECTS];
static _Atomic bool over;
static _Atomic unsigned long cycles;

static void *collector(void *arg)
{
    (void)arg;
    while (!over) {
        check_collect();
        cycles++;
    }
    return NULL;
}

static pthread_t thread;

static void collecting_begin(void)
{
    for (int i = 0; i < OBJECTS; i++) {
        sizes[i] = 16 + (size_t)i * 37 % 497;
        objects[i] = malloc(sizes[i]);
        check_fill(objects[i], sizes[i], (unsigned)i);
    }
    over = false;
    CHECK(pthread_create(&thread, NULL, collector, NULL) == 0, "pthread_create");
}

static void collecting_end(void)
{
    over = true;
    pthread_join(thread, NULL);
    for (int i = 0; i < OBJECTS; i++)
        free(objects[i]);
}

// ---- the program's own faults -------------------------------------------------------------------

static char *arena; // two pages, that the program protects
static sigjmp_buf jump;
static _Atomic unsigned handled, wrong;
static bool on_altstack;
static char *altstack;
static unsigned long saw_mask;

static unsigned long kernel_mask(void)
{
    unsigned long mask = 0;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, sizeof mask);
    return mask;
}

static void look(siginfo_t *info, void *context)
{
    char here;
    ucontext_t *uc = context;
    bool on = &here >= altstack && &here < altstack + 65536;
    saw_mask = kernel_mask();
    if (on != on_altstack || info->si_signo != SIGSEGV || info->si_code != SEGV_ACCERR ||
        (char *)info->si_addr < arena || (char *)info->si_addr >= arena + 2 * PAGE || !uc)
        wrong++;
    handled++;
    objects[handled % OBJECTS][0] = check_byte(0, handled % OBJECTS); // may fault in the handler
}

static void fixing(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    int saved = errno;
    look(info, context);
    mprotect((void *)((uintptr_t)info->si_addr & ~(uintptr_t)(PAGE - 1)), PAGE,
             PROT_READ | PROT_WRITE);
    errno = saved;
}

static void jumping(int sig, siginfo_t *info, void *context)
{
    (void)sig;
    look(info, context);
    siglongjmp(jump, 1);
}

static void handler_set(void (*fn)(int, siginfo_t *, void *), int flags)
{
    struct sigaction sa = {0}, was = {0};
    sa.sa_sigaction = fn;
    sa.sa_flags = SA_SIGINFO | flags;
    sigaddset(&sa.sa_mask, SIGUSR1);
    sigaddset(&sa.sa_mask, SIGSEGV);
    CHECK(sigaction(SIGSEGV, &sa, NULL) == 0, "sigaction");
    CHECK(sigaction(SIGSEGV, NULL, &was) == 0 && was.sa_sigaction == fn &&
              (was.sa_flags & ~0x04000000) == (SA_SIGINFO | flags) &&
              sigismember(&was.sa_mask, SIGUSR1) == 1 && sigismember(&was.sa_mask, SIGSEGV) == 1 &&
              sigismember(&was.sa_mask, SIGUSR2) == 0,
          "the action as it was set, flags %#x", (unsigned)was.sa_flags);
}

static void write_all(unsigned long *round)
{
    unsigned long r = ++*round;
    for (int i = (int)(r % 61); i < OBJECTS; i += 61)
        ((volatile char *)objects[i])[sizes[i] - 1] = (char)check_byte(sizes[i] - 1, (unsigned)i);
}

static void own_faults(int flags)
{
    unsigned long round = 0;
    unsigned count = handled;
    on_altstack = flags & SA_ONSTACK;
    handler_set(fixing, flags);
    for (int i = 0; i < 300; i++) {
        mprotect(arena, 2 * PAGE, PROT_READ);
        errno = i;
        ((volatile char *)arena)[PAGE + 7] = (char)i;
        CHECK(errno == i && arena[PAGE + 7] == (char)i, "round %d", i);
        write_all(&round);
    }
    CHECK(handled == count + 300, "%u faults of 300 seen", handled - count);
    CHECK(saw_mask >> (SIGUSR1 - 1) & 1, "the handler's mask: %lx", saw_mask);
    handler_set(jumping, flags);
    for (volatile int i = 0; i < 300; i++) {
        mprotect(arena, 2 * PAGE, i % 2 ? PROT_READ : PROT_NONE);
        if (sigsetjmp(jump, 1) == 0) {
            ((volatile char *)arena)[5] = 1;
            wrong++;
        }
        write_all(&round);
    }
    CHECK(handled == count + 600, "%u faults of 600 seen", handled - count);
    CHECK(!(kernel_mask() >> (SIGUSR1 - 1) & 1), "the mask came back");
}

static void case_handler(void)
{
    arena = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    altstack = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    stack_t ss = {.ss_sp = altstack, .ss_size = 65536};
    sigaltstack(&ss, NULL);
    collecting_begin();
    unsigned long before = cycles;
    do { // until a cycle has run beside them
        own_faults(0);
        own_faults(SA_ONSTACK);
        own_faults(SA_ONSTACK | SA_NODEFER | SA_RESTART);
    } while (check_collecting() && cycles == before);
    CHECK(wrong == 0, "%u wrong", wrong);
    collecting_end();
}

static volatile sig_atomic_t got;

static void note(int sig)
{
    got = sig;
}

static void case_functions(void)
{
    struct sigaction was;
    sigset_t set, old;
    CHECK(sigaction(SIGSEGV, NULL, &was) == 0 && was.sa_handler == SIG_DFL, "nothing was set");
    CHECK(signal(SIGSEGV, note) == SIG_DFL, "signal");
    CHECK(signal(SIGSEGV, SIG_IGN) == note, "signal again");
    raise(SIGSEGV);
    CHECK(got == 0, "ignored");
    CHECK(signal(SIGSEGV, note) == SIG_IGN, "signal");
    raise(SIGSEGV);
    CHECK(got == SIGSEGV, "handled");
    CHECK(sigaction(SIGSEGV, NULL, &was) == 0 && was.sa_handler == note &&
              (was.sa_flags & SA_RESTART) && sigismember(&was.sa_mask, SIGSEGV),
          "as signal sets it");
    struct sigaction once = {.sa_handler = note, .sa_flags = (int)SA_RESETHAND};
    CHECK(sigaction(SIGSEGV, &once, &was) == 0 && was.sa_handler == note, "once");
    got = 0;
    raise(SIGSEGV);
    CHECK(got == SIGSEGV, "handled once");
    CHECK(sigaction(SIGSEGV, NULL, &was) == 0 && was.sa_handler == SIG_DFL, "and no more");
    // the thread's mask is what it set
    sigemptyset(&set);
    sigaddset(&set, SIGSEGV);
    sigaddset(&set, SIGUSR2);
    CHECK(sigprocmask(SIG_BLOCK, &set, &old) == 0 && !sigismember(&old, SIGSEGV), "block");
    CHECK(pthread_sigmask(SIG_UNBLOCK, &set, &old) == 0 && sigismember(&old, SIGSEGV) &&
              sigismember(&old, SIGUSR2),
          "unblock");
    CHECK(sigprocmask(SIG_SETMASK, &set, NULL) == 0, "set");
    CHECK(sigprocmask(SIG_BLOCK, NULL, &old) == 0 && sigismember(&old, SIGSEGV), "ask");
    sigemptyset(&set);
    CHECK(sigprocmask(SIG_SETMASK, &set, &old) == 0 && sigismember(&old, SIGSEGV), "set");
    CHECK(sigprocmask(SIG_BLOCK, NULL, &old) == 0 && !sigismember(&old, SIGSEGV), "ask");
    // the mask of another handler
    struct sigaction act = {.sa_handler = note};
    sigfillset(&act.sa_mask);
    CHECK(sigaction(SIGUSR1, &act, NULL) == 0 && sigaction(SIGUSR1, NULL, &was) == 0 &&
              sigismember(&was.sa_mask, SIGSEGV) && sigismember(&was.sa_mask, SIGUSR2),
          "sa_mask");
    sigemptyset(&act.sa_mask);
    CHECK(sigaction(SIGUSR1, &act, &was) == 0 && sigismember(&was.sa_mask, SIGSEGV), "sa_mask");
    CHECK(sigaction(SIGUSR1, NULL, &was) == 0 && !sigismember(&was.sa_mask, SIGSEGV), "sa_mask");
}

// ---- deaths -------------------------------------------------------------------------------------

static void die_by_null(void)
{
    *(volatile int *)check_hide((intptr_t)8) = 1;
}

static void die_ignoring(void)
{
    signal(SIGSEGV, SIG_IGN);
    die_by_null();
}

static void die_by_kill(void)
{
    kill(getpid(), SIGSEGV);
}

static void die_set_back(void)
{
    signal(SIGSEGV, note);
    signal(SIGSEGV, SIG_DFL);
    *(volatile char *)die_set_back = 1; // a page of code: SEGV_ACCERR
}

static void die_in_handler(int sig)
{
    (void)sig;
    signal(SIGSEGV, SIG_DFL);
}

// A crash handler that takes itself off and lets the fault come again.
static void die_second_time(void)
{
    signal(SIGSEGV, die_in_handler);
    die_by_null();
}

static void case_deaths(void)
{
    static void (*const fns[])(void) = {die_by_null, die_ignoring, die_by_kill, die_set_back,
                                        die_second_time};
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    collecting_begin();
    for (size_t i = 0; i < sizeof fns / sizeof *fns; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            for (int j = 0; j < OBJECTS; j++)
                objects[j][0]++;
            check_collect();
            fns[i]();
            _exit(0);
        }
        int status = check_wait(pid);
        char text[48];
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV, "death %zu: %s", i,
              check_status(status, text));
    }
    collecting_end();
}

// ---- the kernel writes --------------------------------------------------------------------------

static int pair[2];
static char path[] = "/tmp/protect.XXXXXX";

// An object that nothing else writes to: of at least n bytes.
static char *object(size_t n, unsigned *at)
{
    do
        *at = (*at + 1) % OBJECTS;
    while (sizes[*at] < n);
    return objects[*at];
}

static void sockets(unsigned *at)
{
    char *to = object(200, at), *parts[3], *control = object(64, at);
    char from[200];
    check_fill(from, sizeof from, *at);
    CHECK(send(pair[0], from, 200, 0) == 200, "send");
    CHECK(recv(pair[1], to, 200, 0) == 200 && memcmp(from, to, 200) == 0, "recv: %s",
          strerror(errno));
    struct iovec v[3];
    for (int i = 0; i < 3; i++)
        v[i] = (struct iovec){parts[i] = object(60, at), 60};
    struct msghdr *message = (void *)object(sizeof *message, at);
    *message = (struct msghdr){
        .msg_iov = v, .msg_iovlen = 3, .msg_control = control, .msg_controllen = 64};
    CHECK(send(pair[0], from, 180, 0) == 180, "send");
    CHECK(recvmsg(pair[1], message, 0) == 180, "recvmsg: %s", strerror(errno));
    for (int i = 0; i < 3; i++)
        CHECK(memcmp(parts[i], from + 60 * i, 60) == 0, "part %d", i);
    CHECK(send(pair[0], from, 180, 0) == 180, "send");
    CHECK(readv(pair[1], v, 3) == 180 && memcmp(parts[2], from + 120, 60) == 0, "readv: %s",
          strerror(errno));
    struct sockaddr *name = (void *)object(sizeof(struct sockaddr_storage), at);
    socklen_t *length = (void *)object(sizeof *length, at);
    *length = sizeof(struct sockaddr_storage);
    CHECK(getsockname(pair[0], name, length) == 0 && name->sa_family == AF_UNIX, "getsockname");
    int *value = (void *)object(sizeof *value, at);
    *length = sizeof *value;
    CHECK(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, value, length) == 0 && *value == SOCK_STREAM,
          "getsockopt");
    CHECK(ioctl(pair[0], FIONREAD, value) == 0 && *value == 0, "ioctl");
}

static void files(int fd, unsigned *at)
{
    char from[400];
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (char)check_byte(i, 7);
    char *to = object(400, at);
    CHECK(pread(fd, to, 400, 0) == 400 && memcmp(from, to, 400) == 0, "pread: %s", strerror(errno));
    lseek(fd, 0, SEEK_SET);
    to = object(300, at);
    CHECK(read(fd, to, 300) == 300 && memcmp(from, to, 300) == 0, "read: %s", strerror(errno));
    CHECK(syscall(SYS_pread64, fd, to = object(300, at), 300, 0) == 300 &&
              memcmp(from, to, 300) == 0,
          "syscall: %s", strerror(errno));
    struct stat *st = (void *)object(sizeof *st, at);
    CHECK(stat(path, st) == 0 && st->st_size == 400, "stat: %s", strerror(errno));
    st = (void *)object(sizeof *st, at);
    CHECK(fstat(fd, st) == 0 && st->st_size == 400, "fstat: %s", strerror(errno));
    st = (void *)object(sizeof *st, at);
    CHECK(fstatat(AT_FDCWD, path, st, 0) == 0 && st->st_size == 400, "fstatat");
    struct statx *stx = (void *)object(sizeof *stx, at);
    CHECK(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, stx) == 0 && stx->stx_size == 400, "statx");
    CHECK(readlink("/proc/self/exe", object(400, at), 400) > 0, "readlink: %s", strerror(errno));
    CHECK(getcwd(object(400, at), 400), "getcwd: %s", strerror(errno));
}

static void others(unsigned *at)
{
    char *to = object(256, at);
    memset(to, 0, 256);
    CHECK(getrandom(to, 256, 0) == 256 && !check_zero(to, 32) && !check_zero(to + 224, 32),
          "getrandom: %s", strerror(errno));
    int *fds = (void *)object(8, at);
    CHECK(pipe(fds) == 0, "pipe: %s", strerror(errno));
    int in = fds[0], out = fds[1];
    struct pollfd *poller = (void *)object(sizeof *poller, at);
    *poller = (struct pollfd){out, POLLOUT, 0};
    CHECK(poll(poller, 1, 0) == 1 && poller->revents == POLLOUT, "poll");
    fd_set *set = (void *)object(sizeof *set, at);
    FD_ZERO(set);
    FD_SET(out, set);
    CHECK(select(out + 1, NULL, set, NULL, NULL) == 1, "select: %s", strerror(errno));
    close(in);
    close(out);
    struct rusage *usage = (void *)object(sizeof *usage, at);
    CHECK(getrusage(RUSAGE_SELF, usage) == 0, "getrusage");
    struct rlimit *limit = (void *)object(sizeof *limit, at);
    CHECK(getrlimit(RLIMIT_NOFILE, limit) == 0, "getrlimit");
    CHECK(uname((void *)object(sizeof(struct utsname), at)) == 0, "uname");
    CHECK(sysinfo((void *)object(sizeof(struct sysinfo), at)) == 0, "sysinfo");
    CHECK(times((void *)object(sizeof(struct tms), at)) != -1, "times");
    CHECK(sched_getaffinity(0, 128, (void *)object(128, at)) == 0, "sched_getaffinity");
    CHECK(sigprocmask(SIG_BLOCK, NULL, (void *)object(sizeof(sigset_t), at)) == 0, "sigprocmask");
    CHECK(sigaction(SIGUSR1, NULL, (void *)object(sizeof(struct sigaction), at)) == 0, "sigaction");
}

static void case_kernel(void)
{
    unsigned at = 0;
    int fd = mkstemp(path);
    char from[400];
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0 && fd >= 0, "descriptors");
    for (size_t i = 0; i < sizeof from; i++)
        from[i] = (char)check_byte(i, 7);
    CHECK(write(fd, from, sizeof from) == sizeof from, "write");
    collecting_begin();
    unsigned long before = cycles;
    for (int i = 0; i < 1500 || (check_collecting() && cycles < before + 20); i++) {
        sockets(&at);
        files(fd, &at);
        others(&at);
    }
    collecting_end();
    unlink(path);
}

// Waits with a lent buffer, while many cycles pass: what comes has to fit in.
static void *reader(void *p)
{
    return (void *)(intptr_t)read(pair[0], p, 100);
}

static void case_waiting(void)
{
    pthread_t waiting;
    char from[100];
    void *result;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socketpair");
    check_fill(from, sizeof from, 3);
    collecting_begin();
    for (int i = 0; i < 5; i++) {
        char *to = malloc(100);
        CHECK(pthread_create(&waiting, NULL, reader, to) == 0, "pthread_create");
        for (unsigned long c = cycles; check_collecting() && cycles < c + 8;)
            sched_yield();
        CHECK(write(pair[1], from, 100) == 100, "write");
        pthread_join(waiting, &result);
        CHECK((intptr_t)result == 100 && memcmp(from, to, 100) == 0, "read %ld",
              (long)(intptr_t)result);
        free(to);
    }
    collecting_end();
}

// ---- fork ---------------------------------------------------------------------------------------

static void child_writes(void)
{
    int fds[2];
    for (int i = 0; i < OBJECTS; i++) {
        CHECK(check_pattern(objects[i], sizes[i], sizes[i], (unsigned)i), "object %d", i);
        memset(objects[i], i, sizes[i]);
    }
    CHECK(pipe(fds) == 0, "pipe");
    for (int i = 0; i < OBJECTS; i++)
        if (write(fds[1], "x", 1) != 1 || syscall(SYS_read, fds[0], objects[i], 1) != 1)
            CHECK(false, "object %d can't be written: %s", i, strerror(errno));
    check_collect();
    for (int i = 0; i < OBJECTS; i++)
        objects[i][0]++;
}

static void case_fork(void)
{
    collecting_begin();
    for (int i = 0; i < 20; i++)
        check_case("child", child_writes, 20);
    for (int i = 0; i < OBJECTS; i++)
        CHECK(check_pattern(objects[i], sizes[i], sizes[i], (unsigned)i), "object %d", i);
    collecting_end();
}

int main(void)
{
    check_case("handler", case_handler, 30);
    check_case("functions", case_functions, 30);
    check_case("deaths", case_deaths, 30);
    check_case("kernel", case_kernel, 30);
    check_case("waiting", case_waiting, 30);
    check_case("fork", case_fork, 30);
    return check_done();
}
