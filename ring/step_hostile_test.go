//go:build linux && (amd64 || arm64)

package ring_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"shmkit/internal/proctest"
	"shmkit/internal/stepper"
	"shmkit/ring"
)

// A hostility is an operation of one side that is stepped while the other side
// changes words under it.
type hostility struct {
	policy   ring.Policy
	before   []int // payload lengths of the records committed
	released int
	producer bool // the stepped side; else the consumer
	attach   bool // stepped is attaching too
	planted  func(view []byte) func(res *outcome) error
	want     error // left alone
	// do runs on one of the two.
	do func(p *ring.Producer, c *ring.Consumer, res *outcome) error
}

// An outcome is what the stepped side reports of one operation.
type outcome struct {
	Events  []event
	Strange string // a delivered slice that is not of this ring, an undocumented error
	Err     string
	Panic   string

	held []held
}

// held is what an operation was handed: a record, or a gap.
type held struct {
	rec  ring.Record
	lost int
}

// An event is a record or, with Lost, a gap.
type event struct {
	Number  int
	Payload []byte
	Lost    int
}

// The view is three pages, each of which matters: beyond both ends there is
// nothing.
const hostileCapacity, hostileMax = 2048, 2040

// drain reads all there is, and releases it.
func drain(_ *ring.Producer, c *ring.Consumer, res *outcome) error {
	for range 2 * hostileCapacity / 8 {
		rec, ok, err := c.Next()
		if err != nil {
			gap, isGap := err.(*ring.GapError)
			if !isGap {
				return err
			}
			res.held = append(res.held, held{lost: int(gap.Lost)})
			continue
		}
		if !ok {
			c.Release()
			return nil
		}
		res.held = append(res.held, held{rec: rec})
	}
	res.Strange = "no end of records"
	return nil
}

// note copies out what is held, after the steps.
func (res *outcome) note() {
	for _, h := range res.held {
		if len(h.rec.Payload) > hostileMax {
			res.Strange = fmt.Sprintf("a record of %d bytes", len(h.rec.Payload))
			continue
		}
		res.Events = append(res.Events, event{Number: int(h.rec.Tag), Payload: bytes.Clone(h.rec.Payload), Lost: h.lost})
	}
}

func writeTwo(p *ring.Producer, _ *ring.Consumer, _ *outcome) error {
	if err := p.Write(100, content(100, 700)); err != nil {
		return err
	}
	return p.Write(101, content(101, 300))
}

var hostilities = map[string]hostility{
	"read":             {before: []int{600, 100, 0, 1200, 30}, released: 2, do: drain},
	"attach and read":  {before: []int{600, 100, 0, 1200, 30}, released: 2, attach: true, do: drain},
	"read overwritten": {policy: ring.OverwriteOldest, before: []int{600, 600, 600, 100, 24}, do: drain},
	"read overwriting": {policy: ring.OverwriteOldest, before: []int{600, 600, 100}, released: 1, do: drain},
	"batch": {before: []int{600, 100, 0, 1200, 30}, released: 2, do: func(_ *ring.Producer, c *ring.Consumer, res *outcome) error {
		for rec := range c.Batch(0) {
			res.held = append(res.held, held{rec: rec})
		}
		c.Release()
		return c.Err()
	}},
	"sleep": {before: []int{600}, released: 1, do: func(_ *ring.Producer, c *ring.Consumer, res *outcome) error {
		if c.Sleep() {
			c.Awake()
		}
		c.Pending()
		return drain(nil, c, res)
	}},
	"write to full":     {policy: ring.DropNew, before: []int{600, 600, 600}, released: 1, producer: true, do: writeTwo, want: ring.ErrFull},
	"attach and write":  {before: []int{600, 600, 600}, released: 2, producer: true, attach: true, do: writeTwo},
	"overwrite":         {policy: ring.OverwriteOldest, before: []int{600, 600, 600, 100}, producer: true, do: writeTwo},
	"attach, overwrite": {policy: ring.OverwriteOldest, before: []int{600, 600, 600, 100}, producer: true, attach: true, do: writeTwo},

	"read lapped":      {policy: ring.OverwriteOldest, before: lapped, do: drain},
	"read nearly full": {policy: ring.OverwriteOldest, before: lapped[:5], released: 1, do: drain},
	"planted lapped":   {policy: ring.OverwriteOldest, before: lapped, planted: plantedLapped(true)},
	"planted careless": {policy: ring.OverwriteOldest, before: lapped, planted: plantedLapped(false)},

	"planted double fetch": {before: []int{600, 100, 0, 1200, 30}, released: 2, planted: plantedReader(true)},
	"planted reader":       {before: []int{600, 100, 0, 1200, 30}, released: 2, planted: plantedReader(false)},
}

