package logring

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An rsyslog is a real rsyslogd on sockets of its own.
type rsyslog struct {
	t        *testing.T
	cmd      *exec.Cmd
	dir      string
	udp, tcp int // ports
}

// startRsyslog starts a server that writes what it has understood to a file, one
// line a message: priority|time|host|app|process|structured data as JSON|message.
func startRsyslog(t *testing.T) *rsyslog {
	t.Helper()
	path, err := exec.LookPath("rsyslogd")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/rsyslogd"); err != nil {
			t.Skip("needs rsyslogd: install Debian's package rsyslog")
		}
	}
	dir, err := os.MkdirTemp("", "rsyslog") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &rsyslog{t: t, dir: dir, udp: freePort(t, "udp"), tcp: freePort(t, "tcp")}
	conf := fmt.Sprintf(`
global(workDirectory="%[1]s" maxMessageSize="64k")
module(load="imuxsock" SysSock.Use="off")
module(load="imudp")
module(load="imptcp")
module(load="mmpstrucdata")
input(type="imuxsock" Socket="%[1]s/datagram" UseSpecialParser="off" ParseHostname="on" RateLimit.Interval="0")
input(type="imudp" address="127.0.0.1" port="%[2]d")
input(type="imptcp" address="127.0.0.1" port="%[3]d")
input(type="imptcp" path="%[1]s/stream" unlink="on")
template(name="understood" type="string" string="%%pri%%|%%timereported:::date-rfc3339%%|%%hostname%%|%%app-name%%|%%procid%%|%%$!rfc5424-sd%%|%%msg%%\n")
action(type="mmpstrucdata" sd_name.lowercase="off")
action(type="omfile" file="%[1]s/out" template="understood" asyncWriting="off" flushOnTXEnd="on")
`, dir, r.udp, r.tcp)
	if err := os.WriteFile(dir+"/conf", []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	r.start(path)
	return r
}

