// A raw record as text, without symbols: where there is no command to render it.
#ifndef SV_PLAIN_H
#define SV_PLAIN_H

#include <stddef.h>

// Writes LeakSanitizer's text, with module and offset in place of names, to fd: direct leaks first,
// larger ones first. Nothing where nothing was lost. Any context; maps memory while it works.
void sv_plain_write(int fd, const char *record, size_t bytes);

#endif
