//go:build linux

package stepper_test

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"

	"shmkit/internal/proctest"
	"shmkit/internal/stepper"
)

func TestMain(m *testing.M) { proctest.Main(m) }

const (
	first  = 0
	second = 64
	rounds = 3
)

//go:noinline
func storeBoth(image []byte, v uint64) {
	binary.NativeEndian.PutUint64(image[first:], v)
	binary.NativeEndian.PutUint64(image[second:], v)
}

var _ = proctest.Helper("store-both", func([]string) {
	tracee := stepper.Attach()
	for v := range uint64(rounds) {
		tracee.Begin()
		storeBoth(tracee.Image, v+1)
		tracee.End()
		tracee.Report(v + 1)
	}
})

func words(image []byte) [2]uint64 {
	return [2]uint64{binary.NativeEndian.Uint64(image[first:]), binary.NativeEndian.Uint64(image[second:])}
}

// Every state between two stores is seen: before, between and after, in this
// order, in every round. A stepper that skipped an instruction could not do it.
func TestEveryStateIsSeen(t *testing.T) {
	p := stepper.Start(t, "store-both", make([]byte, 4096))
	var round uint64
	for p.Next() {
		if round > 0 {
			var reported uint64
			if err := p.Report(&reported); err != nil || reported != round {
				t.Fatalf("report after round %d: %d, %v", round, reported, err)
			}
		}
		seen := [][2]uint64{words(p.Image())}
		inFunc, steps := 0, 0
		for n := range p.Steps() {
			if steps++; n != steps {
				t.Fatalf("step %d was numbered %d", steps, n)
			}
			if w := words(p.Image()); w != seen[len(seen)-1] {
				seen = append(seen, w)
			}
			if strings.HasSuffix(p.Func(), ".storeBoth") {
				inFunc++
			}
		}
		want := [][2]uint64{{round, round}, {round + 1, round}, {round + 1, round + 1}}
		if !slices.Equal(seen, want) {
			t.Errorf("round %d: the image went through %v, want %v", round, seen, want)
		}
		// Two stores, two bounds checks and the return cannot be fewer than five.
		if inFunc < 5 || steps > 2000 {
			t.Errorf("round %d: %d of %d steps in the function itself", round, inFunc, steps)
		}
		round++
	}
	if err := p.Err(); err != nil || round != rounds {
		t.Fatalf("%d rounds, %v", round, err)
	}
}

// Stopping between the two stores leaves exactly that state behind, whether the
// helper is then killed or goes on.
func TestStopBetweenTwoStores(t *testing.T) {
	for _, kill := range []bool{true, false} {
		p := stepper.Start(t, "store-both", make([]byte, 4096))
		if !p.Next() {
			t.Fatal(p.Err())
		}
		for range p.Steps() {
			if words(p.Image()) == [2]uint64{1, 0} {
				break
			}
		}
		if kill {
			p.Kill()
			if p.Next() || p.Err() != nil {
				t.Fatalf("after Kill: %v", p.Err())
			}
			if w := words(p.Image()); w != [2]uint64{1, 0} {
				t.Errorf("killed between the stores, the image is %v", w)
			}
			continue
		}
		if !p.Next() || words(p.Image()) != [2]uint64{1, 1} {
			t.Errorf("run on from between the stores: %v, %v", words(p.Image()), p.Err())
		}
	}
}

var _ = proctest.Helper("load-twice", func([]string) {
	tracee := stepper.Attach()
	for {
		tracee.Begin()
		a, b := loadTwice(tracee.Image)
		tracee.End()
		tracee.Report([2]uint32{a, b})
	}
})

// A change made by the test at one instruction is what the next load of the
// helper sees: this is how double fetches are found.
func TestFlipBetweenTwoLoads(t *testing.T) {
	p := stepper.Start(t, "load-twice", make([]byte, 4096))
	if !p.Next() {
		t.Fatal(p.Err())
	}
	results := map[[2]uint32]int{}
	for at := 1; ; at++ {
		p.Image()[0] = 0
		flipped := false
		for n := range p.Steps() {
			if n == at {
				p.Image()[0] = 1
				flipped = true
				break
			}
		}
		if !flipped {
			break
		}
		if !p.Next() {
			t.Fatal(p.Err())
		}
		var got [2]uint32
		if err := p.Report(&got); err != nil {
			t.Fatal(err)
		}
		results[got]++
	}
	p.Kill()
	if results[[2]uint32{0, 0}] == 0 || results[[2]uint32{0, 1}] == 0 || results[[2]uint32{1, 1}] == 0 || len(results) != 3 {
		t.Errorf("pairs of loads seen: %v, want 00, 01 and 11", results)
	}
}

