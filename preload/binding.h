// Names that other objects bound before they could find ours; of use where this library comes
// behind the C library in the order of looking up.
#ifndef SV_BINDING_H
#define SV_BINDING_H

#include <stdbool.h>

// Once, after sv_init, when every library that the program began with is relocated. No lock held.
void sv_binding_begin(void);

// It comes behind: what is opened later has to be seen to. Const after sv_binding_begin.
bool sv_binding_needed(void);

// Sees to what was loaded since. A thread of the program's at a safe point, no lock held.
void sv_binding_poll(void);

#endif
