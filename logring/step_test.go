//go:build linux && (amd64 || arm64)

package logring

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"shmkit/internal/proctest"
	"shmkit/internal/stepper"
	"shmkit/ring"
)

var evStep = NewEvent3[int64, string, float64](slog.LevelInfo, "step", "i", "path", "share").WithSource()

// What the stepped process logs, one operation each.
var stepped = []struct {
	name string
	log  func(w *Writer, l *slog.Logger, i int)
}{
	{"first event", func(w *Writer, _ *slog.Logger, i int) { evStep.Log(w, int64(i), "a/b.go", 0.5) }}, // declares it
	{"event", func(w *Writer, _ *slog.Logger, i int) { evStep.Log(w, int64(i), "a/b.go", 0.5) }},
	{"slog", func(_ *Writer, l *slog.Logger, i int) {
		l.Info("step", "i", int64(i), "path", "a/b.go", "share", 0.5)
	}},
	{"shared lane", func(w *Writer, _ *slog.Logger, i int) {
		evStep.Log(w, int64(i), strings.Repeat("x", laneRecord), 0.5)
	}},
	{"long way", func(_ *Writer, l *slog.Logger, i int) { l.Info("step", "i", int64(i), "err", fmt.Errorf("e")) }},
}

var _ = proctest.Helper("step-log", func([]string) {
	tracee := stepper.Attach()
	w, err := newWriter(tracee.Image, terms{remote: true, ticks: true}, nil)
	if err != nil {
		panic(err)
	}
	l := slog.New(w.Handler(nil))
	for i, x := range stepped {
		tracee.Begin()
		x.log(w, l, i)
		tracee.End()
	}
})

// stepSegment lays out a segment with lanes.
func stepSegment(t *testing.T) []byte {
	t.Helper()
	layout, err := planLease(64<<10, 8<<10, 2)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, layout.size)
	if err := layout.write(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// leftBehind reads what a process that died here has left: the segment alone tells
// all. It returns the records in the order of their keys.
func leftBehind(c *Collector, image []byte) (all []Record, err error) {
	view := wordBytes(make([]uint64, (len(image)+7)/8))[:len(image)]
	copy(view, image)
	layout, err := readLayout(view)
	if err != nil {
		return nil, err
	}
	r := &inlet{c: c, dict: definitions{words: &workerPageOf(view).words, mem: layout.dict(view)}}
	if err := r.dict.update(); err != nil {
		return nil, err
	}
	type keyed struct {
		key int64
		rec Record
	}
	var found []keyed
	for i := range layout.rings {
		cons, err := ring.NewConsumer(layout.view(view, i), ring.ConsumerOptions{})
		if err != nil {
			return nil, err
		}
		for {
			rec, ok, err := cons.Next()
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			p, key, _, err := r.take(nil, rec)
			if err != nil {
				return nil, err
			}
			b := newBatch(1)
			b.put(p, &tally{}, 0, "")
			found = append(found, keyed{key, b.recs[0].Clone()})
		}
		cons.Close()
	}
	slices.SortFunc(found, func(a, b keyed) int { return cmp.Compare(a.key, b.key) })
	for _, k := range found {
		all = append(all, k.rec)
	}
	return all, nil
}

// A process may die at any instruction of a log call: an event, its first use that
// declares it, a record of slog, one that takes the shared lane. What is in the
// segment then is a whole prefix of what it logged, and the segment alone tells it.
//
// Shown to fail by publishing the dictionary before it is written, and by committing
// before the arguments are written.
func TestKilledAtEachInstruction(t *testing.T) {
	c := newCollector(t, CollectorOptions{})
	p := stepper.Start(t, "step-log", stepSegment(t))
	var last []byte
	for done := 0; p.Next(); done++ {
		seen := map[int]int{}
		steps := 0
		check := func() error {
			steps++
			if bytes.Equal(p.Image(), last) { // it has its verdict
				return nil
			}
			last = append(last[:0], p.Image()...)
			all, err := leftBehind(c, last)
			if err != nil {
				return err
			}
			if len(all) < done || len(all) > done+1 {
				return fmt.Errorf("%d records, %d calls had returned", len(all), done)
			}
			for i, r := range all {
				if line := jsonLine(r); r.Message != "step" || !strings.Contains(line, fmt.Sprintf(`"i":%d,`, i)) {
					return fmt.Errorf("record %d is %s", i, line)
				}
			}
			seen[len(all)]++
			return nil
		}
		if err := check(); err != nil {
			t.Fatalf("before %s: %v", stepped[done].name, err)
		}
		for step := range p.Steps() {
			if err := check(); err != nil {
				t.Fatalf("%s, step %d, at %s: %v", stepped[done].name, step, p.Where(), err)
			}
		}
		if seen[done+1] == 0 {
			t.Errorf("%s: no image had its record", stepped[done].name)
		}
		t.Logf("%s: %d instructions, %d images", stepped[done].name, steps, seen[done]+seen[done+1])
		if done == len(stepped)-1 {
			return
		}
	}
	t.Fatal(p.Err())
}
