// The program's mistakes with pointers: named, then abort().
#ifndef SV_MISUSE_H
#define SV_MISUSE_H

// One line "salvage: FUNCTION(0x...): invalid pointer: WHAT", a stack below it, and abort().
_Noreturn void sv_misuse(const char *function, const void *p, const char *what);

#endif
