// Reading .eh_frame. glibc finds the object that holds an address without a lock (_dl_find_object,
// 2.35 on; without it every rule is NONE and frames are followed by rbp alone); its .eh_frame_hdr
// is a sorted table in which the function's entry (FDE) is found by bisection; the entry's program
// is run up to the address, as far as it speaks of the frame's end, rbp and the return address: no
// other register is needed to find callers, since compilers take no other one for a frame's end at
// a call. (The format: LSB Core, "Exception Frames"; the programs: DWARF 5, section 6.4.)
//
// What is read here was written by compilers and mapped by the dynamic linker, so lengths are
// believed. What isn't understood makes the rule COMPLEX, which ends the stack there.
#include "cfi.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#define REG_BP 6 // DWARF's numbers of x86-64's registers
#define REG_SP 7
#define REG_RA 16
#define ROWS_MAX 8 // of DW_CFA_remember_state; compilers use one or two
#define STACK_MAX 16

extern int _dl_find_object(void *address, struct dl_find_object *result) __attribute__((weak));

enum where_kind { WHERE_SAME, WHERE_OFFSET, WHERE_EXPR, WHERE_UNDEFINED, WHERE_OTHER };

struct where { // is a register of the caller's
    enum where_kind kind;
    int32_t offset;
    const uint8_t *expr, *expr_end;
};

struct row {
    unsigned cfa_reg;
    int32_t cfa_offset;
    const uint8_t *expr, *expr_end; // of the frame's end; NULL: by register
    struct where bp, ra;
};

struct program { // of a CIE or an FDE, while it runs
    const uint8_t *p, *end;
    uintptr_t at, pc; // the address reached, and the one that is looked for
    uint64_t code_align;
    int64_t data_align;
    uint8_t encoding;
    struct row row, initial;
    struct row rows[ROWS_MAX];
    unsigned nrows;
    bool bad;
};

// ---- numbers ------------------------------------------------------------------------------------

#define READER(name, type)                                                                         \
    static type name(const uint8_t **p)                                                            \
    {                                                                                              \
        type v;                                                                                    \
        __builtin_memcpy(&v, *p, sizeof v);                                                        \
        *p += sizeof v;                                                                            \
        return v;                                                                                  \
    }
READER(read_u16, uint16_t)
READER(read_u32, uint32_t)
READER(read_u64, uint64_t)

static uint64_t read_uleb(const uint8_t **p)
{
    uint64_t v = 0;
    unsigned shift = 0;
    uint8_t byte;
    do {
        byte = *(*p)++;
        if (shift < 64)
            v |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80);
    return v;
}

static int64_t read_sleb(const uint8_t **p)
{
    uint64_t v = 0;
    unsigned shift = 0;
    uint8_t byte;
    do {
        byte = *(*p)++;
        if (shift < 64)
            v |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80);
    if (shift < 64 && (byte & 0x40))
        v |= ~(uint64_t)0 << shift;
    return (int64_t)v;
}

// A pointer in one of the encodings (DW_EH_PE_*) that addresses of code come in.
static uintptr_t read_encoded(const uint8_t **p, uint8_t encoding, bool *bad)
{
    const uint8_t *at = *p;
    uintptr_t v = 0;
    switch (encoding & 0x0f) {
    case 0x00:
    case 0x04:
    case 0x0c:
        v = read_u64(p);
        break;
    case 0x02:
        v = read_u16(p);
        break;
    case 0x03:
        v = read_u32(p);
        break;
    case 0x0a:
        v = (uintptr_t)(int16_t)read_u16(p);
        break;
    case 0x0b:
        v = (uintptr_t)(int32_t)read_u32(p);
        break;
    case 0x01:
        v = read_uleb(p);
        break;
    default:
        *bad = true;
    }
    if ((encoding & 0x70) == 0x10)
        v += (uintptr_t)at;
    else if (encoding & 0x70)
        *bad = true;
    return v;
}

// ---- expressions --------------------------------------------------------------------------------

struct stack {
    uintptr_t v[STACK_MAX];
    unsigned n;
    bool bad;
};

static void push(struct stack *s, uintptr_t v)
{
    if (s->n < STACK_MAX)
        s->v[s->n++] = v;
    else
        s->bad = true;
}

static uintptr_t pop(struct stack *s)
{
    if (s->n > 0)
        return s->v[--s->n];
    s->bad = true;
    return 0;
}

