package recfile_test

import (
	"fmt"
	"strings"
	"sync"
	"syscall"

	"shmkit/dataio/recfile"
)

// An op is one operation on a disk.
type op struct {
	what string // open, rename, remove, folder, write, sync, truncate
	path string
}

// A faultyDisk is the system's, with a plan of what fails.
type faultyDisk struct {
	recfile.Disk

	// fault is asked before each operation, the n-th from 1. It may wait. A write that
	// fails with ENOSPC is a short one: half of it reaches the disk.
	fault func(n int, o op) error

	mu     sync.Mutex
	ops    []op
	failed []op
}

func newFaultyDisk(fault func(n int, o op) error) *faultyDisk {
	return &faultyDisk{Disk: recfile.System, fault: fault}
}

func (d *faultyDisk) do(what, path string) error {
	o := op{what, path}
	d.mu.Lock()
	d.ops = append(d.ops, o)
	n := len(d.ops)
	d.mu.Unlock()
	if err := d.fault(n, o); err != nil {
		d.mu.Lock()
		d.failed = append(d.failed, o)
		d.mu.Unlock()
		return fmt.Errorf("operation %d, %s: %w", n, what, err)
	}
	return nil
}

// first is the first operation that has failed, if any has.
func (d *faultyDisk) first() (o op, failed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.failed) == 0 {
		return o, false
	}
	return d.failed[0], true
}

// count is how many operations of a kind there were on paths with that end.
func (d *faultyDisk) count(what, suffix string) (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range d.ops {
		if o.what == what && strings.HasSuffix(o.path, suffix) {
			n++
		}
	}
	return n
}

func (d *faultyDisk) Open(path string, flag int) (recfile.DiskFile, error) {
	if err := d.do("open", path); err != nil {
		return nil, err
	}
	f, err := d.Disk.Open(path, flag)
	if err != nil {
		return nil, err
	}
	return &faultyFile{f, d, path}, nil
}

func (d *faultyDisk) Rename(from, to string) error {
	if err := d.do("rename", to); err != nil {
		return err
	}
	return d.Disk.Rename(from, to)
}

func (d *faultyDisk) Remove(path string) error {
	if err := d.do("remove", path); err != nil {
		return err
	}
	return d.Disk.Remove(path)
}

// What the machine would lose is not what is tested here: nothing is flushed.
func (d *faultyDisk) SyncFolder(path string) error { return d.do("folder", path) }

type faultyFile struct {
	recfile.DiskFile
	disk *faultyDisk
	path string
}

func (f *faultyFile) WriteAt(b []byte, at int64) (int, error) {
	if err := f.disk.do("write", f.path); err != nil {
		n := 0
		if strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
			n, _ = f.DiskFile.WriteAt(b[:len(b)/2], at)
		}
		return n, err
	}
	return f.DiskFile.WriteAt(b, at)
}

func (f *faultyFile) Sync() error { return f.disk.do("sync", f.path) }

func (f *faultyFile) Truncate(size int64) error {
	if err := f.disk.do("truncate", f.path); err != nil {
		return err
	}
	return f.DiskFile.Truncate(size)
}
