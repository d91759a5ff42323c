package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"

	"shmkit/logring"
	"shmkit/spawn"
)

// outcome makes of how a run ended one line, if there is something to say, and
// an exit code: the worst worker's, else 1 if not all went well.
func outcome(waitErr, closeErr error, stats logring.Stats) error {
	var said []string
	code := 0
	if waitErr != nil {
		code = exitFailure
		var exits *spawn.ExitError
		if errors.As(waitErr, &exits) {
			code = exits.Code()
			waitErr = unexpected(exits)
		}
		if waitErr != nil {
			said = append(said, bare(waitErr))
		}
	}
	if closeErr != nil {
		said = append(said, bare(closeErr))
		var ce *codeError
		switch {
		case errors.As(closeErr, &ce):
			code = ce.Code
		case code == 0:
			code = exitFailure
		}
	}
	if lost := losses(stats); lost != "" {
		said = append(said, lost)
		if code == 0 {
			code = exitFailure
		}
	}
	switch {
	case len(said) > 0:
		return &codeError{code, errors.New(strings.Join(said, "; "))}
	case code != 0:
		return &codeError{code, nil}
	}
	return nil
}

// unexpected leaves out the workers that were told to end and did, by the very
// signal that told them to: whoever stopped the run knows.
func unexpected(e *spawn.ExitError) error {
	left := slices.DeleteFunc(slices.Clone(e.Exits), func(x spawn.Exit) bool {
		return x.Stopped && (x.Signal == syscall.SIGTERM || x.Code == 128+int(syscall.SIGTERM))
	})
	if len(left) == 0 {
		return nil
	}
	return &spawn.ExitError{Group: e.Group, Size: e.Size, Exits: left}
}

// losses says how many records did not reach their sinks, and why: nothing is
// dropped silently.
func losses(s logring.Stats) string {
	var said []string
	if n := sum(s.Dropped); n > 0 {
		said = append(said, fmt.Sprintf("%d of %d records dropped (%s)", n, s.Attempted, reasons(s.Dropped)))
	}
	for _, sink := range s.Sinks {
		if n := sum(sink.Dropped); n > 0 {
			said = append(said, fmt.Sprintf("log sink %q: %d records not written (%s)", sink.Name, n, reasons(sink.Dropped)))
		}
	}
	return strings.Join(said, "; ")
}

func sum(counts map[string]uint64) (total uint64) {
	for _, n := range counts {
		total += n
	}
	return total
}

func reasons(counts map[string]uint64) string {
	var said []string
	for _, reason := range slices.Sorted(maps.Keys(counts)) {
		if counts[reason] > 0 {
			said = append(said, fmt.Sprintf("%s: %d", reason, counts[reason]))
		}
	}
	return strings.Join(said, ", ")
}
