//go:build !linux

package sqlproxy

import (
	"errors"
	"os"
)

type line struct{}

func newLine() (*line, *os.File, error)          { return nil, nil, errors.ErrUnsupported }
func lineOver(f *os.File) (*line, error)         { return nil, errors.ErrUnsupported }
func newPair() (near, far *os.File, err error)   { return nil, nil, errors.ErrUnsupported }
func (*line) Close() error                       { return errors.ErrUnsupported }
func (*line) send(msg []byte, f *os.File) error  { return errors.ErrUnsupported }
func (*line) receive() ([]byte, *os.File, error) { return nil, nil, errors.ErrUnsupported }
