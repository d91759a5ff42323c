//go:build linux

package spawn

import (
	"context"
	"slices"
	"testing"
	"time"
)

// BenchmarkBeat is one heartbeat into a page that is shared.
func BenchmarkBeat(b *testing.B) {
	page, f, err := newPulse()
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	defer page.Close()
	mine, err := mapPulse(f, 3) // PROT_READ|PROT_WRITE
	if err != nil {
		b.Fatal(err)
	}
	defer mine.Close()
	c := &Child{pulse: mine.words()}
	n := uint64(0)
	for b.Loop() {
		c.Beat()
		n++
	}
	if got, _ := page.read(); got != n {
		b.Fatalf("%d beats seen of %d", got, n)
	}
}

// BenchmarkSpare is the time from the request for one more worker until that says it
// is ready, from a cold start and with a spare, in turns.
func BenchmarkSpare(b *testing.B) {
	s := newServer(b, Options{})
	spec := Spec{Func: moody, Workers: 1, ReadyTimeout: time.Minute, StopTimeout: -1, Env: []string{"MOOD=/nonexistent"}}
	cold := start(b, s, spec)
	spec.Spares = 1
	warm := start(b, s, spec)
	grow := func(g *Group) time.Duration {
		t := time.Now()
		if err := g.Resize(context.Background(), 2); err != nil {
			b.Fatal(err)
		}
		d := time.Since(t)
		if err := g.Resize(context.Background(), 1); err != nil {
			b.Fatal(err)
		}
		return d
	}
	var colds, warms []time.Duration
	for b.Loop() {
		warm.waitForSpares(b, 1)
		warms = append(warms, grow(warm))
		colds = append(colds, grow(cold))
	}
	slices.Sort(colds)
	slices.Sort(warms)
	at := func(d []time.Duration, p int) float64 { return float64(d[(len(d)-1)*p/100].Microseconds()) }
	b.ReportMetric(at(colds, 50), "cold-p50-µs")
	b.ReportMetric(at(warms, 50), "spare-p50-µs")
	b.ReportMetric(at(warms, 99), "spare-p99-µs")
	b.ReportMetric(at(warms, 99)/at(colds, 50), "p99/cold")
	b.ReportMetric(0, "ns/op")
}
