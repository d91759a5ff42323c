//go:build linux

package spawn

import (
	"os"
	"strconv"
	"syscall"
	"testing"

	"shmkit/internal/proctest"
)

// What makes the comparison fair: the same program, in a new process group, one
// after the other, and waited for. The bare loop does not capture output, has no
// pidfd and nobody watching; what it costs is the floor.
//
//	go test -run '^$' -bench 'ForkExec|Spawn' ./spawn

const benchProgram = "/bin/true"

func BenchmarkForkExec(b *testing.B) {
	if _, err := os.Stat(benchProgram); err != nil {
		b.Skip(err)
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	fd := null.Fd()
	env := os.Environ()
	for b.Loop() {
		pid, err := syscall.ForkExec(benchProgram, []string{"true"}, &syscall.ProcAttr{
			Env: env, Files: []uintptr{fd, fd, fd}, Sys: &syscall.SysProcAttr{Setpgid: true}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkSpawn starts one worker at a time, waits for it, and reads its output
// to the end; per is the number of workers in a group, and the figure is per worker.
func BenchmarkSpawn(b *testing.B) {
	for _, per := range []int{1, 8} {
		b.Run("per="+strconv.Itoa(per), func(b *testing.B) {
			s := newServer(b, Options{})
			n := 0
			for b.Loop() {
				if n++; n%per != 0 {
					continue
				}
				if err := start(b, s, Spec{Cmd: []string{benchProgram}, Workers: per}).Wait(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

var nothing = workerFunc("nothing", func(*Child) {})

// BenchmarkSpawnFunc is the same with this binary as a function worker, which
// attaches and ends; BenchmarkForkExecSelf, which finds that it is no worker and
// ends, is its floor.
func BenchmarkSpawnFunc(b *testing.B) {
	s := newServer(b, Options{})
	for b.Loop() {
		if err := start(b, s, Spec{Func: nothing, Workers: 1}).Wait(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkForkExecSelf(b *testing.B) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	fd := null.Fd()
	env := append(os.Environ(), proctest.EnvHelper+"=impostor")
	for b.Loop() {
		pid, err := syscall.ForkExec("/proc/self/exe", os.Args[:1], &syscall.ProcAttr{Env: env, Files: []uintptr{fd, fd, fd}})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := syscall.Wait4(pid, nil, 0, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkOutput is a worker that writes lines of 100 bytes as fast as it can.
func BenchmarkOutput(b *testing.B) {
	lines := 0
	s := newServer(b, Options{Output: func(string, int, int, string, []byte, bool) { lines++ }})
	b.SetBytes(101)
	g := start(b, s, shell(1, "yes "+string(make100())+" | head -n "+strconv.Itoa(b.N)))
	if err := g.Wait(); err != nil {
		b.Fatal(err)
	}
	if lines != b.N {
		b.Fatalf("%d lines of %d", lines, b.N)
	}
}

func make100() []byte {
	b := make([]byte, 100)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return b
}
