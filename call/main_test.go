//go:build linux

package call_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"shmkit/call"
	"shmkit/internal/proctest"
	"shmkit/spawn"
)

// The test binary is the owner, and its workers.
func TestMain(m *testing.M) {
	child, err := spawn.Attach()
	if errors.Is(err, spawn.ErrNotWorker) {
		proctest.Main(m)
	}
	if err == nil {
		err = workers[child.Func](child)
	}
	if err != nil {
		child.Fail(err.Error())
		os.Exit(1)
	}
	os.Exit(0)
}

// workers are the bodies of worker processes.
var workers = map[string]func(*spawn.Child) error{}

// worker registers a body that is given the API which the owner serves.
func worker[T any](name string, fn func(ctx context.Context, api T, child *spawn.Child) error) string {
	workers[name] = func(child *spawn.Child) error {
		files, words, _ := child.Resource("api")
		conn, err := call.Attach(files, words)
		if err != nil {
			return err
		}
		defer conn.Close()
		api, err := call.Bind[T](conn)
		if err != nil {
			return err
		}
		return fn(child.Context(), api, child)
	}
	return name
}

// start runs n workers that are given the functions of server.
func start(t *testing.T, server *call.Server, body string, n int) *spawn.Group {
	t.Helper()
	s, err := spawn.NewServer(spawn.Options{Run: "call", Dir: t.TempDir(), Resources: map[string]spawn.Resource{"api": server}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	g, err := s.Start(t.Context(), spawn.Spec{Func: body, Workers: n})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// serve is Serve for a test.
func serve[T any](t testing.TB, o call.Options, api T) *call.Server {
	t.Helper()
	server, err := call.Serve(o, api)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	return server
}

// connect stands in for a worker, in this process.
func connect(t testing.TB, server *call.Server, rank int) *call.Conn {
	t.Helper()
	files, words, lease, err := server.Donate("here", rank, rank+1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lease.Close() })
	conn, err := call.Attach(files, words)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// bind is Bind for a test.
func bind[T any](t testing.TB, conn *call.Conn) T {
	t.Helper()
	api, err := call.Bind[T](conn)
	if err != nil {
		t.Fatal(err)
	}
	return api
}

func want(got, want any) error {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("got %v, want %v", got, want)
	}
	return nil
}
