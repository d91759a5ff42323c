package logring

import (
	"sync/atomic"
	"unsafe"

	"shmkit/shm"
)

// The layout is a public format: a field that moves does not compile.
var (
	_ = [1]struct{}{}[unsafe.Sizeof(nodePage{})-shm.PageSize]
	_ = [1]struct{}{}[unsafe.Offsetof(nodePage{}.dict)-8]
	_ = [1]struct{}{}[unsafe.Offsetof(nodePage{}.rules)-24]
	_ = [1]struct{}{}[unsafe.Offsetof(nodePage{}.level)-64]
	_ = [1]struct{}{}[unsafe.Offsetof(nodePage{}.asleep)-68]
	_ = [1]struct{}{}[unsafe.Offsetof(nodePage{}.stream)-72]
	_ = [1]struct{}{}[unsafe.Offsetof(nodePage{}.clock)-128]
	_ = [1]struct{}{}[unsafe.Offsetof(nodePage{}.table)-512]
	_ = [1]struct{}{}[unsafe.Sizeof(ringEntry{})-32]
	_ = [1]struct{}{}[unsafe.Sizeof(clockNote{})-136]
	_ = [1]struct{}{}[unsafe.Offsetof(nodePage{}.answer)-3072]
	_ = [1]struct{}{}[unsafe.Sizeof(workerPage{})-shm.PageSize]
	_ = [1]struct{}{}[unsafe.Offsetof(workerPage{}.ask)-8]
	_ = [1]struct{}{}[unsafe.Offsetof(workerPage{}.closed)-16]
	_ = [1]struct{}{}[unsafe.Offsetof(workerPage{}.told)-64]
)

// nodePageOf and workerPageOf view the two pages of a lease, whose length was
// checked and which starts at a multiple of 8.
func nodePageOf(lease []byte) *nodePage { return (*nodePage)(unsafe.Pointer(&lease[0])) }
func workerPageOf(lease []byte) *workerPage {
	return (*workerPage)(unsafe.Pointer(&lease[shm.PageSize]))
}

// headWord is how far the collector has read, tailWord how far the worker has
// written: the first words of the two pages of a ring.
func headWord(view []byte) *uint64 { return (*uint64)(unsafe.Pointer(&view[0])) }
func tailWord(view []byte) *uint64 { return (*uint64)(unsafe.Pointer(&view[shm.PageSize])) }

// load32 and load64 are one load each.
func load32(p *uint32) uint32 { return atomic.LoadUint32(p) }
func load64(p *uint64) uint64 { return atomic.LoadUint64(p) }

// store32 and store64 are one store each, sequentially consistent.
func store32(p *uint32, v uint32) { atomic.StoreUint32(p, v) }
func store64(p *uint64, v uint64) { atomic.StoreUint64(p, v) }
