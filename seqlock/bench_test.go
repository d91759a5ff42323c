package seqlock

import (
	"testing"
	"unsafe"
)

type line [8]uint64

type boxed struct {
	seq seqcount
	_   [60]byte
	val line
}

func heapView(n int) []byte {
	w := make([]uint64, (n+7)/8+16)
	p := uintptr(unsafe.Pointer(&w[0]))
	off := int(-p & 127)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&w[0])), len(w)*8)
	return b[off : off+n]
}

var sinkLine line

func BenchmarkRead64(b *testing.B) {
	b.Run("seqcount", func(b *testing.B) {
		box := new(boxed)
		var v line
		for b.Loop() {
			for {
				e := box.seq.beginRead()
				v = box.val
				if box.seq.readOk(e) {
					break
				}
			}
		}
		sinkLine = v
	})
	b.Run("Latch", func(b *testing.B) {
		n, _ := LatchSize[line](4)
		l, err := NewLatch[line](heapView(n), 4)
		if err != nil {
			b.Fatal(err)
		}
		var v line
		l.Store(&v)
		for b.Loop() {
			if _, err := l.Load(&v); err != nil {
				b.Fatal(err)
			}
		}
		sinkLine = v
	})
}
func BenchmarkWrite64(b *testing.B) {
	b.Run("seqcount", func(b *testing.B) {
		box := new(boxed)
		var v line
		for b.Loop() {
			box.seq.beginWrite()
			box.val = v
			box.seq.endWrite()
		}
		sinkLine = v
	})
	b.Run("Latch", func(b *testing.B) {
		n, _ := LatchSize[line](4)
		l, err := NewLatch[line](heapView(n), 4)
		if err != nil {
			b.Fatal(err)
		}
		var v line
		for b.Loop() {
			l.Store(&v)
		}
	})
}
