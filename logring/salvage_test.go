//go:build linux

package logring

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"shmkit/internal/proctest"
)

// crashnode is a node: workers that log without end into a JSON file, until it is
// killed. Its arguments are the crash directory, the file, and a counter for each
// worker. It prints the workers' pids; they die with it.
var _ = proctest.Helper("crashnode", func(args []string) {
	runtime.LockOSThread() // the parent death signal follows the thread
	fatal := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	file, err := OpenJSON(args[1])
	fatal(err)
	c, err := NewCollector(CollectorOptions{CrashDir: args[0], RingSize: 64 << 10, MaxRecord: 1 << 10, Sinks: []Sink{file}})
	fatal(err)
	for rank, counter := range args[2:] {
		files, words, lease, err := c.Donate("crash", rank, 1)
		fatal(err)
		bellIn, bellOut, err := os.Pipe()
		fatal(err)
		cmd := exec.Command("/proc/self/exe", append([]string{"--", fmt.Sprint(rank), "1000000000", counter}, words...)...)
		cmd.Env = append(os.Environ(), proctest.EnvHelper+"=count")
		cmd.Stderr = os.Stderr
		cmd.ExtraFiles = append(files, bellOut)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		fatal(cmd.Start())
		r := lease.(*inlet)
		r.Started(cmd.Process.Pid, nil)
		go func() {
			b := make([]byte, 64)
			for {
				if _, err := bellIn.Read(b); err != nil {
					return
				}
				r.Message(nil, nil)
			}
		}()
		fmt.Println(cmd.Process.Pid)
	}
	select {}
})

// The node is killed under load. Every record whose call had returned is in the file
// or is salvaged, in order, with its rank and pid; and then nothing is left to
// salvage. Every other time it is a new node that does it.
//
// Shown to fail by giving a ring's space back when its records are copied out.
func TestSalvageKilledNode(t *testing.T) {
	rounds := 4
	if os.Getenv("SHMKIT_STRESS") != "" {
		rounds = 200
	}
	const workers = 3
	seed := uint64(time.Now().UnixNano())
	rnd := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	proctest.Command(t, "count") // it is started by crashnode
	salvaged := 0
	for round := range rounds {
		dir := t.TempDir()
		crash, path := filepath.Join(dir, "crash"), filepath.Join(dir, "run.jsonl")
		args := []string{crash, path}
		var returned [workers]*int64
		for rank := range workers {
			args = append(args, counterFile(t, dir, rank))
			returned[rank] = mapCounter(args[2+rank])
		}
		node := proctest.Command(t, "crashnode", args...)
		out, err := node.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := node.Start(); err != nil {
			t.Fatal(err)
		}
		var pids [workers]int
		var deaths [workers]int // pidfds
		lines := bufio.NewScanner(out)
		for rank := range workers {
			if !lines.Scan() {
				t.Fatal("the node did not start")
			}
			fmt.Sscan(lines.Text(), &pids[rank])
			if deaths[rank], err = unix.PidfdOpen(pids[rank], 0); err != nil {
				t.Fatal(err)
			}
		}
		after := int64(rnd.IntN(20000))
		for atomic.LoadInt64(returned[0]) < after { // bounded by the test's deadline
			time.Sleep(50 * time.Microsecond)
		}
		node.Process.Kill()
		node.Wait()
		for _, fd := range deaths {
			for {
				if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, -1); err == nil {
					break
				}
			}
			unix.Close(fd)
		}

		k := &keeper{}
		if round%2 == 0 {
			found, err := Salvage(t.Context(), crash, SalvageOptions{Sinks: []Sink{k}})
			if err != nil || len(found.Damaged) > 0 || found.Segments != workers || int(found.Records) != len(k.all()) {
				t.Fatalf("salvage: %+v, %v, %d records", found, err, len(k.all()))
			}
		} else {
			c := newCollector(t, CollectorOptions{CrashDir: crash, Sinks: []Sink{k}})
			if err := c.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			s := c.Stats()
			checkAccount(t, s)
			if s.Pending != 0 || s.Delivered != uint64(len(k.all())) {
				t.Errorf("account: %+v", s)
			}
			told := k.recs[len(k.recs)-1]
			if k.recs = k.recs[:len(k.recs)-1]; told.Group != NodeGroup || !strings.Contains(jsonLine(told), "salvaged") {
				t.Errorf("told: %s", jsonLine(told))
			}
		}
		var written, next, cursor [workers]int
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		whole := string(b[:strings.LastIndexByte(string(b), '\n')+1]) // a kill inside a write may tear a line
		for _, m := range objects(t, whole) {
			rank := int(m["worker"].(float64))
			if m["i"] != float64(written[rank]) {
				t.Fatalf("worker %d: %v in the file, want %d", rank, m["i"], written[rank])
			}
			written[rank]++
		}
		next = written
		for _, r := range k.all() {
			i := -1
			r.Attrs(func(a slog.Attr) bool {
				if a.Key == "i" {
					i = int(a.Value.Int64())
				}
				return true
			})
			w := r.Worker
			if !r.Salvaged || r.PID != pids[w] || r.Group != "crash" || r.Message != payload(w, i) {
				t.Fatalf("salvaged: %s", jsonLine(r))
			}
			// The first ones may be in the file, too: written, but not noted, which each lane
			// is for itself. From where the file ends none is missing.
			if i < cursor[w] || i >= written[w] && i != next[w] {
				t.Fatalf("worker %d: %d salvaged behind %d, %d in the file", w, i, cursor[w]-1, written[w])
			}
			cursor[w] = i + 1
			next[w] = max(next[w], i+1)
			salvaged++
		}
		for rank, p := range returned {
			if n := int(atomic.LoadInt64(p)); next[rank] < n || next[rank] > n+1 {
				t.Errorf("worker %d: %d calls returned, %d records are there", rank, n, next[rank])
			}
			unmapCounter(p)
		}
		if left, _ := os.ReadDir(crash); len(left) != 0 {
			t.Errorf("left in the crash directory: %v", left)
		}
	}
	if salvaged == 0 {
		t.Error("nothing was left to salvage in any round: the test shows nothing")
	}
}

