# Structs, hashes, symbols, string edits and sorts.
Record = Struct.new(:id, :name, :tags)

rng = Random.new(7)
total = 0
25.times do |turn|
  records = Array.new(15_000) do |i|
    Record.new(i, "name-#{rng.rand(10_000)}", Array.new(rng.rand(6)) { "tag#{rng.rand(100)}" })
  end
  groups = records.group_by { |r| r.name[-2..] }
  index = Hash.new { |h, k| h[k] = [] }
  records.each { |r| r.tags.each { |t| index[t] << r.id } }
  text = records.map { |r| "#{r.id}:#{r.name}:#{r.tags.join(',')}" }.join("\n")
  total += text.gsub(/name-(\d+)/) { $1.rjust(6, "0") }.lines.sort_by(&:size).last.size
  total += groups.sum { |_, v| v.size } + index.sort.sum { |_, v| v.size }
  puts "#{turn} #{total} #{text.size}"
end