static void evaluate_two(struct stack *s, uint8_t op)
{
    uintptr_t b = pop(s), a = pop(s);
    switch (op) {
    case 0x1a: // and
        push(s, a & b);
        break;
    case 0x1c: // minus
        push(s, a - b);
        break;
    case 0x21: // or
        push(s, a | b);
        break;
    case 0x22: // plus
        push(s, a + b);
        break;
    case 0x24: // shl
        push(s, b < 64 ? a << b : 0);
        break;
    case 0x2a: // ge
        push(s, (intptr_t)a >= (intptr_t)b);
        break;
    default:
        s->bad = true;
    }
}

static void evaluate_register(struct stack *s, unsigned reg, int64_t offset,
                              const struct sv_cfi_machine *machine)
{
    if (reg == REG_SP)
        push(s, machine->sp + (uintptr_t)offset);
    else if (reg == REG_BP)
        push(s, machine->bp + (uintptr_t)offset);
    else if (reg == REG_RA)
        push(s, machine->pc + (uintptr_t)offset);
    else
        s->bad = true;
}

static void evaluate_step(struct stack *s, const uint8_t **p, const struct sv_cfi_machine *machine)
{
    uint8_t op = *(*p)++;
    uintptr_t v = 0;
    if (op >= 0x30 && op <= 0x4f) { // lit0 and on
        push(s, op - 0x30u);
    } else if (op >= 0x70 && op <= 0x8f) { // breg0 and on
        evaluate_register(s, op - 0x70u, read_sleb(p), machine);
    } else if (op == 0x06) { // deref
        s->bad |= !machine->load(machine->arg, pop(s), &v);
        push(s, v);
    } else if (op == 0x08) { // const1u
        push(s, *(*p)++);
    } else if (op == 0x09) { // const1s
        push(s, (uintptr_t)(int8_t) * (*p)++);
    } else if (op == 0x0a) { // const2u
        push(s, read_u16(p));
    } else if (op == 0x0b) { // const2s
        push(s, (uintptr_t)(int16_t)read_u16(p));
    } else if (op == 0x10) { // constu
        push(s, read_uleb(p));
    } else if (op == 0x11) { // consts
        push(s, (uintptr_t)read_sleb(p));
    } else if (op == 0x12) { // dup
        v = pop(s);
        push(s, v);
        push(s, v);
    } else if (op == 0x23) { // plus_uconst
        v = pop(s);
        push(s, v + read_uleb(p));
    } else if (op != 0x96) { // nop
        evaluate_two(s, op);
    }
}

bool sv_cfi_evaluate(const uint8_t *p, const uint8_t *end, uintptr_t first,
                     const struct sv_cfi_machine *machine, uintptr_t *out)
{
    struct stack s = {.n = 0};
    push(&s, first);
    while (p < end && !s.bad)
        evaluate_step(&s, &p, machine);
    *out = pop(&s);
    return !s.bad;
}

// ---- programs -----------------------------------------------------------------------------------

static void where_set(struct program *r, uint64_t reg, struct where where)
{
    if (reg == REG_BP)
        r->row.bp = where;
    else if (reg == REG_RA)
        r->row.ra = where;
}

static void where_offset(struct program *r, uint64_t reg, int64_t factored)
{
    where_set(r, reg,
              (struct where){.kind = WHERE_OFFSET, .offset = (int32_t)(factored * r->data_align)});
}

static void where_restore(struct program *r, uint64_t reg)
{
    where_set(r, reg, reg == REG_BP ? r->initial.bp : r->initial.ra);
}

static const uint8_t *block_read(struct program *r, const uint8_t **end)
{
    uint64_t n = read_uleb(&r->p);
    const uint8_t *p = r->p;
    r->p = *end = p + n;
    return p;
}

// The opcodes of the frame's end; false: not one of them.
static bool run_cfa(struct program *r, uint8_t op)
{
    struct row *row = &r->row;
    switch (op) {
    case 0x0c: // def_cfa
        row->cfa_reg = (unsigned)read_uleb(&r->p);
        row->cfa_offset = (int32_t)read_uleb(&r->p);
        break;
    case 0x0d: // def_cfa_register
        row->cfa_reg = (unsigned)read_uleb(&r->p);
        break;
    case 0x0e: // def_cfa_offset
        row->cfa_offset = (int32_t)read_uleb(&r->p);
        return true;
    case 0x0f: // def_cfa_expression
        row->expr = block_read(r, &row->expr_end);
        return true;
    case 0x12: // def_cfa_sf
        row->cfa_reg = (unsigned)read_uleb(&r->p);
        row->cfa_offset = (int32_t)(read_sleb(&r->p) * r->data_align);
        break;
    case 0x13: // def_cfa_offset_sf
        row->cfa_offset = (int32_t)(read_sleb(&r->p) * r->data_align);
        return true;
    default:
        return false;
    }
    row->expr = NULL;
    return true;
}

