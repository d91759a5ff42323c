package ring

import (
	"fmt"
	"unsafe"
)

// The byte layout is a public format: a field that moves does not compile.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(consumerPage{})-pageSize]
	_ = [1]struct{}{}[unsafe.Offsetof(consumerPage{}.head)-0]
	_ = [1]struct{}{}[unsafe.Offsetof(consumerPage{}.asleep)-128]
	_ = [1]struct{}{}[unsafe.Offsetof(consumerPage{}.wakeAt)-136]
	_ = [1]struct{}{}[unsafe.Offsetof(consumerPage{}.claim)-144]
	_ = [1]struct{}{}[unsafe.Offsetof(consumerPage{}.delivered)-256]
	_ = [1]struct{}{}[unsafe.Offsetof(consumerPage{}.wakes)-384]

	_ = [1]struct{}{}[unsafe.Sizeof(producerPage{})-pageSize]
	_ = [1]struct{}{}[unsafe.Offsetof(producerPage{}.tail)-0]
	_ = [1]struct{}{}[unsafe.Offsetof(producerPage{}.mode)-8]
	_ = [1]struct{}{}[unsafe.Offsetof(producerPage{}.asleep)-128]
	_ = [1]struct{}{}[unsafe.Offsetof(producerPage{}.wakeAt)-136]
	_ = [1]struct{}{}[unsafe.Offsetof(producerPage{}.claim)-144]
	_ = [1]struct{}{}[unsafe.Offsetof(producerPage{}.committed)-256]
	_ = [1]struct{}{}[unsafe.Offsetof(producerPage{}.oldest)-384]
	_ = [1]struct{}{}[unsafe.Offsetof(producerPage{}.blocked)-512]
	_ = [1]struct{}{}[unsafe.Offsetof(producerPage{}.dropped)-528]

	_ = [1]struct{}{}[unsafe.Sizeof(note{})-104]
)

// A region is a view taken apart. The slice keeps a heap view alive.
type region struct {
	geometry
	mask uint64
	cons *consumerPage
	prod *producerPage
	base unsafe.Pointer // of the data
	view []byte
}

// newRegion checks the view and takes it apart. checkptr would catch neither a
// page that reaches past the end of a mapping nor a misaligned word.
func newRegion(view []byte) (region, error) {
	g, err := geometryOf(len(view))
	if err != nil {
		return region{}, err
	}
	p := unsafe.Pointer(unsafe.SliceData(view))
	if uintptr(p)%align != 0 {
		return region{}, fmt.Errorf("the view starts at %#x: it has to start at a multiple of %d bytes", uintptr(p), align)
	}
	return region{
		geometry: g,
		mask:     g.capacity - 1,
		cons:     (*consumerPage)(p),
		prod:     (*producerPage)(unsafe.Add(p, pageSize)),
		base:     unsafe.Add(p, dataAt),
		view:     view,
	}, nil
}

// address identifies the view within the process.
func (r *region) address() uintptr { return uintptr(unsafe.Pointer(r.cons)) }

// word returns the record header at offset off of the data. The caller has
// masked off with the capacity, so the eight bytes are inside and aligned.
func word(base unsafe.Pointer, off uint64) *uint64 {
	return (*uint64)(unsafe.Add(base, off))
}

// payload returns n bytes at offset off of the data. The caller has masked the
// offset of the record and bounded n by maxRecord: off+n is inside the overhang.
// It builds the slice by hand since unsafe.Slice checks again what is known.
func payload(base unsafe.Pointer, off, n uint64) []byte {
	s := struct {
		p        unsafe.Pointer
		len, cap int
	}{unsafe.Add(base, off), int(n), int(n)}
	return *(*[]byte)(unsafe.Pointer(&s))
}

// loadOnce loads a record header that the producer may be overwriting: the
// caller bounds it, and finds out afterwards. Not being inlined, it is one aligned
// load, which is whole on both architectures; what orders it is said by the caller.
//
//go:norace
//go:noinline
func loadOnce(p *uint64) uint64 { return *p }

// copyShared copies what the producer may be overwriting: the caller finds out
// afterwards. Both start at multiples of 8, and dst is a multiple of 8 long. It goes
// word by word since the built-in copy is seen by the race detector even here.
//
// These two races are deliberate and not shown to the race detector.
//
//go:norace
func copyShared(dst []byte, src unsafe.Pointer) {
	to := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(dst))), len(dst)/8)
	from := unsafe.Slice((*uint64)(src), len(dst)/8)
	for i := range to {
		to[i] = from[i]
	}
}

// newShadow returns private memory of the shape of the ring's data, so that a
// position means the same offset in both, and its base.
func (r *region) newShadow() ([]byte, unsafe.Pointer) {
	b := make([]byte, r.capacity+r.overhang)
	return b, unsafe.Pointer(unsafe.SliceData(b))
}

var littleEndian = func() bool { x := uint16(1); return *(*byte)(unsafe.Pointer(&x)) == 1 }()

// lowHalf returns the low 32 bits of a position: the word to park on.
func lowHalf(p *uint64) *uint32 {
	if littleEndian {
		return (*uint32)(unsafe.Pointer(p))
	}
	return (*uint32)(unsafe.Add(unsafe.Pointer(p), 4))
}
