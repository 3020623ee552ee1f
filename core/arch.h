// What depends on the processor, chosen here; each has a portable twin with the same names.
#ifndef SV_ARCH_H
#define SV_ARCH_H

#if defined(__x86_64__)
#include "arch_x86_64.h"
#else
#include "arch_generic.h"
#endif

#endif
