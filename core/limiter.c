// A leaky bucket, as Go's (runtime/mgclimit.go). The collector's time runs in, the program's runs
// out, so the level rises only while the collector has more than half. A full bucket says stop, and
// when it has drained to below full that ends. Its size forgives bursts: on one processor, a second
// of nothing but collecting.
//
// Nobody's time (idle) runs neither in nor out. The workers' part is taken as their share and not
// measured: they keep to it, and what they do beyond it is done on idle processors.
//
// Go's bucket loses what doesn't fit. Between two updates the assists that begin as soon as there
// is room bring more than what has drained: the program then got 39 % in the simulation, not half.
// So a tenth more is kept above the brim, and has to drain as well.
#include "limiter.h"

void sv_limiter_init(struct sv_limiter *l, uint32_t procs, uint64_t now)
{
    *l = (struct sv_limiter){.procs = procs, .capacity = procs * (uint64_t)1000000000, .last = now};
}

static void level_raise(struct sv_limiter *l, uint64_t by)
{
    uint64_t room = l->capacity + l->capacity / 10 - l->fill;
    uint64_t fits = by < room ? by : room;
    l->fill += fits;
    l->overflow += by - fits;
}

void sv_limiter_update(struct sv_limiter *l, uint64_t now, enum sv_limiter_state state,
                       uint64_t assists, uint64_t idle)
{
    uint64_t total = now > l->last ? (now - l->last) * l->procs : 0;
    uint64_t ours = assists;
    if (l->state == SV_LIMITER_MARKING)
        ours += total / 4;
    if (ours > total || l->state == SV_LIMITER_STOPPED)
        ours = total;
    uint64_t others = total - ours;
    others -= idle < others ? idle : others;
    if (now > l->last)
        l->last = now;
    l->state = state;
    if (ours > others)
        level_raise(l, ours - others);
    else if (others > ours)
        l->fill -= others - ours < l->fill ? others - ours : l->fill;
}
