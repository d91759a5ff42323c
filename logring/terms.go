package logring

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// terms is what a worker is told beside its ring. As words they are
// "logring=2", then key=value.
type terms struct {
	policy  policies
	trace   *Backtrace // nil: none; of it the worker is told the lowest level
	maxWait time.Duration
	remote  bool // before it sleeps the collector makes all CPUs pass a barrier
	ticks   bool // the collector converts ticks of the time stamp counter
}

var (
	barrierNames = map[bool]string{false: "own", true: "remote"}
	clockNames   = map[bool]string{false: "monotonic", true: "ticks"}
)

func (t terms) words() []string {
	words := []string{
		fmt.Sprintf("logring=%d", formatVersion),
		"policy=" + t.policy.String(),
		"wait=" + t.maxWait.String(),
		"barrier=" + barrierNames[t.remote],
		"clock=" + clockNames[t.ticks],
	}
	if t.trace != nil {
		words = append(words, fmt.Sprintf("backtrace=%d", int(t.trace.floor())))
	}
	return words
}

// parseTerms reads them. A word it does not know is one of a newer build that
// an older one may ignore; what it may not ignore changes the version.
func parseTerms(words []string) (t terms, err error) {
	if len(words) == 0 || !strings.HasPrefix(words[0], "logring=") {
		return t, fmt.Errorf("logring: attach: not a log ring's words %q: pass on what Donate returned", words)
	}
	if want := fmt.Sprintf("logring=%d", formatVersion); words[0] != want {
		return t, fmt.Errorf("logring: attach: the node uses %s, this build %s: restart both with the same build", words[0], want)
	}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "policy":
			t.policy, err = parsePolicies(value)
		case "barrier":
			t.remote = value == barrierNames[true]
		case "clock":
			t.ticks = value == clockNames[true]
		case "backtrace":
			var n int
			n, err = strconv.Atoi(value)
			t.trace = &Backtrace{Level: slog.Level(n)}
		case "wait":
			t.maxWait, err = time.ParseDuration(value)
		}
		if err != nil {
			return t, fmt.Errorf("logring: attach: word %q: %w: restart both with the same build", w, err)
		}
	}
	return t, nil
}
