package seqlock_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"shmkit/internal/proctest"
	"shmkit/seqlock"
	"shmkit/seqlock/seqlocktest"
)

// pick says how long a test runs: with -short, normally, and with SHMKIT_STRESS=1. The
// race detector sees nothing of what is mapped, and slows it down: with it, the tests
// between processes are short ones.
func pick(short, normal, stressed int) int {
	switch {
	case os.Getenv("SHMKIT_STRESS") == "1":
		return stressed
	case testing.Short() || raceDetector:
		return short
	}
	return normal
}

// player is a second process that publishes the versions of a seed on the latch in a
// file, without a pause, until it is killed or its standard input ends: so it does not
// outlive the test.
var player = proctest.Helper("player", func(args []string) {
	v, err := variantNamed(args[0])
	check(err)
	seed, err := strconv.ParseUint(args[2], 10, 64)
	check(err)
	size, err := v.Size()
	check(err)
	view, _, err := mmap(args[1], size, syscall.PROT_READ|syscall.PROT_WRITE)
	check(err)
	p, err := v.Resume(view)
	check(err)
	exitWithParent()
	fmt.Println("ready")
	check(seqlocktest.Play(v, p, seed, math.MaxInt, func() bool { return true }))
})

// watcher is a second process that checks what the first one publishes.
var watcher = proctest.Helper("watcher", func(args []string) {
	v, err := variantNamed(args[0])
	check(err)
	seed, err := strconv.ParseUint(args[2], 10, 64)
	check(err)
	reads, err := strconv.Atoi(args[3])
	check(err)
	size, err := v.Size()
	check(err)
	view, _, err := mmap(args[1], size, syscall.PROT_READ)
	check(err)
	s, err := v.Open(view)
	check(err)
	report, err := checkUntil(v, s, seed, reads)
	check(err)
	fmt.Println(report.Reads, report.Versions, report.Contended)
})

// enough versions seen make a race of a test; a writer that does not get a processor
// for a while publishes none.
const enough = 50

// checkUntil checks reads reads at least, and until it has seen enough versions.
func checkUntil(v seqlocktest.Variant, s seqlocktest.Source, seed uint64, reads int) (seqlocktest.Report, error) {
	c := seqlocktest.NewChecker(v, s, seed)
	for deadline := time.Now().Add(time.Minute); c.Versions < enough && time.Now().Before(deadline) || c.Reads+c.Contended < reads; {
		for range 100 {
			if err := c.Read(); err != nil {
				return c.Report, err
			}
		}
	}
	return c.Report, nil
}

// exitWithParent ends this process when its standard input does.
func exitWithParent() {
	go func() {
		io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "helper:", err)
		os.Exit(1)
	}
}

func variantNamed(name string) (seqlocktest.Variant, error) {
	// Where the geometry matters, the name tells it.
	var payload, slots int
	if _, err := fmt.Sscanf(name, "saturated/%d/%d", &payload, &slots); err == nil {
		return seqlocktest.Bytes(payload, slots), nil
	}
	if _, err := fmt.Sscanf(name, "saturated/line/%d", &slots); err == nil {
		return seqlocktest.Typed[b64](name, slots), nil
	}
	if name == "naive" {
		v := seqlocktest.Bytes(1001, 4)
		naive(&v)
		return v, nil
	}
	return seqlocktest.Named(name)
}

// stage is a latch in a file, for tests of several processes.
type stage struct {
	testing.TB
	variant seqlocktest.Variant
	name    string
	path    string
	seed    uint64
	view    []byte // read-only
}

func newStage(tb testing.TB, name string) *stage {
	tb.Helper()
	v, err := variantNamed(name)
	if err != nil {
		tb.Fatal(err)
	}
	size, err := v.Size()
	if err != nil {
		tb.Fatal(err)
	}
	s := &stage{TB: tb, variant: v, name: name, path: filepath.Join(tb.TempDir(), "latch"), seed: rand.Uint64()}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("seed %d", s.seed)
		}
	})
	write := mapFile(tb, s.path, size, syscall.PROT_READ|syscall.PROT_WRITE)
	p, err := v.Make(write)
	if err != nil {
		tb.Fatal(err)
	}
	// Version 1 is there before anybody looks.
	if err := seqlocktest.Play(v, p, s.seed, 1, func() bool { return false }); err != nil {
		tb.Fatal(err)
	}
	s.view = mapFile(tb, s.path, size, syscall.PROT_READ)
	return s
}

func (s *stage) open() seqlocktest.Source {
	s.Helper()
	src, err := s.variant.Open(s.view)
	if err != nil {
		s.Fatal(err)
	}
	return src
}

// play starts a player and returns when it is about to publish.
func (s *stage) play() *exec.Cmd {
	s.Helper()
	return s.start(player, s.name, s.path, strconv.FormatUint(s.seed, 10))
}

func (s *stage) start(helper string, args ...string) *exec.Cmd {
	s.Helper()
	cmd := proctest.Command(s, helper, args...)
	if _, err := cmd.StdinPipe(); err != nil { // stays open until Wait
		s.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	launch(s, cmd)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		s.Fatalf("%s says %q, %v", helper, line, err)
	}
	return cmd
}

// launch starts a helper. Under an emulator of one process, such as qemu-user without
// binfmt_misc, there is no second one.
func launch(tb testing.TB, cmd *exec.Cmd) {
	tb.Helper()
	if err := cmd.Start(); errors.Is(err, syscall.ENOEXEC) {
		tb.Skip("this binary cannot start itself once more:", err)
	} else if err != nil {
		tb.Fatal(err)
	}
}

func (s *stage) kill(cmd *exec.Cmd) {
	s.Helper()
	if err := cmd.Process.Kill(); err != nil {
		s.Fatal(err)
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		s.Fatalf("player ended by itself: %v", cmd.ProcessState)
	}
}

// TestTwoProcesses: one process publishes without a pause, this one and then a third
// read and verify every byte, from one seed. Not one read is a mix of two versions, and versions never
// go back.
func TestTwoProcesses(t *testing.T) {
	for _, v := range seqlocktest.Variants() {
		t.Run(v.Name, func(t *testing.T) {
			s := newStage(t, v.Name)
			reads := max(200, pick(200_000, 20_000_000, 2_000_000_000)/(v.Max+200))
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

// stop stops a process and returns when it stands.
func (s *stage) stop(cmd *exec.Cmd) {
	s.Helper()
	pid := cmd.Process.Pid
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		s.Fatal(err)
	}
	for {
		var status syscall.WaitStatus
		_, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || !status.Stopped() {
			s.Fatalf("player did not stop: %v, %v", status, err)
		}
		return
	}
}

// halfFilled looks into the slot of the version after the published one: the length word
// is stored first, and then comes the payload, in whatever order the copy has.
func (s *stage) halfFilled() bool {
	next := binary.NativeEndian.Uint64(s.view) + 1
	size := binary.NativeEndian.Uint32(s.view[8:])
	slots := binary.NativeEndian.Uint32(s.view[12:])
	stride := (int(size) + 8 + 127) &^ 127
	slot := s.view[128+int(next%uint64(slots))*stride:]
	payload := s.variant.Payload(nil, s.seed, next)
	return binary.NativeEndian.Uint64(slot) == uint64(len(payload)) && !bytes.Equal(slot[8:][:len(payload)], payload)
}

// runFor spins: a sleep would always end at the same kind of moment, a timer tick.
func runFor(d time.Duration) {
	var x atomic.Int64
	for end := time.Now().Add(d); time.Now().Before(end); {
		x.Add(1)
	}
}
