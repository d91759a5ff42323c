//go:build linux

package spawn_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"sync"

	"shmkit/spawn"
)

// Four copies of a program, their output line by line, and an error that says which
// of them failed and why.
func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	var mu sync.Mutex
	lines := map[int]string{}
	s, err := spawn.NewServer(spawn.Options{
		Run: "example",
		Dir: dir, // default: a directory of this user in memory
		Output: func(group string, rank, pid int, stream string, line []byte, continued bool) {
			mu.Lock()
			defer mu.Unlock()
			lines[rank] = fmt.Sprintf("%s %d %s: %s", group, rank, stream, line)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	g, err := s.Start(context.Background(), spawn.Spec{
		Cmd:     []string{"sh", "-c", `echo "I am $SHMKIT_RANK of $SHMKIT_SIZE"; exit $((SHMKIT_RANK / 3))`},
		Workers: 4,
		Group:   "demo",
	})
	if err != nil {
		log.Fatal(err)
	}
	err = g.Wait()

	for rank := range 4 {
		fmt.Println(lines[rank])
	}
	var failed *spawn.ExitError
	if errors.As(err, &failed) {
		for _, x := range failed.Exits {
			fmt.Printf("worker %d %s\n", x.Rank, x.Cause())
		}
	}
	// Output:
	// demo 0 stdout: I am 0 of 4
	// demo 1 stdout: I am 1 of 4
	// demo 2 stdout: I am 2 of 4
	// demo 3 stdout: I am 3 of 4
	// worker 3 exited with code 1
}

// The second server of a run is refused, and told who has it.
func ExampleNewServer() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	first, err := spawn.NewServer(spawn.Options{Run: "nightly", Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	_, err = spawn.NewServer(spawn.Options{Run: "nightly", Dir: dir})
	var running *spawn.RunningError
	if errors.As(err, &running) {
		fmt.Println(running.Run, "is held by this process:", running.Pid == os.Getpid())
	}
	runs, _ := spawn.Runs(dir)
	fmt.Println(runs[0].Name, "is live:", runs[0].Live)

	first.Close()
	runs, _ = spawn.Runs(dir)
	fmt.Println("runs left:", len(runs))
	// Output:
	// nightly is held by this process: true
	// nightly is live: true
	// runs left: 0
}

// What cannot work is said before anything is started.
func ExampleServer_Start() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := spawn.NewServer(spawn.Options{Run: "example", Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	for _, spec := range []spawn.Spec{
		{Cmd: []string{"sleep", "1"}},
		{Cmd: []string{"./nothing-here"}, Workers: 2, Dir: "/"},
		{Cmd: []string{"sleep", "1"}, Workers: 2, Dir: "/nothing/here"},
	} {
		_, err := s.Start(context.Background(), spec)
		fmt.Println(err)
	}
	// Output:
	// spawn: Spec.Workers: 0: want 1 to 16384
	// spawn: command "./nothing-here": command not found: there is no file /nothing-here: check the path
	// spawn: Spec.Dir: "/nothing/here": no such file or directory: make it, or give another one
}

// Stop asks with SIGTERM first.
func ExampleGroup_Stop() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := spawn.NewServer(spawn.Options{Run: "example", Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	g, err := s.Start(context.Background(), spawn.Spec{Cmd: []string{"sleep", "600"}, Workers: 3})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(g.Name(), g.Size(), g.Infos()[0].State)
	if err := g.Stop(context.Background()); err != nil {
		log.Fatal(err)
	}
	for _, x := range g.Exits() {
		fmt.Println(x.Rank, x.Cause(), x.Stopped)
	}
	// Output:
	// sleep 3 running
	// 0 killed by signal 15 (SIGTERM) true
	// 1 killed by signal 15 (SIGTERM) true
	// 2 killed by signal 15 (SIGTERM) true
}

// A program that can be a worker attaches first thing.
func ExampleAttach() {
	worker, err := spawn.Attach()
	switch {
	case err == nil:
		fmt.Println("function", worker.Func, "rank", worker.Rank, "of", worker.Size)
		<-worker.Context().Done() // SIGTERM, SIGINT, or the server is gone
		os.Exit(0)
	case errors.Is(err, spawn.ErrNotWorker):
		fmt.Println("started by hand: be the server")
	default:
		log.Fatal(err)
	}
	// Output:
	// started by hand: be the server
}
