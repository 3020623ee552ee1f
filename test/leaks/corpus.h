// What the programs of the corpus share: a table of cases with their truths, and main.
//
// Without arguments a program prints its table, a line a case: name, options for SALVAGE (`-`:
// none) and the truth, tab-separated. With a case's name it does what the case does, as a program
// of its own would, and ends. run.py compares what was reported with the truth, and what the
// program printed and how it ended with a run of the same without the library.
//
// A truth is what a process loses: `direct 3x111` three objects of 111 bytes that nothing leads to,
// `indirect 2x40` reached from lost ones alone, `possible`, `hidden` likewise, `?` for bytes that
// depend on the compiler or on libc, `+` for any number; joined by commas; `child:` before those of
// all forked children together. `none`: no object is lost. `missed`: lost, but held by a word that
// the library keeps for good reasons (docs/leaks.md): nothing is expected of it either way. Direct
// and indirect are always compared; the other classes when named.
//
// The cases are written as programs are: nothing here wipes registers or stacks to help the finder.
#ifndef CORPUS_H
#define CORPUS_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define corpus_noinline __attribute__((noinline))

struct corpus_case {
    const char *name;
    void (*run)(void);
    const char *truth;
    const char *options; // NULL: none
};

// Uses a pointer in a way that the compiler can't see through, so that no allocation is optimised
// away.
static inline void corpus_use(void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

// An object of n bytes, cleared.
static corpus_noinline __attribute__((unused)) void *corpus_make(size_t n)
{
    void *p = malloc(n);
    if (!p)
        abort();
    memset(p, 0, n);
    return p;
}

static inline int corpus_main(int argc, char **argv, const struct corpus_case *cases, size_t n)
{
    if (argc < 2) {
        for (size_t i = 0; i < n; i++)
            printf("%s\t%s\t%s\n", cases[i].name, cases[i].options ? cases[i].options : "-",
                   cases[i].truth);
        return 0;
    }
    for (size_t i = 0; i < n; i++)
        if (strcmp(argv[1], cases[i].name) == 0) {
            cases[i].run();
            return 0;
        }
    fprintf(stderr, "%s: no case %s\n", argv[0], argv[1]);
    return 2;
}

#define CORPUS_MAIN(cases)                                                                         \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        return corpus_main(argc, argv, cases, sizeof(cases) / sizeof(*(cases)));                   \
    }

#endif
