// What bdwgc's library exports and no file of the face has a use for: the names are there for
// programs that were linked with it.
#define GC_BUILD
#include "boehm.h"
#include "unlisted.h"

// bdwgc's tables, which some debuggers' scripts look up.
char GC_arrays[1];

// The collector marks what finalizers need by itself; programs call this from their own
// GC_push_other_roots.
__attribute__((weak)) void GC_push_finalizer_structures(void)
{
}
