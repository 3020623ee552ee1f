// The layer's only system calls: opening what /proc says about this process, reading it, and the
// few others that finding roots takes. They are made by the instruction itself and not through
// libc: the program's errno stays as it is, nothing is a cancellation point, and no wrapper that
// the program or this library puts around a libc function sees them.
//
// Descriptors are moved to 1000 and up, because programs count on the low numbers (the next open()
// gives the lowest free one, closefrom(3) and dup2 name them). Whatever is opened is checked to lie
// on procfs: in a chroot, /proc may be an ordinary directory whose files say anything.
#include "proc.h"

#include "scanners.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { FD_FIRST = 1000, PROC_ROOT_INODE = 1 };

#if defined(__x86_64__)

static long kernel_call(long number, long a, long b, long c, long d, long e, long f)
{
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

#else

static long kernel_call(long number, long a, long b, long c, long d, long e, long f)
{
    int saved = errno;
    long result = syscall(number, a, b, c, d, e, f);
    if (result == -1)
        result = -errno;
    errno = saved;
    return result;
}

#endif

#define CALL(name, a, b, c, d, e, f)                                                               \
    kernel_call(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

long sv_proc_read(int fd, void *buf, size_t n)
{
    long got;
    do
        got = CALL(read, fd, buf, n, 0, 0, 0);
    while (got == -EINTR);
    return got;
}

long sv_proc_pread(int fd, void *buf, size_t n, uint64_t offset)
{
    long got;
    do
        got = CALL(pread64, fd, buf, n, offset, 0, 0);
    while (got == -EINTR);
    return got;
}

long sv_proc_write(int fd, const void *buf, size_t n)
{
    long put;
    do
        put = CALL(write, fd, buf, n, 0, 0, 0);
    while (put == -EINTR);
    return put;
}

long sv_proc_rewind(int fd)
{
    return CALL(lseek, fd, 0, SEEK_SET, 0, 0, 0);
}

long sv_proc_close(int fd)
{
    return CALL(close, fd, 0, 0, 0, 0, 0);
}

long sv_proc_ioctl(int fd, unsigned long request, void *arg)
{
    long result;
    do
        result = CALL(ioctl, fd, request, arg, 0, 0, 0);
    while (result == -EINTR);
    return result;
}

long sv_proc_mincore(uintptr_t lo, size_t n, unsigned char *vec)
{
    long result;
    do
        result = CALL(mincore, lo, n, vec, 0, 0, 0);
    while (result == -EAGAIN);
    return result;
}

int sv_proc_pid(void)
{
    return (int)CALL(getpid, 0, 0, 0, 0, 0, 0);
}

// The kernel lets a process read its own memory this way whatever its credentials; it honours the
// protection of the mapping, so PROT_NONE gives -EFAULT.
long sv_proc_copy(void *to, uintptr_t from, size_t n)
{
    struct iovec local = {to, n}, remote = {(void *)from, n};
    return CALL(process_vm_readv, sv_proc_pid(), &local, 1, &remote, 1, 0);
}

bool sv_proc_swap_used(void)
{
    struct sysinfo info;
    return CALL(sysinfo, &info, 0, 0, 0, 0, 0) != 0 || info.freeswap != info.totalswap;
}

void *sv_proc_map(size_t n)
{
    long p = CALL(mmap, 0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p < 0 && p >= -4095 ? NULL : (void *)p;
}

void sv_proc_unmap(void *p, size_t n)
{
    CALL(munmap, p, n, 0, 0, 0, 0);
}

long sv_proc_move(void *from, size_t n, void *to)
{
    return CALL(mremap, from, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, to, 0);
}

static bool filesystem_check(int fd, long magic)
{
    struct statfs fs;
    return CALL(fstatfs, fd, &fs, 0, 0, 0, 0) == 0 && fs.f_type == magic;
}

static bool procfs_check(int fd)
{
    return filesystem_check(fd, PROC_SUPER_MAGIC);
}

static uint64_t identity(int fd, long magic)
{
    struct stat st;
    if (fd < 0 || !filesystem_check(fd, magic) || CALL(fstat, fd, &st, 0, 0, 0, 0) != 0)
        return 0;
    return st.st_ino;
}

uint64_t sv_proc_identity(int fd)
{
    return identity(fd, PROC_SUPER_MAGIC);
}

// Each userfaultfd has an inode of its own, on the filesystem of files without a name.
uint64_t sv_proc_userfaultfd_identity(int fd)
{
    return identity(fd, ANON_INODE_FS_MAGIC);
}

// Gives `fd` a number from FD_FIRST up, or under a lower RLIMIT_NOFILE one near the limit. Closes
// the old number. A descriptor never stays in 0..2: those are the program's streams even when
// closed.
static int fd_raise(int fd)
{
    struct rlimit limit;
    long high = CALL(fcntl, fd, F_DUPFD_CLOEXEC, FD_FIRST, 0, 0, 0);
    if (high < 0 && CALL(prlimit64, 0, RLIMIT_NOFILE, 0, &limit, 0, 0) == 0) {
        rlim_t top = limit.rlim_cur < FD_FIRST ? limit.rlim_cur : FD_FIRST;
        for (rlim_t below = 1; high < 0 && top > below + 3; below *= 2)
            high = CALL(fcntl, fd, F_DUPFD_CLOEXEC, top - below, 0, 0, 0);
    }
    if (high < 0 && fd > STDERR_FILENO)
        return fd;
    sv_proc_close(fd);
    return (int)high;
}

int sv_proc_userfaultfd(void)
{
    long fd = CALL(userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY, 0, 0, 0, 0, 0);
    return fd < 0 ? (int)fd : fd_raise((int)fd);
}

// From any context. A later chroot does not matter to the descriptor.
int sv_proc_open(void)
{
    struct stat st;
    long fd = CALL(openat, AT_FDCWD, "/proc", O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0, 0);
    if (fd < 0)
        return (int)fd;
    if (!procfs_check((int)fd) || CALL(fstat, fd, &st, 0, 0, 0, 0) != 0 ||
        st.st_ino != PROC_ROOT_INODE) {
        sv_proc_close((int)fd);
        return -ENODEV;
    }
    return fd_raise((int)fd);
}

// `path` is relative to /proc. -ENODEV: the file that opened does not lie on procfs, which also
// means that procfd is no longer what sv_proc_open gave.
int sv_proc_file(int procfd, const char *path, int flags)
{
    if (procfd < 0)
        return -EBADF;
    long fd = CALL(openat, procfd, path, flags | O_CLOEXEC | O_NOCTTY, 0, 0, 0);
    if (fd < 0)
        return (int)fd;
    if (!procfs_check((int)fd)) {
        sv_proc_close((int)fd);
        return -ENODEV;
    }
    return fd_raise((int)fd);
}
