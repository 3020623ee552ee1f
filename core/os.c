// The core's system calls: thin, with the reasons for their flags. See os.h for the promises.
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch.h"

#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

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

int sv_os_close(int fd)
{
    return (int)call(SYS_close, fd, 0, 0, 0, 0, 0);
}

int sv_os_gettid(void)
{
    return (int)call(SYS_gettid, 0, 0, 0, 0, 0, 0);
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

static uint64_t os_clock(clockid_t clock)
{
    struct timespec t;
    int saved = errno;
    clock_gettime(clock, &t); // the vDSO's: no system call for the monotonic clock
    errno = saved;
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t sv_os_now(void)
{
    return os_clock(CLOCK_MONOTONIC);
}

uint64_t sv_os_cpu(void)
{
    return os_clock(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t sv_os_random(void)
{
    uint64_t r = 0;
    long n = call(SYS_getrandom, &r, sizeof r, GRND_NONBLOCK, 0, 0, 0);
    if (n != (long)sizeof r) // early boot, or a sandbox: addresses and time are better than nothing
        r = (sv_os_now() ^ (uintptr_t)&r) * 0x9e3779b97f4a7c15u;
    return r ? r : 1;
}

uint64_t sv_os_address_limit(void)
{
    struct rlimit64 l;
    if (call(SYS_prlimit64, 0, RLIMIT_AS, NULL, &l, 0, 0) != 0 || l.rlim_cur == RLIM64_INFINITY)
        return UINT64_MAX;
    return l.rlim_cur;
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

void sv_os_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t ns)
{
    struct timespec t = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
    call(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, ns ? &t : NULL, 0, 0);
}

void sv_os_futex_wake(_Atomic uint32_t *word, int n)
{
    call(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, 0, 0, 0);
}
