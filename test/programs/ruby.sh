#!/usr/bin/env bash
# ruby: hashes, blocks, fibers, threads, its own collector (also compacting), regular expressions,
# Marshal, zlib, big numbers, exceptions. Ruby's own heap and fiber stacks are its mmap'ed memory.
. "$(dirname "$0")/lib.sh"
need=(ruby)

job() {
    cat >job.rb <<'RB'
require "json"
# Both before the threads: the first use of a digest class loads it, which races in Ruby itself.
require "digest/md5"
require "digest/sha2"
require "set"
require "zlib"
$stdout.sync = true
count = Hash.new(0)
5000.times { |i| count["word#{i * 7919 % 311}"] += 1 }
puts count.sort_by { |k, v| [-v, k] }.first(10).inspect
def tree(d) = d.zero? ? nil : { "l" => tree(d - 1), "r" => tree(d - 1), "s" => "x" * d }
text = JSON.generate(tree(8))
puts text.size, JSON.parse(text) == tree(8), Digest::SHA256.hexdigest(text)
20.times { GC.start if _1 % 5 == 0; tree(8) }
GC.compact if GC.respond_to?(:compact)
fibers = (1..50).map { |n| Fiber.new { 5.times { |i| Fiber.yield "f#{n}-#{i}" * n }; nil } }
sizes = []
while (live = fibers.select(&:alive?)).any?
  live.each { |f| s = f.resume; sizes << s.size if s }
end
puts sizes.sum
squares = Enumerator.new { |y| n = 0; loop { y << n * n; n += 1 } }
puts squares.lazy.select(&:even?).first(10).inspect
queue, out = Queue.new, Queue.new
threads = 4.times.map do
  Thread.new { while (n = queue.pop) do out << [n, Digest::MD5.hexdigest("x" * n)] end }
end
200.times { |n| queue << n }
threads.size.times { queue << nil }
threads.each(&:join)
puts Digest::SHA256.hexdigest(Array.new(out.size) { out.pop }.sort.inspect)
puts ("a1 b22 c333 " * 20).gsub(/([a-z])(\d+)/) { "#$2#$1" }.scan(/\d+/).map(&:to_i).sum
puts Marshal.load(Marshal.dump(tree(6))) == tree(6)
puts Zlib::Inflate.inflate(Zlib::Deflate.deflate("hello " * 10000)).size
puts (3**2000).to_s.size, (1..200).inject(:*).digits.sum
S = Struct.new(:a, :b)
puts (1..300).map { |i| S.new(i, i.to_s) }.to_set.size
puts `echo from a shell`, $?.exitstatus
r, w = IO.pipe
pid = fork { r.close; w.puts tree(5).to_json.size; w.close; exit!(4) }
w.close
puts r.read
Process.wait(pid)
puts $?.exitstatus
ObjectSpace.each_object(Class).count.positive? and puts "classes"
begin; raise ArgumentError, "x"; rescue => e; puts e.full_message(highlight: false).lines.size; end
at_exit { puts "leaving" }
warn "a warning"
raise "at the end"
RB
    under ruby job.rb || :
}

program_run "$@"
