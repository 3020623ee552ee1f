// Kinds of objects, and objects whose pointers a descriptor tells (gc_mark.h says how): what
// kind.c, typed.c and gcj.c share with each other and with alloc.c.
//
// Such an object lies in a traced slot (heap.h), its descriptor is the last word. Lengths and
// bitmaps are read by any marker, beside the program. One that needs a procedure has an entry in
// kind.c's table as well: markers pass it over, and the procedure is called for it in the stop, if
// it is marked.
#ifndef SV_KIND_H
#define SV_KIND_H

#include "boehm.h"

enum {              // numbers of kinds; a program's own follow
    SV_KIND_ATOMIC, // as in gc_inline.h
    SV_KIND_NORMAL, // likewise
    SV_KIND_UNCOLLECTABLE,
    SV_KIND_ATOMIC_UNCOLLECTABLE,
    SV_KIND_TYPED, // GC_malloc_explicitly_typed
    SV_KIND_GCJ,   // GC_gcj_malloc
    SV_KIND_FIRST  // that GC_new_kind may return
};

enum { // numbers of mark procedures below the program's first: what a descriptor of ours says more
    SV_PROC_GCJ,   // the program's, for objects of GC_gcj_malloc
    SV_PROC_SHAPE, // a shape of typed.c's
};

// An object, zeroed, that is marked by the descriptor; `kind` is what GC_get_kind_and_size says.
// What the out-of-memory function returns when memory is short. No lock held.
void *sv_kind_alloc(size_t size, uint64_t descriptor, unsigned kind);

// Another one like the traced object at `start`. No lock held.
void *sv_kind_like(uintptr_t start, size_t size);

void sv_kind_forget(uintptr_t start); // GC_free; no lock held

// Sets the procedure of a reserved number. No lock held.
void sv_kind_proc_set(unsigned number, void *proc);

// In the stop, from the marker that calls procedures: it has come to an object that may need one.
void sv_kind_reach(uintptr_t start);

// The bytes that the program may use of a traced object of such a request.
size_t sv_kind_usable(size_t size);

// Whether the descriptor leaves nothing to a procedure of the program's, nor to what the object
// says itself.
bool sv_kind_plain(uint64_t descriptor);

#endif
