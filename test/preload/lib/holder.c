// A library that rootsdl.c opens while it runs. Built there, at run time:
//     cc -shared -fPIC -O1 -ftls-model=global-dynamic -o holder.so holder.c
// It has a variable of every storage, and takes no part in the test itself.
#include <stddef.h>
#include <stdint.h>

uintptr_t holder_data = 1;
uintptr_t holder_bss;
static uintptr_t holder_big[1 << 16];
_Thread_local uintptr_t holder_tls;
_Thread_local uintptr_t holder_tls_data = 7;
static _Thread_local uintptr_t holder_tls_big[1 << 15];
static _Thread_local _Alignas(4096) uintptr_t holder_tls_aligned[8];

// The address of variable n in the calling thread, or NULL.
void *holder_place(int n);
void *holder_place(int n)
{
    switch (n) {
    case 0:
        return &holder_data;
    case 1:
        return &holder_bss;
    case 2:
        return &holder_big[50000];
    case 3:
        return &holder_tls;
    case 4:
        return &holder_tls_data;
    case 5:
        return &holder_tls_big[20000];
    case 6:
        return &holder_tls_aligned[5];
    default:
        return NULL;
    }
}
