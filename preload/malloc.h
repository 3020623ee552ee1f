// The exported malloc family under names that the preload layer's other files may call.
#ifndef SV_MALLOC_H
#define SV_MALLOC_H

#include <stddef.h>

void *sv_malloc(size_t size);
void *sv_calloc(size_t n, size_t size);
void *sv_realloc(void *p, size_t size);
void *sv_memalign(size_t align, size_t size); // align: rounded up to a power of two
void sv_free(void *p);

// At start, when the options of recording are known.
void sv_malloc_init(void);

#endif
