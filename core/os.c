// The core's system calls: thin, with the reasons for their flags. See os.h for the promises.
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define FD_HIGH 1000 // contract: no descriptors of ours below

#define call(n, a, b, c, d, e, f)                                                                  \
    sv_arch_syscall(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

static void *os_mmap(uintptr_t hint, size_t bytes, int prot, int flags)
{
    long r = call(SYS_mmap, hint, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | flags,
                  -1, 0);
    return r < 0 && r > -4096 ? NULL : (void *)r;
}

void *sv_os_reserve(uintptr_t hint, size_t bytes, bool exact)
{
    void *p = os_mmap(hint, bytes, PROT_NONE, exact ? MAP_FIXED_NOREPLACE : 0);
    if (p && exact && (uintptr_t)p != hint) { // a kernel that takes the flag for a hint
        sv_os_unmap(p, bytes);
        return NULL;
    }
    return p;
}

int sv_os_commit(void *p, size_t bytes)
{
    return (int)call(SYS_mprotect, p, bytes, PROT_READ | PROT_WRITE, 0, 0, 0);
}

int sv_os_protect(void *p, size_t bytes)
{
    return (int)call(SYS_mprotect, p, bytes, PROT_READ, 0, 0, 0);
}

int sv_os_wipe_on_fork(void *p, size_t bytes)
{
    return (int)call(SYS_madvise, p, bytes, MADV_WIPEONFORK, 0, 0, 0);
}

void *sv_os_map(size_t bytes)
{
    return os_mmap(0, bytes, PROT_READ | PROT_WRITE, 0);
}

void sv_os_unmap(void *p, size_t bytes)
{
    call(SYS_munmap, p, bytes, 0, 0, 0, 0);
}

int sv_os_release(void *p, size_t bytes)
{
    return (int)call(SYS_madvise, p, bytes, MADV_DONTNEED, 0, 0, 0);
}

int sv_os_renew(void *p, size_t bytes)
{
    return os_mmap((uintptr_t)p, bytes, PROT_READ | PROT_WRITE, MAP_FIXED) ? 0 : -ENOMEM;
}

int sv_os_move(void *from, void *to, size_t bytes)
{
    long r = call(SYS_mremap, from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP,
                  to, 0);
    return r < 0 && r > -4096 ? (int)r : 0;
}

long sv_os_write(int fd, const void *p, size_t bytes)
{
    return call(SYS_write, fd, p, bytes, 0, 0, 0);
}

int sv_os_open(const char *path, int flags, int mode)
{
    return (int)call(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, mode, 0, 0);
}

// Programs count on low numbers to be theirs: dup2 onto them, or close all that they find.
int sv_os_open_high(const char *path, int flags, int mode)
{
    int fd = sv_os_open(path, flags, mode);
    int high = fd < 0 ? fd : sv_os_fcntl(fd, F_DUPFD_CLOEXEC, FD_HIGH);
    if (high < 0)
        return fd;
    sv_os_close(fd);
    return high;
}

long sv_os_read(int fd, void *p, size_t bytes)
{
    return call(SYS_read, fd, p, bytes, 0, 0, 0);
}

int sv_os_fcntl(int fd, int command, long arg)
{
    return (int)call(SYS_fcntl, fd, command, arg, 0, 0, 0);
}

long sv_os_getdents(int fd, void *p, size_t bytes)
{
    return call(SYS_getdents64, fd, p, bytes, 0, 0, 0);
}

long sv_os_seek(int fd, long offset)
{
    return call(SYS_lseek, fd, offset, SEEK_SET, 0, 0, 0);
}

long sv_os_readlink(int dirfd, const char *path, char *to, size_t room)
{
    return call(SYS_readlinkat, dirfd, path, to, room, 0, 0);
}

long sv_os_links(int fd)
{
    struct statx s;
    long r = call(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_NLINK, &s, 0);
    return r < 0 ? r : (long)s.stx_nlink;
}

int sv_os_close(int fd)
{
    return (int)call(SYS_close, fd, 0, 0, 0, 0, 0);
}

#ifndef CLOSE_RANGE_UNSHARE
#define CLOSE_RANGE_UNSHARE 2
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

int sv_os_descriptors_unshare(void)
{
    int r = (int)call(SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE, 0, 0, 0);
    if (r != 0)
        return r;
    call(SYS_unshare, CLONE_FS, 0, 0, 0, 0, 0);
    // the kernel grows a table that threads share only after a wait for all processors, 10 ms
    int fd = sv_os_open_high("/", O_PATH, 0);
    if (fd >= 0)
        sv_os_close(fd);
    return 0;
}

int sv_os_pidfd(int pid)
{
    return (int)call(SYS_pidfd_open, pid, 0, 0, 0, 0, 0);
}

int sv_os_pidfd_get(int pidfd, int fd)
{
    return (int)call(SYS_pidfd_getfd, pidfd, fd, 0, 0, 0, 0);
}

void sv_os_name(const char *name)
{
    call(SYS_prctl, PR_SET_NAME, name, 0, 0, 0, 0);
}

int sv_os_rename(const char *from, const char *to)
{
    return (int)call(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0, 0);
}

int sv_os_unlink(const char *path)
{
    return (int)call(SYS_unlinkat, AT_FDCWD, path, 0, 0, 0, 0);
}

bool sv_os_file_special(const char *path)
{
    struct stat st;
    long r = call(SYS_newfstatat, AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW, 0, 0);
    return r == 0 && !S_ISREG(st.st_mode);
}

long sv_os_cwd(char *path, size_t room)
{
    return call(SYS_getcwd, path, room, 0, 0, 0, 0);
}

int sv_os_gettid(void)
{
    return (int)call(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

int sv_os_getppid(void)
{
    return (int)call(SYS_getppid, 0, 0, 0, 0, 0, 0);
}

int sv_os_getpid(void)
{
    return (int)call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

int sv_os_tgkill(int pid, int tid, int sig)
{
    return (int)call(SYS_tgkill, pid, tid, sig, 0, 0, 0);
}

int sv_os_signal_set(int sig, void (*handler)(int, siginfo_t *, void *))
{
    return sv_arch_signal_set(sig, handler, SA_SIGINFO | SA_RESTART | SA_ONSTACK);
}

int sv_os_signal_set_as(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
    return sv_arch_signal_set(sig, handler, SA_SIGINFO | flags);
}

int sv_os_signal_get(int sig, struct sv_arch_sigaction *action)
{
    return (int)call(SYS_rt_sigaction, sig, NULL, action, sizeof action->mask, 0, 0);
}

int sv_os_signal_default(int sig)
{
    return sv_arch_signal_set(sig, NULL, 0);
}

int sv_os_signal_again(int sig, siginfo_t *info)
{
    return (int)call(SYS_rt_tgsigqueueinfo, sv_os_getpid(), sv_os_gettid(), sig, info, 0, 0);
}

bool sv_os_altstack_inside(void)
{
    stack_t ss;
    return call(SYS_sigaltstack, NULL, &ss, 0, 0, 0, 0) == 0 && (ss.ss_flags & SS_ONSTACK);
}

uintptr_t sv_os_altstack(void)
{
    stack_t ss;
    if (call(SYS_sigaltstack, NULL, &ss, 0, 0, 0, 0) != 0 || (ss.ss_flags & SS_DISABLE))
        return 0;
    return (uintptr_t)ss.ss_sp;
}

int sv_os_signal_mask(int how, uint64_t set, uint64_t *old)
{
    return (int)call(SYS_rt_sigprocmask, how, &set, old, sizeof set, 0, 0);
}

static uint64_t os_clock(clockid_t which)
{
    struct timespec t;
    int saved = errno;
    clock_gettime(which, &t); // the vDSO's: no system call for the monotonic clock
    errno = saved;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t sv_os_now(void)
{
    return os_clock(CLOCK_MONOTONIC);
}

uint64_t sv_os_now_coarse(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t); // can't fail where os_clock's does not
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t sv_os_realtime(void)
{
    return os_clock(CLOCK_REALTIME);
}

uint64_t sv_os_cpu(void)
{
    return os_clock(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t sv_os_cpu_thread(void)
{
    return os_clock(CLOCK_THREAD_CPUTIME_ID);
}

uint64_t sv_os_random(void)
{
    uint64_t r = 0;
    long n = call(SYS_getrandom, &r, sizeof r, GRND_NONBLOCK, 0, 0, 0);
    if (n != (long)sizeof r) // early boot, or a sandbox: addresses and time are better than nothing
        r = (sv_os_now() ^ (uintptr_t)&r) * 0x9e3779b97f4a7c15u;
    return r ? r : 1;
}

static uint64_t os_limit(int which)
{
    struct rlimit64 l;
    if (call(SYS_prlimit64, 0, which, NULL, &l, 0, 0) != 0 || l.rlim_cur == RLIM64_INFINITY)
        return UINT64_MAX;
    return l.rlim_cur;
}

uint64_t sv_os_address_limit(void)
{
    return os_limit(RLIMIT_AS);
}

uint64_t sv_os_file_limit(void)
{
    return os_limit(RLIMIT_FSIZE);
}

unsigned sv_os_processors(void)
{
    unsigned long mask[1024 / sizeof(long)] = {0}; // 8192 of them, the most a kernel can have
    long bytes = call(SYS_sched_getaffinity, 0, sizeof mask, mask, 0, 0, 0);
    unsigned n = 0;
    for (size_t i = 0; bytes > 0 && i < (size_t)bytes / sizeof *mask; i++)
        n += (unsigned)__builtin_popcountl(mask[i]);
    return n ? n : 1;
}

uint64_t sv_os_address_used(int procfd)
{
    char text[64];
    long fd = call(SYS_openat, procfd >= 0 ? procfd : AT_FDCWD,
                   procfd >= 0 ? "self/statm" : "/proc/self/statm", O_RDONLY | O_CLOEXEC, 0, 0, 0);
    if (fd < 0)
        return 0;
    long n = sv_os_read((int)fd, text, sizeof text - 1);
    sv_os_close((int)fd);
    uint64_t pages = 0;
    for (long i = 0; i < n && text[i] >= '0' && text[i] <= '9'; i++)
        pages = pages * 10 + (uint64_t)(text[i] - '0');
    return pages * 4096;
}

void sv_os_yield(void)
{
    call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
}

void sv_os_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    call(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, ns ? &t : NULL, 0, 0);
}

void sv_os_futex_wake(_Atomic uint32_t *word, int n)
{
    call(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, 0, 0, 0);
}

void sv_os_nap(uint64_t ns)
{
    _Atomic uint32_t nobody = 0;
    sv_os_futex_wait(&nobody, 0, ns);
}
