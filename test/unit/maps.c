// The listing of the process's mappings: against what was mapped, with thousands of mappings, with
// odd names, and with a /proc that is no /proc; and the descriptor rules of proc.c.
#include "scanners.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PAGE = 4096 };

static struct sv_maps maps;

static void read_maps(void)
{
    int procfd = sv_proc_open();
    cr_assert_geq(procfd, 0);
    errno = 4242;
    int err = sv_maps_read(&maps, procfd);
    cr_assert_eq(err, 0, "%d", err);
    cr_assert_eq(errno, 4242);
    close(procfd);
}

static uint32_t flags_at(const void *p)
{
    const struct sv_mapping *m = sv_maps_find(&maps, (uintptr_t)p);
    cr_assert(m, "%p is not listed", p);
    cr_assert(m->lo <= (uintptr_t)p && (uintptr_t)p < m->hi);
    return m->flags;
}

static int global = 1;

Test(maps, kinds)
{
    char *none = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int fd = memfd_create("a name) rw-p [stack]\n0-1 rwxp", MFD_CLOEXEC);
    cr_assert(ftruncate(fd, PAGE) == 0);
    char *mem = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0);
    int zero = open("/dev/zero", O_RDWR);
    char *dev_zero = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, zero, 0);
    void *brk = sbrk(PAGE);
    int local = 0;
    read_maps();
    cr_assert_eq(flags_at(none), 0);
    cr_assert_eq(flags_at(shared),
                 SV_MAP_READ | SV_MAP_WRITE | SV_MAP_SHARED | SV_MAP_FILE | SV_MAP_ANON);
    cr_assert_eq(flags_at(mem), SV_MAP_READ | SV_MAP_FILE);
    cr_assert_eq(flags_at(dev_zero),
                 SV_MAP_READ | SV_MAP_WRITE | SV_MAP_SHARED | SV_MAP_FILE | SV_MAP_ANON);
    cr_assert_eq(flags_at(brk), SV_MAP_READ | SV_MAP_WRITE | SV_MAP_BRK);
    cr_assert_eq(flags_at(&local), SV_MAP_READ | SV_MAP_WRITE | SV_MAP_STACK);
    cr_assert_eq(flags_at(&global), SV_MAP_READ | SV_MAP_WRITE | SV_MAP_FILE);
    cr_assert_eq(flags_at((void *)(uintptr_t)read_maps), SV_MAP_READ | SV_MAP_EXEC | SV_MAP_FILE);
    unsigned kernel = 0;
    for (size_t i = 0; i < maps.n; i++)
        kernel += (maps.v[i].flags & SV_MAP_KERNEL) != 0;
    cr_assert_geq(kernel, 2); // vvar and vdso
    cr_assert_null(sv_maps_find(&maps, 0));
    cr_assert_null(sv_maps_find(&maps, UINTPTR_MAX));
    struct sv_mapping own = sv_maps_own(&maps);
    cr_assert(own.lo == (uintptr_t)maps.v && own.hi > (uintptr_t)(maps.v + maps.cap));
    sv_maps_free(&maps);
    cr_assert_null(maps.v);
}

// Every line that the kernel prints, by another parser.
static void compare_with_stdio(void)
{
    FILE *f = fopen("/proc/self/maps", "r");
    setvbuf(f, NULL, _IOFBF, 1 << 20);
    read_maps();
    static char line[20000];
    size_t i = 0;
    while (fgets(line, sizeof line, f)) {
        unsigned long lo, hi;
        cr_assert_eq(sscanf(line, "%lx-%lx ", &lo, &hi), 2, "%s", line);
        // What this test maps for itself between the two readings may differ at the heap's edges.
        if (i < maps.n && maps.v[i].lo == lo && maps.v[i].hi == hi)
            i++;
    }
    fclose(f);
    cr_assert_eq(i, maps.n, "%zu of %zu lines agree", i, maps.n);
}

