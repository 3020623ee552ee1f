// A client of the collector: a face on the heap that knows more of some objects than that they hold
// words. The one there is, is Boehm's (preload/boehm): objects that are roots, links that are
// cleared and finalizers that are due when an object is found unreachable, objects whose pointers
// are told by a descriptor.
//
// Its tables are guarded by one lock, which whoever stops the world takes first; so its functions
// may read and write them, take no lock, and allocate nothing but sv_metadata_alloc_held's. None of
// them may take long: the program waits. Nothing here runs in a process without a client.
#ifndef SV_CLIENT_H
#define SV_CLIENT_H

#include "lock.h"
#include "mark.h"

struct sv_client {
    // Once in a cycle, beside the program or in the stop that is the whole cycle; the client's lock
    // is held. Marks (sv_mark_word, sv_mark_range) what the client holds by itself.
    void (*hold)(struct sv_marker *m);
    // Once in a cycle, when what roots lead to is marked: beside the program, no lock held, or in
    // the stop that is the whole cycle (`stopped`). Marks what objects point to that may turn out
    // to be dead, and are to be told of with all that they lead to.
    void (*dying)(struct sv_marker *m, bool stopped);
    // In each stop that tries to end the mark. Marks what can only be looked at while the world
    // stands still.
    void (*push)(struct sv_marker *m);
    // In the stop that ends it, with everything marked that roots lead to. May mark more, and
    // drains it (sv_mark_drain). Whether it comes to a flip is known only after.
    void (*settle)(struct sv_marker *m);
    // After that, and last: what wasn't marked then is garbage.
    void (*commit)(void);
    // Marks what the words of [lo, hi) in a traced object at `start` point to; its descriptor is
    // its last word. Beside the program, on any marker's thread, without the client's lock: reads
    // nothing that changes. Takes time by hi - lo, not by the object's size. `marked` false: the
    // object isn't, but words of it were written; only if `dying` looks at such.
    void (*trace)(struct sv_marker *m, uintptr_t start, size_t size, uintptr_t lo, uintptr_t hi,
                  bool marked);
    // May a cycle begin? `asked`: somebody wants it, else allocation or time do. Asked before one
    // is asked for, by any thread, no lock held; and again (asked) by who begins it, cycle lock
    // held.
    bool (*wanted)(bool asked);
    // The heap has grown past sv_heap_told; so many bytes are in use by spans now. Returns the
    // pages past which to tell again. Heap lock held: sets flags, and nothing more.
    uint64_t (*grown)(uint64_t bytes);
};

// NULL: none. Set once, before the program can have an object of its.
extern const struct sv_client *sv_client;

// Order: after `stopping`, before the world's (lock.h).
extern struct sv_lock sv_client_lock;

#endif
