#!/usr/bin/env bash
# bash: arrays, functions, traps, subshells, pipes, here documents, pattern and regular-expression
# matching, process substitution, error messages.
. "$(dirname "$0")/lib.sh"
need=(bash)

job() {
    cat >job.bash <<'SH'
declare -A count
list=()
for ((i = 0; i < 2000; i++)); do
    w=word$((i * 7919 % 97))
    count[$w]=$((${count[$w]:-0} + 1))
    list+=("$w:$i")
done
for w in "${!count[@]}"; do echo "$w ${count[$w]}"; done | sort | head -n 20
echo "${#list[@]} ${list[@]:100:5} ${list[-1]}"

fib() {
    local n=$1
    ((n < 2)) && { echo $n; return; }
    echo $(($(fib $((n - 1))) + $(fib $((n - 2)))))
}
fib 9

text=
for i in {1..300}; do text+="item $i, "; done
echo "${#text} ${text//item/x}" | cksum
IFS=, read -ra parts <<<"$text"
echo "${#parts[@]} ${parts[17]^^}"

[[ "key=value;other=thing" =~ ([a-z]+)=([a-z]+)\;([a-z]+) ]] && echo "${BASH_REMATCH[@]}"
while read -r a b; do
    sum=$((sum + a)); last=$b
done < <(for i in {1..500}; do echo "$i line$i"; done)
echo "$sum $last"
mapfile -t lines < <(seq 1 1000)
echo "${#lines[@]} ${lines[999]}"
printf '%s|%5d|%-8s|%q\n' a 42 left "it's" b 7 right 'x y'
trap 'echo caught USR1' USR1
kill -USR1 $$
trap 'echo leaving with $?' EXIT
( exit 7 ); echo "subshell $?"
for i in 1 2 3 4 5; do (echo "job $i" >job.$i; exit $i) & pids+=($!); done
for p in "${pids[@]}"; do wait "$p"; echo "waited $?"; done
cat job.{1..5}
coproc { while read -r l; do echo "echo:$l"; done; }
echo hello >&"${COPROC[1]}"; read -r l <&"${COPROC[0]}"; echo "$l"
exec {fd}>&"${COPROC[1]}"; eval "exec ${COPROC[1]}>&-" ; exec {fd}>&-; wait 2>/dev/null
cat <<END
$(date -u -d @0 +%F) $((1 << 40)) ${undefined:-default}
END
eval 'f() { echo "evaluated $*"; }'; f 1 2 3
no_such_command_here
echo $((1 / 0))
exit 9
SH
    under bash job.bash || :
}

program_run "$@"
