// The suppressions that are always there: what glibc itself is known to lose, and nothing that a
// program could do anything about. Same format as a user's file; they are never told as unused.
#include "suppress.h"

const char suppress_builtin[] =
    // The first use of a dlopen'ed library's thread-local variables allocates their block; the
    // thread's vector of blocks lets go of it when the library is closed while the thread runs on.
    "leak:*tls_get_addr*\n";
