package spawn

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// envShim asks this program's binary, as soon as this package is initialised, to set
// what a process can only set for itself:
//
//	SHMKIT_SHIM=nofile=1024,core=0;FD;LISTEN;PATH
//
// the resource limits; the descriptor of the binary itself, to close; how many
// listeners were passed on, or 0; and the program to become then. Without PATH the
// process goes on: it is a function worker.
const envShim = "SHMKIT_SHIM"

// exitNotExecuted is the code of a command that could not be executed, as in a shell.
const exitNotExecuted = 126

func init() {
	if order := os.Getenv(envShim); order != "" {
		os.Unsetenv(envShim)
		if err := obey(order); err != nil {
			fmt.Fprintln(os.Stderr, "spawn:", err)
			os.Exit(exitNotExecuted)
		}
	}
}

func shimOrder(limits map[string]uint64, fd, listeners int, path string) string {
	var l []string
	for _, name := range slices.Sorted(maps.Keys(limits)) {
		l = append(l, name+"="+strconv.FormatUint(limits[name], 10))
	}
	return fmt.Sprintf("%s=%s;%d;%d;%s", envShim, strings.Join(l, ","), fd, listeners, path)
}

func obey(order string) error {
	f := strings.SplitN(order, ";", 4)
	if len(f) != 4 {
		return fmt.Errorf("%s: malformed: it is for the use of shmkit only", envShim)
	}
	for limit := range strings.SplitSeq(f[0], ",") {
		name, value, ok := strings.Cut(limit, "=")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(value, 10, 64)
		if err == nil {
			err = syscall.Setrlimit(rlimits[name], &syscall.Rlimit{Cur: n, Max: n})
		}
		if err != nil {
			return fmt.Errorf("set the limit %s to %s: %w", name, value, err)
		}
	}
	path := f[3]
	if path == "" {
		return nil
	}
	if fd, err := strconv.Atoi(f[1]); err == nil {
		syscall.Close(fd)
	}
	env := os.Environ()
	if f[2] != "0" {
		env = append(env, "LISTEN_FDS="+f[2], "LISTEN_PID="+strconv.Itoa(os.Getpid()))
	}
	err := syscall.Exec(path, os.Args, env)
	return fmt.Errorf("command %q cannot be executed: %w", path, err)
}
