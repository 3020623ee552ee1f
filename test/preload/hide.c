// Hide the pointer, all of it: the only pointer to an object goes from every place to every place
// by every kind of move (lib/mover.h), while another thread collects back to back.
//
// Arguments: [rounds]. One round is every combination once.
//
// SALVAGE: mode=collect
// SALVAGE: clobber=1,checkmark=1
// SALVAGE: chaos=5,clobber=1

#include "lib/mover.h"

static struct mover hider;

static witness_noinline void hide_all(struct mover *m)
{
    for (unsigned from = 0; from < PLACES; from++) {
        for (unsigned to = 0; to < PLACES; to++) {
            for (unsigned kind = 0; kind < MOVES; kind++) {
                struct mover_object *o = &m->objects[(from + to + kind) % MOVER_OBJECTS];
                mover_move(m, o, from, MOVE_STORE);
                mover_move(m, o, to, kind);
            }
        }
        mover_litter(m, m->objects[from % MOVER_OBJECTS].witness.size);
    }
}

// The mover's frame, which holds PLACE_STACK. At least so many rounds, and until a hundred
// collections have been made.
static witness_noinline void hide_rounds(struct mover *m, unsigned long rounds)
{
    static const size_t sizes[MOVER_OBJECTS] = {24, 64, 1024, 4242, 20000, 70000};
    uintptr_t stack[MOVER_OBJECTS][MOVER_WORDS] = {{0}};
    m->stack = stack;
    m->seed = m->state = 1;
    for (size_t i = 0; i < MOVER_OBJECTS; i++) {
        mover_object_init(&m->objects[i]);
        m->objects[i].at = PLACE_GLOBAL;
        mover_renew(m, &m->objects[i], sizes[i]);
    }
    for (unsigned long i = 0; i < rounds || atomic_load(&mover_cycles) < 100; i++) {
        hide_all(m);
        for (size_t j = 0; j < MOVER_OBJECTS; j++)
            mover_renew(m, &m->objects[j], sizes[j]);
    }
}

int main(int argc, char **argv)
{
    if (salvage_collect == NULL) {
        printf("0 passed, 0 failed, 1 skipped\n");
        return 0;
    }
    pthread_t t;
    alarm(100);
    WITNESS_NEED(pthread_create(&t, NULL, mover_collector, NULL) == 0, "pthread_create");
    hide_rounds(&hider, argc > 1 ? strtoul(argv[1], NULL, 10) : 3);
    atomic_store_explicit(&mover_over, true, memory_order_relaxed);
    pthread_join(t, NULL);
    printf("%lu moves, %lu collections\n", (unsigned long)mover_moves_done,
           (unsigned long)mover_cycles);
    printf("1 passed, 0 failed\n");
    return 0;
}
