//go:build !linux

package shmkit

import (
	"errors"
	"net"
)

func samePeer(*net.UnixConn) error { return errors.ErrUnsupported }
