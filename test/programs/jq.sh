#!/usr/bin/env bash
# jq: parsing, grouping, paths, regular expressions, recursion, streaming, errors; and the ltrimstr
# loop on which jq 1.6 loses memory.
. "$(dirname "$0")/lib.sh"
need=(jq)

job() {
    lines_make 1500 |
        under jq -cRn '[inputs | split(" ") | {n: (.[0] | tonumber), w: .[1], x: .[2]}]' >data.json
    cksum <data.json
    under jq -c 'group_by(.w) | map({w: .[0].w, c: length, s: (map(.n) | add)})
        | sort_by(.c, .w) | .[:10]' data.json
    under jq '[.[] | select(.x | test("^[0-9]+[a-f]")) | .x |= ascii_upcase]
        | length, .[3]' data.json
    under jq -c '[paths(type == "number")] | length' data.json
    under jq -c 'tostream | select(length == 2) | .[1]' data.json | cksum
    under jq -nc 'def fib: if . < 2 then . else (. - 1 | fib) + (. - 2 | fib) end;
        [range(15) | fib]'
    under jq -nc '[limit(10; repeat("x" * 20))] | map(length) | add'
    under jq -c 'to_entries | map(select(.key % 100 == 0)) | from_entries? // "no"' data.json
    under jq -r '.[:20][] | [.n, .w, .x] | @csv, @sh, @base64, @uri' data.json | cksum
    under jq -nc 'reduce range(2000) as $i ({}; .["k\($i % 50)"] += $i)'
    yes '{"a":["bbbbbbbbbbbbbbbbbbb"]}' 2>/dev/null | head -n 3000 |
        under jq -c '.a | ltrimstr("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")' | cksum || :
    echo '{"a":' | under jq . || :
    echo '{"a":1}' | under jq '.a.b' || :
    under jq -n '"status" | halt_error(3)' || :
}

program_run "$@"
