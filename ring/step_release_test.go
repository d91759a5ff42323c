//go:build linux && (amd64 || arm64)

package ring_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"
	"unsafe"

	"shmkit/internal/proctest"
	"shmkit/internal/stepper"
	"shmkit/ring"
)

// A taking is one operation of a consumer that is stepped, and the ring it finds.
type taking struct {
	policy              ring.Policy
	capacity, maxRecord int
	before              []int // payload lengths of the records committed
	released            int   // how many of them were given back
	waits               bool  // the producer has announced that it waits for space
	gives               int   // records that the operation gives back
	do                  func(c *ring.Consumer) error
	attach              bool // stepped is NewConsumer
}

// take returns an operation that reads n records and releases them.
func take(n int) func(c *ring.Consumer) error {
	return func(c *ring.Consumer) error {
		for range n {
			if _, ok, err := c.Next(); !ok {
				return fmt.Errorf("no record: %w", err)
			}
		}
		c.Release()
		return nil
	}
}

var takings = map[string]taking{
	"one":       {capacity: 256, maxRecord: 120, before: []int{8, 0, 30}, released: 1, gives: 1, do: take(1)},
	"all":       {capacity: 256, maxRecord: 120, before: []int{8, 0, 30}, released: 1, gives: 2, do: take(2)},
	"wrap":      {capacity: 256, maxRecord: 120, before: []int{100, 120, 90, 8}, released: 2, gives: 2, do: take(2)},
	"largest":   {capacity: 2048, maxRecord: 2040, before: []int{1000, 2040}, released: 1, gives: 1, do: take(1)},
	"awaited":   {capacity: 256, maxRecord: 120, before: full, waits: true, gives: 2, do: take(2)},
	"empties":   {capacity: 256, maxRecord: 120, before: full, waits: true, gives: 4, do: take(4)},
	"no space":  {capacity: 256, maxRecord: 120, before: []int{0, 120, 64}, waits: true, gives: 1, do: take(1)},
	"unneeded":  {capacity: 256, maxRecord: 120, before: []int{8, 8}, do: func(c *ring.Consumer) error { c.Release(); return nil }},
	"unclaimed": {capacity: 256, maxRecord: 120, before: []int{8, 8}, do: func(c *ring.Consumer) error { _, _, err := c.Next(); return err }},
	"batch": {capacity: 256, maxRecord: 120, before: []int{8, 0, 30, 7}, released: 1, gives: 3, do: func(c *ring.Consumer) error {
		n := 0
		for range c.Batch(0) {
			n++
		}
		c.Release()
		if n != 3 {
			return fmt.Errorf("%d records: %w", n, c.Err())
		}
		return c.Err()
	}},
	"sleep": {capacity: 256, maxRecord: 120, before: []int{8}, released: 1, do: func(c *ring.Consumer) error {
		if !c.Sleep() {
			return errors.New("there is nothing to read")
		}
		c.Awake()
		return nil
	}},
	"no sleep": {capacity: 256, maxRecord: 120, before: []int{8}, do: func(c *ring.Consumer) error {
		if c.Sleep() {
			return errors.New("there is something to read")
		}
		return nil
	}},
	"wait": {capacity: 256, maxRecord: 120, before: []int{8}, do: func(c *ring.Consumer) error {
		return c.Wait(context.Background())
	}},
	"close":                {capacity: 256, maxRecord: 120, before: []int{8}, do: func(c *ring.Consumer) error { return c.Close() }},
	"attach":               {capacity: 256, maxRecord: 120, before: []int{100, 120, 90}, released: 2, attach: true},
	"attach to new":        {capacity: 256, maxRecord: 120, attach: true},
	"attach to empty":      {capacity: 256, maxRecord: 120, before: full, released: 4, waits: true, attach: true},
	"overwritten":          {policy: ring.OverwriteOldest, capacity: 256, maxRecord: 120, before: []int{56, 56, 56, 56, 24}, gives: 5, do: takeGap(4)},
	"overwriting":          {policy: ring.OverwriteOldest, capacity: 256, maxRecord: 120, before: []int{56, 56, 24}, released: 1, gives: 2, do: take(2)},
	"overwritten, resumed": {policy: ring.OverwriteOldest, capacity: 256, maxRecord: 120, before: []int{56, 56, 56, 56, 24, 24}, released: 3, attach: true},
}

