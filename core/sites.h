// Sites: what each stack has lost, since when, and how it grew.
//
// One of each kind for a stack, in memory of the collector's that is bounded by their number. The
// heap's lock is held around every call.
#ifndef SV_SITES_H
#define SV_SITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SV_SITES_POINTS 8u // of the history of a site

enum sv_sites_kind {
    SV_SITES_LOST,     // as cycles find it
    SV_SITES_LIVE,     // as checks find it
    SV_SITES_ALLOCATED // under `sample`: all that was ever recorded
};

struct sv_site_point {
    uint32_t when; // tenths of a second
    uint64_t objects, bytes;
};

struct sv_site {
    uint32_t key;   // const: stack and kind, and 1; 0: none
    uint32_t cycle; // in which it got its first object
    uint32_t found; // tenths of a second: when that was
    uint32_t last;  // cycle of the last change
    uint32_t when;  // tenths of a second: of the last change
    uint32_t npoints;
    int64_t objects, bytes;      // now
    struct sv_site_point hidden; // what came back; when: the youngest
    struct sv_site_point points[SV_SITES_POINTS];
};

// NULL: there is none.
const struct sv_site *sv_site_find(uint32_t stack, enum sv_sites_kind kind);

// An object with this word (profile.h) in a slot of so many bytes is lost; or isn't any more.
// `named`: the program has freed or reallocated it.
void sv_sites_add(uint64_t word, size_t size);
void sv_sites_subtract(uint64_t word, size_t size, bool named);

// An allocation was recorded under `sample`. No lock held.
void sv_sites_allocated(uint32_t stack, size_t bytes);

// The next site of a kind, from *at on, which is 0 to begin with; false: there is none.
bool sv_sites_next(uint32_t *at, enum sv_sites_kind kind, uint32_t *stack, struct sv_site *out);

// A check has counted what is live.
void sv_sites_live(uint32_t stack, uint64_t objects, uint64_t bytes);

// Calls fn for each that has anything hidden; how many objects that are, those of sites that could
// not be kept included.
void sv_sites_hidden(void (*fn)(void *arg, uint32_t stack, const struct sv_site_point *hidden),
                     void *arg);
uint64_t sv_sites_hidden_objects(void);

// Bytes that are lost now, as of about now. Any thread, no lock.
uint64_t sv_sites_lost_bytes(void);

#endif
