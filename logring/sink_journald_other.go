//go:build !linux

package logring

import (
	"errors"
	"fmt"
)

// Journald returns a sink that writes to the systemd journal. It needs Linux.
func Journald(JournaldOptions) (Sink, error) {
	return nil, fmt.Errorf("logring: journald: %w on this system: use Syslog", errors.ErrUnsupported)
}
