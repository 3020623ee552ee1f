// The library's end of the link to the command: `salvage stat`, `gc` and `leaks` of a process that
// runs. A thread of the collector's own waits on an abstract socket; the first line that it says
// and what it can be asked stand in link.c.
#ifndef SV_LINK_H
#define SV_LINK_H

// From now on the collector's threads answer the command. Once, at start, after the options.
void sv_link_init(void);

#endif
