#!/usr/bin/env bash
# Macaulay2: Groebner bases, resolutions, factors, big integers, a collection asked for.
. "$(dirname "$0")/lib.sh"
need=(macaulay2)
client=/usr/bin/M2-binary
limit=600

job() {
    cat >job.m2 <<'M2'
R = ZZ/101[a..f]
I = ideal(a^2*b-c^3, b^2*c-d^3+e*f*a, a*c*e-b*d*f)
print degree I
print betti res I
J = minors(2, matrix{{a,b,c},{d,e,f}})
print toString gens gb J
print factor (2^61-2)
print sum toList apply(10000, i -> i^2)
collectGarbage()
print (# unique toList apply(20000, i -> (i*7919) % 10007))
T = QQ[x,y,z]
print toString (ideal(x^2-y, y^2-z) : ideal(x))
print (length toString toList apply(500, i -> i! % 1000003))
print toString det matrix table(6, 6, (i,j) -> (i*7 + j*j*3) % 11)
exit 3
M2
    under M2 --script job.m2 || :
}

program_run "$@"
