package logring

import (
	"io"
	"log/slog"
	"os"
	"syscall"
)

// The escape sequences of a console: SGR parameters that every terminal knows.
const (
	colorOff  = "\x1b[0m"
	colorDim  = "\x1b[2m"
	colorBad  = "\x1b[1;31m" // bold red
	colorWarn = "\x1b[33m"
	colorGood = "\x1b[32m"
)

func levelColor(l slog.Level) string {
	switch {
	case l >= slog.LevelError:
		return colorBad
	case l >= slog.LevelWarn:
		return colorWarn
	case l >= slog.LevelInfo:
		return colorGood
	}
	return colorDim
}

// colorWanted reports whether w is a terminal and its user has nothing against
// colour.
func colorWanted(w io.Writer) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	c, ok := w.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	terminal := false
	err = raw.Control(func(fd uintptr) { terminal = isTerminal(fd) })
	return err == nil && terminal
}