func (r *rsyslog) start(path string) {
	r.t.Helper()
	log, err := os.Create(r.dir + "/log")
	if err != nil {
		r.t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(path, "-n", "-f", r.dir+"/conf", "-i", r.dir+"/pid")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r.cmd = cmd
	started, ended := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(ended)
		runtime.LockOSThread() // the signal comes when this thread ends
		err := cmd.Start()
		if started <- err; err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { cmd.Process.Kill(); <-ended })
	for {
		c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", r.tcp))
		if err == nil {
			c.Close()
			_, err1 := os.Stat(r.dir + "/datagram")
			_, err2 := os.Stat(r.dir + "/stream")
			if err1 == nil && err2 == nil {
				return
			}
		}
		select {
		case <-ended:
			said, _ := os.ReadFile(r.dir + "/log")
			r.t.Fatalf("rsyslogd ended: %s", said)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// understood waits for n lines about app. It is bounded by the test's deadline.
func (r *rsyslog) understood(app string, n int) (lines [][]string) {
	r.t.Helper()
	for {
		b, _ := os.ReadFile(r.dir + "/out")
		lines = lines[:0]
		for line := range strings.Lines(string(b)) {
			f := strings.SplitN(strings.TrimSuffix(line, "\n"), "|", 7)
			if len(f) != 7 {
				if strings.HasSuffix(line, "\n") {
					r.t.Fatalf("rsyslogd did not understand: %q", line)
				}
				continue // being written
			}
			if f[3] == app {
				lines = append(lines, f)
			}
		}
		if len(lines) >= n {
			return lines
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// A real rsyslogd takes every message over every transport, in order, and finds in
// it what was logged, whatever that is.
func TestRsyslog(t *testing.T) {
	r := startRsyslog(t)
	for app, address := range map[string]string{
		"datagram": "unix:" + r.dir + "/datagram",
		"stream":   "unix:" + r.dir + "/stream",
		"udp":      fmt.Sprint("udp:127.0.0.1:", r.udp),
		"tcp":      fmt.Sprint("tcp:127.0.0.1:", r.tcp),
	} {
		t.Run(app, func(t *testing.T) {
			s, err := Syslog(address, SyslogOptions{App: app, Facility: 16, Host: "ho st"})
			if err != nil {
				t.Fatal(err)
			}
			c := newCollector(t, CollectorOptions{Level: slog.LevelDebug, Sinks: []Sink{With(s, SinkOptions{Name: app})}})
			w, _ := onHeap(t, c, "count", 3)
			l := slog.New(w.Handler(nil))
			const n = 100 // UDP loses what does not fit into a socket's buffer
			for i := range n {
				l.Info("message", "i", i)
			}
			hostile := "a ] \" \\ \x1b[31m\n\x00 \u202e \xff = [x y=\"z\"] ü"
			l.Warn(hostile, "v", hostile, "odd ] = \" key\n", 1, slog.Group("http", "status", 404), "group", "forged", "json", []int{1, 2})
			l.Debug(strings.Repeat("x", 20000))
			l.Error("last", "big", strings.Repeat("y", 20000), "after", 1)
			if err := c.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := r.understood(app, n+3)
			if len(got) != n+3 {
				t.Fatalf("%d messages", len(got))
			}
			data := func(i int) (m map[string]string) {
				t.Helper()
				var sd map[string]map[string]string
				if err := json.Unmarshal([]byte(got[i][5]), &sd); err != nil {
					t.Fatalf("structured data %q: %v", got[i][5], err)
				}
				return sd["shmkit@32473"]
			}
			for i := range n {
				if sd := data(i); sd["i"] != fmt.Sprint(i) || got[i][6] != "message" || got[i][0] != "134" || got[i][2] != "ho_st" {
					t.Fatalf("message %d: %q", i, got[i])
				}
			}
			if _, err := time.Parse(time.RFC3339Nano, got[0][1]); err != nil {
				t.Error(err)
			}
			sd := data(n)
			if got[n][0] != "132" || sd["http.status"] != "404" || sd["worker"] != "3" || sd["group"] != "count" || sd["attr.group"] != "forged" || sd["json"] != "[1,2]" {
				t.Errorf("attributes: %q", got[n])
			}
			if want := `a ] " \ \u001b[31m\n\u0000 \u202e \ufffd = [x y="z"] ü`; got[n][6] != want {
				t.Errorf("message %q, want %q", got[n][6], want)
			}
			if got[n+1][0] != "135" || !strings.HasPrefix(got[n+1][6], "xxxx") || data(n + 1)["truncated"] == "" {
				t.Errorf("a large message: %.300q", got[n+1])
			}
			if sd := data(n + 2); got[n+2][6] != "last" || sd["truncated"] == "" || sd["worker"] != "3" || sd["big"] != "" {
				t.Errorf("a large attribute: %.300q", got[n+2])
			}
		})
	}
}

// A server that is restarted: what is logged meanwhile arrives at the new one.
func TestRsyslogRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("starts rsyslogd twice")
	}
	r := startRsyslog(t)
	s, err := Syslog(fmt.Sprint("tcp:127.0.0.1:", r.tcp), SyslogOptions{App: "again"})
	if err != nil {
		t.Fatal(err)
	}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{With(s, SinkOptions{Name: "syslog"})}})
	w, _ := onHeap(t, c, "g", 0)
	l := slog.New(w.Handler(nil))
	l.Info("before")
	flushAll(t, c)
	r.understood("again", 1)
	r.cmd.Process.Kill()
	for !hungUp(s.(*syslogSink).conn) { // bounded by the test's deadline
		time.Sleep(time.Millisecond)
	}
	for i := range 100 {
		l.Info("meanwhile", "i", i)
	}
	for c.Stats().Sinks[0].Errors == 0 {
		time.Sleep(time.Millisecond)
	}
	os.Remove(filepath.Join(r.dir, "pid"))
	r.start(r.cmd.Path)
	flushed := c.Flush(t.Context())
	if flushed == nil || !strings.Contains(flushed.Error(), "sink syslog: ") || !strings.Contains(flushed.Error(), "is the syslog server running") {
		t.Errorf("Flush says %v", flushed)
	}
	got := r.understood("again", 102) // with what the node says of it
	for i := range 100 {
		if want := fmt.Sprintf(`"i": "%d"`, i); !strings.Contains(got[1+i][5], want) {
			t.Fatalf("message %d: %q", i, got[1+i])
		}
	}
	if st := c.Stats().Sinks[0]; sum(st.Dropped) != 0 {
		t.Errorf("%+v", st)
	}
}
