/*
 * Objects whose pointers the program tells: a bitmap with a bit for each word says which words may
 * be pointers. Words without a bit are never looked at, in objects of any size.
 */
#ifndef GC_TYPED_H
#define GC_TYPED_H

#ifndef GC_H
#include "gc.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* A bitmap: word index / GC_WORDSZ, bit index % GC_WORDSZ, for the object's word of that index. */
typedef GC_word *GC_bitmap;
#define GC_WORDSZ (8 * sizeof(GC_word))
#define GC_get_bit(bm, index) (((bm)[(index) / GC_WORDSZ] >> ((index) % GC_WORDSZ)) & 1)
#define GC_set_bit(bm, index) ((bm)[(index) / GC_WORDSZ] |= (GC_word)1 << ((index) % GC_WORDSZ))

/* A field's index in a type; words of a type; words of a bitmap for it. */
#define GC_WORD_OFFSET(t, f) (offsetof(t, f) / sizeof(GC_word))
#define GC_WORD_LEN(t) (sizeof(t) / sizeof(GC_word))
#define GC_BITMAP_SIZE(t) ((GC_WORD_LEN(t) + GC_WORDSZ - 1) / GC_WORDSZ)

/* What the collector makes of a bitmap: an opaque word, valid for the life of the process. */
typedef GC_word GC_descr;

/*
 * Bitmap, and how many bits of it count: words beyond them hold no pointers. The bitmap may be
 * changed or freed afterwards. Without memory the result is a descriptor for which every word is
 * looked at.
 */
GC_API GC_descr GC_CALL GC_make_descriptor(const GC_word *, size_t);

/* As GC_malloc and GC_malloc_ignore_off_page: bytes, descriptor. */
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL
    GC_malloc_explicitly_typed(size_t, GC_descr);
GC_API GC_ATTR_MALLOC GC_ATTR_ALLOC_SIZE(1) void *GC_CALL
    GC_malloc_explicitly_typed_ignore_off_page(size_t, GC_descr);

/* An array: elements, bytes of each, each element's descriptor. */
GC_API GC_ATTR_MALLOC GC_ATTR_CALLOC_SIZE(1, 2) void *GC_CALL
    GC_calloc_explicitly_typed(size_t, size_t, GC_descr);

/* With GC_DEBUG the object is a debugging one, and every word of it is looked at. */
#ifdef GC_DEBUG
#define GC_MALLOC_EXPLICITLY_TYPED(bytes, d) ((void)(d), GC_MALLOC(bytes))
#define GC_CALLOC_EXPLICITLY_TYPED(n, bytes, d) ((void)(d), GC_MALLOC((n) * (bytes)))
#else
#define GC_MALLOC_EXPLICITLY_TYPED(bytes, d) GC_malloc_explicitly_typed(bytes, d)
#define GC_CALLOC_EXPLICITLY_TYPED(n, bytes, d) GC_calloc_explicitly_typed(n, bytes, d)
#endif

#ifdef __cplusplus
}
#endif

#endif
