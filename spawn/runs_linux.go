package spawn

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Runs lists the runs of a runtime directory ("": [RuntimeDir]) by name. A
// directory that does not exist has none.
func Runs(dir string) ([]RunInfo, error) {
	d, err := resolveRuntimeDir(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(d.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, &DirError{d.path, errors.Unwrap(err)}
	}
	var runs []RunInfo
	for _, e := range entries {
		path := filepath.Join(d.path, e.Name())
		if checkName(e.Name()) != nil || !ownDir(path) {
			continue
		}
		lock := filepath.Join(path, lockName)
		head, err := readLock(lock)
		if err != nil || !bytes.HasPrefix(head, []byte(lockHeader)) && len(head) > 0 {
			continue
		}
		pid, live := probe(lock)
		runs = append(runs, RunInfo{Name: e.Name(), Dir: path, Live: live, Pid: pid})
	}
	return runs, nil
}

// Prune removes the stale runs of a runtime directory ("": [RuntimeDir]) and
// returns their names. It takes the lock of each first, so that a server which
// is just taking the name over is not disturbed.
func Prune(dir string) ([]string, error) {
	d, err := resolveRuntimeDir(dir)
	if err != nil {
		return nil, err
	}
	runs, err := Runs(d.path)
	if err != nil {
		return nil, err
	}
	var names []string
	var errs []error
	for _, r := range runs {
		if r.Live {
			continue
		}
		c := &claim{parent: d, path: r.Dir}
		if c.try(false) != nil {
			continue // somebody else has it, or had it
		}
		if err := c.release(); err != nil {
			errs = append(errs, err)
			continue
		}
		names = append(names, r.Name)
	}
	d.drop()
	return names, errors.Join(errs...)
}

func resolveRuntimeDir(dir string) (runtimeDir, error) {
	if dir == "" {
		return defaultRuntimeDir()
	}
	return givenRuntimeDir(dir)
}
