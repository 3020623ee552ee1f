// The scanners' system calls, for the files of this layer (proc.c says how they are made). Each
// returns what the kernel returned: -errno in the range -4095..-1 on failure. None touches errno,
// none is a cancellation point, all may be called from a signal handler and with the world stopped.
#ifndef SV_PROC_H
#define SV_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

long sv_proc_read(int fd, void *buf, size_t n); // at the file's position; begins again after EINTR
long sv_proc_pread(int fd, void *buf, size_t n, uint64_t offset);
long sv_proc_write(int fd, const void *buf, size_t n); // begins again after EINTR
long sv_proc_rewind(int fd);                           // the file's position becomes 0
long sv_proc_close(int fd);
long sv_proc_ioctl(int fd, unsigned long request, void *arg);
long sv_proc_mincore(uintptr_t lo, size_t n, unsigned char *vec);
long sv_proc_copy(void *to, uintptr_t from, size_t n); // readable memory of this process; -EFAULT
int sv_proc_pid(void);
bool sv_proc_swap_used(void); // some page of the system may be swapped out (or nobody can tell)

// Zeroed pages of the collector's own; NULL when memory is short. `n` is a multiple of the page.
void *sv_proc_map(size_t n);
void sv_proc_unmap(void *p, size_t n);
// Moves a mapping over what is mapped at `to`.
long sv_proc_move(void *from, size_t n, void *to);

// The inode of an open file on procfs, or 0: what tells our descriptor from one that the program
// opened under the same number after it had closed ours.
uint64_t sv_proc_identity(int fd);

// A new userfaultfd, for faults of user mode, which takes no privilege; numbered as all of ours
// are. And the inode of one, or 0, for the same use as above.
int sv_proc_userfaultfd(void);
uint64_t sv_proc_userfaultfd_identity(int fd);

#endif
