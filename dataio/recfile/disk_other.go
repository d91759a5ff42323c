//go:build !linux

package recfile

import "errors"

func (f systemFile) Lock() error { return errors.ErrUnsupported }
