// Open addressing with linear probing, at most half full. Removal closes the gap by moving back
// what follows, so nothing but entries in use is ever looked at. Entries live in metadata: keys and
// values are addresses of objects that must not be kept by being written here.
#include <string.h>

#include "boehm.h"
#include "metadata.h"

#define TABLE_MIN 64u

static size_t place(const struct sv_table *t, uintptr_t key)
{
    return (size_t)((~key >> 4) * 0x9e3779b97f4a7c15u >> 20) & t->mask;
}

struct sv_table_entry *sv_table_find(struct sv_table *t, uintptr_t address)
{
    if (!t->entries)
        return NULL;
    for (size_t i = place(t, ~address);; i = (i + 1) & t->mask) {
        if (t->entries[i].key == ~address)
            return &t->entries[i];
        if (!t->entries[i].key)
            return NULL;
    }
}

static bool table_grow(struct sv_table *t)
{
    struct sv_table old = *t;
    size_t n = t->entries ? 2 * (t->mask + 1) : TABLE_MIN;
    struct sv_table_entry *entries = sv_metadata_alloc(n * sizeof *entries);
    if (!entries)
        return false;
    *t = (struct sv_table){entries, n - 1, old.used};
    for (size_t i = 0; old.entries && i <= old.mask; i++) {
        if (!old.entries[i].key)
            continue;
        size_t to = place(t, old.entries[i].key);
        while (entries[to].key)
            to = (to + 1) & t->mask;
        entries[to] = old.entries[i];
    }
    if (old.entries)
        sv_metadata_free(old.entries, (old.mask + 1) * sizeof *entries);
    return true;
}

struct sv_table_entry *sv_table_add(struct sv_table *t, uintptr_t address)
{
    struct sv_table_entry *e = sv_table_find(t, address);
    if (e)
        return e;
    if ((!t->entries || 2 * (t->used + 1) > t->mask) && !table_grow(t))
        return NULL;
    size_t i = place(t, ~address);
    while (t->entries[i].key)
        i = (i + 1) & t->mask;
    t->entries[i] = (struct sv_table_entry){~address, 0, 0};
    t->used++;
    return &t->entries[i];
}

void sv_table_remove(struct sv_table *t, struct sv_table_entry *e)
{
    size_t hole = (size_t)(e - t->entries);
    for (size_t i = (hole + 1) & t->mask; t->entries[i].key; i = (i + 1) & t->mask) {
        size_t home = place(t, t->entries[i].key);
        // may it stand in the hole? Only if its home isn't between the hole and itself
        if (((i - home) & t->mask) >= ((i - hole) & t->mask)) {
            t->entries[hole] = t->entries[i];
            hole = i;
        }
    }
    t->entries[hole] = (struct sv_table_entry){0, 0, 0};
    t->used--;
}

void sv_table_each(struct sv_table *t, bool (*keep)(struct sv_table_entry *e, void *arg), void *arg)
{
    if (!t->entries || !t->used)
        return;
    // from behind a gap on, so that what moves back into a hole has not been looked at
    size_t start = 0;
    while (t->entries[start].key)
        start = (start + 1) & t->mask;
    for (size_t k = 1; k <= t->mask + 1;) {
        struct sv_table_entry *e = &t->entries[(start + k) & t->mask];
        if (!e->key || keep(e, arg))
            k++;
        else
            sv_table_remove(t, e);
    }
}
