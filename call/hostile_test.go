//go:build linux

package call_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shmkit/call"
)

// output is a log that can be read while it is written.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// hostile is the worker's end of a connection in the hands of somebody else.
func hostile(t testing.TB, server *call.Server) *net.UnixConn {
	t.Helper()
	files, _, lease, err := server.Donate("hostile", 3, 4)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.FileConn(files[0])
	files[0].Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); lease.Close() })
	return c.(*net.UnixConn)
}

// message makes one by the documented format.
func message(id uint32, kind, method uint16, timeout uint64, values ...string) string {
	b := binary.LittleEndian.AppendUint32(nil, id)
	b = binary.LittleEndian.AppendUint16(b, kind)
	b = binary.LittleEndian.AppendUint16(b, method)
	b = binary.LittleEndian.AppendUint64(b, timeout)
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	return string(b)
}

// What does not keep to the protocol costs the worker its connection and the owner
// one record; others are unharmed, and what the worker had under way is cancelled.
func TestProtocolViolations(t *testing.T) {
	w := newWaiter()
	var log output
	server := serve(t, call.Options{Name: "box", MaxCalls: 2, MaxMessage: 1024, Log: slog.New(slog.NewTextHandler(&log, nil))}, waiting{w.wait})
	other := bind[waiting](t, connect(t, server, 0))
	for _, c := range []struct {
		says string
		send []string
	}{
		{"message of 3 bytes, at least 16", []string{"abc"}},
		{"message of more than 1024 bytes", []string{strings.Repeat("x", 1041)}},
		{"message of kind 3", []string{message(1, 3, 0, 0)}},
		{"message of kind 0", []string{message(1, 0, 0, 0)}},
		{"message of kind 2", []string{message(1, 2, 1, 0)}},
		{"message of kind 2", []string{message(1, 2, 0, 0, "x")}},
		{"method 1, it is offered 1", []string{message(1, 1, 1, 0)}},
		{"time left of", []string{message(1, 1, 0, 1<<63)}},
		{"call 1, which still runs", []string{message(1, 1, 0, 0), message(1, 1, 0, 0)}},
		{"more than 2 calls at the same time", []string{message(1, 1, 0, 0), message(2, 1, 0, 0), message(3, 1, 0, 0)}},
	} {
		conn := hostile(t, server)
		for i, m := range c.send {
			if _, err := conn.Write([]byte(m)); err != nil {
				t.Fatal(err)
			}
			if i < len(c.send)-1 {
				<-w.entered // it runs when the last one, the wrong one, comes
			}
		}
		conn.SetReadDeadline(time.Now().Add(time.Minute))
		if n, err := conn.Read(make([]byte, 2048)); n != 0 || err != io.EOF && err.(*net.OpError).Err.Error() != "read: connection reset by peer" {
			t.Errorf("%s: read %d, %v", c.says, n, err)
		}
		for range len(c.send) - 1 {
			<-w.ended
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-w.entered; cancel() }()
	if err := other.Wait(ctx); err == nil || ctx.Err() == nil {
		t.Errorf("another worker: %v", err)
	}
	server.Close()
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	if len(lines) != 10 {
		t.Errorf("%d records", len(lines))
	}
	for _, says := range []string{"of 3 bytes", "of more than 1024", "kind 3", "still runs", "more than 2 calls", `call=box of=hostile rank=3`} {
		if !strings.Contains(log.String(), says) {
			t.Errorf("no record says %q:\n%s", says, &log)
		}
	}
}

// Values that do not fit the signature fail the call, not the connection.
func TestHostileValues(t *testing.T) {
	server := serve(t, call.Options{}, blobs{Give: func(context.Context, int) ([]byte, error) { return nil, nil }})
	conn := hostile(t, server)
	for i, body := range []string{
		message(0, 1, 0, 0),
		message(0, 1, 0, 0, "1", "2"),
		message(0, 1, 0, 0, "1") + "x",
		message(0, 1, 0, 0, "true"),
		message(0, 1, 0, 0, "1e999"),
		message(0, 1, 0, 0, strings.Repeat("[", 9000)),
		message(0, 1, 0, 0) + "\xff\xff\xff\xff",
		message(0, 1, 0, 0) + "\x09\x00\x00\x0012345678",
	} {
		if _, err := conn.Write([]byte(body)); err != nil {
			t.Fatal(err)
		}
		answer := make([]byte, 1<<17)
		n, err := conn.Read(answer)
		if err != nil || n < 16 || answer[4] != 4 {
			t.Errorf("%d: %d bytes, %v", i, n, err)
		}
	}
}

// sessionWorkers are the goroutines of this process that run calls.
func sessionWorkers() int {
	stacks := make([]byte, 1<<20)
	return strings.Count(string(stacks[:runtime.Stack(stacks, true)]), "call.(*session).work(")
}

// A worker that calls and never takes an answer costs the owner no more than its
// share, and the owner can close.
func TestWorkerTakesNoAnswers(t *testing.T) {
	const most = 16
	entered := make(chan struct{}, 1<<16)
	server := serve(t, call.Options{MaxCalls: most}, blobs{Give: func(context.Context, int) ([]byte, error) {
		entered <- struct{}{}
		return make([]byte, 60<<10), nil
	}})
	conn := hostile(t, server)
	id := uint32(0)
	send := func() {
		id++
		conn.SetWriteDeadline(time.Now().Add(time.Minute)) // a guard
		if _, err := conn.Write([]byte(message(id, 1, 0, 0, "1"))); err != nil {
			t.Fatalf("call %d: %v", id, err)
		}
	}
	// One after the other, so that never more run than it may make, until all that it may
	// have wait with their answers.
	for full := false; !full; {
		send()
		for taken := false; !taken && !full; time.Sleep(time.Millisecond) {
			select {
			case <-entered:
				taken = true
			default:
				full = sessionWorkers() >= 2*most
			}
		}
	}
	for range 3 {
		send()
	}
	if n := sessionWorkers(); n > 2*most {
		t.Fatalf("%d goroutines after %d calls", n, id)
	}
	server.Close() // must not wait for the worker
}

// Files that a worker sends along are not kept.
func TestFilesAreRefused(t *testing.T) {
	server := serve(t, call.Options{}, blobs{Give: func(context.Context, int) ([]byte, error) { return nil, nil }})
	conn := hostile(t, server)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, _, err = conn.WriteMsgUnix([]byte(message(1, 1, 0, 0, "1")), syscall.UnixRights(int(w.Fd())), nil)
	w.Close()
	if err == nil { // before Linux 6.16
		if _, err := conn.Read(make([]byte, 1024)); err != nil {
			t.Fatal(err)
		}
	}
	r.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the owner still has the file: %v", err)
	}
}

// FuzzMessages: whatever a worker sends, the owner neither panics nor hangs, and
// serves others.
func FuzzMessages(f *testing.F) {
	f.Add([]byte(message(1, 1, 0, 0, "1")), []byte(message(1, 2, 0, 0)))
	f.Add([]byte(message(1, 1, 1, 5, "abc")), []byte(message(2, 1, 0, 0, "{}")))
	f.Add([]byte("short"), []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		server := serve(t, call.Options{MaxCalls: 2, MaxMessage: 1024}, blobs{
			Take: func(_ context.Context, b []byte) (int, error) { return len(b), nil },
			Give: func(_ context.Context, n int) ([]byte, error) { return make([]byte, min(max(n, 0), 2048)), nil },
		})
		conn := hostile(t, server)
		for _, m := range [][]byte{a, b, a, b} {
			if len(m) > 2048 {
				m = m[:2048]
			}
			conn.Write(m)
		}
		api := bind[blobs](t, connect(t, server, 0))
		if n, err := api.Take(t.Context(), []byte("abc")); n != 3 || err != nil {
			t.Errorf("another worker: %d, %v", n, err)
		}
		server.Close()
	})
}
