// fork: handlers around it, registered as early as possible so that they run innermost.
#ifndef SV_FORK_H
#define SV_FORK_H

// Once, from sv_init.
void sv_fork_init(void);

#endif
