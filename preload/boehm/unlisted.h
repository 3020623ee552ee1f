// What bdwgc's library exports without a public header of it declaring it: some programs declare
// these themselves, so names, types and meanings have to stay. For the sources of the face only.
#ifndef SV_BOEHM_UNLISTED_H
#define SV_BOEHM_UNLISTED_H

#include "gc/gc.h"
#include "gc/gc_mark.h"

// Messages, as printf(), to stdout, stderr or the log.
GC_API void GC_printf(const char *, ...) __attribute__((format(printf, 1, 2)));
GC_API void GC_err_printf(const char *, ...) __attribute__((format(printf, 1, 2)));
GC_API void GC_log_printf(const char *, ...) __attribute__((format(printf, 1, 2)));

// Bytes that a program's own free lists (of GC_generic_malloc_many) have given out and taken back.
GC_API void GC_CALL GC_incr_bytes_allocd(size_t);
GC_API void GC_CALL GC_incr_bytes_freed(size_t);

// What GC_set_push_other_roots and GC_set_abort_func set; programs also store here directly.
GC_API GC_push_other_roots_proc GC_push_other_roots;
GC_API GC_abort_func GC_on_abort;

// Free lists by size: of normal, atomic, uncollectable and atomic uncollectable objects. Here they
// are empty always.
GC_API void **const GC_objfreelist_ptr;
GC_API void **const GC_aobjfreelist_ptr;
GC_API void **const GC_uobjfreelist_ptr;
GC_API void **const GC_auobjfreelist_ptr;

// The collector's tables, in bdwgc. The name alone is left.
GC_API char GC_arrays[1];

#endif
