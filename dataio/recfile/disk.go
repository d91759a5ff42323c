package recfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// A disk is what files need of the operating system. Tests put a failing one in its
// place.
type disk interface {
	Open(path string, flag int) (file, error) // for reading and writing
	Rename(from, to string) error
	Remove(path string) error
	SyncFolder(path string) error // makes renames in it last
}

type file interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Lock() error // until Close, against other processes and opens
	Stat() (fs.FileInfo, error)
	Sync() error
	Truncate(size int64) error
}

// system is the disk that there is.
type system struct{}

type systemFile struct{ *os.File }

func (system) Open(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flag, 0o666)
	if err != nil {
		return nil, err
	}
	return systemFile{f}, nil
}

func (system) Rename(from, to string) error { return os.Rename(from, to) }
func (system) Remove(path string) error     { return os.Remove(path) }

func (system) SyncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some file systems cannot
		return err
	}
	return nil
}
