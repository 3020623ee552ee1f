// The mark of a name that the program may bind to. Everything else of the library is hidden
// (-fvisibility=hidden), so that no internal name can displace one of the program's.
#ifndef SV_EXPORT_H
#define SV_EXPORT_H

#define SV_EXPORT __attribute__((visibility("default")))

#endif
