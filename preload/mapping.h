// The program's mappings.
#ifndef SV_MAPPING_H
#define SV_MAPPING_H

#include <stddef.h>

// mremap for the program: `new` counts with MREMAP_FIXED and MREMAP_DONTUNMAP. MAP_FAILED and errno
// as the kernel says. Any thread, signal handlers included.
void *sv_mapping_move(void *old, size_t from, size_t to, int flags, void *new);

#endif
