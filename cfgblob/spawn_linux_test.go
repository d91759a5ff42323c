package cfgblob

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"shmkit/spawn"
)

// The functions that real workers of these tests run, as a worker server starts
// them.
var workerFuncs = map[string]func(ctx context.Context, c *spawn.Child, r *Reader) error{
	"follow": followGrowth,
	"ask":    askTheOwner,
}

// asWorker runs one of them, if this process was started as a worker.
func asWorker() {
	child, err := spawn.Attach()
	if errors.Is(err, spawn.ErrNotWorker) {
		return
	}
	must(err)
	files, words, _ := child.Resource("config")
	r, err := Attach(files, words)
	must(err)
	r.Connect(func(payload []byte, files ...*os.File) error { return child.Send("config", payload, files...) })
	child.Handle("config", r.Message)
	if err := workerFuncs[child.Func](child.Context(), child, r); err != nil {
		child.Fail(err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

// startWorkers starts workers whose configuration is s.
func startWorkers(t *testing.T, s *Store, fn string, n int) *spawn.Group {
	t.Helper()
	dir := t.TempDir()
	must(os.Chmod(dir, 0o700))
	server, err := spawn.NewServer(spawn.Options{Run: "cfgblob", Dir: dir, Resources: map[string]spawn.Resource{"config": s}})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Stop(context.Background())
		server.Close()
	})
	group, err := server.Start(context.Background(), spawn.Spec{Func: fn, Group: "train", Workers: n})
	if err != nil {
		t.Fatal(err)
	}
	return group
}

type growthDoc struct {
	N    int    `json:"n"`
	Fill string `json:"fill"`
	Last bool   `json:"last"`
	Mine int    `json:"mine"` // rank+1, by an override
}

func (d *growthDoc) check() error {
	if len(d.Fill) != d.N || strings.Trim(d.Fill, "x") != "" {
		return fmt.Errorf("number %d has a fill of %d", d.N, len(d.Fill))
	}
	return nil
}

// followGrowth reads without a pause until the last document is there.
func followGrowth(ctx context.Context, c *spawn.Child, r *Reader) error {
	live, err := Bind[growthDoc](r)
	if err != nil {
		return err
	}
	seen, last := uint64(0), -1
	for ctx.Err() == nil {
		d, v := live.Load(), live.Version()
		if err := d.check(); err != nil {
			return err
		}
		if d.N < last || v < seen {
			return fmt.Errorf("version %d after %d, number %d after %d", v, seen, d.N, last)
		}
		if seen, last = v, d.N; d.Last && d.Mine == c.Rank+1 {
			return errors.Join(live.Err(), r.Err())
		}
	}
	return fmt.Errorf("stopped at version %d, number %d, mine %d: %v", seen, last, live.Load().Mine, r.Err())
}

// Workers read flat out while their document grows from 4 KiB to many times that
// and each of them is moved to a document of its own: whole versions, in order,
// and the last one in the end.
//
// Shown to trip: with the handing over left out of Store.publish they never come
// to the end; with Live.doubt doing nothing, too.
func TestWorkersFollow(t *testing.T) {
	largest := 1 << 18
	if os.Getenv("SHMKIT_STRESS") != "" {
		largest = 64 << 20
	}
	s := newStore(t, StoreOptions{Size: 4 << 10}, `{"n":0,"fill":""}`)
	const workers = 3
	group := startWorkers(t, s, "follow", workers)
	for n := 1 << 10; n <= largest; n *= 2 {
		if _, err := s.Publish("x", fmt.Appendf(nil, `{"n":%d,"fill":"%s"}`, n, strings.Repeat("x", n))); err != nil {
			t.Fatal(err)
		}
		if n > largest/4 {
			continue
		}
		rank := n % workers
		if _, err := s.SetFor(Audience{Group: "train", Ranks: []int{rank}}, "x", "mine", rank+1, 0); err != nil {
			t.Fatal(err)
		}
	}
	for rank := range workers {
		if _, err := s.SetFor(Audience{Group: "train", Ranks: []int{rank}}, "x", "mine", rank+1, 0); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Set("x", "last", true, 0); err != nil {
		t.Fatal(err)
	}
	wait(t, group)
}

func wait(t *testing.T, group *spawn.Group) {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- group.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(2 * patience):
		stop, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		group.Stop(stop)
		t.Fatalf("the workers did not end: %v", <-done)
	}
}

// askTheOwner adds its share to a sum, each time for the version that it has read.
func askTheOwner(ctx context.Context, c *spawn.Child, r *Reader) error {
	for added := 0; added < 20; {
		v := r.Dict()
		n, err := v.Int("sum")
		if err != nil {
			return err
		}
		_, err = r.Set(ctx, "sum", n+1, v.Version())
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		added++
	}
	if _, err := r.Set(ctx, "owner", c.Rank, 0); !errors.Is(err, ErrDenied) {
		return fmt.Errorf("a change that is not granted: %v", err)
	}
	return r.Err()
}

func TestWorkersAsk(t *testing.T) {
	s := newStore(t, StoreOptions{Grants: []Grant{{To: Audience{Group: "train"}, Keys: []string{"sum"}}}}, `{"sum":0,"owner":"me"}`)
	wait(t, startWorkers(t, s, "ask", 4))
	if n, err := s.Dict().Int("sum"); n != 80 || err != nil {
		t.Errorf("sum %d, %v", n, err)
	}
}