var _ = proctest.Helper("stray", func(args []string) {
	tracee := stepper.Attach()
	defer func() {
		tracee.Report(recover() != nil)
	}()
	tracee.Begin()
	stray(tracee.Image, args[0])
	tracee.End()
})

// An access beyond the image is a fault that the helper can report.
func TestImageIsGuarded(t *testing.T) {
	for _, side := range []string{"before", "after"} {
		p := stepper.Start(t, "stray", make([]byte, 8192), side)
		for p.Next() {
		}
		var faulted bool
		if err := p.Report(&faulted); err != nil || p.Err() != nil || !faulted {
			t.Errorf("%s: faulted %v, %v, %v", side, faulted, err, p.Err())
		}
	}
}

var _ = proctest.Helper("exit-inside", func([]string) {
	tracee := stepper.Attach()
	tracee.Begin()
	os.Exit(7)
})

// A helper that ends inside an operation ends the iteration and says so.
func TestExitInsideOperation(t *testing.T) {
	p := stepper.Start(t, "exit-inside", make([]byte, 1))
	if !p.Next() {
		t.Fatal(p.Err())
	}
	for range p.Steps() {
	}
	if p.Next() || p.Err() == nil || !strings.Contains(p.Err().Error(), "code 7") {
		t.Errorf("ended with %v", p.Err())
	}
}

var _ = proctest.Helper("count", func([]string) {
	tracee := stepper.Attach()
	tracee.Begin()
	for {
		tracee.Image[0]++
	}
})

// A caller may leave an operation that has no end, and continue it.
func TestLeaveAndContinue(t *testing.T) {
	p := stepper.Start(t, "count", make([]byte, 1))
	if !p.Next() {
		t.Fatal(p.Err())
	}
	for want := byte(1); want <= 3; want++ {
		for range p.Steps() {
			if p.Image()[0] == want {
				break
			}
		}
	}
	p.Kill()
	if p.Image()[0] != 3 || p.Err() != nil {
		t.Errorf("counted to %d, %v", p.Image()[0], p.Err())
	}
}

// Goto stands where as many steps lead, in loops too: the image is the same.
func TestGotoIsStepping(t *testing.T) {
	p := stepper.Start(t, "fill", make([]byte, 64))
	if !p.Next() {
		t.Fatal(p.Err())
	}
	trace := p.Trace()
	p.Next()
	var images [][]byte
	for range p.Steps() {
		images = append(images, bytes.Clone(p.Image()))
	}
	if len(images) != len(trace) {
		t.Fatalf("%d steps, then %d", len(trace), len(images))
	}
	places := p.Places(trace, "shmkit/internal/stepper_test.")
	if len(places) < 64 {
		t.Fatalf("only %d places in a loop of 16 rounds", len(places))
	}
	for _, i := range places {
		if !p.Next() {
			t.Fatal(p.Err())
		}
		if !p.Goto(trace, i) {
			t.Fatalf("place %d not reached: %v", i, p.Err())
		}
		if !bytes.Equal(p.Image(), images[i]) {
			t.Fatalf("place %d: the image differs from that of %d steps", i, i+1)
		}
	}
	p.Kill()
}

var _ = proctest.Helper("fill", func([]string) {
	tracee := stepper.Attach()
	for {
		clear(tracee.Image)
		tracee.Begin()
		fill(tracee.Image)
		tracee.End()
	}
})

//go:noinline
func fill(image []byte) {
	for i := range 16 {
		image[i] = byte(i + 1)
	}
}

// What one step costs: two switches between processes and three system calls.
func BenchmarkStep(b *testing.B) {
	p := stepper.Start(b, "count", make([]byte, 1))
	if !p.Next() {
		b.Fatal(p.Err())
	}
	b.ResetTimer()
	for n := range p.Steps() {
		if n >= b.N {
			break
		}
	}
	b.StopTimer()
	p.Kill()
}
