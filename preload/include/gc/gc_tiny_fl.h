/* The sizes that gc_inline.h's free lists are for: list i holds objects of i granules. */
#ifndef GC_TINY_FL_H
#define GC_TINY_FL_H

#define GC_GRANULE_BYTES 16
#define GC_GRANULE_WORDS 2
#define GC_WORDS_TO_GRANULES(n) ((n) >> 1)
#define GC_RAW_BYTES_FROM_INDEX(i) ((i)*GC_GRANULE_BYTES)

#ifndef GC_TINY_FREELISTS
#define GC_TINY_FREELISTS 25
#endif

#endif
