// The collector's own memory: jemalloc behind a lock, and the list of mappings it lives in.
//
// jemalloc is the members of its static library joined into one object, build/meta.o, whose symbols
// are local but for a few that the Makefile renames to meta_*. What it would ask of libc with an
// effect on the program, or that the program could influence, is renamed to meta_* as well and
// answered here: its mappings (to list them), its settings (no environment, no /etc/malloc.conf),
// its handlers for fork, exit and the end of a thread (to put them behind the lock), threads (there
// are none), and what only its profiler and its background threads call (never called; libm and
// libgcc_s stay out).
//
// Invariants: jemalloc runs with the lock held only, from its first instruction (its constructor is
// cut off) to a thread's destructor; and the table covers every byte that jemalloc holds, so that
// none of them is taken for a root, and no byte that it gave back, which the program may get next.
// errno is the program's and is put back.
#include "metadata.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch.h"
#include "lock.h"

// Mappings are taken downwards and merge with their neighbour, so that a few entries are the rule.
#define NRANGES 4096
#define PAGE 4096ul             // of the processor, not of the heap
#define HUGE_PAGE (PAGE * 512)  // bytes
#define FLAGS_ALIGN_16 4        // MALLOCX_LG_ALIGN(4)
#define FLAGS_ZERO 0x40         // MALLOCX_ZERO
#define RESIDENT_PAGES 1024     // looked at by one call of mincore
#define START_BYTES (8ul << 20) // jemalloc's start maps less, alignment included

void *meta_mallocx(size_t bytes, int flags);
void meta_sdallocx(void *p, size_t bytes, int flags);
void meta_postfork_child(void);

// One arena, for one lock stands around everything; nothing kept in caches of threads, which would
// have to be emptied when they end; freed pages go back to the kernel at once, their addresses
// stay.
extern const char *meta_conf;
const char *meta_conf = "narenas:1,tcache:false,background_thread:false,dirty_decay_ms:0,"
                        "muzzy_decay_ms:0,thp:never,retain:true,oversize_threshold:0";

struct range {
    _Atomic uintptr_t lo; // atomic for sv_metadata_bytes, which reads without the lock
    _Atomic uintptr_t hi;
};

static struct sv_lock metadata_lock;
static struct sv_lock users_lock;    // who holds metadata's, and who helps it inside a stop
static bool metadata_used;           // lock: jemalloc has run
static struct range ranges[NRANGES]; // lock to write: ascending, disjoint, not adjacent
static _Atomic uint32_t nranges;     // lock to write
static void (*thread_end)(void *);   // const after jemalloc's start: its destructor of a thread

// ---- the table of mappings ---------------------------------------------------------------------

static uintptr_t range_lo(uint32_t i)
{
    return atomic_load_explicit(&ranges[i].lo, memory_order_relaxed);
}

static uintptr_t range_hi(uint32_t i)
{
    return atomic_load_explicit(&ranges[i].hi, memory_order_relaxed);
}

static void range_set(uint32_t i, uintptr_t lo, uintptr_t hi)
{
    atomic_store_explicit(&ranges[i].lo, lo, memory_order_relaxed);
    atomic_store_explicit(&ranges[i].hi, hi, memory_order_relaxed);
}

static uint32_t ranges_count(void)
{
    return atomic_load_explicit(&nranges, memory_order_relaxed);
}

// Replaces entries [first, last) by `n` (0 to 2) new ones, whose contents the caller sets.
static void ranges_splice(uint32_t first, uint32_t last, uint32_t n)
{
    uint32_t count = ranges_count();
    if (first + n > last)
        for (uint32_t i = count; i > last; i--)
            range_set(i - 1 + first + n - last, range_lo(i - 1), range_hi(i - 1));
    else if (first + n < last)
        for (uint32_t i = last; i < count; i++)
            range_set(i - (last - first - n), range_lo(i), range_hi(i));
    atomic_store_explicit(&nranges, count + n - (last - first), memory_order_relaxed);
}

// Caller has seen to it that there is room for one more.
static void ranges_add(uintptr_t lo, uintptr_t hi)
{
    uint32_t first = 0, last;
    while (first < ranges_count() && range_hi(first) < lo)
        first++;
    last = first;
    while (last < ranges_count() && range_lo(last) <= hi) {
        lo = range_lo(last) < lo ? range_lo(last) : lo;
        hi = range_hi(last) > hi ? range_hi(last) : hi;
        last++;
    }
    ranges_splice(first, last, 1);
    range_set(first, lo, hi);
}

// The same: taking out the middle of an entry makes two of it.
static void ranges_remove(uintptr_t lo, uintptr_t hi)
{
    uint32_t first = 0, last, n = 0;
    uintptr_t left, right;
    while (first < ranges_count() && range_hi(first) <= lo)
        first++;
    last = first;
    while (last < ranges_count() && range_lo(last) < hi)
        last++;
    if (first == last)
        return;
    left = range_lo(first);
    right = range_hi(last - 1);
    ranges_splice(first, last, (left < lo) + (hi < right));
    if (left < lo)
        range_set(first + n++, left, lo);
    if (hi < right)
        range_set(first + n, hi, right);
}

