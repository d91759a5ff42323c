//go:build linux

package logring

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"shmkit/internal/proctest"
)

// A second process with a ring: descriptor 3 is the ring, 4 the doorbell.
type second struct {
	cmd   *exec.Cmd
	lease io.Closer
	rung  sync.WaitGroup
}

// start starts the helper as a worker of c, as a process server would.
func start(t testing.TB, c *Collector, helper, group string, rank int, args ...string) *second {
	t.Helper()
	files, words, lease, err := c.Donate(group, rank, 1)
	if err != nil {
		t.Fatal(err)
	}
	bellIn, bellOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	s := &second{cmd: proctest.Command(t, helper, append(args, words...)...), lease: lease}
	s.cmd.ExtraFiles = append(files, bellOut)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for _, f := range s.cmd.ExtraFiles {
		f.Close()
	}
	r := lease.(interface {
		Started(int, func([]byte, ...*os.File) error)
		Message([]byte, []*os.File)
	})
	r.Started(s.cmd.Process.Pid, nil)
	s.rung.Go(func() {
		defer bellIn.Close()
		b := make([]byte, 64)
		for {
			if _, err := bellIn.Read(b); err != nil {
				return
			}
			r.Message(nil, nil)
		}
	})
	return s
}

// wait waits for the process to end and gives its ring back.
func (s *second) wait() error {
	err := s.cmd.Wait()
	s.rung.Wait()
	s.lease.Close()
	return err
}

// attached is the other side: n is the number of arguments before the words.
func attached(args []string, n int) *Writer {
	bell := os.NewFile(4, "bell")
	w, err := Attach([]*os.File{os.NewFile(3, "ring")}, args[n:], func() error {
		_, err := bell.Write([]byte{1})
		return err
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "helper:", err)
		os.Exit(1)
	}
	return w
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// payload is what record i of a worker says: both sides make it from the seed.
func payload(seed, i int) string {
	n := rand.New(rand.NewPCG(uint64(seed), uint64(i))).IntN(300)
	return strings.Repeat(string(rune('a'+i%26)), n)
}

// count logs N records; after each call it notes in a file (mapped, so that the
// note survives a kill) how many calls have returned.
var _ = proctest.Helper("count", func(args []string) {
	w := attached(args, 3)
	seed, n := number(args[0]), number(args[1])
	returned := mapCounter(args[2])
	l := slog.New(w.Handler(nil)).With("seed", seed)
	for i := range n {
		l.LogAttrs(context.Background(), slog.LevelInfo, payload(seed, i), slog.Int("i", i))
		// Stored here, loaded by the test when this process is dead.
		atomic.StoreInt64(returned, int64(i+1))
	}
})

// Four real processes log into one JSON file: every record once, in order per
// worker, with the right rank and pid, and an exact account.
func TestFourProcesses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run.jsonl")
	file, err := OpenJSON(path)
	if err != nil {
		t.Fatal(err)
	}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{file}})
	const workers, each = 4, 5000
	var all []*second
	for rank := range workers {
		all = append(all, start(t, c, "count", "count", rank, fmt.Sprint(rank), fmt.Sprint(each), counterFile(t, dir, rank)))
	}
	for rank, s := range all {
		if err := s.wait(); err != nil {
			t.Errorf("worker %d: %v", rank, err)
		}
	}
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := c.Stats()
	checkAccount(t, s)
	if s.Delivered != workers*each || s.Attempted != s.Delivered || s.Pending != 0 || s.Sinks[0].Written != s.Delivered {
		t.Errorf("account: %+v", s)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	next := [workers]int{}
	for _, m := range objects(t, string(b)) {
		rank := int(m["worker"].(float64))
		if m["i"] != float64(next[rank]) || m["msg"] != payload(rank, next[rank]) || m["seed"] != float64(rank) || m["group"] != "count" {
			t.Fatalf("worker %d, record %d: %v", rank, next[rank], m)
		}
		if m["pid"] != float64(all[rank].cmd.Process.Pid) {
			t.Fatalf("worker %d: pid %v", rank, m["pid"])
		}
		next[rank]++
	}
	for rank, n := range next {
		if n != each {
			t.Errorf("worker %d: %d records, want %d", rank, n, each)
		}
	}
}

