// Plain, as checkmark is: it runs once, when a process ends. First everything that pointers to
// starts lead to from the roots. If that are as many objects as the real mark reached, it was all.
// Else the roots and all objects found so far are looked through again, now for pointers to
// anywhere in an object: what that finds is new, and the word that held it is noted. From there on
// any pointer leads further.
//
// A word with tag bits, low or high, points to no start. Objects in caches are free slots, which
// the real mark has blackened: they have no record, and whoever reads what was noted passes over
// them. What the program told to ignore stands among the roots.
#include "startmark.h"

#include <string.h>

#include "arch.h"
#include "cache.h"
#include "mark.h"
#include "metadata.h"
#include "options.h"
#include "os.h"
#include "pagemap.h"
#include "rootset.h"
#include "span.h"

#define OBJECTS_MAX ((size_t)1 << 20) // what is noted at most
#define CAP_MIN ((size_t)256)

static bool bit_set(struct sv_startmark *m, uintptr_t start)
{
    size_t i = (start - sv_heap.base) / SV_ALIGN;
    uint8_t bit = (uint8_t)(1u << (i & 7));
    if (i / 8 >= m->bytes || (m->bits[i / 8] & bit))
        return false;
    m->bits[i / 8] |= bit;
    m->reached++;
    return true;
}

// Metadata's lock is the stopper's.
static void object_note(struct sv_startmark *m, uintptr_t start, uintptr_t where)
{
    if (m->n == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : CAP_MIN;
        struct sv_startmark_object *v =
            cap <= OBJECTS_MAX ? sv_metadata_alloc_held(cap * sizeof *v) : NULL;
        if (!v)
            return;
        if (m->n)
            memcpy(v, m->v, m->n * sizeof *v);
        if (m->v)
            sv_metadata_free_held(m->v, m->cap * sizeof *v);
        m->v = v;
        m->cap = cap;
    }
    m->v[m->n++] = (struct sv_startmark_object){start, where};
}

// A thread block names its DTV by an address 16 bytes into it: that is as good as its start. `lo`:
// where the words being looked at begin. (Blocks are aligned: all of their first words are there.)
static bool dtv_held(uintptr_t lo, uintptr_t where, uintptr_t offset)
{
    const uintptr_t words = sizeof(uintptr_t);
    return offset == 2 * words && where >= lo + words && where % (2 * words) == words &&
           sv_arch_tcb_valid(where - words);
}

static void word_follow(struct sv_startmark *m, uintptr_t lo, uintptr_t where, uintptr_t word)
{
    struct sv_mark_place at;
    if (m->interior)
        word = word << sv_options.tagbits >> sv_options.tagbits;
    if (word - sv_heap.base >= sv_heap.size || !sv_mark_find(word, &at))
        return;
    if (!m->interior && at.start != word && !dtv_held(lo, where, word - at.start))
        return;
    if (!bit_set(m, at.start))
        return;
    if (m->interior)
        object_note(m, at.start, where);
    if (!sv_code_noscan(at.span->code))
        sv_work_push(&m->work, at.start);
}

static void words_follow(struct sv_startmark *m, uintptr_t lo, uintptr_t hi, unsigned align)
{
    lo = (lo + 7) & ~(uintptr_t)7;
    for (uintptr_t at = lo; at + sizeof(uintptr_t) <= hi; at += align) {
        uintptr_t word;
        memcpy(&word, (const void *)at, sizeof word);
        word_follow(m, lo, at, word);
    }
}

static void object_scan(struct sv_startmark *m, uintptr_t start)
{
    struct sv_mark_place at;
    if (sv_mark_find(start, &at) && !sv_code_noscan(at.span->code) && !sv_mark_freed(start))
        words_follow(m, at.start, at.start + sv_span_slot_size(at.span), sv_options.align);
}

static void drain(struct sv_startmark *m)
{
    for (uintptr_t object; (object = sv_work_pop(&m->work)) != 0;)
        object_scan(m, object);
}

static void visit(void *arg, uintptr_t lo, uintptr_t hi, bool code)
{
    words_follow(arg, lo, hi, code ? 1 : sv_options.align);
}

static void roots_visit(struct sv_startmark *m)
{
    struct sv_rootset_visitor v = {visit, m, 0, 0};
    sv_rootset_visit_stacks(&v, false);
    m->failed |= sv_rootset_visit(&v, NULL, NULL) != NULL;
    drain(m);
}

// Free slots that the real mark has blackened and nothing else leads to.
static uint64_t caches_count(const struct sv_startmark *m)
{
    uint64_t n = 0;
    for (struct sv_cache *cache = sv_cache_all(); cache; cache = cache->next)
        for (unsigned bin = 0; bin < SV_NBIN; bin++)
            for (void **slot = cache->bins[bin].base; slot < cache->bins[bin].top; slot++) {
                size_t i = ((uintptr_t)*slot - sv_heap.base) / SV_ALIGN;
                n += !(m->bits[i / 8] >> (i & 7) & 1);
            }
    return n;
}

// Bits that are set meanwhile belong to objects that are queued: to scan them twice is harmless.
static void objects_scan(struct sv_startmark *m)
{
    for (size_t i = 0; i < m->bytes; i++)
        for (unsigned byte = m->bits[i]; byte; byte &= byte - 1)
            object_scan(m, sv_heap.base + (i * 8 + (unsigned)__builtin_ctz(byte)) * SV_ALIGN);
    drain(m);
}

void sv_startmark_run(struct sv_startmark *m, uint64_t marked)
{
    *m =
        (struct sv_startmark){.bytes = ((size_t)sv_heap.grown << SV_PAGE_SHIFT) / SV_ALIGN / 8 + 1};
    m->bits = sv_os_map(m->bytes);
    m->failed = !m->bits;
    if (m->failed)
        return;
    roots_visit(m);
    if (!m->failed && m->reached + caches_count(m) != marked) {
        m->interior = true;
        roots_visit(m);
        objects_scan(m);
    }
    m->failed |= m->work.failed;
    sv_work_flush(&m->work);
    sv_os_unmap(m->bits, m->bytes);
    m->bits = NULL;
}

void sv_startmark_end(struct sv_startmark *m)
{
    sv_metadata_free(m->v, m->cap * sizeof *m->v);
    *m = (struct sv_startmark){0};
}
