//go:build linux

package call_test

import (
	"context"
	"fmt"
	"net"
	"net/rpc"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"shmkit/call"
	"shmkit/internal/proctest"
)

// Arith is the same service for both.
type Arith struct{}

type Args struct{ A, B int }

func (Arith) Add(a Args, sum *int) error { *sum = a.A + a.B; return nil }

type arithAPI struct {
	Add func(ctx context.Context, a Args) (int, error)
}

const (
	block = 100 // calls that one party makes before it is the other's turn
	turns = 7   // parts of the run, each with a median of its own
)

// callers measures both in one process that is not the owner's: n calls each, in
// turns, and prints the medians of each part of the run in nanoseconds.
var callers = proctest.Helper("callers", func(args []string) {
	n, _ := strconv.Atoi(args[1])
	conn, err := call.Attach([]*os.File{os.NewFile(3, "call")}, args[2:])
	if err != nil {
		panic(err)
	}
	api, err := call.Bind[arithAPI](conn)
	if err != nil {
		panic(err)
	}
	peer, err := rpc.Dial("unix", args[0])
	if err != nil {
		panic(err)
	}
	measure := func(add func(a Args) (int, error)) (times []time.Duration) {
		for i := range block {
			start := time.Now()
			if sum, err := add(Args{i, 7}); err != nil || sum != i+7 {
				panic(err)
			}
			times = append(times, time.Since(start))
		}
		return times
	}
	for range turns {
		var ours, theirs []time.Duration
		for range max(n/block/turns, 1) {
			ours = append(ours, measure(func(a Args) (int, error) { return api.Add(context.Background(), a) })...)
			theirs = append(theirs, measure(func(a Args) (sum int, err error) {
				err = peer.Call("Arith.Add", a, &sum)
				return sum, err
			})...)
		}
		slices.Sort(ours)
		slices.Sort(theirs)
		fmt.Println(ours[len(ours)/2].Nanoseconds(), theirs[len(theirs)/2].Nanoseconds())
	}
})

// BenchmarkProxyCall calls a function of another process, beside net/rpc on a Unix
// socket: same arguments, same two processes, in turns of a hundred calls.
func BenchmarkProxyCall(b *testing.B) {
	ours, theirs := roundTrips(b, b.N+100*block)
	ratios := make([]float64, turns)
	for i := range ratios {
		ratios[i] = ours[i] / theirs[i]
	}
	b.ReportMetric(0, "ns/op")
	for unit, xs := range map[string][]float64{"p50-ns": ours, "netrpc-p50-ns": theirs, "netrpc-ratio": ratios} {
		slices.Sort(xs)
		mid := xs[turns/2]
		b.ReportMetric(mid, unit)
		b.ReportMetric(100*(xs[turns-1]-xs[0])/mid, unit+":spread-%")
	}
}

// The benchmark's parties answer what they should; the helper panics otherwise.
func TestRoundTrips(t *testing.T) {
	ours, theirs := roundTrips(t, block)
	if len(ours) != turns || slices.Min(ours) <= 0 || len(theirs) != turns || slices.Min(theirs) <= 0 {
		t.Error(ours, theirs)
	}
}

// roundTrips are the median times of a call in each turn, in nanoseconds.
func roundTrips(t testing.TB, n int) (ours, theirs []float64) {
	path := filepath.Join(t.TempDir(), "rpc")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer := rpc.NewServer()
	peer.Register(Arith{})
	go func() {
		if c, err := l.Accept(); err == nil {
			peer.ServeConn(c)
		}
	}()
	server := serve(t, call.Options{}, arithAPI{Add: func(_ context.Context, a Args) (int, error) { return a.A + a.B, nil }})
	files, words, lease, err := server.Donate("bench", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Close()
	cmd := proctest.Command(t, callers, append([]string{path, strconv.Itoa(n)}, words...)...)
	cmd.ExtraFiles = files
	out, err := cmd.Output()
	files[0].Close()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		var mine, other float64
		if _, err := fmt.Sscan(line, &mine, &other); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		ours, theirs = append(ours, mine), append(theirs, other)
	}
	return ours, theirs
}
