//go:build linux && (amd64 || arm64)

package seqlock_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"shmkit/internal/proctest"
	"shmkit/internal/stepper"
	"shmkit/seqlock"
)

const (
	stepMost  = 200 // largest payload of the bytes form
	stepSlots = 4
)

// pub is what a stepped writer does, in the order it does it.
type pub interface {
	format() error
	// ready makes the payload of a version and returns what publishes it: that
	// alone is stepped.
	ready(version uint64) (publish func() error)
}

// latches are the forms that are stepped, each with its writer and its auditor.
var latches = map[string]struct {
	bytes  int
	writer func(view []byte) pub
	side   side
}{
	"bytes":    {must(seqlock.Size(stepMost, stepSlots)), newBytesPub, bytesSide(stepMost)},
	"latch64":  {must(seqlock.LatchSize[[8]uint64](stepSlots)), newLatchPub[[8]uint64], latchSide[[8]uint64]()},
	"latch24":  {must(seqlock.LatchSize[[3]uint64](stepSlots)), newLatchPub[[3]uint64], latchSide[[3]uint64]()},
	"latch4K":  {must(seqlock.LatchSize[[512]uint64](stepSlots)), newLatchPub[[512]uint64], latchSide[[512]uint64]()},
	"oddeven":  {must(seqlock.OddEvenSize[[8]uint64]()), newOddEvenPub[[8]uint64], oddEvenSide[[8]uint64]()},
	"honest":   {must(seqlock.Size(stepMost, stepSlots)), planted(honest), bytesSide(stepMost)},
	"early":    {must(seqlock.Size(stepMost, stepSlots)), planted(publishBeforeFill), bytesSide(stepMost)},
	"in-place": {must(seqlock.Size(stepMost, stepSlots)), planted(fillPublishedSlot), bytesSide(stepMost)},
}

func must(n int, err error) int {
	if err != nil {
		panic(err)
	}
	return n
}

type bytesPub struct {
	view []byte
	w    *seqlock.Writer
}

func newBytesPub(view []byte) pub { return &bytesPub{view: view} }

func (b *bytesPub) format() (err error) {
	if err = seqlock.Format(b.view, stepMost, stepSlots); err == nil {
		b.w, err = seqlock.OpenWriter(b.view)
	}
	return err
}

func (b *bytesPub) ready(version uint64) func() error {
	payload := content(version, size(version, stepMost))
	return func() error { _, err := b.w.Publish(payload); return err }
}

type latchPub[T any] struct {
	view []byte
	l    *seqlock.Latch[T]
}

func newLatchPub[T any](view []byte) pub { return &latchPub[T]{view: view} }

func (p *latchPub[T]) format() (err error) {
	p.l, err = seqlock.NewLatch[T](p.view, stepSlots)
	return err
}

func (p *latchPub[T]) ready(version uint64) func() error {
	v := valueOf[T](version)
	return func() error { _, err := p.l.Store(v); return err }
}

type oddEvenPub[T any] struct {
	view []byte
	l    *seqlock.OddEven[T]
}

func newOddEvenPub[T any](view []byte) pub { return &oddEvenPub[T]{view: view} }

func (p *oddEvenPub[T]) format() (err error) {
	p.l, err = seqlock.NewOddEven[T](p.view)
	return err
}

func (p *oddEvenPub[T]) ready(version uint64) func() error {
	v := valueOf[T](version)
	return func() error { _, err := p.l.Store(v); return err }
}

// The stepped writer: one operation that formats, then one per version.
var _ = proctest.Helper("step-publish", func(args []string) {
	tracee := stepper.Attach()
	w := latches[args[0]].writer(tracee.Image)
	tracee.Begin()
	err := w.format()
	tracee.End()
	for version := uint64(1); err == nil && version <= rounds; version++ {
		publish := w.ready(version)
		tracee.Begin()
		err = publish()
		tracee.End()
	}
	tracee.Report(fmt.Sprint(err))
})

// rounds is the number of versions published: every slot twice and some, so that
// the first version, the first use of each slot and the first reuse are all there.
const rounds = 2*stepSlots + 2

