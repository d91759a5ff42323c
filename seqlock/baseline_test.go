package seqlock_test

import "sync/atomic"

// seqcount is the yardstick: the textbook sequence lock inside one process, two
// increments around a plain copy, as in gVisor's pkg/sync. It is not safe between
// processes (a dead writer hangs its readers) and not clean under the race
// detector, which is why it is here and not in the package.
type seqcount struct{ epoch uint32 }

func (s *seqcount) beginRead() uint32 {
	e := atomic.LoadUint32(&s.epoch)
	if e&1 != 0 {
		e = s.beginReadSlow()
	}
	return e
}

//go:noinline
func (s *seqcount) beginReadSlow() uint32 {
	for {
		if e := atomic.LoadUint32(&s.epoch); e&1 == 0 {
			return e
		}
	}
}

func (s *seqcount) readOk(e uint32) bool { return atomic.LoadUint32(&s.epoch) == e }

func (s *seqcount) beginWrite() { atomic.AddUint32(&s.epoch, 1) }
func (s *seqcount) endWrite()   { atomic.AddUint32(&s.epoch, 1) }

// guarded is a value behind a seqcount, each on lines of their own.
type guarded[T any] struct {
	seq seqcount
	_   [124]byte
	val T
}

// load and store are calls, like Latch's Load and Store and like gVisor's generated
// SeqAtomicLoad: what a caller pays who does not write the loop out in place.
//
//go:noinline
func (g *guarded[T]) load(v *T) {
	for {
		e := g.seq.beginRead()
		*v = g.val
		if g.seq.readOk(e) {
			return
		}
	}
}

//go:noinline
func (g *guarded[T]) loadValue() (v T) {
	for {
		e := g.seq.beginRead()
		v = g.val
		if g.seq.readOk(e) {
			return v
		}
	}
}

//go:noinline
func (g *guarded[T]) store(v *T) {
	g.seq.beginWrite()
	g.val = *v
	g.seq.endWrite()
}
