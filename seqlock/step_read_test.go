//go:build linux && (amd64 || arm64)

package seqlock_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"shmkit/internal/proctest"
	"shmkit/internal/stepper"
	"shmkit/seqlock"
)

// readResult is what a stepped reader reports of one read.
type readResult struct {
	Payload []byte
	Version uint64
	Err     string // "" for none
	Known   bool   // the error is one that the package documents
	Panic   string
	Lapped  uint64
}

// A readFunc reads once. It may open the view each time, or have done so.
type readFunc func(dst []byte) ([]byte, uint64, error)

// readers are what is stepped: readers of every form, opened before or within the
// stepped operation, and planted ones.
var readers = map[string]func(view []byte) (read readFunc, lapped func() uint64){
	"bytes": func(view []byte) (readFunc, func() uint64) {
		r, err := seqlock.OpenReader(view)
		if err != nil {
			panic(err)
		}
		return r.Read, r.Lapped
	},
	"latch64": openedLatch[[8]uint64],
	"latch24": openedLatch[[3]uint64],
	"open": func(view []byte) (readFunc, func() uint64) {
		return func(dst []byte) ([]byte, uint64, error) {
			r, err := seqlock.OpenReader(view)
			if err != nil {
				return nil, 0, err
			}
			return r.Read(dst)
		}, nil
	},
	"generous":     plantedReader(stepSlots-1, false),
	"double-fetch": plantedReader(stepSlots-2, true),
	"plain":        plantedReader(stepSlots-2, false),
}

func openedLatch[T any](view []byte) (readFunc, func() uint64) {
	l, err := seqlock.OpenLatch[T](view)
	if err != nil {
		panic(err)
	}
	v := new(T)
	return func([]byte) ([]byte, uint64, error) {
		version, err := l.Load(v)
		return bytesOf(v), version, err
	}, l.Lapped
}

// plantedReader is a reader of the bytes form made from the format's description
// alone: right with a span of N-2, wrong with N-1, and wrong when it fetches the
// length a second time after it has checked it.
func plantedReader(span uint64, doubleFetch bool) func(view []byte) (readFunc, func() uint64) {
	return func(view []byte) (readFunc, func() uint64) {
		published := (*uint64)(unsafe.Pointer(unsafe.SliceData(view)))
		return func(dst []byte) ([]byte, uint64, error) {
			for range 100 {
				p := atomic.LoadUint64(published)
				slot := view[128+p%stepSlots*plantedStride:]
				length := (*uint64)(unsafe.Pointer(unsafe.SliceData(slot)))
				n := atomic.LoadUint64(length)
				if n > stepMost {
					continue
				}
				if doubleFetch {
					n = atomic.LoadUint64(length)
				}
				dst = append(dst[:0], slot[8:8+n]...)
				if atomic.LoadUint64(published)-p <= span {
					return dst, p, nil
				}
			}
			return dst[:0], 0, seqlock.ErrContended
		}, nil
	}
}

// The stepped reader: one read after the other, until it is killed.
var _ = proctest.Helper("step-read", func(args []string) {
	tracee := stepper.Attach()
	read, lapped := readers[args[0]](tracee.Image)
	dst := make([]byte, 0, 1<<16)
	for {
		var res readResult
		func() {
			defer func() {
				if x := recover(); x != nil {
					res.Panic = fmt.Sprint(x)
				}
			}()
			var err error
			tracee.Begin()
			res.Payload, res.Version, err = read(dst)
			tracee.End()
			if err != nil {
				res.Err, res.Known = err.Error(), known(err)
			}
		}()
		if lapped != nil {
			res.Lapped = lapped()
		}
		tracee.Report(res)
	}
})

func known(err error) bool {
	var layout *seqlock.LayoutError
	var corrupt *seqlock.CorruptError
	return errors.As(err, &layout) || errors.As(err, &corrupt) ||
		errors.Is(err, seqlock.ErrContended) || errors.Is(err, seqlock.ErrEmpty)
}

// readCase is one form to be read with payloads of n bytes.
type readCase struct {
	reader string
	n      int
}

func (c readCase) String() string { return c.reader + "-" + strconv.Itoa(c.n) }

func (c readCase) typed() bool {
	return strings.HasSuffix(c.reader, "64") || strings.HasSuffix(c.reader, "24")
}

// writer formats a view for the case and returns what publishes the next version.
func (c readCase) writer(view []byte) func() uint64 {
	var err error
	var publish func(v uint64) (uint64, error)
	switch {
	case c.typed() && c.n == 64:
		var l *seqlock.Latch[[8]uint64]
		l, err = seqlock.NewLatch[[8]uint64](view, stepSlots)
		publish = func(v uint64) (uint64, error) { return l.Store(valueOf[[8]uint64](v)) }
	case c.typed() && c.n == 24:
		var l *seqlock.Latch[[3]uint64]
		l, err = seqlock.NewLatch[[3]uint64](view, stepSlots)
		publish = func(v uint64) (uint64, error) { return l.Store(valueOf[[3]uint64](v)) }
	default:
		var w *seqlock.Writer
		if err = seqlock.Format(view, stepMost, stepSlots); err == nil {
			w, err = seqlock.OpenWriter(view)
		}
		publish = func(v uint64) (uint64, error) { return w.Publish(content(v, c.n)) }
	}
	if err != nil {
		panic(err)
	}
	last := uint64(0)
	return func() uint64 {
		v, err := publish(last + 1)
		if err != nil || v != last+1 {
			panic(fmt.Sprint("publish: ", v, err))
		}
		last = v
		return v
	}
}

