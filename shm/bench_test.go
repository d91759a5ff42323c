//go:build linux && (amd64 || arm64)

package shm

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shmkit/internal/proctest"
)

// One life of a segment on the owner's side.
func BenchmarkCreateClose(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 1 << 20, 16 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			for b.Loop() {
				s, err := Create(Options{Name: "bench", Size: size})
				if err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
		})
	}
}

// One life of a segment on the worker's side, the owner's Reopen included.
func BenchmarkReopenAttachClose(b *testing.B) {
	s := newTestSegment(b, Options{Size: 64 << 10})
	for b.Loop() {
		f, err := s.Reopen()
		if err != nil {
			b.Fatal(err)
		}
		a, err := Attach(f, Expect{})
		if err != nil {
			b.Fatal(err)
		}
		a.Close()
	}
}

func BenchmarkNamed(b *testing.B) {
	dir := privateDir(b)
	o := Options{Name: "bench", Size: 64 << 10}
	b.Run("CreateClose", func(b *testing.B) {
		for b.Loop() {
			s, err := CreateNamed(dir, o)
			if err != nil {
				b.Fatal(err)
			}
			s.Close()
		}
	})
	b.Run("OpenClose", func(b *testing.B) {
		s, err := CreateNamed(dir, o)
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		for b.Loop() {
			a, err := OpenNamed(dir, Expect{Name: "bench"})
			if err != nil {
				b.Fatal(err)
			}
			a.Close()
		}
	})
}

func BenchmarkView(b *testing.B) {
	s := newTestSegment(b, Options{Size: 64})
	for b.Loop() {
		v, err := s.View()
		if err != nil {
			b.Fatal(err)
		}
		v.Release()
	}
}

func BenchmarkAccess(b *testing.B) {
	s := newTestSegment(b, Options{Size: 64})
	for b.Loop() {
		if err := s.Access(func(r []byte) error { r[0]++; return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// A wait that finds the word changed, and a wake that finds nobody: what the two
// cost when there was nothing to do.
func BenchmarkWaitChanged(b *testing.B) {
	word := new(uint32)
	for b.Loop() {
		if err := Wait(context.Background(), word, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWakeNobody(b *testing.B) {
	word := new(uint32)
	for b.Loop() {
		Wake(word, 1)
	}
}

var socketEcho = proctest.Helper("socket echo", func(args []string) {
	if args[0] == "net" {
		c, err := net.FileConn(inherited(0))
		check(err)
		echoBytes(c)
		return
	}
	check(unix.SetNonblock(3, false))
	echoBytes(blocking(3))
})

// blocking is a descriptor used without the poller.
type blocking int

func (fd blocking) Read(b []byte) (int, error)  { return eof(unix.Read(int(fd), b)) }
func (fd blocking) Write(b []byte) (int, error) { return unix.Write(int(fd), b) }

func eof(n int, err error) (int, error) {
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func echoBytes(c io.ReadWriter) {
	var b [1]byte
	for {
		if _, err := c.Read(b[:]); err != nil {
			return
		}
		c.Write(b[:])
	}
}

// BenchmarkPingPong is a round trip between two processes that both sleep while
// it is the other's turn: through Wait and Wake, and through a unix socket, by
// package net (the poller) and by blocking system calls (a thread of its own).
//
// What makes it fair: one goroutine on each side, the same payload of nothing
// more than "your turn", no spinning anywhere, and turns of all three in one run,
// so that the ratios hold whatever the machine is doing.
func BenchmarkPingPong(b *testing.B) {
	s := newTestSegment(b, Options{Size: 64, HandOff: ReadWrite})
	partner := proctest.Command(b, pinger)
	f := must(s.Reopen())(b)
	partner.ExtraFiles = []*os.File{f}
	if err := partner.Start(); err != nil {
		b.Fatal(err)
	}
	f.Close()
	word := wordAt(s.Region(), 0)
	defer func() {
		atomic.OrUint32(word, stop)
		Wake(word, 1)
		partner.Wait()
	}()
	overNet, closeNet := socketPartner(b, "net")
	defer closeNet()
	overFD, closeFD := socketPartner(b, "blocking")
	defer closeFD()

	turn := func(c io.ReadWriter) func() error {
		var one [1]byte
		return func() error {
			if _, err := c.Write(one[:]); err != nil {
				return err
			}
			_, err := c.Read(one[:])
			return err
		}
	}
	ways := []struct {
		name  string
		round func() error
		took  []time.Duration
	}{
		{"wake", func() error { return ping(context.Background(), s.Region(), 1) }, nil},
		{"unix", turn(overNet), nil},
		{"unix-blocking", turn(overFD), nil},
	}
	const batch = 100
	for b.Loop() {
		for i := range ways {
			w := &ways[i]
			for range batch {
				start := time.Now()
				if err := w.round(); err != nil {
					b.Fatal(err)
				}
				w.took = append(w.took, time.Since(start))
			}
		}
	}
	var p50, p99 [3]float64
	for i, w := range ways {
		slices.Sort(w.took)
		p50[i], p99[i] = float64(w.took[len(w.took)/2]), float64(w.took[len(w.took)*99/100])
		b.ReportMetric(p50[i], w.name+"-p50-ns")
		b.ReportMetric(p99[i], w.name+"-p99-ns")
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(p50[0]/p50[1], "p50-ratio")
	b.ReportMetric(p99[0]/p99[1], "p99-ratio")
}

func socketPartner(b testing.TB, how string) (io.ReadWriter, func()) {
	b.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "theirs")
	cmd := proctest.Command(b, socketEcho, how)
	cmd.ExtraFiles = []*os.File{theirs}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	theirs.Close()
	if how == "blocking" {
		return blocking(fds[0]), func() { syscall.Close(fds[0]); cmd.Wait() }
	}
	ours := os.NewFile(uintptr(fds[0]), "ours")
	c, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		b.Fatal(err)
	}
	return c, func() { c.Close(); cmd.Wait() }
}

// The partners of the benchmark answer, each what it was sent.
func TestSocketPartners(t *testing.T) {
	for _, how := range []string{"net", "blocking"} {
		c, end := socketPartner(t, how)
		b := []byte{7}
		if _, err := c.Write(b); err != nil {
			t.Error(err)
		}
		b[0] = 0
		if n, err := c.Read(b); n != 1 || b[0] != 7 || err != nil {
			t.Errorf("%s: %d, %v, %v", how, b, n, err)
		}
		end()
	}
}
