#!/usr/bin/env bash
# tclsh: lists, dictionaries, regular expressions, interpreters, coroutines, namespaces, events,
# channels, big numbers, errors. Tcl holds much of its heap by interior pointers alone.
. "$(dirname "$0")/lib.sh"
need=(tcl)

job() {
    cat >job.tcl <<'TCL'
for {set i 0} {$i < 3000} {incr i} {
    dict incr count word[expr {$i * 7919 % 97}]
    lappend list [list $i [string repeat x [expr {$i % 40}]]]
}
puts [lrange [lsort -stride 2 $count] 0 19]
puts [llength $list]:[string length $list]:[lindex $list 1234]
puts [lrange [lsort -integer -decreasing -index 0 $list] 0 2]
proc fib n { expr {$n < 2 ? $n : [fib [expr {$n - 1}]] + [fib [expr {$n - 2}]]} }
puts [fib 14]
puts [regexp -all -inline {(\w+)=(\d+)} "a=1 bb=22 ccc=333"]
puts [regsub -all {([a-z])(\d)} [string repeat "a1b2" 50] {\2\1}]
foreach i {1 2 3 4 5} {
    set in [interp create]
    puts [$in eval {
        set s 0
        for {set i 0} {$i < 200} {incr i} {incr s [string length [info commands]]}
        expr {$s > 0}
    }]
    interp delete $in
}
proc generate n {
    yield
    for {set i 0} {$i < $n} {incr i} { yield [string repeat $i 3] }
    return end
}
coroutine g generate 50
set out {}
while {[set v [g]] ne "end"} { lappend out $v }
puts $out
namespace eval counter { variable n 0; proc next {} { variable n; incr n }; namespace export next }
for {set i 0} {$i < 100} {incr i} { counter::next }
puts $counter::n
oo::class create Stack { variable s; constructor {} { set s {} }; method push x { lappend s $x }
    method pop {} { set x [lindex $s end]; set s [lrange $s 0 end-1]; return $x } }
set s [Stack new]; for {set i 0} {$i < 300} {incr i} { $s push [list $i $i] }
puts "[$s pop] [$s pop]"; $s destroy
puts [expr {2 ** 500}]
set f [open data w]; fconfigure $f -encoding utf-8
puts $f [string repeat "h\u00e9llo\n" 500]; close $f
set f [open data]; set data [read $f]; close $f
puts "[string length $data] [llength [split $data \n]]"
set ticks 0
proc tick {} { global ticks done; if {[incr ticks] == 20} { set done 1 } else { after 1 tick } }
after 1 tick; vwait done; puts "ticks $ticks"
set p [open "|echo from a pipe"]; puts [read $p]; close $p
trace add variable x write {apply {{args} {puts "traced $args"}}}; set x 1
puts [clock format 86400 -gmt 1 -format "%Y-%m-%d %H:%M:%S"]
puts [binary encode hex [zlib deflate [string repeat abc 1000]]]
catch {error "an error" info CODE} m o; puts "$m [dict get $o -errorcode]"
nosuchcommand 1 2
TCL
    under tclsh job.tcl || :
}

program_run "$@"
