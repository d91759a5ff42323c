//go:build linux

package sqlproxy_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"shmkit/dataio/sqlproxy"
)

// hostile sends bytes as a session's requests, and hangs up. The node must answer or
// hang up, not panic, and have nothing left of it.
func (l *lab) hostile(t testing.TB, w *sqlproxy.RawWorker, data []byte) {
	t.Helper()
	sock, err := w.Open()
	if err != nil || sock == nil {
		t.Fatal("no session: ", err)
	}
	defer sock.Close()
	var wg sync.WaitGroup
	wg.Go(func() {
		sock.Write(data)
		raw, err := sock.SyscallConn()
		if err != nil {
			t.Error(err)
			return
		}
		raw.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_WR) })
	})
	sock.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.Copy(io.Discard, sock); os.IsTimeout(err) {
		t.Errorf("the node neither answers nor hangs up after %x", data)
	}
	sock.Close()
	wg.Wait()
}

func newHostileLab(t testing.TB) (*lab, *sqlproxy.RawWorker) {
	t.Helper()
	l := newLab(t, sqlproxy.Policy{MaxTime: 20 * time.Millisecond, MaxRows: 10_000, MaxBytes: 1 << 20})
	files, _, lease, err := l.Donate("hostile", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	w, err := sqlproxy.AttachRaw(files[0])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Close()
		if err := lease.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, w
}

// Mutated requests, any number of them on one connection, leave nothing behind, and the
// node goes on serving the others.
func TestHostileRequests(t *testing.T) {
	rounds := 3000
	if os.Getenv("SHMKIT_STRESS") != "" {
		rounds = 1_000_000
	}
	l, w := newHostileLab(t)
	honest, _ := l.worker(t, "honest")
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	valid := sqlproxy.Requests()
	for i := range rounds {
		var data []byte
		for range 1 + r.IntN(8) {
			data = append(data, valid[r.IntN(len(valid))]...)
		}
		for range r.IntN(6) {
			switch at := r.IntN(len(data)); r.IntN(4) {
			case 0:
				data[at] ^= 1 << r.IntN(8)
			case 1:
				data[at] = byte(r.Uint32())
			case 2:
				data = append(data[:at:at], data[at+r.IntN(len(data)-at):]...)
			case 3:
				data = append(data[:at:at], append(bytes.Clone(data[at:at+r.IntN(len(data)-at)]), data[at:]...)...)
			}
			if len(data) == 0 {
				data = []byte{0}
			}
		}
		l.hostile(t, w, data)
		if i%500 == 0 {
			if _, err := honest.DB("main").Exec("note honest"); err != nil {
				t.Fatal(err)
			}
		}
	}
	until(t, "transactions are rolled back and results closed", func() bool { return l.txs.Load() == 0 && l.rows.Load() == 0 })
	until(t, "connections are given back", func() bool { return l.db.Stats().InUse == 0 })
	if n := runtime.NumGoroutine(); n > 200 {
		t.Errorf("%d goroutines", n)
	}
}

// Any bytes on the line end that worker and no other.
func TestHostileLine(t *testing.T) {
	for _, b := range [][]byte{{0}, {1}, {1, 0, 0, 0, 0, 99}, {3, 0, 0, 0, 0, 0, 0, 0, 0}, bytes.Repeat([]byte{2}, 20_000)} {
		l, w := newHostileLab(t)
		if err := w.Line(b); err != nil {
			t.Fatal(err)
		}
		w.Gone()
		until(t, "it is counted", func() bool { return l.Violations() == 1 || len(b) > 16<<10 })
		honest, _ := l.worker(t, "honest")
		if err := honest.DB("main").Ping(); err != nil {
			t.Error(err)
		}
	}
}

// FuzzRequests looks for requests that the node does not survive.
func FuzzRequests(f *testing.F) {
	valid := sqlproxy.Requests()
	if len(valid) == 0 {
		f.Fatal("no seeds")
	}
	for _, r := range valid {
		f.Add(r)
	}
	f.Add(bytes.Join(valid, nil))
	l, w := newHostileLab(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		l.hostile(t, w, data)
		until(t, "nothing is left", func() bool { return l.txs.Load() == 0 && l.db.Stats().InUse == 0 })
	})
}