// crashed makes a collector leave the segment of one worker behind, as a killed node
// would, and returns its file's name.
func crashed(t *testing.T, dir string, records int) {
	t.Helper()
	cmd := proctest.Command(t, "leave", dir, fmt.Sprint(records))
	if out, err := cmd.Output(); err == nil {
		t.Fatalf("the node was to die: %s", out)
	}
}

var _ = proctest.Helper("leave", func(args []string) {
	c, err := NewCollector(CollectorOptions{CrashDir: args[0], Sinks: []Sink{sinkFunc(func([]Record) error { select {} })}})
	if err != nil {
		panic(err)
	}
	files, words, _, err := c.Donate("g/ü", 7, 8)
	if err != nil {
		panic(err)
	}
	w, err := Attach(files, words, nil)
	if err != nil {
		panic(err)
	}
	l := slog.New(w.Handler(nil))
	for i := range number(args[1]) {
		l.Info("left", "i", i)
	}
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
})

// What a sink refuses stays in the directory, and so does what is only looked at. A
// living node's segments, and files that are none, are left alone.
func TestSalvageKeeps(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "crash")
	crashed(t, dir, 10)
	live := newCollector(t, CollectorOptions{CrashDir: dir, Sinks: []Sink{sinkFunc(func([]Record) error { return errors.New("no") })}})
	if err := live.Flush(t.Context()); err == nil {
		t.Error("it took over what it cannot write")
	}
	files, _, lease, err := live.Donate("living", 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	files[0].Close()
	defer lease.Close()
	crashed(t, dir, 5)
	os.WriteFile(filepath.Join(dir, "log-mine"), nil, 0o600)
	os.WriteFile(filepath.Join(dir, "other"), nil, 0o600)

	for range 2 {
		k := &keeper{}
		found, err := Salvage(t.Context(), dir, SalvageOptions{Sinks: []Sink{k}, Keep: true})
		if err != nil || found.Segments != 2 || found.Records != 15 || found.Live != 1 || len(found.Damaged) != 1 {
			t.Fatalf("%+v, %v", found, err)
		}
		if r := k.all()[0]; r.Group != "g/ü" || r.Worker != 7 || !r.Salvaged {
			t.Errorf("%+v", r)
		}
	}
	bad := With(sinkFunc(func([]Record) error { return errors.New("disk on fire") }), SinkOptions{Name: "bad"})
	found, err := Salvage(t.Context(), dir, SalvageOptions{Sinks: []Sink{bad}})
	if err == nil || !strings.Contains(err.Error(), "bad") || !strings.Contains(err.Error(), "15 records") || !strings.Contains(err.Error(), "left there") {
		t.Errorf("%+v, %v", found, err)
	}
	if found, err = Salvage(t.Context(), dir, SalvageOptions{Sinks: []Sink{JSON(io.Discard)}}); err != nil || found.Records != 15 {
		t.Errorf("%+v, %v", found, err)
	}
	if found, err = Salvage(t.Context(), dir, SalvageOptions{}); err != nil || found.Records != 0 || found.Live != 1 {
		t.Errorf("%+v, %v", found, err)
	}
}

// Each error names the directory and the cure.
func TestCrashDirErrors(t *testing.T) {
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	os.Chmod(open, 0o755)
	for _, x := range []struct{ dir, want string }{
		{open, "0700"},
		{filepath.Join(open, "no", "parent"), "no"},
	} {
		if _, err := NewCollector(CollectorOptions{CrashDir: x.dir}); err == nil || !strings.Contains(err.Error(), "CrashDir") || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", x.dir, err)
		}
	}
	none := filepath.Join(t.TempDir(), "none")
	if _, err := Salvage(t.Context(), none, SalvageOptions{}); err == nil || !strings.Contains(err.Error(), none) || !strings.Contains(err.Error(), "name the CrashDir") {
		t.Errorf("%v", err)
	}
}

// A collector with a crash directory delivers like any other, gives space back, and
// leaves nothing behind: also for a sink that is slower than its workers.
func TestCrashDirInPeace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "crash")
	k := &keeper{}
	slow := sinkFunc(func(recs []Record) error { time.Sleep(100 * time.Microsecond); return k.Write(recs) })
	c := newCollector(t, CollectorOptions{CrashDir: dir, RingSize: 32 << 10, MaxRecord: 1 << 10, Sinks: []Sink{slow}})
	const each = 3000
	tmp := t.TempDir()
	for rank := range 2 {
		s := start(t, c, "count", "peace", rank, fmt.Sprint(rank), fmt.Sprint(each), counterFile(t, tmp, rank))
		if err := s.wait(); err != nil {
			t.Error(err)
		}
	}
	if err := c.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	var next [2]int
	for _, r := range k.all() {
		if r.Message != payload(r.Worker, next[r.Worker]) || r.Salvaged {
			t.Fatalf("record %d: %s", next[r.Worker], jsonLine(r))
		}
		next[r.Worker]++
	}
	if next != [2]int{each, each} {
		t.Errorf("%v records", next)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left in the crash directory: %v", left)
	}
}
