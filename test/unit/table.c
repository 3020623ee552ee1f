// The table of Boehm's face against a plain array of what it should hold: adding, finding,
// removing, also while it is gone through, which must visit each entry once.
#include "boehm.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { KEYS = 3000, STEPS = 200000 };

struct model {
    struct sv_table table;
    uintptr_t value[KEYS]; // 0: not in it
    unsigned visits[KEYS];
    unsigned removed; // in the pass under way
    uint64_t random;
};

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

// Near each other, so that runs of entries are long.
static uintptr_t key_of(unsigned i)
{
    return 0x700000000000u + i * 16;
}

static void step(struct model *m)
{
    unsigned i = (unsigned)(random_next(&m->random) % KEYS);
    struct sv_table_entry *e = sv_table_find(&m->table, key_of(i));
    cr_assert_eq(e != NULL, m->value[i] != 0);
    if (e)
        cr_assert_eq(e->a, m->value[i]);
    if (random_next(&m->random) & 1) {
        struct sv_table_entry *added = sv_table_add(&m->table, key_of(i));
        cr_assert_not_null(added);
        cr_assert(!e || e == added);
        cr_assert_eq(added->a, e ? m->value[i] : 0);
        added->a = m->value[i] = (uintptr_t)random_next(&m->random) | 1;
    } else if (e) {
        sv_table_remove(&m->table, e);
        m->value[i] = 0;
    }
}

static void compare(struct model *m)
{
    size_t n = 0;
    for (unsigned i = 0; i < KEYS; i++) {
        struct sv_table_entry *e = sv_table_find(&m->table, key_of(i));
        cr_assert_eq(e != NULL, m->value[i] != 0, "key %u", i);
        cr_assert(!e || e->a == m->value[i]);
        n += e != NULL;
    }
    cr_assert_eq(m->table.used, n);
}

static bool visit(struct sv_table_entry *e, void *arg)
{
    struct model *m = arg;
    unsigned i = (unsigned)((~e->key - key_of(0)) / 16);
    cr_assert_lt(i, KEYS);
    cr_assert_eq(e->a, m->value[i]);
    m->visits[i]++;
    if (random_next(&m->random) % 3)
        return true;
    m->value[i] = 0;
    m->removed++;
    return false;
}

static void pass(struct model *m)
{
    static uintptr_t before[KEYS];
    for (unsigned i = 0; i < KEYS; i++) {
        before[i] = m->value[i];
        m->visits[i] = 0;
    }
    size_t used = m->table.used;
    m->removed = 0;
    sv_table_each(&m->table, visit, m);
    cr_assert_eq(m->table.used, used - m->removed);
    for (unsigned i = 0; i < KEYS; i++)
        cr_assert_eq(m->visits[i], before[i] != 0, "key %u was visited %u times", i, m->visits[i]);
}

Test(table, model)
{
    struct model *m = calloc(1, sizeof *m);
    m->random = 0x5eed;
    sv_table_each(&m->table, visit, m); // of nothing
    for (unsigned i = 0; i < STEPS; i++) {
        step(m);
        if (i % 1000 == 0) {
            pass(m);
            compare(m);
        }
    }
    compare(m);
    free(m);
}

Test(table, entries_hold_no_addresses)
{
    struct sv_table t = {0};
    for (unsigned i = 0; i < KEYS; i++)
        cr_assert_not_null(sv_table_add(&t, key_of(i)));
    for (size_t i = 0; i <= t.mask; i++)
        cr_assert(t.entries[i].key < key_of(0) || t.entries[i].key > key_of(KEYS));
}
