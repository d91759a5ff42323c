//go:build linux

package spawn

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// script makes, from one seed, what a worker writes and what has to arrive: lines of
// any bytes, empty, short, of exactly MaxLine bytes and longer, "\r\n" among them,
// and at last an unterminated one.
func script(seed uint64, lines int) (write []byte, want []string) {
	rng := rand.New(rand.NewPCG(seed, 1))
	for i := range lines {
		n := rng.IntN(200)
		switch rng.IntN(200) {
		case 0:
			n = MaxLine
		case 1:
			n = MaxLine + 1 + rng.IntN(2*MaxLine)
		case 2, 3:
			n = 0
		case 4:
			n = 4096 - 1
		}
		line := make([]byte, n)
		for j := range line {
			if line[j] = byte(rng.UintN(256)); line[j] == '\n' {
				line[j] = 0
			}
		}
		copy(line, strconv.Itoa(i))
		write = append(write, line...)
		if i == lines-1 { // unterminated: there is no "\r\n" to take apart
			if len(line) > 0 {
				want = append(want, string(line))
			}
			break
		}
		if rng.IntN(10) == 0 {
			write = append(write, '\r')
		} else {
			line = trimCR(line)
		}
		write = append(write, '\n')
		want = append(want, string(line))
	}
	return write, want
}

const scriptLines = 3000

var chatter = workerFunc("chatter", func(c *Child) {
	var wg sync.WaitGroup
	for i, f := range []*os.File{os.Stdout, os.Stderr} {
		wg.Go(func() {
			b, _ := script(uint64(2*c.Rank+i), scriptLines)
			rng := rand.New(rand.NewPCG(uint64(c.Rank), uint64(i)))
			for len(b) > 0 {
				n, err := f.Write(b[:min(len(b), 1+rng.IntN(100_000))])
				if err != nil {
					os.Exit(9)
				}
				b = b[n:]
			}
		})
	}
	wg.Wait()
	if c.Rank%2 == 1 { // the last, unterminated lines were just written
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	}
})

// Guarantees, for 8 workers writing to both streams at the same time:
//
//  1. every byte arrives once, in order, in its own line and stream;
//  2. a line of up to MaxLine bytes is one piece, longer ones come in full pieces
//     and a rest, all but the first marked as continued;
//  3. the unterminated last line arrives;
//  4. all of that also from the workers that kill themselves with SIGKILL.
//
// That it can fail was shown by closing the pipe at the worker's death instead of
// draining it, and by a chunk that does not carry its rest over.
func TestOutputFidelity(t *testing.T) {
	set(t, &linger, 0) // what is not read by then is drained after the death
	var mu sync.Mutex
	got := map[string][]string{}
	s := newServer(t, Options{Output: func(group string, rank, pid int, stream string, line []byte, continued bool) {
		mu.Lock()
		defer mu.Unlock()
		key := fmt.Sprint(rank, stream)
		l := got[key]
		switch {
		case len(line) > MaxLine:
			t.Errorf("%s: piece of %d bytes", key, len(line))
		case !continued:
			got[key] = append(l, string(line))
			return
		case len(l) == 0 || len(l[len(l)-1])%MaxLine != 0 || len(line) == 0:
			t.Errorf("%s: continued after %d lines by %d bytes", key, len(l), len(line))
		default:
			l[len(l)-1] += string(line)
		}
	}})
	exits := run(t, s, Spec{Func: chatter, Workers: 8})
	for rank, x := range exits {
		if wantCode := 137 * (rank % 2); x.Code != wantCode {
			t.Errorf("%s: want code %d", x, wantCode)
		}
		for i, stream := range []string{"stdout", "stderr"} {
			_, want := script(uint64(2*rank+i), scriptLines)
			lines := got[fmt.Sprint(rank, stream)]
			if slices.Equal(lines, want) {
				continue
			}
			t.Errorf("worker %d, %s: %d lines, want %d", rank, stream, len(lines), len(want))
			for j := range min(len(lines), len(want)) {
				if lines[j] != want[j] {
					t.Errorf("first difference in line %d: %d bytes %.20q, want %d bytes %.20q", j, len(lines[j]), lines[j], len(want[j]), want[j])
					break
				}
			}
		}
	}
}

