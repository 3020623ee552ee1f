// Size classes: pure, constant tables. Callable from anywhere.
#ifndef SV_SIZECLASS_H
#define SV_SIZECLASS_H

#include "core.h"

// By class; by code only where it is known that those of traced objects, like that of a large one,
// have the size 0 here.
extern const struct sv_class sv_classes[SV_NCODE];
extern const uint8_t sv_class_of_16[SV_CACHE_LUT];                // size / 16, below 1024 bytes
extern const uint8_t sv_class_of_128[(SV_SLOT_MAX - 1024) / 128]; // (size - 1024) / 128, from there

// The class of a request of 0..SV_SMALL_MAX bytes: the smallest whose slots hold a byte more, so
// that a pointer just past the object still lies in its slot and keeps it alive, wherever the
// pointer stands. C lets programs hold nothing but such a pointer, and they do: jq 1.6 keeps its
// stack by one.
static inline unsigned sv_sizeclass(size_t size)
{
    if (sv_likely(size < 1024))
        return sv_class_of_16[size >> 4];
    return sv_class_of_128[(size - 1024) >> 7];
}

static inline unsigned sv_code_class(unsigned code)
{
    if (sv_likely(code < SV_NCLASS))
        return code;
    return code < 2 * SV_NCLASS ? code - SV_NCLASS : code - 2 * SV_NCLASS;
}

static inline bool sv_code_noscan(unsigned code)
{
    return code - SV_NCLASS < SV_NCLASS;
}

static inline bool sv_code_traced(unsigned code)
{
    return code >= 2 * SV_NCLASS;
}

static inline enum sv_kind sv_code_kind(unsigned code)
{
    return sv_code_traced(code) ? SV_TRACED : sv_code_noscan(code) ? SV_NOSCAN : SV_SCAN;
}

static inline unsigned sv_code(unsigned class, enum sv_kind kind)
{
    return class + kind * SV_NCLASS;
}

// The slot that an offset into a span lies in: Go's division by multiplication, exact for every
// offset of every class's span; magic 0 sends every offset of a large object to slot 0.
static inline unsigned sv_slot_of(uint32_t offset, uint32_t magic)
{
    return (unsigned)(((uint64_t)offset * magic) >> 32);
}

// Is `offset` the start of a slot? Multiplying by the inverse of the size's odd part and rotating
// its power of two away gives offset / size when it divides, and something at least as large as any
// slot count when it doesn't: one compare tells both "a slot's start" and "not in the tail"
// (Granlund and Montgomery, "Division by invariant integers using multiplication", section 9).
static inline bool sv_slot_starts(uint32_t offset, uint32_t inv, unsigned shift, uint32_t nslots)
{
    uint32_t q = offset * inv;
    q = q >> (shift & 31) | q << (-shift & 31);
    return q < nslots;
}

#endif
