// Assertions in three costs. sv_check: always, for what would corrupt the program's memory.
// sv_debug: in debug builds (-DSV_DEBUG). sv_costly: whole-structure checks, only with -DSV_COSTLY.
#ifndef SV_ASSERT_H
#define SV_ASSERT_H

#include "core.h"
#include "text.h"

#define sv_check(cond)                                                                             \
    do {                                                                                           \
        if (sv_unlikely(!(cond)))                                                                  \
            sv_die("internal check failed: %s (%s:%d)", #cond, __FILE__, __LINE__);                \
    } while (0)

#ifdef SV_DEBUG
#define sv_debug(cond) sv_check(cond)
#else
#define sv_debug(cond) ((void)sizeof(cond))
#endif

#ifdef SV_COSTLY
#define sv_costly(statement) statement
#else
#define sv_costly(statement) ((void)0)
#endif

#endif
