package shmkit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shmkit"
	"shmkit/cfgblob"
	"shmkit/internal/proctest"
	"shmkit/logring"
	"shmkit/spawn"
)

// The workers of these tests are this test binary, as in any program that uses
// the package.
func TestMain(m *testing.M) {
	shmkit.Main()
	proctest.Main(m)
}

type config struct {
	Level string `json:"level"`
	Limit int    `json:"limit"`
}

// record is a line of the JSON sink.
type record struct {
	Time   time.Time
	Level  string
	Msg    string
	Group  string
	Worker int
	PID    int
	Stream string
	N      int
	Err    string
	Limit  int
}

// output collects what the JSON sink writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) records(t *testing.T) []record {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	var rs []record
	for line := range bytes.Lines(o.b.Bytes()) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("not a JSON record: %v\n%s", err, line)
		}
		rs = append(rs, r)
	}
	return rs
}

// start makes this test a node whose runtime directory has to be empty at the end.
func start(t *testing.T, o shmkit.Options) (*shmkit.Node, *output) {
	t.Helper()
	dir, out := o.Dir, &output{}
	if dir == "" {
		dir = t.TempDir()
	}
	o.Dir = dir
	if o.Sinks == nil {
		o.Sinks = []logring.Sink{logring.JSON(out)}
	}
	node, err := shmkit.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := node.Close(); err != nil {
			t.Error(err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("left in the runtime directory: %v", left)
		}
	})
	return node, out
}

var obey = shmkit.Func("obey", func(ctx context.Context, w *shmkit.Worker) error {
	cfg := shmkit.Config[config](w)
	w.Log.Debug("too early")
	w.Log.Info("started", "limit", cfg.Load().Limit)
	for range w.Snapshots().Watch(ctx) { // returns at once if it has come already
		if cfg.Load().Limit == 2 {
			break
		}
	}
	w.Log.Debug("obeyed", "limit", cfg.Load().Limit)
	return ctx.Err()
})

