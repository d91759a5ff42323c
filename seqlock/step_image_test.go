//go:build linux && (amd64 || arm64)

package seqlock_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"shmkit/seqlock"
)

// The step tests run a writer or a reader of a second process one machine
// instruction at a time. This file holds what they share: payloads that tell
// which version they belong to, and the auditor that judges an image.

// stress widens the step tests to every case there is.
var stress = os.Getenv("SHMKIT_STRESS") == "1"

// content is the payload of a version: every word of it depends on the version
// and on its place, so that no mixture of two passes for one.
func content(version uint64, n int) []byte {
	b := make([]byte, n)
	x := version * 0x9e3779b97f4a7c15
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

// size is the length of a version's payload: the corner cases in turn.
func size(version uint64, most int) int {
	return []int{most, 0, 1, most - 1, 8, most / 2, 7, 9}[version%8] % (most + 1)
}

// heapCopy is a copy of an image as a fresh process would map it: aligned, and
// out of reach for the writer.
func heapCopy(image []byte) []byte {
	words := make([]uint64, (len(image)+7)/8)
	view := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(image))
	copy(view, image)
	return view
}

// A side is what the auditor needs to know of a latch form.
type side struct {
	// read reads view as a process that attaches now.
	read func(view []byte) (payload []byte, version uint64, err error)
	// publish lets a successor of the writer, one that attaches now, publish the
	// next version, and returns its number.
	publish func(view []byte) (version uint64, err error)
	// want is the payload that version must have.
	want func(version uint64) []byte
	// mayFail says that readers may find no version at all in the middle of a
	// store: the limit of the classic form. Never true for a latch.
	mayFail bool
	typed   bool
}

// bytesSide is the bytes form with slots of most bytes.
func bytesSide(most int) side {
	return side{
		read: func(view []byte) ([]byte, uint64, error) {
			r, err := seqlock.OpenReader(view)
			if err != nil {
				return nil, 0, err
			}
			return r.Read(nil)
		},
		publish: func(view []byte) (uint64, error) {
			w, err := seqlock.OpenWriter(view)
			if err != nil {
				return 0, err
			}
			return w.Publish(content(w.Version()+1, size(w.Version()+1, most)))
		},
		want: func(version uint64) []byte { return content(version, size(version, most)) },
	}
}

// latchSide is the typed form. T has no padding.
func latchSide[T any]() side {
	return side{
		read: func(view []byte) ([]byte, uint64, error) {
			l, err := seqlock.OpenLatch[T](view)
			if err != nil {
				return nil, 0, err
			}
			v := new(T)
			version, err := l.Load(v)
			return bytesOf(v), version, err
		},
		publish: func(view []byte) (uint64, error) {
			l, err := seqlock.OpenLatchWriter[T](view)
			if err != nil {
				return 0, err
			}
			return l.Store(valueOf[T](l.Version() + 1))
		},
		want:  func(version uint64) []byte { return content(version, int(unsafe.Sizeof(*new(T)))) },
		typed: true,
	}
}

// oddEvenSide is the classic form.
func oddEvenSide[T any]() side {
	return side{
		read: func(view []byte) ([]byte, uint64, error) {
			l, err := seqlock.OpenOddEven[T](view)
			if err != nil {
				return nil, 0, err
			}
			v := new(T)
			version, err := l.Load(v)
			return bytesOf(v), version, err
		},
		publish: func(view []byte) (uint64, error) {
			l, err := seqlock.OpenOddEvenWriter[T](view)
			if err != nil {
				return 0, err
			}
			return l.Store(valueOf[T](l.Version() + 1))
		},
		want:    func(version uint64) []byte { return content(version, int(unsafe.Sizeof(*new(T)))) },
		mayFail: true,
		typed:   true,
	}
}

func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

func valueOf[T any](version uint64) *T {
	v := new(T)
	copy(bytesOf(v), content(version, int(unsafe.Sizeof(*v))))
	return v
}

// audit judges an image left by a writer that died, or stands still, while it
// published version last+1. What must hold:
//
//  1. A reader gets version last or last+1, and nothing if last is 0 and last+1
//     is not there yet.
//  2. It gets it whole: the bytes are those of that version and no other.
//  3. A successor of the writer publishes the next version, which a reader then
//     gets whole.
//
// It returns the version that is readable. The image is not changed.
func (s side) audit(image []byte, last uint64) (version uint64, err error) {
	view := heapCopy(image)
	got, version, err := s.read(view)
	switch {
	case errors.Is(err, seqlock.ErrEmpty) && last == 0:
		version = 0
	case s.mayFail && errors.Is(err, seqlock.ErrUnfinished):
		version = last
	case err != nil:
		return 0, fmt.Errorf("read: %w", err)
	case version != last && version != last+1:
		return version, fmt.Errorf("version %d is readable while %d is being published", version, last+1)
	case !bytes.Equal(got, s.want(version)):
		return version, fmt.Errorf("version %d is torn: %s", version, difference(got, s.want(version)))
	}
	next, err := s.publish(view)
	if err != nil {
		return version, fmt.Errorf("successor: %w", err)
	}
	if next != version+1 {
		return version, fmt.Errorf("successor published version %d after %d", next, version)
	}
	got, after, err := s.read(view)
	if err != nil || after != next || !bytes.Equal(got, s.want(next)) {
		return version, fmt.Errorf("after the successor published %d: version %d, %v, %s", next, after, err, difference(got, s.want(next)))
	}
	return version, nil
}

func difference(got, want []byte) string {
	if len(got) != len(want) {
		return fmt.Sprintf("%d bytes, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			return fmt.Sprintf("byte %d of %d differs", i, len(want))
		}
	}
	return "bytes as they should be"
}
