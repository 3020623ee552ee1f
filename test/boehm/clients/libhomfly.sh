#!/usr/bin/env bash
# libhomfly: HOMFLY polynomials of braids, by a program that is compiled against it.
. "$(dirname "$0")/lib.sh"
need=(libhomfly-dev gcc libc6-dev)
client=/usr/lib/x86_64-linux-gnu/libhomfly.so.0

job() {
    cat >job.c <<'C'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
char *homfly_str(char *argv);
int main(void)
{
    char *trefoil = strdup(" 1 6 0 1 1 -1 2 1 0 -1 1 1 2 -1 0 1 1 1 2 1");
    for (int i = 0; i < 200; i++) {
        char *answer = homfly_str(trefoil);
        if (i == 199)
            puts(answer);
    }
}
C
    gcc -w -o job job.c -lhomfly
    under ./job
}

program_run "$@"
