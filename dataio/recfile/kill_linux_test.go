package recfile_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"

	"shmkit/dataio/recfile"
	"shmkit/internal/proctest"
)

// The node of TestNodeKilled: it rotates, starts workers that append and say what was
// flushed, and ends when its standard input does. Arguments: path, format, and of each
// worker the number of its first record.
var _ = proctest.Helper("rotating-node", func(args []string) {
	if args[0] == "worker" {
		flush(args[1:])
	}
	runtime.LockOSThread() // the workers die with the thread that started them
	format, _ := strconv.Atoi(args[1])
	s, err := recfile.NewServer(map[string]recfile.Options{"results.csv": {
		Path: args[0], Format: recfile.Format(format), Header: []byte("header"), MaxBytes: 8 << 10, Resume: true,
	}})
	if err != nil {
		die(err)
	}
	var leases []messenger
	var cmds []*exec.Cmd
	for rank, first := range args[2:] {
		files, words, lease, err := s.Donate("w", rank, len(args)-2)
		if err != nil {
			die(err)
		}
		r, w, err := os.Pipe()
		if err != nil {
			die(err)
		}
		cmd := exec.Command(os.Args[0], append([]string{"worker", strconv.Itoa(rank), first}, words...)...)
		cmd.ExtraFiles = []*os.File{files[0], w}
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := cmd.Start(); err != nil {
			die(err)
		}
		files[0].Close()
		w.Close()
		m := lease.(messenger)
		go func() {
			for b := make([]byte, 64); ; m.Message(nil, nil) {
				if n, err := r.Read(b); n == 0 || err != nil {
					return
				}
			}
		}()
		leases, cmds = append(leases, m), append(cmds, cmd)
	}
	io.Copy(io.Discard, os.Stdin)
	for i, cmd := range cmds {
		cmd.Process.Kill()
		cmd.Wait()
		if err := leases[i].Close(); err != nil {
			die(err)
		}
	}
	if err := s.Close(); err != nil {
		die(err)
	}
})

// flush is a worker of that node.
func flush(args []string) {
	c := attached(args[2:])
	f := c.File("results.csv")
	die := func(err error) {
		if !errors.Is(err, syscall.EPIPE) { // the node is gone
			die(err)
		}
		os.Exit(1)
	}
	first, _ := strconv.Atoi(args[1])
	for i := first; ; i++ {
		if err := f.Append(record(args[0], i)); err != nil {
			die(err)
		}
		if i%7 == 0 {
			if err := f.Flush(context.Background()); err != nil {
				die(err)
			}
			fmt.Println(args[0], i) // one write: it is not mixed with another one's
		}
	}
}

// The node is killed at random moments while workers append and files are rotated, and
// goes on with what was left:
//
//  1. every record whose Flush had returned is there, once;
//  2. none is torn in a file that has its name, and one at most in the unfinished one;
//  3. each worker's come in order, without gaps, across files and nodes;
//  4. each file begins with the header, and has it once.
//
// Planted, and found by it: a resumed run that gives the last number again, and a header
// written again behind a resumed beginning.
func TestNodeKilled(t *testing.T) {
	for _, format := range []recfile.Format{recfile.Lines, recfile.Frames} {
		t.Run(fmt.Sprint("format ", format), func(t *testing.T) {
			const workers = 3
			rounds := 5
			if stress {
				rounds = 60
			}
			path := filepath.Join(t.TempDir(), "results.csv")
			next := make([]int, workers)
			for round := range rounds {
				last := round == rounds-1
				flushed := runAndKill(t, path, format, next, last)
				l := readFiles(t, path, format, workers)
				if next = l.next; last && l.unfinished {
					t.Fatal("the last node has left an unfinished file")
				}
				for rank, n := range flushed {
					if next[rank] <= n {
						t.Fatalf("round %d: worker %d has %d records, and number %d was flushed", round, rank, next[rank], n)
					}
				}
			}
		})
	}
}

// runAndKill runs a node until some records were flushed. It returns the last one of each
// worker. At the end the node is asked to end, instead of killed.
func runAndKill(t *testing.T, path string, format recfile.Format, next []int, orderly bool) (flushed []int) {
	t.Helper()
	args := []string{path, strconv.Itoa(int(format))}
	for _, n := range next {
		args = append(args, strconv.Itoa(n))
		flushed = append(flushed, n-1)
	}
	cmd := proctest.Command(t, "rotating-node", args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := 1 + rand.IntN(100)
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ { // to the end: when the workers are dead, too
		var rank, i int
		if _, err := fmt.Sscan(lines.Text(), &rank, &i); err != nil {
			t.Fatalf("%q: %v", lines.Text(), err)
		}
		flushed[rank] = i
		if n == end && orderly {
			in.Close()
		} else if n == end {
			for range rand.IntN(2000) { // anywhere in its next rounds
				runtime.Gosched()
			}
			cmd.Process.Kill()
		}
	}
	if err := cmd.Wait(); (err == nil) != orderly {
		t.Fatal(err)
	}
	return flushed
}
