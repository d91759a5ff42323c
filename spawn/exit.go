package spawn

import (
	"fmt"
	"log/slog"
	"strings"
)

// maxListed bounds the length of an error text about many workers.
const maxListed = 8

// ExitError lists the workers of a group that did not end with code 0, in the
// order of their ranks.
type ExitError struct {
	Group string
	Size  int // workers in the group
	Exits []Exit
}

func (e *ExitError) Error() string {
	var b strings.Builder
	b.WriteString("spawn: ")
	if n := len(e.Exits); n > 1 {
		fmt.Fprintf(&b, "%d of %d workers of group %q failed: ", n, e.Size, e.Group)
	}
	for i, x := range e.Exits {
		if i > 0 {
			b.WriteString("; ")
		}
		if i == maxListed {
			fmt.Fprintf(&b, "and %d more", len(e.Exits)-i)
			break
		}
		b.WriteString(x.String())
	}
	return b.String()
}

// Code is the worst exit code of the group's workers: the largest one, a lost
// one (-1) counting as 255.
func (e *ExitError) Code() int {
	worst := 0
	for _, x := range e.Exits {
		worst = max(worst, x.Code&0xff)
	}
	return worst
}

// String says in one line who ended and how, with what it said last.
func (x Exit) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "worker %d (pid %d) of group %q: %s", x.Rank, x.Pid, x.Group, x.Cause())
	if x.Reason != "" && x.Reason != ReasonStop {
		fmt.Fprintf(&b, " (%s)", x.Reason)
	}
	if x.Message != "" {
		fmt.Fprintf(&b, ": %q", x.Message)
	}
	if n := len(x.Stderr); n > 0 {
		fmt.Fprintf(&b, "; last stderr: %q", x.Stderr[n-1])
	}
	return b.String()
}

// LogValue makes an Exit a group of attributes in a log record: who, how, why, at what
// cost, and what it said last.
func (x Exit) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.String("group", x.Group), slog.Int("rank", x.Rank), slog.Int("pid", x.Pid),
		slog.Int("exit", x.Code), slog.String("cause", x.Cause()),
		slog.Duration("lived", x.Ended.Sub(x.Started)), slog.Duration("user", x.UserTime),
		slog.Duration("system", x.SystemTime), slog.Int64("max_rss", x.MaxRSS),
	}
	if x.Reason != "" {
		attrs = append(attrs, slog.String("reason", string(x.Reason)))
	}
	if !x.LastBeat.IsZero() {
		attrs = append(attrs, slog.Time("last_beat", x.LastBeat), slog.Uint64("beats", x.Beats))
	}
	if x.Message != "" {
		attrs = append(attrs, slog.String("message", x.Message))
	}
	if n := len(x.Stderr); n > 0 {
		attrs = append(attrs, slog.String("stderr", x.Stderr[n-1]))
	}
	return slog.GroupValue(attrs...)
}

// Cause says how the worker ended: "exited with code 3", "killed by signal 9
// (SIGKILL)".
func (x Exit) Cause() string {
	switch {
	case x.Signal != 0:
		core := ""
		if x.Core {
			core = ", core dumped"
		}
		if x.OOM {
			core += ", out of memory"
		}
		return fmt.Sprintf("killed by signal %d (%s%s)", int(x.Signal), signalName(x.Signal), core)
	case x.Code < 0:
		return "exit status lost"
	}
	return fmt.Sprintf("exited with code %d", x.Code)
}
