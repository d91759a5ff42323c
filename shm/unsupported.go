//go:build !(linux && (amd64 || arm64))

package shm

import (
	"context"
	"errors"
	"os"
)

// Elsewhere the package compiles, so that programs can, and says so.

const linuxOnly = "segments need Linux on amd64 or arm64"

func unsupported(op, name string) error {
	return fail(op, name, errors.ErrUnsupported, linuxOnly)
}

// Create returns errors.ErrUnsupported.
func Create(o Options) (*Segment, error) { return nil, unsupported("create", o.Name) }

// Attach returns errors.ErrUnsupported. It closes f.
func Attach(f *os.File, want Expect) (*Segment, error) {
	if f != nil {
		f.Close()
	}
	return nil, unsupported("attach", want.Name)
}

// CreateNamed returns errors.ErrUnsupported.
func CreateNamed(dir string, o Options) (*Segment, error) { return nil, unsupported("create", o.Name) }

// OpenNamed returns errors.ErrUnsupported.
func OpenNamed(dir string, want Expect) (*Segment, error) { return nil, unsupported("open", want.Name) }

// OpenOrCreateNamed returns errors.ErrUnsupported.
func OpenOrCreateNamed(dir string, o Options) (*Segment, error) {
	return nil, unsupported("open or create", o.Name)
}

// RemoveStale returns errors.ErrUnsupported.
func RemoveStale(dir, name string) error { return unsupported("remove", name) }

// Reopen returns errors.ErrUnsupported.
func (s *Segment) Reopen() (*os.File, error) { return nil, unsupported("reopen", s.Name()) }

// Grow returns errors.ErrUnsupported.
func (s *Segment) Grow(newSize int) (*Segment, error) { return nil, unsupported("grow", s.Name()) }

// Supersede returns errors.ErrUnsupported.
func (s *Segment) Supersede(next *Segment) error { return unsupported("supersede", s.Name()) }

// Undumpable returns errors.ErrUnsupported.
func Undumpable() error { return unsupported("undumpable", "") }

type ownership struct{}

func (*ownership) withdraw() error { return nil }
func (*ownership) release() error  { return nil }

type parker struct{}

var process parker

func (parker) refuse(span, string) func() { return func() {} }

func (parker) wait(context.Context, *uint32, uint32) error { return unsupported("wait", "") }

func futexWake(*uint32, int) (int, error) { return 0, unsupported("wake", "") }