// slot is where a version's payload lies, by the format's description.
func (c readCase) slot(view []byte, version uint64) []byte {
	switch {
	case c.typed():
		const stride = 128
		return view[128+version%stepSlots*stride:][:c.n]
	default:
		return view[128+version%stepSlots*plantedStride+8:][:c.n]
	}
}

// stepRead steps reads while a writer publishes. At each instruction of a read it
// lets the writer publish j versions and, if half is set, overwrite the payload of
// the slot that comes next without publishing it: the state of a writer that stopped
// there. What must hold:
//
//  1. The read ends with a version between those published before and after it.
//  2. Its bytes are those of that version.
//
// It returns the first breach, and how many reads had to be repeated.
func stepRead(t *testing.T, c readCase) (again int, err error) {
	t.Helper()
	view := heapCopy(make([]byte, must(seqlock.Size(stepMost, stepSlots))))
	c.writer(view) // formats; the live writer below takes its place
	p := stepper.Start(t, "step-read", view, c.reader)
	clear(p.Image())
	publish := c.writer(p.Image())
	last := publish()
	for range stepSlots { // every slot was used
		last = publish()
	}
	if !p.Next() {
		t.Fatal(p.Err())
	}
	trace := p.Trace()
	places := p.Places(trace, "shmkit/seqlock")
	if len(places) < 15 {
		t.Fatalf("only %d of %d steps outside the runtime", len(places), len(trace))
	}
	if !p.Next() {
		t.Fatal(p.Err())
	}
	var res readResult
	misses := 0
	for _, at := range places {
		copied := false // a version was chosen, so far as one publication shows
		for _, j := range []int{0, 1, stepSlots - 2, stepSlots - 1, stepSlots, 2*stepSlots + 1} {
			for _, half := range []bool{false, true} {
				before := last
				if !p.Goto(trace, at) {
					misses++
					if !p.Next() {
						t.Fatal(p.Err())
					}
					continue
				}
				where := p.Where()
				for range j {
					last = publish()
				}
				if half {
					copy(c.slot(p.Image(), last+1), content(last+1, c.n))
				}
				if !p.Next() {
					t.Fatal(p.Err())
				}
				if err := p.Report(&res); err != nil {
					t.Fatal(err)
				}
				if res.Panic != "" || res.Err != "" || res.Version < before || res.Version > last ||
					!bytes.Equal(res.Payload, content(res.Version, c.n)) {
					p.Kill()
					return again, fmt.Errorf("step %d, at %s: %d versions after %d (half of another: %v): version %d, %s, error %q, panic %q",
						at+1, where, j, before, half, res.Version, difference(res.Payload, content(res.Version, c.n)), res.Err, res.Panic)
				}
				if j == 1 && res.Version == before {
					copied = true
				}
				if copied && res.Version > before {
					again++
				}
			}
		}
	}
	p.Kill()
	if misses > len(places)/2 { // of 12 visits each
		return again, stepper.Missed(misses, len(places))
	}
	if c.reader != "plain" && int(res.Lapped) != again {
		t.Errorf("Lapped says %d, %d reads were overtaken", res.Lapped, again)
	}
	return again, nil
}

// A read returns a whole version whatever the writer does between any two of its
// instructions.
func TestStepRead(t *testing.T) {
	cases := []readCase{{"bytes", stepMost}, {"bytes", 7}, {"latch64", 64}, {"latch24", 24}, {"plain", stepMost}}
	if stress {
		cases = append(cases, readCase{"bytes", 0}, readCase{"bytes", 8}, readCase{"bytes", stepMost - 1})
	}
	for _, c := range cases {
		t.Run(c.String(), func(t *testing.T) {
			var again int
			err := stepper.Again(t, func() (err error) {
				again, err = stepRead(t, c)
				return err
			})
			if err != nil {
				t.Error(err)
			}
			if again == 0 {
				t.Error("no read was ever overtaken: the test does not reach what it is about")
			}
			t.Logf("%d reads had to be repeated", again)
		})
	}
}

// The check is shown to see a torn read: a reader that accepts one version more
// than it may is caught.
func TestStepPlantedReader(t *testing.T) {
	err := stepper.Again(t, func() error {
		_, err := stepRead(t, readCase{"generous", stepMost})
		return err
	})
	if err == nil || errors.Is(err, stepper.ErrMissed) {
		t.Errorf("a reader that accepts N-1 passed: %v", err)
	} else {
		t.Log(err)
	}
}

