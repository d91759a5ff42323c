package logring

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

// Colour is for terminals only, and for nobody who has said no.
func TestColor(t *testing.T) {
	tty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip("needs a pseudo terminal:", err)
	}
	defer tty.Close()
	file, err := os.Create(t.TempDir() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	if !colorWanted(tty) || colorWanted(file) || colorWanted(&bytes.Buffer{}) {
		t.Errorf("terminal %v, file %v", colorWanted(tty), colorWanted(file))
	}
	t.Setenv("TERM", "dumb")
	if colorWanted(tty) {
		t.Error("a dumb terminal")
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	if colorWanted(tty) {
		t.Error("NO_COLOR")
	}
}

// In colour a line is the same but for the escape sequences, and a record cannot
// bring any of its own.
func TestColoredLine(t *testing.T) {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError, slog.LevelError + 1} {
		r := record(t, 0, func(l *slog.Logger) { l.Log(t.Context(), level, "hello \x1b[31mred", "k", "v") })
		r.Time = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		plain := string((&consoleFormat{}).append(nil, &r))
		colored := string((&consoleFormat{color: true}).append(nil, &r))
		stripped := colored
		for _, sgr := range []string{colorOff, colorDim, colorBad, colorWarn, colorGood} {
			stripped = strings.ReplaceAll(stripped, sgr, "")
		}
		if stripped != plain || !strings.Contains(colored, levelColor(level)+level.String()+colorOff) || strings.Count(colored, "\x1b") != 4 {
			t.Errorf("%q, plain %q", colored, plain)
		}
	}
}
