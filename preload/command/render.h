// What the writers of the formats share.
#ifndef RENDER_H
#define RENDER_H

#include <inttypes.h>

#include "report.h"
#include "room.h"

// Whether the site counts as a leak: direct, indirect, or of a class that was asked for (but live),
// and not suppressed.
bool report_leaks(const struct report *r, const struct report_site *site);

// The sites that count as leaks, direct ones first, then by bytes, largest first; indexes into
// r->sites, the caller's to free.
size_t *report_order(const struct report *r, size_t *n);
void report_order_sort(const struct report *r, size_t *order, size_t n); // the same for a choice

struct report_sums {
    uint64_t objects, bytes;                       // that count
    uint64_t class_objects[6], class_bytes[6];     // of each class, of those
    uint64_t suppressed_objects, suppressed_bytes; // of classes that would count
    uint64_t hidden_objects, hidden_bytes;         // that came back
};

struct report_sums report_sum(const struct report *r);

// Which objects, or points of history, belong to a site: item[from[site]] up to
// item[from[site + 1]] are indexes into the record's array.
struct by_site {
    size_t *from, *item;
};

struct by_site objects_by_site(const struct raw_record *record);
struct by_site growth_by_site(const struct raw_record *record);
void by_site_free(struct by_site *by);

bool frame_ours(const struct frame *frame);   // in libsalvage.so
bool frame_common(const struct frame *frame); // in it, libc or a language's run time

// Valid UTF-8: s itself, or what is left of it in `room`, with a mark for each byte that is none.
// xml: without characters that XML can't have.
const char *text_clean(struct text *room, const char *s, bool xml);

#endif
