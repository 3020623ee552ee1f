#!/usr/bin/env bash
# vim in ex mode: many buffers, substitutions, undo, lists and dictionaries with cycles, syntax,
# sort, a filter through a shell.
. "$(dirname "$0")/lib.sh"
need=(vim)
opts=stress=32,checkmark=1,clobber=1

job() {
    lines_make 2000 >data
    cat >job.vim <<'VIM'
set nocompatible nomore undolevels=200 hidden
edit data
%s/word\(\d\+\)/\1word/g
for i in range(1, 60)
    execute (i * 13) . ',' . (i * 13 + 9) . 'd'
    normal! Gp
endfor
for i in range(20) | silent undo | endfor
for i in range(10) | silent redo | endfor
sort /word/
g/^1.*7$/normal! A tail
silent %!tr a-f A-F
write! out1
let tally = {}
for line in getline(1, '$')
    let k = matchstr(line, '\d\+WorD\|\d\+worD')
    let tally[k] = get(tally, k, 0) + 1
endfor
let keys = sort(items(tally), {a, b -> a[1] == b[1] ? (a[0] < b[0] ? -1 : 1) : b[1] - a[1]})
for i in range(300)
    let a = {'i': i} | let b = {'a': a, 'l': range(20)} | let a.b = b
endfor
call garbagecollect()
enew
call setline(1, map(keys[:20], {_, v -> v[0] . ' ' . v[1]}))
call append('$', [string(json_decode(json_encode({'a': [1, 2, {'b': v:null}]}))), sha256('text')])
write! out2
for i in range(30)
    execute 'edit buffer' . i
    call setline(1, repeat(['line ' . i], 50))
endfor
silent bufdo! %s/line/row/
silent! wall
edit job.c
call setline(1, ['int main(void) {', 'return 0;', '}'])
set cindent shiftwidth=4 filetype=c
silent! syntax on
normal! gg=G
write! out3
let v:errmsg = ''
silent! nosuchcommand
call writefile([v:errmsg, synIDattr(synID(1, 1, 1), 'name'), bufnr('$')], 'out4')
cquit 3
VIM
    under vim -u NONE -i NONE -n -es -S job.vim || :
    cksum <out1
    cat out2 out3 out4 buffer7
}

program_run "$@"
