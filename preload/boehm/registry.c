// Entries stand in chunks, by number; an address finds its entry through chained buckets. Objects
// that follow each other in memory have buckets that do, so that what registers one object after
// the other goes through the table as it goes through the heap: a KiB's addresses are spread by
// their order, from where a hash of the KiB says. A walk goes by number, which is more or less the
// order of registration, sixteen entries at a time, whose marks are then on their way from memory
// together.
#include "registry.h"

#include <string.h>

#include "leaks.h"
#include "metadata.h"

#define CHUNK (1u << SV_REGISTRY_SHIFT)
#define ID_MAX ((1u << 28) - 1)
#define BUCKETS_MIN 256u
#define GROUP 16u
#define TRIM_MIN (64 * CHUNK) // entries
#define CHARGE_EACH 64u       // registrations that are charged for together
#define CHARGE 256u           // bytes for one, at most

const struct sv_bits sv_probe_never, sv_probe_always = {~(uint64_t)0, ~(uint64_t)0};
_Atomic uint8_t sv_registry_near[SV_NEAR_SLOTS];

static uint32_t *bucket_of(const struct sv_registry *r, uintptr_t address)
{
    uint64_t block = (address >> 10) * 0x9e3779b97f4a7c15u >> 32;
    return &r->buckets[(block + (address >> 3 & 127)) & r->mask];
}

uint32_t sv_registry_find(const struct sv_registry *r, uintptr_t address)
{
    if (!r->buckets)
        return 0;
    uint32_t id = *bucket_of(r, address);
    while (id && sv_registry_entry(r, id)->key != ~address)
        id = sv_registry_entry(r, id)->next;
    return id;
}

static void entry_hash(struct sv_registry *r, uint32_t id)
{
    struct sv_entry *e = sv_registry_entry(r, id);
    uint32_t *bucket = bucket_of(r, ~e->key);
    e->next = *bucket & ID_MAX;
    *bucket = id;
}

// All entries are hashed anew into so many buckets; those that no address finds stay out.
static bool buckets_make(struct sv_registry *r, uint32_t n)
{
    uint32_t *buckets = sv_metadata_alloc(n * sizeof *buckets);
    if (!buckets)
        return false;
    uint32_t *old = r->buckets;
    uint32_t old_n = old ? r->mask + 1 : 0;
    r->buckets = buckets;
    r->mask = n - 1;
    for (uint32_t i = 0; i < old_n; i++) {
        uint32_t next;
        for (uint32_t id = old[i]; id; id = next) {
            next = sv_registry_entry(r, id)->next;
            entry_hash(r, id);
        }
    }
    sv_metadata_free(old, old_n * sizeof *old);
    return true;
}

static bool chunk_add(struct sv_registry *r)
{
    if (r->nchunks == r->room) {
        uint32_t room = r->room ? 2 * r->room : 16;
        struct sv_entry **chunks = sv_metadata_alloc(room * sizeof(void *));
        if (!chunks)
            return false;
        if (r->chunks)
            memcpy(chunks, r->chunks, r->room * sizeof(void *));
        sv_metadata_free(r->chunks, r->room * sizeof(void *));
        r->chunks = chunks;
        r->room = room;
    }
    struct sv_entry *chunk = sv_metadata_alloc(CHUNK * sizeof *chunk);
    if (!chunk)
        return false;
    r->chunks[r->nchunks++] = chunk;
    return true;
}

static uint32_t entry_take(struct sv_registry *r)
{
    uint32_t id = r->free;
    if (id) {
        r->free = sv_registry_entry(r, id)->next;
        return id;
    }
    if (r->high == r->nchunks * CHUNK && (r->high >= ID_MAX - CHUNK || !chunk_add(r)))
        return 0;
    if (r->high == 0)
        r->high = 1;
    return r->high++;
}

// Until the next flip, which counts anew, the heap is taken to have grown by what stands in the
// tables and hangs on it: what is registered for small objects that die soon would else have grown
// to many times their size before a cycle looks at it. Where it doesn't die, that would only make
// more cycles: charged is the part of it that goes.
static void charge(struct sv_registry *r)
{
    if (++r->uncharged < CHARGE_EACH || sv_leaks_on)
        return;
    r->uncharged = 0;
    uint64_t stayed = r->walked > r->unlinked ? r->walked - r->unlinked : 0;
    uint64_t gone = (uint64_t)r->gone + r->unlinked, bytes = CHARGE_EACH * CHARGE;
    if (stayed)
        bytes = bytes * gone / (gone + stayed);
    atomic_fetch_add_explicit(&sv_heap.live, bytes, memory_order_relaxed);
}

