// The programs of this folder once more, for Go's collector: `peers PROGRAM ARGUMENT...`.
//
// Each takes the arguments of the C program of its name and prints the same words, so what is told
// there about what is measured and why isn't repeated here. Go writes its own gctrace lines; as
// their times count from the start of the runtime, so do those of the series, to a millisecond.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/metrics"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

var began = time.Now()

func nowNs() uint64 { return uint64(time.Since(began)) }

func cpuNs() uint64 {
	var use syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &use)
	return uint64(use.Utime.Nano() + use.Stime.Nano())
}

func procRead(path, key string) uint64 {
	text, _ := os.ReadFile(path)
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, key+":") {
			value, _ := strconv.ParseUint(strings.Fields(line)[1], 10, 64)
			return value
		}
	}
	return 0
}

func memory(key string) uint64 { return procRead("/proc/self/status", key) }

// Unlike runtime.ReadMemStats, reading these doesn't stop the world.
func metric(name string) uint64 {
	sample := []metrics.Sample{{Name: name}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

func cycles() uint64 { return metric("/gc/cycles/total:gc-cycles") }

func argument(at int) uint64 {
	if at < len(os.Args) {
		if value, err := strconv.ParseUint(os.Args[at], 10, 64); err == nil {
			return value
		}
	}
	fail("usage: peers PROGRAM ARGUMENT...")
	return 0
}

func fail(what string) {
	fmt.Fprintln(os.Stderr, what)
	os.Exit(1)
}

func randomNext(state *uint64) uint64 {
	x := *state
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	*state = x
	return x
}

// Sixteen buckets to each doubling, as in peer.h.
type times struct {
	max, count uint64
	bucket     [1024]uint64
}

func (t *times) add(ns uint64) {
	at := ns
	for shift := 0; at >= 32; shift++ {
		at >>= 1
		if at < 32 {
			at += uint64(shift+1) * 16
			break
		}
	}
	t.bucket[at]++
	t.count++
	if ns > t.max {
		t.max = ns
	}
}

func (t *times) join(other *times) {
	for i, n := range other.bucket {
		t.bucket[i] += n
	}
	t.count += other.count
	if other.max > t.max {
		t.max = other.max
	}
}

func (t *times) part(part float64) uint64 {
	left := part * float64(t.count)
	at := 0
	for ; at < len(t.bucket)-1; at++ {
		if left -= float64(t.bucket[at]); left <= 0 {
			break
		}
	}
	if at < 32 {
		return uint64(at)
	}
	return uint64(16+at%16) << (at/16 - 1)
}

func summaryPrint(check uint64) {
	fmt.Printf("ms=%.1f cpu_ms=%.1f peak_kib=%d cycles=%d check=%d\n", float64(nowNs())/1e6,
		float64(cpuNs())/1e6, memory("VmHWM"), cycles(), check)
}

// ---- gcbench ----

type bigTree struct {
	left, right   *bigTree
	depth, serial int64
}

var serial int64

func bigNew(depth int, left, right *bigTree) *bigTree {
	serial++
	return &bigTree{left, right, int64(depth), serial}
}

func (t *bigTree) grow(depth int) {
	if depth == 0 {
		return
	}
	t.left = bigNew(depth-1, nil, nil)
	t.right = bigNew(depth-1, nil, nil)
	t.left.grow(depth - 1)
	t.right.grow(depth - 1)
}

func bigMake(depth int) *bigTree {
	if depth == 0 {
		return bigNew(0, nil, nil)
	}
	left := bigMake(depth - 1)
	return bigNew(depth, left, bigMake(depth-1))
}

func (t *bigTree) size() uint64 {
	if t == nil {
		return 0
	}
	return 1 + t.left.size() + t.right.size()
}

func gcbench() {
	depth := int(argument(2))
	bigMake(depth + 2)
	kept := bigNew(depth, nil, nil)
	kept.grow(depth)
	numbers := make([]float64, 500000)
	for i := range numbers {
		numbers[i] = 1 / float64(i+1)
	}
	for d := 4; d <= depth; d += 2 {
		count := ((2 << (depth + 2)) - 1) / ((2 << d) - 1)
		for i := 0; i < count; i++ {
			bigNew(d, nil, nil).grow(d)
		}
		for i := 0; i < count; i++ {
			bigMake(d)
		}
	}
	if kept.size() != (2<<depth)-1 || numbers[999] != 1.0/1000 {
		fail("gcbench: what was kept has changed")
	}
	summaryPrint(uint64(serial))
}

// ---- binarytrees ----

type smallTree struct{ left, right *smallTree }

func smallMake(depth int) *smallTree {
	if depth == 0 {
		return &smallTree{}
	}
	return &smallTree{smallMake(depth - 1), smallMake(depth - 1)}
}

func (t *smallTree) size() uint64 {
	if t.left == nil {
		return 1
	}
	return 1 + t.left.size() + t.right.size()
}

func binarytrees() {
	depth := int(argument(2))
	sum := smallMake(depth + 1).size()
	kept := smallMake(depth)
	for d := 4; d <= depth; d += 2 {
		for i := 0; i < 1<<(depth-d+4); i++ {
			sum += smallMake(d).size()
		}
	}
	sum += kept.size()
	summaryPrint(sum)
}

// ---- drop ----

type size16 [2]uint64
type size64 [8]uint64
type size200 [25]uint64
type size2000 [250]uint64

func dropLoop[T any](steps uint64, sink **T) {
	for i := uint64(0); i < steps; i++ {
		*sink = new(T)
	}
}

func dropSize[T any](size uint64) {
	steps := uint64(1<<30) / size
	if steps > 8000000 {
		steps = 8000000
	}
	for threads := 1; threads <= 2; threads++ {
		var group sync.WaitGroup
		start := nowNs()
		for t := 0; t < threads; t++ {
			group.Add(1)
			go func() {
				dropLoop(steps, new(*T))
				group.Done()
			}()
		}
		group.Wait()
		fmt.Printf("drop.%d.%d=%.2f ", size, threads, float64(nowNs()-start)/float64(steps))
	}
}

func drop() {
	dropSize[size16](16)
	dropSize[size64](64)
	dropSize[size200](200)
	dropSize[size2000](2000)
	fmt.Printf("peak_kib=%d cycles=%d\n", memory("VmHWM"), cycles())
}

// ---- growth ----

type listBlock struct {
	next   *listBlock
	serial uint64
	rest   [224]byte
}

func blockTimed(t *times, sink **listBlock) *listBlock {
	start := nowNs()
	block := &listBlock{}
	*sink = block
	t.add(nowNs() - start)
	return block
}

func growth() {
	mib := argument(2)
	blocks := mib << 20 / 240
	lists := make([]*listBlock, 65536)
	building, dropping := &times{}, [2]times{}
	var sink *listBlock
	start := nowNs()
	for i := uint64(0); i < blocks; i++ {
		block := blockTimed(building, &sink)
		block.serial, block.next = i, lists[i%65536]
		lists[i%65536] = block
	}
	built, cyclesBuilt := nowNs(), cycles()
	var group sync.WaitGroup
	var goalPart [2]float64
	var liveMax [2]uint64
	for t := 0; t < 2; t++ {
		group.Add(1)
		go func(t int) {
			sink := new(*listBlock)
			sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"},
				{Name: "/gc/heap/goal:bytes"}}
			for i := uint64(0); i < blocks*6/2; i++ {
				blockTimed(&dropping[t], sink)
				if i%1024 != 0 {
					continue
				}
				metrics.Read(sample)
				live := sample[0].Value.Uint64()
				if live > liveMax[t] {
					liveMax[t] = live
				}
				part := float64(live) / float64(sample[1].Value.Uint64())
				if part > goalPart[t] {
					goalPart[t] = part
				}
			}
			group.Done()
		}(t)
	}
	group.Wait()
	ended := nowNs()
	dropping[0].join(&dropping[1])
	if goalPart[1] > goalPart[0] {
		goalPart[0] = goalPart[1]
	}
	if liveMax[1] > liveMax[0] {
		liveMax[0] = liveMax[1]
	}
	sum := uint64(0)
	for _, block := range lists {
		for ; block != nil; block = block.next {
			sum += block.serial
		}
	}
	if sum != blocks*(blocks-1)/2 {
		fail("growth: what was built has changed")
	}
	fmt.Printf("build_ms=%.1f build_max_us=%.1f build_p999_ns=%d build_cycles=%d ",
		float64(built-start)/1e6, float64(building.max)/1e3, building.part(0.999), cyclesBuilt)
	fmt.Printf("ms=%.1f max_us=%.1f cycles=%d goal_part=%.3f live_part=%.3f peak_part=%.3f\n",
		float64(ended-built)/1e6, float64(dropping[0].max)/1e3, cycles()-cyclesBuilt, goalPart[0],
		float64(liveMax[0])/float64(mib<<20), float64(memory("VmHWM"))/float64(mib<<10))
}

// ---- threads: goroutines, most of which need no thread ----

func threads() {
	asleep, spinning, count := int(argument(2)), int(argument(3)), int(argument(4))
	var about sync.WaitGroup
	var over atomic.Bool
	end := make(chan struct{})
	var mutex sync.Mutex
	condition := sync.NewCond(&mutex)
	kept := make([][]byte, 4<<20/256)
	for i := range kept {
		kept[i] = make([]byte, 256)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		fail("threads: no pipe")
	}
	for i := 0; i < asleep+spinning; i++ {
		about.Add(1)
		go func(i int) {
			about.Done()
			switch {
			case i >= asleep:
				for !over.Load() {
				}
			case i%4 == 0:
				<-end
			case i%4 == 1:
				mutex.Lock()
				condition.Wait()
				mutex.Unlock()
			case i%4 == 2:
				time.Sleep(time.Minute)
			default:
				reader.Read(make([]byte, 1))
			}
		}(i)
	}
	about.Wait()
	took := make([]uint64, count)
	from := cycles()
	for i := range took {
		start := nowNs()
		runtime.GC()
		took[i] = nowNs() - start
	}
	to := cycles()
	over.Store(true)
	sort.Slice(took, func(a, b int) bool { return took[a] < took[b] })
	fmt.Printf("call_us=%.1f call_max_us=%.1f cycles_from=%d cycles_to=%d eintr=0 kept=1\n",
		float64(took[count/2])/1e3, float64(took[count-1])/1e3, from, to)
	runtime.KeepAlive(kept)
	runtime.KeepAlive(writer)
}

// ---- graph ----

type node struct {
	link    [2]*node
	id      uint64
	payload [4]uint64
}

type ringBlock struct {
	node *node
	rest [248]byte
}

type window struct{ from, to, operations, cycles uint64 }

type worker struct {
	self, threads, operations, random uint64
	spread                            bool
	cursor                            *node
	windows                           []window
	gaps, allocations                 times
}

var (
	root   *node
	nextID uint64
	table  []*node
)

func nodeNew() *node {
	n := &node{id: nextID}
	nextID++
	if table != nil {
		table[n.id] = n
	}
	return n
}

func treeGrow(at **node, count uint64) {
	if count == 0 {
		return
	}
	n := nodeNew()
	*at = n
	treeGrow(&n.link[0], (count-1)/2)
	treeGrow(&n.link[1], count-1-(count-1)/2)
}

func randomBuild(count uint64) {
	state := uint64(88172645463325252)
	table = make([]*node, count)
	treeGrow(&root, count)
	for i := count - 1; i > 0; i-- {
		k := randomNext(&state) % (i + 1)
		table[i], table[k] = table[k], table[i]
	}
	for i := uint64(0); i < count; i++ {
		for k := uint64(0); k < 2; k++ {
			to := 2*i + 1 + k
			if to >= count {
				to = randomNext(&state) % count
			}
			table[i].link[k] = table[to]
		}
	}
	root = table[0]
	table = nil
}

func graphBuild(shape string, count uint64) {
	switch shape {
	case "tree":
		treeGrow(&root, count)
	case "random":
		randomBuild(count)
	case "list":
		for i := uint64(0); i < count; i++ {
			n := nodeNew()
			n.link[0] = root
			root = n
		}
	default:
		fail("graph: a shape is tree, random or list")
	}
}

// The list of what to look at is as long as the heap is wide; it comes after all measurements.
func graphCount() uint64 {
	stack := []*node{root}
	root.payload[0] = 1
	reached := uint64(0)
	for len(stack) > 0 {
		n := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		reached++
		for _, to := range n.link {
			if to != nil && to.payload[0] == 0 {
				to.payload[0] = 1
				stack = append(stack, to)
			}
		}
	}
	return reached
}

func (w *worker) walk() *node {
	for {
		w.cursor = w.cursor.link[randomNext(&w.random)>>32&1]
		if w.cursor == nil {
			w.cursor = root
		}
		if w.cursor.id%w.threads == w.self {
			return w.cursor
		}
	}
}

func (w *worker) far() *node {
	for steps := 12 + randomNext(&w.random)%12; steps > 0; steps-- {
		w.walk()
	}
	return w.cursor
}

func (w *worker) run() {
	w.cursor = root
	set := make([]*node, 4096)
	ring := make([]*ringBlock, 1024)
	for i := range set {
		set[i] = w.far()
	}
	last := nowNs()
	from, first := last, uint64(0)
	for i := uint64(0); i < w.operations; i++ {
		var n *node
		if w.spread {
			n = w.walk()
		} else {
			if i%64 == 0 {
				set[randomNext(&w.random)%4096] = w.far()
			}
			n = set[randomNext(&w.random)%4096]
		}
		n.link[0], n.link[1] = n.link[1], n.link[0]
		before := nowNs()
		block := &ringBlock{}
		after := nowNs()
		block.node = n
		ring[i%1024] = block
		w.allocations.add(after - before)
		w.gaps.add(after - last)
		last = after
		if after-from >= 1000000 {
			w.windows = append(w.windows, window{from, after, i + 1 - first, 0})
			from, first = after, i+1
		}
	}
}

func phaseRun(phase string, garbage uint64, series io.Writer) {
	count := uint64(phase[len(phase)-1] - '0')
	start, from := nowNs(), cycles()
	workers := make([]*worker, count)
	var group sync.WaitGroup
	for t := range workers {
		workers[t] = &worker{self: uint64(t), threads: count, operations: garbage / 256 / count,
			random: 362436069 + uint64(t), spread: strings.HasPrefix(phase, "spread"),
			windows: make([]window, 0, 1<<16)}
		group.Add(1)
		go func(w *worker) {
			w.run()
			group.Done()
		}(workers[t])
	}
	group.Wait()
	took, to := nowNs()-start, cycles()
	fmt.Fprintf(series, "p %s %d\n", phase, start)
	for t, w := range workers {
		for _, o := range w.windows {
			fmt.Fprintf(series, "o %d %d %d\n", o.from, o.to, o.operations)
		}
		if t > 0 {
			workers[0].gaps.join(&w.gaps)
			workers[0].allocations.join(&w.allocations)
		}
	}
	gaps := &workers[0].gaps
	fmt.Printf("%s.ms=%.1f %s.stall_us=%.1f %s.p99_ns=%d %s.p999_ns=%d %s.alloc_us=%.1f ", phase,
		float64(took)/1e6, phase, float64(gaps.max)/1e3, phase, gaps.part(0.99), phase,
		gaps.part(0.999), phase, float64(workers[0].allocations.max)/1e3)
	fmt.Printf("%s.cycles_from=%d %s.cycles_to=%d ", phase, from, phase, to)
}

func collectionsRun() {
	var wall, cpu [3]uint64
	runtime.GC()
	for i := range wall {
		wallStart, cpuStart := nowNs(), cpuNs()
		runtime.GC()
		wall[i], cpu[i] = nowNs()-wallStart, cpuNs()-cpuStart
	}
	sort.Slice(wall[:], func(a, b int) bool { return wall[a] < wall[b] })
	sort.Slice(cpu[:], func(a, b int) bool { return cpu[a] < cpu[b] })
	fmt.Printf("collect_ms=%.1f collect_cpu_ms=%.1f ", float64(wall[1])/1e6, float64(cpu[1])/1e6)
}

func graph() {
	if len(os.Args) < 5 {
		fail("usage: peers graph SHAPE MIB GARBAGE_MIB [PHASE...]")
	}
	count := argument(3) << 20 / 64
	garbage := argument(4) << 20
	series := bufio.NewWriter(io.Discard)
	if path := os.Getenv("BENCH_SERIES"); path != "" {
		file, err := os.Create(path)
		if err != nil {
			fail(err.Error())
		}
		series = bufio.NewWriter(file)
		defer series.Flush()
	}
	graphBuild(os.Args[2], count)
	fmt.Printf("nodes=%d build_ms=%.1f build_cycles=%d ", count, float64(nowNs())/1e6, cycles())
	collectionsRun()
	fmt.Printf("rss_kib=%d huge_kib=%d ", memory("VmRSS"),
		procRead("/proc/self/smaps_rollup", "AnonHugePages"))
	os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	for _, phase := range os.Args[5:] {
		phaseRun(phase, garbage, series)
	}
	fmt.Printf("peak_kib=%d ", memory("VmHWM"))
	fmt.Printf("reached=%d\n", graphCount())
}

func main() {
	programs := map[string]func(){"gcbench": gcbench, "binarytrees": binarytrees, "drop": drop,
		"growth": growth, "threads": threads, "graph": graph}
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fail("usage: peers PROGRAM ARGUMENT...")
	}
	programs[os.Args[1]]()
}
