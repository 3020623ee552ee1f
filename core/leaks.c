// Leaks: what two cycles in a row didn't reach, and the program didn't free.
//
// In mode=leaks a sweep takes nothing back. It looks at what isn't marked, and the state of an
// object stands in the top bits of its word (profile.h): nothing, then *candidate* after the first
// cycle that didn't reach it, then *lost* after the second. A cycle that reaches it again undoes
// both. Each span is swept once between two cycles, so "in a row" needs no count. States change by
// compare and exchange, for the program may free the object at the same moment; freeing or
// reallocating takes the state away, and who finds it tells leaks_freed: an object that was lost
// and is named by the program after all shows that the program hides pointers.
//
// A span is flagged (`suspects`) while one of its objects has a state, so that only in those the
// words of reached objects are looked at again. What it costs to find leaks is thus proportional to
// what isn't reached. What has no word (an allocation that wasn't sampled, or could not be
// recorded; a free slot that a fork orphaned) is never called lost.
//
// Sites (sites.c), one for each stack that lost anything, remember since when and how it grew. Who
// is direct and who indirect is asked only by a check (leakcheck.c).
//
// After the check at exit the rule is another one: what is lost from then on was reachable at exit,
// so it is *abandoned*.
#include "leaks.h"

#include "cache.h"
#include "heap.h"
#include "lock.h"
#include "mark.h"
#include "metadata.h"
#include "options.h"
#include "pagemap.h"
#include "profile.h"
#include "sites.h"
#include "span.h"

#define STATE_MASK (~(uint64_t)0 << SV_PROFILE_STATE_SHIFT)

static struct {
    uintptr_t *ignored;     // heap lock: addresses of objects, a hash table; 0: none, 1: was one
    size_t nignored;        // heap lock: in use, gone ones included
    size_t ignored_cap;     // heap lock: a power of two
    _Atomic uint64_t fresh; // who sweeps: candidates of this cycle
    bool exited;            // cycle lock: the check at exit was made
} leaks;

bool sv_leaks_on;
__thread unsigned sv_leaks_ignoring;

// False: the program was faster.
static bool state_set(sv_profile_word *word, uint64_t old, enum sv_leaks_state to)
{
    uint64_t new = (old & ~STATE_MASK) | (uint64_t)to << SV_PROFILE_STATE_SHIFT;
    return atomic_compare_exchange_strong_explicit(word, &old, new, memory_order_relaxed,
                                                   memory_order_relaxed);
}

// ---- states, as sweeping meets objects ----------------------------------------------------------

void sv_leaks_settle(sv_profile_word *word, uint64_t old, size_t size)
{
    if (leaks.exited)
        state_set(word, old, SV_LEAKS_ABANDONED);
    else if (state_set(word, old, SV_LEAKS_LOST))
        sv_sites_add(old, size);
}

// An object that the cycle didn't reach. True: it has a state now. `held`: the heap's lock is.
static bool object_missed(uintptr_t start, size_t size, bool held)
{
    sv_profile_word *word = sv_profile_word_of((const void *)start);
    uint64_t old = word ? atomic_load_explicit(word, memory_order_relaxed) : 0;
    if (!old)
        return false;
    if (sv_leaks_state(old) == SV_LEAKS_NONE && state_set(word, old, SV_LEAKS_CANDIDATE)) {
        atomic_fetch_add_explicit(&leaks.fresh, 1, memory_order_relaxed);
    } else if (sv_leaks_state(old) == SV_LEAKS_CANDIDATE) {
        if (!held)
            sv_lock_acquire(&sv_heap.lock);
        sv_leaks_settle(word, old, size);
        if (!held)
            sv_lock_release(&sv_heap.lock);
    }
    return true;
}

// An object that it reached.
static void object_reached(uintptr_t start, size_t size, bool held)
{
    sv_profile_word *word = sv_profile_word_of((const void *)start);
    uint64_t old = word ? atomic_load_explicit(word, memory_order_relaxed) : 0;
    if (sv_leaks_state(old) == SV_LEAKS_NONE || sv_leaks_state(old) == SV_LEAKS_IGNORED ||
        !state_set(word, old, SV_LEAKS_NONE) || sv_leaks_state(old) != SV_LEAKS_LOST)
        return;
    if (!held)
        sv_lock_acquire(&sv_heap.lock);
    sv_sites_subtract(old, size, false);
    if (!held)
        sv_lock_release(&sv_heap.lock);
}

void sv_leaks_span(struct sv_span *span)
{
    struct sv_bits *bits = sv_span_bits(span);
    uintptr_t base = sv_page_addr((uint32_t)(span - sv_heap.spans));
    size_t size = sv_span_slot_size(span);
    bool had = span->suspects, has = false;
    for (unsigned w = 0; w < sv_span_words(span); w++) {
        uint64_t alloc = atomic_load_explicit(&bits[w].alloc, memory_order_relaxed);
        uint64_t mark = atomic_load_explicit(&bits[w].mark, memory_order_relaxed);
        uintptr_t word = base + w * 64 * size;
        for (uint64_t dead = alloc & ~mark; dead; dead &= dead - 1)
            has |= object_missed(word + (unsigned)__builtin_ctzll(dead) * size, size, false);
        for (uint64_t back = had ? alloc & mark : 0; back; back &= back - 1)
            object_reached(word + (unsigned)__builtin_ctzll(back) * size, size, false);
    }
    span->suspects = has;
}

