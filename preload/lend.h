// How a wrapper tells that the kernel is about to write to the program's memory (core/protect.h).
// Each macro declares a variable, so it is used once in a block, before the call, and lends until
// the block is left. With any other barrier it costs a look at a flag.
#ifndef SV_LEND_H
#define SV_LEND_H

#include <sys/socket.h>
#include <sys/uio.h>

#include "protect.h"

void sv_lend_vector_slow(struct sv_protect_lent *lent, const struct iovec *v, size_t n);
void sv_lend_message_slow(struct sv_protect_lent *lent, struct msghdr *message);

#define SV_LENT                                                                                    \
    struct sv_protect_lent lent_ __attribute__((cleanup(sv_protect_lend_end))) = {false, 0}

#define sv_lend(...)                                                                               \
    SV_LENT;                                                                                       \
    if (sv_unlikely(sv_protect_on))                                                                \
    sv_protect_lend(&lent_, (const volatile void *const[]){__VA_ARGS__},                           \
                    sizeof((const volatile void *const[]){__VA_ARGS__}) / sizeof(void *))

// An array of integers, any of which may be a pointer.
#define sv_lend_words(words)                                                                       \
    SV_LENT;                                                                                       \
    if (sv_unlikely(sv_protect_on))                                                                \
    sv_protect_lend(&lent_, (const volatile void *const *)(words), sizeof(words) / sizeof(void *))

#define sv_lend_vector(v, n)                                                                       \
    SV_LENT;                                                                                       \
    if (sv_unlikely(sv_protect_on))                                                                \
    sv_lend_vector_slow(&lent_, v, (n) > 0 ? (size_t)(n) : 0)

#define sv_lend_message(message)                                                                   \
    SV_LENT;                                                                                       \
    if (sv_unlikely(sv_protect_on))                                                                \
    sv_lend_message_slow(&lent_, message)

// Whatever the kernel writes to.
#define sv_lend_whole()                                                                            \
    SV_LENT;                                                                                       \
    if (sv_unlikely(sv_protect_on))                                                                \
    sv_protect_lend_whole(&lent_)

#endif