// hostile steps reads while the image changes in ways no writer changes it: at
// each instruction, each word that a reader loads is set to each of a few values.
// What must hold:
//
//  1. no panic, no fault, and an end;
//  2. an error is one of those documented;
//  3. what is delivered are bytes of this image, no more than a slot holds;
//  4. with the image as it was, the same reader reads on.
func hostile(t *testing.T, c readCase) error {
	t.Helper()
	view := heapCopy(make([]byte, must(seqlock.Size(stepMost, stepSlots))))
	publish := c.writer(view)
	last := publish()
	for range stepSlots + 1 {
		last = publish()
	}
	p := stepper.Start(t, "step-read", view, c.reader)
	if !p.Next() {
		t.Fatal(p.Err())
	}
	trace := p.Trace()
	places := p.Places(trace, "shmkit/seqlock")
	if !p.Next() {
		t.Fatal(p.Err())
	}

	type flip struct {
		off, size int
		values    []uint64
	}
	flips := []flip{
		{0, 8, []uint64{0, 1, last - 1, last + 1, last + stepSlots, 1 << 32, 1 << 61, 1<<64 - 1}}, // published
		{8, 4, []uint64{0, 1, stepMost - 8, stepMost + 1, 1 << 30, 1<<32 - 1}},                    // payload
		{12, 4, []uint64{0, 1, 3, 5, 1 << 16, 1<<32 - 1}},                                         // slots
		{16, 4, []uint64{0, 1<<32 - 1}},                                                           // form
		{24, 8, []uint64{0, 1<<64 - 1}},                                                           // schema
	}
	if !c.typed() {
		at := 128 + int(last%stepSlots*plantedStride)
		flips = append(flips, flip{at, 8, []uint64{0, 1, stepMost, stepMost + 1, 4096, 1 << 31, 1 << 63, 1<<64 - 1}}) // length
	}
	if !stress && !strings.HasPrefix(c.reader, "open") {
		// Only opening reads the rest of the header.
		flips = slices.DeleteFunc(flips, func(f flip) bool { return f.off > 0 && f.off < 128 })
	}
	var res readResult
	kinds := map[string]int{}
	for _, at := range places {
		for _, f := range flips {
			for _, value := range f.values {
				if !p.Goto(trace, at) {
					kinds["missed"]++
					if !p.Next() {
						t.Fatal(p.Err())
					}
					continue
				}
				where := p.Where()
				poke(p.Image()[f.off:], f.size, value)
				breach := func(what string) error {
					p.Kill()
					return fmt.Errorf("step %d, at %s: word +%d set to %d: %s: version %d, %d bytes, error %q, panic %q",
						at+1, where, f.off, value, what, res.Version, len(res.Payload), res.Err, res.Panic)
				}
				for restored := range 2 {
					if !p.Next() {
						return breach(fmt.Sprint("the reader died: ", p.Err()))
					}
					if err := p.Report(&res); err != nil {
						t.Fatal(err)
					}
					switch {
					case res.Panic != "":
						return breach("panic")
					case restored == 1:
						if res.Err != "" || res.Version != last || !bytes.Equal(res.Payload, content(last, c.n)) {
							return breach("not the last version although the image is as it was")
						}
					case res.Err != "" && !res.Known:
						return breach("an error that is not documented")
					case res.Err != "":
						kinds[res.Err[:min(len(res.Err), 40)]]++
					case len(res.Payload) > stepMost || !bytes.Contains(view, res.Payload):
						return breach("bytes from elsewhere")
					default:
						kinds["delivered"]++
					}
					copy(p.Image(), view)
				}
				// The second read above ran unstepped; the helper stands at a Begin.
			}
		}
	}
	p.Kill()
	if kinds["missed"]*4 > kinds["delivered"] {
		return stepper.Missed(kinds["missed"], kinds["delivered"])
	}
	delete(kinds, "missed")
	if len(kinds) < 2 {
		return fmt.Errorf("the flips changed nothing: %v", kinds)
	}
	t.Logf("%d places, outcomes: %v", len(places), kinds)
	return nil
}

func poke(b []byte, size int, value uint64) {
	p := unsafe.Pointer(unsafe.SliceData(b))
	if size == 4 {
		atomic.StoreUint32((*uint32)(p), uint32(value))
	} else {
		atomic.StoreUint64((*uint64)(p), value)
	}
}

// A hostile writer cannot harm a reader at any of its instructions.
func TestStepHostileWriter(t *testing.T) {
	for _, c := range []readCase{{"bytes", stepMost}, {"bytes", 9}, {"open", stepMost}} {
		t.Run(c.String(), func(t *testing.T) {
			if err := stepper.Again(t, func() error { return hostile(t, c) }); err != nil {
				t.Error(err)
			}
		})
	}
}

// The flips are shown to find a double fetch.
func TestStepPlantedDoubleFetch(t *testing.T) {
	if err := stepper.Again(t, func() error { return hostile(t, readCase{"double-fetch", stepMost}) }); err == nil || !strings.Contains(err.Error(), "step ") {
		t.Errorf("a reader that fetches the length twice passed: %v", err)
	} else {
		t.Log(err)
	}
}
