/* The older place of gc/gc.h, which programs still include. */
#include "gc/gc.h"
