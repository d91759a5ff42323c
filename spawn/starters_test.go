//go:build linux

package spawn

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"shmkit/internal/proctest"
)

// A starter wants its run to have a server, and to be in it: it joins the one that
// lives, or becomes it, when descriptor 3 has ended. It prints the pid of the server,
// which stays until its standard input ends.
var _ = proctest.Helper("starter", func(args []string) {
	fail := func(err error) {
		fmt.Println("FAILED:", err)
		os.Exit(1)
	}
	io.Copy(io.Discard, os.NewFile(3, "gate"))
	ctx, cancel := context.WithTimeout(context.Background(), patienceOfTests)
	defer cancel()
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		c, err := Join(ctx, JoinOptions{Run: "race", Dir: args[0], Rank: AnyRank})
		if err == nil {
			fmt.Println(c.server)
			if err := c.Leave(ctx); err != nil {
				fail(err)
			}
			return
		}
		if !errors.Is(err, fs.ErrNotExist) {
			fail(err)
		}
		s, err := NewServer(Options{Run: "race", Dir: args[0], Guests: true})
		if err == nil {
			fmt.Println(os.Getpid())
			io.Copy(io.Discard, os.Stdin)
			if err := s.Close(); err != nil {
				fail(err)
			}
			return
		}
		if !errors.Is(err, ErrRunning) {
			fail(err)
		}
		time.Sleep(pause) // it lives, and does not listen yet
	}
})

var _ = proctest.Helper("idler", func([]string) {})

// startMany starts n helper processes and returns what each printed when all have
// ended. Their standard input ends when all but one have. Their descriptor 3 has
// ended from the beginning, or, when they are to go together, ends when all are there.
func startMany(tb testing.TB, n int, together bool, helper string, args ...string) (said []string) {
	tb.Helper()
	gate, open, err := os.Pipe()
	must(tb, err)
	defer gate.Close()
	defer open.Close()
	if !together {
		open.Close()
	}
	stay, leave, err := os.Pipe()
	must(tb, err)
	defer stay.Close()
	defer leave.Close()
	ended := make(chan error, n)
	outs := make([]strings.Builder, n)
	for i := range n {
		cmd := proctest.Command(tb, helper, args...)
		cmd.Stdin, cmd.Stdout, cmd.ExtraFiles = stay, &outs[i], []*os.File{gate}
		must(tb, cmd.Start())
		go func(cmd *exec.Cmd) { ended <- cmd.Wait() }(cmd)
	}
	open.Close()
	defer time.AfterFunc(patienceOfTests, func() { leave.Close() }).Stop() // several servers would wait for each other
	for i := range n {
		if i == n-1 {
			leave.Close() // the last one is the server
		}
		if err := <-ended; err != nil {
			tb.Error(err)
		}
	}
	for i := range outs {
		said = append(said, strings.TrimSpace(outs[i].String()))
	}
	return said
}

// race starts n starters and checks that they found one server among them.
func race(tb testing.TB, n int, together bool) time.Duration {
	tb.Helper()
	dir := tb.TempDir()
	begin := time.Now()
	said := startMany(tb, n, together, "starter", dir)
	d := time.Since(begin)
	for i, s := range said {
		if pid, err := strconv.Atoi(s); err != nil || pid <= 0 || s != said[0] {
			tb.Errorf("starter %d says %q, the first one %q", i, s, said[0])
		}
	}
	if left := names(tb, dir); len(left) > 0 {
		tb.Errorf("left: %q", left)
	}
	return d
}

// Of many processes that want to be in the same run, one becomes the server, all
// others join it, and none fails.
func TestRacingStarters(t *testing.T) {
	n := 48
	if stress() {
		n = 256
	}
	race(t, n, true)
	proctest.Command(t, "idler") // in use
}

// BenchmarkRacingStarters is the time of 256 racing starters, from the first fork to
// the last end, beside that of 256 processes of the same binary that do nothing.
func BenchmarkRacingStarters(b *testing.B) {
	const n = 256
	var ours, bare time.Duration
	for b.Loop() {
		begin := time.Now()
		startMany(b, n, false, "idler")
		bare += time.Since(begin)
		ours += race(b, n, false)
	}
	b.ReportMetric(bare.Seconds()*1e3/float64(b.N), "nothing-ms")
	b.ReportMetric(ours.Seconds()*1e3/float64(b.N), "race-ms")
	b.ReportMetric(ours.Seconds()/bare.Seconds(), "race/nothing")
	b.ReportMetric(0, "ns/op")
}
