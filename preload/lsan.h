// Leak checks on request.
#ifndef SV_LSAN_H
#define SV_LSAN_H

// A check and its report now; how many objects are lost, suppressed ones included. 0 outside of
// mode=leaks.
int sv_lsan_check(void);

#endif
