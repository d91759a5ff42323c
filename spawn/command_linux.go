package spawn

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// findCommand returns the path to execute for name, in a process whose working
// directory is dir ("": ours) and whose environment is env. It is looked up before
// anything is started, so that a misspelt name costs nothing.
func findCommand(name, dir string, env []string) (string, error) {
	if name == "" {
		return "", &SpecError{"Spec.Cmd", errors.New("the program's name is empty")}
	}
	if strings.ContainsRune(name, '/') {
		if err := executable(inDir(dir, name)); err != nil {
			return "", &CommandError{name, explainPath(err, dir, name)}
		}
		return name, nil
	}
	path := lookupEnv(env, "PATH")
	var found error // a file of that name that cannot be executed
	for _, d := range filepath.SplitList(path) {
		if d == "" {
			continue // the current directory, to a shell; surprising, and unsafe
		}
		file := d + "/" + name
		err := executable(inDir(dir, file))
		if err == nil {
			return file, nil
		}
		if found == nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			found = explainPath(err, dir, file)
		}
	}
	if found != nil {
		return "", &CommandError{name, found}
	}
	return "", &CommandError{name, explained{"command not found in PATH=" + path + ": check its name, install it, or give its path", []error{exec.ErrNotFound}}}
}

// explained is an error whose text stands for those it wraps.
type explained struct {
	text   string
	causes []error
}

func (e explained) Error() string   { return e.text }
func (e explained) Unwrap() []error { return e.causes }

// inDir returns where a process in dir finds file.
func inDir(dir, file string) string {
	if dir == "" || filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}

func executable(path string) error {
	fi, err := os.Stat(path)
	if err != nil {
		return errors.Unwrap(err)
	}
	if fi.IsDir() {
		return syscall.EISDIR
	}
	return unix.Faccessat(unix.AT_FDCWD, path, unix.X_OK, unix.AT_EACCESS)
}

// explainPath adds to the error about a file what to do about it.
func explainPath(err error, dir, file string) error {
	path := inDir(dir, file)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return explained{"command not found: there is no file " + path + ": check the path", []error{exec.ErrNotFound, err}}
	case errors.Is(err, syscall.EISDIR):
		return explained{path + " is a directory: give the path of a program", []error{err}}
	case errors.Is(err, fs.ErrPermission):
		return explained{fmt.Sprintf("%s is not executable for uid %d: chmod +x it", path, os.Geteuid()), []error{err}}
	}
	return fmt.Errorf("%s: %w", path, err)
}

// checkDir looks whether a process can work in dir.
func checkDir(dir string) error {
	if dir == "" {
		return nil
	}
	fi, err := os.Stat(dir)
	if err == nil && !fi.IsDir() {
		err = syscall.ENOTDIR
	} else if err == nil {
		err = unix.Faccessat(unix.AT_FDCWD, dir, unix.X_OK, unix.AT_EACCESS)
	} else {
		err = errors.Unwrap(err)
	}
	if err != nil {
		return &SpecError{"Spec.Dir", fmt.Errorf("%q: %w: make it, or give another one", dir, err)}
	}
	return nil
}

// explainExec adds to the error of a fork or exec what it means here.
func explainExec(name string, err error) error {
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return fmt.Errorf("no more processes (RLIMIT_NPROC, pids.max of the cgroup, or kernel.pid_max): start fewer workers, or raise the limit: %w", err)
	case isDescriptorError(err):
		return explainFiles(err)
	case errors.Is(err, syscall.ENOMEM):
		return fmt.Errorf("no memory for another process: start fewer workers: %w", err)
	}
	why := err
	switch {
	case errors.Is(err, fs.ErrNotExist):
		why = fmt.Errorf("its interpreter (the #! line) or loader does not exist, or it was just removed: %w", err)
	case errors.Is(err, syscall.ENOEXEC):
		why = fmt.Errorf("not a program for this machine (or a script without a #! line): %w", err)
	case errors.Is(err, syscall.ETXTBSY):
		why = fmt.Errorf("is being written by another process: wait until it is complete: %w", err)
	case errors.Is(err, syscall.E2BIG):
		why = fmt.Errorf("its arguments and environment are too long: %w", err)
	case errors.Is(err, fs.ErrPermission):
		why = fmt.Errorf("may not be executed (a noexec mount, or a security policy): %w", err)
	}
	return &CommandError{name, why}
}

// isDescriptorError recognises a process at its descriptor limit. In a child that
// is about to execute, dup3 beyond the limit gives EBADF.
func isDescriptorError(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EBADF)
}

func explainFiles(err error) error {
	if !isDescriptorError(err) {
		return err
	}
	limit, _ := fileLimit()
	return fmt.Errorf("no free file descriptor (RLIMIT_NOFILE is %d): raise it (ulimit -n) or start fewer workers: %w", limit, err)
}
