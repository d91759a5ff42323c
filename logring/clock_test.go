package logring

import (
	"math/rand/v2"
	"testing"
)

// Ticks that are converted at different times, with readings in between that are off
// by what readings are off, keep their order and their times, and never stray from
// the other clock by more than clockSkew. Shown to fail by lines that begin at the
// reading, and not where the line before them is.
func TestTickClock(t *testing.T) {
	const perNs = 2.7 // ticks
	rnd := rand.New(rand.NewPCG(1, 2))
	drift := 1.0
	truth := func(ticks uint64) float64 { return float64(ticks) / perNs * drift }
	take := func(ticks uint64) reading {
		off := rnd.Float64()*200 - 100 // a reading may be off by 100 ns
		return reading{ticks: ticks, mono: int64(truth(ticks) + off)}
	}
	var k tickClock
	begin := uint64(1e12)
	k.restart(take(begin), take(begin+uint64(minBase*perNs)))

	type key struct {
		ticks uint64
		mono  int64
	}
	var recent []key // converted already
	last := int64(0)
	for at := begin + uint64(minBase*perNs); at < begin+uint64(20e9*perNs); {
		at += uint64(rnd.Int64N(k.period/3)) + 1
		k1 := key{at, k.monotonic(at)}
		if k1.mono < last {
			t.Fatalf("%d ticks are %d ns, and earlier ones were %d", at, k1.mono, last)
		}
		if d := float64(k1.mono) - truth(at); d > clockSkew || d < -clockSkew {
			t.Fatalf("after %.3f s the clock is off by %.0f ns", truth(at-begin)/1e9, d)
		}
		last = k1.mono
		if recent = append(recent, k1); len(recent) > 8 {
			recent = recent[1:]
		}
		if k.due(int64(truth(at))) {
			k.bend(take(at), false)
		}
		for _, old := range recent {
			if got := k.monotonic(old.ticks); got != old.mono {
				t.Fatalf("%d ticks were %d ns, and are %d after a reading", old.ticks, old.mono, got)
			}
		}
	}
}

// After a sleep the clock is right at once, if nothing is held that it had timed.
func TestTickClockSleeps(t *testing.T) {
	var k tickClock
	k.restart(reading{ticks: 0, mono: 0}, reading{ticks: 100_000, mono: 100_370}) // a first slope is rough
	const wake = 140_000_000
	if d := k.monotonic(wake) - wake; d < clockSkew {
		t.Fatalf("the line is off by %d ns only: the test shows nothing", d)
	}
	held := k
	k.bend(reading{ticks: wake, mono: wake}, true)
	if got := k.monotonic(wake - 5000); got < wake-5010 || got > wake-4990 {
		t.Errorf("5 µs before the reading it was %d", got-wake)
	}
	held.bend(reading{ticks: wake, mono: wake}, false)
	if before, after := held.monotonic(wake-1), held.monotonic(wake+1); before > after || held.older[0].slope == 0 {
		t.Errorf("with records held the chain broke: %d, then %d", before, after)
	}
}

// A machine that was suspended, or a clock that stood still, is another world: the
// chain begins anew. A reading without sense changes nothing.
func TestTickClockRestarts(t *testing.T) {
	var k tickClock
	k.restart(reading{ticks: 1000, mono: 1000}, reading{ticks: 1_001_000, mono: 1_001_000})
	k.bend(reading{ticks: 2_001_000, mono: 900_000_000_000}, false) // 15 minutes in a millisecond of ticks
	if got := k.monotonic(2_001_000); got != 900_000_000_000 {
		t.Errorf("after a jump the clock shows %d", got)
	}
	before := k
	for _, r := range []reading{{ticks: 2_000_000, mono: 950_000_000_000}, {ticks: 3_000_000, mono: 1}, {ticks: 2_001_001, mono: 900_000_000_001}} {
		if k.bend(r, false); k != before {
			t.Errorf("reading %+v changed the clock", r)
		}
	}
	for _, ticks := range []uint64{0, 1, 1 << 63, ^uint64(0)} {
		k.monotonic(ticks) // lies: any time, and no panic
	}
}
