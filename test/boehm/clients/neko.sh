#!/usr/bin/env bash
# neko: its compiler, then trees, tables, text, lists, objects and threads.
. "$(dirname "$0")/lib.sh"
need=(neko)
client=/usr/bin/neko

job() {
    cat >job.neko <<'NEKO'
gc = $loader.loadprim("std@run_gc", 1);
tree = function(d) { if (d == 0) null else $array(tree(d - 1), tree(d - 1)) };
leaves = function(t) { if (t == null) 1 else leaves(t[0]) + leaves(t[1]) };
var i = 0;
var sum = 0;
while (i < 10) { sum += leaves(tree(12)); gc(true); i += 1; }
$print("trees ", sum, "\n");
var h = $hnew(0);
i = 0;
while (i < 20000) { $hset(h, i % 5003, $array(i, "v" + i), null); i += 1; }
gc(true);
i = 0;
sum = 0;
while (i < 5003) { sum += $hget(h, i, null)[0]; i += 1; }
$print("hash ", $hcount(h), " ", sum, " ", $hget(h, 77, null)[1], "\n");
var buf = $loader.loadprim("std@buffer_new", 0)();
var add = $loader.loadprim("std@buffer_add", 2);
i = 0;
while (i < 20000) { add(buf, "line " + i + "\n"); i += 1; }
var text = $loader.loadprim("std@buffer_string", 1)(buf);
$print("text ", $ssize(text), "\n");
var list = null;
i = 0;
while (i < 100000) { list = $array(i, list); i += 1; }
gc(false);
sum = 0;
while (list != null) { sum = (sum + list[0]) % 1000003; list = list[1]; }
$print("list ", sum, "\n");
var o = $new(null);
o.name = "object";
o.next = $new(o);
gc(true);
$print(o.next.name, " ", $asize($objfields(o)), "\n");
var create = $loader.loadprim("std@thread_create", 2);
var queue = $loader.loadprim("std@deque_create", 0)();
var push = $loader.loadprim("std@deque_add", 2);
var pop = $loader.loadprim("std@deque_pop", 2);
i = 0;
while (i < 3) {
    create(function(p) {
        var k = 0;
        var s = 0;
        while (k < 10) { s += leaves(tree(9)); k += 1; }
        push(queue, s);
    }, 0);
    i += 1;
}
i = 0;
sum = 0;
while (i < 3) { sum += pop(queue, true); i += 1; }
$print("threads ", sum, "\n");
try { $throw("thrown") } catch e { $print("caught ", e, "\n") }
$throw("at the end");
NEKO
    under nekoc job.neko
    under neko job.n || :
}

program_run "$@"
