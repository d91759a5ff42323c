package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes of shmkit itself. Those of workers come on top.
const (
	exitFailure = 1
	exitUsage   = 2
)

// codeError is an error that ends the process with a certain exit code. Without
// Err nothing is printed.
type codeError struct {
	Code int
	Err  error
}

func (e *codeError) Unwrap() error { return e.Err }
func (e *codeError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("exit code %d", e.Code)
	}
	return e.Err.Error()
}

// usageErrorf is an error in how cmd was called.
func usageErrorf(cmd *cobra.Command, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &codeError{exitUsage, fmt.Errorf("%w (see %s --help)", err, cmd.CommandPath())}
}

// report prints err, if there is something to say, and returns the exit code.
func report(stderr io.Writer, err error) int {
	if err == nil {
		return 0
	}
	code := exitFailure
	var ce *codeError
	if errors.As(err, &ce) {
		code = ce.Code
		if ce.Err == nil {
			return code
		}
	}
	fmt.Fprintln(stderr, "shmkit: "+oneLine(bare(err)))
	return code
}

// bare is err's text without the name of the package that it comes from: the
// reader of a command line knows which program is speaking.
func bare(err error) string {
	text := err.Error()
	for _, pkg := range []string{"shmkit", "spawn", "cfgblob", "logring", "shm", "koanfsource", "sqlitedb", "postgresdb", "rotatefile", "otelsink"} {
		text = strings.TrimPrefix(text, pkg+": ")
	}
	return text
}

// oneLine replaces what could break or rewrite the line: errors quote file
// names, file content and what workers said.
func oneLine(s string) string {
	s = strings.ReplaceAll(strings.TrimSpace(s), "\n", "; ") // errors.Join
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' {
			return ' '
		}
		return r
	}, s)
}
