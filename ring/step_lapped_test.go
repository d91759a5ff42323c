//go:build linux && (amd64 || arm64)

package ring_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"

	"shmkit/internal/stepper"
	"shmkit/ring"
)

// lapped fills the ring: the oldest records are gone already.
var lapped = []int{600, 300, 300, 600, 200, 300, 400}

// plantedLapped is a reader of an overwriting ring made from the format's
// description alone. One that is not careful does not ask, after it has copied the
// records, whether they were still kept.
func plantedLapped(careful bool) func(view []byte) func(res *outcome) error {
	return func(view []byte) func(res *outcome) error {
		load := func(off uint64) uint64 { return atomic.LoadUint64((*uint64)(unsafe.Pointer(&view[off]))) }
		oldest := func() (pos, number uint64) {
			const note = offTail + 384
			slot := note + 8 + load(note)%4*24
			return load(slot), load(slot + 8)
		}
		private := make([]byte, 2*hostileCapacity)
		started, next := false, uint64(0)
		return func(res *outcome) error {
			for {
				pos, number := oldest()
				if !started {
					started, next = true, 0
				}
				if number > next {
					res.held = append(res.held, held{lost: int(number - next)})
					next = number
				}
				tail := load(offTail)
				if tail-pos > hostileCapacity {
					continue
				}
				// Word by word, and into the overhang where a record goes there.
				first, crossed := pos, uint64(0)
				for at := pos; at != tail; {
					n := load(2*pageSize+at%hostileCapacity)&(1<<32-1) + 15
					n &^= 7
					if n > tail-at {
						break
					}
					for k := uint64(0); k < n; k += 8 {
						*(*uint64)(unsafe.Pointer(&private[at-first+k])) = load(2*pageSize + at%hostileCapacity + k)
					}
					at += n
					crossed = at - first
				}
				if now, _ := oldest(); careful && now != pos {
					continue
				}
				for at := uint64(0); at < crossed; {
					h := *(*uint64)(unsafe.Pointer(&private[at]))
					n := h & (1<<32 - 1)
					res.held = append(res.held, held{rec: ring.Record{Tag: uint32(h >> 32), Payload: private[at+8 : at+8+n]}})
					at += (n + 15) &^ 7
				}
				return nil
			}
		}
	}
}

// stepLapped steps a reader of an overwriting ring. At each instruction it lets the
// producer commit j records, some of which take the space that is being read. What
// must hold: what is delivered are whole records in order, and gaps account for
// exactly those that are missing.
func stepLapped(t *testing.T, name string) (gaps int, err error) {
	t.Helper()
	w := hostilities[name]
	more := []int{100, 500, 0, 700, 300, 600, 800, 200}
	h := &history{policy: w.policy, sizes: slices.Concat(w.before, more)}
	image := h.makeImage(t, hostileCapacity, hostileMax, len(w.before), w.released)
	p := stepper.Start(t, "step-hostile", image, name)
	advance := func() {
		if !p.Next() {
			t.Fatal(p.Err())
		}
	}
	advance() // the empty operation, at which the image is put in order
	advance()
	trace := p.Trace()
	advance()
	pkg := "shmkit/ring."
	if w.planted != nil {
		pkg = "shmkit/ring_test."
	}
	places := p.Places(trace, pkg)
	if !stress { // every place of the beginning and the end, a part of the long copy
		var some []int
		for i, at := range places {
			ends := w.planted == nil && (i < 60 || i >= len(places)-60)
			if ends || i%101 == 0 {
				some = append(some, at)
			}
		}
		places = some
	}
	missed := 0
	for i, at := range places {
		for _, j := range []int{1 + i%2, len(more)} {
			copy(p.Image(), image)
			advance()
			if !p.Goto(trace, at) {
				missed++
				advance()
				continue
			}
			where := p.Where()
			q, err := ring.NewProducer(p.Image(), ring.ProducerOptions{Name: "lapping", Policy: w.policy})
			if err != nil {
				return gaps, fmt.Errorf("step %d: new producer: %w", at+1, err)
			}
			for k := range j {
				if err := put(q, len(w.before)+k, more[k]); err != nil {
					t.Fatal(err)
				}
			}
			if err := q.Flush(); err != nil {
				t.Fatal(err)
			}
			q.Close()
			advance()
			var res outcome
			if err := p.Report(&res); err != nil {
				t.Fatal(err)
			}
			what := ""
			if res.Err != "" || res.Strange != "" || res.Panic != "" {
				what = fmt.Sprintf("error %q, %s, panic %q", res.Err, res.Strange, res.Panic)
			}
			number := w.released
			for i, e := range res.Events {
				switch {
				case e.Lost > 0:
					number += e.Lost
					gaps++
				case e.Number != number:
					what = fmt.Sprintf("record %d where %d should be", e.Number, number)
				case number >= len(h.sizes) || !bytes.Equal(e.Payload, content(number, h.sizes[number])):
					what = fmt.Sprintf("record %d is torn: event %d", number, i)
				default:
					number++
				}
				if what != "" {
					break
				}
			}
			if what == "" && w.planted == nil {
				first, end, err := h.audit(p.Image(), number, len(w.before)+j)
				if err != nil || end != len(w.before)+j || first < number {
					what = fmt.Sprintf("afterwards records %d to %d are left, %v", first, end, err)
				}
			}
			if what != "" {
				p.Kill()
				return gaps, fmt.Errorf("step %d, at %s, %d records written there: %s", at+1, where, j, what)
			}
		}
	}
	p.Kill()
	if missed*10 > len(places) { // of two visits each
		return gaps, stepper.Missed(missed, len(places))
	}
	t.Logf("%d places, %d gaps", len(places), gaps)
	return gaps, nil
}

// The consumer of an overwriting ring is never handed a torn record, whatever the
// producer does between any two of its instructions, and knows what it missed.
func TestStepLapped(t *testing.T) {
	for _, name := range []string{"read lapped", "read nearly full", "planted lapped"} {
		t.Run(name, func(t *testing.T) {
			var gaps int
			err := stepper.Again(t, func() (err error) {
				gaps, err = stepLapped(t, name)
				return err
			})
			if err != nil {
				t.Error(err)
			}
			if gaps == 0 {
				t.Error("the reader was never lapped: the test does not reach what it is about")
			}
		})
	}
}

// The check is shown to see a torn record: a reader that does not ask again is
// caught.
func TestStepPlantedLapped(t *testing.T) {
	err := stepper.Again(t, func() error {
		_, err := stepLapped(t, "planted careless")
		return err
	})
	if err == nil || errors.Is(err, stepper.ErrMissed) {
		t.Errorf("a reader that does not look whether its copy was overwritten passed: %v", err)
	} else {
		t.Log(err)
	}
}