void sv_metadata_each(void (*fn)(void *arg, unsigned long lo, unsigned long hi), void *arg)
{
    for (uint32_t i = 0; i < ranges_count(); i++)
        fn(arg, range_lo(i), range_hi(i));
}

// An entry that is being moved by another thread may be counted twice or not at all.
size_t sv_metadata_bytes(void)
{
    unsigned char present[RESIDENT_PAGES];
    size_t pages = 0;
    for (uint32_t i = 0; i < ranges_count(); i++) {
        uintptr_t lo = range_lo(i), hi = range_hi(i);
        while (lo < hi) {
            size_t n = (hi - lo) / PAGE < RESIDENT_PAGES ? (hi - lo) / PAGE : RESIDENT_PAGES;
            bool known = sv_arch_syscall(SYS_mincore, (long)lo, (long)(n * PAGE), (long)present, 0,
                                         0, 0) == 0;
            for (size_t j = 0; j < n; j++)
                pages += !known || (present[j] & 1);
            lo += n * PAGE;
        }
    }
    return pages * PAGE;
}

// ---- what jemalloc asks of libc ----------------------------------------------------------------

void *meta_mmap(void *hint, size_t bytes, int prot, int flags, int fd, long offset);
int meta_munmap(void *p, size_t bytes);
int meta_mprotect(void *p, size_t bytes, int prot);
int meta_madvise(void *p, size_t bytes, int advice);
char *meta_secure_getenv(const char *name);
ssize_t meta_readlink(const char *path, char *to, size_t bytes);
long meta_sysconf(int name);
long meta_syscall(long n, ...);
void *meta_sbrk(intptr_t bytes);
void *meta_dlsym(void *handle, const char *name);
int meta_atexit(void (*fn)(void));
int meta_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void));
int meta_pthread_key_create(pthread_key_t *key, void (*end)(void *));
int meta_pthread_setspecific(pthread_key_t key, const void *value);

static long call(long n, void *p, size_t bytes, long c, long d)
{
    long r = sv_arch_syscall(n, (long)p, (long)bytes, c, d, -1, 0);
    if (r < 0) {
        errno = (int)-r;
        return -1;
    }
    return r;
}

// jemalloc maps anonymous private memory only. A full table is a shortage of memory.
void *meta_mmap(void *hint, size_t bytes, int prot, int flags, int fd, long offset)
{
    long p;
    (void)fd;
    (void)offset;
    if (ranges_count() == NRANGES) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    p = call(SYS_mmap, hint, bytes, prot, flags);
    if (p == -1)
        return MAP_FAILED;
    ranges_add((uintptr_t)p, (uintptr_t)p + ((bytes + PAGE - 1) & -PAGE));
    if (bytes >= HUGE_PAGE) // else the first 16 bytes could cost 2 MiB
        call(SYS_madvise, (void *)p, bytes, MADV_NOHUGEPAGE, 0);
    return (void *)p;
}

// With a full table the memory stays listed, so it must stay ours: only its contents go.
int meta_munmap(void *p, size_t bytes)
{
    if (ranges_count() == NRANGES)
        return meta_madvise(p, bytes, MADV_DONTNEED);
    if (call(SYS_munmap, p, bytes, 0, 0) == -1)
        return -1;
    ranges_remove((uintptr_t)p, (uintptr_t)p + ((bytes + PAGE - 1) & -PAGE));
    return 0;
}

int meta_mprotect(void *p, size_t bytes, int prot)
{
    return (int)call(SYS_mprotect, p, bytes, prot, 0);
}

int meta_madvise(void *p, size_t bytes, int advice)
{
    return (int)call(SYS_madvise, p, bytes, advice, 0);
}

char *meta_secure_getenv(const char *name)
{
    (void)name;
    return NULL;
}

ssize_t meta_readlink(const char *path, char *to, size_t bytes)
{
    (void)path;
    (void)to;
    (void)bytes;
    errno = ENOENT;
    return -1;
}

// The page size; and one processor, for one thread is inside at a time (libc would open a file).
long meta_sysconf(int name)
{
    return name == _SC_PAGESIZE ? (long)PAGE : 1;
}

// open, read and close for the kernel's settings of overcommitment and huge pages; and write, for
// complaints on the program's stderr, which stay unsaid.
long meta_syscall(long n, ...)
{
    va_list ap;
    long a, b, c;
    va_start(ap, n);
    a = va_arg(ap, long);
    b = va_arg(ap, long);
    c = va_arg(ap, long);
    va_end(ap);
    return n == SYS_write ? c : call(n, (void *)a, (size_t)b, c, 0);
}

// The break is the program's.
void *meta_sbrk(intptr_t bytes)
{
    (void)bytes;
    errno = ENOMEM;
    return (void *)-1; // sbrk's own way to fail
}

void *meta_dlsym(void *handle, const char *name)
{
    (void)handle;
    (void)name;
    return NULL;
}

int meta_atexit(void (*fn)(void))
{
    (void)fn;
    return 0;
}

