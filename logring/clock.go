package logring

import (
	"math/bits"
	"time"
)

// The merge key of a record is a time of the machine's monotonic clock, which no
// setting of the wall clock moves and which all processes of the machine share:
// ticks of the time stamp counter where the kernel's own clock is made of them, a third of
// the price of a clock call ([ticksTrusted]), else CLOCK_MONOTONIC in nanoseconds, which a record of
// slog brings in its time. The collector converts ([tickClock]).
//
// All records of a worker have their keys from one of the two. Two clocks agree to some
// hundred nanoseconds only, and a goroutine's next record may follow in another
// lane within fifty.

// origin is a moment as Go's clock and as CLOCK_MONOTONIC had it.
var origin = func() (s struct {
	time time.Time
	mono int64
}) {
	// The two are read one after the other. Of several tries the one with the
	// shortest time between counts: the others were interrupted.
	best := time.Duration(1 << 62)
	for range 8 {
		before := time.Now()
		mono := systemMonotonic()
		if d := time.Since(before); d < best {
			best, s.time, s.mono = d, before, mono-int64(d)/2
		}
	}
	return s
}()

// monotonic returns CLOCK_MONOTONIC in nanoseconds.
func monotonic() int64 { return int64(time.Since(origin.time)) + origin.mono }

// monotonicOf returns what the monotonic clock showed at t. A time without a
// monotonic reading (one that was made, not taken) counts as now.
func monotonicOf(t time.Time) int64 {
	if t == t.Round(0) { // which takes the reading away, if there is one
		return monotonic()
	}
	return int64(t.Sub(origin.time)) + origin.mono
}

// A tickClock converts ticks of the time stamp counter to CLOCK_MONOTONIC, by a chain
// of lines that is never broken: a later tick is never an earlier time, whenever the
// two are converted. A new reading of both clocks does not move the line, it bends it,
// so that it meets the other clock at the next reading. (As adjtime does to a clock.)
type tickClock struct {
	line
	wall int64 // of the wall clock at the line's beginning, for who reads a segment left behind

	last   reading // the latest
	period int64   // ns from there to the next one
	older  [8]line // those before, the youngest first
}

// A line is in force from its beginning to that of its successor.
type line struct {
	ticks uint64
	mono  int64
	slope uint64 // ns per tick << 32; 0: none
}

func (l *line) at(ticks uint64) int64 {
	d := int64(ticks - l.ticks)
	neg := d < 0
	if neg {
		d = -d
	}
	hi, lo := bits.Mul64(uint64(d), l.slope)
	ns := int64(hi<<32 | lo>>32)
	if neg {
		ns = -ns
	}
	return l.mono + ns
}

// A reading is what both clocks showed at one moment.
type reading struct {
	ticks uint64
	mono  int64
	width uint64 // ticks between the two looks around the moment
}

// readBoth takes both clocks, as often as it takes to do so without an interruption.
func readBoth() (best reading) {
	best.width = ^uint64(0)
	for range 64 {
		t0 := rdtsc()
		mono := monotonic()
		if d := rdtsc() - t0; d < best.width {
			best = reading{ticks: t0 + d/2, mono: mono, width: d}
		}
		if best.width < 1000 { // a third of a microsecond; undisturbed it is a fifth of that
			break
		}
	}
	return best
}

const (
	// clockSkew is how far keys and the collector's clock may disagree, in ns: what
	// both sides read a clock's offset with, and the bends, many times over.
	clockSkew = 10_000

	// The first line comes from two readings minBase apart, whose error is some 20 ns;
	// then the readings are firstPeriod apart, twice as far each time, up to
	// clockPeriod. In ns.
	minBase     = 100_000
	firstPeriod = int64(time.Millisecond)
	clockPeriod = int64(time.Second)

	// maxBend is by how much a line may be off and still be bent. More is another
	// world: the machine was suspended, or moved to another one.
	maxBend = int64(time.Millisecond)

	// freeBend is more than two readings differ by.
	freeBend = 500
)

