package seqlock_test

import (
	"errors"
	"testing"
	"unsafe"

	"shmkit/seqlock"
)

type point struct{ X, Y int32 }

// TestTypes: what has an address in it is refused, with the name of the field.
func TestTypes(t *testing.T) {
	ok := func(_ uint64, err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	ok(seqlock.Schema[bool]())
	ok(seqlock.Schema[int]())
	ok(seqlock.Schema[complex128]())
	ok(seqlock.Schema[[4]point]())
	ok(seqlock.Schema[struct {
		a uint8
		_ [3]byte
		b struct{ c, d float32 }
		e struct{}
	}]())

	refused := func(path string) func(uint64, error) {
		return func(_ uint64, err error) {
			t.Helper()
			var te *seqlock.TypeError
			if !errors.As(err, &te) || te.Path != path {
				t.Errorf("%v, want a TypeError at %q", err, path)
			}
		}
	}
	refused("")(seqlock.Schema[*int]())
	refused("")(seqlock.Schema[string]())
	refused("")(seqlock.Schema[[]byte]())
	refused("")(seqlock.Schema[map[int]int]())
	refused("")(seqlock.Schema[any]())
	refused("")(seqlock.Schema[func()]())
	refused("")(seqlock.Schema[chan int]())
	refused("")(seqlock.Schema[uintptr]())
	refused("")(seqlock.Schema[unsafe.Pointer]())
	refused("")(seqlock.Schema[struct{}]())
	refused("")(seqlock.Schema[[0]int]())
	refused("")(seqlock.Schema[[1<<30 + 1]byte]())
	refused(".Inner[].name")(seqlock.Schema[struct {
		N     int
		Inner [2]struct {
			Ok   bool
			name string
		}
	}]())

	// The constructors say the same.
	view := make([]byte, 4096)
	_, err1 := seqlock.LatchSize[string](4)
	_, err2 := seqlock.NewLatch[string](view, 4)
	_, err3 := seqlock.OpenLatch[string](view)
	_, err4 := seqlock.OpenLatchWriter[string](view)
	_, err5 := seqlock.OddEvenSize[string]()
	_, err6 := seqlock.NewOddEven[string](view)
	_, err7 := seqlock.OpenOddEven[string](view)
	for _, err := range []error{err1, err2, err3, err4, err5, err6, err7} {
		refused("")(0, err)
	}
}

// TestSchemaTellsLayoutsApart: types of one size that must not be taken for each other.
func TestSchemaTellsLayoutsApart(t *testing.T) {
	type renamed point
	seen := map[uint64]int{}
	for i, f := range []func() (uint64, error){
		seqlock.Schema[point],
		seqlock.Schema[struct{ Y, X int32 }],
		seqlock.Schema[struct{ X, Y uint32 }],
		seqlock.Schema[struct{ X, Y float32 }],
		seqlock.Schema[struct{ X, Z int32 }],
		seqlock.Schema[[2]int32],
		seqlock.Schema[[8]byte],
		seqlock.Schema[[2][4]byte],
		seqlock.Schema[int64],
		seqlock.Schema[struct{ N int64 }],
		seqlock.Schema[struct {
			X int16
			Y int32
		}],
	} {
		h, err := f()
		if err != nil {
			t.Fatal(err)
		}
		if other, dup := seen[h]; dup {
			t.Errorf("types %d and %d have the same schema", other, i)
		}
		seen[h] = i
	}
	a, _ := seqlock.Schema[point]()
	b, _ := seqlock.Schema[renamed]()
	if a != b {
		t.Error("the name of a type is part of its schema")
	}
}

// TestSkew: a build with another idea of T is turned away, not given nonsense.
func TestSkew(t *testing.T) {
	view := heap(t, 4096)
	if _, err := seqlock.NewLatch[point](view, 4); err != nil {
		t.Fatal(err)
	}
	_, err1 := seqlock.OpenLatch[struct{ Y, X int32 }](view)
	_, err2 := seqlock.OpenLatchWriter[struct{ X, Y, Z int32 }](view)
	wantLayout(t, "other order", err1, seqlock.ErrMismatch)
	wantLayout(t, "other size", err2, seqlock.ErrMismatch)
	if _, err := seqlock.OpenLatch[point](view); err != nil {
		t.Error(err)
	}
}