void sv_leaks_large(struct sv_span *span, bool marked)
{
    uintptr_t start = sv_page_addr((uint32_t)(span - sv_heap.spans));
    if (marked)
        object_reached(start, sv_span_slot_size(span), true);
    else
        object_missed(start, sv_span_slot_size(span), true);
}

void sv_leaks_flip(bool missed)
{
    static bool watched;
    if (missed && !watched)
        sv_cache_watch();
    watched |= missed;
    atomic_store_explicit(&leaks.fresh, 0, memory_order_relaxed);
}

bool sv_leaks_fresh(void)
{
    return sv_leaks_on && atomic_load_explicit(&leaks.fresh, memory_order_relaxed) != 0;
}

void sv_leaks_exited(void)
{
    leaks.exited = true;
}

// ---- objects that are never reported ------------------------------------------------------------

#define GONE ((uintptr_t)1)

// Does it still stand there? Where frees aren't watched its end wasn't told, but another object's
// word is a new one.
static bool ignored_there(uintptr_t start)
{
    struct sv_mark_place at;
    const sv_profile_word *word =
        sv_mark_find(start, &at) ? sv_profile_word_of((const void *)start) : NULL;
    return word &&
           sv_leaks_state(atomic_load_explicit(word, memory_order_relaxed)) == SV_LEAKS_IGNORED;
}

size_t sv_leaks_roots(const uintptr_t **words)
{
    for (size_t i = 0; i < leaks.ignored_cap; i++)
        if (leaks.ignored[i] > GONE && !ignored_there(leaks.ignored[i]))
            leaks.ignored[i] = GONE;
    *words = leaks.ignored;
    return leaks.ignored_cap;
}

// Heap lock held, here and below.
static uintptr_t *ignored_place(uintptr_t *v, size_t cap, uintptr_t start)
{
    size_t i = (uint32_t)(start * 0x9e3779b97f4a7c15u >> 32) & (cap - 1);
    while (v[i] && v[i] != start)
        i = (i + 1) & (cap - 1);
    return &v[i];
}

static bool ignored_grow(void)
{
    size_t live = 0;
    for (size_t i = 0; i < leaks.ignored_cap; i++)
        live += leaks.ignored[i] > GONE;
    size_t cap = 64;
    while (cap < 4 * (live + 1))
        cap *= 2;
    uintptr_t *v = sv_metadata_alloc(cap * sizeof *v);
    if (!v)
        return false;
    for (size_t i = 0; i < leaks.ignored_cap; i++)
        if (leaks.ignored[i] > GONE)
            *ignored_place(v, cap, leaks.ignored[i]) = leaks.ignored[i];
    sv_metadata_free(leaks.ignored, leaks.ignored_cap * sizeof *v);
    leaks.ignored = v;
    leaks.ignored_cap = cap;
    leaks.nignored = live;
    return true;
}

static bool ignored_add(uintptr_t start)
{
    if (4 * leaks.nignored >= 3 * leaks.ignored_cap && !ignored_grow())
        return false;
    uintptr_t *at = ignored_place(leaks.ignored, leaks.ignored_cap, start);
    leaks.nignored += *at == 0;
    *at = start;
    return true;
}

static void ignored_remove(uintptr_t start)
{
    uintptr_t *at =
        leaks.ignored_cap ? ignored_place(leaks.ignored, leaks.ignored_cap, start) : NULL;
    if (at && *at == start)
        *at = GONE;
}

bool sv_leaks_ignore(const void *p)
{
    struct sv_mark_place at;
    if (!sv_leaks_on || !sv_mark_find((uintptr_t)p, &at))
        return false;
    sv_profile_word *word = sv_profile_word_of((const void *)at.start);
    sv_lock_acquire(&sv_heap.lock);
    bool ok = ignored_add(at.start);
    uint64_t old = word && ok ? atomic_load_explicit(word, memory_order_relaxed) : 0;
    if (old && state_set(word, old, SV_LEAKS_IGNORED) && sv_leaks_state(old) == SV_LEAKS_LOST)
        sv_sites_subtract(old, sv_span_slot_size(at.span), false);
    sv_lock_release(&sv_heap.lock);
    return ok;
}

// The program frees or reallocates an object that had a state.
static void leaks_freed(void *object, uint64_t word)
{
    struct sv_mark_place at;
    if (sv_leaks_state(word) == SV_LEAKS_CANDIDATE || !sv_mark_find((uintptr_t)object, &at))
        return;
    sv_lock_acquire(&sv_heap.lock);
    if (sv_leaks_state(word) == SV_LEAKS_IGNORED)
        ignored_remove(at.start);
    else if (sv_leaks_state(word) == SV_LEAKS_LOST)
        sv_sites_subtract(word, sv_span_slot_size(at.span), true);
    sv_lock_release(&sv_heap.lock);
}

void sv_leaks_init(void)
{
    sv_leaks_on = sv_options.mode == SV_MODE_LEAKS;
    if (sv_leaks_on)
        sv_profile_freed = leaks_freed;
}