// stepPublish steps a writer of the named form through formatting and rounds
// versions, and audits the image after every instruction. It returns what the
// auditor found, with the place it found it in.
//
// The auditor sees a copy; a reader that was open all the time also reads the live
// image, in which the writer stands still as if stopped by SIGSTOP. It must get the
// same version, at its first attempt: nobody waits for a stopped writer.
func stepPublish(t *testing.T, form string) error {
	t.Helper()
	f := latches[form]
	p := stepper.Start(t, "step-publish", make([]byte, f.bytes), form)

	if !p.Next() {
		t.Fatal(p.Err())
	}
	formatted := false
	for range p.Steps() {
		if f.side.typed {
			// The typed forms format the same way, after tens of thousands of
			// instructions that look at the type: run through them.
			formatted = true
			break
		}
		_, _, err := f.side.read(heapCopy(p.Image()))
		switch {
		case errors.Is(err, seqlock.ErrNotFormatted) && !formatted:
			// Killed here, it can be formatted again from the start.
			if err := f.writer(heapCopy(p.Image())).format(); err != nil {
				return fmt.Errorf("format after a death in format, at %s: %w", p.Where(), err)
			}
		case errors.Is(err, seqlock.ErrEmpty):
			formatted = true
		default:
			return fmt.Errorf("while formatting, at %s: %w", p.Where(), err)
		}
	}
	if !formatted {
		return errors.New("never formatted")
	}

	var live *seqlock.Reader // of the bytes form
	if r, err := seqlock.OpenReader(p.Image()); err == nil {
		live = r
	}
	last := uint64(0)
	var buf []byte
	for p.Next() {
		before := bytes.Clone(p.Image())
		states := map[uint64]int{} // steps at which a version was the readable one
		version, err := f.side.audit(before, last)
		if err != nil || version != last {
			return fmt.Errorf("before version %d: version %d, %w", last+1, version, err)
		}
		for step := range p.Steps() {
			if !bytes.Equal(p.Image(), before) { // an unchanged image has its verdict
				before = append(before[:0], p.Image()...)
				now, err := f.side.audit(before, last)
				if err != nil {
					return fmt.Errorf("version %d, step %d, at %s: %w", last+1, step, p.Where(), err)
				}
				if now < version {
					return fmt.Errorf("version %d, step %d, at %s: version %d is readable, %d was", last+1, step, p.Where(), now, version)
				}
				version = now
			}
			states[version]++
			if live == nil || version == 0 {
				continue
			}
			var got uint64
			if buf, got, err = live.Read(buf); err != nil || got != version || !bytes.Equal(buf, f.side.want(version)) {
				return fmt.Errorf("version %d, step %d, at %s: live read: version %d, %v", last+1, step, p.Where(), got, err)
			}
		}
		if err := p.Err(); err != nil {
			t.Fatal(err)
		}
		// The steps are honest: both sides of the publication were seen, and the
		// side before it has at least the fill of the slot in it.
		if version != last+1 || states[last] < 10 || states[last+1] < 1 {
			return fmt.Errorf("version %d: readable after it is %d; seen at so many steps: %v", last+1, version, states)
		}
		last++
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
	var end string
	if err := p.Report(&end); err != nil || end != "<nil>" || last != rounds {
		t.Fatalf("writer ended with %q, %v, after %d versions", end, err, last)
	}
	if live != nil && live.Lapped() != 0 {
		return fmt.Errorf("the live reader made %d attempts in vain", live.Lapped())
	}
	return nil
}

// A latch writer may die, or be stopped, at any instruction:
//
//  1. readers get the last good version, whole, without waiting;
//  2. that is the old version before the publishing store and the new one after it;
//  3. a successor goes on from there;
//  4. a view whose Format was cut short is not formatted, and can be.
func TestStepPublish(t *testing.T) {
	for _, form := range []string{"bytes", "latch64", "latch24", "latch4K"} {
		t.Run(form, func(t *testing.T) {
			if err := stepPublish(t, form); err != nil {
				t.Error(err)
			}
		})
	}
}

// The classic form keeps less: readers find either version whole or, in the
// middle, nothing, and the successor's store repairs it.
func TestStepOddEven(t *testing.T) {
	if err := stepPublish(t, "oddeven"); err != nil {
		t.Error(err)
	}
	// That its limit is real is what makes the latch worth having: taken for a
	// latch, it fails the audit.
	strict := latches["oddeven"].side
	strict.mayFail = false
	p := stepper.Start(t, "step-publish", make([]byte, latches["oddeven"].bytes), "oddeven")
	var err error
	for last := -1; p.Next() && err == nil; last++ {
		if last < 1 { // formatting, and the first version, which nobody could read
			continue
		}
		for range p.Steps() {
			if _, err = strict.audit(p.Image(), uint64(last)); err != nil {
				break
			}
		}
	}
	if !errors.Is(err, seqlock.ErrUnfinished) {
		t.Errorf("audited as a latch, the odd/even form gave %v, want ErrUnfinished", err)
	}
}

// The auditor is shown to see what it looks for: writers with a planted bug fail
// it, and the same writer without the bug passes.
func TestStepPlantedWriters(t *testing.T) {
	for form, want := range map[string]string{
		"honest":   "",
		"early":    "torn",
		"in-place": "torn",
	} {
		t.Run(form, func(t *testing.T) {
			err := stepPublish(t, form)
			switch {
			case want == "" && err != nil:
				t.Error(err)
			case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
				t.Errorf("planted bug: the audit said %v, want an error with %q", err, want)
			default:
				t.Log(err)
			}
		})
	}
}
