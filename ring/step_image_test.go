package ring_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"testing"

	"shmkit/ring"
)

// The step tests run one side of a ring, in a second process, one machine
// instruction at a time. This file holds what they share: records that tell which
// they are, and the auditor that judges an image.

// stress widens the step tests to every case there is.
var stress = os.Getenv("SHMKIT_STRESS") == "1"

// A record's tag is its number, and its payload follows from number and length:
// no mixture of two passes for one.
func content(number, n int) []byte {
	b := make([]byte, n)
	x := uint64(number+1) * 0x9e3779b97f4a7c15
	var word [8]byte
	for i := 0; i < n; i += 8 {
		// splitmix64
		x += 0x9e3779b97f4a7c15
		z := (x ^ x>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		binary.NativeEndian.PutUint64(word[:], z^z>>31)
		copy(b[i:], word[:])
	}
	return b
}

// put commits record number with n bytes, without a flush.
func put(p *ring.Producer, number, n int) error {
	b, err := p.Reserve(n)
	if err != nil {
		return err
	}
	copy(b, content(number, n))
	p.Commit(n, uint32(number))
	return nil
}

// A history is what was, or is being, committed to a ring: the payload length of
// each record.
type history struct {
	policy ring.Policy
	sizes  []int
}

// reading is what a consumer got.
type reading struct {
	first, end int // records first to end-1
	lost       int // told by gaps
}

// read reads all there is. Each record has to be whole, and they have to follow
// one another, with gaps only where the consumer says so.
func (h *history) read(c *ring.Consumer) (r reading, err error) {
	r.first = -1
	for {
		rec, ok, err := c.Next()
		var gap *ring.GapError
		if errors.As(err, &gap) {
			if h.policy != ring.OverwriteOldest || r.first >= 0 {
				return r, fmt.Errorf("a gap of %d records", gap.Lost)
			}
			r.lost += int(gap.Lost)
			continue
		}
		if err != nil {
			return r, err
		}
		if !ok {
			return r, nil
		}
		number := int(rec.Tag)
		if r.first < 0 {
			r.first, r.end = number, number
		}
		if number != r.end {
			return r, fmt.Errorf("record %d follows record %d", number, r.end-1)
		}
		if number >= len(h.sizes) || !bytes.Equal(rec.Payload, content(number, h.sizes[number])) {
			return r, fmt.Errorf("record %d is torn: %d bytes", number, len(rec.Payload))
		}
		r.end++
	}
}

// audit judges an image left by a side that died, or stands still, at some
// instruction. released is the number of records that were given back for certain,
// committed of those that were committed for certain. What must hold:
//
//  1. A new consumer reads whole records, one after the other, from one that was
//     not certainly released to the last one that was committed: no fewer, and none
//     beyond it. (Under OverwriteOldest it may be told of a gap first.)
//  2. A new producer goes on behind that record, and both count alike.
//  3. If the image says that a side sleeps although there is something for it, the
//     other side's successor wakes it.
//
// It returns the first record read and the number of records committed. The image
// is not changed.
func (h *history) audit(image []byte, released, committed int) (first, end int, err error) {
	view := heapCopy(image)
	cb := new(bell)
	c, err := ring.NewConsumer(view, ring.ConsumerOptions{Name: "audit", Waiter: cb})
	if err != nil {
		return 0, 0, fmt.Errorf("new consumer: %w", err)
	}
	defer c.Close()
	r, err := h.read(c)
	if err != nil {
		return 0, 0, fmt.Errorf("new consumer: %w", err)
	}
	s := c.Stats()
	first, end = r.first, r.end
	if first < 0 { // nothing to read: all that was committed was released
		first = int(s.Committed)
		end = first
	}
	switch {
	case first < released || h.policy != ring.OverwriteOldest && first > len(h.sizes):
		return first, end, fmt.Errorf("record %d is read again, %d were released", first, released)
	case end < committed:
		return first, end, fmt.Errorf("%d records of %d committed are left", end, committed)
	case end > len(h.sizes):
		return first, end, fmt.Errorf("%d records, %d were ever written", end, len(h.sizes))
	case int(s.Committed) != end || int(s.Pending) != 0 || int(s.Delivered+s.Lost) != end:
		return first, end, fmt.Errorf("the new consumer counts %+v at record %d", s, end)
	}
	c.Release()
	c.Sleep()
	if producerSleeps(image) && spaceFor(view) && cb.wakes == 0 {
		return first, end, errors.New("the producer sleeps although there is space, and a new consumer does not wake it")
	}

	// The successor of the producer, on an image of its own.
	view = heapCopy(image)
	pb := new(bell)
	p, err := ring.NewProducer(view, ring.ProducerOptions{Name: "audit", Policy: h.policy, Waiter: pb})
	if err != nil {
		return first, end, fmt.Errorf("new producer: %w", err)
	}
	defer p.Close()
	if n := int(p.Stats().Committed); n != end {
		return first, end, fmt.Errorf("the new producer counts %d records, %d are committed", n, end)
	}
	if err := p.Flush(); err != nil {
		return first, end, fmt.Errorf("new producer: %w", err)
	}
	if consumerSleeps(image) && recordsFor(image) && pb.wakes == 0 {
		return first, end, errors.New("the consumer sleeps although there are records, and a new producer does not wake it")
	}
	d, err := ring.NewConsumer(view, ring.ConsumerOptions{Name: "audit", Waiter: cb})
	if err != nil {
		return first, end, fmt.Errorf("second new consumer: %w", err)
	}
	defer d.Close()
	next := *h
	next.sizes = append(h.sizes[:end:end], 8)
	wasFull := false
	if _, err := p.TryReserve(8); errors.Is(err, ring.ErrFull) {
		wasFull = true
		if r, err = next.read(d); err != nil || r.end != end {
			return first, end, fmt.Errorf("beside a new producer: read to %d, %w", r.end, err)
		}
		d.Release()
	} else if err != nil {
		return first, end, fmt.Errorf("new producer: %w", err)
	}
	if err := put(p, end, 8); err != nil {
		return first, end, fmt.Errorf("new producer, ring full: %v: %w", wasFull, err)
	}
	if err := p.Flush(); err != nil {
		return first, end, fmt.Errorf("new producer: %w", err)
	}
	if r, err = next.read(d); err != nil || r.end != end+1 {
		return first, end, fmt.Errorf("behind a new producer: read to %d, want %d: %w", r.end, end+1, err)
	}
	return first, end, nil
}

// The few words of an image that the auditor looks at by itself.
const (
	pageSize   = 4096
	offHead    = 0
	offTail    = pageSize
	offAsleep  = 128
	offWakeAt  = 136
	offPAsleep = pageSize + offAsleep
	offPWakeAt = pageSize + offWakeAt
)

func u64(image []byte, off int) uint64 { return binary.NativeEndian.Uint64(image[off:]) }
func u32(image []byte, off int) uint32 { return binary.NativeEndian.Uint32(image[off:]) }

func consumerSleeps(image []byte) bool { return u32(image, offAsleep)%2 == 1 }
func producerSleeps(image []byte) bool { return u32(image, offPAsleep)%2 == 1 }

// recordsFor reports whether the tail has come to where the consumer waits for it.
func recordsFor(image []byte) bool { return int64(u64(image, offTail)-u64(image, offWakeAt)) >= 0 }

// spaceFor reports whether the head has come to where the producer waits for it.
func spaceFor(image []byte) bool { return int64(u64(image, offHead)-u64(image, offPWakeAt)) >= 0 }

// makeImage writes a ring as it is after the first n records of h were committed
// and the first released of them given back.
func (h *history) makeImage(t testing.TB, capacity, maxRecord, n, released int) []byte {
	t.Helper()
	view := newView(t, capacity, maxRecord)
	p, err := ring.NewProducer(view, ring.ProducerOptions{Name: "image", Policy: h.policy})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	c, err := ring.NewConsumer(view, ring.ConsumerOptions{Name: "image"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	back := 0
	for i := range n {
		if back < released { // keeps the ring from filling up
			for ; back < min(i, released); back++ {
				next(t, c)
			}
			c.Release()
		}
		if err := put(p, i, h.sizes[i]); err != nil {
			t.Fatal(err)
		}
		if err := p.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	for ; back < released; back++ {
		next(t, c)
	}
	c.Release()
	return view
}
