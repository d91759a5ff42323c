package fxkit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"

	"go.uber.org/fx"

	"shmkit"
	"shmkit/adapters/fxkit"
	"shmkit/internal/proctest"
	"shmkit/logring"
)

// The workers of these tests are this test binary.
func TestMain(m *testing.M) {
	shmkit.Main()
	// fx listens for signals; the runtime's goroutine for that never ends.
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	signal.Stop(c)
	proctest.Main(m)
}

type config struct {
	Level  string `json:"level"`
	Cipher string `json:"cipher"`
	Limit  int    `json:"limit"`
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

// messages are those of one worker, in order.
func (o *output) messages(t *testing.T, rank int) []string {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for line := range bytes.Lines(o.b.Bytes()) {
		var r struct {
			Msg    string
			Worker int
		}
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("not a JSON record: %v\n%s", err, line)
		}
		if r.Worker == rank {
			all = append(all, r.Msg)
		}
	}
	return all
}

// count is the number of records.
func (o *output) count() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return bytes.Count(o.b.Bytes(), []byte("\n"))
}

// options are those of a node whose directory has to be empty at the end.
func options(t testing.TB) (shmkit.Options, *output) {
	dir, out := t.TempDir(), &output{}
	t.Cleanup(func() {
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("left in the runtime directory: %v", left)
		}
	})
	return shmkit.Options{Dir: dir, Config: config{Level: "info", Cipher: "rot13"}, Sinks: []logring.Sink{logring.JSON(out)}}, out
}

// run is an application that ends when its workers have, and its exit code.
func run(t testing.TB, o shmkit.Options, spec shmkit.Spec, more ...fx.Option) int {
	t.Helper()
	app := fx.New(fxkit.Node(o), fxkit.Workers(spec), fx.Options(more...), fx.NopLogger)
	if err := app.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	end := <-app.Wait()
	if err := app.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
	return end.ExitCode
}

// node starts a node by itself.
func node(t testing.TB, o shmkit.Options) *shmkit.Node {
	t.Helper()
	n, err := shmkit.Start(context.WithoutCancel(t.Context()), o) // that ends before the node is closed: a run cut off
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func says(err error, words ...string) bool {
	if err == nil {
		return false
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			return false
		}
	}
	return true
}
