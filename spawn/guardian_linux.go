package spawn

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// envGuard makes a process of this program's binary a guardian, as soon as this
// package is initialised:
//
//	SHMKIT_GUARD=MARK;CGROUP   end what is left when the server has ended
//	SHMKIT_GUARD=              be the first process of a namespace
//
// Its standard input is the lifeline: the other end is the server's, which never
// writes anything but the byte that lets a guardian go.
const envGuard = "SHMKIT_GUARD"

// guardLimit bounds the guardian's life after the server's.
const guardLimit = 10 * time.Second

func init() {
	order, ok := os.LookupEnv(envGuard)
	if !ok {
		return
	}
	signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	os.WriteFile("/proc/self/comm", []byte("shmkit-guardian"), 0)
	if order == "" {
		go reapAll()
	}
	b := make([]byte, 1)
	n, _ := os.Stdin.Read(b)
	if n == 0 && order != "" {
		mark, cgroup, _ := strings.Cut(order, ";")
		for range 2 { // what was just being started may come late
			if cgroup != "" {
				os.WriteFile(filepath.Join(cgroup, "cgroup.kill"), []byte("1"), 0)
			}
			sweep(mark, guardLimit)
			time.Sleep(20 * time.Millisecond)
		}
		if cgroup != "" {
			removeCgroup(cgroup)
		}
	}
	os.Exit(0)
}

// reapAll waits for the orphans of a namespace, which are its first process's.
func reapAll() {
	for {
		if _, err := syscall.Wait4(-1, nil, 0, nil); err == syscall.ECHILD {
			time.Sleep(100 * time.Millisecond)
		}
	}
}

// A guardian is such a process, seen from the server.
type guardian struct {
	cmd  *exec.Cmd
	line *os.File // the server's end of the lifeline
}

func startGuardian(run, order string, flags uintptr) (*guardian, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, explainFiles(err)
	}
	defer r.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"shmkit-guardian", run}
	cmd.Env = []string{envGuard + "=" + order}
	cmd.Dir = "/"
	cmd.Stdin = r
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: flags}
	if err := cmd.Start(); err != nil {
		w.Close()
		return nil, err
	}
	return &guardian{cmd, w}, nil
}

// release lets the guardian go and waits for it.
func (g *guardian) release() {
	if g == nil {
		return
	}
	g.line.Write([]byte{1})
	g.line.Close()
	g.cmd.Wait()
}

// alive reports whether it still watches.
func (g *guardian) alive() bool {
	if g == nil {
		return false
	}
	fd, err := unix.PidfdOpen(g.cmd.Process.Pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n == 0
}

// ownCgroup makes the cgroup of a run below that of this process.
func ownCgroup(run string) (*os.File, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(b)) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok {
			continue
		}
		for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
			if typ, err := statfsType(mount); err != nil || typ != unix.CGROUP2_SUPER_MAGIC {
				continue
			}
			dir := filepath.Join(mount, path, fmt.Sprintf("shmkit-%s-%d", run, os.Getpid()))
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				return nil, err
			}
			if err := unix.Access(filepath.Join(dir, "cgroup.kill"), unix.W_OK); err != nil {
				os.Remove(dir)
				return nil, err
			}
			f, err := openCgroup(dir)
			if err != nil {
				os.Remove(dir)
			}
			return f, err
		}
	}
	return nil, errors.ErrUnsupported
}

// removeCgroup ends what is in a cgroup and removes it.
func removeCgroup(dir string) {
	for deadline := time.Now().Add(guardLimit); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if err := os.Remove(dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return
		}
		os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
	}
}