// begin makes the first line.
func (k *tickClock) begin() {
	k.wall = time.Now().UnixNano()
	k.mono = monotonic()
	k.last.mono, k.period = k.mono, clockPeriod
	if !ticksTrusted() {
		return
	}
	first := readBoth()
	second := readBoth()
	for second.mono-first.mono < minBase || second.ticks <= first.ticks {
		second = readBoth()
	}
	k.period = 0
	k.restart(first, second)
}

// restart makes a line of its own through two readings, for all ticks.
func (k *tickClock) restart(from, to reading) {
	k.line = line{ticks: to.ticks, mono: to.mono, slope: slopeOf(from, to)}
	k.last, k.older = to, [8]line{}
	k.period = min(max(2*k.period, firstPeriod), clockPeriod)
	k.wall = time.Now().UnixNano()
}

func slopeOf(from, to reading) uint64 {
	ns := uint64(to.mono - from.mono)
	slope, _ := bits.Div64(ns>>32, ns<<32, to.ticks-from.ticks)
	return slope
}

// due reports whether it is time for a reading.
func (k *tickClock) due(now int64) bool { return now-k.last.mono >= k.period }

// update takes a new reading. free says that no key that was made by the lines so far
// is still compared with any to come: then a line that is too old need not be met.
func (k *tickClock) update(free bool) {
	if !ticksTrusted() {
		k.mono, k.wall = monotonic(), time.Now().UnixNano()
		k.last.mono = k.mono
		return
	}
	k.bend(readBoth(), free)
}

func (k *tickClock) bend(r reading, free bool) {
	ns, ticks := r.mono-k.last.mono, r.ticks-k.last.ticks
	if ns < minBase || ticks>>63 != 0 || ticks <= uint64(ns)>>32 {
		return // clocks that do not go on
	}
	off := r.mono - k.line.at(r.ticks)
	// Nothing is compared with what comes: after a sleep, in which a line gets old.
	if off > maxBend || off < -maxBend || free && (off > freeBend || off < -freeBend) {
		k.restart(k.last, r)
		return
	}
	slope := slopeOf(k.last, r)
	k.period = min(2*k.period, clockPeriod)
	// Off by so much, to be made good within a period.
	bent := int64(slope) + int64(float64(slope)*float64(off)/float64(k.period))
	copy(k.older[1:], k.older[:])
	k.older[0] = k.line
	k.line = line{ticks: r.ticks, mono: k.line.at(r.ticks), slope: uint64(max(bent, int64(slope/2)))}
	k.last, k.wall = r, time.Now().UnixNano()
}

// monotonic converts ticks. Ticks that no clock showed (a lie) give a time far off,
// which the merge bounds.
func (k *tickClock) monotonic(ticks uint64) int64 {
	l := &k.line
	for i := 0; int64(ticks-l.ticks) < 0 && i < len(k.older) && k.older[i].slope != 0; i++ {
		l = &k.older[i]
	}
	return l.at(ticks)
}

// A clockNote is a tickClock in the node's page, so that the records of a segment
// that a killed node has left can be told in time. It is a small latch: four slots,
// and a version whose low bits name the one that holds; whoever reads takes it from
// a dead node, or looks at the version again.
//
//	+0 u64 version
//	+8 4 × (u64 ticks, i64 monotonic ns, i64 wall ns, u64 ns per tick << 32)
type clockNote struct {
	version uint64
	slot    [4]clockSlot
}

type clockSlot struct{ ticks, mono, wall, slope uint64 }

// store publishes the reading. The node only.
//
// Stored here, slot before version; loaded by load. Both are sequentially
// consistent: it is done once a second.
func (n *clockNote) store(k *tickClock) {
	v := load64(&n.version) + 1
	s := &n.slot[v%4]
	store64(&s.ticks, k.ticks)
	store64(&s.mono, uint64(k.mono))
	store64(&s.wall, uint64(k.wall))
	store64(&s.slope, k.slope)
	store64(&n.version, v)
}

// load returns the last reading that was stored.
func (n *clockNote) load() (k tickClock) {
	for range 64 {
		v := load64(&n.version)
		s := &n.slot[v%4]
		k.ticks, k.mono, k.wall, k.slope = load64(&s.ticks), int64(load64(&s.mono)), int64(load64(&s.wall)), load64(&s.slope)
		if load64(&n.version)-v <= 2 {
			break
		}
	}
	return k
}
