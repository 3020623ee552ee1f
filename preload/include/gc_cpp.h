/* The older place of gc/gc_cpp.h, which programs still include. */
#include "gc/gc_cpp.h"
