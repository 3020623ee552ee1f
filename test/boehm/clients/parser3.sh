#!/usr/bin/env bash
# parser3: hashes, tables, strings, regular expressions, exceptions of a page.
. "$(dirname "$0")/lib.sh"
need=(parser3-cgi)
client=/usr/lib/cgi-bin/parser3

job() {
    cat >page.p <<'P'
@main[]
$h[^hash::create[]]
^for[i](1;2000){$h.[k$i](^eval($i*$i))}
$sum(0)
^h.foreach[k;v]{^sum.inc($v)}
sum $sum
$t[^table::create{a	b
^for[i](1;500){$i	word$i
}}]
^t.sort($t.a)[desc]
^t.menu{$t.a:$t.b }
$s[some text here]
^s.match[t(.)][g]{<$match.1>}
^math:md5[abc]
^try{^throw[my.type;source;comment]}{$exception.handled(1) caught $exception.type}
^for[i](1;300){$line[^for[k](1;40){^eval($i+$k) }]$h.[line$i][$line]}
^eval(^h._count[])
P
    under parser3 page.p
    echo '@main[]
^nothing[' >bad.p
    under parser3 bad.p 2>/dev/null || :
}

program_run "$@"
