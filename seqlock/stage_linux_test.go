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
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"shmkit/internal/proctest"
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
	if _, err := fmt.Sscanf(name, "fixed/%d/%d", &payload, &slots); err == nil {
		v := seqlocktest.Bytes(payload, slots)
		v.Fixed = true
		return v, nil
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

// halfFilled looks into the slot of the version after the published one. In the middle of
// a publication it holds neither that version nor the one that was there before.
func (s *stage) halfFilled() bool {
	next := binary.NativeEndian.Uint64(s.view) + 1
	size := binary.NativeEndian.Uint32(s.view[8:])
	slots := uint64(binary.NativeEndian.Uint32(s.view[12:]))
	stride := (int(size) + 8 + 127) &^ 127
	slot := s.view[128+int(next%slots)*stride:]
	holds := func(version uint64) bool {
		p := s.variant.Payload(nil, s.seed, version)
		return binary.NativeEndian.Uint64(slot) == uint64(len(p)) && bytes.Equal(slot[8:][:len(p)], p)
	}
	return next > slots && !holds(next) && !holds(next-slots)
}

// runFor spins: a sleep would always end at the same kind of moment, a timer tick.
func runFor(d time.Duration) {
	var x atomic.Int64
	for end := time.Now().Add(d); time.Now().Before(end); {
		x.Add(1)
	}
}
