package recfile

import (
	"fmt"
	"syscall"
)

func (f systemFile) Lock() error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == syscall.EWOULDBLOCK {
		return fmt.Errorf("another node writes it: %w", err)
	}
	return err
}
