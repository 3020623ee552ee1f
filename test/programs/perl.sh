#!/usr/bin/env bash
# perl: hashes, closures, regular expressions, sorting, ithreads, fork.
. "$(dirname "$0")/lib.sh"
need=(perl)

job() {
    cat >job.pl <<'PL'
use strict; use warnings; use threads; use Thread::Queue; use Digest::SHA qw(sha256_hex);
$| = 1;
my (%count, @order);
for my $i (1 .. 5000) {
    my $w = "word" . ($i * 7919 % 311);
    $count{$w}++ or push @order, $w;
}
my @sorted = sort { $count{$b} <=> $count{$a} || $a cmp $b } @order;
print join(",", map { "$_=$count{$_}" } @sorted[0 .. 9]), "\n";

my @closures = map { my $n = $_; sub { $n += shift; "n$n" } } 1 .. 200;
print sha256_hex(join " ", map { $_->(5), $_->(7) } @closures), "\n";

my $text = join "\n", map { "key$_ = value " . $_ x 3 } 1 .. 500;
my %pairs = $text =~ /^(\w+) = value (\d+)$/mg;
(my $swapped = $text) =~ s/(\w+) = (\w+) (\d+)/$3:$2:$1/g;
print scalar(keys %pairs), " ", sha256_hex($swapped), "\n";

sub tree { my $d = shift; $d ? [tree($d - 1), tree($d - 1), "leaf" x $d] : [] }
sub depth { my $t = shift; @$t ? 1 + depth($t->[0]) : 0 }
for (1 .. 3) { my $t = tree(8); print depth($t), "\n" }

package Guard {
    my $ended = 0;
    sub new { bless {}, shift }
    sub DESTROY { $ended++ }
    sub ended { $ended }
}
for (1 .. 300) { my $a = Guard->new; my $b = Guard->new; $a->{x} = $b }
print "destroyed ", Guard::ended(), "\n";

my ($in, $out) = (Thread::Queue->new, Thread::Queue->new);
my @threads = map { threads->create(sub {
    while (defined(my $n = $in->dequeue)) { $out->enqueue(join ":", $n, sha256_hex("x" x $n)) }
}) } 1 .. 3;
$in->enqueue($_) for 1 .. 100;
$in->end; $_->join for @threads;
print sha256_hex(join "\n", sort map { $out->dequeue } 1 .. 100), "\n";

for my $i (1 .. 5) {
    pipe my $r, my $w;
    my $pid = fork;
    if (!$pid) {
        close $r;
        print $w "child $i ", scalar(map { $_ * $i } 1 .. 1000), "\n";
        close $w;
        exit $i;
    }
    close $w; print <$r>; waitpid $pid, 0; print "status ", $? >> 8, "\n";
}
eval { die { code => 42 } }; print "caught $@->{code}\n";
printf "%s\n", join ",", map { sprintf "%05.2f|%-5s|%x", $_ / 3, $_, $_ * 999 } 1 .. 20;
warn "a warning\n";
exit 3;
PL
    under perl job.pl || :
    lines_make 5000 | under perl -ne 'push @{$h{(split)[1]}}, $_;
        END { print map { scalar(@{$h{$_}}) . " $_\n" } (sort keys %h)[0 .. 20] }'
}

program_run "$@"