// takeGap returns an operation that is told of a gap, and then reads n records.
func takeGap(n int) func(c *ring.Consumer) error {
	return func(c *ring.Consumer) error {
		var gap *ring.GapError
		if _, _, err := c.Next(); !errors.As(err, &gap) {
			return fmt.Errorf("no gap: %w", err)
		}
		return take(n)(c)
	}
}

var _ = proctest.Helper("step-take", func(args []string) {
	tracee := stepper.Attach()
	w := takings[args[0]]
	o := ring.ConsumerOptions{Name: "step", Waiter: impatient{}, Spin: -1}
	var c *ring.Consumer
	var err error
	if !w.attach {
		c, err = ring.NewConsumer(tracee.Image, o)
	}
	if err == nil {
		tracee.Begin()
		if w.attach {
			_, err = ring.NewConsumer(tracee.Image, o)
		} else {
			err = w.do(c)
		}
		tracee.End()
	}
	tracee.Report(fmt.Sprint(err))
})

// stepTake steps the named operation and audits the image after every instruction.
func stepTake(t *testing.T, name string) error {
	t.Helper()
	w := takings[name]
	h := &history{policy: w.policy, sizes: w.before}
	n := len(w.before)
	image := h.makeImage(t, w.capacity, w.maxRecord, n, w.released)
	if w.waits {
		// The producer waits until the first two of the records it sees are gone.
		at := u64(image, offTail) - uint64(w.capacity) + 128
		atomic.StoreUint64((*uint64)(unsafe.Pointer(&image[offPWakeAt])), at)
		*(*uint32)(unsafe.Pointer(&image[offPAsleep])) |= 1
	}
	p := stepper.Start(t, "step-take", image, name)
	if !p.Next() {
		t.Fatalf("%s: %v", name, p.Err())
	}
	// Under OverwriteOldest the records that are gone count as released.
	first, end, err := h.audit(p.Image(), w.released, n)
	if err != nil || end != n || h.policy != ring.OverwriteOldest && first != w.released {
		return fmt.Errorf("before the first step: records %d to %d: %w", first, end, err)
	}
	start := first
	before := bytes.Clone(p.Image())
	seen := map[int]int{first: 1} // steps by the first record that is left
	steps := 0
	for step := range p.Steps() {
		steps = step
		if !bytes.Equal(p.Image(), before) {
			before = append(before[:0], p.Image()...)
			now, end, err := h.audit(before, first, n)
			if err == nil && (end != n || now > w.released+w.gives && now > start) {
				err = fmt.Errorf("records %d to %d are left", now, end)
			}
			if err != nil {
				return fmt.Errorf("step %d, at %s: %w", step, p.Where(), err)
			}
			first = now
		}
		seen[first]++
	}
	if p.Next() || p.Err() != nil {
		t.Fatalf("%s: ended with %v", name, p.Err())
	}
	var result string
	if err := p.Report(&result); err != nil || result != "<nil>" {
		t.Fatalf("%s: the operation ended with %q, %v", name, result, err)
	}
	// The steps are honest: both sides of the release were seen, and nothing else,
	// since it is one store.
	if w.gives > 0 && (seen[start] == 0 || seen[w.released+w.gives] == 0) || len(seen) != 1+min(1, w.gives) {
		return fmt.Errorf("steps by the first record left: %v", seen)
	}
	t.Logf("%d steps, first record left %v", steps, slices.Sorted(maps.Keys(seen)))
	return nil
}

// A consumer may die at any instruction: what was not released comes again, once
// more and whole; nothing is skipped, and the producer is not left asleep.
func TestStepTake(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(takings)) {
		t.Run(name, func(t *testing.T) {
			if err := stepTake(t, name); err != nil {
				t.Error(err)
			}
		})
	}
}
