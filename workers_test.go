package shmkit_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"shmkit"
	"shmkit/internal/proctest"
	"shmkit/spawn"
)

var waiter = shmkit.Func("waiter", func(ctx context.Context, w *shmkit.Worker) error {
	<-ctx.Done()
	return nil
})

// asker asks the run that it is a worker of for more workers, which any process of
// a run may do.
var asker = shmkit.Func("asker", func(ctx context.Context, w *shmkit.Worker) error {
	c, err := shmkit.Dial(ctx, shmkit.DialOptions{})
	if err != nil {
		return err
	}
	defer c.Close()
	group, infos, err := c.Start(ctx, shmkit.Spec{Func: waiter, Group: "asked-for", Workers: 2})
	if err != nil || len(infos) != 2 || infos[1].Group != group {
		return errors.Join(err, errors.New("no workers of a group"))
	}
	if err := c.Resize(ctx, group, 3); err != nil {
		return err
	}
	st, err := c.Status(ctx)
	if err != nil {
		return err
	}
	n := 0
	for _, i := range st.Workers {
		if i.Group == group {
			n++
		}
	}
	w.Log.Info("asked", "n", n)
	return c.StopWorkers(ctx, group)
})

func TestWorkersAskForWorkers(t *testing.T) {
	n, out := start(t, shmkit.Options{})
	g, err := n.Start(shmkit.Spec{Func: asker, Workers: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := n.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := 0
	for _, r := range out.records(t) {
		if r.Msg == "asked" {
			got = r.N
		}
	}
	if got != 3 {
		t.Errorf("after the resize there were %d workers, want 3: %+v", got, out.records(t))
	}
}

// A group is waited for, also after it has ended, and how its workers ended is told.
func TestClientWorkers(t *testing.T) {
	dir := t.TempDir()
	n, _ := start(t, shmkit.Options{Dir: dir})
	dial := func() *shmkit.Client {
		c, err := shmkit.Dial(t.Context(), shmkit.DialOptions{Run: n.Name(), Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	c := dial()
	group, _, err := c.Start(t.Context(), shmkit.Spec{Cmd: []string{"sh", "-c", "exit $SHMKIT_RANK"}, Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		exits, err := dial().Wait(t.Context(), group)
		if err == nil || !strings.Contains(err.Error(), "exit") {
			t.Errorf("Wait: %v", err)
		}
		_ = exits
	}
	for _, err := range []error{
		c.StopWorkers(t.Context(), "nobody"), c.Resize(t.Context(), "nobody", 2), c.Reload(t.Context(), "nobody", spawn.Reload{}),
	} {
		if err == nil || !strings.Contains(err.Error(), `no group "nobody"`) {
			t.Errorf("an unknown group: %v", err)
		}
	}
	if _, _, err := c.Start(t.Context(), shmkit.Spec{Workers: 1}); err == nil {
		t.Error("an empty Spec was accepted")
	}
	if _, _, err := c.Start(t.Context(), shmkit.Spec{Cmd: []string{"true"}, Workers: 1, Stdin: os.Stdin}); err == nil {
		t.Error("a Spec with Stdin was accepted")
	}
	// The workers run on no processor that the requester may not use.
	_, _, err = c.Start(t.Context(), shmkit.Spec{Cmd: []string{"true"}, Workers: 1, Placement: spawn.Placement{Within: "4000"}})
	if err == nil || !strings.Contains(err.Error(), "Spec.Placement.Within") {
		t.Errorf("processors that are not there: %v", err)
	}
	one := filepath.Join(t.TempDir(), "mask")
	proctest.SkipIfEmulated(t, "masks are the host's")
	own, err := spawn.OwnProcessors()
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(strings.Split(own, ",")[0], "-")
	group, _, err = c.Start(t.Context(), shmkit.Spec{Cmd: []string{"sh", "-c", "grep Cpus_allowed_list /proc/self/status > " + one}, Workers: 1, Placement: spawn.Placement{Within: first}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial().Wait(t.Context(), group); err != nil {
		t.Error(err)
	}
	if b, _ := os.ReadFile(one); !strings.HasSuffix(strings.TrimSpace(string(b)), "\t"+first) {
		t.Errorf("told to stay on %s, it had %q", first, b)
	}
}
