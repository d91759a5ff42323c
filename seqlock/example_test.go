package seqlock_test

import (
	"context"
	"errors"
	"fmt"

	"shmkit/seqlock"
)

// The memory may as well be a mapping that other processes share.
func Example() {
	type Limits struct{ Rate, Burst int64 }

	size, _ := seqlock.LatchSize[Limits](seqlock.DefaultSlots)
	view := make([]byte, size)

	owner, err := seqlock.NewLatch[Limits](view, seqlock.DefaultSlots)
	if err != nil {
		panic(err)
	}
	owner.Store(&Limits{Rate: 100, Burst: 20})
	owner.Store(&Limits{Rate: 250, Burst: 20})

	worker, err := seqlock.OpenLatch[Limits](view)
	if err != nil {
		panic(err)
	}
	var now Limits
	version, err := worker.Load(&now)
	fmt.Println(version, now, err)
	// Output: 2 {250 20} <nil>
}

func ExampleWriter() {
	size, _ := seqlock.Size(1024, 4)
	view := make([]byte, size)
	if err := seqlock.Format(view, 1024, 4); err != nil {
		panic(err)
	}
	w, err := seqlock.OpenWriter(view)
	if err != nil {
		panic(err)
	}
	w.Publish([]byte(`{"level": "info"}`))

	// The writer is gone; another one takes over on the same memory.
	w, err = seqlock.OpenWriter(view)
	if err != nil {
		panic(err)
	}
	version, err := w.Publish([]byte(`{"level": "debug"}`))
	fmt.Println(version, err)

	_, err = w.Publish(make([]byte, 2000))
	fmt.Println(err)
	// Output:
	// 2 <nil>
	// seqlock: publish: payload too large: 2000 bytes into slots of 1024: format with a larger payload
}

func ExampleReader_Read() {
	size, _ := seqlock.Size(1024, 4)
	view := make([]byte, size)
	if err := seqlock.Format(view, 1024, 4); err != nil {
		panic(err)
	}
	r, err := seqlock.OpenReader(view)
	if err != nil {
		panic(err)
	}
	buf := make([]byte, 0, r.MaxPayload()) // large enough for good: reads allocate nothing

	_, _, err = r.Read(buf)
	fmt.Println(errors.Is(err, seqlock.ErrEmpty))

	w, err := seqlock.OpenWriter(view)
	if err != nil {
		panic(err)
	}
	w.Publish([]byte("hello"))

	doc, version, err := r.Read(buf)
	fmt.Printf("%s %d %v\n", doc, version, err)
	// Output:
	// true
	// hello 1 <nil>
}

func ExampleReader_Wait() {
	size, _ := seqlock.Size(64, 4)
	view := make([]byte, size)
	if err := seqlock.Format(view, 64, 4); err != nil {
		panic(err)
	}
	w, err := seqlock.OpenWriter(view)
	if err != nil {
		panic(err)
	}
	r, err := seqlock.OpenReader(view)
	if err != nil {
		panic(err)
	}
	go w.Publish([]byte("news"))

	version, err := r.Wait(context.Background(), seqlock.Poll(0), 0) // between processes: a futex
	fmt.Println(version, err)
	// Output: 1 <nil>
}

func ExampleOddEven() {
	size, _ := seqlock.OddEvenSize[uint64]()
	view := make([]byte, size)
	owner, err := seqlock.NewOddEven[uint64](view)
	if err != nil {
		panic(err)
	}
	step := uint64(41)
	owner.Store(&step)

	var v uint64
	version, err := owner.Load(&v)
	fmt.Println(size, version, v, err)
	// Output: 40 1 41 <nil>
}

func ExampleSchema() {
	_, err := seqlock.Schema[struct {
		ID   int64
		Tags []string
	}]()
	fmt.Println(err)
	// Output: seqlock: type struct { ID int64; Tags []string }.Tags: a slice holds an address, which means nothing in another process
}
