// A library that a program of the corpus loads: it holds a reference, or loses one.
#include <stdlib.h>
#include <string.h>

void *library_word;
static void *library_own;

void library_keep(size_t n)
{
    library_own = malloc(n);
    if (library_own)
        memset(library_own, 0, n);
}

void library_lose(size_t n)
{
    void *p = malloc(n);
    __asm__ volatile("" : : "r"(p) : "memory");
}

void *library_kept(void)
{
    return library_own;
}
