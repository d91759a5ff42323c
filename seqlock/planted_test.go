package seqlock_test

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"shmkit/seqlock"
	"shmkit/seqlock/seqlocktest"
)

// TestSuiteCatchesPlantedBugs runs every case of the suite on a latch that breaks
// just that promise. A case without a bug to catch fails the test.
func TestSuiteCatchesPlantedBugs(t *testing.T) {
	planted := map[string]func(*seqlocktest.Variant){
		"empty": reader(func(s seqlocktest.Source, dst []byte) ([]byte, uint64, error) {
			p, v, err := s.Read(dst)
			if v == 0 {
				err = nil
			}
			return p, v, err
		}),
		"sequence": reader(func(s seqlocktest.Source, dst []byte) ([]byte, uint64, error) {
			p, v, err := s.Read(dst)
			if v == 77 && len(p) > 0 {
				p[len(p)-1] ^= 1
			}
			return p, v, err
		}),
		"sizes": reader(func(s seqlocktest.Source, dst []byte) ([]byte, uint64, error) {
			p, v, err := s.Read(dst)
			return p[:len(p)&^7], v, err
		}),
		"buffer": reader(func(s seqlocktest.Source, dst []byte) ([]byte, uint64, error) {
			return s.Read(nil)
		}),
		"formatted": func(v *seqlocktest.Variant) {
			mk := v.Make
			v.Make = func(view []byte) (seqlocktest.Publisher, error) {
				clear(view)
				return mk(view)
			}
		},
		"successor": func(v *seqlocktest.Variant) {
			resume := v.Resume
			v.Resume = func(view []byte) (seqlocktest.Publisher, error) {
				clear(view[:8])
				return resume(view)
			}
		},
		"killed writer": func(v *seqlocktest.Variant) { // fills the slot that is being read
			smear := v.Smear
			v.Smear = func(view []byte, next uint64, b byte) { smear(view, next-1, b) }
		},
		"second writer": func(v *seqlocktest.Variant) {
			resume := v.Resume
			v.Make = wrapped(v.Make, func(view []byte, p seqlocktest.Publisher) seqlocktest.Publisher {
				return unsuspecting{p, view, resume}
			})
		},
		"reader writes nothing": func(v *seqlocktest.Variant) {
			open := v.Open
			v.Open = func(view []byte) (seqlocktest.Source, error) {
				s, err := open(view)
				return readerFunc{s, func(dst []byte) ([]byte, uint64, error) {
					view[len(view)-1]++ // counts its reads in the memory it shares
					return s.Read(dst)
				}}, err
			}
		},
		"wait": func(v *seqlocktest.Variant) {
			forget := func(_ []byte, p seqlocktest.Publisher) seqlocktest.Publisher { return forgetful{p} }
			v.Make, v.Resume = wrapped(v.Make, forget), wrapped(v.Resume, forget)
		},
		"race": naive,
	}
	for _, c := range seqlocktest.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			plant, ok := planted[c.Name]
			if !ok {
				t.Fatal("no planted bug for this case")
			}
			v := seqlocktest.Bytes(1001, 4)
			plant(&v)
			// The bugs show at once, but for the one that takes a race.
			var err error
			for deadline := time.Now().Add(20 * time.Second); err == nil && time.Now().Before(deadline); {
				err = c.Run(&seqlocktest.Env{Variant: v, Views: seqlocktest.Heap,
					Waiter: new(seqlocktest.Parker), Reads: 20_000, Patience: 100 * time.Millisecond})
			}
			if err == nil {
				t.Error("the bug went unnoticed")
			}
			t.Log(err)
		})
	}
}

type readerFunc struct {
	seqlocktest.Source
	read func(dst []byte) ([]byte, uint64, error)
}

func (r readerFunc) Read(dst []byte) ([]byte, uint64, error) { return r.read(dst) }

func reader(read func(seqlocktest.Source, []byte) ([]byte, uint64, error)) func(*seqlocktest.Variant) {
	return func(v *seqlocktest.Variant) {
		open := v.Open
		v.Open = func(view []byte) (seqlocktest.Source, error) {
			s, err := open(view)
			return readerFunc{s, func(dst []byte) ([]byte, uint64, error) { return read(s, dst) }}, err
		}
	}
}

type opener = func(view []byte) (seqlocktest.Publisher, error)

func wrapped(open opener, wrap func([]byte, seqlocktest.Publisher) seqlocktest.Publisher) opener {
	return func(view []byte) (seqlocktest.Publisher, error) {
		p, err := open(view)
		if err != nil {
			return nil, err
		}
		return wrap(view, p), nil
	}
}

// unsuspecting looks at the shared version only, and so never meets a second writer.
type unsuspecting struct {
	seqlocktest.Publisher
	view   []byte
	resume opener
}

func (u unsuspecting) Publish(b []byte) (uint64, error) {
	p, err := u.resume(u.view)
	if err != nil {
		return 0, err
	}
	return p.Publish(b)
}

type forgetful struct{ seqlocktest.Publisher }

func (forgetful) WakeWith(seqlock.Waiter) error { return nil }

// naive makes v one copy behind a version that is stored after it, and nothing to
// tell a reader that it was overtaken in the middle.
func naive(v *seqlocktest.Variant) {
	n := (v.Max + 7) / 8
	v.Size = func() (int, error) { return 16 + n*8, nil }
	v.Make = func(view []byte) (seqlocktest.Publisher, error) { return &naiveLatch{words(view)}, nil }
	v.Open = func(view []byte) (seqlocktest.Source, error) { return &naiveLatch{words(view)}, nil }
	v.Resume = v.Make
}

func words(view []byte) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(view))), len(view)/8)
}

type naiveLatch struct{ w []uint64 }

func (l *naiveLatch) Publish(p []byte) (uint64, error) {
	atomic.StoreUint64(&l.w[1], uint64(len(p)))
	for i := 0; i < len(p); i += 8 {
		var word [8]byte
		copy(word[:], p[i:])
		atomic.StoreUint64(&l.w[2+i/8], binary.LittleEndian.Uint64(word[:]))
	}
	return atomic.AddUint64(&l.w[0], 1), nil
}

func (l *naiveLatch) Read(dst []byte) ([]byte, uint64, error) {
	v := atomic.LoadUint64(&l.w[0])
	n := int(atomic.LoadUint64(&l.w[1]))
	dst = dst[:0]
	for i := 0; i < n; i += 8 {
		dst = binary.LittleEndian.AppendUint64(dst, atomic.LoadUint64(&l.w[2+i/8]))
	}
	return dst[:min(n, len(dst))], v, nil
}

func (l *naiveLatch) Version() uint64               { return atomic.LoadUint64(&l.w[0]) }
func (l *naiveLatch) WakeWith(seqlock.Waiter) error { return nil }
func (l *naiveLatch) Wait(_ context.Context, _ seqlock.Waiter, old uint64) (uint64, error) {
	return old, nil
}

func asBytes[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}