// plantedReader is a reader made from the format's description alone; with
// doubleFetch it checks one load of a length, and uses another.
func plantedReader(doubleFetch bool) func(view []byte) func(res *outcome) error {
	return func(view []byte) func(res *outcome) error {
		at := func(off uint64) *uint64 { return (*uint64)(unsafe.Pointer(&view[off])) }
		pos := atomic.LoadUint64(at(offHead))
		return func(res *outcome) error {
			tail := atomic.LoadUint64(at(offTail))
			if tail%8 != 0 || tail-pos > hostileCapacity {
				return &ring.CorruptError{Word: "tail"}
			}
			for pos != tail {
				off := 2*pageSize + pos%hostileCapacity
				h := atomic.LoadUint64(at(off))
				if n := h & (1<<32 - 1); n > hostileMax || (n+15)&^7 > tail-pos {
					return &ring.CorruptError{Word: "length"}
				}
				if doubleFetch {
					h = atomic.LoadUint64(at(off))
				}
				n := h & (1<<32 - 1)
				res.held = append(res.held, held{rec: ring.Record{Tag: uint32(h >> 32), Payload: view[off+8 : off+8+n]}})
				pos += (n + 15) &^ 7
			}
			return nil
		}
	}
}

func documented(err error) bool {
	var corrupt *ring.CorruptError
	for _, known := range []error{ring.ErrFull, ring.ErrTooLarge, ring.ErrSecondProducer, ring.ErrSecondConsumer,
		ring.ErrPolicy, os.ErrDeadlineExceeded} {
		if errors.Is(err, known) {
			return true
		}
	}
	return errors.As(err, &corrupt)
}

// The stepped side. Each round is two operations: an empty one, at which the test
// puts the image in order, and the one of interest.
var _ = proctest.Helper("step-hostile", func(args []string) {
	tracee := stepper.Attach()
	w := hostilities[args[0]]
	view := tracee.Image
	room := make([]held, 0, hostileCapacity)
	for round := 0; ; round++ {
		tracee.Begin()
		tracee.End()
		res := outcome{held: room[:0]}
		var p *ring.Producer
		var c *ring.Consumer
		attach := func() (err error) {
			if w.producer {
				p, err = ring.NewProducer(view, ring.ProducerOptions{Name: "step", Policy: w.policy, Waiter: impatient{}, MaxWait: 1, Spin: -1})
			} else {
				c, err = ring.NewConsumer(view, ring.ConsumerOptions{Name: "step", Waiter: impatient{}, Spin: -1})
			}
			return err
		}
		var err error
		do := w.do
		if w.planted != nil {
			read := w.planted(view)
			do = func(_ *ring.Producer, _ *ring.Consumer, res *outcome) error { return read(res) }
		} else if !w.attach {
			err = attach()
		}
		func() {
			defer func() {
				if x := recover(); x != nil {
					res.Panic = fmt.Sprint(x)
				}
			}()
			tracee.Begin()
			if w.attach {
				err = attach()
			}
			if err == nil {
				err = do(p, c, &res)
			}
			tracee.End()
			res.note()
		}()
		if err != nil {
			res.Err = err.Error()
			if !documented(err) {
				res.Strange = "an error that is not documented"
			}
		}
		if p != nil {
			p.Close()
		}
		if c != nil {
			c.Close()
		}
		tracee.Report(res)
		if round%256 == 255 {
			runtime.GC() // off by itself, so that it never runs under a step
		}
	}
})

// A flip is a word of the image and what it is set to.
type flip struct {
	name   string
	off    int
	size   int
	values []uint64
}

