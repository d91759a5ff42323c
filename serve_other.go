//go:build !linux

package shmkit

import (
	"errors"
	"os"
	"os/exec"
)

func detach(*exec.Cmd)          {}
func setCloseOnExec(*os.File)   {}
func startWide(*exec.Cmd) error { return errors.ErrUnsupported }
