// Reports of misuse. The line is written first and in one piece; the stack after it is a help that
// may fail (unwinding can load a library and allocate), and must not be able to hide the line.
#include "misuse.h"

#include <execinfo.h>
#include <stdbool.h>
#include <stdlib.h>

#include "text.h"

_Noreturn void sv_misuse(const char *function, const void *p, const char *what)
{
    sv_error("salvage: %s(%p): invalid pointer: %s", function, p, what);
    static bool once; // a mistake inside the unwinder's own allocations doesn't start over
    if (!once) {
        once = true;
        void *frames[32];
        int n = backtrace(frames, 32);
        backtrace_symbols_fd(frames, n, 2);
    }
    abort();
}
