package seqlocktest

import (
	"context"
	"encoding/binary"
	"fmt"

	"shmkit/seqlock"
)

// Publisher is the writing side of a latch.
type Publisher interface {
	Publish(payload []byte) (version uint64, err error)
	Version() uint64
	WakeWith(seqlock.Waiter) error
}

// Source is the reading side of a latch.
type Source interface {
	Read(dst []byte) (payload []byte, version uint64, err error)
	Version() uint64
	Wait(ctx context.Context, w seqlock.Waiter, old uint64) (uint64, error)
}

// Variant describes one form of latch.
type Variant struct {
	Name string
	Max  int // bytes of the largest payload

	// Fixed: every payload has Max bytes.
	Fixed bool
	// Single: there is one copy of the value, so a writer that stops in the middle
	// of a publication takes the value away from its readers (they get
	// seqlock.ErrContended) until it goes on or a successor has published.
	Single bool

	Size   func() (int, error)                    // bytes of a view
	Make   func(view []byte) (Publisher, error)   // formats, and opens the writing side
	Resume func(view []byte) (Publisher, error)   // opens the writing side for a successor
	Open   func(view []byte) (Source, error)      // opens the reading side
	Smear  func(view []byte, next uint64, b byte) // leaves view as a writer that was killed in the fill of version next
}

// Variants lists the latches of package seqlock: both forms and the classic one,
// with the slot counts and sizes at which the code takes different ways.
func Variants() []Variant {
	return []Variant{
		Bytes(64, 4),
		Bytes(1, 3),     // smallest latch; slots not a power of two
		Bytes(1001, 5),  // last word in part
		Bytes(4096, 32), // more than a few lines
		Bytes(65536, 4), // beyond the sizes that are stored with a plain release store
		Typed[[8]uint64]("line", 4),
		Typed[[8]uint64]("line/7 slots", 7),
		Typed[[3]byte]("3 bytes", 4),
		Typed[[5]uint32]("20 bytes", 4),
		Typed[[150]uint64]("1200 bytes", 8),
		Single[[2]uint64]("16 bytes"),
		Single[[501]byte]("501 bytes"),
	}
}

// Named returns the variant of that name among [Variants], for the second process
// of a test.
func Named(name string) (Variant, error) {
	for _, v := range Variants() {
		if v.Name == name {
			return v, nil
		}
	}
	return Variant{}, fmt.Errorf("seqlocktest: no variant %q", name)
}

// Bytes is the bytes form with the given geometry.
func Bytes(payload, slots int) Variant {
	return Variant{
		Name: fmt.Sprintf("bytes %d/%d slots", payload, slots),
		Max:  payload,
		Size: func() (int, error) { return seqlock.Size(payload, slots) },
		Make: func(view []byte) (Publisher, error) {
			if err := seqlock.Format(view, payload, slots); err != nil {
				return nil, err
			}
			return seqlock.OpenWriter(view)
		},
		Resume: func(view []byte) (Publisher, error) { return seqlock.OpenWriter(view) },
		Open:   func(view []byte) (Source, error) { return seqlock.OpenReader(view) },
		Smear:  smearSlot(payload+8, slots),
	}
}

// smearSlot fills half the slot of version next with b. The place of a slot is
// part of the documented layout.
func smearSlot(used, slots int) func(view []byte, next uint64, b byte) {
	stride := (used + 127) &^ 127
	return func(view []byte, next uint64, b byte) {
		slot := view[128+int(next%uint64(slots))*stride:][:used]
		for i := range slot[:(used+1)/2] {
			slot[i] = b
		}
	}
}

// Payload returns what version holds under seed, in dst if that is large enough.
// Lengths and bytes of different versions have nothing in common.
func (v Variant) Payload(dst []byte, seed, version uint64) []byte {
	x := mix(seed ^ version*0x9e3779b97f4a7c15)
	n := v.Max
	if !v.Fixed {
		n = int(x % uint64(v.Max+1))
	}
	if cap(dst) < n {
		dst = make([]byte, v.Max)
	}
	dst = dst[:n]
	for i := 0; i < n; i += 8 {
		w := x + uint64(i)*0xd1342543de82ef95
		w ^= w >> 29
		if n-i >= 8 {
			binary.LittleEndian.PutUint64(dst[i:], w)
			continue
		}
		for j := i; j < n; j++ {
			dst[j] = byte(w >> (8 * (j - i)))
		}
	}
	return dst
}

// mix is the finalizer of SplitMix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