// A worker that is killed in the middle of what it says loses nothing that it had
// written. It tells how much that was by the size of its file.
func TestOutputOfKilledWorker(t *testing.T) {
	set(t, &linger, 0)
	rec := newRecorder()
	var gate atomic.Pointer[chan struct{}]
	var lines atomic.Int64
	s := newServer(t, Options{Output: func(group string, rank, pid int, stream string, line []byte, continued bool) {
		rec.output(group, rank, pid, stream, line, continued)
		if lines.Add(1) == 500 {
			<-*gate.Load()
		}
	}})
	n := 3
	if stress() {
		n = 100
	}
	for i := range n {
		// The server stops reading after some lines and the pipe fills up, so that
		// most is read after the death.
		hold := make(chan struct{})
		gate.Store(&hold)
		lines.Store(0)
		file := t.TempDir() + "/written"
		group := fmt.Sprint("k", i)
		g := start(t, s, Spec{Group: group, Workers: 1, Func: counter, Env: []string{"COUNT_IN=" + file}})
		rec.waitFor(t, group+"/0/stdout", 500)
		size := func() int64 { fi, _ := os.Stat(file); return fi.Size() }
		eventually(t, "the pipe is nearly full", func() bool { return size() > 3000+rand.Int64N(1000) })
		pid := g.Infos()[0].Pid
		must(t, g.Signal(syscall.SIGKILL))
		waitGone(t, pid)
		close(hold)
		g.Wait()
		lines := rec.get(group + "/0/stdout")
		fi, err := os.Stat(file)
		must(t, err)
		// The count is written after the line: the line that was just under way may
		// be there or not, whole or (between two pages of the pipe) in part.
		if written := int(fi.Size()); len(lines) < written || len(lines) > written+1 {
			t.Errorf("%d lines, %d were written", len(lines), written)
		}
		for j, l := range lines[:fi.Size()] {
			if l != "line "+strconv.Itoa(j) {
				t.Errorf("line %d is %q", j, l)
				break
			}
		}
	}
}

var counter = workerFunc("counter", func(c *Child) {
	f, err := os.Create(os.Getenv("COUNT_IN"))
	if err != nil {
		panic(err)
	}
	for i := 0; ; i++ {
		os.Stdout.WriteString("line " + strconv.Itoa(i) + "\n")
		f.Write([]byte{'x'})
	}
})

// A grandchild that has left the process group, and holds the output or even goes
// on writing, does not keep Wait waiting.
var parent = workerFunc("parent", func(c *Child) {
	cmd := exec.Command("sleep", "600")
	if c.Rank == 1 {
		cmd = exec.Command("yes")
	}
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	fmt.Println("before")
	if err := cmd.Start(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	c.Send("pids", []byte(strconv.Itoa(cmd.Process.Pid)))
	os.Exit(7)
})

func TestGrandchildHoldsThePipe(t *testing.T) {
	set(t, &linger, 20*time.Millisecond)
	pids := make(chan int, 2)
	var mu sync.Mutex
	first := map[int]string{}
	s := newServer(t, Options{
		Output: func(_ string, rank, _ int, _ string, line []byte, _ bool) {
			mu.Lock()
			defer mu.Unlock()
			if _, ok := first[rank]; !ok {
				first[rank] = string(line)
			}
		},
		Resources: map[string]Resource{"pids": fakeResource{func(int) ([]*os.File, []string, io.Closer, error) {
			return nil, nil, &fakeLease{message: func(payload []byte, _ []*os.File) {
				pid, _ := strconv.Atoi(string(payload))
				pids <- pid
			}}, nil
		}}}})
	for rank, x := range run(t, s, Spec{Func: parent, Workers: 2}) {
		if x.Code != 7 || first[rank] != "before" {
			t.Errorf("%s; first line %q", x, first[rank])
		}
		pid := <-pids
		// yes ends by SIGPIPE when we close the pipe. sleep lives until here, so
		// that this pid is still its own.
		if alive(pid) {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		waitGone(t, pid)
	}
}

// What is taken after the death is what was there then, even if somebody fills the
// pipe up again as fast as it is emptied.
func TestDrainIsBounded(t *testing.T) {
	var ends [2]int
	must(t, syscall.Pipe2(ends[:], syscall.O_CLOEXEC))
	defer syscall.Close(ends[1])
	c, err := newCapture(ends[0], "pipe")
	must(t, err)
	defer c.close()
	for range 10 {
		syscall.Write(ends[1], []byte("there\n"))
	}
	lines := 0
	c.split.emit = func(line []byte, _ bool) {
		if lines++; lines < 1000 {
			syscall.Write(ends[1], []byte("again\n"))
		}
		if string(line) != "there" {
			t.Errorf("line %d is %q", lines, line)
		}
	}
	c.drain()
	if lines != 10 {
		t.Errorf("%d lines, want 10", lines)
	}
}

// The rest of the process group may finish its sentence: in a script with
// exec > >(tee log), it is tee that has the last lines.
func TestLastWordsOfTheGroup(t *testing.T) {
	set(t, &linger, patienceOfTests)
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})
	g := start(t, s, shell(1, `(sleep 0.1; echo last words) & echo first; exit 0`))
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	if got := rec.get("sh/0/stdout"); !slices.Equal(got, []string{"first", "last words"}) {
		t.Errorf("got %q", got)
	}
}

// Foreign commands are captured like function workers; Python does not buffer.
func TestPythonIsNotBuffered(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3")
	}
	rec := newRecorder()
	s := newServer(t, Options{Output: rec.output})
	g := start(t, s, Spec{Workers: 2, Group: "py", Cmd: []string{"python3", "-c",
		"import os, signal\nprint('rank', os.environ['SHMKIT_RANK'])\nprint('unterminated', end='')\nos.kill(os.getpid(), signal.SIGKILL)"}})
	g.Wait()
	for rank := range 2 {
		want := []string{fmt.Sprint("rank ", rank), "unterminated"}
		if got := rec.get(fmt.Sprintf("py/%d/stdout", rank)); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q; stderr %q", got, want, strings.Join(rec.get(fmt.Sprintf("py/%d/stderr", rank)), "|"))
		}
	}
}