// The opcodes of one register; false: not one of them.
static bool run_register(struct program *r, uint8_t op)
{
    static const uint8_t ops[] = {0x05, 0x06, 0x07, 0x08, 0x09, 0x10, 0x11, 0x14, 0x15, 0x16, 0x2f};
    if (!memchr(ops, op, sizeof ops))
        return false;
    uint64_t reg = read_uleb(&r->p);
    struct where where = {.kind = WHERE_OTHER};
    switch (op) {
    case 0x05: // offset_extended
        where_offset(r, reg, (int64_t)read_uleb(&r->p));
        return true;
    case 0x06: // restore_extended
        where_restore(r, reg);
        return true;
    case 0x07: // undefined
        where.kind = WHERE_UNDEFINED;
        break;
    case 0x08: // same_value
        where.kind = WHERE_SAME;
        break;
    case 0x10: // expression
        where.kind = WHERE_EXPR;
        where.expr = block_read(r, &where.expr_end);
        break;
    case 0x11: // offset_extended_sf
        where_offset(r, reg, read_sleb(&r->p));
        return true;
    case 0x16: // val_expression
        block_read(r, &where.expr_end);
        break;
    case 0x2f: // GNU_negative_offset_extended
        where_offset(r, reg, -(int64_t)read_uleb(&r->p));
        return true;
    default: // register, val_offset, val_offset_sf
        read_uleb(&r->p);
    }
    where_set(r, reg, where);
    return true;
}

static bool run_advance(struct program *r, uint8_t op)
{
    uint64_t delta;
    if (op == 0x02)
        delta = *r->p++;
    else if (op == 0x03)
        delta = read_u16(&r->p);
    else if (op == 0x04)
        delta = read_u32(&r->p);
    else
        return false;
    r->at += delta * r->code_align;
    return true;
}

static void run_step(struct program *r)
{
    uint8_t op = *r->p++, low = op & 0x3f;
    if (op >> 6 == 1) {
        r->at += low * r->code_align;
    } else if (op >> 6 == 2) {
        where_offset(r, low, (int64_t)read_uleb(&r->p));
    } else if (op >> 6 == 3) {
        where_restore(r, low);
    } else if (op == 0x01) { // set_loc
        r->at = read_encoded(&r->p, r->encoding, &r->bad);
    } else if (op == 0x0a && r->nrows < ROWS_MAX) { // remember_state
        r->rows[r->nrows++] = r->row;
    } else if (op == 0x0b && r->nrows > 0) { // restore_state
        r->row = r->rows[--r->nrows];
    } else if (op == 0x2e) { // GNU_args_size
        read_uleb(&r->p);
    } else if (op != 0 && !run_advance(r, op) && !run_cfa(r, op) && !run_register(r, op)) {
        r->bad = true;
    }
}

static void run(struct program *r)
{
    while (r->p < r->end && r->at <= r->pc && !r->bad)
        run_step(r);
}

static struct sv_cfi_rule rule_make(const struct program *r)
{
    const struct row *row = &r->row;
    struct sv_cfi_rule rule = {.kind = SV_CFI_COMPLEX};
    if (r->bad)
        return rule;
    if (row->ra.kind == WHERE_UNDEFINED) {
        rule.kind = SV_CFI_END;
        return rule;
    }
    if (row->ra.kind != WHERE_OFFSET || row->ra.offset != -8)
        return rule;
    if (row->bp.kind == WHERE_OFFSET)
        rule.bp = row->bp.offset;
    else if (row->bp.kind == WHERE_EXPR) {
        rule.bp_expr = row->bp.expr;
        rule.bp_expr_end = row->bp.expr_end;
    }
    rule.offset = row->cfa_offset;
    if (row->expr) {
        rule.kind = SV_CFI_EXPR;
        rule.expr = row->expr;
        rule.expr_end = row->expr_end;
    } else if (row->cfa_reg == REG_SP) {
        rule.kind = SV_CFI_SP;
    } else if (row->cfa_reg == REG_BP) {
        rule.kind = SV_CFI_BP;
    }
    return rule;
}

