package seqlock_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"shmkit/internal/proctest"
	"shmkit/seqlock"
	"shmkit/seqlock/seqlocktest"
)

// TestTwoProcesses: one process publishes without a pause, this one and then a third read
// and verify every byte, from one seed. Not one read is a mix of two versions, and
// versions never go back.
func TestTwoProcesses(t *testing.T) {
	for _, v := range seqlocktest.Variants() {
		t.Run(v.Name, func(t *testing.T) {
			s := newStage(t, v.Name)
			reads := max(200, pick(200_000, 20_000_000, 2_000_000_000)/(v.Max+136))
			other := proctest.Command(t, watcher, s.name, s.path, strconv.FormatUint(s.seed, 10), strconv.Itoa(reads))
			other.Env = append(other.Env, "GORACE=atexit_sleep_ms=0")
			writer := s.play()
			here, err := checkUntil(v, s.open(), s.seed, reads)
			if err != nil {
				t.Errorf("reading here: %v", err)
			}
			out, err := other.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			launch(t, other)
			var there seqlocktest.Report
			if _, err := fmt.Fscan(out, &there.Reads, &there.Versions, &there.Contended); err != nil {
				t.Errorf("reading there: no report: %v", err)
			}
			if err := other.Wait(); err != nil {
				t.Errorf("reading there: %v", err)
			}
			s.kill(writer)
			t.Logf("here %+v, there %+v", here, there)
			if here.Versions < enough || there.Versions < enough {
				t.Errorf("too little happened: here %+v, there %+v", here, there)
			}
		})
	}
}

// TestSaturated: with the default number of slots, a writer that does nothing but publish
// makes no read give up. How many succeed at the first try is BenchmarkSaturated's to say.
func TestSaturated(t *testing.T) {
	for _, payload := range []int{64, 4 << 10} {
		s := newStage(t, fmt.Sprintf("saturated/%d/%d", payload, seqlock.SlotsFor(payload)))
		writer := s.start(saturate, s.name, s.path)
		r := s.open().(*seqlock.Reader)
		buf := make([]byte, payload)
		reads := pick(10_000, 500_000, 100_000_000)
		for last, n := uint64(0), 0; n < reads; n++ {
			p, v, err := r.Read(buf)
			if err != nil || v < last {
				t.Fatalf("%d bytes, version %d after %d, %v", len(p), v, last, err)
			}
			last = v
		}
		t.Logf("%d bytes: %d reads, %d publications, %d copies overtaken", payload, reads, r.Version(), r.Lapped())
		s.kill(writer)
	}
}

// TestTwoProcessesCatchesMixedVersions shows that the test above can fail: a latch of one
// copy, without a check, is caught at it.
func TestTwoProcessesCatchesMixedVersions(t *testing.T) {
	s := newStage(t, "naive")
	writer := s.play()
	var err error
	for deadline := time.Now().Add(time.Minute); err == nil && time.Now().Before(deadline); {
		_, err = checkUntil(s.variant, s.open(), s.seed, 1000)
	}
	if !errors.Is(err, seqlocktest.ErrMixed) {
		t.Errorf("reads of two versions at once went unnoticed: %v", err)
	}
	s.kill(writer)
}

// TestKill: a publisher is killed at a random moment, again and again. What it leaves is
// readable at once and is the last version it published, whole; its successor goes on
// with the next number.
//
// The suite's case "killed writer", and its planted bug, show what a latch that fills the
// slot being read would look like here.
func TestKill(t *testing.T) {
	for _, name := range []string{"bytes 64/4 slots", "latch line", "bytes 65536/4 slots", "odd/even 501 bytes"} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, name)
			c := seqlocktest.NewChecker(s.variant, s.open(), s.seed)
			torn := 0
			for range pick(3, 15, 2500) {
				writer := s.play()
				// A random distance, in versions and then in time.
				from, d := s.open().Version(), uint64(rand.IntN(min(1000, 1<<20/s.variant.Max)))
				for deadline := time.Now().Add(time.Minute); s.open().Version()-from < d; runtime.Gosched() {
					if time.Now().After(deadline) {
						t.Fatal("the player does not play")
					}
				}
				time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
				s.kill(writer)
				last := s.open().Version()
				reads, contended := c.Reads, c.Contended
				if err := c.Read(); err != nil {
					t.Fatal(err)
				}
				switch {
				case c.Reads > reads && c.Last != last:
					t.Fatalf("version %d is published, %d is read", last, c.Last)
				case c.Contended > contended && !s.variant.Single:
					t.Fatal("a dead writer keeps a reader from reading")
				case c.Contended > contended:
					torn++ // the next player's first publication has to repair it
				}
			}
			t.Logf("%+v, killed within a store: %d", c.Report, torn)
		})
	}
}

// TestStop: a publisher is stopped in the middle of a publication. Readers get the last
// version, at the first try, as often as they like; when it goes on, so do the versions.
func TestStop(t *testing.T) {
	s := newStage(t, "bytes 65536/4 slots")
	writer := s.play()
	want := pick(2, 5, 1000)
	middle := 0
	for tries := 0; middle < want; tries++ {
		if tries > 200*want {
			t.Skipf("stopped it %d times, and only %d times in the middle of a publication", tries, middle)
		}
		runFor(time.Duration(rand.IntN(300)) * time.Microsecond)
		s.stop(writer)
		if s.halfFilled() {
			middle++
			src := s.open()
			before := src.Version()
			c := seqlocktest.NewChecker(s.variant, src, s.seed)
			for range 200 {
				if err := c.Read(); err != nil {
					t.Fatal(err)
				}
			}
			if c.Contended != 0 || c.Last != before || src.(interface{ Lapped() uint64 }).Lapped() != 0 {
				t.Fatalf("version %d is published, the writer is stopped: %+v", before, c.Report)
			}
		}
		from := s.open().Version()
		if err := writer.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(time.Minute); s.open().Version() == from; runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatal("the player does not go on")
			}
		}
	}
	s.kill(writer)
}
