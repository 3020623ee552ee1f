# Hashes of arrays, splits, joins, substitutions and sorts over generated text.
use strict;
use warnings;

my $seed = 42;
sub roll { $seed = ($seed * 1103515245 + 12345) % 2147483648; return int($seed / 65536) % $_[0]; }

my $total = 0;
for my $turn (1 .. 8) {
    my %index;
    for my $line (1 .. 6000) {
        my $text = join ' ', map { chr(97 + roll(26)) x (1 + roll(6)) . roll(100) } 1 .. 10;
        $text =~ s/(\w)(\d+)/$2$1/g;
        push @{ $index{$_} }, { line => $line, at => length } for split / /, $text;
    }
    for my $word (sort keys %index) {
        $total += scalar(@{ $index{$word} }) * length $word;
    }
    my @sorted = sort { @{ $index{$b} } <=> @{ $index{$a} } || $a cmp $b } keys %index;
    print "$turn $total $sorted[0] $sorted[-1]\n";
}
