#!/usr/bin/env bash
# crystal: its compiler makes a program, which collects, finalizes and switches between fibers.
. "$(dirname "$0")/lib.sh"
need=(crystal gcc libc6-dev libgc-dev libevent-dev libpcre3-dev libgmp-dev)
client=/usr/bin/crystal
opts=stress=256,checkmark=1,clobber=1
limit=600

job() {
    cat >job.cr <<'CR'
require "big"
require "weak_ref"
puts "hello"
class Node
  property left : Node?
  property right : Node?
  def self.make(d) : Node
    n = Node.new
    if d > 0
      n.left = make(d - 1)
      n.right = make(d - 1)
    end
    n
  end
  def count : Int32
    1 + (left.try(&.count) || 0) + (right.try(&.count) || 0)
  end
end
class Ended
  @@count = 0
  def self.count
    @@count
  end
  def finalize
    @@count += 1
  end
end
keep = Node.make(14)
sum = 0
40.times { sum += Node.make(12).count }
GC.collect
puts sum, keep.count
1000.times { Ended.new }
3.times { GC.collect }
puts Ended.count > 500
h = Hash(String, Array(Int32)).new { |hash, k| hash[k] = [] of Int32 }
50000.times { |i| h["k#{i * 7919 % 5003}"] << i }
GC.collect
puts h.size, h["k17"].size, h.values.map(&.sum.to_i64).sum
ch = Channel(Int32).new
20.times { |i| spawn { 50.times { |k| ch.send(Array.new(20) { |j| i + j + k }.sum); Fiber.yield } } }
total = 0
1000.times { |i| total += ch.receive; GC.collect if i % 100 == 0 }
puts total
s = String.build { |io| 20000.times { |i| io << "line " << i << '\n' } }
puts s.size, s.lines.size
ref = WeakRef.new(Node.new)
puts (1..2000).reduce(1.to_big_i) { |a, b| a * b }.to_s.size rescue puts "none"
Process.run("echo", ["child"], output: Process::Redirect::Inherit)
exit 3
CR
    export CRYSTAL_CACHE_DIR=$WORK/cache
    under crystal build --no-color --no-debug --threads 1 -o job job.cr
    under ./job || :
}

program_run "$@"