// sv_metadata_fork_child stands in for the handlers.
int meta_pthread_atfork(void (*before)(void), void (*parent)(void), void (*child)(void))
{
    (void)before;
    (void)parent;
    (void)child;
    return 0;
}

// jemalloc links the threads that use it into a list through their TLS, and a thread must leave it
// before that memory is used again. A key's destructor is too early for that: a thread may collect
// even later, in the last of its own clean-up. So each thread leaves the list right after its first
// call, as if it had ended; jemalloc serves such threads all the same, and doesn't link them again.
// No key is needed then: jemalloc's word for the thread stands here.
static __thread void *thread_state __attribute__((tls_model("initial-exec")));
static __thread bool thread_left __attribute__((tls_model("initial-exec")));

int meta_pthread_key_create(pthread_key_t *key, void (*end)(void *))
{
    thread_end = end;
    *key = 0;
    return 0;
}

int meta_pthread_setspecific(pthread_key_t key, const void *value)
{
    (void)key;
    thread_state = (void *)(uintptr_t)value;
    return 0;
}

// Lock held, after each call of jemalloc.
static void thread_leave(void)
{
    if (thread_left || !thread_state)
        return;
    thread_left = true;
    thread_end(thread_state);
}

// The control tree is left out of the joined object; these are called around forks and at start.
bool meta_ctl_boot(void);
void meta_ctl_prefork(void *tsd);
void meta_ctl_postfork_parent(void *tsd);
void meta_ctl_postfork_child(void *tsd);

bool meta_ctl_boot(void)
{
    return false; // jemalloc's way to say that it went well
}

void meta_ctl_prefork(void *tsd)
{
    (void)tsd;
}

void meta_ctl_postfork_parent(void *tsd)
{
    (void)tsd;
}

void meta_ctl_postfork_child(void *tsd)
{
    (void)tsd;
}

// The profiler, the background threads and their like, all of them switched off above.
__attribute__((used)) static void metadata_never_called(void)
{
    abort();
}

#define NEVER(name) void meta_##name(void) __attribute__((alias("metadata_never_called")))
NEVER(Unwind_Backtrace);
NEVER(Unwind_GetIP);
NEVER(close);
NEVER(ctl_bymib);
NEVER(ctl_bymibname);
NEVER(ctl_mibnametomib);
NEVER(ctl_byname);
NEVER(ctl_mtx_assert_held);
NEVER(ctl_nametomib);
NEVER(creat);
NEVER(exp);
NEVER(getpid);
NEVER(gettimeofday);
NEVER(log);
NEVER(open);
NEVER(pthread_cond_signal);
NEVER(pthread_cond_timedwait);
NEVER(pthread_cond_wait);
NEVER(pthread_create);
NEVER(pthread_getname_np);
NEVER(pthread_join);
NEVER(pthread_setname_np);
NEVER(pthread_sigmask);
NEVER(round);
NEVER(sched_setaffinity);
NEVER(sigfillset);

// ---- the face ----------------------------------------------------------------------------------

void sv_metadata_lock(void)
{
    sv_lock_acquire(&metadata_lock);
}

void sv_metadata_unlock(void)
{
    sv_lock_release(&metadata_lock);
}

bool sv_metadata_locked_here(void)
{
    return sv_lock_held(&metadata_lock);
}

void sv_metadata_lock_reset(void)
{
    sv_lock_reset(&metadata_lock);
    sv_lock_reset(&users_lock);
}

void sv_metadata_fork_child(void)
{
    if (metadata_used)
        meta_postfork_child();
    sv_lock_reset(&users_lock);
    sv_lock_release(&metadata_lock);
}

// jemalloc 5.3.0 crashes when the first page of its start can't be mapped.
static bool metadata_start(void)
{
    void *p = meta_mmap(NULL, START_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return false;
    meta_munmap(p, START_BYTES);
    return true;
}

void *sv_metadata_alloc_held(size_t bytes)
{
    int saved = errno;
    void *p = NULL;
    sv_lock_acquire(&users_lock);
    if (!metadata_used)
        metadata_used = metadata_start();
    if (metadata_used) // 0 bytes are undefined there
        p = meta_mallocx(bytes ? bytes : 1, FLAGS_ALIGN_16 | FLAGS_ZERO);
    thread_leave();
    sv_lock_release(&users_lock);
    errno = saved;
    return p;
}

void sv_metadata_free_held(void *p, size_t bytes)
{
    int saved = errno;
    sv_lock_acquire(&users_lock);
    if (p)
        meta_sdallocx(p, bytes ? bytes : 1, FLAGS_ALIGN_16);
    thread_leave();
    sv_lock_release(&users_lock);
    errno = saved;
}

void *sv_metadata_alloc(size_t bytes)
{
    void *p;
    sv_metadata_lock();
    p = sv_metadata_alloc_held(bytes);
    sv_metadata_unlock();
    return p;
}

void sv_metadata_free(void *p, size_t bytes)
{
    sv_metadata_lock();
    sv_metadata_free_held(p, bytes);
    sv_metadata_unlock();
}
