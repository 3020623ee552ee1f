#!/usr/bin/env bash
# memcached with four threads: load from four clients at once, a fixed script of the text protocol,
# libmemcached's copy tools, evictions in a small cache.
. "$(dirname "$0")/lib.sh"
need=(memcached libmemcached-tools perl)

job() {
    local port i
    port=$(port_free)
    cat >client.pl <<'PL'
use IO::Socket::INET; use Digest::SHA qw(sha256_hex);
my ($port, $what, $n) = @ARGV;
my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port") or exit 1;
sub ask { my ($q, $end) = @_; print $s $q; my $r = "";
    while (defined(my $l = <$s>)) { $r .= $l; last if $l =~ /^(?:$end)/ } $r }
if ($what eq "ping") { exit(ask("version\r\n", "VERSION") !~ /VERSION/) }
if ($what eq "load") {
    for my $i (1 .. 2000) {
        my $v = "v$n-" x ($i % 100);
        my $set = sprintf("set c%d-%d 0 0 %d\r\n%s\r\n", $n, $i % 200, length $v, $v);
        ask($set, "STORED") =~ /STORED/ or die;
        ask(sprintf("get c%d-%d\r\n", $n, $i * 7 % 200), "END");
    }
    print "client $n ", sha256_hex(join "", map { ask("get c$n-$_\r\n", "END") } 0 .. 199), "\n";
} else {
    my $end = "END|STORED|NOT_|EXISTS|DELETED|ERROR|CLIENT|OK|\\d+|TOUCHED|VA|EN|HD|NS";
    print ask($_ . "\r\n", $end) for
        "set a 5 0 3\r\nabc", "get a", "append a 0 0 3\r\ndef", "get a",
        "add a 0 0 1\r\nx", "replace b 0 0 1\r\nx",
        "set n 0 0 2\r\n10", "incr n 32", "decr n 100", "delete a", "get a", "touch n 0", "nosuch",
        "set big 0 0 2000000\r\n" . ("x" x 2000000), "get big", "flush_all", "get n";
}
PL
    server_start memcached -u nobody -l 127.0.0.1 -p "$port" -U 0 -m 64 -t 4
    server_await perl client.pl "$port" ping
    local pids=()
    for i in 1 2 3 4; do perl client.pl "$port" load $i >"out$i" & pids+=($!); done
    for i in "${pids[@]}"; do wait "$i"; done
    cat out?
    perl client.pl "$port" script | tr -d '\r'
    for i in 1 2 3; do lines_make $((i * 100)) >"file$i"; done
    under memccp --servers="127.0.0.1:$port" file1 file2 file3
    under memccat --servers="127.0.0.1:$port" file1 file2 file3 | cksum
    under memcrm --servers="127.0.0.1:$port" file2
    under memcexist --servers="127.0.0.1:$port" file2 || :
    server_stop
}

program_run "$@"