// Workers are killed at a random moment, small rings often full. Each record whose
// call had returned is there once, in order and whole; at most one more, of the
// call in which the worker died.
//
// 0 failures in N kills bounds the rate below 3/N at 95 %; SHMKIT_STRESS=1 makes
// them many. Shown to fail by giving a record's space back before it is copied, by
// taking one in a thousand twice, and by leaving one out. (Death at each single
// instruction of a commit is the ring's own test.)
func TestKilledWorkers(t *testing.T) {
	rounds := 10
	if os.Getenv("SHMKIT_STRESS") != "" {
		rounds = 500
	}
	const workers = 4
	seed := time.Now().UnixNano()
	rnd := rand.New(rand.NewPCG(uint64(seed), 0))
	t.Logf("seed %d, %d kills", seed, rounds*workers)
	k := &keeper{}
	c := newCollector(t, CollectorOptions{RingSize: 8 << 10, MaxRecord: 1 << 10, Sinks: []Sink{k}})
	dir := t.TempDir()
	for round := range rounds {
		k.mu.Lock()
		k.recs = k.recs[:0]
		k.mu.Unlock()
		var wg sync.WaitGroup
		var returned [workers]*int64
		for rank := range workers {
			notes := counterFile(t, dir, round*workers+rank)
			returned[rank] = mapCounter(notes)
			s := start(t, c, "count", "k", rank, fmt.Sprint(rank), "1000000000", notes)
			after := int64(rnd.IntN(3000))
			wg.Go(func() {
				for atomic.LoadInt64(returned[rank]) < after {
					time.Sleep(50 * time.Microsecond)
				}
				s.cmd.Process.Kill()
				if err := s.wait(); err == nil {
					t.Errorf("worker %d ended by itself", rank)
				}
			})
		}
		wg.Wait()
		flushAll(t, c)
		var next [workers]int
		for _, r := range k.all() {
			if r.Message != payload(r.Worker, next[r.Worker]) || !strings.Contains(jsonLine(r), fmt.Sprintf(`"i":%d}`, next[r.Worker])) {
				t.Fatalf("worker %d: record %d is %s", r.Worker, next[r.Worker], jsonLine(r))
			}
			next[r.Worker]++
		}
		for rank := range workers {
			ok := int(atomic.LoadInt64(returned[rank]))
			if n := next[rank]; n < ok || n > ok+1 {
				t.Errorf("worker %d: %d calls returned, %d records arrived", rank, ok, n)
			}
			unmapCounter(returned[rank])
		}
	}
	s := c.Stats()
	checkAccount(t, s)
	if s.Pending != 0 || len(s.Dropped) != 0 || s.Quarantined != 0 {
		t.Errorf("account: %+v", s)
	}
}

// levels logs at debug and info until the node wants neither.
var _ = proctest.Helper("levels", func(args []string) {
	w := attached(args, 0)
	l := slog.New(w.Handler(nil))
	for i := 0; l.Enabled(context.Background(), slog.LevelInfo); i++ {
		l.Debug("debug", "i", i)
		l.Info("info", "i", i)
		time.Sleep(100 * time.Microsecond)
	}
})

// A level set in the node acts on a running worker process.
func TestLevelChangesLive(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{Sinks: []Sink{k}})
	s := start(t, c, "levels", "g", 0)
	seen := func(msg string) bool {
		for _, r := range k.all() {
			if r.Message == msg {
				return true
			}
		}
		return false
	}
	for !seen("info") { // this and the next are bounded by the test's deadline
		time.Sleep(time.Millisecond)
	}
	if seen("debug") {
		t.Error("debug records before the level was set")
	}
	c.SetLevel(slog.LevelDebug)
	for !seen("debug") {
		time.Sleep(time.Millisecond)
	}
	c.SetGroupLevel("g", slog.LevelError) // it ends
	if err := s.wait(); err != nil {
		t.Error(err)
	}
}

// hostile scribbles over everything it can reach, and rings without end.
var _ = proctest.Helper("hostile", func(args []string) {
	seed := number(args[0])
	w := attached(args, 1)
	slog.New(w.Handler(nil)).Info("before")
	lease, off := wholeMapping(w)
	scribble(lease, off, seed)
	bell := os.NewFile(4, "bell")
	for range 2000 {
		bell.Write([]byte{1})
	}
})

// Hostile processes cost only their own rings: the collector lives, each bad ring
// is quarantined once, and another worker's records are all there.
func TestHostileProcesses(t *testing.T) {
	k := &keeper{}
	c := newCollector(t, CollectorOptions{RingSize: 16 << 10, MaxRecord: 1 << 10, Sinks: []Sink{k}})
	const bad, each = 8, 3000
	good := start(t, c, "count", "good", 0, "0", fmt.Sprint(each), counterFile(t, t.TempDir(), 0))
	var all []*second
	for i := range bad {
		all = append(all, start(t, c, "hostile", "bad", i, fmt.Sprint(i)))
	}
	for i, s := range all {
		if err := s.wait(); err != nil {
			t.Errorf("hostile %d: %v", i, err)
		}
	}
	if err := good.wait(); err != nil {
		t.Error(err)
	}
	flushAll(t, c)
	s := c.Stats()
	checkAccount(t, s)
	count := map[string]int{}
	for _, r := range k.all() {
		if r.Group == "bad" && r.Message != "before" {
			continue // garbage that happens to be well-formed is theirs
		}
		count[r.Group+" "+strings.Trim(r.Message, "abcdefghijklmnopqrstuvwxyz")]++
	}
	if s.Quarantined == 0 || s.Quarantined > bad {
		t.Errorf("%d rings quarantined of %d", s.Quarantined, bad)
	}
	for _, w := range s.Workers {
		if w.Group == "good" && (w.Delivered != each || w.Attempted != each) {
			t.Errorf("the good worker: %+v", w)
		}
		if w.Group == "bad" && w.Delivered == 0 && w.Dropped[DropCorrupt] == 0 {
			t.Errorf("nothing is known of a hostile worker: %+v", w)
		}
	}
	if count["good "] != each {
		t.Errorf("%d of %d good records", count["good "], each)
	}
}

