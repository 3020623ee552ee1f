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
int sv_os_commit(void *p, size_t bytes); // reserved space becomes readable and writable
void *sv_os_map(size_t bytes);           // zeroed memory, or NULL
void sv_os_unmap(void *p, size_t bytes);
int sv_os_release(void *p, size_t bytes); // the pages go back to the kernel and read as zeroes
int sv_os_renew(void *p, size_t bytes);   // maps fresh zeroed memory over whatever is there
int sv_os_move(void *from, void *to, size_t bytes); // page tables only; `from` then reads as zeroes

long sv_os_write(int fd, const void *p, size_t bytes);
int sv_os_open(const char *path, int flags, int mode);
long sv_os_read(int fd, void *p, size_t bytes);
int sv_os_fcntl(int fd, int command, long arg);
long sv_os_getdents(int fd, void *p, size_t bytes);
long sv_os_seek(int fd, long offset);
int sv_os_close(int fd);

int sv_os_gettid(void);
int sv_os_getpid(void);
int sv_os_tgkill(int pid, int tid, int sig);
int sv_os_signal_set(int sig, void (*handler)(int, siginfo_t *, void *));
uintptr_t sv_os_altstack(void); // the calling thread's alternate signal stack, or 0
int sv_os_signal_mask(int how, uint64_t set, uint64_t *old); // how: SIG_BLOCK, SIG_UNBLOCK, ...

uint64_t sv_os_now(void);                // nanoseconds, monotonic
uint64_t sv_os_cpu(void);                // nanoseconds of processor time of the whole process
uint64_t sv_os_random(void);             // 64 bits, never 0
uint64_t sv_os_address_limit(void);      // RLIMIT_AS in bytes, UINT64_MAX: none
uint64_t sv_os_address_used(int procfd); // bytes mapped now, 0: unknown

// Sleeps while *word == value, at most `ns` (0: no bound); may return early.
void sv_os_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t ns);
void sv_os_futex_wake(_Atomic uint32_t *word, int n);

#endif