// flips lists the words that the other side, or whoever else maps the ring, may
// change under the stepped one.
func flips(image []byte) []flip {
	word := func(name string, off int) flip {
		v := u64(image, off)
		return flip{name, off, 8, []uint64{0, 1, v + 8, v - 8, v + 4, v + hostileCapacity, v - hostileCapacity, v + hostileCapacity + 8,
			1 << 31, 1 << 32, 1 << 63, 1<<64 - 1, 1<<64 - 8}}
	}
	half := func(name string, off int) flip {
		v := uint64(u32(image, off))
		return flip{name, off, 4, []uint64{0, 1, v ^ 1, v + 2, 1<<32 - 1}}
	}
	list := []flip{
		word("head", offHead), half("consumer asleep", offAsleep), word("consumer wakeAt", offWakeAt), word("consumer claim", 144),
		word("delivered version", 256), word("consumer wakes", 384),
		word("tail", offTail), half("mode", offTail+8), half("producer asleep", offPAsleep), word("producer wakeAt", offPWakeAt),
		word("producer claim", offTail+144), word("committed version", offTail+256), word("oldest version", offTail+384),
		word("blocked", offTail+512), word("dropped", offTail+528),
	}
	for _, n := range []struct {
		name string
		off  int
	}{{"delivered", 256}, {"committed", offTail + 256}, {"oldest", offTail + 384}} {
		slot := n.off + 8 + int(u64(image, n.off)%4)*24
		list = append(list, word(n.name+" position", slot), word(n.name+" records", slot+8), word(n.name+" lost", slot+16))
	}
	// The record headers, from the first one that is kept to the tail.
	tail := u64(image, offTail)
	from := u64(image, offHead)
	if u32(image, offTail+8) == 1 {
		from = u64(image, offTail+384+8+int(u64(image, offTail+384)%4)*24)
	}
	for pos := from; pos != tail; {
		off := 2*pageSize + int(pos%hostileCapacity)
		n := u32(image, off)
		list = append(list, flip{fmt.Sprintf("length at %d", pos), off, 4,
			[]uint64{0, uint64(n) + 1, uint64(n) + 8, uint64(n) - 8, hostileMax, hostileMax + 1, hostileCapacity, 1 << 31, 1<<32 - 1, 1<<32 - 8}})
		pos += (uint64(n) + 15) &^ 7
	}
	return list
}

// hostile steps the named operation and changes each word at each of its
// instructions. What must hold:
//
//  1. no panic, no fault, and an end;
//  2. an error is one of those documented: a quarantine, in most cases;
//  3. delivered are bytes of this ring's data, no more than a record can have; and
//     unless the change was in the records themselves, whole records;
//  4. the stepped side writes to its own page, and the producer to the data.
//
// The image is whole again for the next round, and an unchanged round must deliver
// what it should.
func hostile(t *testing.T, name string) error {
	t.Helper()
	w := hostilities[name]
	h := &history{policy: w.policy, sizes: w.before}
	image := h.makeImage(t, hostileCapacity, hostileMax, len(w.before), w.released)
	if len(image)%pageSize != 0 {
		t.Fatalf("the view of %d bytes does not end with its mapping", len(image))
	}
	p := stepper.Start(t, "step-hostile", image, name)
	round := func() {
		if !p.Next() { // the empty operation
			t.Fatal(p.Err())
		}
		copy(p.Image(), image)
		if !p.Next() {
			t.Fatal(p.Err())
		}
	}
	var res outcome
	finish := func() error { // up to the empty operation of the next round
		if !p.Next() {
			return fmt.Errorf("the stepped side died: %w", p.Err())
		}
		res = outcome{}
		if err := p.Report(&res); err != nil {
			t.Fatal(err)
		}
		copy(p.Image(), image)
		if !p.Next() {
			return fmt.Errorf("the stepped side died: %w", p.Err())
		}
		return nil
	}

	round()
	pkg := "shmkit/ring." // the package alone
	if w.planted != nil {
		pkg = "shmkit/ring_test."
	}
	trace := p.Trace()
	places := p.Places(trace, pkg)
	if len(places) < 60 {
		t.Fatalf("only %d of %d steps outside the runtime", len(places), len(trace))
	}
	if err := finish(); err != nil {
		return err
	}
	if (res.Err == "") != (w.want == nil) || res.Strange != "" || res.Panic != "" {
		return fmt.Errorf("left alone: %+v", res)
	}

	kinds := map[string]int{}
	missed := 0
	list := flips(image)
	all := 0
	for _, f := range list {
		all += len(places) * len(f.values)
	}
	// A part of all combinations, evenly spread.
	rng := rand.New(rand.NewPCG(1, 2))
	part := 400
	if stress {
		part *= 50
	}
	if w.policy == ring.OverwriteOldest && !w.producer {
		part /= 2 // copies word by word, so that each place is far down a loop
	}
	skip := func() bool { return rng.IntN(all) >= part }
	for _, at := range places {
		for _, f := range list {
			for _, value := range f.values {
				if skip() {
					continue
				}
				if !p.Goto(trace, at) {
					missed++
					if err := finish(); err != nil {
						return err
					}
					continue
				}
				where := p.Where()
				before := bytes.Clone(p.Image())
				poke(p.Image()[f.off:], f.size, value)
				poke(before[f.off:], f.size, value)
				breach := func(what string) error {
					p.Kill()
					return fmt.Errorf("step %d, at %s: %s set to %d: %s: error %q, panic %q", at+1, where, f.name, value, what, res.Err, res.Panic)
				}
				// The image as the operation leaves it is seen at the next Begin.
				if !p.Next() {
					return breach(fmt.Sprintf("it died: %v", p.Err()))
				}
				after := bytes.Clone(p.Image())
				res = outcome{}
				if err := p.Report(&res); err != nil {
					t.Fatal(err)
				}
				switch {
				case res.Panic != "":
					return breach("panic")
				case res.Strange != "":
					return breach(res.Strange)
				case w.producer && !bytes.Equal(after[:pageSize], before[:pageSize]):
					return breach("the producer wrote to the consumer's page")
				case !w.producer && !bytes.Equal(after[pageSize:], before[pageSize:]):
					return breach("the consumer wrote to the producer's page or to the data")
				}
				if what := h.foreign(&res, image, f.off >= 2*pageSize); what != "" {
					return breach(what)
				}
				switch {
				case res.Err == "":
					kinds["done"]++
				case strings.Contains(res.Err, "quarantined"):
					kinds["quarantined"]++
				default:
					kinds["refused"]++
				}
				copy(p.Image(), image)
				if !p.Next() {
					return breach(fmt.Sprintf("it died: %v", p.Err()))
				}
			}
		}
	}
	p.Kill()
	if tried := kinds["done"] + kinds["quarantined"] + kinds["refused"]; missed*20 > tried {
		return stepper.Missed(missed, tried)
	}
	if kinds["quarantined"] == 0 || len(kinds) < 2 {
		return fmt.Errorf("the flips changed nothing: %v", kinds)
	}
	t.Logf("%d places, %d words, %d combinations; outcomes %v", len(places), len(list), all, kinds)
	return nil
}

