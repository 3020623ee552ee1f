// The name by which two of our libraries in one process know which of them comes first (init.c).
#include "export.h"

SV_EXPORT char salvage_first;
extern char sv_first __attribute__((alias("salvage_first"), visibility("hidden")));
