#!/usr/bin/env bash
# asymptote: structures, sorting, paths and fills drawn to EPS.
. "$(dirname "$0")/lib.sh"
need=(asymptote)
client=/usr/bin/asy

job() {
    cat >job.asy <<'ASY'
size(10cm);
path[] all;
for(int i=0;i<400;++i){ path p=circle((i%20,i#20),0.3+0.001*i); all.push(p); fill(p,hsv(i*0.9,0.6,0.9)); }
string[] words; for(int i=0;i<20000;++i) words.push(string(i*7919%997));
write(words.length); write(sort(words)[100]);
struct node{node next; int v;} node head; for(int i=0;i<20000;++i){node n=new node; n.next=head; n.v=i; head=n;}
int s=0; for(node n=head;n!=null;n=n.next) s+=n.v; write(s);
draw(intersectionpoint(circle((0,0),1),(0,0)--(2,2)));
draw(box((0,0),(20,20)),linewidth(2));

import graph;
real f(real x) { return sin(x) * exp(-x / 10); }
draw(graph(f, 0, 20, 500), red);
import three;
triple[] points;
for (int i = 0; i < 200; ++i)
    points.push((cos(i / 10), sin(i / 10), i / 100));
write(points[100]);
ASY
    under asy -f eps -noV job.asy
    grep -v CreationDate job.eps | sha256sum
    wc -l job.eps
    echo 'nothing();' >bad.asy
    under asy -f eps -noV bad.asy || :
}

program_run "$@"
