package ring_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"shmkit/ring"
)

func newExample(o ring.ProducerOptions) (*ring.Producer, *ring.Consumer) {
	size, err := ring.Size(1024, 120)
	if err != nil {
		panic(err)
	}
	view := make([]byte, size) // or shared memory
	p, err := ring.NewProducer(view, o)
	if err != nil {
		panic(err)
	}
	c, err := ring.NewConsumer(view, ring.ConsumerOptions{Name: o.Name})
	if err != nil {
		panic(err)
	}
	return p, c
}

func Example() {
	p, c := newExample(ring.ProducerOptions{Name: "orders"})
	defer p.Close()
	defer c.Close()

	buf, err := p.Reserve(100) // room for the largest this one may get
	if err != nil {
		panic(err)
	}
	n := copy(buf, "hello")
	p.Commit(n, 1)
	p.Write(2, []byte("world")) // the same in one call, and a flush

	for r := range c.Batch(100) {
		fmt.Println(r.Tag, string(r.Payload))
	}
	c.Release()
	// Output:
	// 1 hello
	// 2 world
}

func ExampleSize() {
	size, err := ring.Size(1<<20, 64<<10)
	fmt.Println(size, err)
	_, err = ring.Size(1_000_000, 64<<10)
	fmt.Println(err)
	// Output:
	// 1122312 <nil>
	// ring: size for capacity 1000000 and records up to 65536 bytes: capacity has to be a power of two: 1048576 is the next one
}

func ExampleGeometry() {
	fmt.Println(ring.Geometry(1122312))
	// Output: 1048576 65536 <nil>
}

func ExampleNewProducer_successor() {
	size, _ := ring.Size(1024, 120)
	view := make([]byte, size)
	p, _ := ring.NewProducer(view, ring.ProducerOptions{Name: "orders"})
	p.Write(1, []byte("committed"))
	p.Reserve(20) // and then it dies

	p.Close() // here only since it is the same process
	heir, err := ring.NewProducer(view, ring.ProducerOptions{Name: "orders"})
	if err != nil {
		panic(err)
	}
	defer heir.Close()
	fmt.Println(heir.Stats().Committed)
	// Output: 1
}

func ExampleConsumer_Wait() {
	p, c := newExample(ring.ProducerOptions{Name: "orders"})
	defer p.Close()
	defer c.Close()
	go func() {
		for i := range 5 {
			p.Write(uint32(i), []byte("record"))
		}
	}()
	for n := 0; n < 5; {
		if err := c.Wait(context.Background()); err != nil {
			panic(err)
		}
		for r := range c.Batch(0) {
			fmt.Println(r.Tag, string(r.Payload))
			n++
		}
		c.Release()
	}
	// Output:
	// 0 record
	// 1 record
	// 2 record
	// 3 record
	// 4 record
}

func ExamplePolicy() {
	p, c := newExample(ring.ProducerOptions{Name: "samples", Policy: ring.OverwriteOldest})
	defer p.Close()
	defer c.Close()
	for i := range 100 {
		p.Write(uint32(i), make([]byte, 56))
	}
	_, _, err := c.Next()
	fmt.Println(err)
	r, _, _ := c.Next()
	fmt.Println("next is", r.Tag)
	// Output:
	// ring: "samples": 84 records were overwritten before they were read: read faster or make the ring larger
	// next is 84
}

func ExampleProducer_ReserveDeadline() {
	p, c := newExample(ring.ProducerOptions{Name: "orders"})
	defer p.Close()
	defer c.Close()
	for {
		if _, err := p.TryReserve(120); errors.Is(err, ring.ErrFull) {
			break
		}
		p.Commit(120, 0)
	}
	_, err := p.ReserveDeadline(120, time.Now().Add(time.Millisecond))
	fmt.Println(errors.Is(err, os.ErrDeadlineExceeded))
	fmt.Println(err)
	p.Drop(ring.DropTimeout, 1) // given up
	fmt.Println(p.Stats().Attempted, p.Stats().Committed)
	// Output:
	// true
	// ring: wait for space in "orders": i/o timeout
	// 9 8
}
