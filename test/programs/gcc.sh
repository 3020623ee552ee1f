#!/usr/bin/env bash
# gcc: a generated C file at -O2 with debug information (cc1, as, ld), the object code compared, the
# result run; diagnostics of a faulty file.
. "$(dirname "$0")/lib.sh"
need=(gcc libc6-dev)
opts=stress=16,checkmark=1,clobber=1

job() {
    local i
    {
        echo '#include <stdio.h>'
        echo '#include <stdlib.h>'
        echo '#include <string.h>'
        for i in $(seq 1 25); do
            cat <<C
struct s$i { int a; double b; struct s$i *next; char name[$i]; };
static int f$i(struct s$i *p, int n) {
    int sum = 0;
    for (; p; p = p->next) {
        for (int k = 0; k < n; k++) sum += p->a * k + (int)p->b;
        switch (sum % 7) { case 0: sum += $i; break; case 1: sum ^= $i; break; case 3: sum -= n; }
    }
    return sum;
}
int g$i(int n) {
    struct s$i *head = NULL;
    for (int k = 0; k < n; k++) {
        struct s$i *p = calloc(1, sizeof *p);
        p->a = k; p->b = k / 3.0; p->next = head; p->name[0] = (char)k; head = p;
    }
    return f$i(head, n);
}
C
        done
        echo 'int main(void) { int s = 0;'
        for i in $(seq 1 25); do echo "s += g$i($i);"; done
        echo 'printf("%d\n", s); return 0; }'
    } >job.c
    under gcc -O2 -g -Wall -S job.c -o job.s
    cksum <job.s
    under gcc -O2 -g -flto -Wall job.c -o job
    ./job
    under gcc -O0 -c job.c -o job.o
    cksum <job.o
    cat >wrong.c <<'C'
#include <stdio.h>
int main(void) {
    int unused = "text";
    printf("%d %s\n", 1.5);
    return undeclared + 1
}
C
    under gcc -Wall -Wextra -c wrong.c || :
    under gcc -no-such-option wrong.c || :
}

program_run "$@"
