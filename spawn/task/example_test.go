//go:build linux

package task_test

import (
	"context"
	"fmt"
	"os"
	"slices"

	"shmkit/spawn"
	"shmkit/spawn/task"
)

// order and answer are what the worker function of this package's tests takes and
// gives: it squares N.
type (
	order  struct{ N int }
	answer struct{ N int }
)

// The server's side: a pool is a resource, and a loop over Map has the results in
// order. The worker's side is task.Serve.
func ExamplePool_Map() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	pool := task.NewPool[order, answer](task.Options{Retries: 1})
	defer pool.Close()
	s, err := spawn.NewServer(spawn.Options{Run: "squares", Dir: dir, Resources: map[string]spawn.Resource{"tasks": pool}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	if _, err := s.Start(context.Background(), spawn.Spec{Func: "square", Workers: 2}); err != nil {
		fmt.Println(err)
		return
	}
	for a, err := range pool.Map(context.Background(), slices.Values([]order{{1}, {2}, {3}, {4}})) {
		fmt.Println(a.N, err)
	}
	// Output:
	// 1 <nil>
	// 4 <nil>
	// 9 <nil>
	// 16 <nil>
}