Test(maps, thousands)
{
    enum { COUNT = 20000 };
    char *p = mmap(NULL, (size_t)2 * COUNT * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert(p != MAP_FAILED);
    read_maps();
    size_t before = maps.n;
    for (size_t i = 0; i < COUNT; i++)
        cr_assert(mprotect(p + 2 * i * PAGE, PAGE, PROT_READ | PROT_WRITE) == 0);
    read_maps(); // grows, and lists its new block
    cr_assert_geq(maps.n, before + 2 * COUNT - 2);
    for (size_t i = 0; i < 2 * COUNT - 1; i++)
        cr_assert_eq(flags_at(p + i * PAGE), i % 2 ? SV_MAP_READ : SV_MAP_READ | SV_MAP_WRITE);
    cr_assert_not_null(sv_maps_find(&maps, (uintptr_t)maps.v));
    cr_assert_not_null(sv_maps_find(&maps, sv_maps_own(&maps).hi - 1));
    for (size_t i = 1; i < maps.n; i++)
        cr_assert_leq(maps.v[i - 1].hi, maps.v[i].lo);
    compare_with_stdio();
}

Test(maps, names_that_look_like_something_else)
{
    char dir[] = "/tmp/salvage-maps-XXXXXX", path[4200];
    cr_assert(mkdtemp(dir));
    static const char *names[] = {"[stack]", "a\nb", "dev", "x y (deleted)", "\\134"};
    char *at[5];
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        int fd = open(path, O_RDWR | O_CREAT, 0600);
        cr_assert(ftruncate(fd, PAGE) == 0);
        at[i] = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        unlink(path);
        close(fd);
    }
    rmdir(dir);
    read_maps();
    for (int i = 0; i < 5; i++)
        cr_assert_eq(flags_at(at[i]), SV_MAP_READ | SV_MAP_WRITE | SV_MAP_SHARED | SV_MAP_FILE);
}

Test(maps, long_names)
{
    char path[260] = "/tmp/salvage-", *end = path + strlen(path);
    memset(end, '\n', 230); // each is printed as four characters
    end[230] = 0;
    int fd = open(path, O_RDWR | O_CREAT, 0600);
    cr_assert_geq(fd, 0);
    cr_assert(ftruncate(fd, 400 * PAGE) == 0);
    unlink(path);
    char *at[200];
    for (int i = 0; i < 200; i++) {
        at[i] = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, (off_t)2 * i * PAGE);
        cr_assert(at[i] != MAP_FAILED);
    }
    read_maps();
    for (int i = 0; i < 200; i++)
        cr_assert_eq(flags_at(at[i]), SV_MAP_READ | SV_MAP_SHARED | SV_MAP_FILE);
}

