// Pointers that are not ours: whose they are.
#ifndef SV_FOREIGN_H
#define SV_FOREIGN_H

#include <stddef.h>

enum sv_foreign {
    SV_FOREIGN_UNMAPPED, // no memory there, or /proc can't say
    SV_FOREIGN_STACK,    // the main stack, or the calling thread's
    SV_FOREIGN_GLOBAL,   // a mapped file, or the bss of a loaded object
    SV_FOREIGN_MAPPING,  // memory that the program mapped
    SV_FOREIGN_GLIBC,    // a block of glibc's own malloc
    SV_FOREIGN_LDSO      // from before ld.so took over our malloc
};

// For a pointer outside the heap. Reads /proc: tens of microseconds and more; keeps errno,
// allocates from no malloc, takes no lock, doesn't fault whatever p is, as long as no other thread
// unmaps it meanwhile. For the slow end of free and realloc.
enum sv_foreign sv_foreign_classify(const void *p);

// Bytes that the program may use of a block that was classified as SV_FOREIGN_GLIBC.
size_t sv_foreign_usable(const void *p);

#endif
