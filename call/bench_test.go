//go:build linux

package call_test

import (
	"context"
	"errors"
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

// block is how many calls one party makes before it is the other's turn.
const block = 100

// callers measures both in one process that is not the owner's: n calls each, in
// turns, and prints the medians in nanoseconds.
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
	var ours, theirs []time.Duration
	for round := range n / block {
		for i := range block {
			start := time.Now()
			if sum, err := api.Add(context.Background(), Args{i, round}); err != nil || sum != i+round {
				panic(err)
			}
			ours = append(ours, time.Since(start))
		}
		for i := range block {
			var sum int
			start := time.Now()
			if err := peer.Call("Arith.Add", Args{i, round}, &sum); err != nil || sum != i+round {
				panic(err)
			}
			theirs = append(theirs, time.Since(start))
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	os.Stdout.WriteString(ours[len(ours)/2].String() + " " + theirs[len(theirs)/2].String())
})

// BenchmarkProxyCall calls a function of another process, beside net/rpc on a Unix
// socket: same arguments, same two processes, in turns of a hundred calls.
func BenchmarkProxyCall(b *testing.B) {
	ours, theirs := roundTrips(b, b.N+100*block)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(ours), "p50-ns")
	b.ReportMetric(float64(theirs), "netrpc-p50-ns")
	b.ReportMetric(float64(ours)/float64(theirs), "netrpc-ratio")
}

// The benchmark's parties answer what they should; the helper panics otherwise.
func TestRoundTrips(t *testing.T) {
	if ours, theirs := roundTrips(t, block); ours <= 0 || theirs <= 0 {
		t.Error(ours, theirs)
	}
}

func roundTrips(t testing.TB, n int) (ours, theirs time.Duration) {
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
	mine, other, _ := strings.Cut(string(out), " ")
	ours, err1 := time.ParseDuration(mine)
	theirs, err2 := time.ParseDuration(other)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}
