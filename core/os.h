// The core's system calls, all of them. Nothing here touches errno, allocates, or is a cancellation
// point; everything may be called from signal handlers and with the world stopped. Failures are
// -errno.
#ifndef SV_OS_H
#define SV_OS_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Address space without access or memory, at `hint` or not at all when `exact`; NULL on failure.
void *sv_os_reserve(uintptr_t hint, size_t bytes, bool exact);
int sv_os_commit(void *p, size_t bytes);       // reserved space becomes readable and writable
int sv_os_protect(void *p, size_t bytes);      // it can be read only
int sv_os_wipe_on_fork(void *p, size_t bytes); // a forked child finds it zeroed
void *sv_os_map(size_t bytes);                 // zeroed memory, or NULL
void sv_os_unmap(void *p, size_t bytes);
int sv_os_release(void *p, size_t bytes); // the pages go back to the kernel and read as zeroes
int sv_os_renew(void *p, size_t bytes);   // maps fresh zeroed memory over whatever is there
int sv_os_move(void *from, void *to, size_t bytes); // page tables only; `from` then reads as zeroes

long sv_os_write(int fd, const void *p, size_t bytes);
int sv_os_open(const char *path, int flags, int mode);
int sv_os_open_high(const char *path, int flags, int mode); // 1000 or higher where limits allow
long sv_os_read(int fd, void *p, size_t bytes);
int sv_os_fcntl(int fd, int command, long arg);
long sv_os_getdents(int fd, void *p, size_t bytes);
long sv_os_seek(int fd, long offset);
long sv_os_readlink(int dirfd, const char *path, char *to, size_t room); // no end; bytes
long sv_os_links(int fd); // the number of hard links of what is open there
int sv_os_close(int fd);

// The calling thread gets an empty descriptor table and a file system context of its own; what the
// rest of the process has open stays as it is. 0 or -errno: nothing has changed then.
int sv_os_descriptors_unshare(void);
int sv_os_pidfd(int pid);
int sv_os_pidfd_get(int pidfd, int fd); // a copy of that process's descriptor
void sv_os_name(const char *name);      // of the calling thread, as ps and top show it
int sv_os_rename(const char *from, const char *to);
int sv_os_unlink(const char *path);
bool sv_os_file_special(const char *path); // exists and is no regular file; links aren't followed
long sv_os_cwd(char *path, size_t room);   // with its end; bytes, or -errno

int sv_os_gettid(void);
int sv_os_getpid(void);
int sv_os_getppid(void);
int sv_os_tgkill(int pid, int tid, int sig);
int sv_os_signal_set(int sig, void (*handler)(int, siginfo_t *, void *));
// The same with these flags (SA_*) besides SA_SIGINFO; what the kernel has now; SIG_DFL again.
int sv_os_signal_set_as(int sig, void (*handler)(int, siginfo_t *, void *), int flags);
struct sv_arch_sigaction;
int sv_os_signal_get(int sig, struct sv_arch_sigaction *action);
int sv_os_signal_default(int sig);
int sv_os_signal_again(int sig, siginfo_t *info); // to the calling thread, as it came
bool sv_os_altstack_inside(void); // does the calling thread run on its alternate signal stack?
uintptr_t sv_os_altstack(void);   // the calling thread's alternate signal stack, or 0
int sv_os_signal_mask(int how, uint64_t set, uint64_t *old); // how: SIG_BLOCK, SIG_UNBLOCK, ...

uint64_t sv_os_now(void);                // nanoseconds, monotonic
uint64_t sv_os_now_coarse(void);         // the same as of the last tick, some milliseconds old
uint64_t sv_os_realtime(void);           // nanoseconds since 1970
uint64_t sv_os_cpu(void);                // nanoseconds of processor time of the whole process
uint64_t sv_os_cpu_thread(void);         // likewise, of the calling thread
uint64_t sv_os_random(void);             // 64 bits, never 0
uint64_t sv_os_address_limit(void);      // RLIMIT_AS in bytes, UINT64_MAX: none
uint64_t sv_os_file_limit(void);         // RLIMIT_FSIZE in bytes, UINT64_MAX: none
unsigned sv_os_processors(void);         // that this process may run on, at least 1
uint64_t sv_os_address_used(int procfd); // bytes mapped now, 0: unknown

// Sleeps while *word == value, at most `ns` (0: no bound); may return early.
void sv_os_yield(void); // the processor, to whoever waits for it
void sv_os_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t ns);
void sv_os_nap(uint64_t ns); // may be shorter
void sv_os_futex_wake(_Atomic uint32_t *word, int n);

#endif
