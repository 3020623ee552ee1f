// `salvage top` on a terminal.
#ifndef SCREEN_H
#define SCREEN_H

#include "watch.h"

// Shows the table until the user has had enough, or `count` looks were taken (0: no end). False:
// this terminal can't be used (nothing was shown).
bool screen_run(struct watch *w, enum watch_key key, double delay, uint64_t count);

#endif
