package logring

import (
	"math/bits"
	"os"
	"strings"
	"sync"
	"time"
)

// The merge key of a record is a time of the machine's monotonic clock, which no
// setting of the wall clock moves and which all processes of the machine share:
// ticks of the time stamp counter where that is the kernel's own clock, a third of
// the price of a clock call, else CLOCK_MONOTONIC in nanoseconds, which a record of
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

// ticksTrusted reports whether the kernel uses the time stamp counter for its own
// clock. It found the counter constant, never stopping, and equal on all CPUs then.
var ticksTrusted = sync.OnceValue(func() bool {
	b, err := os.ReadFile("/sys/devices/system/clocksource/clocksource0/current_clocksource")
	return hasTicks && err == nil && strings.TrimSpace(string(b)) == "tsc"
})

// A tickClock converts ticks of the time stamp counter to CLOCK_MONOTONIC. It is a
// line through the last reading of both, whose slope comes from the first and the
// last. Records are converted soon after they were made, so the slope hardly
// matters: wrong by 50 ppm it makes 50 ns in a window of a millisecond.
type tickClock struct {
	ticks uint64 // at the last reading
	mono  int64
	wall  int64  // of the wall clock then, for who reads a segment left behind
	slope uint64 // ns per tick << 32

	first struct {
		ticks uint64
		mono  int64
	}
}

// read takes both clocks.
func (k *tickClock) read() {
	best := ^uint64(0)
	for range 4 { // as in origin
		t0 := rdtsc()
		mono := monotonic()
		if d := rdtsc() - t0; d < best {
			best, k.ticks, k.mono = d, t0+d/2, mono
		}
	}
	k.wall = time.Now().UnixNano()
}

// begin takes the first reading, and a second one as soon as that makes a slope.
func (k *tickClock) begin() {
	if !ticksTrusted() {
		k.mono, k.wall = monotonic(), time.Now().UnixNano()
		return
	}
	k.read()
	k.first.ticks, k.first.mono = k.ticks, k.mono
	for k.slope == 0 {
		k.update()
	}
}

// clockSkew is how far keys and the collector's clock may disagree, in ns: what
// both sides read a clock's offset with, and the slope, many times over.
const clockSkew = 10_000

// clockPeriod is how often the collector reads the clocks again, in ns.
const clockPeriod = int64(time.Second)

// minBase is how far two readings have to be apart to make a slope: their error is
// some 20 ns.
const minBase = 100_000

// update takes a new reading.
func (k *tickClock) update() {
	if !ticksTrusted() {
		k.mono, k.wall = monotonic(), time.Now().UnixNano()
		return
	}
	k.read()
	ns, ticks := uint64(k.mono-k.first.mono), k.ticks-k.first.ticks
	if ns < minBase || ticks < ns>>16 {
		return
	}
	k.slope, _ = bits.Div64(ns>>32, ns<<32, ticks)
}

// monotonic converts ticks. Ticks that no clock showed (a lie) give a time far off,
// which the merge bounds.
func (k *tickClock) monotonic(ticks uint64) int64 {
	d := int64(ticks - k.ticks)
	neg := d < 0
	if neg {
		d = -d
	}
	hi, lo := bits.Mul64(uint64(d), k.slope)
	ns := int64(hi<<32 | lo>>32)
	if neg {
		ns = -ns
	}
	return k.mono + ns
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
