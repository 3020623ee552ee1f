// Pacing, for cycles that stop the world: without a mark that runs beside the program there is no
// runway, so the goal is the trigger. Go's goal (runtime/mgcpacer.go, `commit`): live after the
// last mark plus gcpercent of live and roots, with a floor. Go's floor is 4 MiB times gcpercent;
// ours starts the first cycle at 8 MiB.
//
// Yield: Go's programs never free, so every cycle finds garbage. A C program that frees what it
// allocates would pay for marks that find nothing. The share of the heap that a cycle gave back
// decides: below YIELD_LOW of it the growth that the next cycle waits for is tripled at once (goal:
// four times live at gcpercent 100), above YIELD_HIGH it is ordinary again; between the two it
// stays.
#include "pacer.h"

#define YIELD_LOW 50u  // reclaimed less than 1/50 of what was live
#define YIELD_HIGH 10u // reclaimed more than 1/10
#define STRETCH_MAX 3u

uint64_t sv_pacer_next(struct sv_pacer *pacer, const struct sv_pacer_cycle *cycle)
{
    if (pacer->gcpercent == UINT32_MAX)
        return UINT64_MAX;
    uint64_t before = cycle->live_before, after = cycle->live_after;
    uint64_t reclaimed = before > after ? before - after : 0;
    if (reclaimed < before / YIELD_LOW)
        pacer->stretch = STRETCH_MAX;
    else if (reclaimed > before / YIELD_HIGH || pacer->stretch == 0)
        pacer->stretch = 1;
    // roots count for at most what is live: a program with gigabytes of its own mappings and a
    // small heap would otherwise keep as many gigabytes of garbage
    uint64_t roots = cycle->roots < after ? cycle->roots : after;
    uint64_t growth = (after + roots) / 100 * pacer->gcpercent * pacer->stretch;
    uint64_t floor = SV_PACER_FIRST * pacer->gcpercent / 100;
    uint64_t most = after + 3 * (after / 100 * pacer->gcpercent);
    uint64_t goal = after + growth;
    if (goal > most && pacer->stretch > 1)
        goal = most;
    return goal < floor ? floor : goal;
}
