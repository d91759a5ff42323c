//go:build !linux

package call

import (
	"errors"
	"os"
)

func socketpair() (ours, theirs *os.File, err error) { return nil, nil, errors.ErrUnsupported }

func sendRecord(uintptr, []byte) error { return errors.ErrUnsupported }

func readRecord(uintptr, []byte) (int, error) { return 0, errors.ErrUnsupported }
