// What dlopen's assembly and its C half share.
#ifndef SV_DL_H
#define SV_DL_H

#include <stdatomic.h>

// The real dlopen, NULL until the first call. Read by dl_x86_64.S.
extern _Atomic(void *) sv_dl_real;

// Finds the real dlopen, sets sv_dl_real, returns it. Any thread.
void *sv_dl_resolve(void);

#endif