// A configuration published while workers run reaches all of them, and its level
// acts on their loggers, without a restart.
func TestRunningWorkersObeyTheConfig(t *testing.T) {
	node, out := start(t, shmkit.Options{Config: config{Level: "info", Limit: 1}})
	group, err := node.Start(shmkit.Spec{Func: obey, Workers: 4})
	if err != nil {
		t.Fatal(err)
	}
	// All four have read the first version when their records are there.
	for len(out.records(t)) < 4 {
		if err := node.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := node.Config().Publish("test", []byte(`{"level":"debug","limit":2}`)); err != nil {
		t.Fatal(err)
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	seen := map[string][]int{}
	for _, r := range out.records(t) {
		seen[r.Msg] = append(seen[r.Msg], r.Worker)
		if want := map[string]int{"started": 1, "obeyed": 2}[r.Msg]; r.Limit != want {
			t.Errorf("worker %d, %s: limit %d, want %d", r.Worker, r.Msg, r.Limit, want)
		}
	}
	for _, msg := range []string{"started", "obeyed"} {
		slices.Sort(seen[msg])
		if !slices.Equal(seen[msg], []int{0, 1, 2, 3}) {
			t.Errorf("%q came from workers %v", msg, seen[msg])
		}
	}
	if len(seen["too early"]) > 0 {
		t.Errorf("debug records before the level was lowered: %v", seen["too early"])
	}
}

var many = shmkit.Func("many", func(ctx context.Context, w *shmkit.Worker) error {
	for i := range 5000 {
		if i == 2500 && w.Rank%2 == 1 {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
		w.Log.LogAttrs(ctx, slog.LevelInfo, "step", slog.Int("n", i))
	}
	return nil
})

// Every record whose call returned is written once and in order, also when the
// worker kills itself right after it; and the accounts balance.
func TestNothingIsLostWhenWorkersKillThemselves(t *testing.T) {
	node, out := start(t, shmkit.Options{})
	group, err := node.Start(shmkit.Spec{Func: many, Workers: 4})
	if err != nil {
		t.Fatal(err)
	}
	var failed *spawn.ExitError
	if err := group.Wait(); !errors.As(err, &failed) {
		t.Fatalf("Wait: %v, want an ExitError", err)
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	next := make([]int, 4)
	for _, r := range out.records(t) {
		if r.Msg != "step" {
			continue
		}
		if r.N != next[r.Worker] {
			t.Fatalf("worker %d: record %d came where %d was due", r.Worker, r.N, next[r.Worker])
		}
		next[r.Worker]++
	}
	if want := []int{5000, 2500, 5000, 2500}; !slices.Equal(next, want) {
		t.Errorf("records per worker %v, want %v", next, want)
	}
	s := node.Stats()
	if n := uint64(len(out.records(t))); s.Attempted != n || s.Delivered != n || s.Pending != 0 {
		t.Errorf("%d records written, stats say %+v", n, s)
	}
}

var fails = shmkit.Func("fails", func(ctx context.Context, w *shmkit.Worker) error {
	switch w.Rank {
	case 0:
		return errors.New("no more paper")
	case 1:
		panic("ink on the floor")
	}
	return nil
})

// The end of each worker is told: by Wait, by OnExit, and as a record.
func TestFailuresAreTold(t *testing.T) {
	var mu sync.Mutex
	exits := map[int]shmkit.Exit{}
	node, out := start(t, shmkit.Options{OnExit: func(e shmkit.Exit) {
		mu.Lock()
		defer mu.Unlock()
		exits[e.Rank] = e
	}})
	group, err := node.Start(shmkit.Spec{Func: fails, Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	err = group.Wait()
	for _, want := range []string{"no more paper", "ink on the floor"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Wait does not tell %q: %v", want, err)
		}
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	for rank, code := range []int{1, 2, 0} {
		if exits[rank].Code != code {
			t.Errorf("worker %d: exit code %d, want %d", rank, exits[rank].Code, code)
		}
	}
	var failed, panicked, stack bool
	for _, r := range out.records(t) {
		failed = failed || r.Msg == "worker failed" && r.Worker == 0 && r.Err == "no more paper"
		panicked = panicked || r.Msg == "worker panicked" && r.Worker == 1
		stack = stack || r.Stream == "stderr" && r.Worker == 1 && strings.Contains(r.Msg, "shmkit_test.go")
	}
	if !failed || !panicked || !stack {
		t.Errorf("records: failed %v, panicked %v, stack on stderr %v", failed, panicked, stack)
	}
}

// Any program can be a worker: its lines are records.
func TestForeignCommand(t *testing.T) {
	node, out := start(t, shmkit.Options{})
	group, err := node.Start(shmkit.Spec{Workers: 3, Cmd: []string{"sh", "-c",
		`echo "out $SHMKIT_RANK of $SHMKIT_SIZE in $SHMKIT_RUN"; printf 'err %s' $SHMKIT_RANK >&2; exit $SHMKIT_RANK`}})
	if err != nil {
		t.Fatal(err)
	}
	group.Wait()
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, r := range out.records(t) {
		if r.Worker >= 0 {
			got[fmt.Sprintf("%s %s %d %s", r.Level, r.Stream, r.Worker, r.Msg)] = true
		}
	}
	for rank := range 3 {
		for _, want := range []string{
			fmt.Sprintf("INFO stdout %d out %d of 3 in %s", rank, rank, node.Name()),
			fmt.Sprintf("WARN stderr %d err %d", rank, rank),
		} {
			if !got[want] {
				t.Errorf("no record %q in %v", want, got)
			}
			delete(got, want)
		}
	}
	if len(got) > 0 {
		t.Errorf("records that nobody printed: %v", got)
	}
}

// What the configuration's type does not have is refused, and the version stays.
func TestConfigIsStrict(t *testing.T) {
	node, _ := start(t, shmkit.Options{Config: config{Level: "info", Limit: 1}})
	for path, value := range map[string]any{
		"limt":  3,
		"Limit": 3,
		"limit": "many",
		"level": "loud",
	} {
		if v, err := node.Config().Set("test", path, value, 0); err == nil {
			t.Errorf("%s = %v was accepted as version %d", path, value, v)
		} else if !strings.Contains(err.Error(), path) {
			t.Errorf("the error does not name %s: %v", path, err)
		}
	}
	if v := node.Config().Snapshot().Version; v != 1 {
		t.Errorf("refused changes moved the version to %d", v)
	}
	if _, err := node.Config().Set("test", "limit", 3, 0); err != nil {
		t.Error(err)
	}
}

var _ = proctest.Helper("client", func(args []string) {
	fatal := func(err error) {
		if err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
	}
	c, err := shmkit.Dial(context.Background(), shmkit.DialOptions{Run: args[0], Dir: args[1]})
	fatal(err)
	defer c.Close()
	value, version, err := c.Get(context.Background(), "limit")
	fatal(err)
	fmt.Println("get", string(value), version)
	change, err := c.Set(context.Background(), "limit", 7, version)
	fatal(err)
	fmt.Println("set", change.Version, change.Created)
	_, err = c.Set(context.Background(), "limit", 8, version)
	fmt.Println("stale", errors.Is(err, cfgblob.ErrConflict))
	_, _, err = c.Get(context.Background(), "nothing")
	fmt.Println("missing", errors.Is(err, cfgblob.ErrNoKey))
	s, err := c.Status(context.Background())
	fatal(err)
	fmt.Println("status", s.Run, len(s.Workers), s.ConfigVersion)
	for u, err := range c.Watch(context.Background(), "limit") {
		fatal(err)
		fmt.Println("watch", string(u.Value))
	}
	fmt.Println("ended")
})

// Another process of the user reads, changes and watches the configuration
// through the node, and a change against an old version is refused.
func TestClient(t *testing.T) {
	dir := t.TempDir()
	node, err := shmkit.Start(t.Context(), shmkit.Options{Name: "client", Dir: dir, Config: config{Level: "info", Limit: 1},
		Sinks: []logring.Sink{logring.JSON(&output{})}})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	cmd := proctest.Command(t, "client", "client", dir)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		b := make([]byte, 0, 4096)
		for {
			n, err := stdout.Read(b[len(b):cap(b)])
			b = b[:len(b)+n]
			for {
				line, rest, ok := bytes.Cut(b, []byte("\n"))
				if !ok {
					break
				}
				lines <- string(line)
				b = b[:copy(b[:cap(b)], rest)]
			}
			if err != nil {
				return
			}
		}
	}()
	for _, want := range []string{"get 1 1", "set 2 false", "stale true", "missing true", "status client 0 2", "watch 7"} {
		if got := <-lines; got != want {
			t.Fatalf("the client printed %q, want %q", got, want)
		}
	}
	// A change of another key is none of this one; the next one is.
	for _, doc := range []string{`{"level":"warn","limit":7}`, `{"level":"warn","limit":9}`} {
		if _, err := node.Config().Publish("test", []byte(doc)); err != nil {
			t.Fatal(err)
		}
	}
	if got := <-lines; got != "watch 9" {
		t.Errorf("the client printed %q, want %q", got, "watch 9")
	}
	if err := node.Close(); err != nil {
		t.Error(err)
	}
	if got := <-lines; got != "ended" {
		t.Errorf("the client printed %q, want %q", got, "ended")
	}
	cmd.Wait()
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left in the runtime directory: %v", left)
	}
}

// A name is taken as long as its run lives, and free again afterwards.
func TestOneRunOfAName(t *testing.T) {
	dir := t.TempDir()
	options := func() shmkit.Options {
		return shmkit.Options{Name: "twice", Dir: dir, Sinks: []logring.Sink{logring.JSON(&output{})}}
	}
	first, err := shmkit.Start(t.Context(), options())
	if err != nil {
		t.Fatal(err)
	}
	second, err := shmkit.Start(t.Context(), options())
	var running *spawn.RunningError
	if !errors.As(err, &running) {
		t.Errorf("second start: %v, %v, want a RunningError", second, err)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	third, err := shmkit.Start(t.Context(), options())
	if err != nil {
		t.Fatalf("after Close the name is not free: %v", err)
	}
	third.Close()
}

// The end of Start's context stops the workers; the records they left are kept.
func TestContextStopsTheWorkers(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out := &output{}
	node, err := shmkit.Start(ctx, shmkit.Options{Dir: t.TempDir(), Sinks: []logring.Sink{logring.JSON(out)}})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	group, err := node.Start(shmkit.Spec{Func: waits, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	for len(out.records(t)) < 2 {
		if err := node.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := group.Wait(); err != nil {
		t.Errorf("an orderly stop is no failure: %v", err)
	}
	if err := node.Close(); err != nil {
		t.Error(err)
	}
	if n := len(out.records(t)); n != 4 {
		t.Errorf("%d records, want 4: each worker's first and last", n)
	}
}

var waits = shmkit.Func("waits", func(ctx context.Context, w *shmkit.Worker) error {
	w.Log.Info("waiting")
	<-ctx.Done()
	w.Log.Info("stopping")
	return ctx.Err()
})

// Bad input is an error that names the thing; nothing is left of the attempt.
func TestBadStart(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		o    shmkit.Options
		says string
	}{
		"bad name":        {shmkit.Options{Name: "a/b"}, "a/b"},
		"not an object":   {shmkit.Options{Config: []byte(`[1]`)}, "object"},
		"not JSON":        {shmkit.Options{Config: []byte(`{"a":`)}, "config"},
		"not encodable":   {shmkit.Options{Config: make(chan int)}, "chan int"},
		"bad level":       {shmkit.Options{Config: config{Level: "loud"}}, "loud"},
		"refused":         {shmkit.Options{Validate: func([]byte) error { return errors.New("not today") }}, "not today"},
		"taken resource":  {shmkit.Options{Resources: map[string]spawn.Resource{"log": nil}}, `"log"`},
		"bad runtime dir": {shmkit.Options{Dir: "/proc/nowhere"}, "/proc/nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.o.Dir == "" {
				tc.o.Dir = dir
			}
			sink := &closeCounter{Sink: logring.JSON(&output{})}
			tc.o.Sinks = []logring.Sink{sink}
			node, err := shmkit.Start(t.Context(), tc.o)
			if err == nil {
				node.Close()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), tc.says) {
				t.Errorf("the error does not name %s: %v", tc.says, err)
			}
			if sink.closed != 1 {
				t.Errorf("the sink was closed %d times, want once", sink.closed)
			}
		})
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left in the runtime directory: %v", left)
	}
}

type closeCounter struct {
	logring.Sink
	closed int
}

func (c *closeCounter) Close() error { c.closed++; return c.Sink.Close() }

func TestBadSpec(t *testing.T) {
	node, _ := start(t, shmkit.Options{})
	for name, tc := range map[string]struct {
		spec shmkit.Spec
		says string
	}{
		"unknown function":  {shmkit.Spec{Func: "nobody", Workers: 1}, "nobody"},
		"command not found": {shmkit.Spec{Cmd: []string{"no-such-program-here"}, Workers: 1}, "no-such-program-here"},
		"no workers":        {shmkit.Spec{Func: many}, "0"},
		"neither":           {shmkit.Spec{Workers: 1}, "Func"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := node.Start(tc.spec); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("the error does not name %s: %v", tc.says, err)
			}
		})
	}
}

// A program outside this repository imports a package of it by the lines that
// the README shows.
func TestUseFromAnotherModule(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a module of its own")
	}
	repo, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := []string{
		"go mod edit -require shmkit@v0.0.0",
		"go mod edit -replace shmkit=/path/to/shmkit",
		"go mod tidy",
	}
	dir := t.TempDir()
	program := `package main

import (
	"context"
	"log/slog"
	"os"

	"shmkit/logring"
)

func main() {
	c, err := logring.NewCollector(logring.CollectorOptions{Name: "consumer", Sinks: []logring.Sink{logring.JSON(os.Stdout)}})
	if err != nil {
		panic(err)
	}
	slog.New(c.Handler()).Info("hello", "from", "outside")
	if err := c.Close(context.Background()); err != nil {
		panic(err)
	}
}
`
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	goRun := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	goRun("mod", "init", "example.com/consumer")
	for _, line := range lines {
		if !bytes.Contains(readme, []byte(line)) {
			t.Errorf("README.md does not show %q", line)
		}
		line = strings.ReplaceAll(line, "/path/to/shmkit", repo)
		goRun(strings.Fields(line)[1:]...)
	}
	out := goRun("run", ".")
	if !strings.Contains(out, `"msg":"hello"`) || !strings.Contains(out, `"from":"outside"`) {
		t.Errorf("the consumer printed %q", out)
	}
}
