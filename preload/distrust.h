// Is the caller a vfork child, whose memory and thread record are its parent's?
#ifndef SV_DISTRUST_H
#define SV_DISTRUST_H

#include <stdbool.h>

bool sv_distrust_vforked(void);

#endif