// fill logs until the disk is full, then on, through the node: see TestDiskFull.
var _ = proctest.Helper("diskfull", func(args []string) {
	syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 20001, Max: 1 << 40})
	ignoreFileSize()
	s, err := OpenJSON(args[0])
	if err != nil {
		panic(err)
	}
	c, err := NewCollector(CollectorOptions{Sinks: []Sink{With(s, SinkOptions{Retry: time.Minute})}})
	if err != nil {
		panic(err)
	}
	l := slog.New(c.Handler())
	for i := range 1000 {
		l.Info("x", "i", i)
	}
	for c.Stats().Sinks[0].Errors == 0 {
		time.Sleep(time.Millisecond)
	}
	b, _ := os.ReadFile(args[0])
	fmt.Println(len(b), strings.HasSuffix(string(b), "}\n"))
	syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 40, Max: 1 << 40})
	if err := c.Flush(context.Background()); err == nil {
		fmt.Println("Flush says nothing of the error")
	}
	c.Close(context.Background())
	fmt.Println(c.Stats().Sinks[0].Written)
})

// A real file that cannot grow: the last line is taken back whole, and when there
// is room again everything goes on, nothing lost.
func TestFileLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run.jsonl")
	out, err := proctest.Command(t, "diskfull", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	var size, written int
	var whole bool
	if _, err := fmt.Sscan(string(out), &size, &whole, &written); err != nil {
		t.Fatalf("%v: %q", err, out)
	}
	const told = 2 // records about the outage itself: its beginning and its end
	if !whole || size == 0 || size > 20001 || written != 1000+told {
		t.Errorf("at the limit: %d bytes, whole lines %v; at the end %d records", size, whole, written)
	}
	b, _ := os.ReadFile(path)
	next, outages := 0, ""
	for _, m := range objects(t, string(b)) {
		if _, ours := m["sink"]; ours {
			outages += m["msg"].(string) + "; "
		} else if m["i"] != float64(next) {
			t.Fatalf("line %d: %v", next, m)
		} else {
			next++
		}
	}
	if next != 1000 || outages != "log sink failed; log sink works again; " {
		t.Errorf("%d lines, and %q", next, outages)
	}
}

// Four worker processes to one JSON file, as fast as it goes.
func BenchmarkEndToEnd(b *testing.B) {
	dir := b.TempDir()
	file, err := OpenJSON(filepath.Join(dir, "run.jsonl"))
	if err != nil {
		b.Fatal(err)
	}
	c := newCollector(b, CollectorOptions{Sinks: []Sink{file}})
	var all []*second
	b.ResetTimer()
	for rank := range 4 {
		all = append(all, start(b, c, "flood", "flood", rank, fmt.Sprint(max(b.N/4, 1))))
	}
	for _, s := range all {
		s.wait()
	}
	flushAll(b, c)
	b.StopTimer()
	b.ReportMetric(float64(c.Stats().Delivered)/b.Elapsed().Seconds()/1e6, "Mrec/s")
	b.ReportMetric(float64(c.Stats().Doorbells), "bells")
}

var _ = proctest.Helper("flood", func(args []string) {
	w := attached(args, 1)
	l := slog.New(w.Handler(nil))
	names := []string{"a.go", "b.go", "c/d.go", "e.go"}
	for i := range number(args[0]) {
		l.LogAttrs(context.Background(), slog.LevelInfo, "indexed",
			slog.String("path", names[i&3]), slog.Int("lines", i), slog.Float64("share", float64(i)*0.25))
	}
})

// A short run of the benchmark's worker, so that it is always tried.
func TestFlood(t *testing.T) {
	c := newCollector(t, CollectorOptions{Sinks: []Sink{JSON(io.Discard)}})
	begin := time.Now()
	if err := start(t, c, "flood", "flood", 0, "20000").wait(); err != nil {
		t.Fatal(err)
	}
	flushAll(t, c)
	if s, most := c.Stats(), uint64(time.Since(begin)/c.o.Window)+2; s.Delivered != 20000 || s.Doorbells > most {
		t.Errorf("%d delivered, %d doorbells, want at most one a window: %d", s.Delivered, s.Doorbells, most)
	}
}
