package seqlocktest

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"shmkit/seqlock"
)

// typedLatch is what seqlock.Latch[T] and seqlock.OddEven[T] have in common.
type typedLatch[T any] interface {
	Store(*T) (uint64, error)
	Load(*T) (uint64, error)
}

// asBytes carries byte payloads through a latch of T, by way of value. It serves one
// goroutine.
type asBytes[T any, L typedLatch[T]] struct {
	l     L
	value *T
}

func (a asBytes[T, L]) Publish(p []byte) (uint64, error) {
	b := bytesOf(a.value)
	if len(p) != len(b) {
		return 0, &seqlock.SizeError{Size: len(p), Max: len(b)}
	}
	copy(b, p)
	return a.l.Store(a.value)
}

func (a asBytes[T, L]) Read(dst []byte) ([]byte, uint64, error) {
	version, err := a.l.Load(a.value)
	if err != nil {
		return dst[:0], version, err
	}
	return append(dst[:0], bytesOf(a.value)...), version, nil
}

func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

type latchAsBytes[T any] struct {
	asBytes[T, *seqlock.Latch[T]]
	*seqlock.Latch[T]
}

// Typed is a seqlock.Latch[T]; T must have no padding and no bools, since its bytes
// are compared.
func Typed[T any](name string, slots int) Variant {
	var zero T
	size := int(unsafe.Sizeof(zero))
	wrap := func(l *seqlock.Latch[T], err error) (latchAsBytes[T], error) {
		return latchAsBytes[T]{asBytes[T, *seqlock.Latch[T]]{l, new(T)}, l}, err
	}
	return Variant{
		Name:   fmt.Sprintf("latch %s", name),
		Max:    size,
		Fixed:  true,
		Size:   func() (int, error) { return seqlock.LatchSize[T](slots) },
		Make:   func(view []byte) (Publisher, error) { return wrap(seqlock.NewLatch[T](view, slots)) },
		Resume: func(view []byte) (Publisher, error) { return wrap(seqlock.OpenLatchWriter[T](view)) },
		Open:   func(view []byte) (Source, error) { return wrap(seqlock.OpenLatch[T](view)) },
		Smear:  smearSlot(size, slots),
	}
}

type oddEvenAsBytes[T any] struct {
	asBytes[T, *seqlock.OddEven[T]]
	*seqlock.OddEven[T]
}

// Single is a seqlock.OddEven[T], with the same conditions as [Typed].
func Single[T any](name string) Variant {
	var zero T
	size := int(unsafe.Sizeof(zero))
	wrap := func(l *seqlock.OddEven[T], err error) (oddEvenAsBytes[T], error) {
		return oddEvenAsBytes[T]{asBytes[T, *seqlock.OddEven[T]]{l, new(T)}, l}, err
	}
	return Variant{
		Name:   fmt.Sprintf("odd/even %s", name),
		Max:    size,
		Fixed:  true,
		Single: true,
		Size:   func() (int, error) { return seqlock.OddEvenSize[T]() },
		Make:   func(view []byte) (Publisher, error) { return wrap(seqlock.NewOddEven[T](view)) },
		Resume: func(view []byte) (Publisher, error) { return wrap(seqlock.OpenOddEvenWriter[T](view)) },
		Open:   func(view []byte) (Source, error) { return wrap(seqlock.OpenOddEven[T](view)) },
		Smear: func(view []byte, next uint64, b byte) {
			binary.NativeEndian.PutUint64(view, 2*next-1) // odd: a store is under way
			for i := range (size + 1) / 2 {
				view[32+i] = b
			}
		},
	}
}