// foreign says what was delivered that is not of this ring.
func (h *history) foreign(res *outcome, image []byte, recordsChanged bool) string {
	data := image[2*pageSize:]
	for _, e := range res.Events {
		switch {
		case e.Lost != 0 && h.policy == ring.OverwriteOldest:
		case recordsChanged:
			// A changed length moves the records that follow, and lets what is left
			// of older ones be taken for records: bytes of this ring all the same,
			// but for the four that were changed.
			if !mostlyWithin(data, e.Payload) {
				return fmt.Sprintf("record %d holds bytes from elsewhere", e.Number)
			}
		case e.Lost != 0:
			return fmt.Sprintf("a gap of %d", e.Lost)
		case !bytes.Contains(data, e.Payload):
			return fmt.Sprintf("record %d holds bytes from elsewhere", e.Number)
		}
	}
	return ""
}

// mostlyWithin reports whether b is a part of data, apart from one word.
func mostlyWithin(data, b []byte) bool {
	if bytes.Contains(data, b) {
		return true
	}
	for i := 0; i+len(b) <= len(data); i += 8 {
		differ := 0
		for k := 0; k < len(b) && differ <= 8; k++ {
			if data[i+k] != b[k] {
				differ++
			}
		}
		if differ <= 8 {
			return true
		}
	}
	return false
}

func poke(b []byte, size int, value uint64) {
	p := unsafe.Pointer(unsafe.SliceData(b))
	if size == 4 {
		atomic.StoreUint32((*uint32)(p), uint32(value))
	} else {
		atomic.StoreUint64((*uint64)(p), value)
	}
}

// A hostile peer cannot harm the other side at any of its instructions.
func TestStepHostilePeer(t *testing.T) {
	for name := range hostilities {
		switch name {
		case "planted double fetch", "planted lapped", "planted careless", "read lapped", "read nearly full":
			continue // have their own tests
		}
		t.Run(name, func(t *testing.T) {
			if err := stepper.Again(t, func() error { return hostile(t, name) }); err != nil {
				t.Error(err)
			}
		})
	}
}

// The flips are shown to find a double fetch.
func TestStepPlantedDoubleFetch(t *testing.T) {
	if err := stepper.Again(t, func() error { return hostile(t, "planted double fetch") }); err == nil || !strings.Contains(err.Error(), "set to") {
		t.Errorf("a reader that fetches the length twice passed: %v", err)
	} else {
		t.Log(err)
	}
}