uint32_t sv_registry_add(struct sv_registry *r, uintptr_t address, bool *fresh)
{
    uint32_t id = sv_registry_find(r, address);
    *fresh = !id;
    if (id)
        return id;
    uint32_t n = r->buckets ? r->mask + 1 : 0;
    if (r->hashed >= n && !buckets_make(r, n ? 2 * n : BUCKETS_MIN) && !n)
        return 0;
    id = entry_take(r);
    if (!id)
        return 0;
    uint32_t *bucket = bucket_of(r, address);
    *sv_registry_entry(r, id) = (struct sv_entry){.key = ~address, .next = *bucket & ID_MAX};
    *bucket = id;
    r->used++;
    r->hashed++;
    charge(r);
    return id;
}

void sv_registry_unlink(struct sv_registry *r, uint32_t id)
{
    struct sv_entry *e = sv_registry_entry(r, id), *before = NULL;
    uint32_t *bucket = bucket_of(r, ~e->key);
    for (uint32_t at = *bucket; at != id; at = before->next)
        before = sv_registry_entry(r, at);
    if (before)
        before->next = e->next;
    else
        *bucket = e->next;
    r->hashed--;
    r->unlinked++;
}

void sv_registry_release(struct sv_registry *r, uint32_t id)
{
    struct sv_entry *e = sv_registry_entry(r, id);
    *e = (struct sv_entry){.next = r->free & ID_MAX};
    r->free = id;
    r->used--;
}

void sv_registry_remove(struct sv_registry *r, uint32_t id)
{
    sv_registry_unlink(r, id);
    sv_registry_release(r, id);
}

// What is in use moves to the front.
static void entries_move(struct sv_registry *r)
{
    uint32_t to = 1;
    for (uint32_t id = 1; id < r->high; id++)
        if (sv_registry_entry(r, id)->key)
            *sv_registry_entry(r, to++) = *sv_registry_entry(r, id);
    r->high = to;
    r->free = 0;
    while (r->nchunks > 1 && (r->nchunks - 1) * CHUNK >= r->high)
        sv_metadata_free(r->chunks[--r->nchunks], CHUNK * sizeof **r->chunks);
    struct sv_entry *last = r->chunks[r->nchunks - 1];
    uint32_t kept = r->high - (r->nchunks - 1) * CHUNK;
    memset(last + kept, 0, (CHUNK - kept) * sizeof *last);
}

void sv_registry_trim(struct sv_registry *r)
{
    if (r->high < TRIM_MIN || r->used > r->high / 4 || r->used != r->hashed)
        return;
    uint32_t n = BUCKETS_MIN;
    while (n < r->used)
        n *= 2;
    uint32_t *buckets = sv_metadata_alloc(n * sizeof *buckets);
    if (!buckets)
        return;
    sv_metadata_free(r->buckets, (r->mask + 1) * sizeof *buckets);
    r->buckets = buckets;
    r->mask = n - 1;
    entries_move(r);
    for (uint32_t id = 1; id < r->high; id++)
        entry_hash(r, id);
}

void sv_registry_append(struct sv_registry *r, struct sv_registry_list *list, uint32_t id)
{
    sv_registry_entry(r, id)->list = 0;
    if (list->last)
        sv_registry_entry(r, list->last)->list = id;
    else
        list->first = id;
    list->last = id;
}

uint32_t sv_registry_take(struct sv_registry *r, struct sv_registry_list *list)
{
    uint32_t id = list->first;
    if (id) {
        list->first = sv_registry_entry(r, id)->list;
        list->last = list->first ? list->last : 0;
    }
    return id;
}

// Sixteen entries at most, of one chunk.
static void group_walk(struct sv_registry *r, uint32_t lo, sv_registry_fn *fn)
{
    struct sv_probe key[GROUP], a[GROUP];
    const struct sv_entry *e = sv_registry_entry(r, lo);
    uint32_t n = r->high - lo < GROUP ? r->high - lo : GROUP;
    for (uint32_t i = 0; i < n; i++) {
        bool on = e[i].key && !(e[i].tag & SV_ENTRY_OFF);
        key[i] = on ? sv_probe_make(~e[i].key) : (struct sv_probe){&sv_probe_always, 1};
        a[i] = on ? sv_probe_make(~e[i].a) : key[i];
    }
    for (uint32_t i = 0; i < n; i++) {
        bool key_marked = sv_probe_marked(key[i]), a_marked = sv_probe_marked(a[i]);
        if (!key_marked || !a_marked)
            fn(r, lo + i, key_marked, a_marked);
    }
}

void sv_registry_walk(struct sv_registry *r, sv_registry_fn *fn)
{
    r->gone = r->gone / 2 + r->unlinked;
    r->unlinked = 0;
    r->walked = r->hashed;
    if (!r->used)
        return;
    for (uint32_t lo = 0; lo < r->high; lo += GROUP)
        group_walk(r, lo, fn);
}
