#!/usr/bin/env bash
# poke: types, arrays, functions, strings, exceptions of its language.
. "$(dirname "$0")/lib.sh"
need=(poke)
client=/usr/bin/poke
opts=stress=1024,checkmark=1,clobber=1

job() {
    cat >job.pk <<'PK'
type P = struct { int<32> x; int<32> y; uint<8>[4] z; };
var a = P[100]();
var s = 0;
for (var i = 0; i < 100; i++) { a[i].x = i * i; a[i].y = -i; }
for (p in a) s = s + p.x + p.y;
printf "%i32d\n", s;
fun fact = (uint<64> n) uint<64>: { if (n == 0) return 1; else return n * fact (n - 1); }
printf "%u64d\n", fact (20);
var str = "";
for (var i = 0; i < 500; i++) str = str + "ab";
printf "%u64d\n", str'length;
printf "%v\n", a[7];
try { raise E_elem; } catch if E_elem { print "caught\n"; }

fun sieve = (int<32> n) int<32>:
{
  var a = int<32>[10000]();
  var c = 0;
  for (var i = 2; i < n; i++)
  {
    if (a[i] == 0)
    {
      c = c + 1;
      for (var k = i; k < n; k = k + i) a[k] = 1;
    }
  }
  return c;
}
printf "%i32d\n", sieve (5000);
var s2 = "";
for (var i = 0; i < 3000; i++) s2 = ltos (i) + "x";
printf "%s\n", s2;
PK
    under poke -q -L job.pk
}

program_run "$@"
