// The portable twin of arch_x86_64.h: libc's syscall with errno put back, and setjmp-free spilling
// by a compiler built-in that forces every preserved register into the frame.
#ifndef SV_ARCH_GENERIC_H
#define SV_ARCH_GENERIC_H

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#define SV_ARCH_RED_ZONE 512 // more than any ABI's

static inline long sv_arch_syscall(long n, long a, long b, long c, long d, long e, long f)
{
    int saved = errno;
    long r = syscall(n, a, b, c, d, e, f);
    if (r == -1)
        r = -errno;
    errno = saved;
    return r;
}

extern int __sigaction(int, const struct sigaction *, struct sigaction *);

static inline int sv_arch_signal_set(int sig, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction sa = {0};
    int saved = errno;
    sa.sa_sigaction = handler;
    sa.sa_flags = flags;
    sigfillset(&sa.sa_mask);
    int r = __sigaction(sig, &sa, NULL) == 0 ? 0 : -errno;
    errno = saved;
    return r;
}

static inline void sv_arch_pause(void)
{
}

struct sv_arch_saved {
    void *buffer[64];
};

static inline void sv_arch_save(struct sv_arch_saved *s)
{
    __builtin_unwind_init();
    s->buffer[0] = __builtin_frame_address(0);
}

static inline uintptr_t sv_arch_sp(const void *frame)
{
    return (uintptr_t)frame;
}

static inline uint32_t sv_arch_keys_open(void)
{
    return 0;
}

static inline void sv_arch_keys_close(uint32_t keys)
{
    (void)keys;
}

static inline uintptr_t sv_arch_tcb(void)
{
    return (uintptr_t)__builtin_thread_pointer();
}

static inline int sv_arch_tcb_valid(uintptr_t tcb)
{
    (void)tcb;
    return 0; // unknown layout: a cached stack is then scanned whole
}

// Unknown here: bindings stay as they are.
static inline bool sv_arch_relocation_slot(unsigned long type)
{
    (void)type;
    return false;
}

// Unknown layout: the handler's own frame lies below everything the thread uses.
#define sv_arch_context_sp(uc) ((uintptr_t)(uc))

#endif
