#!/usr/bin/env bash
# gdb in batch mode on a small program: symbols, breakpoints, backtrace, variables, its own python,
# a watchpoint. The debugger runs under the library, the program debugged doesn't.
. "$(dirname "$0")/lib.sh"
need=(gdb gcc libc6-dev)
opts=stress=128,checkmark=1,clobber=1

# Process numbers, and the dot line that gdb prints when it reads symbols for long.
normal() {
    sed -E -e 's/process [0-9]+/process N/g' -e 's/0x[0-9a-f]{8,}/ADDRESS/g' \
        -e '/debuginfod|libthread_db/d'
}

job() {
    cat >job.c <<'C'
#include <stdio.h>
#include <stdlib.h>
struct node {
    int value;
    struct node *next;
};
static int total;
static int list_sum(const struct node *n) {
    if (!n)
        return 0;
    total += n->value;
    return n->value + list_sum(n->next);
}
int main(void) {
    struct node *head = NULL;
    for (int i = 1; i <= 10; i++) {
        struct node *n = malloc(sizeof *n);
        n->value = i;
        n->next = head;
        head = n;
    }
    printf("%d\n", list_sum(head));
    return total == 55 ? 0 : 1;
}
C
    gcc -g -O0 job.c -o job
    cat >job.gdb <<'GDB'
set exec-wrapper env -u LD_PRELOAD -u SALVAGE
set width 0
set pagination off
set debuginfod enabled off
break list_sum if n && n->value == 3
run
bt
info locals
up 3
info args
print *n
print $_siginfo
watch total
continue
continue
delete
python
import gdb
names = [s.name for s in gdb.lookup_global_symbol("main").symtab.global_block()]
print(sorted(names), gdb.parse_and_eval("total"))
for i in range(300):
    gdb.execute("info line list_sum", to_string=True)
end
ptype struct node
disassemble main
info functions list_
continue
info breakpoints
print nothing
GDB
    under gdb -nx -q -batch -x job.gdb ./job || :
}

program_run "$@"