// ---- entries ------------------------------------------------------------------------------------

struct cie {
    const uint8_t *program, *end;
    uint64_t code_align;
    int64_t data_align;
    uint8_t encoding;
    bool augmented, signal, bad;
};

static struct cie cie_read(const uint8_t *p)
{
    struct cie cie = {.bad = false};
    uint32_t length = read_u32(&p);
    cie.end = p + length;
    cie.bad = length == UINT32_MAX || read_u32(&p) != 0;
    uint8_t version = *p++;
    const char *augmentation = (const char *)p;
    p += strlen(augmentation) + 1;
    cie.code_align = read_uleb(&p);
    cie.data_align = read_sleb(&p);
    uint64_t ra = version == 1 ? *p++ : read_uleb(&p);
    cie.bad |= ra != REG_RA;
    if (*augmentation != 'z') {
        cie.bad |= *augmentation != 0;
        cie.program = p;
        return cie;
    }
    cie.augmented = true;
    uint64_t bytes = read_uleb(&p);
    cie.program = p + bytes;
    for (const char *c = augmentation + 1; *c && !cie.bad; c++) {
        if (*c == 'R')
            cie.encoding = *p++;
        else if (*c == 'L')
            p++;
        else if (*c == 'S')
            cie.signal = true;
        else if (*c == 'P') {
            uint8_t encoding = *p++;
            bool ignored = false; // relative to something that doesn't matter here
            read_encoded(&p, encoding & 0x0f, &ignored);
        } else if (*c != 'B')
            break; // what follows isn't understood, nor needed
    }
    return cie;
}

static struct sv_cfi_rule fde_rule(const uint8_t *p, uintptr_t pc)
{
    struct sv_cfi_rule rule = {.kind = SV_CFI_NONE};
    uint32_t length = read_u32(&p);
    const uint8_t *end = p + length;
    const uint8_t *field = p;
    uint32_t back = read_u32(&p);
    struct cie cie = cie_read(field - back);
    bool bad = cie.bad || length == UINT32_MAX;
    uintptr_t start = read_encoded(&p, cie.encoding, &bad);
    uintptr_t size = read_encoded(&p, cie.encoding & 0x0f, &bad);
    if (bad || pc - start >= size)
        return rule;
    if (cie.signal) {
        rule.kind = SV_CFI_SIGNAL;
        return rule;
    }
    if (cie.augmented) {
        uint64_t skip = read_uleb(&p);
        p += skip;
    }
    struct program r = {.p = cie.program,
                        .end = cie.end,
                        .at = start,
                        .pc = pc,
                        .code_align = cie.code_align,
                        .data_align = cie.data_align,
                        .encoding = cie.encoding};
    run(&r);
    r.initial = r.row;
    r.p = p;
    r.end = end;
    run(&r);
    return rule_make(&r);
}

// The entry that may hold pc, or NULL. The table is sorted, four bytes each relative to its start.
static const uint8_t *fde_find(const uint8_t *hdr, uintptr_t pc)
{
    if (hdr[0] != 1 || hdr[2] != 0x03 || hdr[3] != 0x3b) // what every linker makes
        return NULL;
    const uint8_t *p = hdr + 4;
    bool bad = false;
    read_encoded(&p, hdr[1], &bad);
    uint32_t count = bad ? 0 : read_u32(&p);
    const int32_t(*table)[2] = (const void *)p;
    int64_t wanted = (int64_t)(pc - (uintptr_t)hdr);
    uint32_t lo = 0, hi = count; // the last one that starts at or before pc
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (table[mid][0] <= wanted)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo > 0 ? hdr + table[lo - 1][1] : NULL;
}

struct sv_cfi_rule sv_cfi_find(uintptr_t pc)
{
    struct sv_cfi_rule none = {.kind = SV_CFI_NONE};
    struct dl_find_object object;
    if (!_dl_find_object || _dl_find_object((void *)pc, &object) != 0 || !object.dlfo_eh_frame)
        return none;
    const uint8_t *fde = fde_find(object.dlfo_eh_frame, pc);
    return fde ? fde_rule(fde, pc) : none;
}
