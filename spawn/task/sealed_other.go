//go:build !linux

package task

import (
	"errors"
	"os"
)

func sealedFile([]byte) (*os.File, error)      { return nil, errors.ErrUnsupported }
func readSealed(*os.File, int) ([]byte, error) { return nil, errors.ErrUnsupported }
