// Where kernel.c keeps its words, for roots.c, which must not take the keys beside them for
// pointers.
#ifndef SV_KERNEL_H
#define SV_KERNEL_H

#include "scanners.h"

enum { SV_KERNEL_SEGMENTS = 20 };

// The memory of the i-th segment, 0 <= i < SV_KERNEL_SEGMENTS; lo == hi when there is none.
struct sv_mapping sv_kernel_own(size_t i);

#endif
