package spawn

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	// filesPerWorker is what a worker costs the server while it lives: the pidfd,
	// two pipes and, for a function worker, the control socket.
	filesPerWorker = 4

	// filesPerStart is what starting one costs for a moment: the far ends of the
	// above, the pipe that tells of a failed exec and its copy in the child, and
	// donated files, as far as they are known.
	filesPerStart = 12

	// spareTasks are left for threads of the server itself: the Go runtime ends a
	// program that cannot get a thread.
	spareTasks = 16

	// tasksPerGoWorker is the least number of threads a Go program has.
	tasksPerGoWorker = 5

	// The process limits are looked at from this many workers on: it takes a walk
	// through /proc, and a few more processes either fit or fail clearly.
	countTasksFrom = 32
)

// checkLimits compares what n workers need with what there is. It runs before
// anything is started; another process may still take it away.
func checkLimits(group string, n int, function bool) error {
	limit, used := fileLimit()
	if need := n*filesPerWorker + filesPerStart; need > limit-used {
		return &LimitError{group, fmt.Sprintf("file descriptors in the server (RLIMIT_NOFILE is %d, %d in use)", limit, used), need, limit - used,
			"raise it (ulimit -n), or start fewer workers"}
	}
	if n < countTasksFrom {
		return nil
	}
	each, what := commandMemory, "command"
	if function {
		each, what = functionMemory, "function worker"
	}
	if free, where := freeMemory(); n*each > free {
		return &LimitError{group, fmt.Sprintf("MiB of memory, at %d a %s at the least (%s)", each, what, where), n * each, free,
			"start fewer workers, or give this machine or cgroup more"}
	}
	need := n + spareTasks
	if function {
		need = n*tasksPerGoWorker + spareTasks
	}
	for _, l := range taskLimits() {
		if need > l.available {
			return &LimitError{group, l.what, need, l.available, "raise it, or start fewer workers"}
		}
	}
	return nil
}

// fileLimit returns the soft limit of descriptors and how many are open.
func fileLimit() (limit, used int) {
	var rl unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &rl); err != nil {
		return math.MaxInt32, 0
	}
	limit = int(min(rl.Cur, math.MaxInt32))
	// Since Linux 6.2 the size of the directory is the number of entries.
	if fi, err := os.Stat("/proc/self/fd"); err == nil && fi.Size() > 0 {
		return limit, int(fi.Size())
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, unix.EMFILE) {
		return limit, limit
	}
	return limit, len(entries)
}

// The least memory that a worker takes, in MiB: what a small C program and an empty Go
// program have resident and do not share.
const (
	commandMemory  = 1
	functionMemory = 4
)

// freeMemory returns the MiB that can be had, and where the bound is. A variable for
// tests.
var freeMemory = func() (mib int, where string) {
	mib, where = math.MaxInt32, "no limit is known"
	b, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemAvailable:" {
			kib, _ := strconv.Atoi(f[1])
			mib, where = kib>>10, "MemAvailable in /proc/meminfo"
		}
	}
	for _, dir := range controlGroups("memory") {
		for _, names := range [][2]string{{"memory.max", "memory.current"}, {"memory.limit_in_bytes", "memory.usage_in_bytes"}} {
			limit, ok := readInt(filepath.Join(dir, names[0])) // "max" is no number
			used, ok2 := readInt(filepath.Join(dir, names[1]))
			if free := (limit - used) >> 20; ok && ok2 && free < mib {
				mib, where = free, filepath.Join(dir, names[0])
			}
		}
	}
	return mib, where
}

type taskLimit struct {
	what      string
	available int
}

// taskLimits lists the limits on processes and threads that can be read.
func taskLimits() []taskLimit {
	var out []taskLimit
	total := totalTasks()
	for _, name := range []string{"pid_max", "threads-max"} {
		if v, ok := readInt("/proc/sys/kernel/" + name); ok {
			out = append(out, taskLimit{fmt.Sprintf("processes and threads on this machine (kernel.%s is %d)", name, v), v - total})
		}
	}
	var rl unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NPROC, &rl) == nil && rl.Cur < math.MaxInt32 && os.Getuid() != 0 {
		used := userTasks(os.Getuid())
		out = append(out, taskLimit{fmt.Sprintf("processes and threads of this user (RLIMIT_NPROC is %d, %d in use)", rl.Cur, used), int(rl.Cur) - used})
	}
	for _, dir := range controlGroups("pids") {
		v, ok := readInt(dir + "/pids.max") // "max" is no number
		used, ok2 := readInt(dir + "/pids.current")
		if ok && ok2 {
			out = append(out, taskLimit{fmt.Sprintf("processes and threads in the cgroup (%s/pids.max is %d, %d in use)", dir, v, used), v - used})
		}
	}
	return out
}

// totalTasks reads the number of tasks from "0.1 0.2 0.3 running/total last".
func totalTasks() int {
	b, _ := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(b)); len(f) > 3 {
		_, total, _ := strings.Cut(f[3], "/")
		n, _ := strconv.Atoi(total)
		return n
	}
	return 0
}

// userTasks counts the tasks of a user, as far as /proc shows them.
func userTasks(uid int) int {
	entries, _ := os.ReadDir("/proc")
	n := 0
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil {
			continue
		}
		if fi, err := e.Info(); err != nil || owner(fi) != uid {
			continue
		}
		// pid (comm) state ppid … num_threads is field 20; comm may hold anything.
		b, _ := os.ReadFile("/proc/" + e.Name() + "/stat")
		if i := bytes.LastIndexByte(b, ')'); i >= 0 {
			if f := strings.Fields(string(b[i+1:])); len(f) > 17 {
				t, _ := strconv.Atoi(f[17])
				n += t
			}
		}
	}
	return n
}

// controlGroups returns the directories of this process's cgroup with a controller,
// from its own up to the root.
func controlGroups(controller string) []string {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	var dirs []string
	for line := range strings.Lines(string(b)) {
		// hierarchy:controllers:path
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		var mount string
		switch {
		case f[0] == "0" && f[1] == "":
			mount = "/sys/fs/cgroup"
		case strings.Contains(","+f[1]+",", ","+controller+","):
			mount = "/sys/fs/cgroup/" + controller
		default:
			continue
		}
		for p := filepath.Clean("/" + f[2]); ; p = filepath.Dir(p) {
			dirs = append(dirs, filepath.Join(mount, p))
			if p == "/" {
				break
			}
		}
	}
	return dirs
}

func readInt(path string) (int, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(b)))
	return n, err == nil
}