// From here on the kernel answers PROCMAP_QUERY as one before 6.11 does.
static void query_forbid(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, _IOWR('f', 17, char[104]), 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTTY),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    cr_assert(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    cr_assert(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
}

static void file_map(const char *path, int open_flags, int protection, int flags)
{
    int fd = open(path, open_flags);
    if (fd >= 0)
        (void)mmap(NULL, PAGE, protection, flags, fd, 0); // where it's allowed
}

// Every kind of name: files of the same inode, private and shared, files without a path, device
// files, special mappings, one-page neighbours.
static void odd_mappings_make(void)
{
    const int rw = PROT_READ | PROT_WRITE;
    file_map("/dev/zero", O_RDWR, rw, MAP_PRIVATE);
    file_map("/dev/zero", O_RDWR, rw, MAP_SHARED);
    file_map("/proc/self/exe", O_RDONLY, PROT_READ, MAP_PRIVATE);
    file_map("/proc/self/exe", O_RDONLY, PROT_READ, MAP_SHARED);
    file_map("/dev/mem", O_RDONLY, PROT_READ, MAP_SHARED);
    file_map("/sys/kernel/btf/vmlinux", O_RDONLY, PROT_READ, MAP_PRIVATE);
    for (int i = 0; i < 3; i++) {
        int fd = memfd_create(i ? "[heap]" : "a\nb", MFD_CLOEXEC);
        cr_assert(ftruncate(fd, PAGE) == 0);
        cr_assert(mmap(NULL, PAGE, rw, i == 2 ? MAP_PRIVATE : MAP_SHARED, fd, 0) != MAP_FAILED);
        shmat(shmget(IPC_PRIVATE, PAGE, 0600), NULL, 0);
        cr_assert(mmap(NULL, PAGE, rw, MAP_SHARED | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    }
    char *p = mmap(NULL, 200 * PAGE, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 200; i += 2)
        mprotect(p + i * PAGE, PAGE, i % 4 ? PROT_NONE : PROT_READ | PROT_EXEC);
    prctl(PR_SET_VMA, PR_SET_VMA_ANON_NAME, p + PAGE, PAGE, "[stack]");
    char *top = sbrk(4 * PAGE);
    mprotect((char *)((uintptr_t)top & ~(uintptr_t)(PAGE - 1)), PAGE, PROT_READ); // two [heap]
}

Test(maps, asked_and_printed_agree)
{
    odd_mappings_make();
    read_maps();
    struct sv_maps asked = maps;
    maps = (struct sv_maps){0};
    cr_assert(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) == 0);
    query_forbid();
    read_maps(); // its block is mapped anew
    size_t i = 0, kinds = 0;
    struct sv_mapping block = sv_maps_own(&maps);
    for (size_t j = 0; j < maps.n; j++) {
        const struct sv_mapping *m = &maps.v[j], *a = &asked.v[i];
        if (m->lo > (uintptr_t)INTPTR_MAX)
            continue;                                 // [vsyscall], which only the text shows
        if (m->hi == block.hi || m->lo == block.lo) { // it may have grown a mapping by the block
            i += a->hi == m->hi || a->lo == m->lo;
            continue;
        }
        cr_assert(i < asked.n && a->lo == m->lo && a->hi == m->hi && a->flags == m->flags,
                  "%zu: asked %lx-%lx %x, printed %lx-%lx %x", i, a->lo, a->hi, a->flags, m->lo,
                  m->hi, m->flags);
        kinds |= m->flags;
        i++;
    }
    cr_assert_eq(i, asked.n);
    const size_t all = SV_MAP_STACK | SV_MAP_BRK | SV_MAP_KERNEL | SV_MAP_ANON | SV_MAP_FILE;
    cr_assert_eq(kinds & all, all);
}

Test(maps, devices)
{
    int fd = open("/dev/mem", O_RDONLY);
    char *p = fd < 0 ? MAP_FAILED : mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0xf0000);
    if (p == MAP_FAILED)
        cr_skip_test("no device can be mapped here");
    read_maps();
    cr_assert(flags_at(p) & SV_MAP_DEVICE);
}

Test(maps, proc_that_is_no_proc)
{
    char dir[] = "/tmp/salvage-proc-XXXXXX";
    cr_assert(mkdtemp(dir));
    int procfd = open(dir, O_PATH | O_DIRECTORY);
    struct sv_maps none = {0};
    cr_assert_eq(sv_maps_read(&none, procfd), -ENOENT);
    cr_assert(mkdirat(procfd, "thread-self", 0700) == 0);
    cr_assert_geq(openat(procfd, "thread-self/maps", O_RDWR | O_CREAT, 0600), 0);
    cr_assert_eq(sv_maps_read(&none, procfd), -ENODEV);
    unlinkat(procfd, "thread-self/maps", 0);
    unlinkat(procfd, "thread-self", AT_REMOVEDIR);
    rmdir(dir);
    cr_assert_eq(sv_maps_read(&none, -1), -EBADF);
    cr_assert_eq(none.n, 0);
    cr_assert_lt(sv_proc_file(sv_proc_open(), "self/nothing", O_RDONLY), 0);
}

Test(maps, descriptors_stay_out_of_the_way)
{
    int fd = sv_proc_open();
    cr_assert_geq(fd, 1000);
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    int file = sv_proc_file(fd, "thread-self/maps", O_RDONLY);
    cr_assert_geq(file, 1000);
    cr_assert(fcntl(file, F_GETFD) & FD_CLOEXEC);
    close(file);
    close(fd);
    struct rlimit limit = {64, 64};
    cr_assert(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    fd = sv_proc_open();
    cr_assert(fd == 63, "%d", fd);
    cr_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    file = sv_proc_file(fd, "thread-self/maps", O_RDONLY);
    cr_assert(file == 62, "%d", file);
}

Test(maps, full_descriptor_table_is_an_error)
{
    int procfd = sv_proc_open();
    while (dup(0) >= 0)
        ;
    cr_assert_eq(sv_maps_read(&maps, procfd), -EMFILE);
    cr_assert_eq(maps.n, 0);
}
