package logring

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A flakyNet hands out connections that note what comes out at the other end, and
// whose nth operation, a dial or a write, fails.
type flakyNet struct {
	op    int
	fails func(op int) bool
	part  func(n int) int
	conns []*flakyConn
}

type flakyConn struct {
	net.Conn
	of     *flakyNet
	writes []string
	closed bool
}

func (f *flakyNet) dial(string, string) (net.Conn, error) {
	if f.op++; f.fails(f.op) {
		return nil, syscall.ECONNREFUSED
	}
	c := &flakyConn{of: f}
	f.conns = append(f.conns, c)
	return c, nil
}

func (c *flakyConn) SetWriteDeadline(time.Time) error { return nil }
func (c *flakyConn) Close() error                     { c.closed = true; return nil }
func (c *flakyConn) Write(b []byte) (int, error) {
	f := c.of
	if c.closed {
		panic("write to a connection that was closed")
	}
	n, err := len(b), error(nil)
	if f.op++; f.fails(f.op) {
		n, err = f.part(len(b)), syscall.EPIPE
	}
	c.writes = append(c.writes, string(b[:n]))
	return n, err
}

// frames takes what came by a stream apart; the last one may be cut.
func frames(t *testing.T, s string) (all []string) {
	t.Helper()
	for s != "" {
		length, rest, ok := strings.Cut(s, " ")
		n, err := strconv.Atoi(length)
		if !ok || err != nil && len(s) > 4 {
			t.Fatalf("no frame: %.50q", s)
		}
		if len(rest) < n {
			return all
		}
		all = append(all, rest[:n])
		s = rest[n:]
	}
	return all
}

// The connection breaks at its Nth operation, for every N, once or for a while, with
// nothing, half or nearly all of a write out: every message arrives once, whole and
// in order.
func TestSyslogFaults(t *testing.T) {
	parts := map[string]func(int) int{
		"nothing": func(int) int { return 0 }, "half": func(n int) int { return n / 2 }, "almost": func(n int) int { return n - 1 },
	}
	for nth := 2; nth < 10; nth++ { // a stream is dialled once and written once a batch
		for part, size := range parts {
			for _, width := range []int{1, 3} {
				t.Run(fmt.Sprintf("tcp/%d-%d/%s", nth, nth+width-1, part), func(t *testing.T) {
					t.Parallel()
					syslogFault(t, "tcp", &flakyNet{fails: func(op int) bool { return op >= nth && op < nth+width }, part: size})
				})
			}
		}
	}
	for nth := 2; nth < 44; nth += 3 { // a datagram a message, which goes whole or not at all
		t.Run(fmt.Sprint("udp/", nth), func(t *testing.T) {
			t.Parallel()
			syslogFault(t, "udp", &flakyNet{fails: func(op int) bool { return op >= nth && op < nth+2 }, part: parts["nothing"]})
		})
	}
}

func syslogFault(t *testing.T, network string, f *flakyNet) {
	s := &syslogSink{dial: f.dial, networks: []string{network}}
	s.format, _ = (&SyslogOptions{}).format()
	r := startRunner(With(s, SinkOptions{Retry: time.Hour}), nil, nil)
	total := feed(t, r, 4)
	st := r.finish()
	var got []string
	for _, c := range f.conns {
		if network == "tcp" {
			got = append(got, frames(t, strings.Join(c.writes, ""))...)
			continue
		}
		got = append(got, slices.DeleteFunc(c.writes, func(w string) bool { return w == "" })...)
	}
	if len(got) != total || st.Written != uint64(total) {
		t.Fatalf("%d messages of %d, %+v", len(got), total, st)
	}
	for i, m := range got {
		if !strings.HasSuffix(m, fmt.Sprintf(`n="%d"] message %d`, i, i)) {
			t.Fatalf("message %d: %q", i, m)
		}
	}
}

func TestSeverity(t *testing.T) {
	for l, want := range map[slog.Level]int{-8: 7, slog.LevelDebug: 7, -1: 7, slog.LevelInfo: 6, 1: 6, 2: 5, 3: 5,
		slog.LevelWarn: 4, 7: 4, slog.LevelError: 3, 11: 3, 12: 2, 100: 2} {
		if got := severity(l); got != want {
			t.Errorf("level %v: severity %d, want %d", l, got, want)
		}
	}
}

// A message is never longer than the receiver takes, and says what is missing.
func TestSyslogCut(t *testing.T) {
	for _, max := range []int{480, 1000, 8192} {
		f, err := (&SyslogOptions{MaxSize: max}).format()
		if err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{0, 100, 300, 400, 1000, 10000} {
			for _, attrs := range []int{0, 1, 20} {
				r := record(t, 0, func(l *slog.Logger) {
					for i := range attrs {
						l = l.With(fmt.Sprint("key", i), strings.Repeat("v", size/10))
					}
					l.Info(strings.Repeat("ü", size/2), "last", "x")
				})
				m := string(f.append([]byte("before"), &r))[len("before"):]
				if len(m) > max {
					t.Fatalf("%d bytes, at most %d", len(m), max)
				}
				whole := strings.HasSuffix(m, strings.Repeat("ü", size/2)) && strings.Contains(m, ` last="x"]`)
				if marked := strings.Contains(m, ` truncated="`); marked == whole {
					t.Errorf("size %d, %d attributes: whole %v, marked %v: %s", size, attrs, whole, marked, m)
				}
				if !strings.Contains(m, ` worker="3"`) || strings.Contains(m, "\ufffd") {
					t.Errorf("cut badly: %s", m)
				}
			}
		}
	}
}

func TestSyslogErrors(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		address string
		o       SyslogOptions
		says    string
	}{
		{"tape:x", SyslogOptions{}, "use unix:PATH, udp:HOST:PORT or tcp:HOST:PORT"},
		{"tcp:", SyslogOptions{}, "use unix:PATH"},
		{"nonsense", SyslogOptions{}, "use unix:PATH"},
		{"unix:" + dir + "/none", SyslogOptions{}, "is the syslog server running"},
		{fmt.Sprint("tcp:127.0.0.1:", freePort(t, "tcp")), SyslogOptions{}, "is the syslog server running"},
		{"udp:127.0.0.1:1", SyslogOptions{Facility: 24}, "facility 24: choose 1 to 23"},
		{"udp:127.0.0.1:1", SyslogOptions{MaxSize: 10}, "MaxSize 10: choose 480"},
		{"udp:127.0.0.1:1", SyslogOptions{Element: "a b"}, `element "a b": use NAME@NUMBER`},
	} {
		s, err := Syslog(c.address, c.o)
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.says) || !strings.HasPrefix(err.Error(), "logring: syslog "+c.address) {
			t.Errorf("%s: %v", c.address, err)
		}
	}
	if _, err := Syslog("unix:"+dir+"/none", SyslogOptions{}); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("the cause is hidden: %v", err)
	}
}

func freePort(t *testing.T, network string) int {
	t.Helper()
	if network == "udp" {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).Port
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
